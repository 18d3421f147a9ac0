"""Integer tables from distributions, once, when a codec is released; the decoder sees only their integers (tables.py).

All in float64. A tail beyond the table goes to the escape, so a table is as long as pays: a longer one spreads a little
frequency over symbols that hardly occur (each entry needs 1/65536), a shorter one escapes more often. Measured on
Gaussians of scale 0.1 to 60, mean cost over the entropy: 2^-10 0.011 %, 2^-12 0.0025 %, 2^-13 0.0018 %, 2^-14 0.0017 %,
2^-16 0.0033 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .tables import TOTAL, Tables

TAIL = 2.0**-13


def from_pmfs(pmfs: Sequence[np.ndarray], offsets: Sequence[int]) -> Tables:
    """Tables from probabilities: entry j of pmfs[i] is of the symbol offsets[i] + j; what lacks to 1 is the escape's.

    Leading and trailing entries are dropped while the dropped ones, both sides together, have at most TAIL.
    """
    rows, starts = [], []
    for pmf, offset in zip(pmfs, offsets, strict=True):
        p = np.asarray(pmf, np.float64)
        if p.ndim != 1 or not len(p) or not np.isfinite(p).all() or p.min() < 0 or not 0 < p.sum() <= 1 + 1e-6:
            raise ValueError("a distribution is a row of probabilities that sum to at most 1")
        low, high = _kept(p, TAIL)
        rows.append(_frequencies(np.append(p[low:high], max(0.0, 1 - p[low:high].sum()))))
        starts.append(int(offset) + low)
    return Tables(rows, starts)


def gaussian(scales: Sequence[float] | np.ndarray) -> Tables:
    """A table per standard deviation of a zero-mean Gaussian, integrated over k ± ½; scale 0 is never coded."""
    pmfs, offsets = [], []
    for scale in np.asarray(scales, np.float64).tolist():
        if not 0 <= scale < 4096:
            raise ValueError(f"a scale of {scale} is not between 0 and 4096")
        radius = math.ceil(5 * scale) + 1 if scale else 0
        pmfs.append(_interval_masses(radius, scale))
        offsets.append(-radius)
    tables = from_pmfs(pmfs, offsets)
    if all(scale > 0 for scale in np.asarray(scales).tolist()):
        return tables
    rows = [row if scale > 0 else [TOTAL] for row, scale in zip(tables.rows, scales, strict=True)]
    starts = [start if scale > 0 else 0 for start, scale in zip(tables.offsets.tolist(), scales, strict=True)]
    return Tables(rows, starts)


def _interval_masses(radius: int, scale: float) -> np.ndarray:
    """P(k − ½ < X < k + ½) for k = −radius ... radius. From erfc of |k|, so that far tails keep their precision."""
    if scale == 0:
        return np.ones(1)
    edges = (np.arange(radius + 2) - 0.5) / (scale * math.sqrt(2))
    upper = np.array([math.erfc(edge) / 2 for edge in edges.tolist()])  # P(X > k − ½), k = 0 ... radius + 1
    half = upper[:-1] - upper[1:]
    return np.concatenate([half[:0:-1], half])


def _kept(p: np.ndarray, tail: float) -> tuple[int, int]:
    """The range left when the smaller end (equal ones together) is dropped again and again, at most `tail` in all."""
    low, high, dropped = 0, len(p), 0.0
    while high - low > 1:
        first, last = p[low], p[high - 1]
        both = first == last and high - low > 2
        dropped += first + last if both else min(first, last)
        if dropped > tail:
            break
        low, high = low + (both or first <= last), high - (both or first > last)
    return int(low), int(high)


def _frequencies(p: np.ndarray) -> np.ndarray:
    """Integers >= 1 that sum to 2^16, −Σ p·log2 f about the least: floors, then each unit where it saves most."""
    if len(p) > TOTAL:
        raise ValueError(f"a table of {len(p)} entries is longer than {TOTAL}")
    p = p / p.sum()
    f = np.maximum(1, np.floor(p * TOTAL)).astype(np.int64)
    while (left := TOTAL - int(f.sum())) != 0:
        if left > 0:  # all at once where there are more units than entries, else the best ones
            gain = p * np.log2((f + 1) / f)
            f[np.argsort(-gain, kind="stable")[: min(left, len(f))]] += 1
        else:
            loss = np.where(f > 1, p * np.log2(f / np.maximum(f - 1, 1)), np.inf)
            f[np.argsort(loss, kind="stable")[: min(-left, int((f > 1).sum()))]] -= 1
    return f
