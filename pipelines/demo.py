"""`vcm demo`: the whole flow on the embedded scenes, with nothing downloaded.

    scenes ─▶ edge maps ─▶ fine-tuned codec ─▶ files ─▶ frames ─▶ boxes, masks, panoptic maps ─▶ report.html
    a clip of them ─▶ edge maps ─▶ fitted network ─▶ file ─▶ clip

Each step is a `vcm` command that is printed before it runs, so the demo is also a list of what to type.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

NAME = "demo"
HELP = "the whole flow on embedded scenes, with nothing downloaded: ends with report.html"
EPILOG = """\
examples:
  vcm demo
  vcm demo -o runs/mine --pictures 24 --steps 40 --seed 3

The scenes are drawn, the codec is fine-tuned on their edges, every curve is measured from files on disk: the same seed
gives the same files and figures on the same machine. A second run in the same folder does only what is missing; with
other scenes or another seed it starts anew.
"""
FRAMES, FIT_STEPS, CLIP_BYTES = 24, 300, 24_000  # of the clip, of its network
QUALITIES = (1, 12, 24, 36, 48, 60, 75)
ANCHORS = ("jpeg", "webp", "x265")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("runs/demo"), metavar="RUN", help="folder (default runs/demo)"
    )
    parser.add_argument("--pictures", type=int, default=48, metavar="N", help="scenes to measure on (default 48)")
    parser.add_argument("--train", type=int, default=120, metavar="N", help="scenes to fine-tune on (default 120)")
    parser.add_argument("--steps", type=int, default=150, help="of fine-tuning (default 150)")
    parser.add_argument("--seed", type=int, default=0, help="of scenes and training (default 0)")


def run(arguments: argparse.Namespace) -> int:
    """0, or the exit code of the first command that failed."""
    from pipelines import cli

    started = time.monotonic()
    for name in ("pictures", "train", "steps"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} must be at least 1")
    out: Path = arguments.output
    draw(out, arguments.pictures, arguments.train, arguments.seed)
    for words in commands(out, arguments.steps, arguments.seed):
        print(f"\n$ vcm {shlex.join(words)}", flush=True)
        code = cli.main(words)
        if code:
            return code
    print(f"\n{out / 'report.html'}: open it in a browser ({time.monotonic() - started:.0f} s)")
    return 0


def draw(out: Path, pictures: int, train: int, seed: int) -> None:
    """The scenes, in COCO's layout. Others than were asked for go, and with them what was made of them."""
    import json
    import shutil

    from eval import scenes

    for split, name, count in (("train", "train", train), ("demo", "measured", pictures)):
        folder = out / "scenes" / name
        note = folder / "scenes.json"
        wanted = {"split": split, "count": count, "seed": seed}
        if note.is_file() and json.loads(note.read_text()) == wanted:
            continue
        for stale in (folder, *((out / "edges", out / "codec") if name == "train" else ()), out / "evaluation"):
            shutil.rmtree(stale, ignore_errors=True)
        print(f"drawing {count} scenes: {folder}", file=sys.stderr)
        scenes.write(folder, count, seed=seed, split=split)
        note.write_text(json.dumps(wanted))
    draw_clip(out / "clip", seed)


def draw_clip(folder: Path, seed: int) -> None:
    """clip.mkv: a camera that stands still. Another seed's goes, and with it what was made of it."""
    import shutil
    from fractions import Fraction

    from eval import scenes
    from pipelines.clips_out import writing
    from pipelines.run.atomic import make_folder

    note, rate = folder / "seed.txt", 12
    if note.is_file() and note.read_text() == str(seed):
        return
    shutil.rmtree(folder, ignore_errors=True)
    with writing(make_folder(folder) / "clip.mkv", Fraction(rate)) as writer:
        for i, picture in enumerate(scenes.clip(FRAMES, seed, split="demo", fps=rate)):
            writer.add(picture.image, Fraction(i, rate), i)
    note.write_text(str(seed))


def commands(out: Path, steps: int, seed: int) -> list[list[str]]:
    """The words after `vcm`, in order."""
    train, measured = out / "scenes" / "train", out / "scenes" / "measured"
    edges, codec, evaluation, clip = out / "edges", out / "codec", out / "evaluation", out / "clip"
    data = f"settings.data=[{{pictures: {train / 'images'}, masks: {edges}}}]"
    labels = ",".join(str(measured / "annotations" / f"{name}.json") for name in ("instances", "panoptic"))
    rates = ",".join(map(str, QUALITIES))
    return [
        ["edges", f"{train / 'images'}", "-o", f"{edges}",
         "--segmenter", f"labels:{train / 'annotations' / 'panoptic.json'}", "--dilate", "3", "--preview", "4"],
        ["train", f"{Path(__file__).parent / 'configs' / 'demo.yaml'}", data, f"trainer.seed={seed}", "-o", f"{codec}",
         "--steps", f"{steps}", "--resume"],
        ["evaluate", "--images", f"{measured / 'images'}", "--annotations", labels,
         "--codec", f"sa-icm-s:{rates}", *ANCHORS, "--match", "sa-icm-s",
         "--weights", f"sa-icm-s={codec / 'model.safetensors'}", "--task", "detection,instances,panoptic",
         "--model", "mask-rcnn-scenes", "--seed", f"{seed}", "-o", f"{evaluation}", "--resume"],
        ["edges", f"{clip / 'clip.mkv'}", "-o", f"{clip / 'edges'}", "--segmenter", "felzenszwalb"],
        ["encode", f"{clip / 'clip.mkv'}", "-o", f"{clip / 'clip.vcm'}", "--codec", "sa-nerv",
         "--bytes", f"{CLIP_BYTES}", "--background", "--edges", f"{clip / 'edges'}", "--fit", "loss=l2",
         "--steps", f"{FIT_STEPS}", "--seed", f"{seed}", "--resume"],
        ["decode", f"{clip / 'clip.vcm'}", "-o", f"{clip / 'decoded.mkv'}"],
        ["report", f"{evaluation}", "-o", f"{out / 'report.html'}",
         "--title", "Demo: what a detector keeps, at which rate"],
    ]  # fmt: skip
