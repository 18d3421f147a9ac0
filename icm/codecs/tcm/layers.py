"""The convolutional parts of LIC-TCM. (B, C, H, W) throughout, memory in channels_last wherever the caller keeps it so.

The names of parameters are those of the published weights, so that they load as they are.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PEDESTAL = 2.0**-36  # of GDN's parameters, which are stored as sqrt(value + PEDESTAL)
SLOPE = 0.01


class _AtLeast(torch.autograd.Function):
    """max(x, bound), whose gradient passes where it points back into the allowed side."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        (x,) = ctx.saved_tensors
        return gradient * ((x >= ctx.bound) | (gradient < 0)), None


class Gdn(nn.Module):
    """x / sqrt(beta + gamma·x²), or times it (arXiv 1511.06281)."""

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.full((channels,), (1 + PEDESTAL) ** 0.5))
        self.gamma = nn.Parameter((0.1 * torch.eye(channels) + PEDESTAL).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        beta = _AtLeast.apply(self.beta, (1e-6 + PEDESTAL) ** 0.5).square() - PEDESTAL
        gamma = _AtLeast.apply(self.gamma, PEDESTAL**0.5).square() - PEDESTAL
        norm = F.linear(x.permute(0, 2, 3, 1).square(), gamma, beta).permute(0, 3, 1, 2)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3×3, same size over stride."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


def subpixel(inputs: int, outputs: int) -> nn.Sequential:
    """3×3 to twice the size."""
    return nn.Sequential(conv3(inputs, 4 * outputs), nn.PixelShuffle(2))


class Residual(nn.Module):
    """x + two 3×3 with leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3(channels, channels), conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out = F.leaky_relu(self.conv1(x), SLOPE, inplace=True)
        return x + F.leaky_relu(self.conv2(out), SLOPE, inplace=True)


class Down(nn.Module):
    """Half the size: 3×3, 3×3, GDN, and a 1×1 beside them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3(inputs, outputs, 2), conv3(outputs, outputs)
        self.gdn = Gdn(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        out = F.leaky_relu(self.conv1(x), SLOPE, inplace=True)
        # Every second pixel by hand: torch 2.14's 1×1 convolution with stride 2 of 3 channels in channels_last writes
        # where it must not when it goes backward, and crashes.
        return self.gdn(self.conv2(out)) + F.conv2d(x[..., ::2, ::2], self.skip.weight, self.skip.bias)


class Up(nn.Module):
    """Twice the size: sub-pixel 3×3, 3×3, inverse GDN, and another sub-pixel 3×3 beside them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.subpel_conv, self.upsample = subpixel(inputs, outputs), subpixel(inputs, outputs)
        self.conv = conv3(outputs, outputs)
        self.igdn = Gdn(outputs, inverse=True)

    def forward(self, x: Tensor) -> Tensor:
        out = F.leaky_relu(self.subpel_conv(x), SLOPE, inplace=True)
        return self.igdn(self.conv(out)) + self.upsample(x)


class Bottleneck(nn.Module):
    """relu(x + 1×1, 3×3, 1×1 at half the channels): the unit of attention modules (arXiv 2001.01568)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv = nn.Sequential(
            nn.Conv2d(channels, half, 1), nn.ReLU(), conv3(half, half), nn.ReLU(), nn.Conv2d(half, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv(x))


def pad(x: Tensor, multiple: int) -> Tensor:
    """Replicate the right and bottom edges up to multiples."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
