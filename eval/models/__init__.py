"""Task models: frames in, what a machine finds in them out.

    model = build("mask-rcnn-scenes")                          # shipped weights
    model = build("mask-rcnn-scenes", weights="runs/m/model.safetensors")
    model = build("torchvision:maskrcnn_resnet50_fpn", weights="maskrcnn_resnet50_fpn_coco.pth")
    model = build("detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x")
    model.name, model.tasks, model.categories                  # "…", ("detection",), {1: "person", …} or None
    model.predict([picture, ...])                              # pictures (H, W, 3) uint8 RGB, of any sizes
    -> [{"boxes": (N, 4) float32 xyxy in pixels, "scores": (N,) float32, falling, "labels": (N,) int64 category ids of
         the data set that the model was trained on (COCO's for COCO models); and, as its tasks say,
         "masks": (N, H, W) bool                                                          # instances
         "keypoints": (N, K, 3) float32 x, y in pixels, score                             # keypoints
         "panoptic": (H, W) int32 segment ids, 0 void, "segments": [{"id", "category_id", "isthing"}, …]   # panoptic
         "semantic": (H, W) int32 category ids, -1 void}, ...]                            # semantic

To add a model: one file with a builder `(weights: path | None) -> TaskModel`, and its line in MODELS; for a family of
models by name, a module with `build(rest, weights=None) -> TaskModel` and `names() -> tuple` (those known beforehand),
and its line in FAMILIES; outside this project, such a `build` as an entry point of the group `vcm.models`. Weights are
read at the first `predict`, so building and listing cost nothing. The same pictures give the same numbers on one
machine.
"""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import numpy as np

from eval.models.official import OFFICIAL, official
from eval.models.scene_model import SceneModel, mask_rcnn_scenes

__all__ = ["FAMILIES", "GROUP", "MODELS", "SceneModel", "TaskModel", "build", "names"]

GROUP = "vcm.models"
"""The group of entry points: NAME = "package.module:build", asked for as NAME or NAME:REST."""


class TaskModel(Protocol):
    """What evaluation asks of a model. It may also say `categories: dict[int, str] | None`, the ids that it knows."""

    name: str
    tasks: tuple[str, ...]

    def predict(self, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]: ...


MODELS: dict[str, Callable[..., TaskModel]] = {
    "mask-rcnn-scenes": mask_rcnn_scenes,
    **{f"torchvision:{name}": official(name) for name in OFFICIAL},
}
"""name -> builder(weights=None) -> TaskModel"""

FAMILIES: dict[str, str] = {
    "detectron2": "eval.models.detectron2_zoo",
    "onnx": "eval.models.onnx",
    "yolo": "eval.models.yolo",
}
"""prefix -> module with build(rest, weights=None) -> TaskModel and names() -> tuple[str, ...]; imported when needed"""


def build(name: str, weights: str | os.PathLike | None = None) -> TaskModel:
    """The model of that name; ValueError, one line, when there is none; ImportError when its package is missing."""
    if name in MODELS:
        return MODELS[name](weights=weights)
    prefix, _, rest = name.partition(":")
    if prefix in FAMILIES:
        return importlib.import_module(FAMILIES[prefix]).build(rest, weights=weights)
    entry = _entries().get(prefix)
    if entry is not None:
        return _load(entry)(rest, weights=weights)
    raise ValueError(_unknown(name))


def names() -> list[str]:
    """Every name known beforehand: MODELS, what the families list, and entry points (which may take more names)."""
    listed = list(MODELS)
    for prefix, module in FAMILIES.items():
        listed += [f"{prefix}:{rest}" for rest in importlib.import_module(module).names()]
    return listed + list(_entries())


def closest(name: str, known: Sequence[str]) -> str | None:
    """The known name that a misspelt one most likely means."""
    by_lower = {candidate.lower(): candidate for candidate in reversed(known)}
    found = difflib.get_close_matches(name.lower(), by_lower, 1, 0.5)
    return by_lower[found[0]] if found else None


def _entries() -> dict[str, EntryPoint]:
    """Entry points by name; ours come first, so none can take a name away."""
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in (*MODELS, *FAMILIES)}


def _load(entry: EntryPoint) -> Callable[..., TaskModel]:
    try:
        builder = entry.load()
    except Exception as error:  # another's code may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ImportError(f"task model {entry.name}: its entry point {entry.value} does not load ({reason})") from None
    if not callable(builder):
        raise ImportError(f"task model {entry.name}: its entry point {entry.value} is no callable (rest, weights=None)")
    return builder


def _unknown(name: str) -> str:
    known = [*MODELS, *_entries()]
    # A name without its prefix is compared with names without theirs.
    bare = {candidate.rpartition(":")[2]: candidate for candidate in known} if ":" not in name else {}
    near = closest(name, [*known, *bare])
    near = bare.get(near, near) if near else None
    guess = f" (did you mean {near}?)" if near else ""
    families = [f"{prefix}:…" for prefix in FAMILIES]
    return f"unknown task model {name!r}{guess}: one of {', '.join([*known, *families])}"
