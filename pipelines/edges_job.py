"""The work behind `vcm edges`: one picture to its files, many pictures over workers."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from icm.edges.boundaries import check_options, edge_map
from icm.edges.labels import count_labels
from icm.edges.preview import row as preview_row
from icm.edges.segmenters import Segmenter, build
from pipelines.media import read_picture
from pipelines.run.atomic import write_bytes
from pipelines.run.batch import EXPECTED
from pipelines.run.progress import progress
from pipelines.run.provenance import sha256_file


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What builds the segmenter, here or in a worker."""

    name: str
    checkpoint: str | None = None
    device: str = "auto"
    options: dict[str, str] = dataclasses.field(default_factory=dict)

    def build(self) -> Segmenter:
        return build(self.name, self.checkpoint, self.device, self.options)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How label maps become edge maps; `alphas` is (None,) where masks have no scores."""

    alphas: tuple[float | None, ...] = (None,)
    method: str = "canny"
    canny: tuple[int, int] = (100, 200)
    dilate: int = 1

    def check(self) -> None:
        check_options(self.method, self.canny, self.dilate)

    def as_row(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "canny": list(self.canny) if self.method == "canny" else None,
            "dilate": self.dilate,
        }

    def file(self, name: str, alpha: float | None) -> str:
        """Where picture `name`'s edge map lies below the output folder."""
        path = PurePosixPath(name).with_suffix(".png")
        return str(path if len(self.alphas) == 1 else PurePosixPath(f"alpha-{alpha:g}") / path)


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture. write: its files are wanted; preview: its row of the contact sheet is."""

    name: str
    path: Path
    write: bool
    preview: bool


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What came of one picture: its manifest rows, or why not."""

    job: Job
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    preview: np.ndarray | None = None
    error: Exception | None = None


class OutputError(OSError):
    """The output cannot be written: the fault is not the picture's, so the run ends."""


def draw(job: Job, segmenter: Segmenter, settings: Settings, output: Path) -> Drawn:
    """Segment one picture, draw and write its edge maps. Raises OutputError; other expected errors are returned."""
    try:
        digest = sha256_file(job.path)
        picture = read_picture(job.path)
        maps = segmenter.label_maps(picture, job.name, settings.alphas)
        edges = [edge_map(labels, settings.method, settings.canny, settings.dilate) for labels in maps]
    except EXPECTED as error:
        return Drawn(job, error=error)
    rows = []
    for alpha, labels, drawn in zip(settings.alphas, maps, edges, strict=True):
        data = png(drawn)
        file = settings.file(job.name, alpha)
        if job.write:
            try:
                write_bytes(output / file, data)
            except OSError as error:
                raise OutputError(str(error)) from error
        rows.append(
            {
                "picture": job.name,
                "picture_sha256": digest,
                "edges": file,
                "edges_sha256": hashlib.sha256(data).hexdigest(),
                "alpha": alpha,
                "width": picture.shape[1],
                "height": picture.shape[0],
                "edge_fraction": round(float(drawn.mean()), 6),
                "labels": count_labels(labels),
            }
        )
    return Drawn(job, rows, preview_row(picture, maps, edges) if job.preview else None)


def png(edges: np.ndarray) -> bytes:
    """Edges (H, W) bool as 8-bit grey PNG, 0 and 255: every reader gives the same array of it."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(edges.astype(np.uint8) * 255).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def draw_all(
    jobs: Sequence[Job], segmenter: Segmenter, recipe: Recipe, settings: Settings, output: Path, workers: int
) -> Iterator[Drawn]:
    """`draw` of every job, in their order, here or by `workers` processes; memory does not grow with their number."""
    here = workers == 1 or len(jobs) < 2
    drawn = (
        (draw(job, segmenter, settings, output) for job in jobs)
        if here
        else _pool(jobs, recipe, settings, output, workers)
    )
    yield from progress(drawn, len(jobs), "edges")


def _pool(jobs: Sequence[Job], recipe: Recipe, settings: Settings, output: Path, workers: int) -> Iterator[Drawn]:
    import multiprocessing
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # spawn: a fork of a process that has used torch or OpenCV threads may hang
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (recipe, settings, output))
    waiting: deque[Future[Drawn]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(_draw_here, job))
            if len(waiting) >= 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise OutputError("a worker process died, perhaps for want of memory; run again with fewer --workers") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: tuple[Segmenter, Settings, Path]


def _start(recipe: Recipe, settings: Settings, output: Path) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the whole group; the parent ends the pool
    _worker = (recipe.build(), settings, output)


def _draw_here(job: Job) -> Drawn:
    return draw(job, *_worker)
