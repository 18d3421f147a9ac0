"""Regions, what is told of each, and the transform that listens to it.

    features (B, C, h, w) ─mean over each region─▶ prototypes (B, C, P, 1) ─coder─▶ (B, K, P, 1) symbols
    label map or grid     ─every position takes its region's prototype──▶ (B, C, h, w) ─▶ RegionAdaptive

In training a label map (objects, SAM's masks, anything) is given away; a stream uses the 4×4 grid, which costs nothing,
or a label map that it carries. P regions; with the grid, prototypes are (B, C, 4, 4).
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icm.codecs.segpic.layers import STRIDE, conv, pad
from icm.codecs.tcm.layers import Gdn

AREA_FLOOR = 0.0005  # added to areas in positions, as the published weights expect
FINE, COARSE = 4, 16  # pixels a position, of the two scales at which regions are looked at


class Regions:
    """Of one batch. labels: (B, h, w) at 1/4, numbered from 0 without gaps in each picture; None: a grid²."""

    def __init__(self, labels: Tensor | None = None, grid: int = 4) -> None:
        self.labels, self.grid = labels, grid
        self.count = grid * grid if labels is None else int(labels.max()) + 1

    @classmethod
    def of(cls, labels: Tensor | None, grid: int = 4) -> Regions:
        """labels: (B, H, W) of any integers, one a pixel; None, or 0 in a whole picture: the grid."""
        if labels is None:
            return cls(None, grid)
        if labels.ndim != 3 or labels.is_floating_point() or labels.is_complex():
            raise ValueError(f"labels are a (B, H, W) map of integers, not {labels.dtype} of {tuple(labels.shape)}")
        labels = pad(labels[:, ::FINE, ::FINE], STRIDE // FINE).long()
        unlabelled = (labels == 0).flatten(1).all(1)
        if unlabelled.all():
            return cls(None, grid)
        if unlabelled.any():  # beside labelled pictures the grid, too, is a map
            height, width = labels.shape[1:]
            rows, cols = (torch.arange(n, device=labels.device) * grid // n for n in (height, width))
            labels = torch.where(unlabelled[:, None, None], rows[:, None] * grid + cols, labels)
        return cls(dense(labels), grid)

    def at(self, scale: int) -> Tensor:
        """(B, h·w) region numbers at FINE or COARSE. Not for the grid."""
        assert self.labels is not None
        return self.labels[:, :: scale // FINE, :: scale // FINE].flatten(1)

    def present(self, scale: int) -> Tensor | None:
        """(B, P) whether a region has a position at that scale: the others need no prototype. None for the grid."""
        if self.labels is None:
            return None
        found = torch.zeros(len(self.labels), self.count, dtype=torch.bool, device=self.labels.device)
        return found.scatter_(1, self.at(scale), True)

    def pool(self, features: Tensor, scale: int) -> Tensor:
        """(B, C, h, w) → prototypes, (B, C, P, 1), or (B, C, grid, grid)."""
        if self.labels is None:
            return F.adaptive_avg_pool2d(features, self.grid)
        at = self.at(scale)[:, None]
        belongs = features.new_zeros(len(at), self.count, at.shape[-1]).scatter_(1, at, 1)  # (B, P, h·w) of 0 and 1
        area = belongs.sum(2)[:, None] + AREA_FLOOR
        return (features.flatten(2) @ belongs.transpose(1, 2) / area)[..., None]

    def spread(self, prototypes: Tensor, scale: int, height: int, width: int) -> Tensor:
        """The inverse: each position of (height, width) gets its region's prototype, (B, C, height, width)."""
        if self.labels is None:
            return F.interpolate(prototypes, size=(height, width), mode="nearest")
        index = self.at(scale)[:, None].expand(-1, prototypes.shape[1], -1)
        return prototypes[..., 0].gather(2, index).unflatten(2, (height, width))


def dense(labels: Tensor) -> Tensor:
    """(B, h, w) of any integers → int64, each picture's ids numbered 0, 1, … in ascending order."""
    ids, low = labels.long(), int(labels.min())
    if int(ids.max()) - low >= 2**40:
        raise ValueError("the ids of a label map span more than 2^40: number them anew")
    span = int(ids.max()) - low + 1
    picture = torch.arange(len(ids), device=ids.device)[:, None, None]
    values, numbers = torch.unique(ids - low + picture * span, return_inverse=True)
    first = torch.searchsorted(values, picture.flatten() * span)
    return numbers - first[:, None, None]


def prototype_coder(channels: list[int], inverse: bool = False) -> nn.Sequential:
    """1×1 convolutions with GDN between them: a prototype on its own, (B, C, P, 1) → (B, C', P, 1)."""
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(channels):
        layers += [conv(inside, outside, 1), Gdn(outside, inverse)]
    return nn.Sequential(*layers[:-1])


class RegionAdaptive(nn.Module):
    """RAT: x + 1×1(a ⊙ (k ∗ u)), u = 1×1(lrelu(1×1(x))). (B, C, h, w), prototypes (B, C, h, w).

    k: a 3×3 kernel for each channel and position, made of u and the position's prototype. a: attention over channels,
    by their means over the picture.
    """

    TAPS = 9

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(conv(channels, channels, 1), nn.LeakyReLU(0.1), conv(channels, channels, 1))
        self.kernels = nn.Sequential(
            conv(2 * channels, channels, 1),
            nn.LeakyReLU(0.1),
            conv(channels, channels, 3),
            nn.LeakyReLU(0.1),
            nn.Conv2d(channels, self.TAPS * channels, 3, padding=1, groups=channels),
        )
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            conv(channels, channels, 1),
            nn.LeakyReLU(0.1),
            conv(channels, channels, 1),
            nn.Sigmoid(),
        )
        self.leave = conv(channels, channels, 1)

    def forward(self, x: Tensor, prototypes: Tensor) -> Tensor:
        u = self.enter(x)
        filtered = self._filter(u, self.kernels(torch.cat([u, prototypes], 1)))
        return x + self.leave(self.attention(filtered) * filtered)

    def _filter(self, u: Tensor, kernels: Tensor) -> Tensor:
        """Tap after tap, so that no ninefold copy of the features is made. kernels (B, 9·C, h, w)."""
        height, width = u.shape[-2:]
        around, out = F.pad(u, (1, 1, 1, 1)), torch.zeros_like(u)
        for tap, kernel in enumerate(kernels.unflatten(1, (-1, self.TAPS)).unbind(2)):
            row, col = divmod(tap, 3)
            out = out + around[..., row : row + height, col : col + width] * kernel
        return out
