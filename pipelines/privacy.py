"""`vcm privacy`: what codecs leave of faces, beside what they leave of persons. The work is in `privacy_job.py`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAME = "privacy"
HELP = "measure what a codec leaves of a face: detection, re-identification, adaptive attackers, and its utility"
EPILOG = """\
examples:
  vcm privacy --faces PEOPLE --codec sa-icm-s:5,20,50 x265:32,42 jpeg:5,30 pixelate:8,16 -o runs/privacy
  vcm privacy --faces lfw:LFW --limit 400 --embedder sface --codec sa-icm-s:5,20 x265:37,47 -o runs/lfw
  vcm privacy --faces camera.mp4 --codec sa-icm-s:10 jpeg:10 blur:4 --attackers none -o runs/clip
  vcm privacy --faces PEOPLE --embedder arcface.onnx --person-detector fastestdet:FILE.onnx --codec lic-s:20 -o runs/p

--faces: a folder with one folder a person, lfw:ROOT, lfw-pairs:ROOT, celeba:ROOT, or a clip (persons are face tracks).
Codecs: those of `vcm models`, and pixelate:PIXELS and blur:PIXELS of the whole picture. Originals are the control.
In the run: privacy.json (every figure), report.html, report-plots/, run.json, streams/. Faces are drawn only on
--draw-faces.
Detector and embedder need no download by default; `--embedder patterns` is weak, and the report says how weak.
"""
SCENES = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faces", required=True, metavar="DIR|lfw:ROOT|VIDEO", help="whose faces")
    parser.add_argument("--codec", dest="codecs", nargs="+", action="extend", required=True, metavar="C:q1[,q2,...]",
                        help="codecs at qualities; also pixelate:PIXELS, blur:PIXELS")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--embedder", default="patterns", metavar="NAME|MODEL.onnx",
                        help="patterns (default, no download), sface, facenet, or an ONNX file")  # fmt: skip
    parser.add_argument("--face-detector", default="mtcnn", metavar="NAME", help="mtcnn (default) or yunet")
    parser.add_argument("--person-detector", metavar="D", help="utility on the face pictures, by pseudo-labels of "
                        "fastestdet:FILE.onnx or a model of `vcm evaluate`, NAME[=WEIGHTS]")  # fmt: skip
    parser.add_argument("--scenes", type=int, metavar="N",
                        help="utility on N embedded scenes with exact labels (default 16 where the task model’s "
                        "weights are shipped; 0: none)")  # fmt: skip
    parser.add_argument("--attackers", choices=("all", "none"), default="all", help="train the adaptive ones (default)")
    parser.add_argument("--steps", type=int, default=120, metavar="N",
                        help="training steps of each restoration network (default 120)")  # fmt: skip
    parser.add_argument("--weights", nargs="+", action="extend", metavar="C=FILE",
                        help="weights of our codec C (default: the shipped ones)")  # fmt: skip
    parser.add_argument("--longest", type=int, default=640, metavar="PIXELS",
                        help="shrink larger pictures to this side (default 640; 0: never)")  # fmt: skip
    parser.add_argument("--every", type=int, default=10, metavar="N", help="of a clip, every Nth frame (default 10)")
    parser.add_argument("--limit", type=int, metavar="N", help="about N pictures, whole persons")
    parser.add_argument("--draw-faces", action="store_true", help="keep decoded faces and show them in the report")
    parser.add_argument("--resume", action="store_true", help="go on in a folder that holds a run already")
    parser.add_argument("--dry-run", action="store_true", help="check the request and list the points, then stop")


def run(arguments: argparse.Namespace) -> int:
    """Measure as asked; 1 where pictures or points were refused."""
    from eval.models.weights import SHIPPED
    from pipelines.privacy_faces import from_clip, from_pictures, is_clip
    from pipelines.run.atomic import make_folder, write_text
    from pipelines.run.batch import Refusals
    from pipelines.run.lock import Lock
    from pipelines.run.provenance import provenance

    if arguments.scenes is None:
        arguments.scenes = SCENES if (SHIPPED / "mask-rcnn-scenes.safetensors").is_file() else 0
    if arguments.every < 1 or arguments.steps < 1 or arguments.scenes < 0:
        raise ValueError("--every and --steps are at least 1, --scenes at least 0")
    plan = plan_codecs(arguments.codecs, arguments.weights or [])
    from eval.privacy.detectors import build_detector
    from eval.privacy.embedders import build_embedder

    embedder, detector = build_embedder(arguments.embedder), build_detector(arguments.face_detector)
    options = _utility(arguments)
    refusals = Refusals()
    output: Path = arguments.output
    if (output / "privacy.json").exists() and not arguments.resume:
        raise ValueError(f"{output}: holds a run already; add --resume to go on, or choose another -o")
    if arguments.dry_run:
        return _dry_run(arguments, plan)
    if is_clip(arguments.faces):
        faces = from_clip(Path(arguments.faces), detector, arguments.longest, arguments.every)
    else:
        faces = from_pictures(_portraits(arguments), detector, arguments.longest, refusals)
    make_folder(output)
    with Lock(output):
        from pipelines.privacy_job import Job, models

        job = Job(output, faces, detector, embedder, arguments.steps if arguments.attackers == "all" else 0,
                  arguments.draw_faces, **options)  # fmt: skip
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(arguments).items()}
        origin = {"settings": {**settings, "seed": 0}, "refused": refusals.items, **provenance()}
        write_text(output / "run.json", json.dumps(origin, indent=1))
        about = {
            "dataset": faces.name, "clip": faces.clip, "pictures": len(faces.names), "identities": faces.identities,
            "faces": sum(len(row) for row in faces.faces), "subjects": len(faces.subjects), "models": models(job),
            "attacked": job.steps > 0, "content": faces.content, "longest_px": arguments.longest,
            "scenes": arguments.scenes,
        }  # fmt: skip
        points = measure(job, plan, about, refusals, settings)
        if not points:
            raise ValueError(f"{output}: no point could be measured; first: {': '.join(refusals.items[-1])}")
        write_text(output / "run.json", json.dumps({**origin, "refused": refusals.items}, indent=1))
    from pipelines.privacy_report import write

    for sentence in write([output], output / "report.html"):
        print(sentence)
    refusals.report()
    return refusals.exit_code


def measure(
    job: Any, plan: list[list[Any]], about: dict[str, Any], refusals: Any, settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """Every codec of the plan into RUN/privacy.json, codec by codec; those that are there unchanged are kept.

    Codecs of an earlier run on the same faces with the same models, which this plan does not name, stay as well.
    """
    from pipelines.codecs import weights_hash
    from pipelines.points import fingerprint
    from pipelines.run.atomic import write_text
    from pipelines.run.batch import EXPECTED

    path = job.folder / "privacy.json"
    free = ("codecs", "output", "resume", "weights", "faces", "dry_run")
    deciding = {k: v for k, v in settings.items() if k not in free}
    before, others = _before(path, about)
    points: list[dict[str, Any]] = []
    for codecs in plan:
        name = codecs[0].name
        others = [point for point in others if point["codec"] != name]
        qualities = [codec.quality for codec in codecs]
        common = {"content": job.faces.content, "weights": weights_hash(codecs[0]), "embedder": about["models"],
                  "with_": deciding, "codec": name, "all": qualities}  # fmt: skip
        hashes = [fingerprint(quality=quality, **common) for quality in qualities]
        try:
            fresh = not all(settings in before for settings in hashes)
            new = job.codec(codecs) if fresh else [before[settings] for settings in hashes]
        except EXPECTED as error:
            refusals.add(name, error)
            continue
        points += [{**point, "settings": settings} for point, settings in zip(new, hashes, strict=True)]
        write_text(path, json.dumps({**about, "points": points + others}, indent=1))
        for point in new:
            print(line(point) + ("" if fresh else "  (done before)"))
        sys.stdout.flush()
    return points


def _before(path: Path, about: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(settings → point of the run that is there, its points); nothing where it was of other faces or models."""
    try:
        run = json.loads(path.read_bytes())
        same = all(run[key] == about[key] for key in ("content", "models"))
        return ({p["settings"]: p for p in run["points"]}, list(run["points"])) if same else ({}, [])
    except (OSError, ValueError, KeyError, TypeError):
        return {}, []


def line(point: dict[str, Any]) -> str:
    """One point in one line."""
    from eval.privacy.conclusion import ATTACKS, percent, strongest
    from pipelines.codecs import label

    attack = strongest(point)
    figures = point["attacks"]
    ranks = [f"{name} {percent(figures[name]['rank1']['value'])}" for name in ATTACKS if name in figures]
    text = [
        f"{label(point['codec'], point['quality']):<16} {point['rate_bpp']:8.4f} bpp",
        f"found {percent(point['detection']['recall']['value'])}",
        f"similarity {point['similarity']['mean']:.3f}",
        f"rank-1 {', '.join(ranks)}",
        f"EER {percent(figures[attack]['eer']['value'])} ({attack})",
    ]
    text += [f"persons AP50 {u['ap50']:.1f} ({kind})" for kind, u in point["utility"].items() if u["ap50"] is not None]
    return "  ".join(text)


def plan_codecs(specs: Sequence[str], weights: Sequence[str]) -> list[list[Any]]:
    """A list of codecs at qualities for each name, the originals first; ValueError for a bad request."""
    from eval.privacy.baselines import BASELINES, baseline
    from eval.privacy.conclusion import CONTROL
    from pipelines.codecs import build, is_anchor, split

    files = {}
    for word in weights:
        name, sign, path = word.partition("=")
        if not sign:
            raise ValueError(f"--weights {word}: write CODEC=FILE")
        files[name] = path
    plan: dict[str, list[Any]] = {CONTROL: [build(CONTROL)]}
    for spec in specs:
        name, sign, text = spec.partition(":")
        if name == CONTROL:
            continue
        if name in BASELINES:
            try:
                qualities = [float(word) for word in text.split(",")]
            except ValueError:
                raise ValueError(f"{spec}: give strengths in pixels, as in {name}:8,16") from None
            made = [baseline(name, quality) for quality in qualities]
        else:
            name, qualities = split(spec)
            made = [build(name, quality, weights=files.get(name)) for quality in qualities]
        if not sign or not made:
            raise ValueError(f"--codec {spec}: give qualities, as in {name}:20,40")
        known = plan.setdefault(name, [])
        known += [codec for codec in made if codec.quality not in {other.quality for other in known}]
    unused = [name for name in files if name not in plan or is_anchor(name) or name in BASELINES]
    if unused:
        raise ValueError(f"--weights {unused[0]}=...: no codec of ours of that name is measured")
    return list(plan.values())


def _portraits(arguments: argparse.Namespace) -> Any:
    from eval.privacy.sets import load

    portraits = load(arguments.faces)
    return portraits.take(arguments.limit) if arguments.limit else portraits


def _dry_run(arguments: argparse.Namespace, plan: list[list[Any]]) -> int:
    from eval.privacy.sets import check
    from pipelines.clips import probe_clip
    from pipelines.codecs import label
    from pipelines.privacy_faces import is_clip

    for codecs in plan:
        print(*(label(codec.name, codec.quality) for codec in codecs))
    if is_clip(arguments.faces):
        info = probe_clip(arguments.faces)
        count = "a number not declared of" if info.frames is None else str(info.frames)
        print(f"{count} frames, {info.width}x{info.height}, every {arguments.every}th")
        return 0
    portraits = _portraits(arguments)
    check(portraits)
    print(f"{len(portraits.items)} pictures of {len({item.person for item in portraits.items})} persons")
    return 0


def _utility(arguments: argparse.Namespace) -> dict[str, Any]:
    """The models of utility, proved to work."""
    import numpy as np

    from eval.models import build
    from eval.privacy.utility import person_detector, scenes

    options: dict[str, Any] = {}
    if arguments.person_detector:
        options["person_detector"] = person_detector(arguments.person_detector)
        options["person_detector"].predict([np.full((64, 64, 3), 128, np.uint8)])
    if arguments.scenes:
        options["scene_model"] = build("mask-rcnn-scenes")
        options["scene_model"].predict([np.full((64, 64, 3), 128, np.uint8)])
        options["scenes"] = scenes(arguments.scenes)
    return options

