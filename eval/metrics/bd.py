"""Bjøntegaard's differences between curves of accuracy over rate (VCEG-M33).

BD-rate: the mean difference of log rate at equal accuracy, in percent (negative: saves rate). BD-accuracy: the mean
difference of accuracy at equal log rate, in the accuracy's unit (points of AP, dB).

Curves of accuracy are noisy and often fall somewhere. Two figures stand side by side:
  raw        over the points as they are (JCT practice); withheld, with the reason, where a curve does not rise
  primary    over at least 6 rates a curve, each made monotone by isotonic regression (equal weights)
Where isotonic regression pools neighbours, the curve is flat: more rate buys nothing there. BD-rate needs the inverse,
in which a flat piece is a jump: up to its accuracy the rate is that of its left end, above it that of its right end. At
the accuracy itself the rate is ambiguous, but a single accuracy has no weight in a mean. (So further points on a
plateau do not move the figure, as they would if a plateau were given a mean rate.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics.monotone import AREAS, pooled

LEAST_POINTS = 4
LEAST_RATES = 6  # of each curve, for the primary figure
Curve = Sequence[tuple[float, float | None]]  # (rate_bpp, accuracy)


@dataclass(frozen=True)
class BD:
    """`percent` (negative: saves rate), or None and the reason why there is no figure."""

    percent: float | None
    reason: str = ""

    def __str__(self) -> str:
        return f"n/a ({self.reason})" if self.percent is None else f"{self.percent:+.1f} %"


@dataclass(frozen=True)
class BDs:
    """Primary and raw figures of a codec against an anchor; None with its reason where there is none."""

    rate_percent: float | None
    accuracy_points: float | None
    reason: str = ""  # why there is no rate_percent
    accuracy_reason: str = ""
    raw_rate_percent: float | None = None
    raw_accuracy_points: float | None = None
    raw_reason: str = ""  # why there is no raw_rate_percent
    raw_accuracy_reason: str = ""

    def __str__(self) -> str:
        return f"n/a ({self.reason})" if self.rate_percent is None else f"{self.rate_percent:+.1f} %"


def bd(anchor: Curve, tested: Curve, isotonic: bool = True, interpolation: str = "pchip") -> BDs:
    """Differences of `tested` from `anchor`, points in any order. isotonic=False: the primary figures are the raw ones.

    Raises ValueError for an interpolation other than pchip and akima.
    """
    if interpolation not in AREAS:
        raise ValueError(f"interpolation {interpolation!r}: choose one of {', '.join(AREAS)}")
    raw = _bd(anchor, tested, False, interpolation)
    of = _bd(anchor, tested, True, interpolation) if isotonic else raw
    return BDs(of[0].percent, of[1].percent, of[0].reason, of[1].reason,
               raw[0].percent, raw[1].percent, raw[0].reason, raw[1].reason)  # fmt: skip


def bd_rate(anchor: Curve, tested: Curve) -> BD:
    """Raw BD-rate (pchip) of `tested` against `anchor`; each a curve of (rate_bpp > 0, quality) points in any order."""
    return _bd(anchor, tested, False, "pchip")[0]


def bd_many(
    anchor: tuple[np.ndarray, np.ndarray], tested: tuple[np.ndarray, np.ndarray], monotone: bool = True,
    interpolation: str = "pchip",
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(BD-rate in percent, BD-accuracy), each (B,), of B pairs of curves; nan where undefined.

    A curve: rates (B, n) and accuracies (B, n), points in any order. The number of points is not judged here.
    """
    curves, fine = [], np.ones(len(anchor[0]), bool)
    for rates, accuracies in (anchor, tested):
        order = np.lexsort((accuracies, rates), axis=-1)
        rates, accuracies = (np.take_along_axis(values, order, axis=1) for values in (rates, accuracies))
        fine &= np.isfinite(accuracies).all(axis=1) & (rates > 0).all(axis=1)
        accuracies = np.where(np.isfinite(accuracies), accuracies, 0.0)
        logs = np.log(np.where(rates > 0, rates, 1.0))
        curves.append((logs, pooled(accuracies) if monotone else accuracies))
    inverse = [(accuracies, logs) for logs, accuracies in curves]
    rising = fine if monotone else fine & np.logical_and(*((np.diff(of, axis=1) > 0).all(axis=1) for of, _ in inverse))
    rate = 100.0 * np.expm1(_mean_difference(inverse, rising, interpolation))
    return rate, _mean_difference(curves, fine, interpolation)


def _mean_difference(curves: list[tuple[np.ndarray, np.ndarray]], use: np.ndarray, interpolation: str) -> np.ndarray:
    """(B,) mean over the common range of x of the second curve minus the first; nan without one."""
    low = np.max([x[:, 0] for x, _ in curves], axis=0)
    high = np.min([x[:, -1] for x, _ in curves], axis=0)
    span = np.max([x[:, -1] - x[:, 0] for x, _ in curves], axis=0)
    use = use & (high - low > 1e-9 * span)  # what is common by rounding alone would be a quotient of rounding errors
    found = np.full(len(low), np.nan)
    areas = [AREAS[interpolation](x[use], y[use], low[use], high[use]) for x, y in curves]
    found[use] = (areas[1] - areas[0]) / (high - low)[use]
    return found


def _bd(anchor: Curve, tested: Curve, monotone: bool, interpolation: str) -> tuple[BD, BD]:
    """BD-rate and BD-accuracy, or why not."""
    curves = []
    for whose, curve in (("the anchor", anchor), ("the codec", tested)):
        points = np.array([(rate, math.nan if value is None else value) for rate, value in curve], float).reshape(-1, 2)
        points = points[np.lexsort((points[:, 1], points[:, 0]))]
        reason = _unusable(whose, points, monotone)
        if reason:
            return BD(None, reason), BD(None, reason)
        curves.append(points.T)
    pairs = [(rates[None], values[None]) for rates, values in curves]
    rate, accuracy = bd_many(pairs[0], pairs[1], monotone, interpolation)
    return (
        BD(float(rate[0])) if np.isfinite(rate[0]) else BD(None, _why_no_rate(curves, monotone)),
        BD(float(accuracy[0])) if np.isfinite(accuracy[0]) else BD(None, "the curves do not overlap in rate"),
    )


def _unusable(whose: str, points: np.ndarray, monotone: bool) -> str:
    """Why these points (n, 2) by rising rate are no curve; "" where they are one."""
    least = LEAST_RATES if monotone else LEAST_POINTS
    rates = len(np.unique(points[:, 0])) if monotone else len(points)
    if rates < least:
        return f"{whose} has {rates} rates, {least} are needed"
    if not np.isfinite(points).all() or (points[:, 0] <= 0).any():
        return f"{whose} has a point without a figure"
    if not monotone and (np.diff(points[:, 0]) <= 0).any():
        return f"{whose} has two points at one rate"
    return ""


def _why_no_rate(curves: list[np.ndarray], monotone: bool) -> str:
    for whose, (rates, values) in zip(("the anchor", "the codec"), curves, strict=True):
        falls = np.flatnonzero(np.diff(values) <= 0)
        if not monotone and len(falls):
            low_bpp, high_bpp = rates[falls[0]], rates[falls[0] + 1]
            return f"{whose} is not monotone: no gain from {low_bpp:.3g} to {high_bpp:.3g} bpp"
        if monotone and np.ptp(pooled(values[None])) == 0:
            return f"{whose} does not rise with rate"
    return "the curves do not overlap in quality"
