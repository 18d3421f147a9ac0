"""The public HNeRV fitted to a clip for so many minutes, for comparison: its own model, loss, optimiser and quantiser.

Run by `networks.py`, in a process of its own: its module wants packages that fitting does not, which are stood in for.
Counted as its paper does but with the entropy bound of the 8-bit symbols instead of Huffman lengths: decoder and
embeddings, and the half-precision minima and scales.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

STAND_INS = ("timm", "timm.models", "timm.models.layers", "pytorchvideo", "pytorchvideo.data",
             "pytorchvideo.data.encoded_video", "decord", "dahuffman", "imageio", "pandas")  # fmt: skip
LOWER_WIDTH, EMBEDDING, REDUCE, KERNELS = 12, 16, 1.2, (1, 5)  # of its README's command


def theirs(folder: Path) -> tuple[Any, Any]:
    """(model_all, hnerv_utils) of a checkout."""
    importlib.import_module("torchvision")  # before pandas is stood in for: it looks for the real one
    for name in STAND_INS:
        sys.modules.setdefault(name, types.ModuleType(name))
    layers: Any = sys.modules["timm.models.layers"]
    layers.trunc_normal_ = lambda t, std=0.02: torch.nn.init.trunc_normal_(t, std=std)
    layers.DropPath = torch.nn.Identity
    video: Any = sys.modules["pytorchvideo.data.encoded_video"]
    video.EncodedVideo = None
    decord: Any = sys.modules["decord"]
    decord.bridge = types.SimpleNamespace(set_bridge=lambda name: None)
    sys.path.insert(0, str(folder))
    return importlib.import_module("model_all"), importlib.import_module("hnerv_utils")


def settings(size: float, strides: list[int], frames: torch.Tensor) -> types.SimpleNamespace:
    """Its arguments for `size` million parameters, the width found as its train script finds it."""
    count, _, height, width = frames.shape
    product = math.prod(strides)
    stored = EMBEDDING * height * width / product**2 * count
    least, most = KERNELS
    a = sum(REDUCE ** (-2 * i - 1) * s**2 * min(2 * i + least, most) ** 2 for i, s in enumerate(strides))
    b, c = EMBEDDING * 9, stored - size * 1e6
    base = int((-b + math.sqrt(b * b - 4 * a * c)) / (2 * a))
    return types.SimpleNamespace(
        embed="", ks="0_1_5", enc_strds=strides, dec_strds=strides, enc_dim=f"64_{EMBEDDING}", num_blks="1_1",
        conv_type=["convnext", "pshuffel"], norm="none", act="gelu", reduce=REDUCE, lower_width=LOWER_WIDTH,
        out_bias="tanh", fc_dim=base, lr=1e-3, lr_type="cosine_0.1_1_0.1",
    )  # fmt: skip


def entropy_bytes(symbols: torch.Tensor) -> float:
    """Order-0 entropy of 8-bit symbols, in bytes."""
    counts = np.bincount(symbols.flatten().numpy(), minlength=256).astype(float)
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / counts.sum())).sum() / 8)


@torch.no_grad()
def measured(model: Any, utils: Any, frames: torch.Tensor) -> dict[str, float]:
    """PSNR in dB, mean over frames, in floats and with 8 bits; bytes of symbols and of scales."""
    stored = torch.cat([model.encoder(x[None]) for x in frames])
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    quantised, symbols, scales = dict(kept), 0.0, 0
    for name, value in kept.items():
        if "encoder" not in name:
            entry, quantised[name] = utils.quant_tensor(value, 8)
            symbols += entropy_bytes(entry["quant"])
            scales += 2 * (entry["min"].numel() + entry["scale"].numel())
    entry, coarse = utils.quant_tensor(stored, 8)
    symbols += entropy_bytes(entry["quant"])
    scales += 2 * (entry["min"].numel() + entry["scale"].numel())
    psnr = {}
    for label, state, given in (("psnr_float_db", kept, stored), ("psnr_db", quantised, coarse)):
        model.load_state_dict(state)
        pairs = ((model(None, input_embed=e[None])[0][0], x) for e, x in zip(given, frames, strict=True))
        psnr[label] = float(np.mean([-10 * math.log10(float((x_hat - x).square().mean())) for x_hat, x in pairs]))
    model.load_state_dict(kept)
    return {**psnr, "bytes": symbols + scales, "scales_bytes": float(scales)}


def main() -> None:
    """Fit, and write OUT after every few minutes: {"curve": [{"s", "step", "psnr_db", "bytes", …}], …}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, help=".npy (F, H, W, 3) uint8")
    parser.add_argument("-o", dest="output", type=Path, required=True)
    parser.add_argument("--theirs", type=Path, required=True, help="a checkout of its repository")
    parser.add_argument("--size", type=float, required=True, help="million parameters")
    parser.add_argument("--strides", type=int, nargs="+", default=[5, 4, 4, 2])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--every", type=float, default=2, help="minutes between measurements, which are not counted")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    models, utils = theirs(arguments.theirs)
    frames = torch.from_numpy(np.load(arguments.frames)).permute(0, 3, 1, 2).float() / 255
    options = settings(arguments.size, arguments.strides, frames)
    model = models.HNeRV(options)
    numbers = sum(p.numel() for part in (model.decoder, model.head_layer) for p in part.parameters())
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=0.0)
    generator, order, curve = np.random.default_rng(1), list[int](), list[dict[str, float]]()
    spent, step, limit = 0.0, 0, 60 * arguments.minutes
    while spent < limit:
        started = time.monotonic()
        if len(order) < arguments.batch:
            order = generator.permutation(len(frames)).tolist()
        x = frames[[order.pop() for _ in range(arguments.batch)]]
        utils.adjust_lr(optimizer, spent / limit, options)
        loss = utils.loss_fn(model(x)[0], x, "L2").mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        spent += time.monotonic() - started
        if spent >= min(limit, 60 * arguments.every * (len(curve) + 1)):
            curve.append({"s": spent, "step": step, **measured(model, utils, frames)})
            print(json.dumps(curve[-1]), flush=True)
            row = {"parameters": numbers, "settings": vars(arguments), "curve": curve}
            arguments.output.write_text(json.dumps(row, default=str, indent=1) + "\n")


if __name__ == "__main__":
    main()
