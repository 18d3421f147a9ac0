"""Muon: momentum whose every matrix is orthogonalised before it is applied (Jordan 2024; Liu et al., arXiv 2502.16982).

torch.optim.Muon takes matrices alone; convolutions are matrices too, (out, in·k·k), and this one takes them as such.
The step is scaled by 0.2·sqrt(max(rows, columns)), so that its size, and with it the learning rate, is that of Adam.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Coefficients of the quintic iteration that raises all singular values to about 1 in five steps (Jordan 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalised(gradient: Tensor, steps: int = 5) -> Tensor:
    """(rows, columns) → the nearest semi-orthogonal matrix, roughly: singular values between about 0.7 and 1.2."""
    x = gradient.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    a, b, c = QUINTIC
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(gradient.dtype)


def is_matrix(parameter: Tensor) -> bool:
    """Whether Muon suits it: a matrix, or a dense convolution, that is no thin strip."""
    return parameter.ndim >= 2 and min(parameter.shape[0], parameter[0].numel()) >= 16


class Muon(torch.optim.Optimizer):
    """For parameters that `is_matrix`; give the others to Adam."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                direction = parameter.grad.lerp(momentum, group["momentum"]).flatten(1)  # Nesterov's look ahead
                scale = 0.2 * max(direction.shape) ** 0.5
                parameter.add_(orthogonalised(direction).view_as(parameter), alpha=-group["lr"] * scale)
