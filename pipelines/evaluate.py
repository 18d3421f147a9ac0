"""`vcm evaluate`: codecs at qualities over a data set, to records of rate and accuracy. The work is in `points.py`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "evaluate"
HELP = "measure accuracy against bitrate: codec x quality -> files -> decoded frames -> task model -> records"
EPILOG = """\
examples:
  vcm evaluate --images IMAGES --annotations instances.json --codec sa-icm-s:10,20,30,40,50 jpeg webp x265 svtav1 \\
      --match sa-icm-s --task detection,instances --model mask-rcnn-scenes -o runs/scenes
  vcm evaluate --images PHOTOS --codec x265:27,32,37 webp:10,30 -o runs/fidelity      without labels: PSNR and MS-SSIM
  vcm evaluate runs/scenes/config.yaml -o runs/again
  vcm report runs/scenes -o report.html

Files in the run: config.yaml, run.json (versions, hardware, commit), records.jsonl and records.csv (a point a line),
streams/CODEC/QUALITY/, predictions/CODEC/QUALITY/MODEL.json (COCO results), samples/ (decoded pictures for the report).
Rate is the bytes of those files, headers included. The uncompressed pictures are measured first: the ceiling.
--resume skips every point whose settings are unchanged; a new task on old points costs no decoding. Other pictures or
labels need another RUN. $VCM_SHARED and other variables in CONFIG.yaml are replaced.
"""
TASKS = ("detection", "instances")
CEILING = "uncompressed"


@dataclass(frozen=True)
class Settings:
    """A configuration: what `vcm evaluate CONFIG.yaml` reads, and what a run writes as config.yaml."""

    images: str
    codecs: list[str]  # NAME:q1,q2 or, with match, the NAME of an anchor
    annotations: str | None = None  # COCO instances
    dataset: str | None = None  # a name of eval.datasets; by default coco with annotations, folder without
    tasks: list[str] = dataclasses.field(default_factory=list)
    model: str | None = None  # a name of eval.models
    model_weights: str | None = None
    weights: dict[str, str] = dataclasses.field(default_factory=dict)  # codec name -> its weights
    match: str | None = None  # the codec whose rates the anchors without qualities take
    limit: int | None = None  # pictures
    batch: int = 1
    samples: int = 2
    seed: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", type=Path, metavar="CONFIG.yaml", help="settings; the options below win")
    parser.add_argument("--images", metavar="D", help="folder of pictures")
    parser.add_argument("--annotations", metavar="A", help="COCO instances JSON of these pictures")
    parser.add_argument("--dataset", metavar="KIND", help="how to read them (default: coco, or folder without A)")
    parser.add_argument("--codec", dest="codecs", nargs="+", action="extend", metavar="C[:q1,q2,...]",
                        help="codecs at qualities; anchors without them take the rates of --match")  # fmt: skip
    parser.add_argument("--match", metavar="C", help="give anchors without qualities the rates of this codec")
    parser.add_argument("--task", dest="tasks", metavar="T[,T]", help="detection, instances or both")
    parser.add_argument("--model", metavar="M", help="task model, e.g. mask-rcnn-scenes")
    parser.add_argument("--model-weights", metavar="FILE", help="weights of the task model (default: its own)")
    parser.add_argument("--weights", nargs="+", action="extend", metavar="[C=]FILE",
                        help="weights of our codecs, or of codec C (default: the shipped ones)")  # fmt: skip
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    parser.add_argument("--batch", type=int, metavar="N", help="pictures the model gets at once (default 1)")
    parser.add_argument("--samples", type=int, metavar="N", help="decoded pictures kept for the report (default 2)")
    parser.add_argument("--seed", type=int, help="written into the records (default 0)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on in a folder that holds records already")
    parser.add_argument("--dry-run", action="store_true", help="check the request and list the points, then stop")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as asked; 1 where pictures or points were refused."""
    settings = read_settings(arguments)
    return evaluate(settings, arguments.output, resume=arguments.resume, dry_run=arguments.dry_run)


def read_settings(arguments: argparse.Namespace) -> Settings:
    """The configuration file's settings with the options given on top; ValueError in one line."""
    from pipelines.codecs import split
    from pipelines.run.settings import build, read_yaml

    values = read_yaml(arguments.config) if arguments.config is not None else {}
    for field in dataclasses.fields(Settings):
        given = getattr(arguments, field.name)
        if given is not None and field.name not in ("tasks", "weights"):
            values[field.name] = given
    if arguments.tasks is not None:
        values["tasks"] = arguments.tasks.split(",")
    for needed, option in (("images", "--images"), ("codecs", "--codec")):
        if not values.get(needed):
            raise ValueError(f"nothing to evaluate: give {option}, or a CONFIG.yaml with {needed}")
    if arguments.weights is not None:
        pairs = [word.partition("=")[::2] if "=" in word else ("", word) for word in arguments.weights]
        ours = _ours([split(spec)[0] for spec in values["codecs"]])
        values["weights"] = {name: path for key, path in pairs for name in ([key] if key else ours)}
    return build(Settings, values, str(arguments.config or "vcm evaluate"))


def evaluate(settings: Settings, output: Path, resume: bool = False, dry_run: bool = False) -> int:
    """Measure every point of `settings` into `output`; returns the exit code. ValueError for a bad request."""
    from eval.datasets import DATASETS
    from pipelines.codecs import build, label
    from pipelines.points import Bench, Records, readable
    from pipelines.run.atomic import make_folder, write_text
    from pipelines.run.batch import Refusals
    from pipelines.run.lock import Lock
    from pipelines.run.provenance import provenance

    plan = plan_codecs(settings)
    kind = settings.dataset or ("coco" if settings.annotations else "folder")
    if kind not in DATASETS:
        raise ValueError(f"--dataset {kind}: unknown; known: {', '.join(DATASETS)}")
    dataset = DATASETS[kind](settings.images, settings.annotations)
    if settings.limit is not None:
        dataset = dataset.take(settings.limit)
    check_tasks(settings, labels=dataset.truth is not None)
    # all of them now: an impossible quality or wrong weights are a bad request, not a refused point
    explicit = [build(name, q, weights=settings.weights.get(name)) for name, qualities in plan for q in qualities]
    if dry_run:
        for name, qualities in plan:
            print(*([label(name, q) for q in qualities] or [f"{name} at the rates of {settings.match}"]))
        print(f"{len(dataset)} pictures; tasks: {', '.join(settings.tasks) or 'none (PSNR, MS-SSIM)'}")
        return 0
    make_folder(output)
    with Lock(output):
        records = Records(output, resume)
        model, model_hash = _model(settings) if settings.tasks else (None, "")
        refusals = Refusals()
        dataset, content = readable(dataset, refusals)
        records.check(content, len(dataset))
        settings = absolute(settings)
        origin = provenance()
        bench = Bench(output, dataset, content, tuple(settings.tasks), model, model_hash, max(1, settings.batch),
                      settings.seed, settings.samples, origin["versions"])  # fmt: skip
        write_text(output / "config.yaml", _yaml(settings))
        about = {"settings": dataclasses.asdict(settings), "content": content, "pictures": len(dataset),
                 "refused": refusals.items, "categories": dataset.categories, **origin}  # fmt: skip
        write_text(output / "run.json", json.dumps(about, indent=1))
        measured = _points(bench, records, explicit, refusals)
        _matched(bench, records, plan, [codec for codec in measured if codec.name == settings.match], refusals)
    refusals.report()
    return refusals.exit_code


def absolute(settings: Settings) -> Settings:
    """The same with absolute paths, so that config.yaml means the same from every folder; names stay names."""
    from os.path import abspath

    paths = {name: abspath(value) for name in ("images", "annotations", "model_weights")
             if (value := getattr(settings, name)) is not None}  # fmt: skip
    weights = dict(settings.weights)
    if weights:
        from icm.codecs.release import find  # not sooner: it imports torch

        weights = {codec: abspath(value) if find(value) == Path(value) else value for codec, value in weights.items()}
    return dataclasses.replace(settings, **paths, weights=weights)


def plan_codecs(settings: Settings) -> list[tuple[str, list[float]]]:
    """(codec name, qualities) in order, the ceiling first; no qualities: an anchor at matched rates."""
    from pipelines.codecs import is_anchor, split

    plan: dict[str, list[float]] = {CEILING: [0.0]}
    for spec in settings.codecs:
        name, qualities = split(spec)
        if name == CEILING:
            continue
        if not qualities and (settings.match is None or not is_anchor(name)):
            advice = " or --match CODEC" if is_anchor(name) else ""
            raise ValueError(f"--codec {spec}: give qualities, as in {name}:20,40{advice}")
        known = plan.setdefault(name, [])
        known += [quality for quality in qualities if quality not in known]
    if settings.match is not None and not plan.get(split(settings.match)[0]):
        raise ValueError(f"--match {settings.match}: give it qualities too, as in --codec {settings.match}:20,40")
    unknown = set(settings.weights) - set(_ours(list(plan)))
    if unknown:
        raise ValueError(f"--weights {min(unknown)}=...: no codec of ours of that name is evaluated")
    return list(plan.items())


def check_tasks(settings: Settings, labels: bool) -> None:
    """ValueError where tasks, labels and model do not fit together."""
    for task in settings.tasks:
        if task not in TASKS:
            raise ValueError(f"--task {task}: unknown; known: {', '.join(TASKS)}")
    if settings.tasks and not labels:
        raise ValueError("--task needs labels: give --annotations")
    if settings.tasks and not settings.model:
        raise ValueError("--task needs --model; see `vcm models`")
    if labels and not settings.tasks:
        raise ValueError(f"--annotations were given without --task; choose from {', '.join(TASKS)}")


def _points(bench: Any, records: Any, codecs: list[Any], refusals: Any) -> list[Any]:
    """Measure each codec; one that fails is refused and the others go on; returns those that were measured."""
    from pipelines.codecs import label
    from pipelines.run.batch import EXPECTED

    measured = []
    for codec in codecs:
        try:
            _point(bench, records, codec)
            measured.append(codec)
        except EXPECTED as error:
            refusals.add(label(codec.name, codec.quality), error)
    return measured


def _point(bench: Any, records: Any, codec: Any) -> None:
    """Measure one point, unless its records are there, and print a line."""
    from pipelines.codecs import label
    from pipelines.points import FIDELITY

    name = label(codec.name, codec.quality)
    hashes = {bench.record_settings(codec, task) for task in bench.tasks or (FIDELITY,)}
    if hashes <= records.settings():
        print(f"{name:<20} done before")
        return
    new = bench.measure(codec)
    records.add(new)
    figures = [f"{new[0].rate_bpp:8.4f} bpp  {new[0].psnr_db:6.2f} dB"]
    figures += [
        f"{record.task} AP n/a (no objects)" if record.ap is None else
        f"{record.task} AP {record.ap:.1f} AP50 {record.ap50:.1f}" for record in new if record.task != FIDELITY
    ]  # fmt: skip
    print(f"{name:<20} {'  '.join(figures)}")
    sys.stdout.flush()


def _matched(bench: Any, records: Any, plan: list[Any], targets: list[Any], refusals: Any) -> None:
    """The anchors that take the rates of the `targets`."""
    from pipelines.codecs import build
    from pipelines.matching import match
    from pipelines.run.batch import EXPECTED

    for name in (name for name, qualities in plan if not qualities):
        if not targets:
            refusals.add(name, "no point of the codec whose rates it should take was measured")
            continue
        try:
            found = match(bench, name, targets)
        except EXPECTED as error:
            refusals.add(name, error)
            continue
        _points(bench, records, [build(name, quality) for quality in found], refusals)


def _model(settings: Settings) -> tuple[Any, str]:
    """The task model, proved to work, and the SHA-256 of its weights ("" where they are not a file known here)."""
    import numpy as np

    from eval.models import build
    from eval.models.weights import SHIPPED
    from pipelines.run.provenance import sha256_file

    assert settings.model is not None
    model = build(settings.model, weights=settings.model_weights)
    for task in settings.tasks:
        if task not in model.tasks:
            raise ValueError(f"--task {task}: {settings.model} does {', '.join(model.tasks)} only")
    model.predict([np.full((64, 64, 3), 128, np.uint8)])  # wrong weights are told now, not after hours of encoding
    path = Path(settings.model_weights or SHIPPED / f"{settings.model}.safetensors")
    return model, sha256_file(path) if path.is_file() else ""


def _ours(names: list[str]) -> list[str]:
    from pipelines.codecs import is_anchor

    return [name for name in names if not is_anchor(name)]


def _yaml(settings: Settings) -> str:
    import yaml

    values = {k: v for k, v in dataclasses.asdict(settings).items() if v not in (None, [], {})}
    return yaml.safe_dump(values, sort_keys=False)
