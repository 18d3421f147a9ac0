"""Monotone curves and the areas under them, for many curves at once. B: curves, n: points of each.

x rises along a curve, or stays: where two neighbours have the same x the curve jumps, and a jump has no area. So the
curve y(x) and its inverse x(y) are the same points with the axes exchanged; flat pieces of one are jumps of the other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Area = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def pooled(values: np.ndarray) -> np.ndarray:
    """(B, n): the nearest rising sequence in least squares, all weights equal, which pool-adjacent-violators finds.

    Here by its max-min formula, max over j <= i of min over k >= i of mean(values[j..k]): a few points, many curves.
    """
    count = values.shape[1]
    ends = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    sums = ends[:, None, 1:] - ends[:, :-1, None]  # (B, j, k) of values[j..k]
    lengths = np.arange(1, count + 1) - np.arange(count)[:, None]
    means = np.where(lengths > 0, sums / np.maximum(lengths, 1), np.inf)
    least = np.minimum.accumulate(means[:, :, ::-1], axis=2)[:, :, ::-1]  # over k >= i
    reach = np.where(np.tril(np.ones((count, count), bool)).T, least, -np.inf)  # j <= i
    found = np.maximum.accumulate(reach.max(axis=1), axis=1)
    # sums of parts are inexact: what was rising already stays as it is, and pooled neighbours are equal exactly
    rising = (np.diff(values, axis=1) >= 0).all(axis=1, keepdims=True)
    close = np.diff(found, axis=1) <= 1e-12 * np.abs(values).max(axis=1, keepdims=True)
    first = np.maximum.accumulate(np.where(np.pad(close, ((0, 0), (1, 0))), 0, np.arange(count)), axis=1)
    return np.where(rising, values, np.take_along_axis(found, first, axis=1))


def pchip_area(x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(B,) integral of y from low to high (B,), within the curve, by monotone cubic pieces (Fritsch and Butland 1984).

    Between jumps the values are those of SciPy's PchipInterpolator.
    """
    h = np.diff(x, axis=1)
    slope = np.divide(np.diff(y, axis=1), h, out=np.zeros_like(h), where=h > 0)
    d = _derivatives(h, slope)
    width = np.where(h > 0, h, 1.0)
    t = [np.clip((end[:, None] - x[:, :-1]) / width, 0.0, 1.0) for end in (low, high)]
    pieces = [y[:, :-1] * (t**4 / 2 - t**3 + t) + y[:, 1:] * (t**3 - t**4 / 2)
              + h * d[:, :-1] * (t**4 / 4 - 2 * t**3 / 3 + t**2 / 2) + h * d[:, 1:] * (t**4 / 4 - t**3 / 3)
              for t in t]  # fmt: skip
    return (h * (pieces[1] - pieces[0])).sum(axis=1)


def _derivatives(h: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """(B, n) at the points, from the n - 1 pieces; a piece of h = 0 is a jump and an end of the curve on both sides."""
    h, m = (np.pad(values, ((0, 0), (2, 2))) for values in (h, slope))
    count = h.shape[1] - 3
    (hll, hl, hr, hrr), (mll, ml, mr, mrr) = ([v[:, i : i + count] for i in range(4)] for v in (h, m))
    with np.errstate(divide="ignore", invalid="ignore"):
        w1, w2 = 2 * hr + hl, hr + 2 * hl
        inner = np.where(ml * mr > 0, (w1 + w2) / (w1 / ml + w2 / mr), 0.0)
        right = np.where(hrr > 0, _end(hr, hrr, mr, mrr), mr)  # first point after a jump
        left = np.where(hll > 0, _end(hl, hll, ml, mll), ml)  # last point before one
    return np.where((hl > 0) & (hr > 0), inner, np.where(hr > 0, right, np.where(hl > 0, left, 0.0)))


def _end(h0: np.ndarray, h1: np.ndarray, m0: np.ndarray, m1: np.ndarray) -> np.ndarray:
    """Derivative at an end from the two pieces next to it: three-point formula, kept in the shape of the data."""
    d = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    d = np.where(np.sign(d) != np.sign(m0), 0.0, d)
    return np.where((np.sign(m0) != np.sign(m1)) & (np.abs(d) > 3 * np.abs(m0)), 3 * m0, d)


def akima_area(x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The same by Akima's pieces (1970), curve by curve; they may swing beyond their points. Two points: a line."""
    from scipy.interpolate import Akima1DInterpolator

    areas = np.zeros(len(x))
    for row in range(len(x)):
        breaks = np.flatnonzero(np.diff(x[row]) <= 0) + 1
        for part in np.split(np.arange(x.shape[1]), breaks):
            at, values = x[row, part], y[row, part]
            start, stop = max(low[row], at[0]), min(high[row], at[-1])
            if start >= stop:
                continue
            if len(part) == 2:
                ends = np.interp([start, stop], at, values)
                areas[row] += (stop - start) * float(ends.mean())
            else:
                areas[row] += float(Akima1DInterpolator(at, values).integrate(start, stop))
    return areas


AREAS: dict[str, Area] = {"pchip": pchip_area, "akima": akima_area}
