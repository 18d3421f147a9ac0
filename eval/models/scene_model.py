"""The adapter of `mask-rcnn-scenes`: any picture in, boxes and full-size masks out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from eval.models.weights import SHIPPED, fit, read

PIXELS = 384 * 256  # what the network was trained on; other sizes are brought near it
THRESHOLD = 0.5


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


class SceneModel:
    """`TaskModel`. `model`: a SceneMaskRCNN to use as it is, or None: the weights at `weights`, read when needed."""

    name = "mask-rcnn-scenes"
    tasks: tuple[str, ...] = ("detection", "instances")

    def __init__(self, model: Any = None, weights: str | os.PathLike | None = None) -> None:
        self._model, self._weights = model, weights if weights is not None else SHIPPED / f"{self.name}.safetensors"
        self._fused = False

    def _network(self) -> Any:
        if self._model is None:
            import torch

            from eval.models.mask_rcnn_scenes import SceneMaskRCNN

            self._model = SceneMaskRCNN()
            fit(self._model, read(self._weights), self._weights)
            self._model.eval().fuse().to(memory_format=torch.channels_last)
        return self._model

    def predict(self, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """One picture at a time: neighbours in a batch cannot change a result. See `eval.models`."""
        import torch

        network = self._network()
        training = network.training
        network.eval()
        try:
            with torch.inference_mode(), torch.autocast("cpu", enabled=False):
                return [self._one(network, check(picture)) for picture in pictures]
        finally:
            network.train(training)

    def _one(self, network: Any, picture: np.ndarray) -> dict[str, Any]:
        import torch

        height, width = picture.shape[:2]
        factor = (PIXELS / (height * width)) ** 0.5
        small = picture
        if not 0.8 < factor < 1.25:
            size = max(round(width * factor), 32), max(round(height * factor), 32)
            small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        device = next(network.parameters()).device
        x = torch.from_numpy(small.transpose(2, 0, 1).copy())[None].to(device).float() / 255
        found = network(x.contiguous(memory_format=torch.channels_last))[0]
        scale = np.array([width / small.shape[1], height / small.shape[0]] * 2, np.float32)
        boxes = found["boxes"].cpu().numpy() * scale
        masks = found["masks"][:, 0].float().cpu().numpy()
        return {"boxes": boxes, "scores": found["scores"].cpu().numpy(), "labels": found["labels"].cpu().numpy(),
                "masks": paste(masks, boxes, height, width)}


def mask_rcnn_scenes(weights: str | os.PathLike | None = None) -> SceneModel:
    return SceneModel(weights=weights)
