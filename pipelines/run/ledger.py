"""What an output folder holds and where it came from, so that a rerun can skip what is done.

manifest.jsonl has one row a file: at least `file`, `source`, `source_sha256`, and `settings`, what decided its content.
run.json has provenance.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from pipelines.run import manifest
from pipelines.run.atomic import write_text
from pipelines.run.provenance import provenance, sha256_file

FLUSH_S = 2.0


class Ledger:
    """The manifest of one output folder; `with Ledger(…) as ledger` writes it, also when the run is interrupted.

    settings: anything that JSON can hold; a file made with others is not taken for done.
    resume: keep what is done. Rows of files that this run does not touch stay in either case.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: dict[str, Any], resume: bool) -> None:
        self.folder, self.settings, self.resume = Path(folder), json.loads(json.dumps(settings)), resume
        self.path = self.folder / "manifest.jsonl"
        rows = manifest.read(self.path) if self.path.exists() else []
        self.rows = {row["file"]: row for row in rows if "file" in row}
        self._written = time.monotonic()

    def done(self, file: str, source: str | os.PathLike[str]) -> dict[str, Any] | None:
        """The row of `file` where it is complete: same source bytes, same settings, still there. Else None."""
        row = self.rows.get(file)
        if not self.resume or row is None or row.get("settings") != self.settings:
            return None
        if not (self.folder / file).exists() or not os.path.isfile(source):
            return None
        return row if row.get("source_sha256") == sha256_file(source) else None

    def add(self, row: dict[str, Any]) -> None:
        """Note a finished file; the manifest on disk follows within seconds."""
        self.rows[row["file"]] = {**row, "settings": self.settings}
        if time.monotonic() - self._written > FLUSH_S:
            self._write()

    def __enter__(self) -> Ledger:
        write_text(self.folder / "run.json", json.dumps({"settings": self.settings, **provenance()}, indent=2) + "\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def _write(self) -> None:
        manifest.write(self.path, (self.rows[file] for file in sorted(self.rows)))
        self._written = time.monotonic()
