"""`vcm report`: the curves, tables and pictures of one or more runs in one offline HTML file.

    RUN/records.jsonl ─report_points─▶ groups ─report_curves─▶ curves, BD figures, bars ─┬─ eval.report.render ─▶ page
    RUN/samples, RUN/predictions ─report_pictures─▶ viewer ──────────────────────────────┘
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eval.datasets import Dataset
    from eval.report import Section
    from eval.report.viewer import Viewer
    from pipelines.report_points import Group, Point

NAME = "report"
HELP = "draw runs of `vcm evaluate` and `vcm privacy`: curves, BD-rates, pictures, in one offline HTML file"
EPILOG = """\
examples:
  vcm report runs/demo/evaluation -o runs/demo/report.html
  vcm report runs/ours runs/theirs -o report.html --anchor x265        points of the same data set share the axes

Beside report.html, report-plots/ holds every plot as PNG and SVG. Frozen models, fine-tuned ones and pseudo-labels
never share axes.
"""
TITLE = "Accuracy against bitrate"
RESAMPLES = 1000
ANCHORS = ("vvenc", "x265", "svtav1", "x264", "webp", "jpeg")  # the first that was measured is what BD-rates refer to


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN",
                        help="folders that `vcm evaluate` or `vcm privacy` wrote")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), metavar="REPORT.html",
                        help="the page (default report.html); REPORT-plots/ appears beside it")  # fmt: skip
    parser.add_argument(
        "--anchor", metavar="C", help=f"codec that BD-rates refer to (default: of {', '.join(ANCHORS)})"
    )
    parser.add_argument("--title", default=TITLE, help="heading of the page")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, metavar="N",
                        help=f"of the pictures, for bands and intervals (default {RESAMPLES}; 0: none)")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Write the page and the plots."""
    if arguments.resamples < 0:
        raise ValueError(f"--resamples {arguments.resamples}: 0 (no intervals) or more are needed")
    path = report(arguments.runs, arguments.output, arguments.anchor, arguments.title, arguments.resamples)
    print(path)
    return 0


def report(
    runs: list[Path], output: Path, anchor: str | None = None, title: str = TITLE, resamples: int = RESAMPLES
) -> Path:
    """Draw `runs` into `output`; ValueError, one line, where a run holds no records."""
    from eval.report import Report, codecs_of, render
    from pipelines.privacy_report import FILE
    from pipelines.privacy_report import sections as of_faces
    from pipelines.report_pictures import dataset_of, viewer
    from pipelines.report_plots import save_plots
    from pipelines.report_points import json_of, read, sort
    from pipelines.run.atomic import sweep_beside, write_text

    faces = [folder for folder in runs if (folder / FILE).is_file()]
    measured = [point for folder in runs if folder not in faces for point in read(folder)]
    if not measured and not faces:
        raise ValueError(f"{runs[0]}: its records.jsonl is empty; run `vcm evaluate` again with --resume")
    groups = sort(measured)
    sections: list[Section] = []
    datasets: dict[str, Dataset | None] = {}  # the labels of a large one take a while to read
    for group, points in groups.items():
        alike = [other for other in groups if other.content == group.content]
        if group == alike[0]:
            datasets[group.content] = dataset_of(points[0].origin)
        dataset = datasets[group.content]
        pictures = viewer([p for other in alike for p in groups[other]], dataset) if group == alike[-1] else None
        sections.append(_section(group, points, anchor, list(groups), dataset, pictures,
                                 group == alike[0], resamples))  # fmt: skip
    codecs = codecs_of(sections)
    sweep_beside(output)
    for section in sections:
        save_plots(section.plots, output, codecs)
    origins = tuple({**json_of(folder / "run.json"), "run": str(folder)} for folder in runs)
    write_text(output, render(Report(title, tuple(sections), origins, tuple(of_faces(faces, output)))))
    return output


def _section(
    group: Group, points: list[Point], anchor: str | None, groups: Sequence[Group], dataset: Dataset | None,
    pictures: Viewer | None, fidelity: bool, resamples: int,
) -> Section:  # fmt: skip
    import dataclasses

    from eval.report import Section
    from eval.report.terms import PROTOCOLS
    from pipelines.report_bars import bars
    from pipelines.report_curves import drawn
    from pipelines.report_points import CEILING, DIGITS, called, marks

    records = [dataclasses.replace(point.record, codec=point.name) for point in points]
    codecs = list(dict.fromkeys(record.codec for record in records if record.codec != CEILING))
    if anchor is not None and anchor not in codecs:
        raise ValueError(f"--anchor {anchor}: not among the codecs measured: {', '.join(codecs)}")
    reference = anchor or next((name for name in ANCHORS if name in codecs), "")
    several = len({other.protocol for other in groups}) > 1 or group.protocol != "frozen"
    model = called(group.model, [other.model for other in groups])
    names = [group.dataset, *([model] if model else []), *([group.protocol] if several else []),
             *marks(group, groups)]  # fmt: skip
    prefix = re.sub(r"[^\w.]+", "-", " ".join([*names, ""])) if len(groups) > 1 else ""  # a name of files
    counts = " or ".join(f"{count:,}" for count in sorted({record.pictures for record in records}))
    lead = f"{counts} pictures of {group.dataset}. Rate is the size of the files on disk, everything included."
    if group.model:
        lead += f" Task model: {model}, {group.protocol}: {PROTOCOLS[group.protocol]}."
        if tuned := sorted({spec for point in points for spec in point.tuned_on}):
            lead += f" It learned from pictures of {', '.join(tuned)}."
    if any(f"({point.record.weights[:DIGITS] or 'unknown'})" in point.name for point in points):
        lead += " Digits after a codec’s name are the first of the SHA-256 of its weights, as `vcm info` shows them."
    tasks = drawn(points, reference, dataset, fidelity, resamples)
    if units := next((of.units for of in tasks.values() if of.units), ""):
        lead += f" Bands and intervals: {resamples:,} bootstrap resamples of the {units}."
    return Section(
        title=", ".join(names), lead=lead, records=tuple(records), anchor=reference,
        plots={prefix + name: of.panels for name, of in tasks.items()},
        headings={prefix + name: of.heading for name, of in tasks.items()},
        bd=tuple(row for of in tasks.values() for row in of.compared),
        sequences=tuple(of.sequences for of in tasks.values() if of.sequences is not None),
        fronts=tuple(of.front for of in tasks.values() if of.front is not None),
        bars=bars(points, dataset), viewer=pictures,
    )  # fmt: skip
