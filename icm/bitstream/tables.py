"""Integer tables that drive the entropy coder.

A table is a row of integer frequencies that sum to 2^16. Entry j stands for the symbol `offset + j`, except the last
entry, which is the escape: "none of these, the value follows" (coder.py). A table with one entry is never coded: its
symbol is its offset. Tables are shipped as integers and hashed; nothing here computes a probability (build_tables.py
does, at release time).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PRECISION = 16  # bits: the frequencies of a table sum to 2^16
TOTAL = 1 << PRECISION
MAX_TABLES = 1 << 16  # an index is sorted as uint16, which numpy does with a radix sort
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


class Tables:
    """N integer tables, immutable.

    frequencies: N rows of integers (1-D, 1 to 65,536 entries), each >= 1, each row summing to 2^16; the last entry of a
        row is its escape.
    offsets: (N,) integers; entry j of row i is the symbol offsets[i] + j, which must be an int32.
    Raises ValueError with one line naming the row.
    """

    def __init__(self, frequencies: Sequence[Any], offsets: Any) -> None:
        rows = [_integers(row, f"table {i}") for i, row in enumerate(frequencies)]
        self.offsets = _integers(offsets, "the offsets of the tables")
        if not 1 <= len(rows) <= MAX_TABLES:
            raise ValueError(f"there must be 1 to {MAX_TABLES} tables, not {len(rows)}")
        if len(self.offsets) != len(rows):
            raise ValueError(f"{len(rows)} tables need as many offsets, not {len(self.offsets)}")
        self.sizes = np.array([len(row) for row in rows], dtype=np.int64)
        for i, row in enumerate(rows):
            if len(row) == 0:
                raise ValueError(f"table {i} is empty: it needs an escape entry at least")
            if len(row) > TOTAL:
                raise ValueError(f"table {i} has {len(row)} entries, which is more than {TOTAL}")
            if row.min() < 1:
                raise ValueError(f"table {i} has a frequency of {row.min()}: every one must be at least 1")
            if int(row.sum()) != TOTAL:
                raise ValueError(f"the frequencies of table {i} sum to {row.sum()}, not {TOTAL}")
            first, last = int(self.offsets[i]), int(self.offsets[i]) + max(len(row) - 2, 0)
            if first < INT32_MIN or last > INT32_MAX:
                raise ValueError(f"table {i} covers the symbols {first} to {last}, which are not all int32")
        self.rows = tuple(row.astype(np.int32) for row in rows)
        for array in (self.offsets, self.sizes, *self.rows):
            array.setflags(write=False)

    @classmethod
    def padded(cls, matrix: Any, sizes: Any, offsets: Any) -> Tables:
        """From an (N, longest) matrix of which row i has `sizes[i]` entries in use."""
        matrix = np.asarray(matrix)
        if matrix.ndim != 2:
            raise ValueError(f"padded tables are a matrix, not an array of shape {matrix.shape}")
        sizes = _integers(sizes, "the sizes of the tables")
        if len(sizes) != len(matrix) or (len(sizes) and not (sizes.min() >= 1 and sizes.max() <= matrix.shape[1])):
            raise ValueError(f"{len(matrix)} padded tables need as many sizes, of 1 to {matrix.shape[1]}")
        return cls([row[:size] for row, size in zip(matrix, sizes, strict=True)], offsets)

    def __len__(self) -> int:
        return len(self.rows)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Three int32 arrays to be stored with the weights (safetensors); `from_arrays` takes them back."""
        return {
            "frequencies": np.concatenate(self.rows),
            "sizes": self.sizes.astype(np.int32),
            "offsets": self.offsets.astype(np.int32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Tables:
        """The inverse of `to_arrays`; also takes what numpy can make an integer array of. Raises ValueError."""
        missing = {"frequencies", "sizes", "offsets"} - set(arrays)
        if missing:
            raise ValueError(f"stored tables lack {', '.join(sorted(missing))}")
        flat = _integers(arrays["frequencies"], "the stored frequencies")
        sizes = _integers(arrays["sizes"], "the stored sizes")
        if (len(sizes) and sizes.min() < 1) or int(sizes.sum()) != len(flat):
            raise ValueError(f"stored tables of {sizes.sum()} entries have {len(flat)} frequencies")
        return cls(np.split(flat, np.cumsum(sizes)[:-1]), arrays["offsets"])

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 of the tables in the byte order of README.md ("Tables")."""
        parts = [b"vcm tables 1\0", len(self).to_bytes(4, "little")]
        parts += [array.astype("<i4").tobytes() for array in (self.sizes, self.offsets, *self.rows)]
        return hashlib.sha256(b"".join(parts)).digest()

    def sha256(self) -> str:
        """The digest as 64 hexadecimal digits."""
        return self.digest.hex()

    @functools.cached_property
    def models(self) -> list[Any]:
        """A constriction model per table (None for one entry), made once from exact dyadic float64."""
        import constriction  # here, so that reading a header costs no import of it

        categorical = constriction.stream.model.Categorical
        return [categorical(row / float(TOTAL), perfect=False) if len(row) > 1 else None for row in self.rows]

    def estimated_bits(self, index: Any, symbols: Any) -> float:
        """What `Encoder.code` would spend, up to a few bits: for choosing a quality without writing a stream."""
        index = np.asarray(index).ravel().astype(np.int64)
        place = np.asarray(symbols).ravel().astype(np.int64) - self.offsets[index]
        last = self.sizes[index] - 1
        outside = (place < 0) | (place >= last)
        distance = np.where(place < 0, -place, place - last + 1)[outside & (last > 0)]
        place = np.where(outside, last, place)
        bits = -np.log2(np.concatenate(self.rows) / TOTAL)
        start = np.cumsum(self.sizes) - self.sizes
        return float(bits[start[index] + place].sum() + (2 * np.floor(np.log2(distance)) + 2).sum())


def _integers(values: Any, what: str) -> np.ndarray:
    """A new contiguous 1-D int64 array, or ValueError."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{what} must be a row of integers, not {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)
