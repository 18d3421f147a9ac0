"""The work behind `vcm edges`: one picture to its files, many pictures over workers, and the book of what is done."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from icm.edges.boundaries import check_options, edge_map
from icm.edges.labels import count_labels
from icm.edges.preview import row as preview_row
from icm.edges.segmenters import Segmenter, build
from pipelines.media import read_picture
from pipelines.run import manifest
from pipelines.run.atomic import write_bytes, write_text
from pipelines.run.batch import EXPECTED, Refusals
from pipelines.run.progress import progress
from pipelines.run.provenance import provenance, sha256_file


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


class Book:
    """What is done in an output folder: run.json, manifest.jsonl, and the journal of a run that did not end.

    settings: everything that decides an edge map besides its picture; a folder holds edge maps of one kind.
    """

    def __init__(self, output: Path, segmenter: dict[str, Any], settings: Settings) -> None:
        self.output, self.how = output, settings
        self.common = {
            "segmenter": segmenter["segmenter"],
            "checkpoint_sha256": segmenter.get("checkpoint_sha256"),
            **({"offline_fallback": True} if segmenter.get("offline_fallback") else {}),
            **settings.as_row(),
        }
        self.settings = json.loads(json.dumps({**segmenter, **settings.as_row(), "alphas": settings.alphas}))
        self.rows: dict[str, list[dict[str, Any]]] = {}  # picture -> a row for each alpha
        self.journal = output / ".journal.jsonl"
        self._file: IO[str] | None = None

    def load(self) -> None:
        """Read what is there. Raises ValueError if the folder holds other things, or edge maps of other settings."""
        self.rows = {}
        record = self.output / "run.json"
        if not record.exists():
            if self.output.is_dir() and any(not path.name.startswith(".") for path in self.output.iterdir()):
                raise ValueError(f"{self.output}: holds files but no run.json; choose an empty folder for -o")
            return
        try:
            before = json.loads(record.read_text(encoding="utf-8"))["settings"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{record}: damaged; remove {self.output} or choose another -o") from None
        if before != self.settings:
            changed = [
                f"{key} {before.get(key)} there, {self.settings.get(key)} now"
                for key in {**before, **self.settings}
                if before.get(key) != self.settings.get(key)
            ]
            what = "; ".join(changed)
            raise ValueError(f"{self.output}: holds edge maps of other settings ({what}); choose another -o")
        path = self.output / "manifest.jsonl"
        for row in manifest.read(path) if path.exists() else []:
            if not {"picture", "picture_sha256", "edges", "edges_sha256"} <= row.keys():
                raise ValueError(f"{path}: holds a row that is not of an edge map; remove it and run again")
            self.rows.setdefault(row["picture"], []).append(row)
        for rows in self._unfinished():
            self.rows[rows[0]["picture"]] = rows

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _unfinished(self) -> Iterator[list[dict[str, Any]]]:
        """Rows of a run that was killed, a picture a line; a last line that was not written whole is passed over."""
        if self.journal.exists():
            for line in self.journal.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError:
                    continue

    def plan(self, names: dict[str, Path], refusals: Refusals) -> list[str]:
        """The pictures still to draw, sorted; two whose edge maps would have one name are refused but for the first."""
        owners = {rows[0]["edges"]: name for name, rows in self.rows.items() if name not in names}
        todo = []
        for name in sorted(names):
            file = self.how.file(name, self.how.alphas[0])
            if owners.setdefault(file, name) != name:
                refusals.add(name, f"its edge map would have the name of that of {owners[file]}; rename one")
            elif not self._done(name, names[name]):
                todo.append(name)
        return todo

    def _done(self, name: str, path: Path) -> bool:
        rows = self.rows.get(name, [])
        if len(rows) != len(self.how.alphas):
            return False
        try:
            return sha256_file(path) == rows[0]["picture_sha256"] and all(
                sha256_file(self.output / row["edges"]) == row["edges_sha256"] for row in rows
            )
        except OSError:
            return False

    def begin(self) -> None:
        """Record settings and provenance before the first picture, so that a killed run can be told from another."""
        write_text(
            self.output / "run.json",
            json.dumps({"stage": "edges", "settings": self.settings, "provenance": provenance()}, indent=1) + "\n",
        )
        if self.journal.exists():  # a run was killed: keep its rows, sweep away what it was writing
            self._write_manifest()
            for path in self.output.rglob(".*.tmp.png"):
                path.unlink(missing_ok=True)
        self._file = open(self.journal, "w", encoding="utf-8")  # noqa: SIM115 (closed by `close`)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Note one picture that is drawn."""
        full = [{**row, **self.common} for row in rows]
        self.rows[full[0]["picture"]] = full
        assert self._file is not None
        print(json.dumps(full, ensure_ascii=False), file=self._file, flush=True)

    def forget(self, name: str) -> None:
        """Take back a picture that was drawn once and can no longer be: its edge maps would be of another picture."""
        if self.rows.pop(name, None):
            for alpha in self.how.alphas:
                (self.output / self.how.file(name, alpha)).unlink(missing_ok=True)

    def close(self, refusals: Refusals) -> None:
        """Write the manifest, sorted, and the list of the refused; the journal has served."""
        self._write_manifest()
        refused = self.output / "refused.jsonl"
        if refusals.items:
            manifest.write(refused, [{"picture": name, "reason": reason} for name, reason in refusals.items])
        else:
            refused.unlink(missing_ok=True)
        assert self._file is not None
        self._file.close()
        self.journal.unlink(missing_ok=True)

    def _write_manifest(self) -> None:
        rows = [row for name in sorted(self.rows) for row in self.rows[name]]
        manifest.write(self.output / "manifest.jsonl", rows)

    def statistics(self) -> dict[str, dict[str, float]]:
        """Edge fraction by alpha ("none" without): pictures, mean, min, max."""
        found: dict[str, list[float]] = {}
        for rows in self.rows.values():
            for row in rows:
                alpha = "none" if row["alpha"] is None else f"{row['alpha']:g}"
                found.setdefault(alpha, []).append(row["edge_fraction"])
        return {
            alpha: {"pictures": len(values), "mean": sum(values) / len(values), "min": min(values), "max": max(values)}
            for alpha, values in found.items()
        }
