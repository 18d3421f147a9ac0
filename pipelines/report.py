"""`vcm report`: the curves, tables and pictures of one or more runs in one offline HTML file."""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.plots import Panel
    from eval.records import Record
    from eval.report import Section, Strip

NAME = "report"
HELP = "draw runs of `vcm evaluate` and `vcm privacy`: curves, BD-rates, pictures, in one offline HTML file"
EPILOG = """\
examples:
  vcm report runs/demo/evaluation -o runs/demo/report.html
  vcm report runs/ours runs/theirs -o report.html --anchor x265        points of the same data set share the axes

Beside report.html, plots/ holds every plot as PNG and SVG.
"""
CEILING = "uncompressed"
ANCHORS = ("x265", "svtav1", "x264", "webp", "jpeg")  # the first that was measured is what BD-rates refer to
TASK_TITLES = {"detection": "Detection, box", "instances": "Instance segmentation, mask"}


DIGITS = 8  # of a hash, where it tells two things apart

Group = tuple[str, str, str, str]  # data set, task model, and the hashes of what is behind these names


@dataclass(frozen=True)
class Point:
    """A record, the run it is in, and the origin of that."""

    record: Record
    folder: Path
    origin: dict[str, Any]

    @property
    def below(self) -> Path:
        """CODEC/QUALITY, where streams, predictions and samples of the point are."""
        return Path(self.record.codec) / f"{self.record.quality:g}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN",
                        help="folders that `vcm evaluate` or `vcm privacy` wrote")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), metavar="REPORT.html",
                        help="the page (default report.html); plots/ appears beside it")  # fmt: skip
    parser.add_argument(
        "--anchor", metavar="C", help=f"codec that BD-rates refer to (default: of {', '.join(ANCHORS)})"
    )
    parser.add_argument("--title", default="Accuracy against bitrate", help="heading of the page")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and the plots."""
    path = report(arguments.runs, arguments.output, arguments.anchor, arguments.title)
    print(path)
    return 0


def report(runs: list[Path], output: Path, anchor: str | None = None, title: str = "Accuracy against bitrate") -> Path:
    """Draw `runs` into `output`; ValueError, one line, where a run holds no records."""
    from eval import plots
    from eval.records import read_jsonl
    from eval.report import Report, render
    from pipelines.privacy_report import FILE
    from pipelines.privacy_report import sections as of_faces
    from pipelines.run.atomic import replacing, write_text

    faces = [folder for folder in runs if (folder / FILE).is_file()]
    groups: dict[Group, dict[Any, Point]] = {}
    origins = []
    for folder in runs:
        if folder in faces:
            origins.append({**_json(folder / "run.json"), "run": str(folder)})
            continue
        if not (folder / "records.jsonl").is_file():
            raise ValueError(f"{folder}: holds no records.jsonl; run `vcm evaluate ... -o {folder}` first")
        origin = _json(folder / "run.json")
        origins.append({**origin, "run": str(folder)})
        for record in read_jsonl(folder / "records.jsonl"):
            group = (record.dataset, record.model, record.content, record.model_weights)
            key = (record.codec, record.weights, record.quality, record.task)
            groups.setdefault(group, {})[key] = Point(record, folder, origin)  # the last one given wins
    if not any(groups.values()) and not faces:
        raise ValueError(f"{runs[0]}: its records.jsonl is empty; run `vcm evaluate` again with --resume")
    sections = []
    for group, points in groups.items():
        sections.append(_section(group, list(points.values()), anchor, list(groups)))
    for section in sections:
        for name, panels in section.plots.items():
            for suffix in (".png", ".svg"):
                with replacing(output.parent / "plots" / f"{name}{suffix}") as temporary:
                    plots.save(panels, temporary)
    write_text(output, render(Report(title, tuple(sections), tuple(origins), tuple(of_faces(faces, output)))))
    return output


def _section(group: Group, points: list[Point], anchor: str | None, groups: list[Group]) -> Section:
    from eval.report import Section

    dataset, model = group[:2]
    records = _named([point.record for point in points])
    places = {(record.codec, record.quality): point for record, point in zip(records, points, strict=True)}
    codecs = list(dict.fromkeys(record.codec for record in records if record.codec != CEILING))
    if anchor is not None and anchor not in codecs:
        raise ValueError(f"--anchor {anchor}: not among the codecs measured: {', '.join(codecs)}")
    reference = anchor or next((name for name in ANCHORS if name in codecs), "")
    names = [dataset, *([model] if model else []), *_marks(group, groups)]
    plots = _plots(records, "-".join([*names, ""]).replace(" ", "-") if len(groups) > 1 else "")
    counts = sorted({record.pictures for record in records})
    pictures = " or ".join(f"{count:,}" for count in counts)
    lead = f"{pictures} pictures of {dataset}. Rate is the size of the files on disk, everything included."
    if model:
        protocol = records[0].protocol
        lead += f" Task model: {model}, {protocol}: the same weights on every codec’s decoded pictures."
    if {record.codec for record in records} - {point.record.codec for point in points}:
        lead += " Digits after a codec’s name are the first of the SHA-256 of its weights, as `vcm info` shows them."
    return Section(
        title=", ".join(names), lead=lead, records=tuple(records), plots=plots,
        anchor=reference, bd=_bd(plots, codecs, reference), strips=_strips(records, model, places),
    )  # fmt: skip


def _named(records: list[Record]) -> list[Record]:
    """The records under the names of their curves: a codec measured with several weights has a curve for each."""
    weights: dict[str, set[str]] = {}
    for record in records:
        weights.setdefault(record.codec, set()).add(record.weights)
    return [record if len(weights[record.codec]) == 1 else
            dataclasses.replace(record, codec=f"{record.codec} ({record.weights[:DIGITS] or 'unknown'})")
            for record in records]  # fmt: skip


def _marks(group: Group, groups: list[Group]) -> list[str]:
    """What tells a group from the others with the same names: hashes of pictures and labels, of the model's weights."""
    alike = [other for other in groups if other[:2] == group[:2]]
    return [f"{what} {group[i][:DIGITS] or 'unknown'}" for i, what in ((2, "content"), (3, "weights"))
            if len({other[i] for other in alike}) > 1]  # fmt: skip


def _plots(records: list[Record], prefix: str) -> dict[str, tuple[Panel, ...]]:
    """Name -> panels: one plot a task (AP, AP50), one of fidelity (PSNR, MS-SSIM)."""
    from eval.plots import Curve, Panel

    def panel(title: str, label: str, of: list[Record], value: Any, ceiling: bool = True) -> Panel:
        curves: dict[str, list[tuple[float, float]]] = {}
        top = None
        for record in of:
            if record.codec == CEILING:
                top = value(record)
            elif value(record) is not None:
                curves.setdefault(record.codec, []).append((record.rate_bpp, value(record)))
        shown = tuple(Curve(name, tuple(points)) for name, points in curves.items())
        return Panel(title, label, shown, top if ceiling else None)

    plots: dict[str, tuple[Panel, ...]] = {}
    for task in dict.fromkeys(record.task for record in records if record.ap is not None):
        of = [record for record in records if record.task == task]
        title = TASK_TITLES.get(task, task)
        plots[prefix + task] = (
            panel(f"{title} AP", "AP at IoU .5:.95 (%)", of, lambda r: r.ap),
            panel(f"{title} AP50", "AP at IoU .5 (%)", of, lambda r: r.ap50),
        )
    once = list({(record.codec, record.quality): record for record in records}.values())
    plots[prefix + "fidelity"] = (
        panel("PSNR", "PSNR, RGB (dB)", once, lambda r: r.psnr_db, ceiling=False),
        panel("MS-SSIM", "MS-SSIM (dB: −10 log₁₀(1 − x))", once, _ms_ssim_db, ceiling=False),
    )
    return plots


def _ms_ssim_db(record: Record) -> float | None:
    import math

    return None if record.ms_ssim is None else -10 * math.log10(max(1e-6, 1 - record.ms_ssim))


def _bd(plots: dict[str, tuple[Panel, ...]], codecs: list[str], reference: str) -> dict[str, dict[str, Any]]:
    """codec -> measure -> BD-rate against the reference, over the points that the plots show."""
    from eval.metrics import bd_rate

    table: dict[str, dict[str, Any]] = {codec: {} for codec in codecs if codec != reference and reference}
    for panels in plots.values():
        for panel in panels:
            curves = {curve.name: curve.points for curve in panel.curves}
            for codec, row in table.items():
                row[panel.title] = bd_rate(curves.get(reference, ()), curves.get(codec, ()))
    return table


def _strips(records: list[Record], model: str, places: dict[Any, Point]) -> dict[str, tuple[Strip, ...]]:
    """Picture name -> the original with its labels, then each codec at its rates, detections drawn."""
    from eval.report import Picture, Strip
    from eval.report.draw import overlay, webp
    from pipelines.media import read_picture

    by_codec: dict[str, list[Record]] = {record.codec: [] for record in records}
    for record in sorted({(r.codec, r.quality): r for r in records}.values(), key=lambda r: r.rate_bpp):
        by_codec[record.codec].append(record)
    first = next(iter(by_codec.get(CEILING, records)))
    place = places[first.codec, first.quality]
    names = {int(key): name for key, name in (place.origin.get("categories") or {}).items()}
    samples = sorted((place.folder / "samples" / place.below).glob("*.png"), key=lambda path: int(path.stem))
    results: dict[Any, list[dict[str, Any]]] = {}
    found = {}
    labels = _labels(place.origin)
    for sample in samples:
        strips = []
        for codec, points in sorted(by_codec.items(), key=lambda entry: entry[0] != CEILING):
            pictures = []
            if codec == CEILING and labels is not None:
                rows = labels(int(sample.stem))
                pictures.append(
                    Picture(webp(overlay(read_picture(sample), rows, names)), "original", "with its labels")
                )
            for record in points:
                run_folder = places[record.codec, record.quality].folder
                below = places[record.codec, record.quality].below
                path = run_folder / "samples" / below / sample.name
                if not path.is_file():
                    continue
                key = (run_folder, below)
                if key not in results:
                    rows = _json(run_folder / "predictions" / below / f"{model}.json") if model else []
                    results[key] = rows if isinstance(rows, list) else []
                rows = [row for row in results[key] if str(row["image_id"]) == sample.stem]
                picture = read_picture(path)
                figures = _json(run_folder / "predictions" / below / f"{model or 'none'}.figures.json")
                size = figures.get("sample_bytes", {}).get(sample.stem)
                title = codec if codec == CEILING else f"{codec}:{record.quality:g}"
                note = f"{8 * size / (picture.shape[0] * picture.shape[1]):.3f} bpp, {size:,} bytes" if size else ""
                pictures.append(Picture(webp(overlay(picture, rows, names)), title, note))
            if pictures:
                strips.append(Strip("", tuple(pictures)))
        found[f"Picture {sample.stem}" + (": detections with a score of at least 0.5" if model else "")] = tuple(strips)
    return found


def _labels(origin: dict[str, Any]) -> Any:
    """A function from a picture's id to its labels as rows with RLE masks; None where the labels are gone."""
    from eval.datasets import DATASETS

    settings = origin.get("settings") or {}
    if not settings.get("annotations"):
        return None
    try:
        dataset = DATASETS[settings.get("dataset") or "coco"](settings["images"], settings["annotations"])
    except (ValueError, OSError, KeyError):
        return None  # moved since: the page goes without

    def rows(image_id: int) -> list[dict[str, Any]]:
        truth = dataset.truth
        chosen = truth.loadAnns(truth.getAnnIds(image_id))
        return [{**row, "segmentation": truth.annToRLE(row)} if row.get("segmentation") else row for row in chosen]

    return rows


def _json(path: Path) -> Any:
    """What a file of the run holds; {} where it is gone or damaged, for the page needs none of them."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
