"""Bars of a report: classes and sizes of objects, each codec at a rate comparable with the others'."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from eval.datasets import Dataset
from eval.report.bars import Bars, Row, comparable
from eval.report.terms import Task, value
from pipelines.report_curves import tasks_of
from pipelines.report_points import CEILING, Point


def bars(points: Sequence[Point], dataset: Dataset | None) -> tuple[Bars, ...]:
    """A chart of classes and one of sizes for every task, at rates of the codecs as near to each other as can be."""
    found = []
    for name, task in tasks_of(points).items():
        of = [point for point in points if point.record.task == name]
        rates: dict[str, list[float]] = {}
        for point in of:
            if point.record.codec != CEILING:
                rates.setdefault(point.name, []).append(point.record.rate_bpp)
        chosen = comparable(rates)
        picked = {codec: next(p for p in of if p.name == codec and p.record.rate_bpp == rate)
                  for codec, rate in chosen.items()}  # fmt: skip
        ceiling = next((point for point in of if point.record.codec == CEILING), None)
        first, counts = task.figures[0], _counts(dataset, name)
        rows = _rows(picked, ceiling, _classes, counts)
        if sizes := _rows(picked, ceiling, functools.partial(_sizes, task), {}):
            note = "; ".join(f"{figure.short}: {figure.label}" for figure in task.sizes) + "."
            found.append(Bars(f"{task.title}: {first.short} by {task.parts}", first.label, tuple(sizes), chosen, note))
        if rows:
            note = "Most frequent classes first, with their objects." if counts else ""
            found.append(Bars(f"{task.title}: {first.short} by class", first.label, tuple(rows), chosen, note))
    return tuple(found)


def _rows(
    picked: dict[str, Point], ceiling: Point | None, of: Callable[[Point], dict[str, float | None]],
    counts: dict[str, int],
) -> list[Row]:  # fmt: skip
    """Rows that have a figure at all, the ones with most objects first."""
    every = [*picked.values(), *([ceiling] if ceiling else [])]
    names = dict.fromkeys(name for point in every for name, figure in of(point).items() if figure is not None)
    return [Row(name, {codec: of(point).get(name) for codec, point in picked.items()},
                of(ceiling).get(name) if ceiling else None, f"{counts[name]:,}" if name in counts else "")
            for name in sorted(names, key=lambda name: -counts.get(name, 0))]  # fmt: skip


def _classes(point: Point) -> dict[str, float | None]:
    return point.record.per_class or point.record.ap_per_class


def _sizes(task: Task, point: Point) -> dict[str, float | None]:
    return {figure.short: value(point.record, figure.name) for figure in task.sizes}


def _counts(dataset: Dataset | None, task: str) -> dict[str, int]:
    """Class -> objects (segments for panoptic) in the pictures; {} where nobody can count them any more."""
    if dataset is None:
        return {}
    counts: dict[str, int] = {}
    ids = {item.id for item in dataset.items}
    if task == "panoptic" and dataset.panoptic is not None:
        names = {key: str(of["name"]) for key, of in dataset.panoptic.categories.items()}
        rows = [row for item in ids for row in dataset.panoptic.segments(item)]
    elif task in ("detection", "instances", "keypoints") and dataset.truth is not None:
        names, rows = dataset.categories, [row for row in dataset.truth.anns.values() if row["image_id"] in ids]
    else:
        return {}
    for row in rows:
        if not row.get("iscrowd") and row["category_id"] in names:
            name = names[row["category_id"]]
            counts[name] = counts.get(name, 0) + 1
    return counts
