"""Which rate points are worth having: a Pareto table in the style of MPEG VCM's reports.

A point is dominated where another gives at least its accuracy for at most its rate, and is better in one of the two.
MPEG VCM computes BD-rates over the points of a codec that none of its own dominates ("Pareto mAP"), which makes every
curve rise; that figure stands beside the one by isotonic regression, which uses all points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.metrics.bd import BD, bd_rate


@dataclass(frozen=True)
class Row:
    """A rate point. `number` counts a codec's points from the highest rate on, as MPEG's R1, R2, ... do."""

    codec: str
    quality: float
    number: int
    rate_bpp: float
    accuracy: float | None
    kept_percent: float | None  # of the ceiling's accuracy
    in_codec: bool  # no other point of this codec dominates it
    overall: bool  # no point of any codec does


def undominated(points: Sequence[tuple[float, float | None]]) -> list[bool]:
    """For each (rate, accuracy): whether no other dominates it; a point without a figure never is optimal.

    Of points that are equal in both none dominates the other.
    """
    return [value is not None and not any(
        other_value is not None and other_rate <= rate and other_value >= value
        and (other_rate < rate or other_value > value) for other_rate, other_value in points)
        for rate, value in points]  # fmt: skip


def pareto(
    curves: Mapping[str, Sequence[tuple[float, float, float | None]]], ceiling: float | None = None
) -> list[Row]:  # fmt: skip
    """The table of curves of (quality, rate_bpp, accuracy); codecs in order, their points by falling rate.

    ceiling: the accuracy on the uncompressed pictures.
    """
    every = [(rate, value) for points in curves.values() for _, rate, value in points]
    best = {point for point, optimal in zip(every, undominated(every), strict=True) if optimal}
    rows = []
    for codec, points in curves.items():
        ordered = sorted(points, key=lambda point: -point[1])
        own = undominated([(rate, value) for _, rate, value in ordered])
        for number, ((quality, rate, value), optimal) in enumerate(zip(ordered, own, strict=True), start=1):
            kept = 100.0 * value / ceiling if value is not None and ceiling else None
            rows.append(Row(codec, quality, number, rate, value, kept, optimal, (rate, value) in best))
    return rows


def bd_rate_pareto(
    anchor: Sequence[tuple[float, float | None]], tested: Sequence[tuple[float, float | None]]
) -> BD:  # fmt: skip
    """BD-rate over the points of each that none of its own dominates, as MPEG VCM gives it; n/a below 4 of them."""
    fronts = []
    for points in (anchor, tested):
        front = {(rate, value) for (rate, value), optimal in zip(points, undominated(points), strict=True) if optimal}
        fronts.append(sorted((rate, value) for rate, value in front if value is not None))
    return bd_rate(fronts[0], fronts[1])
