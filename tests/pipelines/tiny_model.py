"""A task model that finds the red squares and blue discs of `tests.eval.tiny` by their colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage


class TinyModel:
    name, tasks = "tiny", ("detection", "instances")
    calls = 0  # pictures seen, over all instances

    def __init__(self, weights: str | None = None) -> None:
        if weights is not None:
            raise ValueError(f"{weights}: tiny has no weights")

    def predict(self, pictures: list[np.ndarray]) -> list[dict[str, Any]]:
        TinyModel.calls += len(pictures)
        return [self._one(picture.astype(int)) for picture in pictures]

    def _one(self, picture: np.ndarray) -> dict[str, Any]:
        boxes, labels, scores, masks = [], [], [], []
        red, blue = picture[..., 0] - picture[..., 2], picture[..., 2] - picture[..., 0]
        for label, contrast in ((1, red), (2, blue)):
            parts, count = ndimage.label(contrast > 60)
            for part in range(1, count + 1):
                mask = parts == part
                y, x = np.nonzero(mask)
                boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
                labels.append(label)
                scores.append(min(1.0, contrast[mask].mean() / 200))
                masks.append(mask)
        return {
            "boxes": np.array(boxes, float).reshape(-1, 4),
            "labels": np.array(labels, int),
            "scores": np.array(scores, float),
            "masks": np.array(masks, bool).reshape(-1, *picture.shape[:2]),
        }
