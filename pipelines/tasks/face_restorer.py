"""Training the attacker that undoes a codec on faces. Its data are in memory, so `vcm privacy` alone starts it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from eval.privacy.restorer import Example, Restorer, batch, loss
from pipelines.run.atomic import write_bytes


class FaceRestorerTask:
    """`Task` of pipelines/trainer.py. Batches: (x (B, 4, 48, 48), y (B, 3, 48, 48))."""

    name = "face-restorer"

    def __init__(self, examples: Sequence[Example], size: int = 4, rate: float = 4e-3, seed: int = 0) -> None:
        self.examples, self.size, self.rate, self.seed = examples, size, rate, seed

    def build(self) -> nn.Module:
        return Restorer()

    def optimizers(self, model: nn.Module) -> dict[str, Optimizer]:
        return {"main": torch.optim.Adam(model.parameters(), self.rate)}

    def schedule(self, progress: float) -> float:
        return min(1.0, progress / 0.05 + 0.05) * (1 + math.cos(math.pi * progress)) / 2

    def at(self, model: nn.Module, progress: float) -> None:
        """One phase only."""

    def batch(self, step: int, rank: int, world: int) -> tuple[Tensor, Tensor]:
        return batch(self.examples, self.size, np.random.default_rng([self.seed, step, rank, world]))

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        return {"main": loss(model(batch[0]).float(), batch[1])}

    def preview(self, model: nn.Module, folder: Path, step: int) -> None:
        """None: faces are drawn only on request."""

    def export(self, model: nn.Module, path: Path) -> None:
        from safetensors.torch import save  # not `save_file`, which has temporary names of its own

        write_bytes(path, save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}))
