"""Intervals of curves and of BD figures by resampling pictures (Efron's percentile bootstrap), paired between codecs.

    Scores of every point ─┐            ┌▶ rates, accuracies (B,) ─▶ band of each point, 2.5 to 97.5 %
    bytes, pixels ─────────┴▶ resample ─┴▶ B pairs of curves ─▶ BD-rate, BD-accuracy of each ─▶ intervals

Pictures are matched once (Scores); a resample draws U of the U units with replacement, the same ones for every codec
and point, so what pictures have in common cancels in differences. Units are pictures, or whole sequences of clips: the
frames of one are no independent draws, and a stream of a sequence has one size. A unit drawn twice counts as two.
B: resamples, P: pictures of the scores, U: units. The same seed gives the same intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.metrics.bd import BDs, bd, bd_many
from eval.metrics.scores import PRIMARY

RESAMPLES = 1000
LEVELS = (2.5, 97.5)  # percent
DEFINED = 0.5  # least share of resamples with a BD figure for which an interval is given


@dataclass(frozen=True)
class Point:
    """A codec at a quality. bytes, pixels (U,): of each unit; units (P,): which unit a picture of the scores belongs
    to, None where pictures are the units."""

    quality: float
    bytes: np.ndarray
    pixels: np.ndarray
    scores: Any
    units: np.ndarray | None = None


@dataclass(frozen=True)
class Interval:
    """2.5 and 97.5 % of the resamples; None where too few have a figure. undefined_percent: those that have none."""

    low: float | None
    high: float | None
    undefined_percent: float = 0.0


@dataclass(frozen=True)
class Band:
    """One point with its intervals; figures of the whole set."""

    quality: float
    rate_bpp: float
    accuracy: float | None
    rate: Interval
    spread: Interval  # of the accuracy


@dataclass(frozen=True)
class Compared:
    """A codec against the anchor: figures of the whole set, and intervals of the primary ones."""

    figures: BDs
    rate_percent: Interval
    accuracy_points: Interval


@dataclass(frozen=True)
class Bootstrap:
    """bands: codec -> points by rate; compared: codec (all but the anchor) -> BD figures."""

    figure: str
    resamples: int
    units: int
    seed: int
    bands: dict[str, list[Band]]
    compared: dict[str, Compared]


def bootstrap(
    curves: Mapping[str, Sequence[Point]], anchor: str = "", figure: str | None = None, resamples: int = RESAMPLES,
    seed: int = 0, interpolation: str = "pchip",
) -> Bootstrap:  # fmt: skip
    """Resample the points of all codecs together; figure: a name that the scores give, by default the task's primary.

    Raises ValueError where points are of different pictures or tasks, or the anchor is none of the codecs.
    """
    points = [point for of in curves.values() for point in of]
    if not points:
        raise ValueError("nothing to resample: no points")
    if anchor and anchor not in curves:
        raise ValueError(f"anchor {anchor}: no such curve; there are {', '.join(curves)}")
    _check(curves)
    figure = figure or PRIMARY[points[0].scores.task]
    units = len(points[0].bytes)
    counts = draw(units, resamples, seed)
    whole = {codec: [_whole(point, figure) for point in of] for codec, of in curves.items()}
    resampled = {codec: [_resample(point, figure, counts) for point in of] for codec, of in curves.items()}
    bands = {codec: sorted((
        Band(point.quality, *whole[codec][i], interval(resampled[codec][i][0]), interval(resampled[codec][i][1]))
        for i, point in enumerate(of)), key=lambda band: band.rate_bpp) for codec, of in curves.items()}  # fmt: skip
    compared = {codec: _compare(whole[anchor], whole[codec], resampled[anchor], resampled[codec], interpolation)
                for codec in curves if anchor and codec != anchor}  # fmt: skip
    return Bootstrap(figure, resamples, units, seed, bands, compared)


def draw(units: int, resamples: int, seed: int) -> np.ndarray:
    """(B, U): how often each unit is drawn; rows sum to U."""
    return np.random.default_rng(seed).multinomial(units, np.full(units, 1.0 / units), resamples)


def interval(values: np.ndarray) -> Interval:
    """The interval of (B,) values, nan being undefined."""
    defined = values[np.isfinite(values)]
    undefined = 100.0 * (1 - len(defined) / len(values))
    if len(defined) < max(1, DEFINED * len(values)):
        return Interval(None, None, undefined)
    low, high = np.percentile(defined, LEVELS)
    return Interval(float(low), float(high), undefined)


def _resample(point: Point, figure: str, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B,) rates in bpp and (B,) figures."""
    rates = 8.0 * (counts @ np.asarray(point.bytes, np.float64)) / (counts @ np.asarray(point.pixels, np.float64))
    of_pictures = counts if point.units is None else counts[:, np.asarray(point.units)]
    return rates, point.scores.resample(of_pictures, [figure])[figure]


def _whole(point: Point, figure: str) -> tuple[float, float | None]:
    """(rate_bpp, figure) of the whole set."""
    figures = point.scores.figures()
    if figure not in figures:
        raise ValueError(f"{figure}: no figure of {point.scores.task}; there are {', '.join(figures)}")
    return 8.0 * float(np.sum(point.bytes)) / float(np.sum(point.pixels)), figures[figure]


Resampled = Sequence[tuple[np.ndarray, np.ndarray]]


def _compare(
    anchor: Sequence[tuple[float, float | None]], tested: Sequence[tuple[float, float | None]],
    anchors: Resampled, testeds: Resampled, interpolation: str,
) -> Compared:  # fmt: skip
    figures = bd(anchor, tested, interpolation=interpolation)
    if figures.rate_percent is None and figures.accuracy_points is None:
        return Compared(figures, Interval(None, None, 100.0), Interval(None, None, 100.0))
    pair = [(np.stack([rates for rates, _ in of], axis=1), np.stack([values for _, values in of], axis=1))
            for of in (anchors, testeds)]  # fmt: skip
    rate, accuracy = bd_many(pair[0], pair[1], interpolation=interpolation)
    return Compared(figures, _beside(figures.rate_percent, rate), _beside(figures.accuracy_points, accuracy))


def _beside(figure: float | None, values: np.ndarray) -> Interval:
    """The interval of a figure; none where there is no figure, but the share of resamples without one is told."""
    found = interval(values)
    return found if figure is not None else Interval(None, None, found.undefined_percent)


def _check(curves: Mapping[str, Sequence[Point]]) -> None:
    first = next(point for of in curves.values() for point in of)
    for codec, of in curves.items():
        for point in of:
            where = f"{codec}:{point.quality:g}"
            if point.scores.task != first.scores.task:
                raise ValueError(f"{where}: scores of {point.scores.task} beside those of {first.scores.task}")
            if not np.array_equal(point.scores.picture_ids, first.scores.picture_ids):
                raise ValueError(f"{where}: scored on other pictures than the others; evaluate all on one data set")
            pictures = len(point.scores.picture_ids)
            units = np.arange(pictures) if point.units is None else np.asarray(point.units)
            lengths = {len(point.bytes), len(point.pixels), len(first.bytes)}
            if len(units) != pictures or lengths != {len(first.bytes)} or (
                    point.units is None and len(first.bytes) != pictures) or (
                    pictures and units.max() >= len(first.bytes)):  # fmt: skip
                raise ValueError(f"{where}: bytes and pixels of {len(point.bytes)} units do not fit its "
                                 f"{pictures} pictures")  # fmt: skip
