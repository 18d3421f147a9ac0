"""Fuzzing: damaged inputs through the readers of each format, and what became of them.

    python -m tests.fuzz.run [FORMAT ...] [--minutes 5] [--seed N] [--save FOLDER] [--memory MIB] [--replay FILE]

Goes through the formats in turn, each time with new seeds, and prints rate and counts. An outcome is a failure where it
is none of: one of the format's errors, in one line; the very content that the intact input had; or, where checksums
were repaired, another content that its writer would write with these very bytes. So is memory beyond the bound, and
half a minute without an end. A failure is saved in the folder (FORMAT-HASH.bin, beside a .txt that says what it did),
and the run goes on; the exit status is then 1. An input is known by format, seed and number: the same three make the
same bytes.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import hashlib
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.formats import FORMATS, format_called
from tests.fuzz.formats.base import Case, Format

MEMORY = 384 << 20  # bytes that one input may take: what the limits allow it to declare (128 MiB at most), and 256 more
HANG_S = 30
LINE = 400  # characters of a message, at most


class Hang(BaseException):
    """An input took longer than HANG_S. No Exception, so that no reader takes it for damage."""


@dataclasses.dataclass
class Report:
    """Of some inputs of one format. slowest: (seconds of the processor, number of the input)."""

    counts: collections.Counter[str]
    failures: list[tuple[int, bytes, str]]
    slowest: tuple[float, int] = (0.0, -1)
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        return sum(self.counts.values())

    def add(self, other: Report) -> None:
        self.counts += other.counts
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.seconds += other.seconds

    def text(self, name: str) -> str:
        rate = self.inputs / max(self.seconds, 1e-9)
        rows = [f"{name}: {self.inputs} inputs in {self.seconds:.1f} s, {rate:.0f} a second, the slowest "
                f"{1e3 * self.slowest[0]:.0f} ms, {len(self.failures)} failures"]  # fmt: skip
        return "\n".join(rows + [f"  {count:8} {what}" for what, count in sorted(self.counts.items())])


@contextlib.contextmanager
def memory_bound(more: int) -> Iterator[None]:
    """At most `more` bytes of data beyond what the process has now, then MemoryError. On Linux; elsewhere no bound."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        yield
        return
    data = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData")) << 10
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def case_of(name: str, seed: int, i: int) -> Case:
    """Input i of a seed."""
    return format_called(name).case(np.random.default_rng([seed, sorted(FORMATS).index(name), i]))


def outcome(form: Format, case: Case) -> str:
    """What became of an input. Raises whatever makes it a failure."""
    try:
        value = form.decode(case.data)
    except form.errors as error:
        line = str(error)
        assert 0 < len(line) < LINE, f"a message of {len(line)} characters: {line!r:.200}"
        assert "\n" not in line, f"a message of several lines: {line!r:.200}"
        return f"refused, {type(error).__name__}"
    if value == case.truth:
        return "as it was"
    assert not case.guarded, "another content, and no checksum was repaired"
    return "UNNOTICED by the coder's state" if case.coded else "another, well-formed"


def fuzz(name: str, seed: int, first: int, count: int, memory: int = MEMORY, alarm: bool = False) -> Report:
    """Inputs first … first + count − 1 of a seed. alarm: end one that hangs, with SIGALRM, which pytest may need."""
    form, report = format_called(name), Report(collections.Counter(), [])
    begin = time.process_time()
    with memory_bound(memory):
        for i in range(first, first + count):
            case = case_of(name, seed, i)
            start = time.process_time()
            try:
                if alarm:
                    signal.alarm(HANG_S)
                what = outcome(form, case)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # panics of the coder derive from it
                what = f"FAILED, {type(error).__name__}"
                about = "".join(traceback.format_exception(error, limit=-6))
                report.failures.append((i, case.data, f"{name} {seed} {i}, {case.layer}\n{about}"))
            finally:
                if alarm:
                    signal.alarm(0)
            report.slowest = max(report.slowest, (time.process_time() - start, i))
            report.counts[f"{case.layer}: {what}"] += 1
    report.seconds = time.process_time() - begin
    return report


def save(folder: Path, name: str, data: bytes, about: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:10]}.bin"
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(about, encoding="utf-8")
    return path


def _alarm(number: int, frame: Any) -> None:
    raise Hang(f"no end within {HANG_S} s")


def replay(path: Path) -> int:
    """A saved input once more: its name begins with its format."""
    form = format_called(path.name.partition("-")[0])
    try:
        form.decode(path.read_bytes())
        print(f"{path.name}: accepted")
    except form.errors as error:
        print(f"{path.name}: {type(error).__name__}: {error}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", choices=[*FORMATS, []], metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, help="of the first inputs (default: from the clock)")
    parser.add_argument("--save", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--memory", type=int, default=MEMORY >> 20, help="MiB that an input may take")
    parser.add_argument("--replay", type=Path, help="a saved input")
    arguments = parser.parse_args()
    if arguments.replay:
        return replay(arguments.replay)
    names = arguments.formats or list(FORMATS)
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    end, found = time.monotonic() + 60 * arguments.minutes, {name: Report(collections.Counter(), []) for name in names}
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGALRM, _alarm)
    turn = 0
    while time.monotonic() < end:
        for name in names:
            stop = min(end, time.monotonic() + 5)
            while time.monotonic() < stop:
                report = fuzz(name, seed, turn * 100, 100, arguments.memory << 20, alarm=True)
                turn += 1
                for _, data, about in report.failures:
                    print(f"FAILURE {save(arguments.save, name, data, about)}\n{about}", flush=True)
                found[name].add(report)
    print("\n".join(found[name].text(name) for name in names))
    inputs, failures = sum(r.inputs for r in found.values()), sum(len(r.failures) for r in found.values())
    print(f"{inputs} inputs, {failures} failures" + (f", saved in {arguments.save}" if failures else ""))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
