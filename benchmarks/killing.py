"""Killing a job again and again with `kill -9`, and running it again, until nothing is left to do.

Moments: a fifth of them before the first item (uniform over the seconds that an uninterrupted run needs for it), a
tenth after the last, the others after a random number of further items and a random share of the next.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE_S = 300
Work = Callable[[], int]


@dataclass(frozen=True)
class Timeline:
    """Seconds of an uninterrupted run: to its first item, to its last, to its end."""

    first: float
    last: float
    end: float


@dataclass
class Killed:
    """before, middle, after: kills before a run's first new item, between items, after the last. differing: what a run
    that went on to its end has otherwise than the uninterrupted one; ends: how many did so."""

    before: int = 0
    middle: int = 0
    after: int = 0
    ends: int = 0
    differing: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.before + self.middle + self.after

    def compare(self, expected: dict[str, Any], now: dict[str, Any]) -> None:
        """Note one end, and what differs in it."""
        self.ends += 1
        self.differing += sorted(name for name in {**expected, **now} if expected.get(name) != now.get(name))


class Forked:
    """`work()` in a copy of this process, which has imported all that it needs: a second a run instead of ten. This
    process must run no threads of its own."""

    def __init__(self, work: Work) -> None:
        self.code: int | None = None
        self._said = b""
        self._pipe, end = os.pipe()  # no file: it must not be among those that a fault strikes
        os.set_blocking(end, False)
        self.pid = os.fork()
        if not self.pid:
            self._be(work, end)
        os.close(end)

    def _be(self, work: Work, end: int) -> None:
        code = 70
        try:
            for stream in (1, 2):
                os.dup2(end, stream)
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):  # a pipe holds 64 KiB: the rest is lost
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        """The exit code, -9 if it was killed, None while it lives."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                with open(self._pipe, "rb") as said:
                    self._said = said.read()
        return self.code

    def wait(self, seconds: float = PATIENCE_S) -> int | None:
        """As `poll`, after at most so many seconds."""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        return self.code

    def kill(self) -> None:
        """kill -9; it may have ended just before."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def told(self) -> str:
        """What it said, once it has ended."""
        return self._said.decode(errors="replace")


def to_the_end(work: Work) -> str:
    """Run it, which must succeed; what it said."""
    process = Forked(work)
    if process.wait() != 0:
        process.kill()
        raise RuntimeError(f"exit code {process.code}: {process.told()[-2000:]}")
    return process.told()


def warm_up(work: Work) -> None:
    """Run it in a copy, and import here what it has imported there."""
    with tempfile.NamedTemporaryFile("r") as file:

        def noting() -> int:
            code = work()
            Path(file.name).write_text("\n".join(name for name in sys.modules if not name.startswith("__")))
            return code

        to_the_end(noting)
        for name in file.read().split():
            with contextlib.suppress(Exception):  # some modules exist by tricks, and what they are part of suffices
                importlib.import_module(name)


def watched(work: Work, count: Callable[[], int], items: int) -> Timeline:
    """Run to the end, watching the items appear."""
    began, process = time.monotonic(), Forked(work)
    first = last = None
    while process.poll() is None:
        done = count()
        first = time.monotonic() - began if first is None and done else first
        last = time.monotonic() - began if last is None and done >= items else last
        time.sleep(0.005)
    if process.code != 0:
        raise RuntimeError(f"exit code {process.code}: {process.told()[-2000:]}")
    end = time.monotonic() - began
    return Timeline(first or end, last or end, end)


def kill_often(
    work: Work, out: Path, count: Callable[[], int], items: int, content: Callable[[], dict[str, Any]],
    expected: dict[str, Any], timeline: Timeline, kills: int, seed: int = 0,
) -> Killed:  # fmt: skip
    """Kill `kills` times, each run going on from what the one before left; a run that ends is compared, and all begins
    again from nothing. The last is run to its end."""
    rng, found, an_item = random.Random(seed), Killed(), (timeline.last - timeline.first) / max(1, items - 1)
    finished = False
    while found.kills < kills:
        before, process, began = count(), Forked(work), time.monotonic()
        kind, limit, wait = rng.random(), items, (timeline.end - timeline.last) * rng.random()
        if kind < 0.2:
            limit, wait = 0, timeline.first * rng.random()
        elif kind < 0.9 and not finished:
            limit, wait = rng.randrange(min(before, items - 1), items) + 1, an_item * rng.random()
        while process.poll() is None and count() < limit and time.monotonic() - began < PATIENCE_S:
            time.sleep(0.001)
        if process.wait(PATIENCE_S if finished else wait) is None:
            process.kill()
        finished = not finished and count() >= items  # one kill there is enough, else there is never an end
        if process.code == -signal.SIGKILL:
            done = count()
            found.after += done >= items
            found.before += done <= before < items
            found.middle += before < done < items
        elif process.code != 0:
            raise RuntimeError(f"exit code {process.code} after a kill: {process.told()[-2000:]}")
        else:
            found.compare(expected, content())
            shutil.rmtree(out)
    to_the_end(work)
    found.compare(expected, content())
    return found
