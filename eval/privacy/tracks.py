"""Persons of a clip: a face that stays in place from frame to frame is one person, until a cut.

    frames ─detect─▶ faces ─IoU with the frame before─▶ tracks; two tracks in one frame are two persons

Two tracks that are never seen together may be the same person after a cut, so they are neither a genuine nor an
impostor pair. Pairs within a track are a moment apart: finding a person again in them is easier than on another day.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import cv2
import numpy as np

from eval.privacy.base import Face, matches

LEAST_OVERLAP = 0.3
CUT = 24.0  # mean absolute difference of 32 x 18 thumbnails, of 255
SHORTEST = 2  # faces a track must have


@dataclass
class Tracker:
    """Feed frames in order; `owners` then says whose face is whose."""

    owners: list[list[int]] = field(default_factory=list)  # a row a frame: the track of each of its faces
    cuts: int = 0
    _last: list[Face] = field(default_factory=list)
    _thumbnail: np.ndarray | None = None
    _tracks: int = 0

    def add(self, frame: np.ndarray, faces: list[Face]) -> None:
        """(H, W, 3) uint8 and its faces."""
        small = cv2.resize(frame, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float32)
        cut = self._thumbnail is None or float(np.abs(small - self._thumbnail).mean()) > CUT
        before: list[Face] = [] if cut else self._last
        self.cuts += cut and self._thumbnail is not None
        found = matches(boxes(before), boxes(faces), LEAST_OVERLAP)
        row = []
        for at in found:
            if at >= 0:
                row.append(self.owners[-1][at])
            else:
                row.append(self._tracks)
                self._tracks += 1
        self.owners.append(row)
        self._last, self._thumbnail = faces, small

    def persons(self) -> tuple[dict[int, int], np.ndarray]:
        """(track → person 0 …, of tracks long enough; (P, P) bool: known to be different)."""
        counts: dict[int, int] = defaultdict(int)
        for row in self.owners:
            for track in row:
                counts[track] += 1
        kept = [track for track in sorted(counts) if counts[track] >= SHORTEST]
        number = {track: i for i, track in enumerate(kept)}
        apart = np.zeros((len(kept), len(kept)), bool)
        for row in self.owners:
            together = [number[track] for track in row if track in number]
            for a in together:
                for b in together:
                    apart[a, b] |= a != b
        return number, apart


def boxes(faces: list[Face]) -> np.ndarray:
    """(N, 4)."""
    return np.array([face.box for face in faces], float).reshape(-1, 4)
