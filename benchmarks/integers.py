"""What the prior's integers cost: estimated rate with and without rounding, and the accumulators' bounds.

    python benchmarks/integers.py [PICTURES] [--weights sa-icm-s] [--limit 16]

The comparison is generous to floats: the same weights, which were trained to be rounded, evaluated without rounding.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch


def main() -> None:
    import icm
    from icm.losses import rate_bpp_estimated
    from icm.prior.integer import ACCUMULATOR_LIMIT
    from pipelines.media import list_pictures, read_picture

    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("pictures", nargs="?", type=Path, default=shared / "data/coco128/images/val")
    parser.add_argument("--weights", default="sa-icm-s")
    parser.add_argument("--limit", type=int, default=16)
    arguments = parser.parse_args()
    model = icm.build("sa-icm-s", weights=arguments.weights)
    print(f"accumulators of {arguments.weights}, largest possible magnitude (limit {ACCUMULATOR_LIMIT}):")
    for name, bound in model.prior.accumulator_bounds().items():
        print(
            f"  {name:<14} {bound:>9} = {bound / ACCUMULATOR_LIMIT:5.1%}, "
            f"weights in 1/2^{model.prior.get_submodule(name).bits}"
        )
    pictures = [read_picture(p) for p in list_pictures(arguments.pictures)[: arguments.limit]]
    kept = [(layer, layer.bits) for layer in model.prior.layers]
    for quality in (10.0, 30.0, 50.0, 80.0):
        rates = {}
        for integers in (True, False):
            for layer, bits in kept:
                layer.weight_bits.fill_(bits if integers else -1)
            total = 0.0
            with torch.no_grad():
                for picture in pictures:
                    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
                    total += float(
                        rate_bpp_estimated(model(x, torch.tensor([quality]))["likelihoods"], picture[..., 0].size)
                    )
            rates[integers] = total / len(pictures)
        print(
            f"quality {quality:4.0f}: {rates[True]:.4f} bpp_estimated in integers, "
            f"{rates[False]:.4f} in floats: {rates[True] / rates[False] - 1:+.2%}"
        )


if __name__ == "__main__":
    main()
