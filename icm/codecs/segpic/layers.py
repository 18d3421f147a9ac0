"""The layers of SegPIC's transforms (those of WACNN, arXiv 2203.08450, with scale-affine layers).

    Down   x ─5×5 stride 2─▶ GDN ─▶ SAL                 Up   x ─▶ SAL ─▶ transposed 5×5 stride 2 ─▶ GDN
    SAL    x·(1 + s) + b,  (s, b) = 1×1(gelu(1×1(x)))
    Attention   x + a(x)·sigmoid(b(x)),  a three residual units,  b window attention, three residual units, 1×1

B pictures, C channels, h×w positions; T = w_a² positions of an attention window, n_w windows, d = C / heads.
Everything here is plain PyTorch: streams are read without importing what training needs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icm.codecs.tcm.layers import Gdn

STRIDE = 64  # pixels a position of z: pictures are padded to multiples
BLOCKED = -100.0  # added to the logits of pairs that only the cyclic shift made neighbours


class ScaleAffine(nn.Module):
    """SAL, (B, C, h, w) → the same: every position scales and shifts its own channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(channels, channels, 1), nn.GELU(), conv(channels, 2 * channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        scale, bias = self.layers(x).chunk(2, 1)
        return x * (1 + scale) + bias


def pad(x: Tensor, multiple: int) -> Tensor:
    """(…, H, W), of integers too, up to multiples by repeating the last row and column."""
    height, width = x.shape[-2:]
    if not height % multiple and not width % multiple:
        return x
    rows, cols = (torch.arange(n + -n % multiple, device=x.device).clamp(max=n - 1) for n in (height, width))
    return x[..., rows[:, None], cols]


def conv(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size but for its stride."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2)


def shuffle_up(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice the size, by a 3×3 convolution and a pixel shuffle."""
    return nn.Sequential(conv(in_channels, 4 * out_channels), nn.PixelShuffle(2))


def down(in_channels: int, out_channels: int, affine: bool) -> nn.Sequential:
    """(B, C, h, w) → (B, C', h/2, w/2). affine: with SAL."""
    layers = [conv(in_channels, out_channels, 5, 2), Gdn(out_channels)]
    return nn.Sequential(*layers, *([ScaleAffine(out_channels)] if affine else []))


def up(in_channels: int, out_channels: int, affine: bool) -> nn.Sequential:
    """(B, C, h, w) → (B, C', 2h, 2w). The normalisation divides here, too, as the authors' does."""
    layers = [nn.ConvTranspose2d(in_channels, out_channels, 5, 2, 2, output_padding=1), Gdn(out_channels)]
    return nn.Sequential(*([ScaleAffine(in_channels)] if affine else []), *layers)


class ResidualUnit(nn.Module):
    """gelu(x + 1×1(gelu(3×3(gelu(1×1(x)))))), half as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.layers = nn.Sequential(
            conv(channels, half, 1), nn.GELU(), conv(half, half), nn.GELU(), conv(half, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.layers(x))


class WindowAttention(nn.Module):
    """x + attention within shifted windows of `window`², with a bias by relative position. h and w: multiples of it."""

    relative: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, window // 2
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.bias = nn.Parameter(nn.init.trunc_normal_(torch.empty((2 * window - 1) ** 2, heads), std=0.02))
        at = torch.arange(window)
        rows, cols = at.repeat_interleave(window), at.repeat(window)
        offsets = (rows[:, None] - rows + window - 1) * (2 * window - 1) + cols[:, None] - cols + window - 1
        self.register_buffer("relative", offsets, persistent=False)  # (T, T), rows of `bias`

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        w, down_, across = self.window, height // self.window, width // self.window
        moved = torch.roll(x, (-self.shift, -self.shift), (2, 3))
        tokens = moved.reshape(batch, channels, down_, w, across, w).permute(0, 2, 4, 3, 5, 1)
        tokens = tokens.reshape(batch, down_ * across, w * w, channels)
        qkv = self.qkv(tokens).reshape(batch, -1, w * w, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # each (B, n_w, heads, T, d)
        logits = (q * (channels // self.heads) ** -0.5) @ k.transpose(-2, -1)
        logits = logits + self.bias[self.relative].permute(2, 0, 1) + self._blocked(height, width, x)
        mixed = (logits.softmax(-1) @ v).transpose(2, 3).reshape(batch, down_, across, w, w, channels)
        mixed = self.out(mixed).permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, height, width)
        return x + torch.roll(mixed, (self.shift, self.shift), (2, 3))

    def _blocked(self, height: int, width: int, like: Tensor) -> Tensor:
        """(n_w, 1, T, T): BLOCKED between positions that were not neighbours before the shift."""
        w, zones = self.window, []
        for size in (height, width):
            zone = torch.zeros(size, dtype=torch.long, device=like.device)
            zone[-w:], zone[-self.shift :] = 1, 2
            zones.append(zone)
        grid = (3 * zones[0][:, None] + zones[1]).reshape(height // w, w, width // w, w)
        flat = grid.permute(0, 2, 1, 3).reshape(-1, 1, w * w)
        return (flat[..., None] != flat[..., None, :]).to(like.dtype) * BLOCKED


class Attention(nn.Module):
    """See the module's drawing. (B, C, h, w) → the same."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*(ResidualUnit(channels) for _ in range(3)))
        self.gate = nn.Sequential(
            WindowAttention(channels, heads, window),
            *(ResidualUnit(channels) for _ in range(3)),
            conv(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.trunk(x) * torch.sigmoid(self.gate(x))
