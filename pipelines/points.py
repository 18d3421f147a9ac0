"""One point of a curve: a codec at a quality over a data set, by way of files.

    pictures ─encode─▶ RUN/streams/CODEC/QUALITY/*.suffix ─decode─▶ frames ─model─▶ RUN/predictions/CODEC/QUALITY/*.json
                              │ bytes on disk                  └─▶ PSNR, MS-SSIM          └─▶ AP of every task
                              └─────────────────────────▶ records ◀───────────────────────────┘

Each half leaves a small JSON with the hash of what decided it; where that is unchanged, the half is not done again.
So a second task costs no decoding, and a resumed run does only what is missing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eval.datasets import Dataset, Item
from eval.evaluators import ApEvaluator, FidelityEvaluator
from eval.records import Record, append_jsonl, csv_text, read_jsonl, to_json
from pipelines.codecs import label, weights_hash
from pipelines.media import read_picture, write_picture
from pipelines.run.atomic import write_bytes, write_text
from pipelines.run.batch import EXPECTED, Refusals
from pipelines.run.progress import progress
from pipelines.run.provenance import sha256_file

FIDELITY = "fidelity"  # the task of a data set without labels


def fingerprint(**values: Any) -> str:
    """16 hexadecimal digits of the values' JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def readable(dataset: Dataset, refusals: Refusals) -> tuple[Dataset, str]:
    """The usable pictures with their true sizes, and a hash of them and their labels; the rest is refused."""
    items, hashes = [], []
    for item in progress(dataset.items, len(dataset.items), "reading"):
        try:
            height, width = read_picture(item.path).shape[:2]
            if item.width and (item.width, item.height) != (width, height):
                raise ValueError(f"is {width}x{height}, and {item.width}x{item.height} in the annotations")
            hashes.append([item.id, item.file_name, sha256_file(item.path)])
            items.append(dataclasses.replace(item, width=width, height=height))
        except EXPECTED as error:
            refusals.add(item.path, error)
    if not items:
        raise ValueError(f"{dataset.name}: none of its {len(dataset.items)} pictures can be read; "
                         f"first: {refusals.items[-1][1]}")  # fmt: skip
    return dataclasses.replace(dataset, items=tuple(items)), fingerprint(items=hashes, labels=_labels(dataset, items))


def _labels(dataset: Dataset, items: list[Item]) -> list[Any]:
    """What the labels say of these pictures, and of what kinds they are."""
    if dataset.truth is None:
        return []
    rows = dataset.truth.loadAnns(dataset.truth.getAnnIds(imgIds=[item.id for item in items]))
    return [sorted(rows, key=lambda row: row["id"]), sorted(dataset.categories.items())]


def threads_of(codec: Any) -> int:
    """How many threads the codec may use: what an anchor says of itself, torch's for ours."""
    if hasattr(codec, "threads"):
        return int(codec.threads)
    import torch

    return torch.get_num_threads()


@dataclass
class Bench:
    """A run's folder, data set, tasks and task model; `content` is the hash that `readable` gives."""

    folder: Path
    dataset: Dataset
    content: str
    tasks: tuple[str, ...]
    model: Any = None  # None: no labels, fidelity only
    model_hash: str = ""  # of its weights
    batch: int = 1
    seed: int = 0
    samples: int = 2  # decoded pictures kept for the report
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def pixels_total(self) -> int:
        """Pixels of the whole data set."""
        return sum(item.width * item.height for item in self.dataset.items)

    def place(self, kind: str, codec: Any) -> Path:
        """RUN/kind/CODEC/QUALITY."""
        return self.folder / kind / codec.name / f"{codec.quality:g}"

    def stream_path(self, codec: Any, item: Item) -> Path:
        """Where the stream of one picture lies; the picture's own suffix stays where two differ by it alone."""
        name = Path(item.file_name)
        if self._stems[str(name.with_suffix(""))] == 1:
            name = name.with_suffix("")
        return self.place("streams", codec) / (str(name) + codec.suffix)

    @property
    def _stems(self) -> Counter[str]:
        if not hasattr(self, "_counted"):
            self._counted = Counter(str(Path(item.file_name).with_suffix("")) for item in self.dataset.items)
        return self._counted

    def bytes_on_disk(self, codec: Any, items: tuple[Item, ...] | None = None) -> int:
        """Bytes of the streams of these pictures (all, when not told)."""
        chosen = self.dataset.items if items is None else items
        return sum(self.stream_path(codec, item).stat().st_size for item in chosen)

    def stream_settings(self, codec: Any) -> str:
        """Hash of what decides the streams."""
        libraries = {name: self.versions.get(name) for name in ("av", "pillow", "torch", "compressai", "constriction")}
        return fingerprint(content=self.content, codec=label(codec.name, codec.quality),
                           weights=weights_hash(codec), libraries=libraries)  # fmt: skip

    def encode(self, codec: Any) -> dict[str, Any]:
        """Write every stream, unless they are there; {"settings", "encode_s", "threads", "bytes_total"}."""
        folder, settings = self.place("streams", codec), self.stream_settings(codec)
        note = read_note(folder / "point.json", settings)
        if note is not None:
            try:
                if note["bytes_total"] == self.bytes_on_disk(codec):
                    return note
            except FileNotFoundError:
                pass
        shutil.rmtree(folder, ignore_errors=True)
        encode_s = 0.0
        name = label(codec.name, codec.quality)
        for item in progress(self.dataset.items, len(self.dataset.items), f"{name} encode"):
            picture = read_picture(item.path)
            start = time.perf_counter()
            data = codec.encode(picture)
            encode_s += time.perf_counter() - start
            write_bytes(self.stream_path(codec, item), data)
        note = {"settings": settings, "encode_s": encode_s, "threads": threads_of(codec),
                "bytes_total": self.bytes_on_disk(codec)}  # fmt: skip
        write_text(folder / "point.json", json.dumps(note))
        return note

    def predict(self, codec: Any) -> tuple[dict[str, Any], ApEvaluator | None]:
        """Decode the files and run the model over them, unless that was done; figures, and the evaluator of AP."""
        model = self.model.name if self.model else "none"
        folder = self.place("predictions", codec)
        settings = fingerprint(streams=self.stream_settings(codec), model=[model, self.model_hash],
                               samples=self.samples)  # fmt: skip
        precision = ApEvaluator(self.dataset.truth, self.tasks) if self.model else None
        figures = read_note(folder / f"{model}.figures.json", settings)
        if figures is None:
            figures = {"settings": settings, **self._decode_and_predict(codec, precision)}
            if precision is not None:
                write_text(folder / f"{model}.json", json.dumps(precision.results))  # COCO's results format
            write_text(folder / f"{model}.figures.json", json.dumps(figures))
        elif precision is not None:
            precision.restore(list(self.dataset.items), json.loads((folder / f"{model}.json").read_bytes()))
        return figures, precision

    def _decode_and_predict(self, codec: Any, precision: ApEvaluator | None) -> dict[str, Any]:
        fidelity, decode_s, predict_s = FidelityEvaluator(), 0.0, 0.0
        sizes: dict[str, int] = {}
        kept = {item.id for item in self.dataset.spread(self.samples).items} if self.samples else set()
        name, items = label(codec.name, codec.quality), self.dataset.items
        starts = range(0, len(items), self.batch)
        for start_item in progress(starts, len(starts), f"{name} decode, predict"):
            group = items[start_item : start_item + self.batch]
            frames: list[np.ndarray] = []
            for item in group:
                data = self.stream_path(codec, item).read_bytes()
                start = time.perf_counter()
                frames.append(codec.decode(data))
                decode_s += time.perf_counter() - start
                if item.id in kept:
                    sizes[str(item.id)] = len(data)
                    write_picture(self.place("samples", codec) / f"{item.id}.png", frames[-1])
            start = time.perf_counter()
            found = self.model.predict(frames) if self.model else [None] * len(frames)
            predict_s += time.perf_counter() - start
            for item, frame, prediction in zip(group, frames, found, strict=True):
                original = read_picture(item.path)
                fidelity.process(item, original, frame)
                if precision is not None:
                    precision.process(item, original, frame, prediction)
        times = {"decode_s": decode_s, "threads": threads_of(codec), "predict_s": predict_s if self.model else None}
        return {**times, **fidelity.evaluate(), "sample_bytes": sizes}

    def record_settings(self, codec: Any, task: str) -> str:
        """Hash of everything that decides a record: equal hashes, the same point."""
        model = [self.model.name, self.model_hash] if self.model else []
        return fingerprint(streams=self.stream_settings(codec), model=model, task=task, seed=self.seed)

    def measure(self, codec: Any) -> list[Record]:
        """The records of one point, one a task."""
        streams = self.encode(codec)
        figures, precision = self.predict(codec)
        found = precision.evaluate() if precision else {}
        records = []
        for task in self.tasks if self.model else (FIDELITY,):
            ap = found.get(task)
            records.append(Record(
                codec=codec.name, quality=float(codec.quality), dataset=self.dataset.name, task=task,
                model=self.model.name if self.model else "", pictures=len(self.dataset),
                pixels_total=self.pixels_total, bytes_total=streams["bytes_total"],
                rate_bpp=8 * streams["bytes_total"] / self.pixels_total,
                ap=ap.ap if ap else None, ap50=ap.ap50 if ap else None, ap_per_class=ap.per_class if ap else {},
                psnr_db=figures["psnr_db"], ms_ssim=figures["ms_ssim"], encode_s=streams["encode_s"],
                decode_s=figures["decode_s"], predict_s=figures["predict_s"], seed=self.seed,
                encode_threads=streams.get("threads"), decode_threads=figures.get("threads"),
                content=self.content, weights=weights_hash(codec), model_weights=self.model_hash,
                settings=self.record_settings(codec, task), versions=self.versions,
            ))  # fmt: skip
        return records


class Records:
    """records.jsonl and records.csv of a run, written as points finish."""

    def __init__(self, folder: Path, resume: bool) -> None:
        self.jsonl, self.csv = folder / "records.jsonl", folder / "records.csv"
        self.all: list[Record] = []
        if self.jsonl.exists():
            if not resume:
                raise ValueError(f"{folder}: holds records already; add --resume to go on, or choose another -o")
            self.all = read_jsonl(self.jsonl)

    def check(self, content: str, pictures: int) -> None:
        """ValueError where records of other pictures or labels are here: one folder holds curves of one content."""
        others = [record for record in self.all if record.content != content]
        if others:
            old = others[0]
            raise ValueError(f"{self.jsonl}: its records are of other pictures or labels ({old.pictures} pictures, "
                             f"content {old.content or 'unknown'}) than asked for ({pictures} pictures, "
                             f"content {content}); choose another -o")  # fmt: skip

    def settings(self) -> set[str]:
        """The hashes of the points that are done."""
        return {record.settings for record in self.all}

    def add(self, new: list[Record]) -> None:
        """Append a point; one that has the same place in the folder, with other settings, is replaced."""
        names = {_key(record) for record in new}
        kept = [record for record in self.all if _key(record) not in names]
        if len(kept) == len(self.all):
            append_jsonl(self.jsonl, new)
        else:
            write_text(self.jsonl, "".join(to_json(record) + "\n" for record in kept + new))
        self.all = kept + new
        write_text(self.csv, csv_text(self.all))


def _key(record: Record) -> tuple[Any, ...]:
    return record.codec, record.quality, record.task, record.model


def read_note(path: Path, settings: str) -> dict[str, Any] | None:
    """A half's note, if it is there, whole, and of the same settings."""
    try:
        note = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and note.get("settings") == settings else None
