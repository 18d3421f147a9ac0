"""`vcm finetune`: a task model trained further on pictures that codecs have decoded, for the protocol "fine-tuned".

    training pictures ─encode─▶ files ─decode─▶ RUN/decoded/CODEC/QUALITY/ITEM.png ─▶ trainer ─▶ RUN/model.safetensors

The weights say on which codecs, qualities and pictures they were tuned; `vcm evaluate` labels its records by that.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.datasets import Dataset

NAME = "finetune"
HELP = "train a task model further on decoded pictures of a training set, for the protocol fine-tuned"
EPILOG = """\
examples:
  vcm finetune --images train2017 --annotations instances_train2017.json --codec sa-icm-s:10,30,50 \\
      --model torchvision:maskrcnn_resnet50_fpn -o runs/tuned --steps 20000
  vcm finetune --images runs/demo/scenes/train/images --annotations runs/demo/scenes/train/annotations/instances.json \\
      --codec jpeg:2,5 --model mask-rcnn-scenes -o runs/tuned --steps 300
  vcm evaluate ... --model mask-rcnn-scenes --model-weights runs/tuned/model.safetensors --protocol fine-tuned

Every step takes --batch pictures, each at one of the qualities by chance, mirrored or not. A run resumed with the same
--steps is the run that was never stopped. Tune on training pictures: those that are measured must not be among them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", required=True, metavar="D", help="training pictures")
    parser.add_argument("--annotations", required=True, metavar="A", help="their labels, e.g. COCO instances JSON")
    parser.add_argument("--dataset", default="coco", metavar="KIND", help="how to read them (default coco)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    parser.add_argument("--codec", dest="codecs", nargs="+", required=True, metavar="C:q1[,q2,...]",
                        help="codecs at qualities whose decoded pictures are learned from")  # fmt: skip
    parser.add_argument("--weights", nargs="+", action="extend", metavar="[C=]FILE",
                        help="weights of our codecs, or of codec C")  # fmt: skip
    parser.add_argument("--model", required=True, metavar="M",
                        help="mask-rcnn-scenes, torchvision:NAME (detectors) or detectron2:CONFIG")  # fmt: skip
    parser.add_argument("--model-weights", metavar="FILE", help="where the model starts (default: its own weights)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="train for this many steps in all (exactly repeatable)")
    length.add_argument("--minutes", type=float, help="train for this long in all, resumed runs added up")
    parser.add_argument("--batch", type=int, default=2, metavar="N", help="pictures a step (default 2)")
    parser.add_argument("--learning-rate", type=float, default=1e-4, metavar="R", help="of AdamW (default 1e-4)")
    parser.add_argument("--ema", type=float, default=0.0, metavar="D", help="decay of averaged weights (default: none)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of pictures (default 0)")
    parser.add_argument("--resume", action="store_true", help="go on where a run was stopped")
    parser.add_argument("--dry-run", action="store_true", help="check the request, code nothing, then stop")


def run(arguments: argparse.Namespace) -> int:
    """Tune as asked; 1 where pictures were refused."""
    import torch

    from eval.datasets import load
    from pipelines.codecs import build, label, split
    from pipelines.evaluate_data import readable
    from pipelines.evaluate_plan import named, ours
    from pipelines.run.atomic import make_folder
    from pipelines.run.batch import Refusals
    from pipelines.run.provenance import provenance
    from pipelines.tasks.finetune import FineTune, Settings
    from pipelines.trainer import Trainer, TrainerSettings

    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError("vcm finetune runs in one process; start it without torchrun")
    plan = [split(spec) for spec in arguments.codecs]
    for name, qualities in plan:
        if not qualities:
            raise ValueError(f"--codec {name}: give qualities, as in {name}:20,40")
    weights = named(arguments.weights or [], ours([name for name, _ in plan]))
    codecs = [build(name, quality, weights=weights.get(name)) for name, qualities in plan for quality in qualities]
    dataset = load(arguments.dataset, arguments.images, arguments.annotations)
    dataset = dataset if arguments.limit is None else dataset.take(arguments.limit)
    if dataset.truth is None:
        raise ValueError(f"{arguments.annotations}: holds no boxes to learn from; give instances")
    names = [label(codec.name, codec.quality) for codec in codecs]
    if arguments.dry_run:
        FineTune(Settings(arguments.model, names, arguments.model_weights), arguments.seed, dataset, {}, {})
        print(f"{len(dataset)} pictures at {', '.join(names)}; {arguments.model}")
        return 0
    refusals = Refusals()
    make_folder(arguments.output)
    dataset, content = readable(dataset, refusals, known=arguments.output / "pictures.json")
    decoded = decode(codecs, dataset, content, arguments.output)
    settings = Settings(arguments.model, names, arguments.model_weights, arguments.batch, arguments.learning_rate,
                        content=content)  # fmt: skip
    trainer_settings = TrainerSettings(arguments.steps, arguments.minutes, arguments.seed, torch.cuda.is_available(),
                                       arguments.ema, clip=10.0)  # fmt: skip
    origin = provenance()
    task = FineTune(settings, arguments.seed, dataset, decoded, _about(settings, codecs, dataset, arguments, origin))
    record = {"settings": dataclasses.asdict(settings), "trainer": dataclasses.asdict(trainer_settings), **origin}
    print(Trainer(task, trainer_settings, arguments.output, record).run(arguments.resume))
    refusals.report(sys.stderr)
    return refusals.exit_code


def _about(
    settings: Any, codecs: list[Any], dataset: Dataset, arguments: argparse.Namespace, origin: dict[str, Any]
) -> dict[str, Any]:
    """What the weights will say of themselves."""
    from pipelines.codecs import weights_hash
    from pipelines.evaluate_models import tuned_on

    return {
        "model": settings.model, "codecs": settings.codecs, "dataset": dataset.name, "pictures": len(dataset),
        "content": settings.content, "codec_weights": {codec.name: weights_hash(codec) for codec in codecs},
        "steps": arguments.steps, "minutes": arguments.minutes, "batch": settings.batch, "seed": arguments.seed,
        "learning_rate": settings.learning_rate, "started_from": tuned_on(settings.weights),
        "versions": origin["versions"],
    }  # fmt: skip


def decode(codecs: list[Any], dataset: Dataset, content: str, folder: Path) -> dict[int, list[Path]]:
    """Every picture through every codec's files, unless that was done: item id -> PNGs below `folder`."""
    from eval.datasets import frames
    from pipelines.codecs import label, weights_hash
    from pipelines.media import write_picture
    from pipelines.notes import fingerprint, read_note, write_note
    from pipelines.run.atomic import write_bytes
    from pipelines.run.lock import Lock
    from pipelines.run.progress import progress

    found: dict[int, list[Path]] = {item.id: [] for item in dataset.items}
    with Lock(folder):
        for codec in codecs:
            name = label(codec.name, codec.quality)
            place = folder / "decoded" / codec.name / f"{codec.quality:g}"
            settings = fingerprint(content=content, codec=name, weights=weights_hash(codec))
            same = read_note(place / "note.json", settings) is not None
            if not same:
                write_note(place / "note.json", settings, codec=name)
            paths = {item.id: place / f"{item.id}.png" for item in dataset.items}
            missing = [item for item in dataset.items if not same or not paths[item.id].is_file()]
            for item, picture in progress(zip(missing, frames(missing), strict=True), len(missing), f"{name} decode"):
                path = paths[item.id]
                write_bytes(path.with_suffix(codec.suffix), codec.encode(picture))
                write_picture(path, codec.decode(path.with_suffix(codec.suffix).read_bytes()))
            for number, path in paths.items():
                found[number].append(path)
    return found
