"""Masks to a label map: the interface between whatever segments a picture and the edges drawn from it.

Shapes: masks (N, H, W) bool, scores (N,), label map (H, W) int32, 0 where no mask lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def painting_order(areas: Sequence[int], scores: Sequence[float]) -> list[int]:
    """Indices of masks in the order in which they are painted, the first lowest.

    Largest first, so that a part is seen on its whole. Of two masks of one area the surer one must be seen, so the
    lower score is painted first; of two alike, the earlier in the list is seen (SAM and COCO results list the better
    first). The order is total: it depends on nothing but areas, scores and positions.
    """
    return sorted(range(len(areas)), key=lambda i: (-areas[i], scores[i], -i))


def label_map(
    masks: Iterable[np.ndarray], scores: Sequence[float] | None = None, shape: tuple[int, int] | None = None
) -> np.ndarray:
    """Paint masks into one label map: mask i gets label i + 1, what no mask covers stays 0.

    masks: N arrays (H, W), anything that converts to bool. scores: N numbers, the higher the surer; all alike when
    absent. shape: (H, W), needed when there may be no mask at all. Returns (H, W) int32. Raises ValueError when sizes
    or counts differ.
    """
    masks = [np.asarray(mask, dtype=bool) for mask in masks]
    scores = [0.0] * len(masks) if scores is None else [float(score) for score in scores]
    if len(scores) != len(masks):
        raise ValueError(f"{len(masks)} masks have {len(scores)} scores: give one score a mask")
    if shape is None:
        if not masks:
            raise ValueError("no masks and no shape: give the picture's (height, width)")
        shape = (masks[0].shape[0], masks[0].shape[1])
    labels = np.zeros(shape, dtype=np.int32)
    for mask in masks:
        if mask.shape != labels.shape:
            raise ValueError(f"a mask of {mask.shape} does not fit the picture of {labels.shape}")
    for i in painting_order([int(mask.sum()) for mask in masks], scores):
        labels[masks[i]] = i + 1
    return labels


def refine(maps: Sequence[np.ndarray]) -> np.ndarray:
    """The coarsest label map in which two neighbours differ wherever they differ in any of `maps` (each (H, W)).

    Its boundaries are the union of theirs: so do several annotators' drawings become one map. Returns (H, W) int32,
    numbered from 1. Raises ValueError when there is none or sizes differ.
    """
    if not maps:
        raise ValueError("no label maps to refine")
    if any(labels.shape != maps[0].shape for labels in maps):
        raise ValueError(f"label maps differ in size: {sorted({labels.shape for labels in maps})}")
    joint, size = np.zeros(maps[0].size, dtype=np.int64), 1
    for labels in maps:
        ids, count = np.asarray(labels).ravel().astype(np.int64), 1 + int(labels.max())
        if labels.min() < 0 or size * count >= 2**62:  # too wide to count with: number both from 0 without gaps
            joint, size = _dense(joint)
            ids, count = _dense(ids)
        joint, size = joint * count + ids, size * count
    joint, _ = _dense(joint)
    return (joint + 1).reshape(maps[0].shape).astype(np.int32)


def count_labels(labels: np.ndarray) -> int:
    """How many different labels but 0 a label map (H, W) shows."""
    # each label begins somewhere in a row: sorting only these is some twenty times faster than sorting every pixel
    starts = np.concatenate([labels[:, 0], labels[:, 1:][labels[:, 1:] != labels[:, :-1]]])
    return int(np.count_nonzero(np.unique(starts)))


def _dense(ids: np.ndarray) -> tuple[np.ndarray, int]:
    """The same partition (n,) numbered 0, 1, …, and how many; sorting makes it the slow part of `refine`."""
    values, dense = np.unique(ids, return_inverse=True)
    return dense.ravel().astype(np.int64), len(values)
