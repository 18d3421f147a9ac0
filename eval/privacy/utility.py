"""What a codec leaves of persons as objects: the price of privacy. Person AP and recall at the same qualities.

Two kinds of labels, and a report says which:
  exact     the embedded scenes, with the task model trained on them
  pseudo    the face pictures themselves: a person is what the detector finds in the originals, so these score 100
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.metrics import average_precision, coco_results
from eval.models import MODELS, TaskModel, build
from eval.privacy.base import matches
from eval.privacy.files import sha256

PERSON = 1  # COCO's category
SURE = 0.5  # score from which a detection is a pseudo-label


class FastestDet:
    """FastestDet (BSD-3-Clause, COCO) from an ONNX file: a grid of 22 x 22 cells, each with one box.

    Output (1, 85, 22, 22): objectness, box (tanh offset of the centre in cells, sigmoid of width and height as shares
    of the picture), 80 classes.
    """

    tasks = ("detection",)

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise ValueError(f"{path}: no such file; give --person-detector fastestdet:FILE.onnx")
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"{path}: needs onnxruntime: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
            raise ValueError(f"{path}: does not load as an ONNX detector ({reason}); fetch it again") from None
        self.name, self.sha256 = "fastestdet", sha256(path)

    def predict(self, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """As every task model; persons only."""
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: np.ndarray) -> dict[str, Any]:
        import cv2
        import torch
        from torchvision.ops import nms

        small = cv2.resize(picture, (352, 352))[..., ::-1].astype(np.float32) / 255
        grid = self._session.run(None, {self._session.get_inputs()[0].name: small.transpose(2, 0, 1)[None]})[0][0]
        rows, columns = np.mgrid[: grid.shape[1], : grid.shape[2]]
        centre = (np.tanh(grid[1]) + columns) / grid.shape[2], (np.tanh(grid[2]) + rows) / grid.shape[1]
        side = 1 / (1 + np.exp(-grid[3])), 1 / (1 + np.exp(-grid[4]))
        boxes = np.stack([centre[0] - side[0] / 2, centre[1] - side[1] / 2,
                          centre[0] + side[0] / 2, centre[1] + side[1] / 2], -1).reshape(-1, 4)  # fmt: skip
        boxes = (boxes * np.tile(picture.shape[1::-1], 2)).astype(np.float32)
        scores = (grid[0] ** 0.6 * grid[5:].max(0) ** 0.4).ravel().astype(np.float32)
        use = (scores > 0.05) & (grid[5:].argmax(0).ravel() == 0)
        kept = nms(torch.from_numpy(boxes[use]), torch.from_numpy(scores[use]), 0.45).numpy()
        return {"boxes": boxes[use][kept], "scores": scores[use][kept], "labels": np.full(len(kept), PERSON)}


def person_detector(spec: str) -> Any:
    """`fastestdet:FILE.onnx`, a name of eval.models, or NAME=WEIGHTS; ValueError in one line."""
    if spec.startswith("fastestdet:"):
        return FastestDet(spec.partition(":")[2])
    name, _, weights = spec.partition("=")
    if name not in MODELS:
        raise ValueError(f"--person-detector {spec}: unknown; give fastestdet:FILE.onnx, or one of {', '.join(MODELS)}")
    return build(name, weights=weights or None)


def persons(model: TaskModel, picture: np.ndarray) -> dict[str, Any]:
    """boxes (N, 4), scores, labels of the persons in one picture."""
    if hasattr(model, "wanted"):
        model.wanted = ("detection",)  # masks and maps would cost time and nobody looks at them here
    found = model.predict([picture])[0]
    use = np.asarray(found["labels"]) == PERSON
    return {key: np.asarray(found[key])[use] for key in ("boxes", "scores", "labels")}


class Persons:
    """Labels of a set, and figures of predictions on it. boxes: a row a picture of (N, 4) xyxy; ignored: (N,) bool."""

    def __init__(self, boxes: Sequence[np.ndarray], ignored: Sequence[np.ndarray] | None = None) -> None:
        self.boxes = [np.asarray(row, float).reshape(-1, 4) for row in boxes]
        self.ignored = [np.zeros(len(row), bool) for row in self.boxes] if ignored is None else list(ignored)

    @property
    def count(self) -> int:
        """Persons that count."""
        return int(sum((~row).sum() for row in self.ignored))

    def evaluate(self, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """{ap, ap50 (percent), recall (share found with IoU >= .5 and score >= .5), persons}; None without persons."""
        if not self.count:
            return {"ap": None, "ap50": None, "recall": None, "persons": 0}
        rows = [row for image, one in enumerate(found) for row in coco_results(image, one)]
        figures = average_precision(self._truth(), rows, "detection", list(range(len(self.boxes))))
        hits = 0
        for boxes, ignored, one in zip(self.boxes, self.ignored, found, strict=True):
            sure = np.asarray(one["boxes"], float).reshape(-1, 4)[np.asarray(one["scores"]) >= SURE]
            hits += sum(at >= 0 for at in matches(sure, boxes[~ignored]))
        return {"ap": figures.ap, "ap50": figures.ap50, "recall": hits / self.count, "persons": self.count}

    def _truth(self) -> Any:
        import contextlib
        import io

        from pycocotools.coco import COCO

        annotations: list[dict[str, Any]] = []
        for image, (boxes, ignored) in enumerate(zip(self.boxes, self.ignored, strict=True)):
            for (x1, y1, x2, y2), crowd in zip(boxes, ignored, strict=True):
                annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": PERSON,
                                    "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1),
                                    "iscrowd": int(crowd)})  # fmt: skip
        truth = COCO()
        truth.dataset = {"images": [{"id": i} for i in range(len(self.boxes))], "annotations": annotations,
                         "categories": [{"id": PERSON, "name": "person"}]}  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):
            truth.createIndex()
        return truth


def scenes(count: int) -> tuple[list[np.ndarray], Persons]:
    """`count` pictures of the embedded scenes' test split, with their exact labels of persons."""
    from eval.scenes import pictures

    images, boxes, ignored = [], [], []
    for scene in pictures(count, seed=0, split="test"):
        people = [o for o in scene.instances if o.category_id == PERSON]
        corners = np.array([o.box for o in people], float).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        images.append(np.ascontiguousarray(scene.image))
        boxes.append(corners)
        ignored.append(np.array([o.ignored for o in people], bool))
    return images, Persons(boxes, ignored)
