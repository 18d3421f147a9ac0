"""The points of an evaluation, one after the other, or spread over processes or a cluster; what fails is refused.

    codecs ─plan─▶ units ─here, processes, Ray─▶ rows, in order ─finish─▶ files ─▶ records

However the units are spread, their rows come in the order of the points and pictures: figures do not depend on it.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from eval.metrics.scores import PRIMARY
from eval.records import Record
from pipelines.codecs import build, label
from pipelines.evaluate_models import prove
from pipelines.evaluate_plan import Settings
from pipelines.matching import match
from pipelines.passes import Job, Row, Unit, run, worker
from pipelines.points import CEILING, Bench, Plan, Tested
from pipelines.results import Records
from pipelines.run.batch import EXPECTED, Refusals
from pipelines.run.engines import WorkerDied, spread
from pipelines.run.progress import progress
from pipelines.scoring import FIDELITY, Scorer

if TYPE_CHECKING:
    from pipelines.evaluate import Engine

NAMES = {"ap": "AP", "ap50": "AP50", "pq": "PQ", "miou": "mIoU", "hota": "HOTA"}
Part = Iterator[Row] | list[Row] | Exception


class Loop:
    """Measures points and adds their records."""

    def __init__(self, bench: Bench, records: Records, settings: Settings, engine: Engine, refusals: Refusals) -> None:
        self.bench, self.records, self.settings, self.engine = bench, records, settings, engine
        self.refusals, self.scorer = refusals, Scorer(bench)
        self._proved = False

    def points(self, codecs: list[Any]) -> list[Any]:
        """Measure each codec, unless its records are there; a line each; returns those that are measured."""
        done = self.records.settings()
        wanted = [self.scorer.wanted(codec, self.settings.tasks, done) for codec in codecs]
        plans = [self._plan(codec, each) for codec, each in zip(codecs, wanted, strict=True)]
        if not self._proved and any(plan.models for plan in plans if plan):
            prove(self.bench.tested)
            self._proved = True
        counts = [len(self._units(plan)) if plan else 0 for plan in plans]
        parts = self._parts([plan for plan in plans if plan])
        measured = []
        for codec, plan, count, each in zip(codecs, plans, counts, wanted, strict=True):
            name = label(codec.name, codec.quality)
            if plan is None:
                print(f"{name:<20} done before")
                measured.append(codec)
                continue
            share = _Share(parts, count)
            try:
                new = self._point(plan, share, each)
            except WorkerDied:
                raise  # nothing that follows would be answered
            except EXPECTED as error:
                self.refusals.add(name, error)
            else:
                print(f"{name:<20} {_line(new)}")
                self._tell_blind(new)
                measured.append(codec)
            finally:
                share.drain()
            sys.stdout.flush()
        return measured

    def matched(self, plan: list[tuple[str, list[float]]], targets: list[Any]) -> None:
        """The anchors that take the rates of the `targets`."""
        for name in (name for name, qualities in plan if not qualities):
            if not targets:
                self.refusals.add(name, "no point of the codec whose rates it should take was measured")
                continue
            try:
                found = match(self.bench, name, targets)
            except EXPECTED as error:
                self.refusals.add(name, error)
                continue
            self.points([build(name, quality) for quality in found])

    def _plan(self, codec: Any, wanted: list[tuple[Tested | None, str]]) -> Plan | None:
        return self.bench.plan(codec, [tested for tested, _ in wanted if tested is not None]) if wanted else None

    def _units(self, plan: Plan) -> list[Unit]:
        weights = self.settings.weights.get(plan.codec.name)
        return self.bench.units(plan, weights, max(1, self.settings.batch), whole=not self.engine.spreads)

    def _point(self, plan: Plan, share: _Share, wanted: list[tuple[Tested | None, str]]) -> list[Record]:
        name = label(plan.codec.name, plan.codec.quality)
        watchers = self.scorer.watchers(plan, wanted)
        rows = progress(share.rows(), len(self.bench.dataset), name)
        self.bench.finish(plan, rows, {model: [each for _, each in of] for model, of in watchers.items()})
        new = self.scorer.records(plan.codec, wanted, watchers)
        self.records.add(new)
        return new

    def _tell_blind(self, new: list[Record]) -> None:
        """Warn of a model that finds nothing even in the uncompressed pictures: its curves mean nothing."""
        for record in new if new[0].codec == CEILING else []:
            value = record.metrics.get(PRIMARY[record.task])
            if record.model and value is not None and value < 1:
                tested = next(each for each in self.bench.tested if each.name == record.model)
                note = getattr(tested.model, "note", "")
                print(f"warning: {record.model} fails at {record.task} on the uncompressed pictures already"
                      + (f" ({note})" if note else ""), file=sys.stderr)  # fmt: skip

    def _parts(self, plans: list[Plan]) -> Iterator[Part]:
        """The rows of each unit of each plan, in order; units are listed when their time comes."""
        engine = self.engine
        if all(plan.idle for plan in plans):
            return
        # Ray gives an actor of one processor one thread; our processes share the cores
        threads = max(1, (os.cpu_count() or 1) // engine.workers) if engine.spreads and engine.name == "local" else 0
        job = Job(
            self.bench.folder.resolve(), tuple((each.spec, each.weights, each.tasks) for each in self.bench.tested),
            max(1, self.settings.batch), engine.overlap, self.bench.sampled, threads,
        )  # fmt: skip
        if engine.spreads:
            units = (unit for plan in plans for unit in self._units(plan))
            yield from spread(units, functools.partial(worker, job), engine.name, engine.workers)
            return
        models = [each.model for each in self.bench.tested]
        for plan in plans:
            for unit in self._units(plan):
                yield run(unit, plan.codec, models, job)


class _Share:
    """The parts that belong to one point; what it leaves is drained, so that the next point finds its own."""

    def __init__(self, parts: Iterator[Part], count: int) -> None:
        self.parts, self.left = parts, count

    def rows(self) -> Iterator[Row]:
        while self.left:
            self.left -= 1
            part = next(self.parts)
            if isinstance(part, Exception):
                raise part
            yield from part

    def drain(self) -> None:
        while self.left:
            self.left -= 1
            next(self.parts)


def _line(new: list[Record]) -> str:
    """What a point's line says; with several models, a line for each below it."""
    line = f"{new[0].rate_bpp:8.4f} bpp  {new[0].psnr_db:6.2f} dB"
    models: dict[str, list[str]] = {}
    for record in (record for record in new if record.task != FIDELITY):
        primary = PRIMARY[record.task]
        keys = [primary, *(["ap50"] if primary == "ap" else [])]
        values = " ".join(f"{NAMES[key]} {value:.1f}" for key in keys if (value := record.metrics.get(key)) is not None)
        models.setdefault(record.model, []).append(f"{record.task} {values or NAMES[primary] + ' n/a (no objects)'}")
    if len(models) > 1:
        return line + "".join(f"\n  {model}  {'  '.join(figures)}" for model, figures in models.items())
    return "  ".join([line, *(figure for figures in models.values() for figure in figures)])
