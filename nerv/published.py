"""HNeRV's and NeRV's published checkpoints: 8-bit tensors with min and scale, as their repository writes them.

    {"embed": {"quant", "min", "scale"}, "model": {"decoder.0.conv.downconv.weight": {…}, …, "head_layer.bias": {…}}}

They are pickles. torch's restricted loader reads them: tensors and plain containers, nothing that runs.
The shapes tell widths, strides and kernels; activation and output function are not in the file and have to be known.
"""

from __future__ import annotations

import math
import os
import warnings
from typing import Any

import numpy as np

from nerv.coding.tensors import Affine
from nerv.models.architecture import EMBEDDING, Architecture

PARTS = ("quant", "min", "scale")


def restricted(path: str | os.PathLike[str]) -> Any:
    """torch's restricted loader, without its advice (of protocols, of unsafe loading), which is not for our users."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The checkpoint's containers. ValueError, one line, for anything but tensors in dictionaries."""
    try:
        found = restricted(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such checkpoint") from None
    except Exception as error:  # zip and pickle raise whatever they meet
        raise ValueError(f"{path}: is no checkpoint of tensors ({' '.join(str(error).split())[:100]})") from None
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict) or "embed" not in found:
        raise ValueError(f"{path}: is no quantised checkpoint of HNeRV: it lacks 'model' or 'embed'")
    return found


def affine(entry: Any, what: str) -> Affine:
    """One quantised tensor. ValueError where it is none."""
    if not isinstance(entry, dict) or any(part not in entry for part in PARTS):
        raise ValueError(f"{what}: is no quantised tensor ({', '.join(PARTS)})")
    q, minimum, scale = (entry[part].detach().cpu().numpy() for part in PARTS)
    if q.dtype != np.uint8 or minimum.dtype != scale.dtype or minimum.dtype not in (np.float16, np.float32):
        raise ValueError(f"{what}: is not of 8 bits with half- or single-precision min and scale")
    return Affine(q, minimum, scale)


def read_hnerv(
    path: str | os.PathLike[str], activation: str = "gelu", output: str = "tanh"
) -> tuple[Architecture, int, dict[str, Affine]]:
    """(architecture, frames, tensors by our names). ValueError where shapes make no decoder."""
    checkpoint = load(path)
    embedding = affine(checkpoint["embed"], f"{path}: embed")
    model = {name: affine(entry, f"{path}: {name}") for name, entry in checkpoint["model"].items()}
    if embedding.q.ndim != 4:
        raise ValueError(f"{path}: its embedding is {embedding.shape}, not (frames, C, h, w)")
    convolutions = [model.pop(f"decoder.0.conv.downconv.{part}", None) for part in ("weight", "bias")]
    while f"decoder.{len(convolutions) // 2}.conv.upconv.0.weight" in model:
        place = f"decoder.{len(convolutions) // 2}.conv.upconv.0"
        convolutions += [model.pop(f"{place}.weight"), model.pop(f"{place}.bias", None)]
    convolutions += [model.pop("head_layer.weight", None), model.pop("head_layer.bias", None)]
    if model or any(part is None for part in convolutions):
        raise ValueError(f"{path}: is no decoder of PixelShuffle blocks with biases; beside them: {sorted(model)[:3]}")
    kinds = [part.shape for part in convolutions[::2] if part is not None]
    if any(len(shape) != 4 for shape in kinds):
        raise ValueError(f"{path}: its convolutions are not of four dimensions")
    widths = tuple(shape[1] for shape in kinds[1:])
    strides = tuple(math.isqrt(shape[0] // width) for shape, width in zip(kinds[1:-1], widths[1:], strict=True))
    side = math.isqrt(max(1, kinds[0][0] // widths[0]))
    frames, *cells = embedding.shape
    try:
        architecture = Architecture(
            tuple(cells), widths, strides, tuple(shape[2] for shape in kinds[1:-1]), (side, side),  # type: ignore[arg-type]
            activation=activation, output=output,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    tensors = dict(zip(architecture.shapes(), convolutions, strict=True))
    for name, shape in architecture.shapes().items():
        tensor = tensors[name]
        if tensor is None or tensor.shape != shape:
            raise ValueError(f"{path}: {name} does not fit the network that the other shapes make")
    moved = Affine(*(np.moveaxis(part, 0, -1) if part.ndim else part for part in
                     (embedding.q, embedding.minimum, embedding.scale)))  # fmt: skip
    return architecture, frames, {EMBEDDING: moved, **tensors}  # type: ignore[dict-item]
