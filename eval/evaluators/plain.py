"""Evaluators whose figures are plain numbers, not scores that can be resampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.datasets.base import Item
from eval.metrics import AveragePrecision, average_precision, coco_results, ms_ssim, psnr_db


class FidelityEvaluator:
    """Mean over the pictures of PSNR (dB) and MS-SSIM."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.psnr_db: list[float] = []
        self.ms_ssim: list[float] = []

    def process(
        self, item: Item, original: np.ndarray, decoded: np.ndarray, prediction: Mapping[str, Any] | None = None
    ) -> None:
        """ValueError where the sizes differ: a codec that changes the size has no place here."""
        if original.shape != decoded.shape:
            raise ValueError(f"{item.file_name}: decoded as {decoded.shape[1]}x{decoded.shape[0]}, "
                             f"was {original.shape[1]}x{original.shape[0]}")  # fmt: skip
        self.psnr_db.append(psnr_db(original, decoded))
        self.ms_ssim.append(ms_ssim(original, decoded))

    def evaluate(self) -> dict[str, float]:
        """{"psnr_db", "ms_ssim"}."""
        if not self.psnr_db:
            raise ValueError("no pictures were processed")
        return {"psnr_db": float(np.mean(self.psnr_db)), "ms_ssim": float(np.mean(self.ms_ssim))}


class ApEvaluator:
    """COCO AP of several tasks from one set of predictions. `truth` is a pycocotools COCO."""

    def __init__(self, truth: Any, tasks: tuple[str, ...]) -> None:
        self.truth, self.tasks = truth, tasks
        self.reset()

    def reset(self) -> None:
        self.results: list[dict[str, Any]] = []  # rows of a COCO results JSON
        self.image_ids: list[int] = []

    def process(
        self, item: Item, original: np.ndarray, decoded: np.ndarray, prediction: Mapping[str, Any] | None
    ) -> None:
        """Keep the rows of one picture, masks as RLE."""
        if prediction is None:
            raise ValueError(f"{item.file_name}: no prediction, and AP needs one")
        self.restore([item], coco_results(item.id, prediction))

    def restore(self, items: list[Item], rows: list[dict[str, Any]]) -> None:
        """Take in predictions that were made before and kept on disk."""
        self.image_ids += [item.id for item in items]
        self.results += rows

    def evaluate(self) -> dict[str, AveragePrecision]:
        """task -> AP."""
        return {task: average_precision(self.truth, self.results, task, self.image_ids) for task in self.tasks}
