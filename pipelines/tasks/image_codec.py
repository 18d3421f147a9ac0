"""Training an image codec: rate + lambda·distortion, the distortion on all pixels, objects or edges.

Phases: float prior ─(integers_at)─▶ prior in integers ─▶ end. The learning rate falls along a cosine to `final_rate`.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import icm
from icm import losses
from pipelines.run.muon import Muon, is_matrix
from pipelines.tasks.optimising import warm_cosine
from pipelines.tasks.picture_data import Pictures


@dataclasses.dataclass
class Source:
    """A folder of pictures and, for `objects` and `edges`, the folder of masks that `vcm edges` made of it."""

    pictures: Path
    masks: Path | None = None


@dataclasses.dataclass
class Settings:
    """distortion: which pixels count; elsewhere: the weight of the others (0: the paper's loss).

    lmbda_lowest, lmbda_highest: at quality 1 and 100. balance: pictures weigh lambda**-balance, so that the high rates
    do not drown the low ones. normalise: weights average 1 over the data set (a lambda then buys the same rate).
    weights: start from these. integers_at: progress at which the prior goes over to integers.
    """

    data: list[Source]
    arch: str = "sa-icm-s"
    weights: str | None = None
    distortion: Literal["all", "objects", "edges"] = "all"
    elsewhere: float = 0.0
    normalise: bool = True
    lmbda_lowest: float = 1e-4
    lmbda_highest: float = 3e-2
    balance: float = 0.3
    crop: int = 160
    batch: int = 6
    learning_rate: float = 8e-4
    optimizer: Literal["adam", "muon"] = "adam"
    aux_learning_rate: float = 1e-2
    warmup: float = 0.01
    final_rate: float = 0.01
    integers_at: float = 0.7
    model: dict[str, Any] = dataclasses.field(default_factory=dict)


class ImageCodecTask:
    """`Task` of pipelines/trainer.py. Batches: (x (B, 3, H, W) uint8, mask (B, 1, H, W) uint8, quality (B,) float)."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.name = f"{settings.arch}-{settings.distortion}"
        masked = settings.distortion != "all"
        self.pictures = Pictures([(s.pictures, s.masks) for s in settings.data], settings.crop, masked)
        self.fraction = self.pictures.mean_fraction() if masked and settings.normalise else None

    def build(self) -> nn.Module:
        return icm.build(self.settings.arch, weights=self.settings.weights, **self.settings.model)

    def optimizers(self, model: nn.Module) -> dict[str, Optimizer]:
        """Muon for matrices (if asked), Adam for the rest; quantiles have their own loss and Adam."""
        aux = [p for name, p in model.named_parameters() if name.endswith("quantiles")]
        main = [p for name, p in model.named_parameters() if not name.endswith("quantiles")]
        rate, chosen = self.settings.learning_rate, self.settings.optimizer == "muon"
        matrices = [p for p in main if chosen and is_matrix(p)]
        rest = [p for p in main if not (chosen and is_matrix(p))]
        optimizers: dict[str, Optimizer] = {
            "main": torch.optim.Adam(rest, rate, betas=(0.9, 0.99)),
            "aux": torch.optim.Adam(aux, self.settings.aux_learning_rate),
        }
        return {**optimizers, "main-muon": Muon(matrices, rate)} if matrices else optimizers

    def schedule(self, progress: float) -> float:
        return warm_cosine(progress, self.settings.warmup, self.settings.final_rate, first=1e-3)

    def at(self, model: Any, progress: float) -> None:
        if progress >= self.settings.integers_at:
            model.use_integers()

    def batch(self, step: int, rank: int, world: int) -> Any:
        x, mask, rng = self.pictures.batch([self.seed, step, rank, world], self.settings.batch)
        # Stratified: every batch holds low, middling and high qualities.
        quality = 1 + 99 * (rng.permutation(len(x)) + rng.random(len(x))) / len(x)
        channels_first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        return (
            torch.from_numpy(channels_first),
            torch.from_numpy(mask[:, None].copy()),
            torch.tensor(quality, dtype=torch.float32),
        )

    def loss(self, model: Any, batch: Any, step: int) -> dict[str, Tensor]:
        s = self.settings
        x = (batch[0].float() / 255).contiguous(memory_format=torch.channels_last)
        out = model(x, batch[2])
        weight = None
        if s.distortion != "all":
            weight = losses.pixel_weights(batch[1].float() / 255, s.elsewhere, self.fraction)
        rate = losses.rate_bpp_estimated(out["likelihoods"], x.shape[-1] * x.shape[-2])
        distortion = losses.masked_mse_255(x, out["x_hat"], weight)
        lmbda = losses.lmbda_at(batch[2], s.lmbda_lowest, s.lmbda_highest)
        importance = (lmbda / math.sqrt(s.lmbda_lowest * s.lmbda_highest)) ** -s.balance
        low = batch[2] < 34
        logged = {}
        if low.any():
            logged = {"rate_bpp_estimated_low": rate[low].mean(), "distortion_low": distortion[low].mean()}
        return {
            "main": ((rate + lmbda * distortion) * importance).mean(),
            "aux": model.aux_loss(),
            "rate_bpp_estimated": rate.mean(),
            "distortion": distortion.mean(),
            **logged,
        }

    def preview(self, model: Any, folder: Path, step: int) -> None:
        """One picture: originals above, reconstructions at quality 10, 30, 60, 90 below."""
        from pipelines.media import write_picture

        x, _, _ = self.pictures.batch([self.seed, 2**40], 4)
        inputs = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).float() / 255
        device = next(model.parameters()).device
        rows = [x]
        for quality in (10.0, 30.0, 60.0, 90.0):
            out = model(inputs.to(device), torch.full((len(x),), quality, device=device))["x_hat"]
            rows.append((out.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        sheet = np.concatenate([np.concatenate(list(row), 1) for row in rows], 0)
        write_picture(folder / f"{step:07d}.png", sheet)

    def export(self, model: Any, path: Path) -> None:
        from icm.codecs.release import Release
        from pipelines.run.atomic import replacing

        model.use_integers()
        with replacing(path) as temporary:
            Release.from_model(model).save(temporary)


def build(settings: Settings, seed: int) -> ImageCodecTask:
    return ImageCodecTask(settings, seed)
