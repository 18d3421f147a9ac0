"""Segment Anything's official weights: where they come from, what they must hash to, where they are kept.

A file is used when its SHA-256 is the published one, and an offline machine is told in one line which file, from where,
and where to put it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import secrets
import urllib.request
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """file: official name. sha256: of the whole file. size: in bytes."""

    file: str
    sha256: str
    size: int

    @property
    def url(self) -> str:
        return f"https://dl.fbaipublicfiles.com/segment_anything/{self.file}"


OFFICIAL = {
    "vit_h": Checkpoint(
        "sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", 2564550879
    ),
    "vit_l": Checkpoint(
        "sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", 1249524607
    ),
    "vit_b": Checkpoint(
        "sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", 375042383
    ),
}


def cache() -> Path:
    """Where downloads are kept: $VCM_CACHE, or ~/.cache/vcm."""
    return Path(os.environ.get("VCM_CACHE") or Path.home() / ".cache" / "vcm")


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def obtain(checkpoint: Checkpoint) -> Path:
    """Path of the verified file in the cache, downloaded if it is not there.

    Raises OSError when it cannot be had, ValueError when what is there or what came is not the published file.
    """
    path = cache() / checkpoint.file
    if path.exists():
        if path.stat().st_size != checkpoint.size or sha256_of(path) != checkpoint.sha256:
            raise ValueError(
                f"{path}: not the published file (its SHA-256 differs); remove it and run again, or name "
                "your own weights with --sam-checkpoint PATH"
            )
        return path
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with urllib.request.urlopen(checkpoint.url, timeout=30) as source, open(temporary, "wb") as target:
            while block := source.read(1 << 20):
                digest.update(block)
                target.write(block)
        if digest.hexdigest() != checkpoint.sha256:
            raise OSError("what came has another SHA-256")
        os.replace(temporary, path)
    except OSError as error:  # URLError and timeouts are OSErrors
        reason = getattr(error, "reason", None) or error.strerror or str(error) or type(error).__name__
        raise OSError(
            f"{checkpoint.file}: not in {path.parent} and not downloaded ({reason}): fetch {checkpoint.url} "
            f"({checkpoint.size:,} bytes) and put it at {path}, or pass --sam-checkpoint PATH"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path
