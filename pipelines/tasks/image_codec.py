"""Training an image codec: rate + lambda·distortion, in one of the ways that icm/losses.py lists.

    data ─crops─▶ x, mask, labels ─▶ network(x, what it asks for) ─▶ x_hat, likelihoods ─▶ loss

A network is given, beyond x, what the parameters of its `forward` name: `quality` (B,) from 1 to 100, `labels`
(B, H, W) int64, `quality_map` (B, h, w) qualities of the latents. One that takes no quality has one lambda, `lmbda`.

Phases: float prior ─(integers_at)─▶ prior in integers ─▶ end. The learning rate falls along a cosine to `final_rate`,
or by the factor `drop` at each of `drops`.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import icm
from icm import losses
from icm.quality_map import CELLS, STRIDE, Roi, from_importance, from_mask, saliency
from pipelines.run.muon import Muon, is_matrix
from pipelines.tasks.frozen_features import FrozenFeatures
from pipelines.tasks.optimising import stepped, warm_cosine
from pipelines.tasks.picture_data import MaskFrom, Pictures, Source

MASKS: dict[str, MaskFrom] = {"edges": "masks", "blend": "masks", "objects": "masks", "regions": "labels"}
WEIGHTED = tuple(MASKS)
BLEND = 0.25


@dataclasses.dataclass
class Settings:
    """distortion: what counts (icm/losses.py); elsewhere: the weight of the other pixels (unset: 0; of blend, 0.25).

    weights: start from these. lmbda_lowest, lmbda_highest: at quality 1 and 100; lmbda: of a network without quality.
    balance: pictures weigh lambda**-balance, so that the high rates do not drown the low ones. normalise: weights
    average 1 over the data set (a lambda then buys the same rate). integers_at: progress at which the prior goes over
    to integers. model: options of the network. schedule: how the learning rate falls, drops: at which progress.

    roi_from: what a map of qualities is made of, in training as at the encoder (masks: edge or object masks);
    roi_step: the largest difference of quality. features: the frozen model, features_weights: its file (None: its own);
    features_share: how much of the distortion is features; features_unit: the squared error in pixels that weighs as
    much as losing all features.
    """

    data: list[Source]
    arch: str = "sa-icm-s"
    weights: str | None = None
    distortion: Literal["all", "edges", "blend", "objects", "regions", "roi", "features"] = "all"
    elsewhere: float | None = None
    normalise: bool = True
    lmbda_lowest: float = 1e-4
    lmbda_highest: float = 3e-2
    lmbda: float = 6.7e-3
    balance: float = 0.3
    roi_from: Literal["saliency", "masks", "labels"] = "saliency"
    roi_step: int = 40
    features: str = "mask-rcnn-scenes"
    features_weights: str | None = None
    features_share: float = 0.5
    features_unit: float = 1000.0
    crop: int = 160
    batch: int = 6
    learning_rate: float = 8e-4
    optimizer: Literal["adam", "muon"] = "adam"
    aux_learning_rate: float = 1e-2
    warmup: float = 0.01
    schedule: Literal["cosine", "drops"] = "cosine"
    final_rate: float = 0.01
    drops: tuple[float, ...] = (0.9, 0.96)
    drop: float = 0.1
    integers_at: float = 0.7
    model: dict[str, Any] = dataclasses.field(default_factory=dict)


class ImageCodecTask:
    """`Task` of pipelines/trainer.py. Batches: {"x": (B, 3, H, W) uint8, "mask": (B, 1, H, W) uint8, 255 counts,
    "quality": (B,), and "labels" or "quality_map" where they are needed}."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.name = f"{settings.arch}-{settings.distortion}"
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # as the trainer does before it asks for the network
            self._made: Any = self._network()
        self.takes = set(inspect.signature(type(self._made).forward).parameters)
        mask_from = MASKS.get(settings.distortion, "none")
        if settings.distortion == "roi":
            if "quality_map" not in self.takes:
                raise ValueError(f"{settings.arch}: has no map of qualities; distortion roi is for sa-icm-s")
            mask_from = "none" if settings.roi_from == "saliency" else settings.roi_from
        self.pictures = Pictures(settings.data, settings.crop, mask_from, "labels" in self.takes)
        blend = BLEND if settings.distortion == "blend" else 0.0
        self.elsewhere = blend if settings.elsewhere is None else settings.elsewhere
        weighted = settings.distortion in WEIGHTED
        self.fraction = self.pictures.mean_fraction() if weighted and settings.normalise else None
        wanted = settings.distortion == "features"
        self.features = FrozenFeatures(settings.features, settings.features_weights) if wanted else None

    def check(self) -> str:
        """What the heads of all pictures and masks say. ValueError, one line, for those that do not fit."""
        count, pixels = self.pictures.check()
        return f"{count} pictures, {pixels / 2**30:.2f} GiB of pixels"

    def cache_to_come(self) -> int:
        """Bytes that pictures may yet take in memory."""
        return max(0, min(self.pictures.cache_bytes, self.pictures.check()[1]) - self.pictures.cached_bytes)

    def _network(self) -> Any:
        return icm.build(self.settings.arch, weights=self.settings.weights, **self.settings.model)

    def build(self) -> nn.Module:
        network: nn.Module = self._made or self._network()
        self._made = None  # it is trained from here on
        return network

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
        s = self.settings
        if s.schedule == "drops":
            return stepped(progress, s.warmup, s.drops, s.drop, first=1e-3)
        return warm_cosine(progress, s.warmup, s.final_rate, first=1e-3)

    def at(self, model: Any, progress: float) -> None:
        if progress >= self.settings.integers_at and hasattr(model, "use_integers"):
            model.use_integers()

    # --- batches ----------------------------------------------------------------------------------------------------
    def batch(self, step: int, rank: int, world: int) -> dict[str, Tensor]:
        """A process's share of the step's batch of world·settings.batch crops, which does not depend on the shares."""
        size = self.settings.batch
        places = range(rank * size, (rank + 1) * size)
        crops = self.pictures.batch([self.seed, step], places)
        # Stratified: every whole batch holds low, middling and high qualities.
        rng = np.random.default_rng([self.seed, step])
        qualities = 1 + 99 * (rng.permutation(world * size) + rng.random(world * size)) / (world * size)
        quality = torch.tensor(qualities[places.start : places.stop], dtype=torch.float32)
        made = {
            "x": torch.from_numpy(np.ascontiguousarray(crops.x.transpose(0, 3, 1, 2))),
            "mask": torch.from_numpy(crops.mask[:, None].copy()),
            "quality": quality,
        }
        if "labels" in self.takes:
            made["labels"] = torch.from_numpy(crops.labels.astype(np.int64))
        if self.settings.distortion == "roi":
            drops = [self._drop(crops.x[i], crops.mask[i], [self.seed, step, k, 1]) for i, k in enumerate(places)]
            made["quality_map"] = (quality[:, None, None] - torch.tensor(np.stack(drops))).clamp(min=1.0)
        return made

    def _drop(self, picture: np.ndarray, mask: np.ndarray, key: list[int]) -> np.ndarray:
        """How much quality each latent of a crop gives up: a map such as an encoder would make, one in four flat."""
        rng = np.random.default_rng(key)
        roi = Roi(int(rng.choice(CELLS)), int(rng.integers(1, self.settings.roi_step + 1)))
        side = -(-picture.shape[0] // STRIDE)
        if rng.random() < 0.25:
            return np.zeros((side, side), np.float32)
        if self.settings.roi_from == "labels":
            found = from_mask(mask, roi)
        else:
            importance = saliency(picture) if self.settings.roi_from == "saliency" else mask
            found = from_importance(importance, roi, float(rng.uniform(0.2, 0.7)))
        depths = found.depths.repeat(roi.cell // STRIDE, 0).repeat(roi.cell // STRIDE, 1)
        return (depths[:side, :side] * roi.step).astype(np.float32)

    # --- loss -------------------------------------------------------------------------------------------------------
    def loss(self, model: Any, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        s, quality = self.settings, batch["quality"]
        x = (batch["x"].float() / 255).contiguous(memory_format=torch.channels_last)
        out = model(x, **{name: batch[name] for name in ("quality", "labels", "quality_map")
                          if name in self.takes and name in batch})  # fmt: skip
        rate = losses.rate_bpp_estimated(out["likelihoods"], x.shape[-1] * x.shape[-2])
        distortion = self._distortion(x, out["x_hat"], batch)
        if "quality" in self.takes:
            lmbda = losses.lmbda_at(quality, s.lmbda_lowest, s.lmbda_highest)
            importance = (lmbda / math.sqrt(s.lmbda_lowest * s.lmbda_highest)) ** -s.balance
            low = (quality < 34).float()
        else:
            lmbda, importance, low = torch.tensor(s.lmbda), torch.tensor(1.0), torch.zeros(len(x), device=x.device)
        logged = {"rate_bpp_estimated": rate.mean(), "distortion": distortion.mean()}
        if low.any():
            low = low / low.sum()
            logged |= {"rate_bpp_estimated_low": (rate * low).sum(), "distortion_low": (distortion * low).sum()}
        aux = model.aux_loss() if hasattr(model, "aux_loss") else torch.zeros((), device=x.device)
        return {"main": ((rate + lmbda * distortion) * importance).mean(), "aux": aux, **logged}

    def _distortion(self, x: Tensor, x_hat: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """(B,), in squared steps of 255."""
        s = self.settings
        if s.distortion in WEIGHTED:
            weight = losses.pixel_weights(batch["mask"].float() / 255, self.elsewhere, self.fraction)
            return losses.masked_mse_255(x, x_hat, weight)
        if s.distortion == "roi":
            ends = s.lmbda_lowest, s.lmbda_highest
            weight = losses.roi_weights(batch["quality_map"], batch["quality"], *ends, STRIDE)
            return losses.masked_mse_255(x, x_hat, weight[..., : x.shape[-2], : x.shape[-1]])
        pixels = losses.masked_mse_255(x, x_hat)
        if self.features is None:
            return pixels
        with torch.no_grad():
            wanted = self.features(x)
        error = losses.feature_error(wanted, self.features(x_hat))
        return (1 - s.features_share) * pixels + s.features_share * s.features_unit * error

    # --- what is left of a run --------------------------------------------------------------------------------------
    def preview(self, model: Any, folder: Path, step: int) -> None:
        """Four crops: originals above, reconstructions at quality 10, 30, 60, 90 below (one row without quality)."""
        from pipelines.media import write_picture

        crops = self.pictures.batch([self.seed, 2**40], range(4))
        device = next(model.parameters()).device
        x = torch.from_numpy(np.ascontiguousarray(crops.x.transpose(0, 3, 1, 2))).to(device).float() / 255
        inputs = {}
        if "labels" in self.takes:
            inputs["labels"] = torch.from_numpy(crops.labels.astype(np.int64)).to(device)
        rows = [crops.x]
        for quality in (10.0, 30.0, 60.0, 90.0) if "quality" in self.takes else (0.0,):
            if quality:
                inputs["quality"] = torch.full((len(x),), quality, device=device)
            x_hat = model(x, **inputs)["x_hat"]
            rows.append((x_hat.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        sheet = np.concatenate([np.concatenate(list(row), 1) for row in rows], 0)
        write_picture(folder / f"{step:07d}.png", sheet)

    def export(self, model: Any, path: Path) -> None:
        """The weights, as `icm.build(arch, weights=path)` reads them."""
        from pipelines.run.atomic import replacing

        with replacing(path) as temporary:
            model.export(temporary)


def build(settings: Settings, seed: int) -> ImageCodecTask:
    return ImageCodecTask(settings, seed)
