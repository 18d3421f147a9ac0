"""Training the task model of the embedded scenes: Mask R-CNN on pictures that are drawn as it trains.

Every batch is new pictures of the split `train`; they are mirrored, and their light, noise and sharpness varied a
little. Nothing is compressed here on purpose: the model shall show what a codec destroys.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from eval.models.mask_rcnn_scenes import SceneMaskRCNN
from eval.scenes import Picture, picture


@dataclasses.dataclass
class Settings:
    """batch: pictures a step. scenes: how many different ones (each keeps 0.5 MB). weights: start from these."""

    batch: int = 4
    width: int = 384
    height: int = 256
    scenes: int = 1000
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    warmup: float = 0.02
    final_rate: float = 0.01
    weights: Path | None = None


def example(source: Picture, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """(3, H, W) uint8 and its targets, varied by rng."""
    image: np.ndarray = source.image.astype(np.float32)
    objects = source.instances
    masks = source.segments == np.array([o.segment_id for o in objects], np.uint16).reshape(-1, 1, 1)
    boxes = np.array([o.box for o in objects], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    if rng.random() < 0.5:
        image, masks = image[:, ::-1], masks[:, :, ::-1]
        boxes = np.stack([image.shape[1] - boxes[:, 2], boxes[:, 1], image.shape[1] - boxes[:, 0], boxes[:, 3]], 1)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), rng.uniform(0.2, 0.7))
    image = image * rng.uniform(0.8, 1.2) * rng.uniform(0.96, 1.04, 3).astype(np.float32) + rng.uniform(-10, 10)
    if rng.random() < 0.4:
        image = image + rng.uniform(1, 4) * rng.standard_normal(image.shape, np.float32)
    pixels = np.clip(image, 0, 255).astype(np.uint8).transpose(2, 0, 1)
    return torch.from_numpy(pixels.copy()), {
        "boxes": torch.from_numpy(boxes.copy()), "labels": torch.tensor([o.category_id for o in objects]).long(),
        "masks": torch.from_numpy(masks.astype(np.uint8))}  # fmt: skip


class MaskRcnnScenesTask:
    """`Task` of pipelines/trainer.py. Batches: (x (B, 3, H, W) uint8, [targets])."""

    name = "mask-rcnn-scenes"

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self._drawn: dict[int, Picture] = {}  # drawing a scene costs as much as a step on it

    def scene(self, index: int) -> Picture:
        """Scene `index` of the training split, without the masks that its segments repeat."""
        if index not in self._drawn:
            drawn = picture(index, self.seed, (self.settings.width, self.settings.height), "train")
            objects = [dataclasses.replace(o, mask=np.zeros(0, bool)) for o in drawn.instances if not o.ignored]
            segments = drawn.segments.astype(np.uint16)
            self._drawn[index] = dataclasses.replace(drawn, segments=segments, instances=objects)
        return self._drawn[index]

    def build(self) -> nn.Module:
        model = SceneMaskRCNN()
        if self.settings.weights is not None:
            from eval.models.weights import read

            model.load_state_dict(read(self.settings.weights))
        return model

    def optimizers(self, model: nn.Module) -> dict[str, Optimizer]:
        decayed = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim <= 1]
        decay = self.settings.weight_decay
        groups = [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
        return {"main": torch.optim.AdamW(groups, self.settings.learning_rate)}

    def schedule(self, progress: float) -> float:
        s = self.settings
        if progress < s.warmup:
            return max(progress / s.warmup, 1e-2)
        cosine = (1 + math.cos(math.pi * (progress - s.warmup) / (1 - s.warmup))) / 2
        return s.final_rate + (1 - s.final_rate) * cosine

    def at(self, model: nn.Module, progress: float) -> None:
        """One phase only."""

    def batch(self, step: int, rank: int, world: int) -> Any:
        s = self.settings
        rng = np.random.default_rng([self.seed, step, rank, world])
        indices = rng.integers(0, s.scenes, s.batch)
        items = [example(self.scene(int(i)), rng) for i in indices]
        return torch.stack([x for x, _ in items]), [target for _, target in items]

    def loss(self, model: nn.Module, batch: Any, step: int) -> dict[str, Tensor]:
        x = (batch[0].float() / 255).contiguous(memory_format=torch.channels_last)
        losses = model(x, batch[1])
        return {"main": sum(losses.values(), torch.zeros(())), **losses}

    def preview(self, model: nn.Module, folder: Path, step: int) -> None:
        """Four held-out scenes with what the model finds in them."""
        from eval.models import SceneModel
        from pipelines.media import write_picture

        shown = []
        detector = SceneModel(model)
        for index in range(4):
            image = picture(index, self.seed, (self.settings.width, self.settings.height), "val").image.copy()
            found = detector.predict([image])[0]
            for box, score, mask in zip(found["boxes"], found["scores"], found["masks"], strict=True):
                if score >= 0.5:
                    image[mask] = image[mask] // 2 + np.array([110, 20, 20], np.uint8)
                    x0, y0, x1, y1 = (round(float(v)) for v in box)
                    cv2.rectangle(image, (x0, y0), (x1, y1), (255, 220, 0), 1)
            shown.append(image)
        write_picture(folder / f"{step:07d}.png", np.vstack([np.hstack(shown[:2]), np.hstack(shown[2:])]))

    def export(self, model: nn.Module, path: Path) -> None:
        from eval.models.weights import write

        write(path, model.state_dict())


def build(settings: Settings, seed: int) -> MaskRcnnScenesTask:
    return MaskRcnnScenesTask(settings, seed)
