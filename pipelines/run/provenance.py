"""Where a result came from: versions, hardware, commit, command line, date, hashes of what went in."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("vcm", "torch", "torchvision", "numpy", "compressai", "constriction", "av", "pillow",
            "opencv-python-headless", "pycocotools", "scikit-image", "segment-anything", "detectron2", "onnxruntime",
            "ultralytics")  # fmt: skip


def provenance() -> dict[str, Any]:
    """What to write into a run folder: versions, hardware, git commit, command line, date (UTC, ISO 8601)."""
    return {
        "date_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(sys.argv),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "hardware": hardware(),
    }


def hardware() -> dict[str, Any]:
    """Machine, processor, cores this process may use, memory in bytes; threads and accelerators if torch is loaded."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    known: dict[str, Any] = {"machine": platform.machine(), "system": platform.system(), "cores": affinity}
    known["processor"] = _processor()
    try:
        known["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        known["memory_bytes"] = None
    torch = sys.modules.get("torch")  # looked at only when the run uses it: importing costs seconds
    if torch is not None:
        known["torch_threads"] = torch.get_num_threads()
    if torch is not None and torch.cuda.is_available():
        known["accelerators"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return known


def commit() -> str | None:
    """The git commit of this source tree, "-dirty" appended when it has changes; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # installed somewhere inside another project's checkout: not our commit
        return None
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return None
    return head + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()


def version() -> str:
    """The version of this package; "unknown" when it runs from a source tree that was never installed."""
    return _version("vcm") or "unknown (not installed)"
