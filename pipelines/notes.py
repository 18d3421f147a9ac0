"""Small JSON files beside results, with the hash of what decided them: where it is unchanged, nothing is done again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pipelines.run.atomic import write_text


def fingerprint(**values: Any) -> str:
    """16 hexadecimal digits of the values' JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def read_note(path: Path, settings: str) -> dict[str, Any] | None:
    """What the note says, if it is there, whole, and of the same settings."""
    try:
        note = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and note.get("settings") == settings else None


def write_note(path: Path, settings: str, **values: Any) -> dict[str, Any]:
    """Write a note down; returns it."""
    note = {"settings": settings, **values}
    write_text(path, json.dumps(note))
    return note
