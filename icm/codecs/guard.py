"""Which table codes a symbol where floats decide it, agreed on by machines whose floats differ a little.

    scale ─▶ nearest table of 64 (geometric)          far from the edge between two tables: every machine finds the same
          ╰▶ closer to an edge than 2^-bits: the encoder lists the position in the payload, and both take the lower
    crc32 of all indices of the slice, 8 bits of it, in the payload: a decoder that disagrees says so and stops

Kernels, layouts and thread counts change a float32 network's scales by some 1e-6 of their size. That flips the index of
dozens of symbols in each picture, and one of them is enough to ruin the rest. With the list, a decoder only has to come
within 2^-bits. It costs about 2^(1-bits) / 0.123 · 14 bits for each symbol whose scale is above the lowest.
"""

from __future__ import annotations

import zlib
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from icm.bitstream import Desynchronised, Tables
from icm.bitstream.coder import RAW
from icm.quality import LOG_STEP, SCALE_COUNT, SCALE_LOWEST

EDGES = SCALE_LOWEST * np.exp((np.arange(SCALE_COUNT - 1) + 0.5) * LOG_STEP)
GUARD_MAX = 40  # bits
# Bit lengths 0 to 32 of a count, and quotients (each half as likely as the one before): no two equally likely, so that
# none can turn into another without a trace in the coder's state. Their last entries are escapes and never written.
_lengths = [2600 - 40 * i for i in range(33)]
LENGTHS = Tables([[(1 << 16) - sum(_lengths[1:]) - 1, *_lengths[1:], 1]], [0])
QUOTIENTS = Tables([[(1 << 15) + 1, *(1 << (15 - q) for q in range(1, 15)), 1]], [0])


class Coder(Protocol):
    """icm.bitstream's Encoder or Decoder."""

    def code(self, tables: Any, index: Any, *symbols: Any) -> np.ndarray: ...


def agree(coder: Coder, scale: Tensor, bits: int, encoding: bool) -> np.ndarray:
    """Standard deviations of any shape → table numbers, uint8 of that shape, the same on both sides.

    bits: guard, 1 to 40; 0: none. Desynchronised where this machine's scales are further from the encoder's.
    """
    values = scale.detach().double().cpu().numpy().ravel()
    index = np.searchsorted(EDGES, values)
    if bits:
        width = 2.0**-bits
        below = np.searchsorted(EDGES, values * (1 - width))
        close = np.flatnonzero(below != np.searchsorted(EDGES, values * (1 + width)))
        close = _positions(coder, len(values), close if encoding else None)
        # The encoder's scale is within `width` of the edge, ours within `width` of the encoder's.
        index[close] = below[close] if encoding else np.searchsorted(EDGES, values[close] * (1 - 2 * width))
    index = index.astype(np.uint8)
    check = np.array([zlib.crc32(index.tobytes()) & 255])
    if int(_raw(coder, 1, 8, check if encoding else None)[0]) != check[0]:
        raise Desynchronised(
            "desynchronised: the table indices computed here are not the encoder's: its prior is computed in floats, "
            "and this build (processor, torch, threads) rounds otherwise; decode where it was encoded"
        )
    return index.reshape(tuple(scale.shape))


def _positions(coder: Coder, total: int, given: np.ndarray | None) -> np.ndarray:
    """Increasing positions below `total`: their number, and the gaps as Golomb-Rice codes."""
    count = None if given is None else len(given)
    length = _one(coder, LENGTHS, None if count is None else count.bit_length())
    if length > max(total, 1).bit_length():
        raise Desynchronised("desynchronised: more indices on an edge than there are symbols")
    number = int(_raw(coder, 1, length, None if count is None else np.array([count]))[0]) if length else 0
    if not 0 <= number <= total:
        raise Desynchronised("desynchronised: more indices on an edge than there are symbols")
    if not number:
        return np.zeros(0, np.int64)
    rice = max(0, (total // number).bit_length() - 1)
    gaps = None if given is None else np.diff(given, prepend=-1) - 1
    quotients = coder.code(QUOTIENTS, np.zeros(number, np.uint8), *(() if gaps is None else (gaps >> rice,)))
    rest = _raw(coder, number, rice, None if gaps is None else gaps & ((1 << rice) - 1))
    outside = quotients.min() < 0 or quotients.max() > total
    positions = np.cumsum((quotients.clip(0, total).astype(np.int64) << rice) + rest + 1) - 1
    if outside or positions[-1] >= total:
        raise Desynchronised("desynchronised: an index on an edge lies outside of its slice")
    return positions


def _one(coder: Coder, tables: Tables, value: int | None) -> int:
    """A number from the one table."""
    return int(coder.code(tables, np.zeros(1, np.uint8), *(() if value is None else (np.array([value]),)))[0])


def _raw(coder: Coder, count: int, bits: int, given: np.ndarray | None) -> np.ndarray:
    """`count` numbers of `bits` bits, eight bits at a time, the low ones first."""
    out = np.zeros(count, np.int64)
    for shift in range(0, bits, 8):
        width = min(8, bits - shift)
        index = np.full(count, width - 1, np.uint8)
        part = coder.code(RAW, index, *(() if given is None else (given >> shift & ((1 << width) - 1),)))
        if (part.astype(np.int64) >> width).any():
            raise Desynchronised("desynchronised: a value that no encoder writes")
        out |= part.astype(np.int64) << shift
    return out
