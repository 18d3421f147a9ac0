"""Finding the quality for a size: bisection on the real bytes of real files."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple


class Fit(NamedTuple):
    """What was found: the bytes of the file and the quality that gave them."""

    data: bytes
    quality: float


def fit(
    encode: Callable[[float], bytes], target_bytes: int, low: float, high: float, step: float, what: str = "the file"
) -> Fit:
    """The best quality in low, low + step … high whose file has at most `target_bytes`.

    `encode` gives the file of a quality. Its size must grow or shrink along the range; which of them is found out from
    the two ends (a quantiser like x265's shrinks files as it grows). Where sizes wiggle by a few bytes between
    neighbours the answer fits and its better neighbour does not. About 9 files are made for 1,585 qualities.
    ValueError, one line with the smallest possible size, when no quality fits.
    """
    last = round((high - low) / step)
    ends = encode(low), encode(low + last * step)
    grows = len(ends[1]) >= len(ends[0])

    def quality(index: int) -> float:
        """index 0: the smallest file; `last`: the largest."""
        return low + (index if grows else last - index) * step

    smallest, largest = ends if grows else ends[::-1]
    if len(largest) <= target_bytes:
        return Fit(largest, quality(last))
    if len(smallest) > target_bytes:
        raise ValueError(f"{what}: cannot be made {target_bytes} bytes; the smallest possible is {len(smallest)} bytes")
    fits, data, over, over_bytes, guess = 0, smallest, last, len(largest), True
    while over - fits > 1:
        middle = (fits + over) // 2
        if guess:  # sizes grow about exponentially with quality; every second step halves, for where they do not
            share = math.log((target_bytes + 1) / len(data)) / max(math.log(over_bytes / len(data)), 1e-9)
            middle = min(max(fits + round(share * (over - fits)), fits + 1), over - 1)
        guess = not guess
        tried = encode(quality(middle))
        if len(tried) <= target_bytes:
            fits, data = middle, tried
        else:
            over, over_bytes = middle, len(tried)
    return Fit(data, quality(fits))
