"""PSNR and MS-SSIM of decoded pictures against the uncompressed ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.datasets.base import Dataset, Item
from eval.metrics.fidelity import FidelityScores
from eval.metrics.ms_ssim import ms_ssim
from eval.metrics.psnr import psnr_db


class Fidelity:
    """Pictures in any order; predictions are not looked at."""

    def __init__(self, task: str, dataset: Dataset) -> None:
        self.order = {item.id: place for place, item in enumerate(dataset.items)}
        self.reset()

    def reset(self) -> None:
        self.values: dict[int, tuple[float, float]] = {}  # item id -> PSNR in dB, MS-SSIM

    def process(
        self, item: Item, original: np.ndarray, decoded: np.ndarray, prediction: Mapping[str, Any] | None = None
    ) -> None:
        """ValueError where the sizes differ: a codec that changes the size has no place here."""
        if original.shape != decoded.shape:
            raise ValueError(f"{item.file_name}: decoded as {decoded.shape[1]}x{decoded.shape[0]}, "
                             f"was {original.shape[1]}x{original.shape[0]}")  # fmt: skip
        self.values[item.id] = psnr_db(original, decoded), ms_ssim(original, decoded)

    def evaluate(self) -> FidelityScores:
        """The pictures' values, in the data set's order."""
        if not self.values:
            raise ValueError("no pictures were processed")
        ids = sorted(self.values, key=lambda i: self.order[i])
        return FidelityScores(ids, [self.values[i][0] for i in ids], [self.values[i][1] for i in ids])
