"""Bjøntegaard's BD-rate: the mean difference of rate at equal quality, in percent (VCEG-M33; pchip as in JCT practice).

Curves of accuracy are often not monotone, and then the figure has no meaning: it is withheld, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_POINTS = 4


@dataclass(frozen=True)
class BD:
    """`percent` (negative: saves rate), or None and the reason why there is no figure."""

    percent: float | None
    reason: str = ""

    def __str__(self) -> str:
        return f"n/a ({self.reason})" if self.percent is None else f"{self.percent:+.1f} %"


def bd_rate(anchor: Sequence[tuple[float, float]], tested: Sequence[tuple[float, float]]) -> BD:
    """BD-rate of `tested` against `anchor`; each a curve of (rate_bpp > 0, quality) points in any order."""
    from scipy.interpolate import PchipInterpolator

    logs, values = [], []
    for whose, curve in (("the anchor", anchor), ("the codec", tested)):
        points = sorted(curve)
        if len(points) < LEAST_POINTS:
            return BD(None, f"{whose} has {len(points)} rates, {LEAST_POINTS} are needed")
        rate, quality = np.array(points, np.float64).T
        if not np.all(np.isfinite(quality)) or np.any(rate <= 0):
            return BD(None, f"{whose} has a point without a figure")
        if np.any(np.diff(rate) <= 0):
            return BD(None, f"{whose} has two points at one rate")
        if len(flat := np.flatnonzero(np.diff(quality) <= 0)):
            low_bpp, high_bpp = rate[flat[0]], rate[flat[0] + 1]
            return BD(None, f"{whose} is not monotone: no gain from {low_bpp:.3g} to {high_bpp:.3g} bpp")
        logs.append(np.log(rate))
        values.append(quality)
    low, high = max(v[0] for v in values), min(v[-1] for v in values)
    if low >= high:
        return BD(None, "the curves do not overlap in quality")
    areas = [PchipInterpolator(v, r).integrate(low, high) for v, r in zip(values, logs, strict=True)]
    return BD(100.0 * (math.exp((float(areas[1]) - float(areas[0])) / (high - low)) - 1.0))
