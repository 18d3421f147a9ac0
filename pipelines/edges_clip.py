"""`vcm edges CLIP`: an edge map a frame, OUT/000000.png and so on, for networks that learn a clip.

Frames are read in order, once, by this process alone. With `reuse`, a frame in which nothing moved since the last one
that was segmented takes its edge map: block for block (8x8 pixels), the mean colour may differ by so many levels of
255. Means, because a camera's noise is in every pixel; blocks, because a person far away is a few of them. What is
compared does not depend on what was drawn before, so a killed run goes on as if it had not been.

Manifest rows are those of pictures, with `frame`, `time_s` and `reused_from` (a frame, or null).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from icm.edges.segmenters import Segmenter
from pipelines.clips import CLIPS, probe_clip, read_clip
from pipelines.edges_book import Book, Row
from pipelines.edges_job import Job, Loaded, OutputError, Settings, draw_batch
from pipelines.run.atomic import write_bytes
from pipelines.run.batch import EXPECTED, Refusals
from pipelines.run.progress import progress

BLOCK = 8


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame. key: the frame whose edge map it takes, itself where it is segmented; picture: of key frames only."""

    number: int
    time_s: float
    digest: str
    key: int
    picture: np.ndarray | None

    @property
    def name(self) -> str:
        return name_of(self.number)


def is_clip(path: Path) -> bool:
    return path.suffix.lower() in CLIPS and path.is_file()


def name_of(number: int) -> str:
    return f"{number:06d}"


def moved(block_means: np.ndarray, before: np.ndarray, levels: float) -> bool:
    """Whether any block's mean colour, each (h, w, 3) float32, differs by more than `levels`."""
    return float(np.abs(block_means - before).max()) > levels


def block_means(picture: np.ndarray) -> np.ndarray:
    """(ceil(H/8), ceil(W/8), 3) float32: means of blocks of (H, W, 3) uint8, those at the right and below repeated."""
    padded = np.pad(picture, ((0, -picture.shape[0] % BLOCK), (0, -picture.shape[1] % BLOCK), (0, 0)), mode="edge")
    h, w = padded.shape[0] // BLOCK, padded.shape[1] // BLOCK
    return padded.reshape(h, BLOCK, w, BLOCK, 3).mean(axis=(1, 3), dtype=np.float32)


def frames(clip: Path, reuse: float | None) -> Iterator[Frame]:
    """The clip's frames, each with the frame whose edge map it takes. Raises as `read_clip`."""
    key, means = 0, None
    for number, (picture, time) in enumerate(read_clip(clip)):
        now = block_means(picture) if reuse is not None else None
        still = reuse is not None and now is not None and means is not None and not moved(now, means, reuse)
        if not still:
            key, means = number, now
        digest = hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()
        yield Frame(number, round(float(time), 6), digest, key, None if still else picture)


def groups(clip: Path, reuse: float | None, batch: int) -> Iterator[list[Frame]]:
    """Frames in order, cut so that each group has `batch` frames to segment (the last fewer), or is one that takes
    its edge map from an earlier group."""
    group: list[Frame] = []
    for frame in frames(clip, reuse):
        group.append(frame)
        keys = sum(one.picture is not None for one in group)
        if keys in (0, batch):
            yield group
            group = []
    if group:
        yield group


def draw_clip(
    clip: Path, segmenter: Segmenter, settings: Settings, book: Book, refusals: Refusals, preview: int
) -> tuple[int, int, dict[str, Any]]:
    """Draw what is missing. Returns how many frames were drawn, how many there are, and the rows of the contact sheet.

    A clip that breaks off is refused, its frames until there kept. Raises OutputError, and as `read_clip` at frame 0.
    """
    declared = probe_clip(clip).frames
    shown = {(2 * i + 1) * (declared or preview) // (2 * preview) for i in range(preview)}
    sheet: dict[str, Any] = {}
    drawn = total = 0
    try:
        for group in progress(groups(clip, settings.reuse, settings.batch), None, "edges, frames"):
            total += len(group)
            wanted = {frame.number for frame in group if not book.done(frame.name, frame.digest)}
            show = {frame.number for frame in group if frame.picture is not None and frame.number in shown}
            if wanted or show:
                drawn += _draw_group(group, bool(wanted), show, segmenter, settings, book, refusals, sheet)
        for number in range(total, total + len(book)):
            book.forget(name_of(number))  # of a longer clip that was here before
    except EXPECTED as error:
        if isinstance(error, OutputError) or not total:
            raise
        refusals.add(clip, error)
    return drawn, total, sheet


def _draw_group(
    group: list[Frame], write: bool, show: set[int], segmenter: Segmenter, settings: Settings, book: Book,
    refusals: Refusals, sheet: dict[str, Any],
) -> int:  # fmt: skip
    """Segment the group's key frames together, write every frame's edge maps; how many were written."""
    keys = [
        Loaded(Job(frame.name, Path(frame.name), write, frame.number in show), frame.digest, frame.picture)
        for frame in group
        if frame.picture is not None
    ]
    rows: dict[str, list[Row]] = {}
    for one in draw_batch(keys, segmenter, settings, book.output):
        if one.error is not None:
            refusals.add(one.job.name, one.error)
            book.forget(one.job.name)
            continue
        rows[one.job.name] = one.rows
        if one.preview is not None:
            sheet[one.job.name] = one.preview
    if not write:
        return 0
    complete = []
    for frame in group:
        source = rows.get(name_of(frame.key)) or book.rows(name_of(frame.key))
        if not source:  # its key frame was refused
            refusals.add(frame.name, f"takes its edge map from frame {frame.key}, which was refused")
            book.forget(frame.name)
            continue
        if frame.key != frame.number:
            source = [_copied(row, frame, settings, book.output) for row in source]
        more = {"frame": frame.number, "time_s": frame.time_s}
        reused = {"reused_from": frame.key if frame.key != frame.number else None}
        complete.append([{**row, **more, **reused} for row in source])
    book.add(complete)
    return len(complete)


def _copied(row: Row, frame: Frame, settings: Settings, output: Path) -> Row:
    """The row of a frame that takes the edge map of `row`'s; its file is written."""
    file = settings.file(frame.name, row["alpha"])
    try:
        write_bytes(output / file, (output / row["edges"]).read_bytes())
    except OSError as error:
        raise OutputError(str(error)) from error
    return {**row, "picture": frame.name, "picture_sha256": frame.digest, "edges": file}
