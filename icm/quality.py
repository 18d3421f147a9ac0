"""One set of weights, a continuous quality: gains on the latent, and what they mean to the entropy model.

    y ──× g_q──▶ round ──▶ symbols ──× 1/g_q──▶ y_hat          (gain units, arXiv 2103.02884)

A gain g stretches the standard deviation of a latent by g, so the index of its scale table moves by ln(g)/ln(r): the
decoder adds an integer offset from a shipped table and never multiplies by a float. Quality runs from 1 to 100 in
sixteenths; the shipped tables have one row for each whole quality and are interpolated in integers.

Units: `inverse` 1/g in 1/2**12; `offset` in 1/16 of a table step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LOWEST, HIGHEST, STEPS = 1.0, 100.0, 16
INVERSE_BITS = 12
SCALE_LOWEST, SCALE_HIGHEST, SCALE_COUNT = 0.11, 256.0, 64
LOG_STEP = (math.log(SCALE_HIGHEST) - math.log(SCALE_LOWEST)) / (SCALE_COUNT - 1)


def scale_table() -> Tensor:
    """(64,) standard deviations, geometric from 0.11 to 256 (CompressAI's table)."""
    return torch.exp(torch.arange(SCALE_COUNT, dtype=torch.float64) * LOG_STEP + math.log(SCALE_LOWEST))


def to_code(quality: float) -> int:
    """Quality 1…100 → the integer that a stream carries (quality·16). ValueError outside the range."""
    if not LOWEST <= quality <= HIGHEST:
        raise ValueError(f"quality {quality:g} is outside {LOWEST:g} to {HIGHEST:g}")
    return round(quality * STEPS)


def progress(quality: Tensor | float) -> Tensor:
    """Quality → [0, 1]."""
    return (torch.as_tensor(quality, dtype=torch.float32) - LOWEST) / (HIGHEST - LOWEST)


class Gains(nn.Module):
    """Learned log-gains, (anchors, channels), linear in between. Training only: streams use `tables()`."""

    def __init__(self, channels: int, anchors: int = 9, octaves: float = 4.2) -> None:
        super().__init__()
        start = torch.linspace(-0.5, 0.5, anchors)[:, None] * octaves * math.log(2)
        self.log_gain = nn.Parameter(start.repeat(1, channels))

    def forward(self, quality: Tensor) -> Tensor:
        """quality (B,) → ln g, (B, channels, 1, 1); of a map (B, h, w): (B, channels, h, w)."""
        at = progress(quality).to(self.log_gain.device) * (len(self.log_gain) - 1)
        low = at.floor().long().clamp(0, len(self.log_gain) - 2)
        fraction = (at - low)[..., None]
        gain = self.log_gain[low] * (1 - fraction) + self.log_gain[low + 1] * fraction
        return gain.movedim(-1, 1) if quality.ndim == 3 else gain[..., None, None]

    @torch.no_grad()
    def tables(self) -> tuple[Tensor, Tensor]:
        """(inverse, offset), int32, each (100, channels): made once, at export, and shipped."""
        log_gain = self(torch.arange(1, 101, dtype=torch.float32)).double()[..., 0, 0]
        inverse = torch.round(torch.exp(-log_gain) * 2**INVERSE_BITS).clamp(1, 2**20)
        offset = torch.round(log_gain / LOG_STEP * STEPS)
        return inverse.int(), offset.int()


def interpolate(table: Tensor, code: int) -> Tensor:
    """Row of a shipped table at quality code/16: integers only, halves up. (100, C) → (C,) int64."""
    row, fraction = divmod(code - STEPS, STEPS)
    low = table[row].long()
    if not fraction:
        return low
    high = table[row + 1].long()
    return torch.div(low * (STEPS - fraction) + high * fraction + STEPS // 2, STEPS, rounding_mode="floor")
