"""Instances and semantic classes to one panoptic map, by the rules of Panoptic FPN (Kirillov et al. 2019,
arXiv 1901.02446).

    masks, by falling score ──▶ paste what is still free, unless most of the mask is taken
    semantic argmax ──────────▶ fill what is left with stuff; small areas stay void
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

VOID = 0
"""Panoptic id of a pixel that belongs to no segment."""


def fuse(masks: np.ndarray, scores: np.ndarray, labels: np.ndarray, semantic: np.ndarray, things: Collection[int], *,
         score: float = 0.5, overlap: float = 0.5, stuff_area: float = 4096) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """masks (N, H, W) bool, scores (N,), labels (N,) category ids; semantic (H, W) int32 category ids, -1 void.

    `things`: the category ids that only masks may draw; where the semantic map has one of them and no mask lies, the
    pixel is void. `score`: masks below it are left out. `overlap`: a mask of which a larger share is taken already is
    left out. `stuff_area`: pixels that a stuff class needs to be a segment.

    Returns the map (H, W) int32 of ids 1, 2, … in the order of pasting, 0 void, and its segments
    [{"id", "category_id", "isthing"}]. Equal scores keep their order. ValueError where shapes do not fit.
    """
    if not len(masks) == len(scores) == len(labels) or (len(masks) and masks.shape[1:] != semantic.shape):
        raise ValueError(f"panoptic fusion: masks {masks.shape}, scores {scores.shape}, labels {labels.shape} and "
                         f"a semantic map {semantic.shape} do not belong together")  # fmt: skip
    panoptic = np.full(semantic.shape, VOID, np.int32)
    segments: list[dict[str, Any]] = []

    def add(where: np.ndarray, category: int, thing: bool) -> None:
        segments.append({"id": len(segments) + 1, "category_id": int(category), "isthing": thing})
        panoptic[where] = len(segments)

    for i in np.argsort(-np.asarray(scores), kind="stable"):
        if scores[i] < score:
            break
        area = int(masks[i].sum())
        free = masks[i] & (panoptic == VOID)
        left = int(free.sum())
        if left and area - left <= overlap * area:
            add(free, labels[i], True)
    # Each class begins somewhere in a row; sorting these pixels alone takes a tenth of the time.
    starts = np.concatenate([semantic[:, :1].ravel(), semantic[:, 1:][semantic[:, 1:] != semantic[:, :-1]]])
    for category in np.unique(starts):
        if category < 0 or category in things:
            continue
        free = (semantic == category) & (panoptic == VOID)
        if 0 < int(free.sum()) >= stuff_area:
            add(free, category, False)
    return panoptic, segments
