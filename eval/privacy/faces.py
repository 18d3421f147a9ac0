"""Detection of faces in decoded pictures against those of the originals: recall by size, landmark error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from eval.privacy import metrics
from eval.privacy.base import Face, matches
from eval.privacy.compare import Figure, number
from eval.privacy.tracks import boxes

SIZES = ((0, 32), (32, 96), (96, 10**6))  # pixels, side of the square of the box's area


@dataclass
class Detection:
    """Feed pictures; `evaluate` gives the figures. The faces found in the originals are the truth."""

    picture: list[int] = field(default_factory=list)
    size_px: list[float] = field(default_factory=list)
    hit: list[bool] = field(default_factory=list)
    error: list[float] = field(default_factory=list)  # percent of the distance between the eyes, of those found
    _pictures: int = 0

    def add(self, true: Sequence[Face], found: Sequence[Face]) -> None:
        """One picture: its faces in the original, and in the decoded picture."""
        for face, at in zip(true, matches(boxes(list(found)), boxes(list(true))), strict=True):
            self.picture.append(self._pictures)
            self.size_px.append(face.size_px)
            self.hit.append(at >= 0)
            if at >= 0:
                self.error.append(metrics.landmark_error(found[at].landmarks, face.landmarks))
        self._pictures += 1

    def evaluate(self) -> dict[str, Any]:
        """{faces, recall (Figure, interval over pictures), by_size, landmark_error_percent (mean over those found)}."""
        hit, size, picture = np.array(self.hit, float), np.array(self.size_px), np.array(self.picture, int)

        def figure(use: np.ndarray) -> dict[str, Any]:
            if not use.any():
                return asdict(Figure(None))

            def statistic(w: np.ndarray) -> float:
                return metrics.weighted_mean(hit[use], w[picture[use]])

            return asdict(Figure(statistic(np.ones(self._pictures)),
                                 *(metrics.interval(statistic, self._pictures) or (None, None))))  # fmt: skip

        bins = {size_name(low, high): (size >= low) & (size < high) for low, high in SIZES}
        return {
            "faces": len(hit), "recall": figure(np.ones(len(hit), bool)),
            "by_size": {name: {"faces": int(use.sum()), "recall": figure(use)} for name, use in bins.items()},
            "landmark_error_percent": number(float(np.mean(self.error)) if self.error else np.nan),
        }  # fmt: skip


def size_name(low: int, high: int) -> str:
    """"32–96 px"."""
    return f"under {high} px" if low == 0 else f"from {low} px" if high >= 10**6 else f"{low}–{high} px"
