"""PSNR and MS-SSIM of pictures, as scores that can be resampled: means over pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from eval.metrics.scores import check_counts, check_single, single, write


class FidelityScores:
    """psnr_db (P,), at most 100, and ms_ssim (P,), 0 to 1, of pictures."""

    task = "fidelity"

    def __init__(self, picture_ids: ArrayLike, psnr_db: ArrayLike, ms_ssim: ArrayLike) -> None:
        self.picture_ids = np.asarray(picture_ids, np.int64)
        self.values = {"psnr_db": np.asarray(psnr_db, np.float64), "ms_ssim": np.asarray(ms_ssim, np.float64)}
        if any(value.shape != self.picture_ids.shape for value in self.values.values()):
            raise ValueError("fidelity: one PSNR and one MS-SSIM a picture are needed")

    def figures(self, counts: np.ndarray | None = None) -> dict[str, float | None]:
        """{"psnr_db", "ms_ssim"}."""
        if counts is None and len(self.picture_ids):
            return {name: float(np.mean(value)) for name, value in self.values.items()}
        return single(self.resample(check_single(counts, len(self.picture_ids))))

    def resample(self, counts: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Means of the pictures drawn."""
        weights = check_counts(counts, len(self.picture_ids)).astype(np.float64)
        total = weights.sum(axis=1)
        total[total == 0] = np.nan
        return {name: weights @ value / total for name, value in self.values.items() if names is None or name in names}

    def per_class(self) -> dict[str, dict[str, float | None]]:
        """Pictures have no class."""
        return {}

    def save(self, path: str | os.PathLike) -> None:
        """A small .npz."""
        write(path, "fidelity", {}, {"picture_ids": self.picture_ids, **self.values})

    @classmethod
    def restore(cls, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> FidelityScores:
        return cls(arrays["picture_ids"], arrays["psnr_db"], arrays["ms_ssim"])

    @classmethod
    def join(cls, parts: Sequence[FidelityScores]) -> FidelityScores:
        columns = [np.concatenate([part.values[name] for part in parts]) for name in ("psnr_db", "ms_ssim")]
        return cls(np.concatenate([part.picture_ids for part in parts]), *columns)
