"""Attention in windows, plain and shifted (Swin, arXiv 2103.14030), and the blocks that LIC-TCM makes of it.

    x ─1×1─┬▶ convolutions ─────────╮
           ╰▶ LN, windows, LN, MLP ─┴─1×1─▶ + x           ConvTransBlock, half of the channels each way

Shapes: B pictures, H × W positions, C channels, windows of L = window² positions, nW of them, h heads of d channels.
Rolling and cutting into windows, and putting back, are one gather each; scores are never stored; only the windows on
the seam of a shifted picture, last row and column, need a mask and are computed apart.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icm.codecs.tcm.layers import Bottleneck, Residual

Layout = tuple[Tensor, Tensor, Tensor, Tensor]


@functools.lru_cache(maxsize=64)
def layout(height: int, width: int, window: int, shifted: bool, device: torch.device) -> Layout:
    """(source of each position in window order, its inverse, windows on the seam, their masks (nE, 1, L, L) bool)."""
    if height % window or width % window:
        raise ValueError(f"{height}x{width} positions cannot be cut into windows of {window}")
    rows, cols = height // window, width // window
    places = torch.arange(height * width).view(height, width)
    if shifted:
        places = places.roll((-(window // 2), -(window // 2)), (0, 1))
    source = places.view(rows, window, cols, window).transpose(1, 2).reshape(-1)
    # Positions that the roll brought together: a region number for each, attention only within a region.
    region = torch.zeros(height, width, dtype=torch.long)
    seam = torch.zeros(rows, cols, dtype=torch.bool)
    if shifted:
        region[height - window // 2 :] += 1
        region[:, width - window // 2 :] += 2
        seam[-1], seam[:, -1] = True, True
    region = region.view(rows, window, cols, window).transpose(1, 2).reshape(rows * cols, window * window)
    edge = seam.flatten().nonzero()[:, 0]
    allowed = (region[edge][:, :, None] == region[edge][:, None, :])[:, None]
    return source.to(device), source.argsort().to(device), edge.to(device), allowed.to(device)


class _Permute(torch.autograd.Function):
    """x[:, order]; its gradient is a gather too, where that of an index would be a slow scatter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (inverse,) = ctx.saved_tensors
        return gradients[0].index_select(1, inverse), None, None


class WindowAttention(nn.Module):
    """(B, H, W, C) → the same. The position bias is (h, 2·window − 1, 2·window − 1), as published."""

    _relation: Tensor

    def __init__(self, channels: int, head: int, window: int, shifted: bool) -> None:
        super().__init__()
        if channels % head:
            raise ValueError(f"{channels} channels cannot be cut into heads of {head}")
        self.heads, self.window, self.shifted = channels // head, window, shifted
        self.embedding_layer = nn.Linear(channels, 3 * channels)
        self.linear = nn.Linear(channels, channels)
        self.relative_position_params = nn.Parameter(torch.empty(self.heads, 2 * window - 1, 2 * window - 1))
        nn.init.trunc_normal_(self.relative_position_params, std=0.02)
        at = torch.cartesian_prod(torch.arange(window), torch.arange(window))
        offset = at[:, None] - at[None] + window - 1
        relation = offset[..., 0] * (2 * window - 1) + offset[..., 1]
        self.register_buffer("_relation", relation.flatten(), persistent=False)

    def bias(self) -> Tensor:
        """(1, h, L, L) of the relative positions."""
        positions = self.relative_position_params
        area = self.window**2
        return positions.flatten(1)[:, self._relation].view(1, self.heads, area, area)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        order, back, edge, allowed = layout(height, width, self.window, self.shifted, x.device)
        area = self.window**2
        cut = _Permute.apply(x.reshape(batch, height * width, channels), order, back)
        qkv = self.embedding_layer(cut).view(batch, -1, area, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # each (B, nW, h, L, d)
        bias = self.bias()
        out = attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), bias).view(q.shape)
        if len(edge):
            mask = bias.masked_fill(~allowed, float("-inf")).repeat(batch, 1, 1, 1)
            q_seam, k_seam, v_seam = (t.index_select(1, edge).flatten(0, 1) for t in (q, k, v))
            seam = attend(q_seam, k_seam, v_seam, mask)
            out.index_copy_(1, edge, seam.view(batch, len(edge), *q.shape[2:]))
        merged = out.transpose(2, 3).reshape(batch, height * width, channels)
        return _Permute.apply(self.linear(merged), back, order).view(x.shape)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(q·k/√d + bias)·v, (n, h, L, d)."""
    if torch.is_grad_enabled():  # where the bias learns, the fused kernel does not serve, and what torch does is slower
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


class Block(nn.Module):
    """(B, H, W, C): x + attention(LN x), then x + MLP(LN x) of four times the channels."""

    def __init__(self, channels: int, head: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.msa = WindowAttention(channels, head, window, shifted)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.msa(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class ConvTransBlock(nn.Module):
    """(B, 2·C, H, W) → the same: see the module's drawing. C channels each way."""

    def __init__(self, channels: int, head: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.channels = channels
        self.trans_block = Block(channels, head, window, shifted)
        self.conv1_1, self.conv1_2 = (nn.Conv2d(2 * channels, 2 * channels, 1) for _ in range(2))
        self.conv_block = Residual(channels)

    def forward(self, x: Tensor) -> Tensor:
        # The 1×1 convolutions as products, each half by itself: nothing is cut, joined or added in a pass of its own,
        # and in channels_last nothing is copied (half of the time of convolution, concatenation and sum).
        c, x = self.channels, x.permute(0, 2, 3, 1)
        weight, bias = _matrix(self.conv1_1)
        local = F.linear(x, weight[:c], bias[:c]).permute(0, 3, 1, 2)
        far = self.trans_block(F.linear(x, weight[c:], bias[c:]))
        local = (self.conv_block(local) + local).permute(0, 2, 3, 1)
        weight, bias = _matrix(self.conv1_2)
        if torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type):
            out = x + F.linear(local, weight[:, :c], bias) + F.linear(far, weight[:, c:])
        else:
            flat = (x + bias).reshape(-1, 2 * c)
            flat.addmm_(local.reshape(-1, c), weight[:, :c].T).addmm_(far.reshape(-1, c), weight[:, c:].T)
            out = flat.view(x.shape)
        return out.permute(0, 3, 1, 2)


def _matrix(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    assert conv.bias is not None
    return conv.weight[:, :, 0, 0], conv.bias


class SwinBlock(nn.Module):
    """(B, C, H, W): plain windows, then shifted ones."""

    def __init__(self, channels: int, head: int, window: int) -> None:
        super().__init__()
        self.block_1, self.block_2 = (Block(channels, head, window, shifted) for shifted in (False, True))

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.block_1(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class SwAtten(nn.Module):
    """(B, C, H, W) → the same: x + a·sigmoid(b), b from windows, at `inner` channels between two 1×1."""

    def __init__(self, channels: int, head: int, window: int, inner: int) -> None:
        super().__init__()
        self.in_conv, self.out_conv = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
        self.non_local_block = SwinBlock(inner, head, window)
        self.conv_a = nn.Sequential(*(Bottleneck(inner) for _ in range(3)))
        self.conv_b = nn.Sequential(*(Bottleneck(inner) for _ in range(3)), nn.Conv2d(inner, inner, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_conv(x)
        return self.out_conv(x + self.conv_a(x) * torch.sigmoid(self.conv_b(self.non_local_block(x))))
