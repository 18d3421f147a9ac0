"""A network that undoes a codec on faces, and what it learns from. The loop that trains it is not here.

    decoded (3, h, w) ┐                                           ┌─▶ + decoded ─▶ restored (3, h, w)
    quality (1, h, w) ┴▶ unshuffle 2 ▶ conv, 5 dilated convs ▶ shuffle 2

Small enough for minutes on a CPU, and so a lower bound on what can be restored. One network for all qualities of a
codec: a stream's header tells its quality to anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.privacy.align import Context

PATCH = 48


@dataclass(frozen=True)
class Example:
    """One face: decoded and original context (h, w, 3) uint8; level: its quality's place among the codec's, 0 … 1."""

    decoded: np.ndarray
    original: np.ndarray
    level: float


class Restorer(nn.Module):
    """forward(x): x (B, 4, h, w) float, RGB in [0, 1] and level, h and w even → (B, 3, h, w) RGB in [0, 1] nearly."""

    def __init__(self, width: int = 32, dilations: Sequence[int] = (1, 2, 4, 2, 1)) -> None:
        super().__init__()
        self.first = nn.Conv2d(16, width, 3, 1, 1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, 1, d, dilation=d) for d in dilations)
        self.last = nn.Conv2d(width, 12, 3, 1, 1)
        nn.init.zeros_(self.last.weight)  # begins as no change at all
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.first(F.pixel_unshuffle(x - 0.5, 2)), 0.1)
        for conv in self.middle:
            h = h + F.leaky_relu(conv(h), 0.1)
        return x[:, :3] + F.pixel_shuffle(self.last(h), 2)


def batch(examples: Sequence[Example], size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """x (size, 4, 48, 48), y (size, 3, 48, 48): patches at random places, mirrored at random."""
    xs, ys = [], []
    for index in rng.integers(0, len(examples), size):
        example = examples[int(index)]
        short = [(0, max(0, PATCH - side)) for side in example.decoded.shape[:2]]
        decoded, original = (np.pad(p, [*short, (0, 0)], mode="edge") for p in (example.decoded, example.original))
        top, left = (int(rng.integers(0, side - PATCH + 1)) for side in decoded.shape[:2])
        pair = np.concatenate([decoded, original], -1)[top : top + PATCH, left : left + PATCH]
        pair = pair[:, ::-1] if rng.random() < 0.5 else pair
        both = torch.from_numpy(pair.transpose(2, 0, 1).astype(np.float32) / 255)
        xs.append(torch.cat([both[:3], torch.full((1, PATCH, PATCH), example.level)]))
        ys.append(both[3:])
    return torch.stack(xs), torch.stack(ys)


def loss(restored: Tensor, y: Tensor) -> Tensor:
    """Absolute error of the pixels and of their differences: edges are what identifies."""
    total = (restored - y).abs().mean()
    for axis in (-1, -2):
        total = total + (restored.diff(dim=axis) - y.diff(dim=axis)).abs().mean()
    return total


@torch.no_grad()
def restore(network: nn.Module, context: Context, level: float) -> Context:
    """The context as the network believes that it was."""
    height, width = context.pixels.shape[:2]
    padded = np.pad(context.pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    x = torch.from_numpy(padded.transpose(2, 0, 1).astype(np.float32) / 255)
    x = torch.cat([x, torch.full((1, *x.shape[1:]), level)])
    y = network(x[None])[0].clamp(0, 1).numpy()
    pixels = np.rint(255 * y).astype(np.uint8).transpose(1, 2, 0)[:height, :width]
    return replace(context, pixels=np.ascontiguousarray(pixels))
