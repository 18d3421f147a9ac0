"""`vcm train --dry-run`: everything that could end a night's work in its first minute, or its last, tried beforehand.

    configuration ─▶ heads of all data ─▶ a few steps through every phase ─▶ export ─▶ memory, disk, hours
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEPS = 4  # at progress 0, 1/4, 1/2 and 3/4: the phases of every task
MARGIN = 1.2  # what a long run may need beyond a short one


def dry_run(task: Any, settings: Any, folder: Path, resume: bool) -> list[str]:
    """What was found, a line each; nothing is left behind. settings: of the trainer; folder: of the run to come.

    ValueError or OSError, one line, where the run would not start, or not fit into memory or on the disk.
    """
    import torch

    from pipelines.trainer import Trainer

    check = getattr(task, "check", None)
    lines = [f"data: {check()}"] if check else []
    if (settings.steps is None) == (settings.minutes is None):
        raise ValueError("train: give either --steps or --minutes")
    short = dataclasses.replace(settings, steps=STEPS, minutes=None, log_steps=1, preview_steps=2)
    marks: list[float] = []

    class Timed(Trainer):
        def _advance(self, batch: Any) -> dict[str, float]:
            values = super()._advance(batch)
            marks.append(time.monotonic())
            return values

    with tempfile.TemporaryDirectory() as place:
        trainer = Timed(task, short, Path(place))
        trainer.run()
        checkpoint = Path(place) / "checkpoint.safetensors"
        written = checkpoint.stat().st_size if checkpoint.exists() else 0  # the first process alone writes
        if trainer.device.type == "cuda":
            most = torch.cuda.get_device_properties(trainer.device).total_memory
            lines.append(_memory("of the GPU", torch.cuda.max_memory_allocated(), most))
    if (folder / "checkpoint.safetensors").exists() and not resume:
        raise ValueError(f"{folder}: holds a run already; add --resume to go on with it, or name another folder")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    lines.append(_memory("of this process", peak + getattr(task, "cache_to_come", lambda: 0)(), _available() + peak))
    lines.append(_disk(folder, written))
    seconds = min(b - a for a, b in itertools.pairwise(marks))  # others may use the machine too
    lines.append(f"steps: {seconds:.2f} s each here" + _length(settings, seconds))
    return lines


def _memory(what: str, needed: float, most: float) -> str:
    if MARGIN * needed > most:
        raise ValueError(f"memory {what}: {_gib(needed)} are used, {_gib(most)} can be: too close for a long run; "
                         "lower settings.batch or settings.crop")  # fmt: skip
    return f"memory {what}: {_gib(needed)} of {_gib(most)}"


def _available() -> float:
    """Bytes that the system can still give."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = dict(line.split(":", 1) for line in file)
        return 1024.0 * int(found["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):  # not Linux
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2


def _disk(folder: Path, checkpoint: int) -> str:
    there = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{there}: cannot be written to; choose another -o")
    needed, free = 4 * checkpoint, shutil.disk_usage(there).free  # the old, the new, the weights, previews
    if needed > free:
        raise OSError(f"{there}: {_gib(needed)} are needed, {_gib(free)} are free; make room or choose another -o")
    return f"disk: {_gib(needed)} of {_gib(free)} free in {there}"


def _length(settings: Any, seconds: float) -> str:
    if settings.steps is None:
        return f", so about {60 * settings.minutes / seconds:.0f} in {settings.minutes:g} minutes"
    return f", so about {settings.steps * seconds / 3600:.1f} hours for {settings.steps}"


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"
