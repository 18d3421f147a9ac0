"""Training a task model further on what a codec leaves of the pictures: the protocol "fine-tuned".

    decoded pictures, at any of the qualities ─mirrored or not─▶ the model's own losses against the labels

The network is that of `eval.models`: torchvision's detectors, mask-rcnn-scenes, or any model that has `network()` and
`losses(pictures, annotations, semantic)`, as Detectron2's have. Normalisations keep their statistics, for batches are
small.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from eval.datasets import Dataset, Item
from pipelines.evaluate_models import TUNED
from pipelines.media import read_picture
from pipelines.run.atomic import write_bytes
from pipelines.tasks.optimising import adamw, warm_cosine


@dataclasses.dataclass
class Settings:
    """What decides a fine-tuning. codecs: NAME:QUALITY; weights: where the model starts (None: its own).

    batch: pictures a step. warmup, final_rate: of the schedule, as in the other tasks.
    """

    model: str
    codecs: list[str]
    weights: str | None = None
    batch: int = 2
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    warmup: float = 0.05
    final_rate: float = 0.02
    content: str = ""  # hash of the pictures and labels


class FineTune:
    """`Task` of pipelines/trainer.py. Batches: (pictures, annotations, semantic maps or None).

    decoded: item id -> the PNGs of its decoded pictures, one a quality; about: what the weights say of themselves.
    """

    name = "finetune"

    def __init__(
        self, settings: Settings, seed: int, dataset: Dataset, decoded: dict[int, list[Path]], about: dict[str, Any]
    ) -> None:
        from eval.models import build

        self.settings, self.seed, self.dataset, self.decoded, self.about = settings, seed, dataset, decoded, about
        self.model = build(settings.model, weights=settings.weights)
        self._losses: Callable[..., dict[str, Tensor]]
        if hasattr(self.model, "losses"):
            self._losses = lambda network, *batch: self.model.losses(*batch)  # type: ignore[attr-defined]
        elif settings.model == "mask-rcnn-scenes":
            self._losses = scene_losses
        elif settings.model.startswith("torchvision:") and "detection" in self.model.tasks:
            self._losses = torchvision_losses
        else:
            raise ValueError(f"--model {settings.model}: cannot be fine-tuned here; torchvision's detectors, "
                             "mask-rcnn-scenes and Detectron2's models can")  # fmt: skip

    def build(self) -> nn.Module:
        if self._losses is scene_losses:
            return _scene_network(self.settings.weights)
        source = self.model.network if hasattr(self.model, "network") else self.model._network  # type: ignore[attr-defined]
        network: nn.Module = source()
        return network

    def optimizers(self, model: nn.Module) -> dict[str, Optimizer]:
        return {"main": adamw(model, self.settings.learning_rate, self.settings.weight_decay)}

    def schedule(self, progress: float) -> float:
        return warm_cosine(progress, self.settings.warmup, self.settings.final_rate)

    def at(self, model: nn.Module, progress: float) -> None:
        """One phase only; statistics of a few pictures must not replace those that the model came with."""
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    def batch(self, step: int, rank: int, world: int) -> Any:
        rng = np.random.default_rng([self.seed, step, rank, world])
        items = [self.dataset.items[int(i)] for i in rng.integers(0, len(self.dataset), self.settings.batch)]
        pictures, annotations, maps = zip(*(self._example(item, rng) for item in items), strict=True)
        return list(pictures), list(annotations), None if self.dataset.semantic is None else list(maps)

    def _example(self, item: Item, rng: np.random.Generator) -> tuple[np.ndarray, list[dict[str, Any]], Any]:
        versions = self.decoded[item.id]
        picture = read_picture(versions[int(rng.integers(len(versions)))]).copy()  # torch wants it writable
        truth = self.dataset.truth
        known = getattr(self.model, "categories", None)  # a label that the network has no output for teaches nothing
        rows = [dict(row) for row in truth.loadAnns(truth.getAnnIds(imgIds=[item.id]))
                if not row.get("iscrowd") and (not known or row["category_id"] in known)]  # fmt: skip
        semantic = None if self.dataset.semantic is None else self.dataset.semantic(item.id)
        for row in rows:
            if "segmentation" in row:
                row["segmentation"] = truth.annToRLE(row)
        # keypoints would have to change sides by their names
        if rng.random() < 0.5 and not any("keypoints" in row for row in rows):
            picture = np.ascontiguousarray(picture[:, ::-1])
            semantic = None if semantic is None else np.ascontiguousarray(semantic[:, ::-1])
            rows = [_mirrored(row, picture.shape[1]) for row in rows]
        return picture, rows, semantic

    def loss(self, model: nn.Module, batch: Any, step: int) -> dict[str, Tensor]:
        losses = self._losses(model, *batch)
        return {"main": torch.stack([value.float() for value in losses.values()]).sum(), **losses}

    def preview(self, model: nn.Module, folder: Path, step: int) -> None:
        """`vcm evaluate` shows more than a picture of the training set could."""

    def export(self, model: nn.Module, path: Path) -> None:
        """All digits, and on what they were tuned: `vcm evaluate` reads its protocol there."""
        from safetensors.torch import save  # not `save_file`, which has temporary names of its own

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        write_bytes(path, save(tensors, {TUNED: json.dumps(self.about)}))


def _mirrored(row: dict[str, Any], width: int) -> dict[str, Any]:
    from pycocotools import mask as coder

    x, y, w, h = row["bbox"]
    made = {**row, "bbox": [width - x - w, y, w, h]}
    if "segmentation" in row:
        made["segmentation"] = coder.encode(np.asfortranarray(coder.decode(row["segmentation"])[:, ::-1]))
    return made


def targets(rows: list[dict[str, Any]], device: torch.device, masks: bool, size: tuple[int, ...]) -> dict[str, Tensor]:
    """Annotations as torchvision's detectors take them: boxes (N, 4) xyxy, labels (N,), masks (N, H, W), keypoints."""
    from pycocotools import mask as coder

    kept = [row for row in rows if min(row["bbox"][2:]) >= 1 and (not masks or "segmentation" in row)]
    boxes = torch.tensor([row["bbox"] for row in kept], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    found = {"boxes": boxes.to(device), "labels": torch.tensor([row["category_id"] for row in kept]).long().to(device)}
    if masks:
        shapes = np.stack([coder.decode(row["segmentation"]) for row in kept]) if kept else np.zeros((0, *size[:2]))
        found["masks"] = torch.from_numpy(shapes.astype(np.uint8)).to(device)
    if kept and all("keypoints" in row for row in kept):
        points = torch.tensor([row["keypoints"] for row in kept], dtype=torch.float32)
        found["keypoints"] = points.reshape(len(kept), -1, 3).to(device)
    return found


def torchvision_losses(
    model: nn.Module, pictures: list[np.ndarray], annotations: list[list[dict[str, Any]]], semantic: Any = None
) -> dict[str, Tensor]:
    """The losses of a torchvision detector; it resizes and normalises inside."""
    device = next(model.parameters()).device
    heads = getattr(model, "roi_heads", None)
    masks = heads is not None and heads.has_mask()
    if heads is not None and heads.has_keypoint():
        annotations = [[row for row in rows if row.get("num_keypoints")] for rows in annotations]
    x = [torch.from_numpy(picture).to(device).permute(2, 0, 1).float() / 255 for picture in pictures]
    return dict(model(x, [targets(rows, device, masks, picture.shape)
                          for rows, picture in zip(annotations, pictures, strict=True)]))  # fmt: skip


def scene_losses(
    model: nn.Module, pictures: list[np.ndarray], annotations: list[list[dict[str, Any]]], semantic: Any = None
) -> dict[str, Tensor]:
    """The losses of mask-rcnn-scenes, pictures padded to the largest; its semantic head learns where there are maps."""
    from eval.models.mask_rcnn_scenes import CLASSES, IGNORED, SEMANTIC

    network: Any = model
    device = next(model.parameters()).device
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    x = torch.full((len(pictures), height, width, 3), 115, dtype=torch.uint8)  # what the network takes for nothing
    places = {category: place for place, category in enumerate(SEMANTIC)}
    wanted = []
    for i, (picture, rows) in enumerate(zip(pictures, annotations, strict=True)):
        x[i, : picture.shape[0], : picture.shape[1]] = torch.from_numpy(picture)
        known = [row for row in rows if row["category_id"] in CLASSES]
        target = targets(known, device, True, picture.shape)
        pad = (0, width - picture.shape[1], 0, height - picture.shape[0])
        target["masks"] = nn.functional.pad(target["masks"], pad)
        if semantic is not None:
            values = np.vectorize(lambda category: places.get(category, IGNORED), otypes=[np.int64])(semantic[i])
            target["semantic"] = nn.functional.pad(torch.from_numpy(values), pad, value=IGNORED).to(device)
        wanted.append(target)
    floats = x.to(device).permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)
    head = network.semantic
    try:
        network.semantic = head if semantic is not None else None  # without maps it has nothing to learn from
        return dict(network(floats, wanted))
    finally:
        network.semantic = head


def _scene_network(weights: str | None) -> nn.Module:
    from eval.models.mask_rcnn_scenes import SceneMaskRCNN
    from eval.models.weights import SHIPPED, fit, read

    path = weights or SHIPPED / "mask-rcnn-scenes.safetensors"
    tensors = read(path)
    network = SceneMaskRCNN(semantic=any(name.startswith("semantic.") for name in tensors))
    fit(network, tensors, path)
    return network
