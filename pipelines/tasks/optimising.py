"""What tasks share of optimising: a learning rate that warms up and falls; weights decayed where they are matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer


def warm_cosine(progress: float, warmup: float, final_rate: float, first: float = 1e-2) -> float:
    """Factor on the learning rate at progress 0 … 1: a line from `first` to 1 at `warmup`, then a cosine to
    `final_rate`."""
    if progress < warmup:
        return max(progress / warmup, first)
    cosine = (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
    return final_rate + (1 - final_rate) * cosine


def stepped(progress: float, warmup: float, drops: Sequence[float], factor: float, first: float = 1e-2) -> float:
    """Factor on the learning rate at progress 0 … 1: a line from `first` to 1 at `warmup`, then `factor` times less at
    each of `drops`."""
    if progress < warmup:
        return max(progress / warmup, first)
    return float(factor ** sum(progress >= drop for drop in drops))


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> Optimizer:
    """AdamW over what is trained; biases and scales of normalisations are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, learning_rate)
