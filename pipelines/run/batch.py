"""Batches: what is bad is listed, the rest goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TextIO, TypeVar

from pipelines.run.progress import progress

T = TypeVar("T")
R = TypeVar("R")
EXPECTED = (ValueError, OSError, ImportError, MemoryError)  # what an item or a user can cause; the rest is a bug


def one_line(error: BaseException) -> str:
    """An error as one line of text: the file and the reason, without "[Errno 2]" or line breaks."""
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        text = f"{name}{error.strerror.lower()}"
    elif isinstance(error, MemoryError):
        text = f"not enough memory ({error})" if str(error) else "not enough memory"
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


def each(
    items: Iterable[T],
    function: Callable[[T], R],
    refusals: Refusals,
    name: Callable[[T], str | os.PathLike[str]] = str,
    label: str = "",
    total: int | None = None,
) -> list[R]:
    """`function` of every item, in order; an item that raises one of `EXPECTED` is refused and left out."""
    done = []
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    for item in progress(items, total, label):
        try:
            done.append(function(item))
        except EXPECTED as error:
            refusals.add(name(item), error)
    return done
