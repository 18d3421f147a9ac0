"""`vcm evaluate`: codecs at qualities over a data set, to records of rate and accuracy. The work is in `points.py`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from pipelines.evaluate_plan import PSEUDO, Settings, absolute, check_tasks, plan_codecs, read_settings, yaml_of

NAME = "evaluate"
HELP = "measure accuracy against bitrate: codec x quality -> files -> decoded frames -> task models -> records"
EPILOG = """\
examples:
  vcm evaluate --images IMAGES --annotations instances.json --codec sa-icm-s:10,20,30,40,50 jpeg webp x265 svtav1 \\
      --match sa-icm-s --task detection,instances --model mask-rcnn-scenes -o runs/scenes
  vcm evaluate --images val2017 --annotations instances_val2017.json,panoptic_val2017.json --codec x265:27,32,37 \\
      --task detection,panoptic --model torchvision:maskrcnn_resnet50_fpn \\
      detectron2:COCO-PanopticSegmentation/panoptic_fpn_R_50_3x -o runs/coco
  vcm evaluate --images PHOTOS --codec x265:27,32,37 webp:10,30 -o runs/fidelity      without labels: PSNR and MS-SSIM
  vcm evaluate --images camera.mp4 --codec sa-icm-s:10,30 x265:27,37 --task detection --model mask-rcnn-scenes \\
      --pseudo-labels 0.5 -o runs/camera
  vcm evaluate runs/scenes/config.yaml -o runs/again

Files in the run: config.yaml, run.json (versions, hardware, commit), records.jsonl and records.csv (a point a line),
results/CODEC.json (as CompressAI's tools read them), streams/CODEC/QUALITY/, predictions/CODEC/QUALITY/MODEL.json (COCO
results), MODEL.panoptic.json, MODEL.TASK.npz (scores a picture), samples/ (decoded pictures for the report).
Rate is the bytes of those files, headers included. The uncompressed pictures are measured first: the ceiling. A
sequence is one file where the codec has clips.
--resume skips every point whose settings are unchanged; a new task on old points costs no decoding. Other pictures or
labels need another RUN. $VCM_SHARED and other variables in CONFIG.yaml are replaced. $VCM_CACHE names a folder where
streams and predictions of all runs are kept, by the hash of what decides them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", type=Path, metavar="CONFIG.yaml", help="settings; the options below win")
    parser.add_argument("--images", metavar="D", help="folder of pictures or clips, or a clip")
    parser.add_argument("--annotations", metavar="A", help="labels, e.g. COCO JSONs joined by commas")
    parser.add_argument("--dataset", metavar="KIND", help="how to read them (default: coco; without A folder or clip)")
    parser.add_argument("--codec", dest="codecs", nargs="+", action="extend", metavar="C[:q1,q2,...]",
                        help="codecs at qualities; anchors without them take the rates of --match")  # fmt: skip
    parser.add_argument("--match", metavar="C", help="give anchors without qualities the rates of this codec")
    parser.add_argument("--task", dest="tasks", action="append", metavar="T[,T]",
                        help="detection, instances, keypoints, panoptic, semantic, tracking, fidelity")  # fmt: skip
    parser.add_argument("--model", dest="models", nargs="+", action="extend", metavar="M",
                        help="task models, e.g. mask-rcnn-scenes; each is given the tasks that it does")  # fmt: skip
    parser.add_argument("--model-weights", nargs="+", action="extend", metavar="[M=]FILE",
                        help="weights of a task model (default: its own)")  # fmt: skip
    parser.add_argument("--protocol", choices=("frozen", "fine-tuned"),
                        help="refuse weights that are otherwise (default: what they say of themselves)")  # fmt: skip
    parser.add_argument("--pseudo-labels", nargs="?", type=float, const=PSEUDO, metavar="SCORE",
                        help="without labels: what the model finds in the uncompressed pictures with at least SCORE "
                        f"(default {PSEUDO:g}) counts as true")  # fmt: skip
    parser.add_argument("--weights", nargs="+", action="extend", metavar="[C=]FILE",
                        help="weights of our codecs, or of codec C (default: the shipped ones)")  # fmt: skip
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    parser.add_argument("--batch", type=int, metavar="N", help="pictures the models get at once (default 1)")
    parser.add_argument("--samples", type=int, metavar="N", help="decoded pictures kept for the report (default 2)")
    parser.add_argument("--seed", type=int, help="written into the records (default 0)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on in a folder that holds records already")
    parser.add_argument("--engine", choices=("local", "ray"), default="local",
                        help="where points are measured: here, or on a Ray cluster that sees these files")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes, or actors of ray (default 1)")
    parser.add_argument("--no-overlap", action="store_true",
                        help="one thing at a time: slower, but encode_s, decode_s are the codec's alone")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="check the request and list the points, then stop")


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where points are measured; no figure depends on it."""

    name: str = "local"
    workers: int = 1
    overlap: bool = True

    @property
    def spreads(self) -> bool:
        return self.name == "ray" or self.workers > 1


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as asked; 1 where pictures or points were refused."""
    settings = read_settings(arguments)
    if arguments.workers < 1:
        raise ValueError(f"--workers {arguments.workers}: at least one is needed")
    engine = Engine(arguments.engine, arguments.workers, not arguments.no_overlap)
    if engine.name == "ray":
        from pipelines.run.engines import need_ray

        need_ray()
    return evaluate(settings, arguments.output, arguments.resume, arguments.dry_run, engine)


def evaluate(
    settings: Settings, output: Path, resume: bool = False, dry_run: bool = False, engine: Engine = Engine()
) -> int:
    """Measure every point of `settings` into `output`; returns the exit code. ValueError for a bad request."""
    from pipelines.codecs import build, label
    from pipelines.evaluate_data import dataset_of, readable
    from pipelines.evaluate_loop import Loop
    from pipelines.evaluate_models import about, tested_models, warn_of_training
    from pipelines.points import Bench, identity
    from pipelines.results import Records
    from pipelines.run.atomic import make_folder, write_text
    from pipelines.run.batch import Refusals
    from pipelines.run.lock import Lock
    from pipelines.run.provenance import provenance

    plan = plan_codecs(settings)
    dataset = dataset_of(settings)
    check_tasks(settings, dataset.tasks)
    tested = tested_models(settings, dataset)
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
        refusals = Refusals()
        dataset, content = readable(dataset, refusals, settings.pseudo_labels, output / "pictures.json")
        records.check(content, len(dataset))
        warn_of_training(tested, content)
        settings = absolute(settings)
        origin = provenance()
        bench = Bench(output, dataset, content, tested, settings.seed, settings.samples,
                      engine.overlap or engine.spreads, settings.pseudo_labels, origin["versions"])  # fmt: skip
        write_text(output / "config.yaml", yaml_of(settings))
        note = {"settings": dataclasses.asdict(settings), "content": content, "pictures": len(dataset),
                "refused": refusals.items, "categories": dataset.categories, "models": about(tested),
                "panoptic_categories": dataset.panoptic.categories if dataset.panoptic else {},
                "commands": {label(codec.name, codec.quality): line for codec in explicit if (line := identity(codec))},
                "engine": dataclasses.asdict(engine), **origin}  # fmt: skip
        write_text(output / "run.json", json.dumps(note, indent=1))
        loop = Loop(bench, records, settings, engine, refusals)
        measured = loop.points(explicit)
        loop.matched(plan, [codec for codec in measured if codec.name == settings.match])
    refusals.report()
    return refusals.exit_code
