"""Evaluators: reset, process one picture at a time, evaluate. One a task; `build` makes it for a data set.

    original, decoded, prediction ──process──▶ matches ──evaluate──▶ Scores (eval/metrics/scores.py)

Each holds what its figures need and nothing of the pictures, so memory does not grow with their size. To add one: a
class with those three methods in a file here, and its line in `TASKS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from eval.datasets.base import Dataset, Item

__all__ = ["TASKS", "Evaluator", "build"]


class Evaluator(Protocol):
    """What a point's loop asks for."""

    def reset(self) -> None:
        """Forget everything processed."""

    def process(
        self, item: Item, original: Any, decoded: Any, prediction: Mapping[str, Any] | None
    ) -> None:
        """Take one picture in.

        original, decoded: (H, W, 3) uint8 RGB before and after the codec; only fidelity looks at them, others take
        None. prediction: what the model found (eval/models), or the same as it was kept on disk: `rows` (COCO result
        rows, masks as RLE) in place of boxes, scores, labels, masks and keypoints. Frames of a sequence come in order.
        """

    def evaluate(self) -> Any:
        """The Scores of everything processed since `reset`."""


_PRECISION = ("eval.evaluators.precision", "Precision")
TASKS = {  # task -> module, and what is called there with (task, dataset)
    "detection": _PRECISION,
    "instances": _PRECISION,
    "keypoints": _PRECISION,
    "panoptic": ("eval.evaluators.panoptic", "PanopticQuality"),
    "semantic": ("eval.evaluators.semantic", "Semantic"),
    "tracking": ("eval.evaluators.tracking", "Tracking"),
    "fidelity": ("eval.evaluators.fidelity", "Fidelity"),
}


def build(task: str, dataset: Dataset, known: Collection[int] | None = None) -> Evaluator:
    """The evaluator of a task on a data set; ValueError, one line: unknown, or the data set has no such labels.

    known: category ids that the task model can name, where it says so. Of semantic maps the others are left out of the
    mean; AP and PQ keep to COCO's rules, by which every labelled class counts.
    """
    if task not in TASKS:
        raise ValueError(f"{task}: no such task; known: {', '.join(TASKS)}")
    module, name = TASKS[task]
    options = {"known": known} if task == "semantic" else {}
    return getattr(importlib.import_module(module), name)(task, dataset, **options)
