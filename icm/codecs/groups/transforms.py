"""The transforms of `groups`: 2×2 patch embeddings and Swin blocks (arXiv 2103.14030) in which a group is alone.

    g_a   cells (n, 16, 16, 3) ─embed─▶ C0 @ 1/2 ─▶ C1 @ 1/4 ─▶ C2 @ 1/8 ─▶ C3 @ 1/16 ─▶ y (n, M)
    g_s   y_hat (n, M) ─▶ C3 @ 1/16 ─split─▶ C2 @ 1/8 ─▶ C1 @ 1/4 ─▶ C0 @ 1/2 ─▶ cells (n, 16, 16, 3)
    h_a   blocks of 4×4 cells, absent ones zero (b, 4, 4, M) ─embed─▶ (b, 2, 2, w) ─embed─▶ z (b, Nz)

n cells in any order; tokens at stride 16/t are (n, t, t, C). Only attention mixes cells, and its windows hold tokens of
one group (layout.py). An embedding or a split works within a cell. No padding: a token that is not there has no value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icm.codecs.groups.layout import BLOCK, WINDOW, Layout, Windows
from icm.codecs.groups.prior import GroupPrior
from icm.quality import progress

STRIDE = 16
TOKENS = (8, 4, 2, 1)  # a side of a cell, at each stage
CHUNK = 1024  # windows at once, so that memory does not grow with the picture


def merge(x: Tensor) -> Tensor:
    """(n, t, t, C) → (n, t/2, t/2, 4C)."""
    n, t, _, c = x.shape
    return x.reshape(n, t // 2, 2, t // 2, 2, c).transpose(2, 3).reshape(n, t // 2, t // 2, 4 * c)


def split(x: Tensor) -> Tensor:
    """The inverse of `merge`."""
    n, t, _, c = x.shape
    return x.reshape(n, t, t, 2, 2, c // 4).transpose(2, 3).reshape(n, 2 * t, 2 * t, c // 4)


class Attention(nn.Module):
    """Multi-head attention with a bias for each relative position, in windows of 8×8 with empty slots."""

    relative: Tensor

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be shared among {heads} heads")
        self.heads = heads
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        y, x = torch.arange(WINDOW**2) // WINDOW, torch.arange(WINDOW**2) % WINDOW
        relative = (y[:, None] - y + WINDOW - 1) * (2 * WINDOW - 1) + x[:, None] - x + WINDOW - 1
        self.register_buffer("relative", relative, persistent=False)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        """x (tokens, C) → the same shape."""
        qkv = self.qkv(x)
        bias = self.bias[self.relative].permute(2, 0, 1)
        parts = []
        for i in range(0, len(windows.slots), CHUNK):
            empty = None if windows.empty is None else windows.empty[i : i + CHUNK]
            parts.append(self._attend(qkv, windows.slots[i : i + CHUNK], empty, bias))
        return self.out(torch.cat(parts).flatten(0, 1)[windows.place])

    def _attend(self, qkv: Tensor, slots: Tensor, empty: Tensor | None, bias: Tensor) -> Tensor:
        # An empty slot borrows the values of token 0, which is of the caller's groups; its weight is exactly zero.
        w, size = slots.shape
        q, k, v = qkv[slots.clamp(min=0)].view(w, size, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias
        if empty is not None:
            scores = scores.masked_fill(empty, -torch.inf)
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(w, size, -1)


class Block(nn.Module):
    """x + attention(norm x), then x + MLP(norm x)."""

    def __init__(self, channels: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm_1, self.attention = nn.LayerNorm(channels), Attention(channels, heads)
        self.norm_2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, expansion * channels), nn.GELU(), nn.Linear(expansion * channels, channels)
        )

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        tokens = x.flatten(0, 2)
        tokens = tokens + self.attention(self.norm_1(tokens), windows)
        return (tokens + self.mlp(self.norm_2(tokens))).view(x.shape)


class Stage(nn.Module):
    """Blocks at one stride; the odd ones of the whole transform have shifted windows."""

    def __init__(self, tokens: int, channels: int, heads: int, depth: int, first: int, expansion: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.shifts = [(first + i) % 2 * (WINDOW // 2) for i in range(depth)]
        self.blocks = nn.ModuleList(Block(channels, heads, expansion) for _ in range(depth))

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        for block, shift in zip(self.blocks, self.shifts, strict=True):
            x = block(x, layout.windows(self.tokens, shift))
        return x


class Gain(nn.Module):
    """Multiplies each channel by a smooth positive function of the quality. x (n, t, t, C), quality (n,)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.curve = nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, channels))

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        at = progress(quality).to(x.device)[:, None] * 4 - 2
        return x * torch.exp(self.curve(at))[:, None, None, :].to(x.dtype)


def _stages(widths: Sequence[int], depths: Sequence[int], heads: Sequence[int], expansion: int) -> nn.ModuleList:
    first = [sum(depths[:i]) for i in range(len(depths))]
    return nn.ModuleList(
        Stage(*given, expansion) for given in zip(TOKENS, widths, heads, depths, first, strict=True)
    )


class Analysis(nn.Module):
    """g_a. Cells (n, 16, 16, 3) in [0, 1], quality (n,) → y (n, M)."""

    def __init__(self, latent: int, widths: Sequence[int], depths: Sequence[int], heads: Sequence[int], expansion: int):
        super().__init__()
        self.embeds = nn.ModuleList(nn.Linear(4 * a, b) for a, b in zip((3, *widths), widths, strict=False))
        self.stages = _stages(widths, depths, heads, expansion)
        self.gain, self.out = Gain(widths[2]), nn.Linear(widths[3], latent)

    def forward(self, cells: Tensor, quality: Tensor, layout: Layout) -> Tensor:
        x = cells - 0.5
        for i, (embed, stage) in enumerate(zip(self.embeds, self.stages, strict=True)):
            x = stage(embed(merge(x)), layout)
            if i == 2:
                x = self.gain(x, quality)
        return self.out(x)[:, 0, 0]


class Synthesis(nn.Module):
    """g_s. y_hat (n, M), quality (n,) → cells (n, 16, 16, 3), not clamped."""

    def __init__(self, latent: int, widths: Sequence[int], depths: Sequence[int], heads: Sequence[int], expansion: int):
        super().__init__()
        self.entry, self.gain = nn.Linear(latent, widths[3]), Gain(widths[3])
        self.stages = _stages(widths, depths, heads, expansion)
        self.splits = nn.ModuleList(nn.Linear(b, 4 * a) for a, b in zip((3, *widths), widths, strict=False))

    def forward(self, y_hat: Tensor, quality: Tensor, layout: Layout) -> Tensor:
        x = self.gain(self.entry(y_hat)[:, None, None, :], quality)
        for stage, widen in zip(reversed(self.stages), reversed(self.splits), strict=True):
            x = split(widen(stage(x, layout)))
        return x.float() + 0.5


class HyperAnalysis(nn.Module):
    """h_a. The latent in units of its quantiser's step (n, M) → z (blocks, Nz)."""

    def __init__(self, latent: int, hyper: int, width: int) -> None:
        super().__init__()
        self.embed_1, self.embed_2 = nn.Linear(4 * latent, width), nn.Linear(4 * width, hyper)
        with torch.no_grad():
            self.embed_2.weight.mul_(8)  # as in icm/codecs/layers.py: z must start with a spread of about one step

    def forward(self, y: Tensor, layout: Layout) -> Tensor:
        _, place, count = layout.blocks
        blocks = y.new_zeros(count * BLOCK * BLOCK, y.shape[1])
        blocks = blocks.index_copy(0, place, torch.sign(y) * torch.log1p(y.abs()))
        x = F.relu(self.embed_1(merge(blocks.view(count, BLOCK, BLOCK, -1))))
        return self.embed_2(merge(x))[:, 0, 0]


class Transforms(nn.Module):
    """g_a, g_s, h_a and the prior, untrained. settings: what it was built with, as a stream's weights record it."""

    def __init__(
        self,
        latent: int = 96,
        hyper: int = 32,
        prior_width: int = 64,
        slices: int = 4,
        widths: Sequence[int] = (32, 48, 64, 96),
        depths: Sequence[int] = (1, 1, 2, 1),
        heads: Sequence[int] = (2, 3, 4, 6),
        expansion: int = 2,
    ) -> None:
        super().__init__()
        if not len(widths) == len(depths) == len(heads) == len(TOKENS):
            raise ValueError(f"groups: widths, depths and heads are of {len(TOKENS)} stages")
        self.settings: dict[str, Any] = {
            "latent": latent, "hyper": hyper, "prior_width": prior_width, "slices": slices, "widths": list(widths),
            "depths": list(depths), "heads": list(heads), "expansion": expansion,
        }  # fmt: skip
        self.g_a = Analysis(latent, widths, depths, heads, expansion)
        self.g_s = Synthesis(latent, widths, depths, heads, expansion)
        self.h_a = HyperAnalysis(latent, hyper, prior_width)
        self.prior = GroupPrior(latent, hyper, prior_width, slices)
