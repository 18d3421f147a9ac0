"""One pass over a point's pictures: coded, decoded from the file, looked at by every model, compared; each once.

    original ─encode─▶ file ─read, decode─▶ frame ─▶ every model ─▶ Row: bytes, times, PSNR, MS-SSIM, what was found
    └──────────────── a thread ───────────────┘     └─ a thread ┘   └────────────── the caller ─────────────────┘

So the next pictures are coded and decoded while a model looks at these (torch and the codecs let Python go on), and
the memory needed does not depend on the number of pictures. A unit of a pass can run anywhere that sees its files:
`worker` builds what does it, for `pipelines.run.engines.spread`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from eval.datasets import Item, frames
from eval.metrics import ms_ssim, psnr_db
from pipelines.codecs import is_anchor
from pipelines.kept import Kept, keep
from pipelines.media import write_picture
from pipelines.run.atomic import write_bytes
from pipelines.run.batch import EXPECTED, one_line, telling_memory
from pipelines.run.engines import ahead

T = TypeVar("T")
_END: Any = object()


@dataclass(frozen=True)
class Coded:
    """One stream: its file and the pictures in it. rate: frames a second of a clip; None: it is one picture."""

    key: str  # the picture's id, or the sequence's name
    path: Path
    items: tuple[Item, ...]
    rate: Fraction | None = None


@dataclass(frozen=True)
class Unit:
    """What a worker does at once. models: places in the job's list; fidelity: PSNR, MS-SSIM and samples are wanted."""

    codec: tuple[str, float, str | None]  # name, quality, weights
    streams: tuple[Coded, ...]
    encode: bool
    fidelity: bool
    models: tuple[int, ...]


@dataclass(frozen=True)
class Job:
    """What all units share. samples: ids of the pictures whose decoded frames are kept as PNG below `folder`."""

    folder: Path
    models: tuple[tuple[str, str | None, tuple[str, ...]], ...] = ()  # specification, weights, tasks
    batch: int = 1
    overlap: bool = True
    samples: frozenset[int] = frozenset()
    threads: int = 0  # of torch in a worker; 0: as it is


@dataclass(frozen=True)
class Row:
    """What a pass tells of one picture. stream_bytes, encode_s: of the stream, with its first picture; else 0."""

    item: Item
    key: str
    stream_bytes: int
    encode_s: float
    decode_s: float
    threads: int  # that the codec may have used
    psnr_db: float | None
    ms_ssim: float | None
    predict_s: tuple[float, ...]  # one a model, as `found`
    found: tuple[Kept, ...]


@dataclass
class _Frame:
    item: Item
    original: np.ndarray | None
    frame: np.ndarray
    stream: Coded
    stream_bytes: int = 0
    encode_s: float = 0.0
    decode_s: float = 0.0
    last: bool = False  # of its clip


def worker(job: Job) -> Callable[[Unit], list[Row] | Exception]:
    """What does units in another process: their rows, or why there are none."""
    if job.threads:
        import torch

        torch.set_num_threads(job.threads)
    from eval.models import build

    models = [ask(build(spec, weights=weights), tasks) for spec, weights, tasks in job.models]

    def work(unit: Unit) -> list[Row] | Exception:
        from pipelines.codecs import build as build_codec

        name, quality, weights = unit.codec
        try:
            return list(run(unit, build_codec(name, quality, weights=weights), models, job))
        except EXPECTED as error:
            return ValueError(one_line(error))  # of no class that another process might not have

    return work


def ask(model: Any, tasks: tuple[str, ...]) -> Any:
    """The model, told what is wanted of it where it can save itself the rest."""
    if hasattr(model, "wanted"):
        needed = {*tasks, *(["detection"] if "tracking" in tasks else [])}  # tracks are linked detections
        model.wanted = tuple(task for task in model.tasks if task in needed)
    return model


def run(unit: Unit, codec: Any, models: list[Any], job: Job) -> Iterator[Row]:
    """The rows of a unit, in the order of its pictures; raises what the codec, the files or a model raise."""
    chosen = [models[place] for place in unit.models]

    def look(batch: list[_Frame]) -> tuple[list[_Frame], list[tuple[float, list[dict[str, Any]]]]]:
        found = []
        for model in chosen:
            start = time.perf_counter()
            with telling_memory():
                predictions = model.predict([each.frame for each in batch])
            found.append((time.perf_counter() - start, predictions))
        return batch, found

    decoded: Iterator[_Frame] = _decoded(unit, codec)
    if job.overlap:
        decoded = prefetch(decoded, 2 * job.batch)
    batches = _batches(decoded, job.batch)
    threads = threads_of(codec)
    place = job.folder / "samples" / codec.name / f"{codec.quality:g}"
    for batch, found in ahead(batches, look, 1) if job.overlap and chosen else map(look, batches):
        for i, each in enumerate(batch):
            if unit.fidelity and each.item.id in job.samples:
                write_picture(place / f"{each.item.id}.png", each.frame)
            psnr, similarity = _fidelity(each) if unit.fidelity else (None, None)
            yield Row(each.item, each.stream.key, each.stream_bytes, each.encode_s, each.decode_s, threads, psnr,
                      similarity, tuple(seconds / len(batch) for seconds, _ in found),
                      tuple(keep(each.item.id, predictions[i]) for _, predictions in found))  # fmt: skip


def prefetch(source: Iterator[T], depth: int) -> Iterator[T]:
    """The same values, up to `depth` of them made ahead by a thread."""
    for value in ahead(itertools.repeat(None), lambda _: next(source, _END), depth):
        if value is _END:
            return
        yield value


def _batches(decoded: Iterable[_Frame], size: int) -> Iterator[list[_Frame]]:
    batch: list[_Frame] = []
    for each in decoded:
        batch.append(each)
        if len(batch) == size or each.last:
            yield batch
            batch = []
    if batch:
        yield batch


def _decoded(unit: Unit, codec: Any) -> Iterator[_Frame]:
    originals = stills(unit.streams)
    for stream in unit.streams:
        if stream.rate is None:
            original = next(originals) if unit.encode or unit.fidelity else None
            encode_s = encode(codec, stream, original) if unit.encode else 0.0
            yield from _decoded_picture(stream, codec, original, encode_s)
        else:
            encode_s = encode(codec, stream) if unit.encode else 0.0
            yield from _decoded_clip(stream, codec, unit.fidelity, encode_s)


def stills(streams: Iterable[Coded]) -> Iterator[np.ndarray]:
    """The original of each stream of one picture, read when asked for. Of a clip, no frame is decoded twice."""
    return frames(stream.items[0] for stream in streams if stream.rate is None)


def encode(codec: Any, stream: Coded, original: np.ndarray | None = None) -> float:
    """Write one stream (`original`: of one picture); the seconds that the codec took, without reading and writing."""
    reading = 0.0

    def timed() -> Iterator[np.ndarray]:
        nonlocal reading
        source = frames(stream.items)
        while True:
            begin = time.perf_counter()
            frame = next(source, None)
            reading += time.perf_counter() - begin
            if frame is None:
                return
            yield frame

    start = time.perf_counter()
    data = codec.encode(original) if stream.rate is None else encode_clip(codec, timed(), stream.rate)
    encode_s = time.perf_counter() - start - reading
    write_bytes(stream.path, data)
    return encode_s


def encode_clip(codec: Any, pictures: Iterator[np.ndarray], rate: Fraction) -> bytes:
    """A clip's bytes; a tick a frame for ours."""
    if is_anchor(codec.name):
        return codec.encode_clip(pictures, rate)
    return codec.encode_clip(((picture, tick) for tick, picture in enumerate(pictures)), 1 / rate)


def decode_clip(codec: Any, data: bytes, count: int) -> Iterator[np.ndarray]:
    """The frames of a clip's bytes, in order."""
    if is_anchor(codec.name):
        return iter(codec.decode_clip(data))
    return (frame for frame, _ in codec.decode_clip(data, 0, count))


def _decoded_picture(stream: Coded, codec: Any, original: np.ndarray | None, encode_s: float) -> Iterator[_Frame]:
    data = stream.path.read_bytes()
    start = time.perf_counter()
    frame = codec.decode(data)
    decode_s = time.perf_counter() - start
    yield _Frame(stream.items[0], original, frame, stream, len(data), encode_s, decode_s)


def _decoded_clip(stream: Coded, codec: Any, compare: bool, encode_s: float) -> Iterator[_Frame]:
    data = stream.path.read_bytes()
    originals: Iterator[Any] = frames(stream.items) if compare else itertools.repeat(None)
    source = decode_clip(codec, data, len(stream.items))
    size = len(data)
    for number, (item, original) in enumerate(zip(stream.items, originals)):  # noqa: B905  the second may be endless
        start = time.perf_counter()
        frame = next(source, None)
        decode_s = time.perf_counter() - start
        if frame is None:
            raise ValueError(f"{stream.path}: decodes to {number} frames, not {len(stream.items)}")
        yield _Frame(item, original, frame, stream, size, encode_s, decode_s, number == len(stream.items) - 1)
        size, encode_s = 0, 0.0
    if next(source, None) is not None:
        raise ValueError(f"{stream.path}: decodes to more than {len(stream.items)} frames")


def _fidelity(each: _Frame) -> tuple[float, float]:
    original, frame = each.original, each.frame
    assert original is not None
    if original.shape != frame.shape:
        raise ValueError(f"{each.item.file_name}: decoded as {frame.shape[1]}x{frame.shape[0]}, "
                         f"was {original.shape[1]}x{original.shape[0]}")  # fmt: skip
    return psnr_db(original, frame), ms_ssim(original, frame)


def threads_of(codec: Any) -> int:
    """How many threads the codec may use: what an anchor says of itself, torch's for ours."""
    if hasattr(codec, "threads"):
        return int(codec.threads)
    import torch

    return torch.get_num_threads()
