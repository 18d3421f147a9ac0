"""Rows of half-precision numbers, exactly: their bits grow like a logarithm, so differences of bits are ratios.

    bits (n,) ─▶ minus a prediction ─▶ upper part by a table of the spread that was found, 3 lower bits as they are
"""

from __future__ import annotations

from typing import Any

import numpy as np

from icm.bitstream import StreamError
from nerv.coding.bells import centred, uniform, width_of

LOW = 3  # bits of the mantissa below which a fitted weight's range is noise
RAW = uniform(1 << LOW)
INFINITE = 0x7C00


def order(values: np.ndarray) -> np.ndarray:
    """float16 → int32 that grow with the value: the magnitude's bits m, −1 − m below zero. ValueError: not finite."""
    bits = values.astype("<f2").view("<u2").astype(np.int32)
    if ((bits & 0x7FFF) >= INFINITE).any():
        raise ValueError("a scale is infinite or not a number")
    return np.where(bits & 0x8000, -1 - (bits & 0x7FFF), bits)


def restore(ordered: np.ndarray) -> np.ndarray:
    """The inverse of `order`. StreamError where a number is no finite half."""
    magnitude = np.where(ordered < 0, -1 - ordered.astype(np.int64), ordered)
    if magnitude.max(initial=0) >= INFINITE:
        raise StreamError("damaged: a scale is no finite half-precision number")
    return np.where(ordered < 0, magnitude | 0x8000, magnitude).astype("<u2").view("<f2")


def spread(residual: np.ndarray) -> int:
    """Width of the table for these numbers, eighths of an octave of their upper parts."""
    return width_of(np.sqrt(np.mean(np.square(residual.astype(np.float64)))) / (1 << LOW))


def code(coder: Any, width: int, count: int, residual: np.ndarray | None = None) -> np.ndarray:
    """Code `residual` (count,) with an Encoder, or return it from a Decoder; int32."""
    index, tables = np.zeros(count, np.uint8), centred((width,), 0)
    if residual is None:
        upper = coder.code(tables, index)
        return (upper << LOW) + coder.code(RAW, index)
    coder.code(tables, index, residual >> LOW)
    coder.code(RAW, index, residual & ((1 << LOW) - 1))
    return residual
