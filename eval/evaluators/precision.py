"""AP of boxes, masks or keypoints: each picture is matched as it comes, and only what the curves need stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.datasets.base import Dataset, Item
from eval.metrics.ap import Labels, coco_results
from eval.metrics.ap_scores import ApScores
from eval.metrics.matching import Matched


class Precision:
    """Pictures in any order, each once. ValueError where the data set's labels hold nothing that the task compares."""

    def __init__(self, task: str, dataset: Dataset) -> None:
        if dataset.truth is None:
            raise ValueError(f"{task}: {dataset.name} has no labels of objects; give its annotations")
        self.task, self.labels = task, Labels(dataset.truth, task)
        self.order = {item.id: place for place, item in enumerate(dataset.items)}
        self.reset()

    def reset(self) -> None:
        self.matched: dict[int, Matched] = {}

    def process(self, item: Item, original: Any, decoded: Any, prediction: Mapping[str, Any] | None) -> None:
        """Match one picture. Compared is what files hold of a prediction: boxes to .001 pixels, scores to 1e-6."""
        if prediction is None:
            raise ValueError(f"{item.file_name}: no prediction, and AP needs one")
        rows = prediction["rows"] if "rows" in prediction else coco_results(item.id, prediction)
        self.matched[item.id] = self.labels.match(item.id, rows)

    def evaluate(self) -> ApScores:
        """The matches, in the data set's order."""
        ids = sorted(self.matched, key=lambda i: self.order[i])
        return ApScores.of(self.task, ids, self.labels.class_names, [self.matched[i] for i in ids])
