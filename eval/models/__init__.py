"""Task models: frames in, what a machine finds in them out.

    model = build("mask-rcnn-scenes")                          # shipped weights
    model = build("mask-rcnn-scenes", weights="runs/m/model.safetensors")
    model = build("torchvision:maskrcnn_resnet50_fpn", weights="maskrcnn_resnet50_fpn_coco.pth")
    model.name, model.tasks                                    # "mask-rcnn-scenes", ("detection", "instances")
    model.predict([picture, ...])                              # pictures (H, W, 3) uint8 RGB, of any sizes
    -> [{"boxes": (N, 4) float32 xyxy in pixels, "scores": (N,) float32, falling, "labels": (N,) int64 COCO category
        ids, "masks": (N, H, W) bool; absent where "instances" is not among the tasks}, ...]

To add a model: one file with a builder `(weights: path | None) -> TaskModel`, and its line in MODELS. Weights are read
at the first `predict`, so building and listing cost nothing. The same pictures give the same numbers on one machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from eval.models.official import OFFICIAL, official
from eval.models.scene_model import SceneModel, mask_rcnn_scenes

__all__ = ["MODELS", "SceneModel", "TaskModel", "build"]


class TaskModel(Protocol):
    """What evaluation asks of a model."""

    name: str
    tasks: tuple[str, ...]

    def predict(self, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]: ...


MODELS: dict[str, Callable[..., TaskModel]] = {
    "mask-rcnn-scenes": mask_rcnn_scenes,
    **{f"torchvision:{name}": official(name) for name in OFFICIAL},
}
"""name -> builder(weights=None) -> TaskModel"""


def build(name: str, weights: str | os.PathLike | None = None) -> TaskModel:
    """The model of that name; ValueError, one line, when there is none."""
    if name not in MODELS:
        raise ValueError(f"unknown task model {name!r}: one of {', '.join(MODELS)}")
    return MODELS[name](weights=weights)
