"""COCO average precision of boxes and of masks. pycocotools decides every number.

N: objects in a picture; H, W: its height and width. Figures in percent, 0 to 100.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

IOU_TYPES = {"detection": "bbox", "instances": "segm"}  # task -> what is compared


@dataclass(frozen=True)
class AveragePrecision:
    """AP at IoU .5:.95, AP at IoU .5, and AP of each class (None, of any of them: no such object in these pictures)."""

    ap: float | None
    ap50: float | None
    per_class: dict[str, float | None]


def coco_results(image_id: int, prediction: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One picture's prediction as rows of a COCO results JSON.

    prediction: boxes (N, 4) xyxy in pixels, scores (N,), labels (N,) category ids, masks (N, H, W) bool where the
    model gives them. Rows: image_id, category_id, bbox xywh, score, and segmentation (RLE, counts as str).
    """
    boxes = np.asarray(prediction["boxes"], np.float64).reshape(-1, 4)
    scores = np.asarray(prediction["scores"], np.float64)
    labels = np.asarray(prediction["labels"]).astype(int)
    shapes = prediction.get("masks")
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
        rows.append(row)
    return rows


def average_precision(
    truth: Any, results: Sequence[Mapping[str, Any]], task: str, image_ids: Sequence[int]
) -> AveragePrecision:
    """AP of COCO result rows against `truth` (a pycocotools COCO) on these pictures only.

    Raises ValueError for an unknown task, and for instances where neither labels nor results hold masks.
    """
    from pycocotools.cocoeval import COCOeval

    if task not in IOU_TYPES:
        raise ValueError(f"{task}: no AP of that task; choose one of {', '.join(IOU_TYPES)}")
    iou_type = IOU_TYPES[task]
    wanted = set(image_ids)
    rows = [dict(row) for row in results if row["image_id"] in wanted]
    if iou_type == "segm":
        if not any("segmentation" in row for row in truth.dataset["annotations"]):
            raise ValueError("instances: the annotations hold no masks; evaluate --task detection")
        if any("segmentation" not in row for row in rows):
            raise ValueError("instances: the model predicts no masks; evaluate --task detection")
        for row in rows:
            row.pop("bbox", None)  # else loadRes takes the rows for boxes and their areas with them
    names = {row["id"]: str(row["name"]) for row in truth.dataset["categories"]}
    with contextlib.redirect_stdout(io.StringIO()):
        # without rows, loadRes fails; a model that finds nothing has AP 0
        found = truth.loadRes(rows) if rows else _nothing(truth)
        evaluation = COCOeval(truth, found, iou_type)
        evaluation.params.imgIds = sorted(wanted)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class), all sizes, most detections
    per_class = {}
    for index, category in enumerate(evaluation.params.catIds):
        values = precision[:, :, index]
        values = values[values > -1]
        per_class[names[category]] = 100.0 * float(values.mean()) if values.size else None
    # pycocotools says -1 where there was nothing to find, which is no accuracy at all, and not one of 0
    ap, ap50 = (100.0 * value if (value := float(evaluation.stats[i])) >= 0 else None for i in (0, 1))
    return AveragePrecision(ap, ap50, per_class)


def _rle(mask: np.ndarray) -> dict[str, Any]:
    from pycocotools import mask as coder

    rle = coder.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(length) for length in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _nothing(truth: Any) -> Any:
    from pycocotools.coco import COCO

    empty = COCO()
    empty.dataset = {"images": truth.dataset["images"], "categories": truth.dataset["categories"], "annotations": []}
    empty.createIndex()
    return empty
