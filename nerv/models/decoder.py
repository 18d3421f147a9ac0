"""The decoder of NeRV and HNeRV as a torch module. NeRV: Chen et al. 2021 (arXiv 2110.13903); HNeRV: 2304.02633.

B: frames; C, h, w: an embedding's channels and cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nerv.models.architecture import Architecture

ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "leaky": F.leaky_relu,
    "sine": torch.sin,
}


class Decoder(nn.Module):
    """forward(embedding (B, C, h, w), details by block, each (B, C', h', w')) → (B, 3, height, width), RGB about
    [0, 1], not clamped. Residuals: HiNeRV's and Boosting-NeRV's blocks have them too (2306.09818, 2402.18152)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.stem = nn.Conv2d(a.embedding[0], a.widths[0] * math.prod(a.grid), a.stem, padding=a.stem // 2)
        self.blocks = nn.ModuleList(
            nn.Conv2d(a.widths[i], a.widths[i + 1] * stride**2, kernel, padding=kernel // 2)
            for i, (stride, kernel) in enumerate(zip(a.strides, a.kernels, strict=True))
        )
        self.residuals = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width + (0 if j else extra), width, 3, padding=1) for j in range(count))
            for width, count, extra in zip(a.widths[1:], a.residuals, a.details, strict=True)
        )
        self.head = nn.Conv2d(a.widths[-1], 3 * a.head**2, 3, padding=1)
        self.activate = ACTIVATE[a.activation]

    def forward(self, embedding: Tensor, details: Mapping[int, Tensor] = MappingProxyType({})) -> Tensor:
        rows, columns = self.architecture.grid
        x = self.activate(self.stem(embedding))
        if rows * columns > 1:
            batch, _, h, w = x.shape
            x = x.view(batch, -1, rows, columns, h, w).permute(0, 1, 4, 2, 5, 3)
            x = x.reshape(batch, -1, rows * h, columns * w)
        for i, (conv, stride) in enumerate(zip(self.blocks, self.architecture.strides, strict=True)):
            x = self.activate(F.pixel_shuffle(conv(x), stride))
            for j, residual in enumerate(cast(nn.ModuleList, self.residuals[i])):
                given = torch.cat([x, details[i]], 1) if j == 0 and i in details else x
                x = x + self.activate(residual(given))
        return self.out(F.pixel_shuffle(self.head(x), self.architecture.head))

    def out(self, x: Tensor) -> Tensor:
        """The last non-linearity."""
        if self.architecture.output == "tanh":
            return torch.tanh(x) * 0.5 + 0.5
        return torch.sigmoid(x) if self.architecture.output == "sigmoid" else x + 0.5


def positional(t: Tensor, base: float, levels: int) -> Tensor:
    """t (B,) in [0, 1) → (B, 2·levels, 1, 1): sin and cos of t·base^k·π (NeRV, Eq. 1)."""
    phases = t[:, None].double() * base ** torch.arange(levels, dtype=torch.float64) * math.pi
    return torch.cat([phases.sin(), phases.cos()], 1).float()[:, :, None, None]
