"""Training the task model of the embedded scenes: Mask R-CNN on pictures that are drawn as it trains.

Every batch is new pictures of the split `train`; they are mirrored, and their light, noise and sharpness varied a
little. Nothing is compressed here on purpose: the model shall show what a codec destroys.

With `semantic_only` a new semantic head is trained on given weights, every other tensor of which stays bit for bit.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from eval.models.mask_rcnn_scenes import SEMANTIC, SceneMaskRCNN
from eval.scenes import Picture, picture
from pipelines.tasks.optimising import adamw, warm_cosine


@dataclasses.dataclass
class Settings:
    """batch: pictures a step. scenes: how many different ones (each keeps 0.5 MB). weights: start from these.

    semantic_only: a new semantic head on `weights`, and nothing else, is trained.
    """

    batch: int = 4
    width: int = 384
    height: int = 256
    scenes: int = 1000
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    warmup: float = 0.02
    final_rate: float = 0.01
    weights: Path | None = None
    semantic_only: bool = False

    def __post_init__(self) -> None:
        if self.semantic_only and self.weights is None:
            raise ValueError("semantic_only trains a head on given weights; name them with settings.weights")


INDEX = np.zeros(max(SEMANTIC) + 1, np.int64)
"""Category id → channel of the semantic head."""
INDEX[list(SEMANTIC)] = np.arange(len(SEMANTIC))


def example(source: Picture, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """(3, H, W) uint8 and its targets, varied by rng."""
    image: np.ndarray = source.image.astype(np.float32)
    objects = source.instances
    masks = source.segments == np.array([o.segment_id for o in objects], np.uint16).reshape(-1, 1, 1)
    boxes = np.array([o.box for o in objects], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    semantic = INDEX[source.semantic]
    if rng.random() < 0.5:
        image, masks, semantic = image[:, ::-1], masks[:, :, ::-1], semantic[:, ::-1]
        boxes = np.stack([image.shape[1] - boxes[:, 2], boxes[:, 1], image.shape[1] - boxes[:, 0], boxes[:, 3]], 1)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), rng.uniform(0.2, 0.7))
    image = image * rng.uniform(0.8, 1.2) * rng.uniform(0.96, 1.04, 3).astype(np.float32) + rng.uniform(-10, 10)
    if rng.random() < 0.4:
        image = image + rng.uniform(1, 4) * rng.standard_normal(image.shape, np.float32)
    pixels = np.clip(image, 0, 255).astype(np.uint8).transpose(2, 0, 1)
    return torch.from_numpy(pixels.copy()), {
        "boxes": torch.from_numpy(boxes.copy()), "labels": torch.tensor([o.category_id for o in objects]).long(),
        "masks": torch.from_numpy(masks.astype(np.uint8)), "semantic": torch.from_numpy(semantic.copy())}  # fmt: skip


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
            from eval.models.weights import fit, read

            tensors = read(self.settings.weights)
            new = {name: t for name, t in model.state_dict().items() if name.startswith("semantic.")}
            fit(model, {**tensors, **new} if self.settings.semantic_only else {**new, **tensors}, self.settings.weights)
        if self.settings.semantic_only:
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name.startswith("semantic."))
        return model

    def optimizers(self, model: nn.Module) -> dict[str, Optimizer]:
        return {"main": adamw(model, self.settings.learning_rate, self.settings.weight_decay)}

    def schedule(self, progress: float) -> float:
        return warm_cosine(progress, self.settings.warmup, self.settings.final_rate)

    def at(self, model: nn.Module, progress: float) -> None:
        """One phase only; what is frozen keeps the statistics of its normalisations, too."""
        if self.settings.semantic_only:
            model.eval()
            model.semantic.train()  # type: ignore[union-attr, operator]

    def batch(self, step: int, rank: int, world: int) -> Any:
        s = self.settings
        rng = np.random.default_rng([self.seed, step, rank, world])
        indices = rng.integers(0, s.scenes, s.batch)
        items = [example(self.scene(int(i)), rng) for i in indices]
        return torch.stack([x for x, _ in items]), [target for _, target in items]

    def loss(self, model: nn.Module, batch: Any, step: int) -> dict[str, Tensor]:
        x = (batch[0].float() / 255).contiguous(memory_format=torch.channels_last)
        if self.settings.semantic_only:
            with torch.no_grad():
                features = model.features(x)  # type: ignore[operator]
            return {"main": model.semantic_loss(features, batch[1])}  # type: ignore[operator]
        losses = model(x, batch[1])
        return {"main": sum(losses.values(), torch.zeros(())), **losses}

    def preview(self, model: nn.Module, folder: Path, step: int) -> None:
        """Four held-out scenes with what the model finds in them."""
        from eval.models import SceneModel
        from eval.scenes import CATEGORIES
        from pipelines.media import write_picture

        shown = []
        detector = SceneModel(model)
        colours = {row["id"]: np.array(row["color"]) for row in CATEGORIES}
        for index in range(4):
            image = picture(index, self.seed, (self.settings.width, self.settings.height), "val").image.copy()
            found = detector.predict([image])[0]
            for segment in found["segments"]:
                mask = found["panoptic"] == segment["id"]
                image[mask] = (image[mask] + colours[segment["category_id"]]) // 2
            for box, score in zip(found["boxes"], found["scores"], strict=True):
                if score >= 0.5:
                    x0, y0, x1, y1 = (round(float(v)) for v in box)
                    cv2.rectangle(image, (x0, y0), (x1, y1), (255, 220, 0), 1)
            shown.append(image)
        write_picture(folder / f"{step:07d}.png", np.vstack([np.hstack(shown[:2]), np.hstack(shown[2:])]))

    def export(self, model: nn.Module, path: Path) -> None:
        from eval.models.weights import write

        write(path, model.state_dict())


def build(settings: Settings, seed: int) -> MaskRcnnScenesTask:
    return MaskRcnnScenesTask(settings, seed)
