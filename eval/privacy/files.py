"""Model files that are not ours: found by name in a few folders, taken only with the right SHA-256, never downloaded.

Nothing is fetched behind the user's back: a file that is missing is one line that says what to fetch, from where, and
where to put it. Folders, in order: VCM_MODELS, ~/.cache/vcm, torch's own cache.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelFile:
    """A published file. sha256: of the whole file."""

    file: str
    url: str
    sha256: str
    licence: str


YUNET = ModelFile(
    "face_detection_yunet_2023mar.onnx",
    "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    "MIT",
)
SFACE = ModelFile(
    "face_recognition_sface_2021dec.onnx",
    "https://github.com/opencv/opencv_zoo/tree/main/models/face_recognition_sface",
    "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    "Apache-2.0",
)


def folders() -> list[Path]:
    """Where model files are looked for."""
    given = [Path(os.environ["VCM_MODELS"])] if os.environ.get("VCM_MODELS") else []
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [*given, cache / "vcm", cache / "torch" / "checkpoints", cache / "torch" / "hub" / "checkpoints"]


def sha256(path: str | os.PathLike[str]) -> str:
    """64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(model: ModelFile) -> Path:
    """The file, its hash checked. OSError where it is nowhere; ValueError where it is another file."""
    for folder in folders():
        path = folder / model.file
        if path.is_file():
            found = sha256(path)
            if found != model.sha256:
                raise ValueError(f"{path}: is not the published file (SHA-256 {found[:12]}…, not "
                                 f"{model.sha256[:12]}…); fetch it again from {model.url}")  # fmt: skip
            return path
    raise OSError(f"{model.file}: not on this machine, and nothing is downloaded here; fetch it from {model.url} "
                  f"and put it into {folders()[0]} (or the folder that VCM_MODELS names)")  # fmt: skip
