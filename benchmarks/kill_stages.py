"""Stages of `vcm` on small inputs, for benchmarks that kill them or fill their disk: what is run, what must be equal.

Every stage is run with the words that go on where a killed run stopped, so the first run and the last are one command.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TIMES = {"encode_s", "decode_s", "predict_s", "encoding_time", "decoding_time", "seconds"}
Content = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Stage:
    """inputs(folder, items): what it is run on, written below `folder`; words(folder, out): the command; count(out):
    items that are done; content(out): all that must be as in an uninterrupted run. items: how many there are."""

    inputs: Callable[[Path, int], None]
    words: Callable[[Path, Path, int], list[str]]
    count: Callable[[Path], int]
    content: Callable[[Path], Content]
    items: int


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def files(out: Path, without: tuple[str, ...] = ("run.json",)) -> Content:
    """Every file by its hash, what a killed run left among them; but those of these names."""
    found = (path for path in sorted(out.rglob("*")) if path.is_file() and path.name not in without)
    return {path.relative_to(out).as_posix(): digest(path.read_bytes()) for path in found}


def timeless(value: Any) -> Any:
    """JSON without what is measured in seconds."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in TIMES}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def drawn(folder: Path, items: int) -> None:
    """Pictures with a red square and a blue disc at random places, of ever other sizes, one in three a folder below."""
    from pipelines.media import write_picture

    rng = np.random.default_rng(0)
    for i in range(items):
        height, width = rng.integers(48, 80, 2)
        y, x = np.mgrid[:height, :width]
        picture = np.full((height, width, 3), 90, np.uint8) + rng.integers(0, 12, (height, width, 3), np.uint8)
        top, left = rng.integers(0, height - 20), rng.integers(0, width - 36)
        picture[top : top + 16, left : left + 16] = 220, 40, 40
        picture[(x - left - 26) ** 2 + (y - top - 8) ** 2 <= 64] = 40, 60, 230
        write_picture(folder / "images" / ("deep" if i % 3 == 0 else "") / f"{i:03d}.png", picture)


def with_labels(folder: Path, items: int) -> None:
    from PIL import Image

    from pipelines.media import list_pictures, read_picture

    drawn(folder, items)
    for path in list_pictures(folder / "images"):
        picture = read_picture(path).astype(int)
        labels = (picture[..., 0] > 150) + 2 * (picture[..., 2] > 150)
        out = folder / "labels" / path.relative_to(folder / "images")
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels.astype(np.uint16)).save(out)


def to_train(folder: Path, steps: int) -> None:
    drawn(folder, 6)
    (folder / "tiny.yaml").write_text(
        f"task: image-codec\nsettings:\n  data: [{{pictures: {folder}/images}}]\n  crop: 48\n  batch: 2\n"
        "  integers_at: 0.5\n"
        "  model: {latent: 16, hyper: 8, prior_width: 12, widths: [8, 12, 16], depths: [1, 1, 1]}\n"
        f"trainer: {{log_steps: 1, preview_steps: {max(1, steps // 3)}, threads: 1, checkpoint_minutes: 0}}\n"
    )


def clip(folder: Path, segments: int) -> None:
    from tests.pipelines.tiny_clip import tiny_clip

    tiny_clip(folder / "clip.mkv", 3 * segments)


def trained(out: Path) -> Content:
    """Exported weights and previews by their bytes; the checkpoint's tensors by theirs; the log without seconds."""
    from pipelines.run import checkpoint

    found = files(out, ("run.json", "checkpoint.safetensors", "log.jsonl"))
    found = {name: value for name, value in found.items() if not name.startswith("tensorboard")}
    tensors, numbers = checkpoint.load(out / "checkpoint.safetensors")
    found |= {name: digest(tensor.numpy().tobytes()) for name, tensor in tensors.items()}
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return found | {"log": timeless(rows), "step": numbers["step"]}


def evaluated(out: Path) -> Content:
    """Streams, predictions, scores and samples by their bytes; records and notes without seconds."""
    found = files(out, ("run.json", "records.csv", "records.jsonl", "config.yaml"))
    for name in found:
        if name.endswith(("point.json", "figures.json")) or name.startswith("results/"):
            found[name] = timeless(json.loads((out / name).read_text()))
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    rows.sort(key=lambda row: (row["codec"], row["quality"]))  # a point that was refused is measured after the others
    return found | {"records": timeless(rows)}


def streams(out: Path) -> int:
    return sum(path.is_file() and path.name[0] != "." and path.name != "point.json"
               for path in (out / "streams").rglob("*"))  # fmt: skip


def steps_done(out: Path) -> int:
    log = out / "log.jsonl"
    return log.read_text().count("\n") if log.exists() else 0


POINTS = ("jpeg:20,60", "sa-icm-s:20,45")  # four, and the uncompressed pictures

STAGES = {
    "edges": Stage(
        with_labels, lambda folder, out, n: ["edges", f"{folder}/images", "-o", str(out), "--segmenter",
                                             f"labels:{folder}/labels", "--batch", "2"],
        lambda out: sum(1 for _ in out.rglob("[!.]*.png")), files, 60,
    ),
    "encode": Stage(
        drawn, lambda folder, out, n: ["encode", f"{folder}/images", "-o", str(out), "--codec", "sa-icm-s:30",
                                       "--resume"],
        lambda out: sum(1 for _ in out.rglob("[!.]*.vcm")), files, 20,
    ),
    "evaluate": Stage(
        drawn, lambda folder, out, n: ["evaluate", "--images", f"{folder}/images", "--codec", *POINTS, "--task",
                                       "detection", "--model", "tiny", "--pseudo-labels", "0.5", "-o", str(out),
                                       "--resume"],
        streams, evaluated, 30,
    ),
    "train": Stage(
        to_train, lambda folder, out, n: ["train", f"{folder}/tiny.yaml", "-o", str(out), "--steps", str(n),
                                          "--resume"],
        steps_done, trained, 16,
    ),
    "network": Stage(
        clip, lambda folder, out, n: ["encode", f"{folder}/clip.mkv", "-o", f"{out}/clip.vcm", "--codec", "sa-nerv:8k",
                                      "--steps", "20", "--segment", "3", "--threads", "1", "--device", "cpu",
                                      "--checkpoint-minutes", "0", "--resume"],
        lambda out: sum(1 for _ in (out / "clip.vcm.fit").glob("*/segment.vcm")),
        lambda out: {name: value for name, value in files(out).items() if "/" not in name}, 4,
    ),
}  # fmt: skip
PICTURES_A_POINT = 5  # evaluate's items are streams: pictures times points


def prepared(name: str, folder: Path, items: int | None = None) -> tuple[Stage, Callable[[Path], list[str]]]:
    """The stage with its inputs written below `folder`, and the command for an output."""
    stage = STAGES[name]
    stage = dataclasses.replace(stage, items=items or stage.items)
    stage.inputs(folder, max(1, stage.items // PICTURES_A_POINT) if name == "evaluate" else stage.items)
    return stage, lambda out: stage.words(folder, out, stage.items)


def run(words: list[str]) -> int:
    """`vcm` with the tiny task model."""
    import eval.models
    from pipelines.cli import main
    from tests.pipelines.tiny_model import TinyModel

    eval.models.MODELS["tiny"] = TinyModel  # type: ignore[assignment]
    return main(words)
