"""A small network with tensors of both kinds, and a checkpoint as HNeRV publishes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nerv.coding.tensors import Affine, Stepped, Tensor
from nerv.file import names, shape_of
from nerv.models.architecture import EMBEDDING, Architecture

TINY = Architecture((4, 2, 3), (8, 6, 5), (3, 2), (1, 3))
FRAMES = 5


def affine(shape: tuple[int, ...], seed: int, kept: tuple[int, ...] = (0,), half: bool = True) -> Affine:
    """Quantised as HNeRV does: the range of each row along the `kept` axes to 0 … 255."""
    w = np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)
    axes = tuple(axis for axis in range(len(shape)) if axis not in kept) if half else None
    low, high = w.min(axis=axes, keepdims=half), w.max(axis=axes, keepdims=half)
    kind = np.float16 if half else np.float32
    minimum, scale = np.asarray(low, kind), np.asarray((high - low) / 255, kind)
    q = np.clip(np.rint((w - minimum) / np.maximum(scale, 1e-7)), 0, 255).astype(np.uint8)
    return Affine(q, minimum, scale)


def stepped(shape: tuple[int, ...], seed: int, along: bool = False) -> Stepped:
    random = np.random.default_rng(seed)
    rows = int(np.prod(shape)) // shape[-1] if along else shape[0]
    columns = int(np.prod(shape)) // rows
    q = np.rint(random.laplace(0, 6, shape)).astype(np.int32)
    steps = random.integers(-50, -40, rows), random.integers(-3, 3, columns)
    return Stepped(q, *(part.astype(np.int32) for part in steps))


def tensors(architecture: Architecture = TINY, frames: int = FRAMES, seed: int = 0) -> dict[str, Tensor]:
    """Of one segment: weights stepped, the rest as HNeRV's."""
    found: dict[str, Tensor] = {}
    for i, name in enumerate(names(architecture)):
        shape = shape_of(architecture, name, frames)
        if name.endswith("weight"):
            found[name] = stepped(shape, seed + i)
        else:
            found[name] = affine(shape, seed + i, kept=(0, 1, 2), half=name == EMBEDDING)
    return found


def checkpoint(path: Path, seed: int = 0) -> dict[str, Any]:
    """Write a checkpoint of TINY in HNeRV's layout; returns what is in it."""

    def entry(tensor: Affine) -> dict[str, torch.Tensor]:
        return {"quant": torch.from_numpy(tensor.q), "min": torch.from_numpy(np.asarray(tensor.minimum)),
                "scale": torch.from_numpy(np.asarray(tensor.scale))}  # fmt: skip

    theirs = ["decoder.0.conv.downconv", "decoder.1.conv.upconv.0", "decoder.2.conv.upconv.0", "head_layer"]
    model = {}
    for i, (name, shape) in enumerate(TINY.shapes().items()):
        place = f"{theirs[i // 2]}.{name.rpartition('.')[2]}"
        model[place] = entry(affine(shape, seed + i, half=len(shape) == 4))
    whole = {"embed": entry(affine((FRAMES, *TINY.embedding), 99, kept=(1, 2, 3))), "model": model}
    torch.save(whole, path)
    return whole
