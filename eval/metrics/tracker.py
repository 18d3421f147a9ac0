"""Links detections of consecutive frames to tracks, for task models that do not track.

The rule is that of ByteTrack (Zhang et al. 2022, arXiv 2110.06864) without its motion model: sure detections choose
among the tracks first, by the largest total IoU; unsure ones may go on with what is left, and never begin a track.
It is part of the measure, the same for every codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SURE, UNSURE = 0.5, 0.1  # scores from which detections are taken
LEAST_IOU = 0.3  # below it a detection is another object
PATIENCE = 30  # frames that a track is looked for after it was last seen


@dataclass
class Track:
    """One object so far."""

    number: int
    box: np.ndarray  # (4,) xywh, where it was last seen
    seen: int  # frame


class Tracker:
    """Frames of one sequence and one class, in order. The same boxes and scores give the same tracks."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self.frame = -1
        self.begun = 0

    def link(self, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """(N,) track numbers from 0, -1 for detections that belong to none; boxes (N, 4) xywh, scores (N,)."""
        self.frame += 1
        numbers = np.full(len(boxes), -1)
        free = [track for track in self.tracks if self.frame - track.seen <= PATIENCE]
        for chosen in (np.flatnonzero(scores >= SURE), np.flatnonzero((scores >= UNSURE) & (scores < SURE))):
            pairs = assign(np.array([track.box for track in free]).reshape(-1, 4), boxes[chosen])
            for old, new in pairs:
                free[old].box, free[old].seen = boxes[chosen[new]], self.frame
                numbers[chosen[new]] = free[old].number
            used = {old for old, _ in pairs}
            free = [track for place, track in enumerate(free) if place not in used]
        for place in np.flatnonzero((numbers < 0) & (scores >= SURE)):
            numbers[place] = self.begun
            self.tracks.append(Track(self.begun, boxes[place], self.frame))
            self.begun += 1
        self.tracks = [track for track in self.tracks if self.frame - track.seen <= PATIENCE]
        return numbers


def assign(old: np.ndarray, new: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of (old, new) boxes with the largest total IoU, each at least LEAST_IOU."""
    from scipy.optimize import linear_sum_assignment

    if not len(old) or not len(new):
        return []
    similarity = iou(old, new)
    similarity[similarity < LEAST_IOU] = 0.0
    return [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(-similarity), strict=True) if similarity[i, j] > 0]


def iou(a: np.ndarray | Sequence, b: np.ndarray | Sequence, crowd: bool = False) -> np.ndarray:
    """(A, B) intersection over union of boxes xywh; where b are crowds, over the area of a."""
    from pycocotools import mask as coder

    a, b = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (a, b))
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    return np.asarray(coder.iou(a, b, [int(crowd)] * len(b)))
