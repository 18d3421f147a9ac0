"""A label map without loss: what it costs to tell a decoder the regions.

    positions in waves (column + 2·row = t), all of one wave at once: each asks, with adaptive integer contexts,
      is it W's label? ─no─▶ N's? ─no─▶ NE's? ─no─▶ NW's? ─no─▶ a label not seen yet? ─no─▶ which of those seen

           NN               A neighbour outside of the map, or one whose label was asked already, is passed over.
      NW   N   NE           Labels are numbered in the order in which the waves first meet them.
    WW W   ?

Probabilities are integer counts, one pair a context; each picks one of fixed tables (LEVELS). Nothing is computed in
floats. A map of some twenty objects costs about a tenth of a bit a position.
"""

from __future__ import annotations

import itertools

import numpy as np

from icm.bitstream import Desynchronised, Tables
from icm.bitstream.coder import RAW
from icm.codecs.guard import Coder

MOST = 1024  # labels of a map
_PRECISION, _LEAST = 1 << 16, 24
COUNT_LIMIT = 800  # at which both counts of a context are halved: so it adapts to what a picture is like here
_W, _N, _NE, _NW, _WW, _NN = range(6)
_STEPS = ((0, -1), (-1, 0), (-1, 1), (-1, -1), (0, -2), (-2, 0))  # (row, column) to each neighbour
_MARGIN = 2


def _levels() -> list[int]:
    """Frequencies of a one in 2^16: from 24, each about an eighth above the last, and the same from above."""
    low = [_LEAST]
    while low[-1] + low[-1] // 8 < _PRECISION // 2:
        low.append(low[-1] + low[-1] // 8)
    return [*low, _PRECISION // 2, *(_PRECISION - f for f in reversed(low))]


LEVELS = _levels()
_BETWEEN = np.array([(a + b) // 2 for a, b in itertools.pairwise(LEVELS)])
# Entries: no, yes, and the escape that is never written.
_ROWS = [[_PRECISION - f - 1, f, 1] if f < _PRECISION // 2 else [_PRECISION - f, f - 1, 1] for f in LEVELS]
BITS = Tables(_ROWS, [0] * len(LEVELS))


class _Contexts:
    """Adaptive bits through a coder. counts: (contexts, 2), twice what was seen, from a start of (ones, zeros)."""

    def __init__(self, coder: Coder, start: list[tuple[int, int]]) -> None:
        self.coder = coder
        self.counts = np.array(start, np.int64)

    def bits(self, context: np.ndarray, given: np.ndarray | None) -> np.ndarray:
        """A bit for each context (n,), as bool. Desynchronised where a value is no bit."""
        chance = self.counts[context, 1] * _PRECISION // self.counts[context].sum(1)
        index = np.searchsorted(_BETWEEN, chance).astype(np.uint8)
        coded = self.coder.code(BITS, index, *(() if given is None else (given.astype(np.int32),)))
        if (coded >> 1).any():
            raise Desynchronised("desynchronised: the label map has a value that no encoder writes")
        np.add.at(self.counts, (context, coded), 2)
        self.counts[self.counts.sum(1) > COUNT_LIMIT] += 1
        self.counts[self.counts.sum(1) > COUNT_LIMIT] >>= 1
        return coded.astype(bool)


def canonical(labels: np.ndarray) -> np.ndarray:
    """(h, w) of any integers → int32, numbered from 0 in the order in which the waves meet them."""
    height, width = labels.shape
    row, col = np.divmod(np.arange(labels.size), width)
    order = np.lexsort((row, col + 2 * row))
    _, first, numbers = np.unique(labels.ravel()[order], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first))
    out = np.empty(labels.size, np.int32)
    out[order] = rank[numbers.ravel()]
    return out.reshape(height, width)


def code(coder: Coder, shape: tuple[int, int], labels: np.ndarray | None = None) -> np.ndarray:
    """Through an Encoder (labels of this shape, canonical) or a Decoder (None) → the canonical map, int32.

    ValueError: more than MOST labels. Desynchronised: not what an encoder writes.
    """
    if labels is not None and int(labels.max()) >= MOST:
        raise ValueError(f"a label map with {int(labels.max()) + 1} regions: at most {MOST} can be coded; merge some")
    height, width = shape
    same = [
        _Contexts(coder, [(1, 30) if context & 1 else (1, 1) for context in range(128)]),
        _Contexts(coder, [(1, 1)] * 16),
        _Contexts(coder, [(1, 1)] * 4),
        _Contexts(coder, [(1, 1)] * 2),
    ]
    fresh = _Contexts(coder, [(1, 1)])
    # A frame of -1 around the map: neighbours exist everywhere, and are no label there.
    known = np.full((height + _MARGIN, width + 2 * _MARGIN), -1, np.int32)
    seen = 0
    for t in range(width + 2 * height - 2):
        rows = np.arange(max(0, (t - width + 2) // 2), min(height - 1, t // 2) + 1)
        cols = t - 2 * rows
        at = rows + _MARGIN, cols + _MARGIN
        near = np.stack([known[at[0] + down, at[1] + across] for down, across in _STEPS])
        truth = None if labels is None else labels[rows, cols]
        found = np.full(len(rows), -1, np.int32)
        for asked in (_W, _N, _NE, _NW):
            candidate = near[asked]
            open_ = (found < 0) & (candidate >= 0) & (near[:asked] != candidate).all(0)
            if not open_.any():
                continue
            given = None if truth is None else truth[open_] == candidate[open_]
            yes = same[asked].bits(_context(asked, near[:, open_]), given)
            found[np.flatnonzero(open_)[yes]] = candidate[open_][yes]
        for i in np.flatnonzero(found < 0):
            found[i] = _explicit(coder, fresh, seen, None if truth is None else int(truth[i]))
            seen = max(seen, int(found[i]) + 1)
        known[at] = found
    return known[_MARGIN:, _MARGIN:-_MARGIN].copy()


def _context(asked: int, near: np.ndarray) -> np.ndarray:
    """Which neighbours agree, of those that tell most about this question."""
    w, n, ne, nw, ww, nn = near
    if asked == _W:
        told = [w == n, w == ne, w == nw, n == nw, n == ne, w == ww, n == nn]
    elif asked == _N:
        told = [n == ne, n == nw, w == nw, n == nn]
    elif asked == _NE:
        told = [n == nw, w == nw]
    else:
        told = [n == ne]
    return sum((bit.astype(np.int64) << i for i, bit in enumerate(told)), np.zeros(near.shape[1], np.int64))


def _explicit(coder: Coder, fresh: _Contexts, seen: int, truth: int | None) -> int:
    """The label of a position that shares none with its neighbours."""
    zero = np.zeros(1, np.int64)
    if not seen or fresh.bits(zero, None if truth is None else np.array([truth == seen]))[0]:
        if seen >= MOST:
            raise Desynchronised(f"desynchronised: a label map of more than {MOST} regions")
        return seen
    label = 0
    for shift in range(0, (seen - 1).bit_length(), 8):
        width = min(8, (seen - 1).bit_length() - shift)
        given = () if truth is None else (np.array([truth >> shift & ((1 << width) - 1)]),)
        label |= int(coder.code(RAW, np.array([width - 1], np.uint8), *given)[0]) << shift
    if not 0 <= label < seen:
        raise Desynchronised("desynchronised: the label map names a region that is not there")
    return label
