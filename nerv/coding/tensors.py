"""One tensor of a network to the bytes of one section and back, exactly.

    Affine   w = min + scale · q, q 0 … 255, min and scale in half precision a row: what HNeRV publishes
    Stepped  w = step · q, q any integer, step 2^(k/8) a row and a column: ours

    section: kind │ quantiser │ plan │ payload (quantiser's halves, steps of widths, symbols)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from icm.bitstream import Decoder, Encoder, StreamError
from icm.bitstream.fields import Cursor, unzigzag, varint, zigzag
from nerv.coding import halves
from nerv.coding.bells import NARROWEST, OCTAVE, WIDEST, centred, width_of
from nerv.coding.grid import COLUMNS, PREVIOUS, ROWS, Plan, smallest, walk_bounded, walk_centred

AFFINE, STEPPED = 0, 1
SINGLE, HALVES = 0, 1  # quantiser of an affine tensor: one pair in single precision, or halves a row
MOST_STEP = 400  # eighths of an octave


@dataclass(frozen=True)
class Affine:
    """q: uint8 of any shape. minimum, scale: of one shape that broadcasts to q's; float16, or () float32."""

    q: np.ndarray
    minimum: np.ndarray
    scale: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.q.shape

    def values(self) -> np.ndarray:
        """float32; computed in the precision of min and scale, as the published decoder does."""
        with np.errstate(over="ignore", invalid="ignore"):
            kind = self.scale.dtype
            return (self.minimum + self.scale * self.q.astype(kind)).astype(np.float32)


@dataclass(frozen=True)
class Stepped:
    """q: int32 of any shape, as a matrix (R, n) with R the length of the first axis (or, where time runs along the last
    one, n the length of that). rows (R,), columns (n,): int32, eighths of an octave; step = 2^((row + column) / 8).
    """

    q: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.q.shape

    def values(self) -> np.ndarray:
        """float32, step · q."""
        steps = step_of(self.rows.astype(np.int64)[:, None] + self.columns.astype(np.int64)[None])
        return (self.q.reshape(steps.shape) * steps).reshape(self.q.shape).astype(np.float32)


Tensor = Affine | Stepped


def step_of(exponents: np.ndarray | int) -> np.ndarray:
    """2^(k/8) as float64 from integers: the same on every machine."""
    k = np.asarray(exponents, np.int64)
    return np.ldexp(np.take(np.asarray(OCTAVE, np.float64), k % 8), k // 8 - 8)


def pack(tensor: Tensor, along: bool = False) -> bytes:
    """The bytes of a section. along: the last axis is time, so neighbours in it may be alike."""
    return _pack_affine(tensor) if isinstance(tensor, Affine) else _pack_stepped(tensor, along)


def unpack(data: bytes, shape: Sequence[int]) -> Tensor:
    """The tensor of this shape. StreamError where the bytes are damaged."""
    cursor = Cursor(bytes(data), 0, "the section")
    kind = cursor.varint()
    if kind not in (AFFINE, STEPPED):
        raise StreamError(f"unsupported: a tensor of kind {kind} is newer than this reader")
    return (_unpack_affine if kind == AFFINE else _unpack_stepped)(cursor, tuple(shape))


# --- affine ----------------------------------------------------------------------------------------------------------
def _kept(shape: Sequence[int], of: Sequence[int]) -> list[int]:
    """Axes of a tensor of `shape` along which its quantisers of shape `of` differ; one of length 1 counts as shared."""
    if len(of) not in (0, len(shape)) or any(o not in (1, s) for o, s in zip(of, shape, strict=False)):
        raise ValueError(f"quantisers of shape {tuple(of)} do not fit a tensor of shape {tuple(shape)}")
    return [axis for axis, length in enumerate(of) if length > 1]


def _order(shape: Sequence[int], kept: list[int]) -> list[int]:
    return [*kept, *(axis for axis in range(len(shape)) if axis not in kept)]


def _matrix(array: np.ndarray, kept: list[int]) -> np.ndarray:
    rows = int(np.prod([array.shape[axis] for axis in kept], dtype=np.int64))
    return array.transpose(_order(array.shape, kept)).reshape(rows, -1).astype(np.int64)


def _unmatrix(matrix: np.ndarray, shape: Sequence[int], kept: list[int]) -> np.ndarray:
    order = _order(shape, kept)
    return matrix.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


def _centres(minimum: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The symbol nearest to w = 0 in each row, exactly: (R,) int64, −256 … 511."""
    found = []
    for low, step in zip(minimum.ravel().tolist(), scale.ravel().tolist(), strict=True):
        place = round(-Fraction(low) / Fraction(step)) if step > 0 else 128
        found.append(min(max(place, -256), 511))
    return np.array(found, np.int64)


def _pack_affine(tensor: Affine) -> bytes:
    q, halved = tensor.q, tensor.scale.dtype == np.float16
    kept = _kept(q.shape, tensor.minimum.shape)
    head = varint(AFFINE) + varint(HALVES if halved else SINGLE) + varint(sum(1 << axis for axis in kept))
    pairs = [part.ravel() for part in (tensor.minimum, tensor.scale)]
    if not np.isfinite(np.concatenate(pairs).astype(np.float64)).all():
        raise ValueError("a quantiser is not finite")
    residuals: list[np.ndarray] = []
    if halved:
        head += varint(tensor.minimum.ndim)
        scale, minimum = halves.order(pairs[1]), halves.order(pairs[0])
        middle = int(np.median(scale))
        ratio = int(np.median(-minimum - scale))
        residuals = [scale - middle, -minimum - scale - ratio]
        spreads = [halves.spread(residual) for residual in residuals]
        head += b"".join(varint(zigzag(value)) for value in (middle, ratio, *spreads))
    else:
        if any(len(part) != 1 for part in pairs):
            raise ValueError("quantisers in single precision come one to a tensor")
        head += b"".join(part.astype("<f4").tobytes() for part in pairs)
    symbols, centres = _matrix(q, kept), _centres(tensor.minimum, tensor.scale)
    size = symbols.shape[0], symbols.shape[1]
    few = size[1] < 1 << 14
    sets = (0, ROWS, COLUMNS, ROWS | COLUMNS) if min(symbols.shape) > 1 else (0,)
    along = (PREVIOUS, PREVIOUS | ROWS) if symbols.shape[1] > 1 else ()

    def encode(plan: Plan, rows: np.ndarray, columns: np.ndarray) -> bytes:
        coder = Encoder()
        for residual, spread in zip(residuals, spreads if residuals else [], strict=True):
            halves.code(coder, spread, len(residual), residual)
        if plan.flags & PREVIOUS or not few:
            walk_centred(coder, plan, size, symbols - centres[:, None], rows, columns)
        else:
            walk_bounded(coder, plan, centres, size[1], symbols, rows, columns)
        return head + plan.to_bytes() + coder.finish()

    return smallest(symbols - centres[:, None], (*sets, *along), encode)


def _unpack_affine(cursor: Cursor, shape: tuple[int, ...]) -> Affine:
    precision, mask = cursor.varint(), cursor.varint()
    kept = [axis for axis in range(len(shape)) if mask >> axis & 1]
    if precision not in (SINGLE, HALVES) or mask >> len(shape):
        raise StreamError("damaged: a quantiser beyond what any encoder writes")
    rows = int(np.prod([shape[axis] for axis in kept], dtype=np.int64))
    if precision == SINGLE:
        if kept:
            raise StreamError("damaged: single-precision quantisers a row")
        pair = [np.frombuffer(cursor.take(4), "<f4").astype(np.float32).reshape(()) for _ in range(2)]
    else:
        ndim = cursor.varint()
        middle, ratio, *spreads = (unzigzag(cursor.varint()) for _ in range(4))
        if ndim not in (0, len(shape)) or (kept and not ndim) or not _widths_fit(spreads):
            raise StreamError("damaged: quantisers beyond what any encoder writes")
    plan = Plan.parse(cursor)
    coder = Decoder(cursor.take(cursor.left))
    if precision == HALVES:
        scale = middle + halves.code(coder, spreads[0], rows).astype(np.int64)
        minimum = -(halves.code(coder, spreads[1], rows).astype(np.int64) + scale + ratio)
        like = [shape[axis] if axis in kept else 1 for axis in range(len(shape))] if ndim else []
        pair = [halves.restore(bits).reshape(like) for bits in (minimum, scale)]
    elif not np.isfinite(np.array(pair)).all():
        raise StreamError("damaged: a quantiser is not finite")
    centres = _centres(*pair)
    columns = int(np.prod(shape, dtype=np.int64)) // max(rows, 1)
    if plan.flags & PREVIOUS or columns >= 1 << 14:
        symbols = walk_centred(coder, plan, (rows, columns)) + centres[:, None]
    else:
        symbols = walk_bounded(coder, plan, centres, columns)
    coder.finish()
    if ((symbols < 0) | (symbols > 255)).any():
        raise StreamError("damaged: a symbol outside of its range")
    return Affine(_unmatrix(symbols, shape, kept).astype(np.uint8), pair[0], pair[1])


def _widths_fit(widths: Sequence[int]) -> bool:
    return all(NARROWEST <= width <= WIDEST for width in widths)


# --- stepped ---------------------------------------------------------------------------------------------------------
def _sides(shape: Sequence[int], along: bool) -> tuple[int, int]:
    """(R, n) of a stepped tensor."""
    size = math.prod(shape)
    if along:
        return size // shape[-1], shape[-1]
    return (shape[0], size // shape[0]) if shape else (1, 1)


def _exponents(values: np.ndarray) -> tuple[bytes, np.ndarray, int]:
    """(head, differences from their median, spread); an empty row of differences where all are equal."""
    base = int(np.median(values))
    rest = values.astype(np.int64) - base
    if not rest.any():
        return varint(zigzag(base)) + varint(0), rest[:0], 0
    spread = width_of(float(np.sqrt(np.mean(np.square(rest.astype(float))))))
    return varint(zigzag(base)) + varint(1) + varint(zigzag(spread)), rest, spread


def _pack_stepped(tensor: Stepped, along: bool) -> bytes:
    sides = _sides(tensor.shape, along)
    if (len(tensor.rows), len(tensor.columns)) != sides:
        raise ValueError(f"steps of {len(tensor.rows)} rows and {len(tensor.columns)} columns do not fit {sides}")
    if max(np.abs(part).max(initial=0) for part in (tensor.rows, tensor.columns)) > MOST_STEP:
        raise ValueError("a step is beyond 2^±50")
    symbols = tensor.q.reshape(sides).astype(np.int64)
    parts = [_exponents(part) for part in (tensor.rows, tensor.columns)]
    head = varint(STEPPED) + varint(int(along)) + b"".join(part[0] for part in parts)
    sets: tuple[int, ...] = (0, ROWS, COLUMNS, ROWS | COLUMNS) if min(sides) > 1 else (0,)
    if along:
        sets += (PREVIOUS, PREVIOUS | ROWS)

    def encode(plan: Plan, rows: np.ndarray, columns: np.ndarray) -> bytes:
        coder = Encoder()
        for _, rest, spread in parts:
            if len(rest):
                coder.code(centred((spread,), 0), np.zeros(len(rest), np.uint8), rest)
        walk_centred(coder, plan, sides, symbols, rows, columns)
        return head + plan.to_bytes() + coder.finish()

    return smallest(symbols, sets, encode)


def _unpack_stepped(cursor: Cursor, shape: tuple[int, ...]) -> Stepped:
    along = cursor.varint()
    bases, spreads = [], []
    for _ in range(2):
        bases.append(unzigzag(cursor.varint()))
        spreads.append(unzigzag(cursor.varint()) if cursor.varint() else None)
    if along > 1 or not _widths_fit([s for s in spreads if s is not None]):
        raise StreamError("damaged: steps beyond what any encoder writes")
    plan = Plan.parse(cursor)
    coder = Decoder(cursor.take(cursor.left))
    sides = _sides(shape, bool(along))
    steps = []
    for base, spread, count in zip(bases, spreads, sides, strict=True):
        rest = np.zeros(count, np.int64)
        if spread is not None:
            rest = coder.code(centred((spread,), 0), np.zeros(count, np.uint8)).astype(np.int64)
        steps.append(base + rest)
        if np.abs(steps[-1]).max(initial=0) > MOST_STEP:
            raise StreamError("damaged: a step is beyond 2^±50")
    symbols = walk_centred(coder, plan, sides)
    coder.finish()
    if np.abs(symbols).max(initial=0) >= 1 << 31:
        raise StreamError("damaged: a symbol beyond 32 bits")
    return Stepped(symbols.reshape(shape).astype(np.int32), *(part.astype(np.int32) for part in steps))
