"""Symbols to bytes and back, by integer tables: an ANS coder that can tell when it was given the wrong thing.

    encoder.code(tables, index, symbols) ... finish() -> payload
    decoder.code(tables, index) -> symbols ... finish()          the same calls in the same order

Both have the same walk, so a codec writes it once. Normative description: README.md ("Coder"). Speed comes from
grouping: within a call the symbols are sorted by table (stable), and each table present is one call of constriction.

ANS is last in, first out: the encoder records the calls and codes them backwards at `finish`. It starts from the state
`INITIAL` rather than from zero. A decoder that has lost its way and run out of words sinks below 2^24 and stays in the
first interval of some model, which is shorter than 2^24; so it can reach zero by chance, but never INITIAL = 2^24 - 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import Desynchronised, StreamError
from .tables import INT32_MAX, INT32_MIN, Tables

INITIAL = (1 << 24) - 1  # three bytes of rate, see above
CAUSE = "the payload is damaged, or it was made with other tables or weights"

# What follows an escape: the bit length (1 to 32) and side of its distance from the table, then the bits under the
# leading one, 8 at a time. No two entries of these tables are equally likely: were they, one could turn into the other
# and leave no trace in the state. This costs 0.1 bit an escape. Their last entries are never written.
CLASSES, CHUNK = 32, 8
_tail = [(1 << 14 >> k // 2) + 2 * CLASSES - k for k in range(1, 2 * CLASSES)]
ESCAPES = Tables(
    [[(1 << 16) - sum(_tail) - 1, *_tail, 1]], [0]
)  # entry 2·(bits − 1) + side; each further bit halves it
_bytes = np.arange(128, 384)  # of the values 0 to 255; fewer bits w: the sums of 2^(8 − w) neighbours; 128 are left
RAW = Tables([[*_bytes.reshape(1 << w, -1).sum(axis=1), 128] for w in range(1, CHUNK + 1)], [0] * CHUNK)


class Encoder:
    """Collects the symbols of one payload."""

    def __init__(self) -> None:
        self._steps: list[tuple[Any, ...]] = []  # arguments of encode_reverse, in decoding order

    def code(self, tables: Tables, index: Any, symbols: Any) -> np.ndarray:
        """Code `symbols` (integers, or integral floats, of any shape; each an int32) with the tables numbered `index`.

        Returns what the decoder will return: int32 of that shape. It differs from `symbols` only where a table has one
        entry: there it is the table's offset, and costs nothing. Raises ValueError on anything that is not an int32.
        """
        index, order, bounds = _grouped(tables, index)
        shape, flat = index.shape, _int32(symbols)
        if flat.shape != shape:
            raise ValueError(f"{flat.size} symbols of shape {flat.shape} need as many table indices, not shape {shape}")
        of = index.ravel()[order]
        place = flat.ravel()[order].astype(np.int64) - tables.offsets[of]
        last = tables.sizes[of] - 1
        place[last == 0] = 0
        below, escaped = place < 0, (place < 0) | (place >= last) & (last > 0)
        distance = np.where(below, -place, place - last + 1)[escaped]
        coded = np.where(escaped, last, place).astype(np.int32)
        self._steps += [(coded[start:end], tables.models[i]) for i, start, end in bounds]
        if distance.size:
            self._escape(distance, below[escaped])
        out = np.empty(order.size, np.int32)
        out[order] = place + tables.offsets[of]
        return out.reshape(shape)

    def _escape(self, distance: np.ndarray, below: np.ndarray) -> None:
        bits = _bit_length(distance)
        self._steps.append(((2 * (bits - 1) + below).astype(np.int32), ESCAPES.models[0]))
        for shift, chosen, width in _chunks(bits):
            self.code(RAW, width - 1, distance[chosen] >> shift & ((1 << width) - 1))

    def finish(self) -> bytes:
        """The payload: little-endian words without the trailing zero bytes; empty when nothing was coded."""
        steps, self._steps = self._steps, []
        if not steps:
            return b""
        coder = _ans(np.array([INITIAL], dtype=np.uint32))
        for step in reversed(steps):
            coder.encode_reverse(*step)
        return coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")


class Decoder:
    """Returns the symbols of one payload. Trusts nothing: failure is a StreamError, in time linear in the symbols."""

    def __init__(self, payload: bytes | bytearray | memoryview) -> None:
        data = bytes(payload)
        if data and (data[-1] == 0 or data == INITIAL.to_bytes(3, "little")):
            raise StreamError(f"damaged: a payload of {len(data)} bytes ends as no encoder ends it")
        words = np.frombuffer(data + bytes(-len(data) % 4), dtype="<u4").astype(np.uint32)
        with _translated():
            self._coder = _ans(words if data else np.array([INITIAL], dtype=np.uint32))

    def code(self, tables: Tables, index: Any) -> np.ndarray:
        """The next symbols, int32 of the shape of `index`. Garbage where the payload is damaged: `finish` tells, or
        Desynchronised at once where nothing is left of the payload: then no number of symbols costs more than one."""
        index, order, bounds = _grouped(tables, index)
        of = index.ravel()[order]
        place = self._entries(tables, order.size, bounds)
        last = tables.sizes[of] - 1
        escaped = np.flatnonzero((place == last) & (last > 0))
        if escaped.size:
            distance, below = self._escape(escaped.size)
            place[escaped] = np.where(below, -distance, last[escaped] + distance - 1)
        place += tables.offsets[of]
        if escaped.size:
            _forbidden((place[escaped] < INT32_MIN) | (place[escaped] > INT32_MAX))
        words, state = self._position()
        if not words and state < INITIAL:  # without words the state never grows, so it cannot end as it must
            raise _desynchronised(words, state)
        out = np.empty(order.size, np.int32)
        out[order] = place
        return out.reshape(index.shape)

    def _position(self) -> tuple[int, int]:
        """(words that are left, state)."""
        with _translated():
            words, state = self._coder.pos()
        return int(words), int(state)

    def _entries(self, tables: Tables, count: int, bounds: list[tuple[int, int, int]]) -> np.ndarray:
        """Numbers of entries, (count,) int64, in the order of coding."""
        entries = np.zeros(count, np.int64)
        with _translated():
            for i, start, end in bounds:
                entries[start:end] = self._coder.decode(tables.models[i], end - start)
        return entries

    def _escape(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        with _translated():
            classes = self._coder.decode(ESCAPES.models[0], count).astype(np.int64)
        _forbidden(classes == 2 * CLASSES)
        bits = classes // 2 + 1
        distance = np.int64(1) << (bits - 1)
        for shift, chosen, width in _chunks(bits):
            _, order, bounds = _grouped(RAW, width - 1)
            raw = np.empty(chosen.size, np.int64)
            raw[order] = self._entries(RAW, chosen.size, bounds)
            _forbidden(raw >> width != 0)
            distance[chosen] += raw << shift
        return distance, classes % 2 == 1

    def finish(self) -> None:
        """Raises Desynchronised unless the coder is back in its initial state with every word consumed."""
        words, state = self._position()
        if (words, state) != (0, INITIAL):
            raise _desynchronised(words, state)


def _desynchronised(words: int, state: int) -> Desynchronised:
    rest = f"{words} words are left" if words else f"the final state is {state:#x}, not {INITIAL:#x}"
    return Desynchronised(f"desynchronised: {rest}: {CAUSE}")


def _grouped(tables: Tables, index: Any) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int, int]]]:
    """Index array, order (stable sort by table), and (table, start, end) of each table present that codes anything."""
    index = np.asarray(index)
    if index.dtype.kind not in "iu" and index.size:
        raise ValueError(f"table indices must be integers, not {index.dtype}")
    if index.size and not (int(index.min()) >= 0 and int(index.max()) < len(tables)):
        raise ValueError(f"table indices from {index.min()} to {index.max()} do not fit {len(tables)} tables")
    index = index.astype(np.uint8 if len(tables) <= 256 else np.uint16)
    order = np.argsort(index.ravel(), kind="stable")
    counts = np.bincount(index.ravel(), minlength=len(tables))
    ends = np.cumsum(counts)
    present = np.flatnonzero((counts > 0) & (tables.sizes > 1)).tolist()
    bounds = [(i, int(ends[i] - counts[i]), int(ends[i])) for i in present]
    return index, order, bounds


def _int32(symbols: Any) -> np.ndarray:
    array = np.asarray(symbols)
    if array.dtype == np.int32:
        return array
    if array.dtype.kind not in "iuf" and array.size:
        raise ValueError(f"symbols must be integers, not {array.dtype}")
    if array.size:
        if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.rint(array)).all()):
            raise ValueError("symbols must be whole numbers: some are fractional, infinite or NaN")
        if array.min() < INT32_MIN or array.max() > INT32_MAX:
            raise ValueError(f"symbols from {array.min()} to {array.max()} do not fit int32")
    return array.astype(np.int32)


def _bit_length(values: np.ndarray) -> np.ndarray:
    """Of integers from 1 to 2^32, exactly: a float64 holds them."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _chunks(bits: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(shift, which escapes, width in bits of each) of the raw bits under the leading one, in decoding order."""
    for shift in range(0, CLASSES - 1, CHUNK):
        chosen = np.flatnonzero(bits - 1 > shift)
        if chosen.size:
            yield shift, chosen, np.minimum(bits[chosen] - 1 - shift, CHUNK)


def _forbidden(found: np.ndarray) -> None:
    if found.any():
        raise Desynchronised(f"desynchronised: a value that no encoder writes: {CAUSE}")


def _ans(words: np.ndarray) -> Any:
    import constriction

    return constriction.stream.stack.AnsCoder(words)


@contextmanager
def _translated() -> Iterator[None]:
    """Whatever constriction raises becomes a StreamError; its panics derive from BaseException, so they need care."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            line = " ".join(str(error).split())[:200]
            raise StreamError(f"damaged: the entropy coder refuses the payload ({line})") from None
        raise
