"""Group masks to bytes and back. Normative: README.md ("The mask").

    cell ─▶ neighbours W, N, NE, NW ─▶ "as W?" ─no─▶ "as N?" ─no─▶ … ─no─▶ new group, or which of the older ones

Cells on a line c + 2r = const see only earlier lines, so a line is coded at once. Every answer is a binary symbol whose
table is chosen by counts of the context, in integers; they start from what photographs showed (mask_prior.py).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from icm.bitstream import Decoder, Desynchronised, Encoder, Tables
from icm.groups.mask import MAX_GROUPS
from icm.groups.mask_prior import NEW, PRIOR, STEP

CONTEXTS = 96  # 24 patterns of equal neighbours × WW as W × NN as N
_LEAST, _MOST = 16, 30720  # of 2^16: the rarer answer of a table, in steps of an eighth
_SIDE = 88  # tables a side


def _binary_tables() -> Tables:
    """Entry 0: yes, 1: no. No two entries are equally likely, so that none can turn into the other unnoticed."""
    rare = [(8 + m) << e for e in range(1, 12) for m in range(8)]
    return Tables([[q, 65535 - q, 1] for q in rare] + [[65535 - q, q, 1] for q in rare], [0] * 2 * _SIDE)


def _choice_tables() -> Tables:
    """Table k − 2: one of k, the later ones a little likelier (for the same reason)."""
    rows = []
    for k in range(2, MAX_GROUPS + 1):
        weights = [4 * k + v for v in range(k)]
        row = [w * 65535 // sum(weights) for w in weights]
        rows.append([*row, 65536 - sum(row)])
    return Tables(rows, [0] * len(rows))


BINARY, CHOICE = _binary_tables(), _choice_tables()


class Coder(Protocol):
    """icm.bitstream's Encoder or Decoder."""

    def code(self, tables: Any, index: Any, *symbols: Any) -> np.ndarray: ...


class _Answers:
    """Counts of yes and of all answers by context, and the table that they choose. Integers throughout."""

    def __init__(self, prior: np.ndarray) -> None:
        self.yes, self.all = prior[..., 0].astype(np.int64), prior.sum(-1, dtype=np.int64)

    def ask(self, coder: Coder, context: np.ndarray, given: np.ndarray | None) -> np.ndarray:
        """Code one answer for each context (n,); given: the answers, bool, which the encoder alone knows."""
        index = table_of(self.yes[context], self.all[context])
        symbols = coder.code(BINARY, index, *(() if given is None else (1 - given.astype(np.int32),)))
        if ((symbols < 0) | (symbols > 1)).any():
            raise Desynchronised("desynchronised: a mask of groups with an answer that no encoder writes")
        answers = symbols == 0
        np.add.at(self.yes, context, STEP * answers)
        np.add.at(self.all, context, STEP)
        return answers


def table_of(yes: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Counts (n,), 0 < yes < total → index into BINARY, uint8."""
    rare = np.minimum(yes, total - yes)
    q = np.clip((rare << 16) // total, _LEAST, _MOST)
    e = np.frexp(q.astype(np.float64))[1] - 4  # the exponent of a whole number is exact
    return ((e - 1) * 8 + (q >> e) - 8 + _SIDE * (2 * yes > total)).astype(np.uint8)


def walk(coder: Coder, rows: int, cols: int, count: int, ids: np.ndarray | None = None) -> np.ndarray:
    """The symbols of a mask of `count` groups → ids (rows, cols) uint8; ids: the mask, which the encoder knows."""
    a = np.full((rows + 2, cols + 3), -1, np.int64)  # two rows above, two columns left, one right
    a[2, 2] = 0  # the first cell is of the first group
    answers, fresh, seen = _Answers(PRIOR), _Answers(NEW), 1
    for line in range(1, cols + 2 * rows - 2) if count > 1 else ():
        r = np.arange(max(0, (line - cols + 2) // 2), min(rows - 1, line // 2) + 1)
        c = line - 2 * r
        candidates, context = neighbours(a, r + 2, c + 2)
        distinct = np.stack([(candidates[:, k, None] != candidates[:, :k]).all(1) for k in range(4)], 1)
        kinds, wanted = distinct.sum(1), None if ids is None else ids[r, c].astype(np.int64)
        found = np.full(len(r), -1, np.int64)
        for k in range(4):
            asked = (found < 0) & distinct[:, k]
            last = asked & (kinds == count) & (distinct[:, : k + 1].sum(1) == count)
            found[last] = candidates[last, k]  # it has been all the others
            asked &= ~last
            if asked.any():
                given = None if wanted is None else wanted[asked] == candidates[asked, k]
                same = answers.ask(coder, 4 * context[asked] + k, given)
                found[np.flatnonzero(asked)[same]] = candidates[asked, k][same]
        for i in np.flatnonzero(found < 0):
            found[i] = _other(coder, fresh, candidates[i], seen, count, None if wanted is None else int(wanted[i]))
            seen = max(seen, int(found[i]) + 1)
        a[r + 2, c + 2] = found
    if seen != count:
        raise Desynchronised(f"desynchronised: the mask shows {seen} of {count} groups")
    return a[2:, 2:-1].astype(np.uint8) if count > 1 else np.zeros((rows, cols), np.uint8)


def _other(coder: Coder, fresh: _Answers, near: np.ndarray, seen: int, count: int, wanted: int | None) -> int:
    """A cell that is of none of the groups near it: the next new group, or an older one."""
    older = np.setdiff1d(np.arange(seen), near)
    is_new = not len(older)
    if len(older) and seen < count:
        given = None if wanted is None else np.array([wanted == seen])
        is_new = bool(fresh.ask(coder, np.zeros(1, np.int64), given)[0])
    if is_new:
        return seen
    if len(older) == 1:
        return int(older[0])
    given = () if wanted is None else (np.flatnonzero(older == wanted),)  # type: ignore[assignment]
    chosen = int(coder.code(CHOICE, np.array([len(older) - 2], np.uint8), *given)[0])  # type: ignore[misc]
    if not 0 <= chosen < len(older):
        raise Desynchronised("desynchronised: a mask of groups with a choice that no encoder writes")
    return int(older[chosen])


def neighbours(a: np.ndarray, r: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates W, N, NE, NW (n, 4) of cells in the padded mask, and their context (n,), 0 … CONTEXTS − 1.

    What lies outside is taken for N or W, whichever is inside.
    """
    west, north = a[r, c - 1], a[r - 1, c]
    west, north = np.where(west < 0, north, west), np.where(north < 0, west, north)
    ne, nw = a[r - 1, c + 1], a[r - 1, c - 1]
    ne, nw = np.where(ne < 0, north, ne), np.where(nw < 0, north, nw)
    ww, nn = a[r, c - 2], a[r - 2, c]
    calm = 2 * ((ww < 0) | (ww == west)) + ((nn < 0) | (nn == north))
    pattern = (north != west).astype(np.int64)
    pattern += 2 * np.where(ne == west, 0, np.where(ne == north, 1, 2))
    pattern += 6 * np.where(nw == west, 0, np.where(nw == north, 1, np.where(nw == ne, 2, 3)))
    return np.stack([west, north, ne, nw], 1), 4 * pattern + calm


def encode_mask(ids: np.ndarray, count: int) -> bytes:
    """The payload of canonical ids (rows, cols); empty where there is one group."""
    encoder = Encoder()
    walk(encoder, ids.shape[0], ids.shape[1], count, ids)
    return encoder.finish()


def decode_mask(payload: bytes, rows: int, cols: int, count: int) -> np.ndarray:
    """ids (rows, cols) uint8. StreamError where the payload is none of such a mask."""
    decoder = Decoder(payload)
    ids = walk(decoder, rows, cols, count)
    decoder.finish()
    return ids
