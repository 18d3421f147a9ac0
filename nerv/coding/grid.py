"""A matrix of symbols and the tables that code it: written once, walked by encoder and decoder alike.

    (R, n) symbols ─▶ width of an entry = base + 2·(row's step) + 2·(column's step), in eighths of an octave
                      bounded: 0 … 255 about each row's centre, first 0 and first 255 of a row sent as places
                      centred: about 0, or about the entry before it in the row (`previous`)

R, n: rows and columns. A row shares a quantiser (or an output channel), a column is what runs along it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from icm.bitstream import StreamError
from icm.bitstream.fields import Cursor, unzigzag, varint, zigzag
from nerv.coding.bells import NARROWEST, SHAPES, WIDEST, bounded, centred, uniform, width_of

ROWS, COLUMNS, PREVIOUS = 1, 2, 4  # flags of a plan
CENTRES = 4  # symbols between centres that have a table: at widths of 30 symbols and more the loss is below 0.1 %
TOP = 255


@dataclass(frozen=True)
class Plan:
    """What both sides must know before the symbols: shape of the bells, base width, what varies and how widely."""

    shape: int
    base: int
    flags: int = 0
    row_spread: int = 0
    column_spread: int = 0

    def to_bytes(self) -> bytes:
        spreads = [self.row_spread] * bool(self.flags & ROWS) + [self.column_spread] * bool(self.flags & COLUMNS)
        return b"".join(map(varint, [self.shape, self.flags, *map(zigzag, [self.base, *spreads])]))

    @classmethod
    def parse(cls, cursor: Cursor) -> Plan:
        """Raises StreamError for what no encoder writes."""
        shape, flags, base = cursor.varint(), cursor.varint(), unzigzag(cursor.varint())
        row_spread = unzigzag(cursor.varint()) if flags & ROWS else 0
        column_spread = unzigzag(cursor.varint()) if flags & COLUMNS else 0
        widths = (base, row_spread, column_spread)
        if shape >= len(SHAPES) or flags > 7 or min(widths) < NARROWEST or max(widths) > WIDEST:
            raise StreamError("damaged: tables beyond what any encoder writes")
        return cls(shape, base, flags, row_spread, column_spread)


def separate(errors: np.ndarray, flags: int) -> tuple[float, np.ndarray, np.ndarray]:
    """(σ, steps of rows (R,), steps of columns (n,)) that describe the magnitudes of (R, n) deviations."""
    size = np.abs(errors.astype(np.float64)) + 1e-3
    rows, columns = np.ones((len(size), 1)), np.ones((1, size.shape[1]))
    mean = size.mean()
    for _ in range(4):
        if flags & ROWS:
            rows = (size / columns).mean(1, keepdims=True) / mean
        if flags & COLUMNS:
            columns = (size / rows).mean(0, keepdims=True) / mean
    steps = [np.clip(np.rint(4 * np.log2(part)), -40, 40).astype(np.int32).ravel() for part in (rows, columns)]
    scales = 2.0 ** (steps[0][:, None] / 4 + steps[1][None] / 4)
    return float(np.sqrt(np.mean((errors / scales) ** 2))), steps[0], steps[1]


def smallest(errors: np.ndarray, flag_sets: tuple[int, ...], encode: Callable[..., bytes]) -> bytes:
    """The shortest found of what `encode(plan, row steps, column steps)` makes of (R, n) deviations from the centres.

    First the flags with one shape of bells, then the shape: the two hardly depend on each other.
    """
    found: list[tuple[int, bytes, Plan, np.ndarray, np.ndarray]] = []

    def attempt(plan: Plan, rows: np.ndarray, columns: np.ndarray) -> None:
        data = encode(plan, rows, columns)
        found.append((len(data), data, plan, rows, columns))

    for flags in flag_sets:
        sigma, rows, columns = separate(np.diff(errors, axis=1, prepend=0) if flags & PREVIOUS else errors, flags)
        spreads = [width_of(float(np.sqrt(np.mean(np.square(steps.astype(float)))))) for steps in (rows, columns)]
        attempt(Plan(0, width_of(sigma), flags, spreads[0], spreads[1]), rows, columns)
    _, _, plan, rows, columns = min(found, key=lambda entry: entry[0])
    for shape in range(1, len(SHAPES)):
        attempt(replace(plan, shape=shape), rows, columns)
    return min(found, key=lambda entry: entry[0])[1]


def _steps(coder: Any, spread: int, count: int, steps: np.ndarray | None) -> np.ndarray:
    given = () if steps is None else (steps,)
    found: np.ndarray = coder.code(centred((spread,), 0), np.zeros(count, np.uint8), *given)
    return found


def _widths(coder: Any, plan: Plan, shape: tuple[int, int], rows: Any, columns: Any) -> np.ndarray:
    """Of every entry, (R, n) int64, its steps coded on the way."""
    widths = np.full(shape, plan.base, np.int64)
    if plan.flags & ROWS:
        widths += 2 * _steps(coder, plan.row_spread, shape[0], rows).astype(np.int64)[:, None]
    if plan.flags & COLUMNS:
        widths += 2 * _steps(coder, plan.column_spread, shape[1], columns).astype(np.int64)[None]
    return np.clip(widths, NARROWEST, WIDEST)


def walk_centred(
    coder: Any, plan: Plan, shape: tuple[int, int], symbols: np.ndarray | None = None, rows: Any = None,
    columns: Any = None,
) -> np.ndarray:  # fmt: skip
    """Symbols about 0: (R, n) int64, coded (`symbols` given) or decoded."""
    widths = _widths(coder, plan, shape, rows, columns)
    used, index = np.unique(widths, return_inverse=True)
    tables = centred(tuple(used.tolist()), plan.shape)
    index = index.reshape(shape).astype(np.uint16)
    if symbols is None:
        found = coder.code(tables, index).astype(np.int64)
        return np.cumsum(found, axis=1) if plan.flags & PREVIOUS else found
    coder.code(tables, index, np.diff(symbols, axis=1, prepend=0) if plan.flags & PREVIOUS else symbols)
    return symbols


def walk_bounded(
    coder: Any, plan: Plan, centres: np.ndarray, columns_count: int, symbols: np.ndarray | None = None,
    rows: Any = None, columns: Any = None,
) -> np.ndarray:  # fmt: skip
    """Symbols 0 … 255 about `centres` (R,) int64: (R, n) int64. What a quantiser of a range must hit is not paid twice.

    Each row's range was taken from the row itself, so 0 and 255 occur in it: their first places are sent, evenly
    distributed, which is cheaper than two unlikely symbols.
    """
    shape = (len(centres), columns_count)
    widths = _widths(coder, plan, shape, rows, columns)
    places = []
    for extreme in (0, TOP):
        table, index = uniform(columns_count + 1), np.zeros(len(centres), np.uint8)
        if symbols is None:
            places.append(coder.code(table, index).astype(np.int64))
        else:
            hit = symbols == extreme
            places.append(coder.code(table, index, np.where(hit.any(1), hit.argmax(1), columns_count)))
    known = np.zeros(shape, bool)
    values = np.zeros(shape, np.int64)
    for extreme, place in zip((0, TOP), places, strict=True):
        here = np.flatnonzero(place < columns_count)
        if (place < 0).any() or (place > columns_count).any() or known[here, place[here]].any():
            raise StreamError("damaged: the ends of a range are nowhere or in one place")
        known[here, place[here]], values[here, place[here]] = True, extreme
    cells = (np.clip(centres, 0, TOP) // CENTRES * CENTRES + CENTRES // 2)[:, None] * 256 + (widths - NARROWEST)
    used, index = np.unique(cells[~known], return_inverse=True)
    if len(used) == 0:
        return values
    tables = bounded(TOP + 1, [(int(c) // 256, int(c) % 256 + NARROWEST) for c in used], plan.shape)
    if symbols is None:
        values[~known] = coder.code(tables, index.astype(np.uint16))
        if ((values < 0) | (values > TOP)).any():
            raise StreamError("damaged: a symbol outside of its range")
        return values
    coder.code(tables, index.astype(np.uint16), symbols[~known])
    return symbols
