"""Results of other runs, by the hash of what decided them, in the folder $VCM_CACHE; without it there is no cache.

    $VCM_CACHE/KIND/HASH/…     what lies below RUN/streams/CODEC/QUALITY, or RUN/predictions/CODEC/QUALITY, of one model

Files are copied, so that a run folder can be edited or deleted without harm to others; an entry appears whole or not
at all, and any number of runs may share the folder. The times noted in it are those of the run that did the work.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.run.atomic import replacing_folder


def _folder() -> Path | None:
    return Path(value) if (value := os.environ.get("VCM_CACHE")) else None


@dataclass
class Cache:
    """folder: None where there is none."""

    folder: Path | None = field(default_factory=_folder)

    def has(self, kind: str, key: str) -> bool:
        """Whether there is an entry."""
        return self.folder is not None and (self.folder / kind / key).is_dir()

    def fetch(self, kind: str, key: str, place: Path) -> bool:
        """Copy an entry into `place`, beside what is there; whether there was one."""
        if self.folder is None or not self.has(kind, key):
            return False
        shutil.copytree(self.folder / kind / key, place, dirs_exist_ok=True)
        return True

    def store(self, kind: str, key: str, place: Path, pattern: str = "*") -> None:
        """Keep what lies in `place` under names like `pattern`."""
        if self.folder is None or (self.folder / kind / key).exists():
            return
        with replacing_folder(self.folder / kind / key) as temporary:
            for path in place.glob(pattern):
                if path.is_dir():
                    shutil.copytree(path, temporary / path.name)
                else:
                    shutil.copy2(path, temporary)
