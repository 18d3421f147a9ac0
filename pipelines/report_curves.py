"""Curves of a report and what is compared on them: from the points of one group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eval.datasets import Dataset
from eval.metrics.bd import LEAST_RATES, bd
from eval.metrics.bootstrap import Band, Bootstrap
from eval.metrics.monotone import pooled
from eval.metrics.pareto import bd_rate_pareto, pareto
from eval.plots import Curve, Panel
from eval.report.tables import BySequence, Comparison, Front
from eval.report.terms import FIDELITY, Figure, Task, decibels, task_of, value
from pipelines.report_bands import Resampler
from pipelines.report_points import CEILING, Point

Value = Callable[[Point], float | None]


def tasks_of(points: Sequence[Point]) -> dict[str, Task]:
    """The tasks of a group that have a figure, in the order in which they were measured."""
    found = {}
    for point in points:
        of = task_of(point.record.task)
        if point.record.model and any(value(point.record, figure.name) is not None for figure in of.figures):
            found[point.record.task] = of
    return found


@dataclass(frozen=True)
class Drawn:
    """What one task gives: panels, every codec against the anchor, and which points are worth having."""

    heading: str
    panels: tuple[Panel, ...]
    compared: tuple[Comparison, ...]
    front: Front | None = None
    sequences: BySequence | None = None
    units: str = ""  # how many pictures or sequences were resampled; "" without intervals


def drawn(
    points: Sequence[Point], anchor: str, dataset: Dataset | None, fidelity: bool, resamples: int, seed: int = 0
) -> dict[str, Drawn]:
    """Task -> what it gives; fidelity where asked, for that does not depend on the model."""
    found = {}
    for name, task in tasks_of(points).items():
        of = [point for point in points if point.record.task == name]
        found[name] = _drawn(name, task, of, anchor, Resampler(of, task, dataset, resamples, seed))
    if fidelity:
        once = {(p.name, p.record.quality): replace(p, record=replace(p.record, task="fidelity")) for p in points}
        of = list(once.values())
        found["fidelity"] = _drawn("", FIDELITY, of, anchor, Resampler(of, FIDELITY, dataset, resamples, seed))
    return found


def _drawn(name: str, task: Task, points: Sequence[Point], anchor: str, resampler: Resampler) -> Drawn:
    panels, compared = [], []
    for figure in task.figures:
        intervals = resampler.bootstrap(figure.name, anchor)
        panel = _panel(task, figure, points, intervals)
        panels.append(panel)
        compared += _compared(f"{name} {figure.short}".strip(), panel, anchor, intervals)
    front = _front(name, task, points) if task is not FIDELITY else None
    sequences = _by_sequence(name, task, points, anchor) if task is not FIDELITY else None
    return Drawn(task.title, tuple(panels), tuple(compared), front, sequences,
                 f"{resampler.units:,} {resampler.kind}" if resampler.units else "")  # fmt: skip


def shown(figure: Figure) -> Value:
    """The figure of a point as axes show it."""
    if figure.name == "ms_ssim":
        return lambda point: decibels(point.record.ms_ssim)
    return lambda point: value(point.record, figure.name)


def _panel(task: Task, figure: Figure, points: Sequence[Point], intervals: Bootstrap | None) -> Panel:
    of, top = shown(figure), None
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        height = of(point)
        if point.record.codec == CEILING:
            top = height
        elif height is not None:
            curves.setdefault(point.name, []).append((point.record.rate_bpp, height))
    bands = {} if intervals is None else intervals.bands
    made = tuple(Curve(name, tuple(of_codec), line(of_codec), _band(bands.get(name, [])))
                 for name, of_codec in curves.items())  # fmt: skip
    return Panel(figure.short, figure.label, made, None if task is FIDELITY else top)


def _band(points: Sequence[Band]) -> tuple[tuple[float, float, float], ...]:
    """Only of a whole curve: a point without an interval leaves none."""
    spreads = [(point.rate_bpp, point.spread.low, point.spread.high) for point in points]
    known = tuple((rate, low, high) for rate, low, high in spreads if low is not None and high is not None)
    return known if len(known) == len(spreads) else ()


def line(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The curve that BD figures are taken from, densely: isotonic, by monotone cubic pieces over the log of rate.

    () where the points are too few for such a figure.
    """
    from scipy.interpolate import PchipInterpolator

    best = dict(sorted(points))  # of two points at one rate the higher
    if len(best) < LEAST_RATES:
        return ()
    logs, heights = np.log(list(best)), pooled(np.array([list(best.values())]))[0]
    dense = np.unique(np.concatenate([np.linspace(logs[0], logs[-1], 160), logs]))
    return tuple(zip(np.exp(dense).tolist(), PchipInterpolator(logs, heights)(dense).tolist(), strict=True))


def _compared(measure: str, panel: Panel, anchor: str, intervals: Bootstrap | None) -> list[Comparison]:
    """Every codec against the anchor, over the points that the panel shows."""
    curves = {curve.name: curve.points for curve in panel.curves}
    found = []
    for codec in curves:
        if codec == anchor or anchor not in curves:
            continue
        resampled = intervals.compared.get(codec) if intervals is not None else None
        pair = curves[anchor], curves[codec]
        found.append(Comparison(
            codec, measure, bd(*pair), bd_rate_pareto(*pair), "dB" if "dB" in panel.label else "points",
            *((resampled.rate_percent, resampled.accuracy_points) if resampled is not None else ()),
        ))  # fmt: skip
    return found


def _front(name: str, task: Task, points: Sequence[Point]) -> Front | None:
    """Which points are worth having by the primary figure."""
    figure = task.figures[0]
    curves: dict[str, list[tuple[float, float, float | None]]] = {}
    ceiling = next((value(point.record, figure.name) for point in points if point.record.codec == CEILING), None)
    for point in points:
        if point.record.codec != CEILING:
            of = (point.record.quality, point.record.rate_bpp, value(point.record, figure.name))
            curves.setdefault(point.name, []).append(of)
    return Front(f"{name} {figure.short}", figure.short, tuple(pareto(curves, ceiling))) if curves else None


def _by_sequence(name: str, task: Task, points: Sequence[Point], anchor: str) -> BySequence | None:
    """BD-rates by the primary figure, over the pictures of one sequence after the other."""
    figure = task.figures[0]
    curves: dict[str, dict[str, list[tuple[float, float | None]]]] = {}  # sequence -> codec -> points
    for point in points:
        for sequence, found in point.record.per_sequence.items():
            if point.record.codec != CEILING and (rate := found.get("rate_bpp")) is not None:
                of_codec = curves.setdefault(sequence, {}).setdefault(point.name, [])
                of_codec.append((rate, found.get(figure.name)))
    codecs = tuple(dict.fromkeys(codec for of in curves.values() for codec in of if codec != anchor))
    if len(curves) < 2 or not codecs or not anchor:
        return None
    rows = {sequence: tuple(bd(of.get(anchor, ()), of.get(codec, ())) for codec in codecs)
            for sequence, of in curves.items()}  # fmt: skip
    return BySequence(f"{name} {figure.short}", codecs, rows)
