"""Intervals of a report, from what a run keeps of every point: scores a picture, bytes a file.

    RUN/predictions/CODEC/QUALITY/MODEL.TASK.npz ─┐
    RUN/streams/CODEC/QUALITY/point.json ─────────┴─ eval.metrics.bootstrap ─▶ bands, intervals of BD figures

Runs of older versions keep neither: their curves have no bands. Pictures are what is resampled; of clips, sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.datasets import Dataset
from eval.metrics import bootstrap as boot
from eval.metrics.scores import load
from eval.report.terms import Task, decibels
from pipelines.report_points import CEILING, Point, file_name, json_of

LEAST_UNITS = 2  # pictures or sequences: of one there is nothing to draw from


class Resampler:
    """The points of one task in one group, their files read once."""

    def __init__(self, points: Sequence[Point], task: Task, dataset: Dataset | None, resamples: int, seed: int) -> None:
        self.resamples, self.seed = resamples, seed
        self.curves: dict[str, list[boot.Point]] = {}
        self.kind = "pictures"
        coded = [point for point in points if point.record.codec != CEILING]
        if not resamples or not coded:
            return
        names = tuple(figure.name for figure in task.figures)
        units = _units(coded, dataset)
        self.kind = "sequences" if units else "pictures"
        for codec in dict.fromkeys(point.name for point in coded):
            found = [_read(point, names, units) for point in coded if point.name == codec]
            if all(point is not None for point in found):  # a band over half of a curve would mislead
                self.curves[codec] = [point for point in found if point is not None]
        if any(len(of[0].bytes) < LEAST_UNITS for of in self.curves.values()):
            self.curves = {}

    @property
    def units(self) -> int:
        """Pictures or sequences (`kind`) that are drawn from; 0 where nothing is."""
        return next((len(of[0].bytes) for of in self.curves.values()), 0)

    def bootstrap(self, figure: str, anchor: str) -> boot.Bootstrap | None:
        """Bands of a figure, and BD intervals where the anchor can be resampled too; None where nothing can be."""
        if not self.curves:
            return None
        anchor = anchor if anchor in self.curves else ""
        try:
            return boot.bootstrap(self.curves, anchor, figure, self.resamples, self.seed)
        except ValueError:  # scores of other pictures than their neighbours': the points are drawn, and no band
            return None


class _Shown:
    """Scores as axes show them: all figures of a task from one pass, MS-SSIM in decibels."""

    def __init__(self, scores: Any, names: tuple[str, ...]) -> None:
        self.scores, self.names = scores, names
        self.task, self.picture_ids = scores.task, scores.picture_ids
        self._last: tuple[int, dict[str, np.ndarray]] | None = None

    def figures(self) -> dict[str, float | None]:
        found = dict(self.scores.figures())
        return found | {"ms_ssim": decibels(found["ms_ssim"])} if "ms_ssim" in found else found

    def resample(self, counts: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        key = hash(counts.tobytes())
        if self._last is None or self._last[0] != key:
            found = self.scores.resample(counts, self.names)
            if "ms_ssim" in found:
                found["ms_ssim"] = -10 * np.log10(np.maximum(1e-6, 1 - found["ms_ssim"]))
            self._last = key, found
        return {name: self._last[1][name] for name in names}


def _units(points: Sequence[Point], dataset: Dataset | None) -> dict[int, str]:
    """Picture -> its sequence; {} where pictures are stills and stand for themselves."""
    sequences: dict[str, Sequence[int]] = dict(dataset.sequences) if dataset is not None else {}
    for point in points:
        sequences |= _note(point).get("sequences") or {}
    return {int(item): name for name, items in sequences.items() for item in items}


def _read(point: Point, names: tuple[str, ...], units: dict[int, str]) -> boot.Point | None:
    """None where a file is missing or damaged."""
    record, note = point.record, _note(point)
    model = file_name(record.model) if record.model and record.task != "fidelity" else "none"
    sizes, pixels = note.get("bytes"), note.get("pixels")
    if not sizes or not pixels:
        return None
    try:
        scores = load(point.folder / "predictions" / point.below / f"{model}.{record.task}.npz")
    except (OSError, ValueError):
        return None
    ids = [int(item) for item in scores.picture_ids]
    if not units:
        if set(map(str, ids)) != set(sizes):
            return None
        each = [np.array([of[str(item)] for item in ids], np.float64) for of in (sizes, pixels)]
        return boot.Point(record.quality, each[0], each[1], _Shown(scores, names))
    places = {name: i for i, name in enumerate(dict.fromkeys(units.values()))}
    totals = np.zeros((2, len(places)))
    for row, of in enumerate((sizes, pixels)):
        for name, value in of.items():  # a stream a sequence, or a picture
            totals[row, places[name if name in places else units[int(name)]]] += value
    return boot.Point(record.quality, totals[0], totals[1], _Shown(scores, names),
                      np.array([places[units[item]] for item in ids]))  # fmt: skip


def _note(point: Point) -> dict[str, Any]:
    return json_of(point.folder / "streams" / point.below / "point.json")
