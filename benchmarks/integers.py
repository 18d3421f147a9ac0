"""What the prior's integers cost: estimated rate with and without rounding, and the accumulators' bounds.

    python benchmarks/integers.py [PICTURES] [--weights sa-icm-s] [--floats RUN/checkpoint.safetensors] [--limit 16]

Two comparisons, since neither alone is fair: the shipped weights, trained to be rounded, with and without rounding;
and, with --floats, weights that never left the float phase, before and after they are rounded without further training.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

QUALITIES = (10.0, 30.0, 50.0, 80.0)


def rate(model: Any, pictures: list[np.ndarray], quality: float) -> float:
    """Mean bpp_estimated."""
    from icm.losses import rate_bpp_estimated

    total = 0.0
    with torch.no_grad():
        for picture in pictures:
            x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
            out = model(x, torch.tensor([quality]))
            total += float(rate_bpp_estimated(out["likelihoods"], picture[..., 0].size))
    return total / len(pictures)


def main() -> None:
    import icm
    from icm.prior.integer import ACCUMULATOR_LIMIT
    from pipelines.media import list_pictures, read_picture
    from pipelines.run import checkpoint

    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("pictures", nargs="?", type=Path, default=shared / "data/coco128/images/val")
    parser.add_argument("--weights", default="sa-icm-s")
    parser.add_argument("--floats", type=Path)
    parser.add_argument("--limit", type=int, default=16)
    arguments = parser.parse_args()
    pictures = [read_picture(p) for p in list_pictures(arguments.pictures)[: arguments.limit]]
    model = icm.build("sa-icm-s", weights=arguments.weights)
    print(f"accumulators of {arguments.weights}, largest possible magnitude (limit {ACCUMULATOR_LIMIT}):")
    for name, bound in model.prior.accumulator_bounds().items():
        bits = model.prior.get_submodule(name).bits
        print(f"  {name:<14} {bound:>9} = {bound / ACCUMULATOR_LIMIT:5.1%}, weights in 1/2^{bits}")
    print(f"{arguments.weights}, trained in integers, {len(pictures)} pictures:")
    bits = [layer.bits for layer in model.prior.layers]
    for quality in QUALITIES:
        rounded = rate(model, pictures, quality)
        for layer in model.prior.layers:
            layer.weight_bits.fill_(-1)
        show(quality, rounded, rate(model, pictures, quality))
        for layer, value in zip(model.prior.layers, bits, strict=True):
            layer.weight_bits.fill_(value)
    if arguments.floats:
        tensors, _ = checkpoint.load(arguments.floats)
        model = icm.build("sa-icm-s").eval()
        model.load_state_dict(checkpoint.without_prefix("ema", tensors))
        free = {quality: rate(model, pictures, quality) for quality in QUALITIES}
        model.use_integers()
        print(f"{arguments.floats}, trained in floats, then rounded:")
        for quality in QUALITIES:
            show(quality, rate(model, pictures, quality), free[quality])


def show(quality: float, rounded: float, free: float) -> None:
    change = rounded / free - 1
    print(f"  quality {quality:3.0f}: {rounded:.4f} bpp_estimated in integers, {free:.4f} in floats: {change:+.2%}")


if __name__ == "__main__":
    main()
