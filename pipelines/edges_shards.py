"""Edge maps as WebDataset shards: tar files, a picture's KEY.png and KEY.json (its manifest row) one after the other.

    drawn ─▶ OUT/.parts/STEM.png ─a shard's batches are done─▶ OUT/000000.tar (below alpha-A/ when there are several)

A shard holds a fixed number of batches of the sorted list of pictures, so its content is settled before the run begins
and a killed run goes on as it does in folders: what is in .parts or in a whole shard is not drawn again. Its bytes
depend on nothing else: no dates, no owners, members sorted. KEY is the picture's path without its suffix; what follows
the first dot of a file's name is its extension to WebDataset, so dots are written %2E (and % itself %25).
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.edges_job import Batch, OutputError, Settings
from pipelines.run.atomic import replacing

PARTS = ".parts"
Row = dict[str, Any]


class Shards:
    """The shards of a run below `output`. names: all of its pictures; pictures: how many a shard has at least (it has
    whole batches, and the last fewer)."""

    def __init__(self, output: Path, settings: Settings, names: Sequence[str], pictures: int) -> None:
        if pictures < 1:
            raise ValueError(f"--shard {pictures}: give at least 1 picture a shard")
        self.output, self.parts, self.how, self.size = output, output / PARTS, settings, pictures
        batches, step = settings.batches(names), -(-pictures // settings.batch)
        self.names = [
            [name for batch in batches[start : start + step] for name in batch]
            for start in range(0, len(batches), step)
        ]
        self._shard = {name: number for number, names in enumerate(self.names) for name in names}
        self._left: dict[int, int] = {}
        self._known: dict[str, dict[str, str]] = {}

    def settings(self) -> dict[str, Any]:
        """What must be as it was for a run to go on."""
        every = "\n".join(name for names in self.names for name in names)
        return {"shard": self.size, "pictures_sha256": hashlib.sha256(every.encode()).hexdigest()}

    def file(self, number: int, alpha: float | None) -> str:
        """Where a shard lies below the output folder."""
        return self.how.file(f"{number:06d}", alpha).removesuffix(".png") + ".tar"

    def place(self, row: Row) -> Row:
        """The manifest row of an edge map that lies in a shard: `edges` is its member."""
        number = self._shard[row["picture"]]
        return {**row, "edges": f"{key(row['picture'])}.png", "shard": self.file(number, row["alpha"])}

    def holds(self, row: Row) -> bool:
        """Whether the edge map of `row` is there, whole, in .parts or in its shard."""
        if self._drawn(row) is not None:
            return True
        return self._members(self.output / row["shard"]).get(row["edges"]) == row["edges_sha256"]

    def begin(self, batches: Sequence[Batch]) -> set[int]:
        """Note how many batches each shard waits for; the shards that wait for none."""
        for batch in batches:
            if any(job.write for job in batch):
                number = self._shard[batch[0].name]
                self._left[number] = self._left.get(number, 0) + 1
        return set(range(len(self.names))) - self._left.keys()

    def finished(self, batch: Batch) -> int | None:
        """The shard that waited for this batch alone, if any."""
        if not any(job.write for job in batch):
            return None
        number = self._shard[batch[0].name]
        self._left[number] -= 1
        return number if not self._left[number] else None

    def pack(self, number: int, rows: Sequence[list[Row]]) -> None:
        """Write a shard from the rows of its pictures that are drawn, unless it is there as it should be.

        Raises OutputError.
        """
        try:
            for i, alpha in enumerate(self.how.alphas):
                mine = [of_picture[i] for of_picture in rows]
                path = self.output / self.file(number, alpha)
                wanted = {row["edges"]: row["edges_sha256"] for row in mine}
                if not mine:
                    path.unlink(missing_ok=True)
                elif self._members(path) != wanted or any(self._part(row).exists() for row in mine):
                    self._write(path, mine)
                self._known.pop(str(path), None)
                for name in self.names[number]:
                    (self.parts / self.how.file(name, alpha)).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(str(error)) from error

    def end(self) -> None:
        shutil.rmtree(self.parts, ignore_errors=True)

    def _write(self, path: Path, rows: list[Row]) -> None:
        before = dict(_contents(path))
        with replacing(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
            for row in sorted(rows, key=lambda row: row["edges"]):
                edges = self._drawn(row) or before.get(row["edges"], b"")
                if hashlib.sha256(edges).hexdigest() != row["edges_sha256"]:
                    raise OutputError(f"{row['edges']}: changed while {path} was written; run again")
                text = json.dumps(row, ensure_ascii=False).encode() + b"\n"
                for name, content in ((row["edges"], edges), (row["edges"].removesuffix(".png") + ".json", text)):
                    member = tarfile.TarInfo(name)  # its defaults have no date and no owner
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))

    def _part(self, row: Row) -> Path:
        return self.parts / self.how.file(row["picture"], row["alpha"])

    def _drawn(self, row: Row) -> bytes | None:
        """The PNG of `row` in .parts, if it has the right SHA-256."""
        try:
            data = self._part(row).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == row["edges_sha256"] else None

    def _members(self, path: Path) -> dict[str, str]:
        """SHA-256 of the edge maps in a shard; none of one that is absent or damaged. Read once."""
        if str(path) not in self._known:
            if len(self._known) > 2 * len(self.how.alphas):  # asked for in their order: the last are enough
                self._known.clear()
            self._known[str(path)] = {name: hashlib.sha256(data).hexdigest() for name, data in _contents(path)}
        return self._known[str(path)]


def _contents(path: Path) -> list[tuple[str, bytes]]:
    """Names and bytes of the edge maps in a shard; none of one that is absent or damaged."""
    try:
        with tarfile.open(path) as tar:
            files = ((member.name, tar.extractfile(member)) for member in tar if member.name.endswith(".png"))
            return [(name, file.read()) for name, file in files if file]
    except (OSError, tarfile.TarError):
        return []


def key(picture: str) -> str:
    """WebDataset's key of a picture called `picture`."""
    path = PurePosixPath(picture)
    return str(path.with_name(path.stem.replace("%", "%25").replace(".", "%2E")))
