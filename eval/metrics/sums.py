"""What classes gather over pictures, as a table that any resample adds up. P: pictures, K: classes, V: quantities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sums:
    """E entries, each of one picture and one class; what has no entry is zero."""

    pictures: int
    classes: int
    picture: np.ndarray  # (E,) int32 index
    place: np.ndarray  # (E,) int32 index of the class
    values: np.ndarray  # (E, V) float64

    @classmethod
    def of(cls, tables: Sequence[np.ndarray], classes: int, quantities: int) -> Sums:
        """From a (K, V) table a picture."""
        picture, place, values = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros((0, quantities))]
        for index, table in enumerate(tables):
            some = np.flatnonzero(table.any(axis=1))
            picture.append(np.full(len(some), index))
            place.append(some)
            values.append(table[some])
        return cls(len(tables), classes, np.concatenate(picture).astype(np.int32),
                   np.concatenate(place).astype(np.int32), np.concatenate(values).astype(np.float64))  # fmt: skip

    @cached_property
    def _table(self) -> Any:
        """(K V, P), sparse: of hundreds of classes a picture holds a few."""
        from scipy.sparse import csr_array

        quantities = self.values.shape[1]
        rows = self.place[:, None].astype(np.int64) * quantities + np.arange(quantities)
        columns = np.broadcast_to(self.picture[:, None], rows.shape)
        at = (rows.ravel(), columns.ravel().astype(np.int64))
        return csr_array((self.values.ravel(), at), shape=(self.classes * quantities, self.pictures))

    def total(self, counts: np.ndarray) -> np.ndarray:
        """(B, K, V) for counts (B, P)."""
        flat = (self._table @ counts.T.astype(np.float64)).T
        return np.ascontiguousarray(flat).reshape(len(counts), self.classes, self.values.shape[1])

    def arrays(self) -> dict[str, np.ndarray]:
        """For a file."""
        return {"picture": self.picture, "place": self.place, "values": self.values}

    @classmethod
    def join(cls, parts: Sequence[Sums]) -> Sums:
        starts = np.cumsum([0, *(part.pictures for part in parts)]).astype(np.int32)
        picture = np.concatenate([part.picture + start for part, start in zip(parts, starts, strict=False)])
        return cls(int(starts[-1]), parts[0].classes, picture, np.concatenate([part.place for part in parts]),
                   np.concatenate([part.values for part in parts]))  # fmt: skip


def quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, nan where below is 0."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)


def mean_of(values: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Mean over the last axis of `values` where `use`; nan where nothing is used."""
    return quotient(np.where(use, values, 0.0).sum(axis=-1), use.sum(axis=-1))
