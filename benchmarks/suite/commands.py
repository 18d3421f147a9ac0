"""`vcm` as a user starts it: a process of its own, its seconds and its peak memory."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Used(NamedTuple):
    """What a process took: wall-clock and processor seconds, peak resident memory in MiB, of it and its children."""

    s: float
    cpu_s: float
    mib: float


def vcm(*words: str) -> Used:
    """Run `vcm WORDS`; RuntimeError with what it printed where it fails."""
    command = [sys.executable, "-W", "ignore", "-m", "pipelines", *words]
    start = time.perf_counter()
    read, write = os.pipe()
    child = os.posix_spawn(sys.executable, command, dict(os.environ),
                           file_actions=[(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, write, 2),
                                         (os.POSIX_SPAWN_CLOSE, read)])  # fmt: skip
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"vcm {' '.join(words)}: {said.decode(errors='replace')[-400:]}")
    return Used(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def photograph(folder: Path, height: int, width: int) -> Path:
    """A PNG of this size: a real picture laid side by side until it fills it, or a drawn texture."""
    import cv2

    from benchmarks.__main__ import texture
    from pipelines.media import list_pictures, read_picture

    path = folder / f"{width}x{height}.png"
    if not path.exists():
        val = Path(os.environ.get("VCM_SHARED", "../shared")) / "data/coco128/images/val"
        picture = read_picture(list_pictures(val)[0]) if val.is_dir() else texture()
        across, down = -(-width // picture.shape[1]), -(-height // picture.shape[0])
        whole = np.tile(np.concatenate([picture, picture[:, ::-1]], 1), (down, -(-across // 2), 1))[:height, :width]
        cv2.imwrite(str(path), whole[..., ::-1])
    return path
