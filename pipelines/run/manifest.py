"""Manifests: JSON Lines, one object a line, keys in the order given."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines.run.atomic import write_text


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a manifest; ValueError names the file and the line that is not a JSON object."""
    rows = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: line {number} is not JSON ({error.msg}); remove it, run again") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}: line {number} is not a JSON object; remove the file and run again")
        rows.append(row)
    return rows


def write(path: str | os.PathLike[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write the rows, whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
