"""Which detection finds which object, by COCO's rules: pycocotools' decisions, for all thresholds and sizes at once.

D: detections of one class in one picture by falling score, G: its objects there, A: ranges of area, T: thresholds,
K: keypoints. Similarity is IoU of boxes or masks (pycocotools' own C code) or OKS of keypoints, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
SMALL, MEDIUM, MOST = 32.0**2, 96.0**2, 1e5**2  # pixels
AREAS = {"all": (0.0, MOST), "small": (0.0, SMALL), "medium": (SMALL, MEDIUM), "large": (MEDIUM, MOST)}
# of COCO's 17 keypoints: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
SIGMAS = np.array(
    [0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89]
) / 10.0  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """How a task is compared: its field of a row, the ranges of area that count, detections a class and picture."""

    field: str
    areas: tuple[str, ...]
    most: int


RULES = {
    "detection": Rules("bbox", ("all", "small", "medium", "large"), 100),
    "instances": Rules("segmentation", ("all", "small", "medium", "large"), 100),
    "keypoints": Rules("keypoints", ("all", "medium", "large"), 20),
}


@dataclass(frozen=True)
class Matched:
    """One picture. Bit t of `found` and `false` (A, D) uint16 says what the detection is at threshold t: an object
    found, a false alarm, or neither (ignored). `counted` (G, A): objects to be found."""

    classes: np.ndarray  # (D,) int16, index into the categories
    scores: np.ndarray  # (D,) float64
    found: np.ndarray
    false: np.ndarray
    object_classes: np.ndarray  # (G,) int16
    counted: np.ndarray  # (G, A) bool


def match_picture(
    task: str, rows: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]], category_ids: Sequence[int]
) -> Matched:
    """Match COCO result rows of a picture with its annotations; both of whatever classes, unknown ones left out.

    `labels` have RLE as segmentation where masks are compared. D and G here count all classes.
    """
    rules = RULES[task]
    place = {category: index for index, category in enumerate(category_ids)}
    objects: dict[int, list[Mapping[str, Any]]] = {}
    for label in labels:
        if label["category_id"] in place:
            objects.setdefault(place[label["category_id"]], []).append(label)
    detections: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["category_id"] in place:
            detections.setdefault(place[row["category_id"]], []).append(row)
    bits = 1 << np.arange(len(THRESHOLDS))
    parts, counted, object_classes = [], [], []
    for index in sorted(objects.keys() | detections.keys()):
        here = sorted(detections.get(index, ()), key=lambda row: -row["score"])[: rules.most]  # stable
        there = objects.get(index, [])
        ignored = np.array([[_ignored(task, label, area) for label in there] for area in rules.areas], bool)
        ignored = ignored.reshape(len(rules.areas), len(there))
        counted.append(~ignored.T)
        object_classes += [index] * len(there)
        if not here:
            continue
        sizes = _areas(task, here)
        outside = np.array([(sizes < AREAS[area][0]) | (sizes > AREAS[area][1]) for area in rules.areas])
        at = np.full((len(rules.areas), len(THRESHOLDS), len(here)), -1)
        if there:
            crowd = np.array([bool(label.get("iscrowd", 0)) for label in there])
            at = assign(similarities(task, here, there), ignored, crowd)
        # pycocotools keeps the id of what was matched, and takes an id of 0 for nothing
        real = (at >= 0) & (np.array([*(label["id"] != 0 for label in there), False])[at])
        aside = np.concatenate([ignored, np.zeros((len(rules.areas), 1), bool)], axis=1)  # index -1: nothing matched
        skipped = np.take_along_axis(aside[:, None], at, axis=2) | (~real & outside[:, None])
        found = ((real & ~skipped) * bits[:, None]).sum(axis=1)
        false = ((~real & ~skipped) * bits[:, None]).sum(axis=1)
        parts.append((np.full(len(here), index), np.array([row["score"] for row in here]), found, false))
    empty = np.zeros((len(rules.areas), 0))
    classes, scores, found, false = (np.concatenate(column, axis=-1) for column in
                                     zip((empty[0], empty[0], empty, empty), *parts, strict=True))  # fmt: skip
    return Matched(
        classes.astype(np.int16), scores.astype(np.float64), found.astype(np.uint16), false.astype(np.uint16),
        np.array(object_classes, np.int16), np.concatenate([np.zeros((0, len(rules.areas)), bool), *counted]),
    )  # fmt: skip


def assign(similarity: np.ndarray, ignored: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """(A, T, D): the object that each detection takes, or -1. similarity (D, G), ignored (A, G), crowd (G,).

    By falling score each takes the most similar object still free, an ignored one only where no other is in reach, of
    equals the last. Crowds stay free.
    """
    floors = np.minimum(THRESHOLDS, 1 - 1e-10)
    objects = np.arange(similarity.shape[1])
    taken = np.zeros((len(ignored), len(floors), len(objects)), bool)
    at = np.full((len(ignored), len(floors), len(similarity)), -1)
    for d in np.flatnonzero((similarity >= floors[0]).any(axis=1)):
        free = (similarity[d] >= floors[:, None]) & ~taken
        wanted = free & ~ignored[:, None]
        pool = np.where(wanted.any(axis=-1, keepdims=True), wanted, free)
        best = len(objects) - 1 - np.argmax(np.where(pool, similarity[d], -1.0)[..., ::-1], axis=-1)
        hit = pool.any(axis=-1)
        at[..., d] = np.where(hit, best, -1)
        taken |= hit[..., None] & (objects == best[..., None]) & ~crowd
    return at


def similarities(task: str, rows: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(D, G) of result rows with annotations."""
    from pycocotools import mask as coder

    if task == "keypoints":
        return oks(rows, labels)
    field = RULES[task].field
    crowd = [int(bool(label.get("iscrowd", 0))) for label in labels]
    return np.asarray(coder.iou([row[field] for row in rows], [label[field] for label in labels], crowd))


def oks(rows: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Object keypoint similarity (D, G): mean over the labelled keypoints of exp(-d² / (2 · area · (2 sigma)²)).

    Where nothing is labelled, distances are those to the box, doubled in size about its centre.
    """
    points = np.array([row["keypoints"] for row in rows], np.float64).reshape(len(rows), -1, 3)
    if points.shape[1] != len(SIGMAS):
        raise ValueError(f"keypoints: {points.shape[1]} an object predicted, COCO's {len(SIGMAS)} are needed")
    x, y = points[..., 0], points[..., 1]
    found = np.zeros((len(rows), len(labels)))
    for j, label in enumerate(labels):
        truth = np.array(label["keypoints"])
        if truth.size != 3 * len(SIGMAS):
            raise ValueError(f"keypoints: {truth.size // 3} an object labelled, COCO's {len(SIGMAS)} are needed")
        seen = truth[2::3] > 0
        if seen.any():
            dx, dy = x - truth[0::3], y - truth[1::3]
        else:
            left, top, width, height = label["bbox"]
            dx = np.maximum(0, left - width - x) + np.maximum(0, x - (left + width * 2))
            dy = np.maximum(0, top - height - y) + np.maximum(0, y - (top + height * 2))
            seen = np.ones(len(SIGMAS), bool)
        e = (dx**2 + dy**2) / (SIGMAS * 2) ** 2 / (label["area"] + np.spacing(1)) / 2
        found[:, j] = np.exp(-np.ascontiguousarray(e[:, seen])).sum(axis=1) / seen.sum()
    return found


def _ignored(task: str, label: Mapping[str, Any], area: str) -> bool:
    low, high = AREAS[area]
    unlabelled = task == "keypoints" and label.get("num_keypoints", 0) == 0
    return bool(label.get("iscrowd", 0)) or unlabelled or label["area"] < low or label["area"] > high


def _areas(task: str, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(D,) pixels of what the rows show, as pycocotools' loadRes counts them."""
    if task == "instances":
        from pycocotools import mask as coder

        return np.asarray(coder.area([row["segmentation"] for row in rows]), np.float64)
    if task == "keypoints":
        points = np.array([row["keypoints"] for row in rows], np.float64).reshape(len(rows), -1, 3)
        return np.ptp(points[..., 0], axis=1) * np.ptp(points[..., 1], axis=1)
    return np.array([row["bbox"][2] * row["bbox"][3] for row in rows], np.float64)
