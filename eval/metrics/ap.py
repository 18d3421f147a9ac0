"""Result rows, and COCO average precision of rows against labels, in one call. `ap_scores.py` holds the arithmetic.

N: objects in a picture; H, W: its height and width; K: keypoints. Figures in percent, 0 to 100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.metrics.ap_scores import ApScores
from eval.metrics.matching import RULES, Matched, match_picture


@dataclass(frozen=True)
class AveragePrecision:
    """AP at IoU .5:.95, AP at IoU .5, and AP of each class (None, of any of them: no such object in these pictures)."""

    ap: float | None
    ap50: float | None
    per_class: dict[str, float | None]


def coco_results(image_id: int, prediction: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One picture's prediction as rows of a COCO results JSON.

    prediction: boxes (N, 4) xyxy in pixels, scores (N,), labels (N,) category ids; masks (N, H, W) bool and keypoints
    (N, K, 3) where the model gives them. Rows: image_id, category_id, bbox xywh, score; segmentation (RLE, counts as
    str), keypoints (flat: x, y, score of each).
    """
    boxes = np.asarray(prediction["boxes"], np.float64).reshape(-1, 4)
    scores = np.asarray(prediction["scores"], np.float64)
    labels = np.asarray(prediction["labels"]).astype(int)
    shapes, points = prediction.get("masks"), prediction.get("keypoints")
    rows = []
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        row: dict[str, Any] = {
            "image_id": int(image_id),
            "category_id": int(labels[i]),
            "bbox": [round(float(value), 3) for value in (x1, y1, x2 - x1, y2 - y1)],
            "score": round(float(scores[i]), 6),
        }
        if shapes is not None:
            row["segmentation"] = _rle(np.asarray(shapes[i]))
        if points is not None:
            row["keypoints"] = [round(float(value), 3) for value in np.asarray(points[i]).ravel()]
        rows.append(row)
    return rows


def average_precision(
    truth: Any, results: Sequence[Mapping[str, Any]], task: str, image_ids: Sequence[int]
) -> AveragePrecision:
    """AP of COCO result rows against `truth` (a pycocotools COCO) on these pictures only.

    Raises ValueError for an unknown task, and for instances where neither labels nor results hold masks.
    """
    labels = Labels(truth, task)
    by_picture: dict[int, list[Mapping[str, Any]]] = {picture: [] for picture in sorted(set(image_ids))}
    for row in results:
        if row["image_id"] in by_picture:
            by_picture[row["image_id"]].append(row)
    scores = ApScores.of(task, list(by_picture), labels.class_names,
                         [labels.match(picture, rows) for picture, rows in by_picture.items()])  # fmt: skip
    figures = scores.figures()
    return AveragePrecision(figures["ap"], figures["ap50"], {k: v["ap"] for k, v in scores.per_class().items()})


class Labels:
    """The labels of a task, ready to be matched; `truth` is a pycocotools COCO.

    Raises ValueError, one line, for an unknown task and where the labels hold nothing to compare.
    """

    def __init__(self, truth: Any, task: str) -> None:
        if task not in RULES:
            raise ValueError(f"{task}: no AP of that task; choose one of {', '.join(RULES)}")
        self.truth, self.task = truth, task
        self.field = RULES[task].field
        self.category_ids = sorted(row["id"] for row in truth.dataset["categories"])
        if task == "keypoints":  # merged annotations: classes of which no keypoints are known have no AP of them
            named = {row["id"] for row in truth.dataset["categories"] if row.get("keypoints")}
            self.category_ids = [category for category in self.category_ids if category in named or not named]
        names = {row["id"]: str(row["name"]) for row in truth.dataset["categories"]}
        self.class_names = [names[category] for category in self.category_ids]
        rows = truth.dataset["annotations"]
        if rows and not any(self.field in row for row in rows):
            raise ValueError(f"{task}: the annotations hold no {_WORDS[task]}; evaluate --task detection")

    def match(self, item_id: int, rows: Sequence[Mapping[str, Any]]) -> Matched:
        """Match the result rows of one picture; ValueError where they lack what is compared."""
        if any(self.field not in row for row in rows):
            raise ValueError(f"{self.task}: the model predicts no {_WORDS[self.task]}; evaluate --task detection")
        labels = self.truth.imgToAnns.get(item_id, [])
        if self.task == "instances":
            labels = [{**label, "segmentation": self.truth.annToRLE(label)} for label in labels]
        elif self.task == "keypoints":
            labels = [label for label in labels if "keypoints" in label]
        return match_picture(self.task, rows, labels, self.category_ids)


_WORDS = {"detection": "boxes", "instances": "masks", "keypoints": "keypoints"}


def _rle(mask: np.ndarray) -> dict[str, Any]:
    from pycocotools import mask as coder

    rle = coder.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(length) for length in rle["size"]], "counts": rle["counts"].decode("ascii")}
