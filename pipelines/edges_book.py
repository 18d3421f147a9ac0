"""The book of what is done in a folder of edge maps: settings, manifest, the journal of a run that was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pipelines.edges_job import Settings
from pipelines.edges_shards import Shards
from pipelines.run import manifest
from pipelines.run.atomic import replacing, telling, write_text
from pipelines.run.batch import Refusals
from pipelines.run.provenance import provenance, sha256_file

Row = dict[str, Any]


class Book:
    """What is done in an output folder: run.json, manifest.jsonl, and the journal of a run that did not end.

    settings: everything that decides an edge map besides its picture; a folder holds edge maps of one kind.
    files: where edge maps are drawn, `output` or what shards are packed from.
    """

    def __init__(
        self, output: Path, segmenter: dict[str, Any], settings: Settings, shards: Shards | None = None
    ) -> None:
        self.output, self.how, self.shards = output, settings, shards
        self.files = shards.parts if shards else output
        thresholds = {key: value for key, value in segmenter.items() if key.endswith(("_thresh", "_offset"))}
        self.common = {
            "segmenter": segmenter["segmenter"],
            "checkpoint_sha256": segmenter.get("checkpoint_sha256"),
            **({"offline_fallback": True} if segmenter.get("offline_fallback") else {}),
            **settings.as_row(),
            **({"thresholds": thresholds} if thresholds else {}),
        }
        more = {"batch": settings.batch} if settings.batch > 1 else {}  # it may decide the last bit of a float
        still = {"reuse": settings.reuse} if settings.reuse is not None else {}
        packed = shards.settings() if shards else {}
        decided = {**segmenter, **settings.as_row(), "alphas": settings.alphas, **more, **still, **packed}
        self.settings = json.loads(json.dumps(decided))
        self._rows: dict[str, str] = {}  # picture -> JSON of its rows: half a kilobyte, for there may be millions
        self.journal = output / ".journal.jsonl"
        self._file: IO[str] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, name: str) -> list[Row]:
        """The rows of a picture, one for each alpha; none if it is not drawn."""
        return json.loads(self._rows.get(name, "[]"))

    def _keep(self, rows: list[Row]) -> None:
        self._rows[rows[0]["picture"]] = json.dumps(rows, ensure_ascii=False)

    def load(self) -> None:
        """Read what is there. Raises ValueError if the folder holds other things, or edge maps of other settings."""
        self._rows = {}
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
        found: dict[str, list[Row]] = {}
        for row in manifest.read(path) if path.exists() else []:
            if not {"picture", "picture_sha256", "edges", "edges_sha256"} <= row.keys():
                raise ValueError(f"{path}: holds a row that is not of an edge map; remove it and run again")
            found.setdefault(row["picture"], []).append(row)
        for rows in found.values():
            self._keep(rows)
        for batch in self._unfinished():
            for rows in batch:
                self._keep(rows)

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):  # closed already, or what could not be written before still cannot
                self._file.close()

    def _unfinished(self) -> Iterator[list[list[Row]]]:
        """Rows of a run that was killed, a batch a line; a last line that was not written whole is passed over."""
        if self.journal.exists():
            for line in self.journal.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError:
                    continue

    def plan(self, names: dict[str, Path], refusals: Refusals) -> list[str]:
        """The pictures still to draw, sorted, with those of their batches, which are drawn whole.

        Two pictures whose edge maps would have one name are refused but for the first.
        """
        owners = {self.how.file(name, self.how.alphas[0]): name for name in self._rows if name not in names}
        todo, refused = set(), set()
        for name in sorted(names):
            file = self.how.file(name, self.how.alphas[0])
            if owners.setdefault(file, name) != name:
                refusals.add(name, f"its edge map would have the name of that of {owners[file]}; rename one")
                refused.add(name)
            elif not self._done(name, names[name]):
                todo.add(name)
        return [
            name
            for batch in self.how.batches(list(names))
            if not todo.isdisjoint(batch)
            for name in batch
            if name not in refused
        ]

    def _done(self, name: str, path: Path) -> bool:
        try:
            return name in self._rows and self.done(name, sha256_file(path))
        except OSError:
            return False

    def done(self, name: str, digest: str) -> bool:
        """Whether the edge maps of a picture with this SHA-256 are there, whole."""
        rows = self.rows(name)
        if len(rows) != len(self.how.alphas) or rows[0]["picture_sha256"] != digest:
            return False
        if self.shards:
            return all(self.shards.holds(row) for row in rows)
        try:
            return all(sha256_file(self.output / row["edges"]) == row["edges_sha256"] for row in rows)
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
            for pattern in (".*.tmp.png", ".*.tmp.tar"):
                for path in self.output.rglob(pattern):
                    path.unlink(missing_ok=True)
        self._file = open(self.journal, "w", encoding="utf-8")  # noqa: SIM115 (closed by `close`)

    def add(self, batch: Sequence[list[Row]]) -> None:
        """Note a batch that is drawn: the rows of each of its pictures."""
        place = self.shards.place if self.shards else dict
        full = [[{**place(row), **self.common} for row in rows] for rows in batch]
        for rows in full:
            self._keep(rows)
        if full:
            assert self._file is not None
            line = json.dumps(full, ensure_ascii=False)
            with telling(self.journal, len(line.encode()) + 1):
                print(line, file=self._file, flush=True)

    def forget(self, name: str) -> None:
        """Take back a picture that was drawn once and can no longer be: its edge maps would be of another picture."""
        if self._rows.pop(name, None):
            for alpha in self.how.alphas:
                (self.files / self.how.file(name, alpha)).unlink(missing_ok=True)

    def pack(self, number: int) -> None:
        """Write a shard, all of whose batches are done."""
        assert self.shards is not None
        self.shards.pack(number, [self.rows(name) for name in self.shards.names[number] if name in self])

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
        if self.shards:
            self.shards.end()

    def _write_manifest(self) -> None:
        """As `manifest.write`, but row by row: at a million pictures the text alone would be a gigabyte."""
        with replacing(self.output / "manifest.jsonl") as temporary, open(temporary, "w", encoding="utf-8") as file:
            for name in sorted(self._rows):
                for row in self.rows(name):
                    print(json.dumps(row, ensure_ascii=False), file=file)

    def statistics(self) -> dict[str, dict[str, float]]:
        """Edge fraction by alpha ("none" without): pictures, mean, min, max."""
        found: dict[str, list[float]] = {}
        for name in self._rows:
            for row in self.rows(name):
                alpha = "none" if row["alpha"] is None else f"{row['alpha']:g}"
                found.setdefault(alpha, []).append(row["edge_fraction"])
        return {
            alpha: {"pictures": len(values), "mean": sum(values) / len(values), "min": min(values), "max": max(values)}
            for alpha, values in found.items()
        }
