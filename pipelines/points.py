"""One point of a curve: a codec at a quality over a data set, by way of files.

    pictures ─encode─▶ RUN/streams/CODEC/QUALITY/* ─decode─▶ frames ─models─▶ RUN/predictions/CODEC/QUALITY/*.json
                              │ bytes on disk           └─▶ PSNR, MS-SSIM        └─▶ Scores of every task, *.npz
                              └─────────────────────────▶ records ◀────────────────────┘

`plan` says what of a point is missing, `finish` takes the rows of the pass (pipelines/passes.py) that does it. Streams,
fidelity and the predictions of each model have a note of their own: a second task costs no decoding, a second model no
encoding, and a resumed run does only what is missing.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from eval.datasets import Dataset, Item
from pipelines import kept
from pipelines.cache import Cache
from pipelines.codecs import label, weights_hash
from pipelines.notes import fingerprint, read_note, write_note
from pipelines.passes import Coded, Row, Unit, encode, stills, threads_of
from pipelines.run.progress import progress
from pipelines.tested import Tested, hash_of

__all__ = ["Bench", "Plan", "Tested", "fingerprint"]
RATE = Fraction(25)  # of sequences that do not say theirs
LOOKING = ("torch", "torchvision", "detectron2", "onnxruntime", "ultralytics")  # libraries that models come from
SHARD = 32  # pictures a worker does at once, about
CEILING = "uncompressed"


def identity(codec: Any) -> str:
    """What else decides a codec's streams: the command line of an external encoder."""
    return str(getattr(codec, "identity", "") or getattr(codec, "command", "") or "")


def _with_tasks(settings: str, tested: Tested) -> str:
    """The name in the cache of what a model finds when it is asked for its tasks."""
    return fingerprint(look=settings, tasks=sorted(set(tested.gives)))


@dataclass(frozen=True)
class Plan:
    """What is missing of a point. models: places in the bench's list."""

    codec: Any
    encode: bool
    fidelity: bool
    models: tuple[int, ...] = ()

    @property
    def idle(self) -> bool:
        """Nothing is to be coded or looked at: at most figures are to be computed."""
        return not (self.encode or self.fidelity or self.models)


@dataclass
class Bench:
    """A run's folder, data set and task models; `content` is the hash that `readable` gives."""

    folder: Path
    dataset: Dataset
    content: str
    tested: tuple[Tested, ...] = ()
    seed: int = 0
    samples: int = 2  # decoded pictures kept for the report
    overlapped: bool = True  # whether times are taken while other work runs beside
    pseudo: float | None = None  # the score from which a model's own predictions are its labels
    versions: dict[str, str] = field(default_factory=dict)
    cache: Cache = field(default_factory=Cache)
    _settings: dict[str, str] = field(default_factory=dict)  # codec and quality -> hash of what decides the streams

    # --- places -----------------------------------------------------------------------------------------------------
    def place(self, kind: str, codec: Any) -> Path:
        """RUN/kind/CODEC/QUALITY."""
        return self.folder / kind / codec.name / f"{codec.quality:g}"

    def streams(self, codec: Any, items: Iterable[Item] | None = None) -> tuple[Coded, ...]:
        """The streams of these pictures (all, when not told) in order: one a sequence where the codec has clips."""
        chosen = self.dataset.items if items is None else tuple(items)
        if not hasattr(codec, "encode_clip"):
            return tuple(Coded(str(item.id), self._path(codec, item.file_name), (item,)) for item in chosen)
        grouped: dict[str, list[Item]] = {}
        for item in chosen:
            grouped.setdefault(item.sequence or f"\0{item.id}", []).append(item)
        return tuple(
            Coded(str(group[0].id), self._path(codec, group[0].file_name), tuple(group)) if name.startswith("\0") else
            Coded(name, self.place("streams", codec) / (name + codec.suffix), tuple(group),
                  Fraction(self.dataset.rate.get(name, RATE)))
            for name, group in grouped.items()
        )  # fmt: skip

    def _path(self, codec: Any, file_name: str) -> Path:
        """Where the stream of a picture lies; the picture's own suffix stays where two differ by it alone."""
        name = Path(file_name)
        if self._stems[str(name.with_suffix(""))] == 1:
            name = name.with_suffix("")
        return self.place("streams", codec) / (str(name) + codec.suffix)

    @cached_property
    def _stems(self) -> Counter[str]:
        return Counter(str(Path(item.file_name).with_suffix("")) for item in self.dataset.items)

    @cached_property
    def sampled(self) -> frozenset[int]:
        """Ids of the pictures that the report shows."""
        return frozenset(item.id for item in self.dataset.spread(self.samples).items) if self.samples else frozenset()

    # --- what decides what ------------------------------------------------------------------------------------------
    def stream_settings(self, codec: Any) -> str:
        """Hash of what decides the streams."""
        name = label(codec.name, codec.quality)
        if name not in self._settings:  # weights and programs are large
            self._settings[name] = self._stream_settings(codec)
        return self._settings[name]

    def _stream_settings(self, codec: Any) -> str:
        libraries = {name: self.versions.get(name) for name in ("av", "pillow", "torch", "compressai", "constriction")}
        return fingerprint(content=self.content, codec=label(codec.name, codec.quality),
                           identity=identity(codec), weights=weights_hash(codec),
                           libraries=libraries)  # fmt: skip

    def look_settings(self, codec: Any, tested: Tested | None) -> str:
        """Hash of what decides what a model finds in the decoded pictures; None: their fidelity and samples."""
        if tested is None:
            return fingerprint(streams=self.stream_settings(codec), samples=self.samples)
        libraries = {name: self.versions.get(name) for name in LOOKING}
        return fingerprint(streams=self.stream_settings(codec), model=[tested.name, tested.hash], libraries=libraries)

    def record_settings(self, codec: Any, task: str, tested: Tested | None) -> str:
        """Hash of everything that decides a record: equal hashes, the same point."""
        model = [tested.name, tested.hash, tested.protocol, self.pseudo] if tested else []
        return fingerprint(streams=self.stream_settings(codec), model=model, task=task, seed=self.seed)

    # --- what is there ----------------------------------------------------------------------------------------------
    def stream_note(self, codec: Any) -> dict[str, Any] | None:
        """What was noted of the streams, where all of them lie there with the bytes noted."""
        folder, settings = self.place("streams", codec), self.stream_settings(codec)
        note = read_note(folder / "point.json", settings)
        if note is None and self.cache.has("streams", settings):
            shutil.rmtree(folder, ignore_errors=True)  # what lies there is of other settings
            self.cache.fetch("streams", settings, folder)
            note = read_note(folder / "point.json", settings)
        try:
            there = note is not None and all(
                stream.path.stat().st_size == note["bytes"][stream.key] for stream in self.streams(codec)
            )
        except (OSError, KeyError):
            return None
        return note if there else None

    def look_note(self, codec: Any, tested: Tested | None) -> dict[str, Any] | None:
        """What was noted when a model (None: the measures of fidelity) looked at the decoded pictures for its tasks."""
        name, settings = kept.file_name(tested.name) if tested else "none", self.look_settings(codec, tested)
        folder = self.place("predictions", codec)
        note = read_note(folder / f"{name}.figures.json", settings)
        if tested is None:
            return note
        if note is not None and set(tested.tasks) <= set(note["tasks"]):
            return note  # else the model was not asked for all of them then
        if not self.cache.fetch("predictions", _with_tasks(settings, tested), folder):
            return None
        return read_note(folder / f"{name}.figures.json", settings)

    def plan(self, codec: Any, wanted: Iterable[Tested] = ()) -> Plan:
        """What is to be done so that the point's streams, fidelity and the wanted models' predictions are there."""
        names = {tested.name for tested in wanted}
        encode = self.stream_note(codec) is None
        fidelity = encode or self.look_note(codec, None) is None
        again = encode and codec.name != CEILING  # what is found in the pictures as they are stays true
        models = tuple(i for i, tested in enumerate(self.tested) if tested.name in names
                       and (again or self.look_note(codec, tested) is None))  # fmt: skip
        if encode:
            shutil.rmtree(self.place("streams", codec), ignore_errors=True)
        return Plan(codec, encode, fidelity, models)

    def units(self, plan: Plan, weights: str | None = None, batch: int = 1, whole: bool = False) -> list[Unit]:
        """The pass in parts that workers can do, whole clips and whole batches each; or in one."""
        if plan.idle:
            return []
        streams = self.streams(plan.codec)
        size = len(streams) if whole else -(-SHARD // batch) * batch
        if not whole and any(stream.rate is not None for stream in streams):
            size = 1
        codec = (plan.codec.name, plan.codec.quality, weights)
        return [Unit(codec, streams[i : i + size], plan.encode, plan.fidelity, plan.models)
                for i in range(0, len(streams), size)]  # fmt: skip

    # --- doing it ---------------------------------------------------------------------------------------------------
    def encode(self, codec: Any) -> dict[str, Any]:
        """Write every stream, unless they are there; their note."""
        note = self.stream_note(codec)
        if note is not None:
            return note
        shutil.rmtree(self.place("streams", codec), ignore_errors=True)
        streams = self.streams(codec)
        originals, encode_s = stills(streams), 0.0
        for stream in progress(streams, len(streams), f"{label(codec.name, codec.quality)} encode"):
            encode_s += encode(codec, stream, next(originals) if stream.rate is None else None)
        sizes = {stream.key: stream.path.stat().st_size for stream in streams}
        return self._note_streams(codec, streams, sizes, encode_s, threads_of(codec), False)

    def _note_streams(
        self, codec: Any, streams: Iterable[Coded], sizes: dict[str, int], encode_s: float, threads: int, overlap: bool
    ) -> dict[str, Any]:
        pixels = {stream.key: sum(item.width * item.height for item in stream.items) for stream in streams}
        clips = {stream.key: [item.id for item in stream.items] for stream in streams if stream.rate is not None}
        settings = self.stream_settings(codec)
        note = write_note(
            self.place("streams", codec) / "point.json", settings, encode_s=encode_s, threads=threads,
            overlapped=overlap, bytes_total=sum(sizes.values()), bytes=sizes, pixels=pixels, command=identity(codec),
            **({"sequences": clips} if clips else {}),
        )  # fmt: skip
        if codec.name != CEILING:  # large, and as quickly written as copied
            self.cache.store("streams", settings, self.place("streams", codec))
        return note

    def finish(self, plan: Plan, rows: Iterable[Row], watchers: dict[str, list[Any]] | None = None) -> None:
        """Write down what a pass tells. watchers: model name -> evaluators, which are given its predictions at once."""
        codec, watchers = plan.codec, watchers or {}
        looking = [self.tested[i] for i in plan.models]
        folder, sizes, measured = self.place("predictions", codec), dict[str, int](), list[Row]()
        encode_s, predict_s = 0.0, [0.0] * len(looking)
        for tested in looking:  # killed on the way, it has looked at nothing
            (folder / f"{kept.file_name(tested.name)}.figures.json").unlink(missing_ok=True)
        with ExitStack() as stack:
            writers = [stack.enter_context(kept.Writer(folder, tested.name)) for tested in looking]
            for row in rows:
                if row.stream_bytes:
                    sizes[row.key], encode_s = row.stream_bytes, encode_s + row.encode_s
                for i, found in enumerate(row.found):
                    predict_s[i] += row.predict_s[i]
                    writers[i].add(row.item, found)
                    evaluators = watchers.get(looking[i].name, ())
                    prediction = found.prediction() if evaluators else {}
                    for evaluator in evaluators:
                        evaluator.process(row.item, None, None, prediction)
                measured.append(_light(row))
        if plan.encode:
            self._note_streams(codec, self.streams(codec), sizes, encode_s, measured[0].threads, self.overlapped)
        if plan.fidelity:
            self._note_fidelity(codec, measured, sizes)
        for tested, seconds in zip(looking, predict_s, strict=True):
            settings, name = self.look_settings(codec, tested), kept.file_name(tested.name)
            write_note(folder / f"{name}.figures.json", settings, tasks=tested.gives, predict_s=seconds,
                       overlapped=self.overlapped, weights=hash_of(tested))  # fmt: skip
            self.cache.store("predictions", _with_tasks(settings, tested), folder, f"{name}.*")

    def _note_fidelity(self, codec: Any, rows: list[Row], sizes: dict[str, int]) -> None:
        from eval.metrics.fidelity import FidelityScores

        folder = self.place("predictions", codec)
        folder.mkdir(parents=True, exist_ok=True)
        scores = FidelityScores([row.item.id for row in rows], [row.psnr_db or 0.0 for row in rows],
                                [row.ms_ssim or 0.0 for row in rows])  # fmt: skip
        scores.save(folder / "none.fidelity.npz")
        write_note(
            folder / "none.figures.json", self.look_settings(codec, None),
            decode_s=sum(row.decode_s for row in rows), threads=rows[0].threads, overlapped=self.overlapped,
            sample_bytes={str(i): sizes[str(i)] for i in sorted(self.sampled) if str(i) in sizes}, **scores.figures(),
        )  # fmt: skip


def _light(row: Row) -> Row:
    """The row without what was found, of which there may be much."""
    return Row(row.item, row.key, row.stream_bytes, row.encode_s, row.decode_s, row.threads, row.psnr_db, row.ms_ssim,
               row.predict_s, ())  # fmt: skip
