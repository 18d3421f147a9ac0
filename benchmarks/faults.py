"""A stage of `vcm` with a fault at its n-th change of a file, for every n: killed, or told of a full or broken disk.

    OMP_NUM_THREADS=1 python -m benchmarks.faults STAGE… | all -o runs/faults [--faults kill,ENOSPC,EIO,torn,EFBIG]
                                                  [--items N] [--every K] [--sizes 8]

Changes are what Python does below the output: a file opened for writing, fsync, rename, mkdir, and for kill and EIO
also unlink and rmdir (which need no room). `torn` and `EFBIG` are the kernel's: no file may grow beyond a size, for
--sizes sizes up to that of the largest file of a whole run; the process dies inside the write, at that very byte, or is
told. Both begin where a run was killed in its middle, so that there is an earlier checkpoint to lose.

Held to each: a kill is a kill; an error ends in a non-zero exit and one line that names a file of the output (and
bytes, where a write failed), leaves no temporary file, and no traceback; run again, all is as in a run without faults.
Where the output is fsynced to a slow disk, put it in memory (-o /dev/shm/faults).
"""

from __future__ import annotations

import argparse
import errno
import functools
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.kill_stages import STAGES, prepared, run
from benchmarks.killing import Forked, Work, to_the_end, warm_up

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
NEEDS_NO_ROOM = {"os.remove", "os.rmdir"}
KINDS = ("kill", "ENOSPC", "EIO", "torn", "EFBIG")


class Fault:
    """Strikes at the n-th change below `folder`, in this process, once; `note` then has what was being done."""

    def __init__(self, folder: Path, kind: str, n: int, note: Path) -> None:
        self.folder, self.kind, self.n, self.note, self.count = os.fspath(folder), kind, n, note, 0
        fsync = os.fsync

        def counted(descriptor: int) -> None:
            self.change("fsync", os.readlink(f"/proc/self/fd/{descriptor}"), named=False)
            fsync(descriptor)

        os.fsync = counted  # type: ignore[assignment]
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return
        if event in ("open", "os.rename", "os.mkdir") or (event in NEEDS_NO_ROOM and self.kind != "ENOSPC"):
            path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
            if event != "os.mkdir" or not os.path.isdir(path):  # to ask for a folder that is there changes nothing
                self.change(event, path)

    def change(self, what: str, path: str, named: bool = True) -> None:
        if not path.startswith(self.folder):
            return
        self.count += 1
        if self.count == self.n:
            self.note.write_text(f"{what} {path}")
            if self.kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            code = getattr(errno, self.kind)
            raise OSError(code, os.strerror(code), path) if named else OSError(code, os.strerror(code))


def limited(size: int, kill: bool) -> None:
    """No file of this process grows beyond `size` bytes: who tries is killed, or told EFBIG."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kill else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def told_well(process: Forked, out: Path, amount: bool) -> str:
    """What is wrong with how a run ended that met an error; "" if nothing is. amount: bytes must be named."""
    from pipelines.run.atomic import is_temporary

    text = process.told()
    lines = [line for line in text.splitlines() if line.startswith(("vcm: ", "refused "))]
    if process.code not in (1, 2):
        return f"exit code {process.code}: {text[-300:]}"
    if "Traceback" in text or not lines:
        return f"not told in a line: {text[-300:]}"
    if not any(os.fspath(out) in line for line in lines):
        return f"names no file of the output: {lines}"
    if amount and not any(re.search(r"\d+ bytes|\d+ of \d+", line) for line in lines):
        return f"names no bytes: {lines}"
    left = [path.name for path in out.rglob("*") if is_temporary(path.name)] if out.exists() else []
    return f"left {left}" if left else ""


class Trials:
    """Faults of one stage, below `folder`, which is made anew. wrong: what did not hold; struck: how often, by kind."""

    def __init__(self, name: str, folder: Path, items: int | None = None) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.name, self.out, self.state, self.note = name, folder / "out", folder / "state", folder / "note"
        self.stage, words = prepared(name, folder, items)
        self.work: Work = lambda: run(words(self.out))
        warm_up(self.work)
        self.expected = self.stage.content(self.out)
        self.largest = max(path.stat().st_size for path in self.out.rglob("*") if path.is_file())
        self.wrong: list[str] = []
        self.struck: Counter[str] = Counter()

    def at_changes(self, kind: str, every: int = 1, first: int = 1) -> int:
        """Each change in turn; how many there are."""
        n = first
        while True:
            fault = functools.partial(Fault, self.out, kind, n, self.note)
            if not self._trial(kind, f"{kind} at change {n}", fault, self.note):
                return n - 1
            n += every

    def at_sizes(self, kind: str, sizes: int) -> None:
        """Sizes from one byte to just less than the largest file, from a state in the middle of a run."""
        self._half_way()
        for i in range(sizes):
            size = 1 + i * (self.largest - 2) // max(1, sizes - 1)
            self._trial(kind, f"{kind} at {size} bytes", functools.partial(limited, size, kind == "torn"), None)

    def _half_way(self) -> None:
        self._clear()
        changes = self._calls()
        self._clear()
        Forked(lambda: (Fault(self.out, "kill", changes // 2, self.note), self.work())[1]).wait()
        shutil.copytree(self.out, self.state, symlinks=True)

    def _calls(self) -> int:
        """How many changes a whole run makes."""

        def counting() -> int:
            fault = Fault(self.out, "kill", 0, self.note)
            code = self.work()
            self.note.write_text(str(fault.count))
            return code

        to_the_end(counting)
        return int(self.note.read_text())

    def _clear(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.note.unlink(missing_ok=True)
        if self.state.exists():
            shutil.copytree(self.state, self.out, symlinks=True)

    def _trial(self, kind: str, title: str, fault: Callable[[], Any], note: Path | None) -> bool:
        """Whether the fault struck; what is wrong is noted."""
        self._clear()
        process = Forked(lambda: (fault(), self.work())[1])
        process.wait()
        struck = note.exists() if note else process.code != 0
        if not struck:
            return False
        if kind in ("ENOSPC", "EIO") and process.code == 0 and self.stage.content(self.out) == self.expected:
            self.struck[f"{kind} without effect"] += 1  # a folder could not be synced: told by some file systems always
            return True
        self.struck[kind] += 1
        if kind in ("kill", "torn"):
            deadly = signal.SIGKILL if kind == "kill" else signal.SIGXFSZ
            problem = "" if process.code == -deadly else f"exit code {process.code}: {process.told()[-300:]}"
        else:
            problem = told_well(process, self.out, kind == "EFBIG")
        if not problem:
            try:
                to_the_end(self.work)
                now = self.stage.content(self.out)
                differing = [name for name in {**self.expected, **now} if self.expected.get(name) != now.get(name)]
                problem = f"run again, differs in {differing[:3]}" if differing else ""
            except (RuntimeError, OSError, ValueError) as error:
                problem = f"not run again: {error}"
        if problem:
            at = f" ({note.read_text()})" if note else ""
            self.wrong.append(f"{self.name}, {title}{at}: {problem}")
        return True


def main() -> int:
    """Exit code 0 if all held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=[*STAGES, "all"], metavar="STAGE")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="a folder for inputs and results")
    parser.add_argument("--faults", default=",".join(KINDS), help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--items", type=int, default=5, help="pictures, streams or steps (default 5)")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="take each K-th change (default 1)")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="begin at the N-th change (default 1)")
    parser.add_argument("--sizes", type=int, default=8, help="sizes for torn and EFBIG (default 8)")
    arguments = parser.parse_args()
    wrong = 0
    for name in list(STAGES) if "all" in arguments.stages else arguments.stages:
        began = time.monotonic()
        trials = Trials(name, arguments.output.resolve() / name, 1 if name == "network" else arguments.items)
        for kind in arguments.faults.split(","):
            if kind in ("torn", "EFBIG"):
                trials.at_sizes(kind, arguments.sizes)
            else:
                trials.at_changes(kind, arguments.every, arguments.first)
            shutil.rmtree(trials.state, ignore_errors=True)
        for line in trials.wrong:
            print(line)
        counts = ", ".join(f"{count} {kind}" for kind, count in trials.struck.items())
        print(f"{name}: {trials.stage.items} items; faults struck: {counts}; {len(trials.wrong)} not as promised "
              f"({time.monotonic() - began:.0f} s)", flush=True)  # fmt: skip
        wrong += len(trials.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    sys.exit(main())
