"""A task model as an evaluation has it: with what is asked of it, its protocol, and what identifies its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.run.provenance import sha256_file


@dataclass(frozen=True)
class Tested:
    """A task model that looks at the pictures, and what is asked of it. hash: of its weights, "" where unknown."""

    model: Any
    tasks: tuple[str, ...]
    hash: str = ""
    protocol: str = "frozen"  # one of eval.records.PROTOCOLS
    spec: str = ""  # what builds it in a worker
    weights: str | None = None

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def gives(self) -> tuple[str, ...]:
        """The tasks that its predictions serve: all that it does, or those asked where it can do less."""
        return self.tasks if hasattr(self.model, "wanted") else tuple(dict.fromkeys((*self.model.tasks, *self.tasks)))


def hash_of(tested: Tested) -> str:
    """SHA-256 of the model's weights, those that it has fetched itself included; "" where they are no file."""
    return tested.hash or hash_files(getattr(tested.model, "files", ()))


def hash_files(paths: Iterable[Path]) -> str:
    """SHA-256 of a file; of the files' hashes where there are several; "" for none."""
    hashes = [sha256_file(path) for path in paths if Path(path).is_file()]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest() if hashes else ""
