"""The adapter of `mask-rcnn-scenes`: any picture in, boxes, full-size masks, panoptic and semantic maps out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from eval.models.panoptic_fusion import fuse
from eval.models.weights import SHIPPED, fit, read
from eval.scenes.labels import CATEGORIES, THINGS

PIXELS = 384 * 256  # what the network was trained on; other sizes are brought near it
THRESHOLD = 0.5
# Of the panoptic map, chosen on 40 scenes of the split val (they hardly matter: 62 to 64 PQ):
SCORE = 0.7          # an instance is at least this sure
OVERLAP = 0.5        # and at most this share of it lies under surer ones
STUFF_SHARE = 0.015  # of the picture's pixels, that a stuff class needs; the paper has 4096 of about 640×480
MAPS = ("panoptic", "semantic")


def check(picture: np.ndarray) -> np.ndarray:
    """The picture itself; ValueError unless (H, W, 3) uint8."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(f"a task model takes (H, W, 3) uint8 RGB, not {picture.shape} {picture.dtype}")
    return picture


def paste(masks: np.ndarray, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Masks (N, m, m) in [0, 1] of boxes (N, 4) xyxy → (N, height, width) bool."""
    whole = np.zeros((len(masks), height, width), bool)
    for out, mask, (x0, y0, x1, y1) in zip(whole, masks, boxes, strict=True):
        left, top = max(int(np.floor(x0)), 0), max(int(np.floor(y0)), 0)
        right, bottom = min(int(np.ceil(x1)), width), min(int(np.ceil(y1)), height)
        if right <= left or bottom <= top:
            continue
        # Pixel centres in the mask's coordinates, whose cells span the box; a border of zeros ends it.
        padded = np.pad(mask, 1)
        side = mask.shape[0]
        u = ((np.arange(left, right) + 0.5 - x0) / max(x1 - x0, 1e-3) * side + 0.5).astype(np.float32)
        v = ((np.arange(top, bottom) + 0.5 - y0) / max(y1 - y0, 1e-3) * side + 0.5).astype(np.float32)
        uu, vv = np.meshgrid(u, v)
        out[top:bottom, left:right] = cv2.remap(padded, uu, vv, cv2.INTER_LINEAR) >= THRESHOLD
    return whole


def classes_at(logits: np.ndarray, ids: Sequence[int], height: int, width: int) -> np.ndarray:
    """Logits (classes, h, w) → the strongest class's id at every pixel of a picture, (height, width) int32; -1 where
    none is a number.

    One class after the other, so that a large picture needs two maps and not one of every class.
    """
    best, found = np.full((height, width), -np.inf, np.float32), np.full((height, width), -1, np.int32)
    for plane, number in zip(logits, ids, strict=True):
        if plane.shape != (height, width):
            plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        stronger = plane > best
        best[stronger], found[stronger] = plane[stronger], number
    return found


class SceneModel:
    """`TaskModel`. `model`: a SceneMaskRCNN to use as it is, or None: the weights at `weights`, read when needed.

    `wanted`: the tasks that `predict` answers, which may be set between calls; None: all that the weights can. Nothing
    is computed for the others, and no task changes another's figures.
    """

    name = "mask-rcnn-scenes"
    tasks: tuple[str, ...] = ("detection", "instances", *MAPS)
    note = "trained on the drawn scenes of `vcm demo` only"
    categories: dict[int, str]

    def __init__(self, model: Any = None, weights: str | os.PathLike | None = None,
                 wanted: Sequence[str] | None = None) -> None:
        self._model, self._weights = model, weights if weights is not None else SHIPPED / f"{self.name}.safetensors"
        self.wanted = wanted
        self.categories = {row["id"]: row["name"] for row in CATEGORIES}

    def _network(self) -> Any:
        if self._model is None:
            import torch

            from eval.models.mask_rcnn_scenes import SceneMaskRCNN

            tensors = read(self._weights)
            model = SceneMaskRCNN(semantic=any(name.startswith("semantic.") for name in tensors))
            fit(model, tensors, self._weights)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            self._model = model.eval().fuse().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._model

    def _answered(self, network: Any) -> tuple[str, ...]:
        able = self.tasks if network.semantic is not None else tuple(t for t in self.tasks if t not in MAPS)
        if self.wanted is None:
            return able
        unknown = [task for task in self.wanted if task not in able]
        if unknown:
            reason = (f"{self._weights}: these weights have no semantic head" if unknown[0] in MAPS
                      else f"task model {self.name}")  # fmt: skip
            raise ValueError(f"{reason}: no task {unknown[0]}; it has {', '.join(able)}")
        return tuple(self.wanted)

    def predict(self, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """One picture at a time: neighbours in a batch cannot change a result. See `eval.models`."""
        import torch

        network = self._network()
        wanted = self._answered(network)
        training = network.training
        network.eval()
        try:
            with torch.inference_mode(), torch.autocast("cpu", enabled=False):
                return [self._one(network, check(picture), wanted) for picture in pictures]
        finally:
            network.train(training)

    def _one(self, network: Any, picture: np.ndarray, wanted: Sequence[str]) -> dict[str, Any]:
        import torch

        from eval.models.mask_rcnn_scenes import SEMANTIC

        height, width = picture.shape[:2]
        factor = (PIXELS / (height * width)) ** 0.5
        small = picture
        if not 0.8 < factor < 1.25:
            size = max(round(width * factor), 32), max(round(height * factor), 32)
            small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        device = next(network.parameters()).device
        x = torch.from_numpy(small.transpose(2, 0, 1).copy())[None].to(device).float() / 255
        maps = any(task in MAPS for task in wanted)
        found = network(x.contiguous(memory_format=torch.channels_last), semantic=maps)[0]
        scale = np.array([width / small.shape[1], height / small.shape[0]] * 2, np.float32)
        boxes = found["boxes"].cpu().numpy() * scale
        result = {"boxes": boxes, "scores": found["scores"].cpu().numpy(), "labels": found["labels"].cpu().numpy()}
        if "instances" in wanted or "panoptic" in wanted:
            masks = paste(found["masks"][:, 0].float().cpu().numpy(), boxes, height, width)
            if "instances" in wanted:
                result["masks"] = masks
        if maps:
            semantic = classes_at(found["semantic"].cpu().numpy(), SEMANTIC, height, width)
            if "semantic" in wanted:
                result["semantic"] = semantic
        if "panoptic" in wanted:
            result["panoptic"], result["segments"] = fuse(
                masks, result["scores"], result["labels"], semantic, THINGS, score=SCORE, overlap=OVERLAP,
                stuff_area=STUFF_SHARE * height * width)  # fmt: skip
        return result


def mask_rcnn_scenes(weights: str | os.PathLike | None = None) -> SceneModel:
    return SceneModel(weights=weights)
