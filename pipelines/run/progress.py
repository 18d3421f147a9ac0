"""Progress bars: on stderr, after two seconds, silent when stderr is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(iterable: Iterable[T], total: int | None = None, label: str = "") -> Iterator[T]:
    """Pass the items on; `total` (items) is taken from the iterable's length when not given."""
    if not sys.stderr.isatty():
        yield from iterable
        return
    from tqdm import tqdm

    yield from tqdm(iterable, total=total, desc=label, file=sys.stderr, delay=2, leave=False, dynamic_ncols=True)
