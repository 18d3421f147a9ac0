"""YOLO by name through the package ultralytics: `yolo:yolov8n`, `yolo:yolov5nu`, `yolo:yolo11n-seg`, `yolo:FILE.pt`.

That package is AGPL-3.0, and so are its weights: whoever distributes or serves what is built on them must publish its
source under that licence, or buy another. It is therefore no dependency of this project; YOLOs run through `onnx:`
without it. Its telemetry, update checks and automatic installations are off here (its variables YOLO_OFFLINE and
YOLO_AUTOINSTALL), and checkpoints, which are pickles, are read without running what is in them where its version can do
that (ULTRALYTICS_SAFE_LOAD, 8.4): take them from people you trust.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.models.labels import COCO_THINGS, ON_COCO
from eval.models.scene_model import check

TASKS = {"detect": ("detection",), "segment": ("detection", "instances"), "pose": ("detection", "keypoints")}
SUFFIXES = {"-seg": "segment", "-pose": "pose"}
SCORE, IOU = 0.001, 0.7  # of Ultralytics' own evaluation: AP wants the whole curve
MOST = {"detect": 300, "segment": 100, "pose": 100}  # objects a picture; COCO's AP looks at 100, masks are large


class YoloModel:
    """`TaskModel` around `ultralytics.YOLO`. One picture at a time: its letterbox depends on its neighbours' shapes."""

    def __init__(self, rest: str, weights: str | os.PathLike | None = None) -> None:
        if weights is None and rest.endswith(".pt"):
            weights = rest
        stem = Path(rest).stem if rest.endswith(".pt") else rest
        self.name = f"yolo:{rest}"
        self._stem, self._weights, self._model = stem, weights, None
        self._task = next((task for end, task in SUFFIXES.items() if stem.endswith(end)), "detect")
        self.tasks: tuple[str, ...] = TASKS[self._task]
        self.note = ""
        self.files: tuple[Path, ...] = ()
        self._ids: dict[int, str] = {}  # id -> name, in the order of the network's classes

    @property
    def categories(self) -> dict[int, str]:
        """COCO's ids where all names are COCO's; else classes counted from 1. Reads the weights."""
        self._network()
        return self._ids

    def predict(self, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """See `eval.models`."""
        import torch

        network = self._network()
        device = 0 if torch.cuda.is_available() else "cpu"
        results = []
        for picture in pictures:
            bgr = np.ascontiguousarray(check(picture)[..., ::-1])
            # predict() changes torch's inference mode, cuDNN flags and numbers of threads nowhere but inside
            found = network.predict(bgr, conf=SCORE, iou=IOU, max_det=MOST[self._task], retina_masks=True,
                                    device=device, verbose=False, save=False)[0]  # fmt: skip
            results.append(self._read(found.cpu(), picture.shape))
        return results

    def _read(self, found: Any, shape: tuple[int, ...]) -> dict[str, Any]:
        ids = np.array(list(self._ids), np.int64)
        boxes = found.boxes
        result = {"boxes": boxes.xyxy.numpy().astype(np.float32), "scores": boxes.conf.numpy().astype(np.float32),
                  "labels": ids[boxes.cls.numpy().astype(int)]}  # fmt: skip
        if self._task == "segment":
            masks = found.masks
            result["masks"] = np.zeros((0, *shape[:2]), bool) if masks is None else masks.data.numpy() > 0.5
        if self._task == "pose":
            points = found.keypoints.data.numpy().astype(np.float32).reshape(len(boxes), -1, found.keypoints.shape[-1])
            if points.shape[2] == 2:  # networks without a score for each point
                points = np.concatenate([points, np.ones_like(points[..., :1])], 2)
            result["keypoints"] = points
        return result

    def _network(self) -> Any:
        if self._model is None:
            model, path = load(self.name, self._stem, self._weights)
            if model.task not in TASKS:
                raise ValueError(f"{path}: is a network for {model.task!r}; detect, segment and pose are taken")
            if model.task != self._task:
                end = next((end for end, task in SUFFIXES.items() if task == model.task), "")
                raise ValueError(f"{path}: is a network for {model.task!r}; name it so, as in "
                                 f"yolo:{self._stem.removesuffix('-seg').removesuffix('-pose')}{end}")  # fmt: skip
            self._ids = ids_of(list(model.names.values()))
            coco = set(self._ids) <= set(COCO_THINGS) and len(self._ids) == 80
            self.note = ON_COCO if coco and self._weights is None else self.note
            self.files = (path,)
            self._model = model
        return self._model


def ids_of(names: Sequence[str]) -> dict[int, str]:
    """Classes by name, in order -> category id -> name: COCO's ids where all are COCO's, else 1, 2, 3, ..."""
    ids = {name: i for i, name in COCO_THINGS.items()}
    if set(names) <= set(ids):
        return {ids[name]: name for name in names}
    return dict(enumerate(names, 1))


def load(name: str, stem: str, weights: str | os.PathLike | None) -> tuple[Any, Path]:
    """(an ultralytics.YOLO, its file); weights given, or fetched by ultralytics into the cache. One-line errors."""
    # before its import, which reads them
    for key, value in (("YOLO_OFFLINE", "true"), ("YOLO_AUTOINSTALL", "false"), ("YOLO_VERBOSE", "false"),
                       ("ULTRALYTICS_SAFE_LOAD", "true")):  # fmt: skip
        os.environ.setdefault(key, value)
    try:
        from ultralytics import YOLO
    except ImportError:
        raise ImportError(f"{name}: needs ultralytics (AGPL-3.0): pip install ultralytics") from None
    if weights is not None and not Path(weights).is_file():
        raise ValueError(f"{weights}: no such weights; name a .pt file of ultralytics")
    path = Path(weights) if weights is not None else _fetch(name, stem)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return YOLO(str(path)), path
    except Exception as error:  # pickles and its own checks raise whatever they meet
        raise ValueError(f"{path}: not readable by ultralytics ({' '.join(str(error).split())[:120]})") from None


def _fetch(name: str, stem: str) -> Path:
    from ultralytics.utils.downloads import attempt_download_asset

    from eval.privacy.files import folders

    folder = folders()[0]
    reason = "no such file among its releases"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            path = Path(attempt_download_asset(folder / f"{stem}.pt"))  # yolov5n becomes yolov5nu, as it is called now
        if path.is_file():
            return path
    except Exception as error:  # requests, urllib, curl: each has its own
        reason = " ".join(str(error).split())[:120]
    raise OSError(f"{name}: weights not fetched by ultralytics ({reason}); fetch {stem}.pt elsewhere and name it with "
                  "--model-weights PATH")  # fmt: skip


def build(rest: str, weights: str | os.PathLike | None = None) -> YoloModel:
    """rest: a name of ultralytics' releases, or FILE.pt. Weights are read, or fetched, at the first predict."""
    if not rest:
        raise ValueError("yolo: name a network, as in yolo:yolov8n")
    return YoloModel(rest, weights)


def names() -> tuple[str, ...]:
    """Those of the papers, and their successors; any other of ultralytics' releases is taken too."""
    return tuple(f"yolov5{size}u" for size in "nsmlx") + tuple(f"yolov8{size}" for size in "nsmlx")
