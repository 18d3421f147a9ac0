"""Convolutions in integers, held in floating point.

    training            a ──▶ conv(a, w) ──▶ clamp                       (float phase)
    integer phase       a ──▶ conv(a, round w) ──▶ round ──▶ clamp       (the same numbers as below, with gradients)
    coding              a_int ──▶ Σ w_int·a_int + b_int ──▶ (· + half) >> shift ──▶ clamp

An activation `a` is the integer `a_int` divided by 2**bits, a weight the integer `w_int` divided by 2**weight_bits.
The accumulator of a coding pass is bounded at export, per output channel, by Σ|w_int|·max|a_int| + |b_int| + half,
which must stay below 2**24: then int32, float32 and float64 all hold every partial sum exactly, in any order.

Coding runs in float64. That is not for its range: oneDNN, its bfloat16 mode, TF32, autocast, Winograd and FFT
kernels all leave float64 alone, so nothing that a caller sets can change a sum, and the prior is too small a
part of the work for the cost to show.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACCUMULATOR_LIMIT = 2**24
WEIGHT_BITS_MAX = 12


def ste_round(x: Tensor) -> Tensor:
    """Nearest integer, halves up; the gradient passes unchanged (straight-through)."""
    return x + (torch.floor(x + 0.5) - x).detach()


class IntegerConv2d(nn.Conv2d):
    """A stride-1, same-size convolution that can be evaluated in integers (see the module's drawing).

    in_bits, out_bits: fractional bits of the activations that enter and leave.
    in_max: largest magnitude of an entering integer (the caller clamps to it).
    low, high: clamp of the leaving integer, e.g. (0, 1023) makes a ReLU.
    """

    weight_bits: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        in_bits: int,
        out_bits: int,
        in_max: int,
        low: int,
        high: int,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        self.in_bits, self.out_bits, self.in_max, self.low, self.high = in_bits, out_bits, in_max, low, high
        self.register_buffer("weight_bits", torch.tensor(-1, dtype=torch.int32))  # -1: still in the float phase

    def use_integers(self) -> None:
        """Enter the integer phase: fix the weights' fractional bits, one bit inside the accumulator's limit."""
        if not self.integers:
            self.weight_bits.fill_(self._affordable_bits(ACCUMULATOR_LIMIT / 2))

    def tighten(self) -> None:
        """Give up fractional bits of the weights until the accumulator fits: training may outgrow the margin."""
        while self.integers and self.bits > 0 and self.accumulator_bound() >= ACCUMULATOR_LIMIT:
            self.weight_bits.sub_(1)

    @property
    def bits(self) -> int:
        """Fractional bits of the weights; negative in the float phase. The buffer alone knows: averaging copies it."""
        return int(self.weight_bits)

    @property
    def integers(self) -> bool:
        return self.bits >= 0

    def _affordable_bits(self, limit: float) -> int:
        largest = float(self.weight.detach().abs().flatten(1).sum(1).max()) * self.in_max
        if self.bias is not None:
            largest += float(self.bias.detach().abs().max()) * 2**self.in_bits
        bits = math.floor(math.log2(limit / max(largest, 1e-9)))
        return max(min(bits, WEIGHT_BITS_MAX), self.out_bits - self.in_bits, 0)

    def integer_parameters(self) -> tuple[Tensor, Tensor, int]:
        """(w_int, b_int, shift): integers as float64 tensors; the accumulator is shifted right by `shift` ≥ 0."""
        if not self.integers:
            raise ValueError("prior: not trained in integers yet; call use_integers() and train on")
        bits = self.bits
        weight = torch.floor(self.weight.detach().double() * 2.0**bits + 0.5)
        bias = torch.zeros(self.out_channels, dtype=torch.float64, device=weight.device)
        if self.bias is not None:
            bias = torch.floor(self.bias.detach().double() * 2.0 ** (bits + self.in_bits) + 0.5)
        return weight, bias, bits + self.in_bits - self.out_bits

    def accumulator_bound(self) -> int:
        """Largest magnitude that the accumulator of any output channel can reach on any input."""
        weight, bias, shift = self.integer_parameters()
        bound = weight.abs().flatten(1).sum(1) * self.in_max + bias.abs() + 2.0**shift / 2
        return int(bound.max())

    def accumulate(self, a: Tensor) -> Tensor:
        """Float value before clamping, (B, C_out, H, W): training, in either phase."""
        if not self.integers:
            return F.conv2d(a, self.weight, self.bias, padding=self.padding)
        unit = 2.0**self.bits
        bias = (
            None if self.bias is None else ste_round(self.bias * unit * 2.0**self.in_bits) / (unit * 2.0**self.in_bits)
        )
        return F.conv2d(a, ste_round(self.weight * unit) / unit, bias, padding=self.padding)

    def settle(self, value: Tensor) -> Tensor:
        """Round (integer phase only) and clamp a float value to what this layer can emit."""
        unit = 2.0**self.out_bits
        if self.integers:
            value = ste_round(value * unit) / unit
        return value.clamp(self.low / unit, self.high / unit)

    def forward(self, a: Tensor) -> Tensor:  # type: ignore[override]
        return self.settle(self.accumulate(a))


class CodingConv:
    """An IntegerConv2d frozen for coding: integers in, integers out, both held in float64. (B, C, H, W)."""

    def __init__(self, layer: IntegerConv2d) -> None:
        self.weight, self.bias, self.shift = layer.integer_parameters()
        self.padding, self.low, self.high = layer.padding, layer.low, layer.high
        bound = layer.accumulator_bound()
        if bound >= ACCUMULATOR_LIMIT or self.shift < 0:
            raise ValueError(
                f"prior: an accumulator could reach {bound}, beyond 2^24; train on in integers"
            )

    def accumulate(self, a: Tensor) -> Tensor:
        # Rounding costs nothing and makes the sum an integer even under a kernel that is inexact on integers.
        return torch.round(F.conv2d(a, self.weight, self.bias, padding=self.padding))

    def within(self, windows: Tensor) -> Tensor:
        """Of N windows (C, N, h, w) cut from a padded array, what lies far enough inside: (C_out, N, ·, ·)."""
        inside = windows.unfold(2, self.weight.shape[2], 1).unfold(3, self.weight.shape[3], 1)
        rows = inside.permute(0, 4, 5, 1, 2, 3).reshape(self.weight[0].numel(), -1)
        # one product for all of them: a convolution goes through a batch in this precision one by one
        sums = torch.round(self.weight.flatten(1) @ rows + self.bias[:, None])
        return self.settle(sums).reshape(-1, *inside.shape[1:4])

    def settle(self, accumulator: Tensor) -> Tensor:
        half = 2.0 ** (self.shift - 1) if self.shift else 0.0
        return torch.floor((accumulator + half) * 2.0**-self.shift).clamp(self.low, self.high)

    def __call__(self, a: Tensor) -> Tensor:
        return self.settle(self.accumulate(a))
