"""Pseudo-labels: what a model finds in the uncompressed pictures, taken for the truth about them.

    predictions on uncompressed pictures ─score >= least─▶ Dataset(pseudo=True) ─▶ the same evaluators as with labels

They say how much a codec changes what a model sees, not how right it is: uncompressed pictures score near 100 by
construction, and mistakes that survive coding count as correct. Figures from them are a protocol of their own and are
named so (`pseudo`, and `info` of the COCO labels).

Boxes, masks and keypoints become COCO annotations. In sequences the detections are linked to tracks (`tracker.py`, as
its defaults do it), and what belongs to a track is a label whatever its score. Panoptic and semantic maps are taken as
they are (the model's own thresholds made them) and kept compressed, about 10 kB a picture.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from eval.datasets.base import Category, Dataset, Item, Panoptic
from eval.metrics import coco_results
from eval.models.labels import COCO_THINGS
from eval.models.tracker import Tracker

SCORE = 0.5


class Maps:
    """Item id -> (H, W) int32 of segment ids or categories, -1 … 2^24 − 2, kept as PNG."""

    def __init__(self) -> None:
        self._files: dict[int, bytes] = {}

    def add(self, item_id: int, values: np.ndarray) -> None:
        import cv2

        # one more, so that void, -1, has a place
        shifted = np.asarray(values, np.int64) + 1
        if shifted.min(initial=0) < 0 or shifted.max(initial=0) >= 1 << 24:
            raise ValueError(f"picture {item_id}: a map holds ids from {shifted.min() - 1} to {shifted.max() - 1}; "
                             "-1 to 2^24 - 2 can be kept")  # fmt: skip
        done, data = cv2.imencode(".png", np.stack([shifted >> 8 * i & 255 for i in range(3)], -1).astype(np.uint8))
        assert done
        self._files[item_id] = bytes(data)

    def __call__(self, item_id: int) -> np.ndarray:
        """(H, W) int32. KeyError: no such item."""
        import cv2

        channels = cv2.imdecode(np.frombuffer(self._files[item_id], np.uint8), cv2.IMREAD_COLOR).astype(np.int32)
        return channels[..., 0] + (channels[..., 1] << 8) + (channels[..., 2] << 16) - 1

    def __len__(self) -> int:
        return len(self._files)


def pseudo_truth(
    dataset: Dataset, predictions: Iterable[tuple[Item, Mapping[str, Any]]], model: Any, score: float = SCORE
) -> Dataset:
    """The data set with the model's findings as its labels.

    predictions: each item once, in the data set's order, with what `eval.models` says a model predicts, or with "rows"
    of COCO results in place of boxes; taken one at a time. score: least score of an object. ValueError, one line, where
    an item is missing or nothing at all was found.
    """
    rows: list[dict[str, Any]] = []
    segments: dict[int, list[dict[str, Any]]] = {}
    panoptic, semantic = Maps(), Maps()
    trackers: dict[str, Tracker] = {}
    seen: set[int] = set()
    things: dict[int, bool] = {}  # category id -> whether its segments say that they are things
    values: set[int] = set()  # of semantic maps
    objects = False
    for item, found in predictions:
        seen.add(item.id)
        if "boxes" in found or "rows" in found:
            objects = True
            results = found["rows"] if "rows" in found else coco_results(item.id, found)
            if item.sequence:
                results = _linked(results, trackers.setdefault(item.sequence, Tracker()))
            for row in _annotations(results, score):
                rows.append({"id": len(rows) + 1, **row})
        if "panoptic" in found:
            ids = np.asarray(found["panoptic"])
            panoptic.add(item.id, ids)
            segments[item.id] = _segments(ids, found["segments"])
            things |= {int(row["category_id"]): bool(row["isthing"]) for row in found["segments"]}
        if "semantic" in found:
            semantic.add(item.id, found["semantic"])
            values |= set(np.unique(found["semantic"]).tolist())
    missing = [item for item in dataset.items if item.id not in seen]
    if missing:
        raise ValueError(f"{missing[0].file_name}: no prediction to make pseudo-labels of; predict all {len(dataset)} "
                         "uncompressed pictures first")  # fmt: skip
    name, known = getattr(model, "name", "a model"), dict(getattr(model, "categories", None) or {})
    if not rows and not len(panoptic) and not len(semantic):
        raise ValueError(f"{name} finds nothing with a score of {score:g} or more in the uncompressed pictures, so "
                         "there are no pseudo-labels; lower the score, or take another model")  # fmt: skip
    categories = _known(known, (row["category_id"] for row in rows))
    stuff = {i: Category(name=n, isthing=things.get(i, n == COCO_THINGS.get(i)))
             for i, n in _known(known, (row["category_id"] for each in segments.values() for row in each)).items()}
    return dataclasses.replace(
        dataset,
        truth=_coco(dataset, rows, categories, f"pseudo-labels: {name}, score >= {score:g}") if objects else None,
        categories=categories if objects else {},
        panoptic=Panoptic(stuff, segments, panoptic) if len(panoptic) else None,
        semantic=semantic if len(semantic) else None,
        semantic_categories=_known(known, values - {-1}) if len(semantic) else {},
        pseudo=True,
    )


def _annotations(rows: Iterable[Mapping[str, Any]], least: float) -> list[dict[str, Any]]:
    """COCO annotations without ids, of objects that are there in more than name, best first."""
    from pycocotools import mask as coder

    kept = []
    for row in sorted(rows, key=lambda row: -row["score"]):
        if row["score"] < least and "track_id" not in row:
            continue
        area = float(row["bbox"][2] * row["bbox"][3])
        if row["bbox"][2] <= 0 or row["bbox"][3] <= 0:
            continue
        label = {key: row[key] for key in ("image_id", "category_id", "bbox", "score", "track_id") if key in row}
        label["iscrowd"] = 0
        if "segmentation" in row:
            area = float(coder.area(row["segmentation"]))
            if area == 0:
                continue
            label["segmentation"] = row["segmentation"]
        if "keypoints" in row:
            points = np.asarray(row["keypoints"], float).reshape(-1, 3)
            # all taken for visible: that a point is hidden is nothing that these models say
            label["keypoints"] = np.concatenate([points[:, :2], np.full((len(points), 1), 2.0)], 1).ravel().tolist()
            label["num_keypoints"] = len(points)
        kept.append(label | {"area": area})
    return kept


def _linked(rows: list[dict[str, Any]], tracker: Tracker) -> list[dict[str, Any]]:
    """The rows of the next frame; those of a track with its `track_id`."""
    boxes = np.array([row["bbox"] for row in rows], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores, labels = (np.array([row[key] for row in rows]) for key in ("score", "category_id"))
    ids = tracker.update(boxes, scores, labels)
    return [{**row, "track_id": int(i)} if i > 0 else row for row, i in zip(rows, ids, strict=True)]


def _segments(ids: np.ndarray, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """COCO's segments_info with areas and boxes; segments without a pixel are left out."""
    labels = []
    for row in rows:
        y, x = np.nonzero(ids == row["id"])
        if len(y):
            box = [int(x.min()), int(y.min()), int(x.max() - x.min() + 1), int(y.max() - y.min() + 1)]
            labels.append({"id": int(row["id"]), "category_id": int(row["category_id"]), "iscrowd": 0,
                           "area": len(y), "bbox": box})  # fmt: skip
    return labels


def _known(categories: Mapping[int, str], used: Iterable[int]) -> dict[int, str]:
    """The model's categories, and a name for ids that it uses without saying so."""
    named = {i: f"category {i}" for i in sorted({int(i) for i in used} - set(categories))}
    return {**categories, **named}


def _coco(dataset: Dataset, rows: list[dict[str, Any]], categories: Mapping[int, str], said: str) -> Any:
    """A pycocotools COCO."""
    from pycocotools.coco import COCO

    images = [{"id": item.id, "file_name": item.file_name, "width": item.width, "height": item.height}
              for item in dataset.items]  # fmt: skip
    points = {row["category_id"]: row["num_keypoints"] for row in rows if "keypoints" in row}
    listed: list[dict[str, Any]] = [{"id": i, "name": name} for i, name in sorted(categories.items())]
    for row in listed:
        if row["id"] in points:  # as in COCO's own file of keypoints, where only such categories are scored
            row["keypoints"] = [f"point {i}" for i in range(1, points[row["id"]] + 1)]
    truth = COCO()
    truth.dataset = {"info": {"description": said}, "images": images, "annotations": rows, "categories": listed}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth
