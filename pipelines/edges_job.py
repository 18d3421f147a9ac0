"""The work behind `vcm edges`: a batch of pictures to their files, many batches over workers.

    Job ─load─▶ Loaded ─segment the batch─▶ label maps ─edges, PNG─▶ file and manifest row (Drawn)

Batches are cut from the sorted list of all pictures, so that a batch is the same in every run, and is drawn whole.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from icm.edges.boundaries import check_options, edge_map
from icm.edges.labels import count_labels
from icm.edges.preview import row as preview_row
from icm.edges.segmenters import Found, Segmenter, build
from pipelines.media import read_picture
from pipelines.run.atomic import write_bytes
from pipelines.run.batch import EXPECTED
from pipelines.run.engines import ahead, number, spread
from pipelines.run.progress import progress
from pipelines.run.provenance import sha256_file


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What builds the segmenter, here or in a worker."""

    name: str
    checkpoint: str | None = None
    device: str = "auto"
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    keep_masks: Path | None = None

    def build(self, worker: int | None = None) -> Segmenter:
        """worker: its number, where there are several; each has a GPU of its own as long as there are enough."""
        segmenter = build(self.name, self.checkpoint, device_of(self.device, worker), self.options)
        if self.keep_masks is None:
            return segmenter
        from icm.edges.segmenters.kept import Kept
        from icm.edges.segmenters.sam import Sam

        if not isinstance(segmenter, Sam):
            raise ValueError(f"--keep-masks {self.keep_masks}: {self.name} has no masks to keep; it is for sam:ARCH")
        return Kept(segmenter, self.keep_masks)


def device_of(device: str, worker: int | None, gpus: int | None = None) -> str:
    """`device` for a worker: `auto` and `cuda` mean its share of this machine's GPUs, the rest is taken as it is.

    gpus: how many there are (asked of torch when absent).
    """
    if worker is None or device not in ("auto", "cuda"):
        return device
    if gpus is None:
        import torch

        gpus = torch.cuda.device_count()
    return f"cuda:{worker % gpus}" if gpus else device


@dataclasses.dataclass(frozen=True)
class Settings:
    """How label maps become edge maps; `alphas` is (None,) where masks have no scores. batch: pictures at a time.

    reuse: of a clip, by how many levels blocks may differ in a frame that counts as still; None: none does.
    """

    alphas: tuple[float | None, ...] = (None,)
    method: str = "canny"
    canny: tuple[int, int] = (100, 200)
    dilate: int = 1
    batch: int = 1
    reuse: float | None = None

    def check(self) -> None:
        check_options(self.method, self.canny, self.dilate)
        if self.batch < 1:
            raise ValueError(f"--batch {self.batch}: give at least 1")
        if self.reuse is not None and not 0 <= self.reuse < 255:
            raise ValueError(f"--reuse {self.reuse:g}: give a number of levels, 0 to 255")

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

    def batches(self, names: Sequence[str]) -> list[list[str]]:
        """`names`, sorted, cut into batches."""
        ordered = sorted(names)
        return [ordered[start : start + self.batch] for start in range(0, len(ordered), self.batch)]


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture. write: its files are wanted; preview: its row of the contact sheet is."""

    name: str
    path: Path
    write: bool
    preview: bool


Batch = Sequence[Job]


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A picture (H, W, 3) with the SHA-256 of its source, or why there is none."""

    job: Job
    digest: str = ""
    picture: np.ndarray | None = None
    error: Exception | None = None


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What came of one picture: its manifest rows, or why not."""

    job: Job
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    preview: np.ndarray | None = None
    error: Exception | None = None


class OutputError(OSError):
    """The output cannot be written: the fault is not the picture's, so the run ends."""


def load(job: Job) -> Loaded:
    """Read one picture; expected errors are returned."""
    try:
        return Loaded(job, sha256_file(job.path), read_picture(job.path))
    except EXPECTED as error:
        return Loaded(job, error=error)


def draw_batch(batch: Sequence[Loaded], segmenter: Segmenter, settings: Settings, output: Path) -> list[Drawn]:
    """Segment the pictures together, draw and write their edge maps; expected errors of a picture are returned.

    Raises OutputError.
    """
    good = [item for item in batch if item.picture is not None]
    pictures = [item.picture for item in good if item.picture is not None]
    found: list[list[Found] | Exception]
    try:
        found = segmenter.find(pictures, [item.job.name for item in good], settings.alphas) if good else []
    except EXPECTED as error:
        found = [error] * len(good)
    answers = iter(found)
    return [
        Drawn(item.job, error=item.error) if item.picture is None else draw(item, next(answers), settings, output)
        for item in batch
    ]


def draw(item: Loaded, found: list[Found] | Exception, settings: Settings, output: Path) -> Drawn:
    """Draw and write the edge maps of one picture. Raises OutputError; other expected errors are returned."""
    job, picture = item.job, item.picture
    assert picture is not None
    if isinstance(found, Exception):
        return Drawn(job, error=found)
    try:
        edges = [edge_map(labels, settings.method, settings.canny, settings.dilate) for labels, _ in found]
    except EXPECTED as error:
        return Drawn(job, error=error)
    rows = []
    for alpha, (labels, masks), drawn in zip(settings.alphas, found, edges, strict=True):
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
                "picture_sha256": item.digest,
                "edges": file,
                "edges_sha256": hashlib.sha256(data).hexdigest(),
                "alpha": alpha,
                "width": picture.shape[1],
                "height": picture.shape[0],
                "edge_fraction": round(float(drawn.mean()), 6),
                "masks": masks,
                "labels": count_labels(labels),
            }
        )
    return Drawn(job, rows, preview_row(picture, [labels for labels, _ in found], edges) if job.preview else None)


def png(edges: np.ndarray) -> bytes:
    """Edges (H, W) bool as 8-bit grey PNG, 0 and 255: every reader gives the same array of it."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(edges.astype(np.uint8) * 255).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def draw_all(
    batches: Sequence[Batch],
    segmenter: Segmenter,
    recipe: Recipe,
    settings: Settings,
    output: Path,
    workers: int = 1,
    engine: str = "local",
) -> Iterator[list[Drawn]]:
    """`draw_batch` of every batch, in their order, here or by `workers`; memory does not grow with their number."""
    if engine == "local" and (workers == 1 or len(batches) < 2):
        loaded = ahead(batches, load_batch)  # the next pictures are read while these are segmented
        drawn: Iterator[list[Drawn]] = (draw_batch(batch, segmenter, settings, output) for batch in loaded)
    else:
        drawn = spread(batches, functools.partial(worker, recipe, settings, output), engine, workers)
    yield from progress(drawn, len(batches), "edges" if settings.batch == 1 else f"edges, batches of {settings.batch}")


def load_batch(batch: Batch) -> list[Loaded]:
    return [load(job) for job in batch]


def worker(recipe: Recipe, settings: Settings, output: Path) -> Callable[[Batch], list[Drawn]]:
    """What a worker of any engine does with a batch."""
    segmenter = recipe.build(number())
    return lambda batch: draw_batch(load_batch(batch), segmenter, settings, output)
