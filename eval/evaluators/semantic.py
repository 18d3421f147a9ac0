"""Mean IoU of semantic maps: each picture is compared as it comes, and only its confusion stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from eval.datasets.base import Dataset, Item
from eval.metrics.semantic import SemanticScores, confusion


class Semantic:
    """Pictures in any order, each once. A prediction needs `semantic` (H, W)."""

    def __init__(self, task: str, dataset: Dataset, known: Collection[int] | None = None) -> None:
        if dataset.semantic is None:
            raise ValueError(f"{task}: {dataset.name} has no semantic labels; give panoptic or semantic annotations")
        self.labels = dataset.semantic
        self.categories = sorted(dataset.semantic_categories)
        self.names = [dataset.semantic_categories[category] for category in self.categories]
        self.counted = [known is None or category in known for category in self.categories]
        if not any(self.counted):
            raise ValueError(f"{task}: the model knows none of the classes of {dataset.name}")
        self.order = {item.id: place for place, item in enumerate(dataset.items)}
        self.reset()

    def reset(self) -> None:
        self.tables: dict[int, np.ndarray] = {}

    def process(self, item: Item, original: Any, decoded: Any, prediction: Mapping[str, Any] | None) -> None:
        """Compare one picture; ValueError, one line, names it where the prediction does not fit."""
        if prediction is None or prediction.get("semantic") is None:
            raise ValueError(f"{item.file_name}: no semantic prediction; name a --model that does semantic")
        try:
            self.tables[item.id] = confusion(
                np.asarray(self.labels(item.id)), np.asarray(prediction["semantic"]), self.categories
            ).astype(np.int32)
        except ValueError as error:
            raise ValueError(f"{item.file_name}: {error}") from None

    def evaluate(self) -> SemanticScores:
        """The confusions, in the data set's order."""
        ids = sorted(self.tables, key=lambda i: self.order[i])
        return SemanticScores.of(ids, self.names, [self.tables[i] for i in ids], self.counted)
