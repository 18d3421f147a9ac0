"""The transforms of `sa-icm-s`, laid out for two CPU cores.

    g_a   x (B, 3, H, W) ─unshuffle 4─▶ 48 @ 1/4 ─▶ 64 @ 1/4 ─▶ 128 @ 1/8 ─▶ 192 @ 1/16 ─▶ y (B, M, H/16, W/16)
    g_s   y_hat ─▶ 192 @ 1/16 ─shuffle─▶ 128 @ 1/8 ─shuffle─▶ 64 @ 1/4 ─shuffle 4─▶ x_hat (B, 3, H, W)

Nothing runs at full resolution but a reshuffling of pixels, and most of the work is 1×1 convolutions between depthwise
ones: in channels_last that is several times as fast on a CPU as strided 5×5 convolutions with GDN of equal quality.
The quality enters each transform once, as a gain per channel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icm.quality import progress

STRIDE = 16


class Block(nn.Module):
    """x + 1×1(relu(1×1(depthwise k×k(x)))), (B, C, H, W) → the same (ConvNeXt's order, arXiv 2201.03545, no norm)."""

    def __init__(self, channels: int, kernel: int = 5, expansion: int = 2) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.widen = nn.Conv2d(channels, expansion * channels, 1)
        self.narrow = nn.Conv2d(expansion * channels, channels, 1)
        with torch.no_grad():
            self.narrow.weight.mul_(0.3)  # a deep stack starts near the identity

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(F.relu(self.widen(self.spatial(x))))


class QualityGain(nn.Module):
    """Multiplies each channel by a smooth positive function of the quality. x (B, C, H, W), quality (B,)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.curve = nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, channels))

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        at = progress(quality).to(x.device)[:, None] * 4 - 2
        return x * torch.exp(self.curve(at))[..., None, None].to(x.dtype)


class Analysis(nn.Module):
    """g_a. x (B, 3, H, W) in [0, 1], H and W multiples of 16 → y (B, M, H/16, W/16)."""

    def __init__(self, latent: int, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        a, b, c = widths
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(48, a, 3, padding=1), *(Block(a) for _ in range(depths[0]))
        )
        self.middle = nn.Sequential(nn.Conv2d(a, b, 2, stride=2), *(Block(b) for _ in range(depths[1])))
        self.gain = QualityGain(b)
        self.deep = nn.Sequential(
            nn.Conv2d(b, c, 2, stride=2), *(Block(c, 3) for _ in range(depths[2])), nn.Conv2d(c, latent, 1)
        )

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        return self.deep(self.gain(self.middle(self.stem(x - 0.5)), quality))


class Synthesis(nn.Module):
    """g_s. y_hat (B, M, h, w) → x_hat (B, 3, 16·h, 16·w), not clamped."""

    def __init__(self, latent: int, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        a, b, c = widths
        self.entry = nn.Conv2d(latent, c, 1)
        self.gain = QualityGain(c)
        self.deep = nn.Sequential(*(Block(c, 3) for _ in range(depths[2])), nn.Conv2d(c, 4 * b, 1), nn.PixelShuffle(2))
        self.middle = nn.Sequential(*(Block(b) for _ in range(depths[1])), nn.Conv2d(b, 4 * a, 1), nn.PixelShuffle(2))
        self.head = nn.Sequential(
            *(Block(a) for _ in range(depths[0])), nn.Conv2d(a, 48, 3, padding=1), nn.PixelShuffle(4)
        )

    def forward(self, y_hat: Tensor, quality: Tensor) -> Tensor:
        return self.head(self.middle(self.deep(self.gain(self.entry(y_hat), quality)))).float() + 0.5


class HyperAnalysis(nn.Module):
    """h_a. The latent in units of its quantiser's step, (B, M, h, w), h and w multiples of 4 → z (B, Nz, h/4, w/4)."""

    def __init__(self, latent: int, hyper: int, width: int) -> None:
        super().__init__()
        last = nn.Conv2d(width, hyper, 4, stride=2, padding=1)
        self.layers = nn.Sequential(
            nn.Conv2d(latent, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 4, stride=2, padding=1), nn.ReLU(),
            last,
        )  # fmt: skip
        with torch.no_grad():
            # z must start with a spread of about one quantiser step: narrower, all of it rounds to zero, and a
            # side channel that says nothing never learns to.
            last.weight.mul_(8)

    def forward(self, y: Tensor) -> Tensor:
        # Large symbols say little more than middling ones about the scale; h_a's inputs stay tame at high quality.
        return self.layers(torch.sign(y) * torch.log1p(y.abs()))
