"""Panoptic quality: each picture is matched as it comes, and only its classes' sums stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.datasets.base import Dataset, Item
from eval.metrics.pq import PqScores, match_segments
from eval.metrics.sums import Sums


class PanopticQuality:
    """Pictures in any order, each once. A prediction needs `panoptic` (H, W) and `segments`."""

    def __init__(self, task: str, dataset: Dataset) -> None:
        if dataset.panoptic is None:
            raise ValueError(f"{task}: {dataset.name} has no panoptic labels; give its panoptic annotations")
        self.labels = dataset.panoptic
        self.categories = sorted(self.labels.categories)
        self.place = {category: index for index, category in enumerate(self.categories)}
        self.order = {item.id: place for place, item in enumerate(dataset.items)}
        self.reset()

    def reset(self) -> None:
        self.tables: dict[int, np.ndarray] = {}

    def process(self, item: Item, original: Any, decoded: Any, prediction: Mapping[str, Any] | None) -> None:
        """Match one picture; ValueError, one line, names it where the prediction does not fit."""
        if prediction is None or prediction.get("panoptic") is None:
            raise ValueError(f"{item.file_name}: no panoptic prediction; name a --model that does panoptic")
        try:
            self.tables[item.id] = match_segments(
                np.asarray(self.labels.map(item.id)), self.labels.segments(item.id),
                np.asarray(prediction["panoptic"]), prediction["segments"], self.place,
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"{item.file_name}: {error}") from None

    def evaluate(self) -> PqScores:
        """The sums, in the data set's order."""
        ids = sorted(self.tables, key=lambda i: self.order[i])
        known = [self.labels.categories[category] for category in self.categories]
        return PqScores(ids, [category["name"] for category in known], [category["isthing"] for category in known],
                        Sums.of([self.tables[i] for i in ids], len(known), 4))  # fmt: skip
