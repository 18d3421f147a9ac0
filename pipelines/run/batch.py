"""Batches: what is bad is listed, the rest goes on."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TextIO, TypeVar

from pipelines.run.progress import progress

T = TypeVar("T")
R = TypeVar("R")
# what an item or a user can cause (the last: JSON or YAML nested without end); the rest is a bug
EXPECTED = (ValueError, OSError, ImportError, MemoryError, RecursionError)


def one_line(error: BaseException) -> str:
    """An error as one line of text: the file and the reason, without "[Errno 2]" or line breaks."""
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        text = f"{name}{error.strerror.lower()}"
    elif isinstance(error, MemoryError):
        text = f"not enough memory ({error})" if str(error) else "not enough memory"
    elif isinstance(error, RecursionError):
        text = f"a file that is nested too deeply ({error})"
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__


class Refusals:
    """The items that were refused, in order, each with its reason in one line."""

    def __init__(self) -> None:
        self.items: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self.items)

    def add(self, path: str | os.PathLike[str], reason: str | BaseException) -> None:
        """Note one; a reason that already begins with the path is not given it twice."""
        name, text = os.fspath(path), one_line(reason) if isinstance(reason, BaseException) else reason
        self.items.append((name, text.removeprefix(f"{name}: ")))

    def report(self, stream: TextIO | None = None) -> None:
        """One line each and a count, on stderr unless told otherwise; nothing when there are none."""
        stream = stream or sys.stderr
        for name, reason in self.items:
            print(f"refused {name}: {reason}", file=stream)
        if self.items:
            print(f"{len(self.items)} refused", file=stream)

    @property
    def exit_code(self) -> int:
        """0: everything was done. 1: something was refused."""
        return 1 if self.items else 0


def about(path: str | os.PathLike[str], error: BaseException) -> ValueError:
    """The error as one line that begins with the file it is about."""
    name, text = os.fspath(path), one_line(error)
    return ValueError(text if text.startswith(name) else f"{name}: {text}")


def each(
    items: Iterable[T],
    function: Callable[[T], R],
    refusals: Refusals,
    name: Callable[[T], str | os.PathLike[str]] = str,
    label: str = "",
    total: int | None = None,
    workers: int = 1,
) -> Iterator[R]:
    """`function` of every item, in order; an item that raises one of `EXPECTED` is refused and left out.

    workers > 1: that many processes, started anew (torch's threads do not survive a fork), so `function` must be
    importable; the cores are divided among them.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    results = _here(items, function) if workers <= 1 else _spread(items, function, workers)
    for item, result in progress(results, total, label):
        try:
            yield result()
        except EXPECTED as error:
            refusals.add(name(item), error)
        except BrokenProcessPool:
            refusals.add(name(item), "its process died (out of memory?); try fewer --workers")


@contextmanager
def telling_memory() -> Iterator[None]:
    """torch says in a RuntimeError that memory ran out; here it becomes the MemoryError that it is."""
    try:
        yield
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error).lower():
            raise MemoryError("the picture is too large for it") from error
        raise


def _here(items: Iterable[T], function: Callable[[T], R]) -> Iterator[tuple[T, Callable[[], R]]]:
    for item in items:
        yield item, functools.partial(function, item)


def _spread(items: Iterable[T], function: Callable[[T], R], workers: int) -> Iterator[tuple[T, Callable[[], R]]]:
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin_worker, (threads,))
    try:
        waiting = [(item, pool.submit(function, item)) for item in items]
        for item, future in waiting:
            yield item, future.result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the pool; one line, not one a process
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # before torch is imported here
