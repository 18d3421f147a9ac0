"""From a codec's name, a frame's size and a number of parameters to an architecture.

    nerv      positional encoding, fully shared; kernels 3, widths halved block by block (Chen et al. 2021)
    hnerv     embeddings of an encoder; kernels 1, 3, 5, 5 …, widths divided by 1.2 (Chen et al. 2023)
    sa-nerv   embeddings of their own; residuals; most weights at low resolution, and no layer at the full one
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from nerv.models.architecture import Architecture

STRIDES = (5, 4, 3, 2)
CELLS = (6, 24)  # of an embedding, about
HEAD, SMALL_STRIDES, MOST_CELLS = 4, (3, 2), 110  # sa-nerv's
SHARES = 1.0, 0.95, 0.7, 0.5, 0.36  # of the base, sa-nerv's widths, the last before the head; 1 before these
ROOM = 0.16  # of all numbers, for what is stored for each frame
CHANNELS = 4, 16  # of sa-nerv's embeddings
NARROWEST = {"nerv": 12, "hnerv": 12, "sa-nerv": 4}


def strides_for(
    height: int, width: int, cells: tuple[int, int] = CELLS, choice: tuple[int, ...] = STRIDES
) -> tuple[int, ...]:
    """Strides, falling, whose product divides the frame into a few cells with little beyond its edge, few of them."""
    best: tuple[float, tuple[int, ...]] | None = None
    for count in range(1, 8):
        for found in itertools.combinations_with_replacement(choice, count):
            product = math.prod(found)
            rows, columns = -(-height // product), -(-width // product)
            if rows * columns > cells[1] or product > max(height, width):
                continue
            waste = rows * columns * product**2 / (height * width)
            few = max(0, cells[0] - rows * columns)
            cost = waste + 0.05 * few + (0.03 * count if choice is STRIDES else 0.006 * sum(s * s for s in found))
            if best is None or cost < best[0]:
                best = cost, found
    return best[1] if best else (1,)


def hnerv(height: int, width: int, base: int, room: float) -> Architecture:
    """HNeRV whose stem has `base` channels."""
    strides = strides_for(height, width)
    widths = [base]
    for _ in strides:
        widths.append(max(round(widths[-1] / 1.2), NARROWEST["hnerv"]))
    kernels = tuple(min(1 + 2 * i, 5) for i in range(len(strides)))
    product = math.prod(strides)
    cells = -(-height // product), -(-width // product)
    return Architecture((16, *cells), tuple(widths), strides, kernels)


def nerv(height: int, width: int, base: int, room: float) -> Architecture:
    """NeRV whose stem has `base` channels."""
    strides = strides_for(height, width, (24, 200))
    widths = [base]
    for _ in strides:
        widths.append(max(widths[-1] // 2, NARROWEST["nerv"]))
    product = math.prod(strides)
    grid = -(-height // product), -(-width // product)
    levels = 80
    return Architecture((2 * levels, 1, 1), tuple(widths), strides, (3,) * len(strides), grid, (1250, levels),
                        output="sigmoid")  # fmt: skip


def sa_nerv(height: int, width: int, base: int, room: float) -> Architecture:
    """Ours, whose stem has `base` channels. room: numbers that may be stored for each frame, about: as many cells as
    they allow, each with at least 4 channels."""
    rows, columns = -(-height // HEAD), -(-width // HEAD)
    most = max(1, min(MOST_CELLS, int(room / CHANNELS[0])))
    strides = strides_for(rows, columns, (most // 3, most), SMALL_STRIDES)
    product = math.prod(strides)
    cells = -(-rows // product), -(-columns // product)
    channels = int(max(CHANNELS[0], min(CHANNELS[1], room / (cells[0] * cells[1]))))
    count = len(strides) + 1
    shares = [1.0] * (count - len(SHARES)) + list(SHARES[-count:])
    widths = tuple(max(NARROWEST["sa-nerv"], round(base * share)) for share in shares)
    return Architecture((channels, *cells), widths, strides, (3,) * len(strides), output="linear", stem=3, head=HEAD,
                        residuals=(1,) * len(strides))  # fmt: skip


BUILDERS: dict[str, Callable[[int, int, int, float], Architecture]] = {"nerv": nerv, "hnerv": hnerv, "sa-nerv": sa_nerv}


def sized(name: str, height: int, width: int, frames: int, parameters: int) -> Architecture:
    """The largest of its kind with at most so many numbers, those stored for each of `frames` frames included.
    ValueError where not even the smallest has so few."""
    room = ROOM * parameters / frames

    def build(base: int) -> Architecture:
        return BUILDERS[name](height, width, base, room)

    def numbers(base: int) -> int:
        found = build(base)
        return found.parameters + frames * found.stored

    low, high = 1, 2
    if numbers(low) > parameters:
        raise ValueError(f"{name}: {parameters:,} parameters are too few for {width}x{height}, {frames} frames: "
                         f"the smallest has {numbers(low):,}")  # fmt: skip
    while numbers(high) <= parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if numbers(middle) <= parameters else (low, middle)
    return build(low)
