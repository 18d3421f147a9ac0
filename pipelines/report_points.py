"""Points of runs, read and sorted into groups that may share a pair of axes."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from eval.records import Record, read_jsonl

CEILING = "uncompressed"
DIGITS = 8  # of a hash, where it tells two things apart


class Group(NamedTuple):
    """What points have in common that share axes: names, and the hashes of what is behind them."""

    dataset: str
    model: str
    protocol: str
    content: str
    model_weights: str  # "" where every codec has its own, which is what fine-tuning is


@dataclass(frozen=True)
class Point:
    """A record, the run it is in, the origin of that, and the name of its curve."""

    record: Record
    folder: Path
    origin: dict[str, Any]
    name: str = ""

    @property
    def below(self) -> Path:
        """CODEC/QUALITY, where streams, predictions and samples of the point are."""
        return Path(self.record.codec) / f"{self.record.quality:g}"

    @property
    def tuned_on(self) -> list[str]:
        """CODEC:QUALITIES whose decoded pictures the task model was fine-tuned on."""
        models = {model["name"]: model for model in self.origin.get("models") or []}
        return list((models.get(self.record.model, {}).get("fine_tuned_on") or {}).get("codecs") or [])

    @property
    def group(self) -> Group:
        """The axes it belongs to."""
        of = self.record
        weights = "" if of.protocol == "fine-tuned" else of.model_weights
        return Group(of.dataset, of.model, of.protocol, of.content, weights)


def read(folder: Path) -> list[Point]:
    """The points of a run of `vcm evaluate`; ValueError, one line, where it holds no records."""
    if not (folder / "records.jsonl").is_file():
        raise ValueError(f"{folder}: holds no records.jsonl; run `vcm evaluate ... -o {folder}` first")
    origin = json_of(folder / "run.json")
    return [Point(record, folder, origin) for record in read_jsonl(folder / "records.jsonl")]


def sort(points: Sequence[Point]) -> dict[Group, list[Point]]:
    """Groups of points; of those measured twice, the last one given wins. Every point gets the name of its curve.

    A codec that was measured with several weights has a curve for each, with the first digits of their hashes; one
    that a model was not fine-tuned on has a curve that says on what it was.
    """
    weights: dict[tuple[str, str], set[str]] = {}
    for point in points:
        weights.setdefault((point.record.content, point.record.codec), set()).add(point.record.weights)
    groups: dict[Group, dict[Any, Point]] = {}
    for point in points:
        of, name = point.record, point.record.codec
        if len(weights[of.content, of.codec]) > 1:
            name += f" ({of.weights[:DIGITS] or 'unknown'})"
        learned = [spec.rpartition(":")[0] or spec for spec in point.tuned_on]
        if learned and of.codec not in (CEILING, *learned):
            name += f" (model of {', '.join(learned)})"
        groups.setdefault(point.group, {})[name, of.quality, of.task] = dataclasses.replace(point, name=name)
    # every record has PSNR and MS-SSIM: points without a model add nothing to the same ones with a model
    seen = {(group.content, *key[:2]) for group, found in groups.items() if group.model for key in found}
    return {group: list(found.values()) for group, found in groups.items()
            if group.model or not {(group.content, *key[:2]) for key in found} <= seen}  # fmt: skip


def marks(group: Group, groups: Sequence[Group]) -> list[str]:
    """What tells a group from the others with the same names: hashes of pictures and labels, of the model's weights."""
    alike = [other for other in groups if other[:3] == group[:3]]
    return [f"{what} {getattr(group, field)[:DIGITS] or 'unknown'}"
            for field, what in (("content", "content"), ("model_weights", "weights"))
            if len({getattr(other, field) for other in alike}) > 1]  # fmt: skip


def called(model: str, models: Sequence[str]) -> str:
    """A model of a file goes by the file's name, wherever it lies, unless another of `models` has that name too."""
    short = [re.sub(r":/.*/", ":", other) for other in (model, *dict.fromkeys(models))]
    return short[0] if short.count(short[0]) <= 2 else model


def file_name(model: str) -> str:
    """The model's name as files of a run have it."""
    return model.replace("/", "-")


def json_of(path: Path) -> Any:
    """What a file of the run holds; {} where it is gone or damaged, for the page needs none of them."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
