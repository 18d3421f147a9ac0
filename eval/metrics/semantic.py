"""Mean IoU and pixel accuracy of semantic maps.

P: pictures, K: classes, B: resamples. Void pixels of the labels count for nothing. A prediction that is void, or of a
class that the labels do not know, is wrong. IoU of a class = right / (labelled + predicted − right), in pixels; the
mean goes over the classes that the labels hold (as Detectron2 does it).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.metrics.scores import check_counts, check_single, single, write
from eval.metrics.sums import Sums, mean_of, quotient

VOID = -1


def confusion(truth: np.ndarray, found: np.ndarray, category_ids: Sequence[int]) -> np.ndarray:
    """(K, K + 1) pixels of one picture: labelled as the row's class, predicted as the column's; last: as none of them.

    truth, found: (H, W) category ids; VOID and unknown ones of `truth` are left out. ValueError: sizes differ.
    """
    if truth.shape != found.shape:
        raise ValueError(f"semantic map of {found.shape[1]}x{found.shape[0]} for a picture of "
                         f"{truth.shape[1]}x{truth.shape[0]}")  # fmt: skip
    known = np.asarray(category_ids, np.int64)  # rising
    rows, columns = _index(truth, known), _index(found, known)
    use = rows < len(known)
    width = len(known) + 1
    return np.bincount(rows[use] * width + columns[use], minlength=len(known) * width).reshape(len(known), width)


def _index(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[at] == ids, at, len(known))


class SemanticScores:
    """Confusions of pictures: `sums` has an entry a picture and pair of classes (row · (K + 1) + column), pixels.

    counted (K,) bool: the classes that figures are of; the pixels of others count as predictions gone wrong only.
    """

    task = "semantic"

    def __init__(self, picture_ids: Any, class_names: Sequence[str], sums: Sums, counted: Any = None) -> None:
        self.picture_ids, self.class_names, self.sums = np.asarray(picture_ids, np.int64), list(class_names), sums
        self.counted = np.ones(len(self.class_names), bool) if counted is None else np.asarray(counted, bool)
        width = len(self.class_names) + 1
        row, column = sums.place // width, sums.place % width
        pixels = sums.values[:, 0]
        picture = np.concatenate([sums.picture, sums.picture, sums.picture[row == column]])
        place = np.concatenate([row, column, row[row == column]])
        values = np.zeros((len(place), 3))  # labelled, predicted, right
        values[: len(row), 0] = pixels
        values[len(row) : 2 * len(row), 1] = pixels
        values[2 * len(row) :, 2] = pixels[row == column]
        self._marginals = Sums(len(self.picture_ids), width, picture, place, values)

    @classmethod
    def of(
        cls, picture_ids: Any, class_names: Sequence[str], tables: Sequence[np.ndarray], counted: Any = None
    ) -> SemanticScores:
        """From a confusion a picture."""
        size = len(class_names) * (len(class_names) + 1)
        return cls(picture_ids, class_names, Sums.of([table.reshape(size, 1) for table in tables], size, 1), counted)

    def figures(self, counts: np.ndarray | None = None) -> dict[str, float | None]:
        """miou, pixel_accuracy; percent."""
        return single(self.resample(check_single(counts, len(self.picture_ids))))

    def resample(self, counts: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As `Scores` says."""
        iou, labelled, right = self._classes(check_counts(counts, len(self.picture_ids)))
        found = {"miou": 100.0 * mean_of(iou, labelled > 0),
                 "pixel_accuracy": 100.0 * quotient(right.sum(axis=1), labelled.sum(axis=1))}  # fmt: skip
        return {name: values for name, values in found.items() if names is None or name in names}

    def per_class(self) -> dict[str, dict[str, float | None]]:
        """Class name -> miou (its IoU), pixel_accuracy (share of its pixels that were found); None: not labelled."""
        iou, labelled, right = self._classes(check_single(None, len(self.picture_ids)))
        return {name: {"miou": 100.0 * float(iou[0, k]), "pixel_accuracy": 100.0 * float(right[0, k] / labelled[0, k])}
                if labelled[0, k] else {"miou": None, "pixel_accuracy": None}
                for k, name in enumerate(self.class_names)}  # fmt: skip

    def confusion(self) -> np.ndarray:
        """(K, K + 1) pixels over all pictures."""
        size = len(self.class_names) * (len(self.class_names) + 1)
        flat = np.bincount(self.sums.place, self.sums.values[:, 0], minlength=size)
        return flat.astype(np.int64).reshape(len(self.class_names), -1)

    def _classes(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(B, K) each: IoU (nan: no pixel), pixels labelled, pixels right (0 of classes not counted)."""
        labelled, predicted, right = np.moveaxis(self._marginals.total(counts)[:, :-1], 2, 0)
        iou = quotient(right, labelled + predicted - right)
        return iou, labelled * self.counted, right * self.counted

    def save(self, path: str | os.PathLike) -> None:
        """Write to `path`."""
        write(path, "semantic", {"class_names": self.class_names},
              {"picture_ids": self.picture_ids, "counted": self.counted, **self.sums.arrays()})  # fmt: skip

    @classmethod
    def restore(cls, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> SemanticScores:
        ids, names = arrays["picture_ids"], about["class_names"]
        size = len(names) * (len(names) + 1)
        sums = Sums(len(ids), size, arrays["picture"], arrays["place"], arrays["values"])
        return cls(ids, names, sums, arrays["counted"])

    @classmethod
    def join(cls, parts: Sequence[SemanticScores]) -> SemanticScores:
        if any(part.class_names != parts[0].class_names for part in parts):
            raise ValueError("scores to join have different classes")
        ids = np.concatenate([part.picture_ids for part in parts])
        return cls(ids, parts[0].class_names, Sums.join([part.sums for part in parts]), parts[0].counted)
