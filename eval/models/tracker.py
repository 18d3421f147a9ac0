"""Detections of a clip linked to tracks: identities for a task model that has none.

    tracker = Tracker()                                  # one a sequence
    for found in model.predict(frames):                  # in order of time
        ids = tracker.update(found["boxes"], found["scores"], found["labels"])     # (N,) int64, -1: no track

SORT's scheme (Bewley et al. 2016, arXiv 1602.00763): predict where each track is, assign detections to tracks by IoU,
best in sum; with ByteTrack's second round (Zhang et al. 2022, arXiv 2110.06864), in which weak detections may continue
a track but start none. In place of the Kalman filter its steady state for constant velocity, an alpha-beta filter: the
gains are constants, so nothing depends on noise models. Appearance is not looked at. Packages that do this bring
another OpenCV or rest on unmaintained filters; these rules are fixed, so figures do not move with a version.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

ALPHA = 0.7  # share of a new position that is believed
BETA = ALPHA**2 / (2 - ALPHA)  # and of a new velocity: Benedict and Bordner's relation


@dataclass
class _Track:
    """A box (centre x, y, width, height in pixels) that moves `velocity` a frame."""

    state: np.ndarray
    label: int
    id: int = -1  # given when a second detection confirms it
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(4))
    missed: int = 0  # frames since its last detection

    def advance(self) -> None:
        # a track that is not seen keeps its size, else one that recedes shrinks to nothing
        self.state = self.state + self.velocity * (1, 1, self.missed == 0, self.missed == 0)
        self.state[2:] = np.maximum(self.state[2:], 1)

    def see(self, measured: np.ndarray) -> None:
        residual = measured - self.state
        self.state = self.state + ALPHA * residual
        self.velocity = self.velocity + BETA / (self.missed + 1) * residual
        self.missed = 0


class Tracker:
    """Tracks of one sequence, each of one class.

    high: least score that starts a track; low: that continues one; patience: frames that a track outlives unseen;
    overlap, overlap_low: least IoU of prediction and detection, strong and weak. A track counts from its second
    detection on, in the first frame at once, so a single false alarm is none.
    """

    def __init__(self, high: float = 0.5, low: float = 0.1, patience: int = 30, overlap: float = 0.3,
                 overlap_low: float = 0.5) -> None:  # fmt: skip
        self.high, self.low, self.patience = high, low, patience
        self.overlap, self.overlap_low = overlap, overlap_low
        self._tracks: list[_Track] = []
        self._next, self._first = 1, True

    def update(self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The next frame: boxes (N, 4) xyxy in pixels, scores (N,), labels (N,) -> ids (N,) int64 from 1, -1: none.

        Frames without detections must be given too.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        scores, labels = np.asarray(scores, np.float64).ravel(), np.asarray(labels).ravel()
        centred = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
        ids = np.full(len(boxes), -1, np.int64)
        for track in self._tracks:
            track.advance()
        strong, weak = np.flatnonzero(scores >= self.high), np.flatnonzero((scores >= self.low) & (scores < self.high))
        owner: dict[int, _Track] = {}
        confirmed, fresh = ([track for track in self._tracks if (track.id > 0) == known] for known in (True, False))
        # weak detections continue tracks seen in the last frame; the fresh take what strong ones are left
        left = self._assign(confirmed, strong, boxes, labels, self.overlap, owner)
        seen = [track for track in left if track.missed == 0]
        self._assign(seen, weak, boxes, labels, self.overlap_low, owner)
        self._assign(fresh, np.array([i for i in strong if i not in owner], int), boxes, labels, self.overlap, owner)
        for i, track in owner.items():
            track.see(centred[i])
        found = {id(track) for track in owner.values()}
        for track in self._tracks:
            track.missed += id(track) not in found
        self._tracks = [t for t in self._tracks if t.missed <= (self.patience if t.id > 0 else 0)]
        for i, track in sorted(owner.items()):
            self._confirm(track)
            ids[i] = track.id
        for i in strong:
            if i not in owner:
                self._tracks.append(_Track(centred[i], int(labels[i])))
                if self._first:
                    self._confirm(self._tracks[-1])
                    ids[i] = self._tracks[-1].id
        self._first = False
        return ids

    def _confirm(self, track: _Track) -> None:
        if track.id < 0:
            track.id, self._next = self._next, self._next + 1

    def _assign(self, tracks: list[_Track], which: np.ndarray, boxes: np.ndarray, labels: np.ndarray, least: float,
                owner: dict[int, _Track]) -> list[_Track]:  # fmt: skip
        """Detections `which` to tracks of their class, the greatest sum of IoU; returns the tracks left over."""
        from scipy.optimize import linear_sum_assignment

        if not tracks or not len(which):
            return tracks
        states = np.stack([track.state for track in tracks])
        corners = np.concatenate([states[:, :2] - states[:, 2:] / 2, states[:, :2] + states[:, 2:] / 2], 1)
        gain = overlaps(corners, boxes[which])
        gain[(gain < least) | (np.array([track.label for track in tracks])[:, None] != labels[which])] = 0
        rows, columns = linear_sum_assignment(gain, maximize=True)
        taken = {row: column for row, column in zip(rows, columns, strict=True) if gain[row, column] > 0}
        owner.update({int(which[column]): tracks[row] for row, column in taken.items()})
        return [track for row, track in enumerate(tracks) if row not in taken]


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU (N, M) of boxes (N, 4) and (M, 4) xyxy; 0 where both are empty."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.prod(np.clip(high - low, 0, None), -1)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), -1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
