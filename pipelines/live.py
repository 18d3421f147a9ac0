"""Sources that cannot be read twice: frames on standard input (Y4M, MPEG-TS, …), a camera's stream by its address.

A growing recording is a pipe as well: `tail -c +1 -f camera.ts | vcm encode - …`. What is read is what
`pipelines/clips` makes of it: upright RGB of 8 bits, exact times. The source ends where it ends; that is no damage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.clips import COLOURS, ClipInfo, as_read, matrix_of, nominal_rate

if TYPE_CHECKING:
    import numpy as np

OPTIONS = {"rtsp_transport": "tcp", "timeout": "10000000"}  # microseconds


class _Pipe:
    """Standard input as something that can be read and nothing else, so that nobody tries to seek in it."""

    def read(self, size: int) -> bytes:
        return sys.stdin.buffer.read(size)


def live_clip(source: str) -> tuple[ClipInfo, Iterator[tuple[np.ndarray, int]]]:
    """(what its first frame tells, frames with their ticks). ValueError, one line, where it is no video, changes its
    size or its times do not increase. Frames before one that cannot be decoded are kept; it then counts as ended."""
    import av

    name = "standard input" if source == "-" else source
    try:
        container = av.open(_Pipe() if source == "-" else source, options={} if source == "-" else OPTIONS)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ValueError(f"{name}: gives no video that can be read here ({reason})") from None
    if not container.streams.video:
        raise ValueError(f"{name}: holds no video")
    frames = _decoded(container)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{name}: holds no frames")
    picture = as_read(Path(name), first)
    stream = container.streams.video[0]
    rate = nominal_rate(stream)
    timed = first.pts is not None and stream.time_base is not None
    base = Fraction(stream.time_base or 0) if timed else 1 / rate
    colour = "srgb" if first.format.is_rgb else COLOURS[matrix_of(first)]
    info = ClipInfo(picture.shape[1], picture.shape[0], None, rate, base, colour)

    def rest() -> Iterator[tuple[np.ndarray, int]]:
        last = first.pts if timed else 0
        yield picture, last
        for count, frame in enumerate(frames, 1):
            shown = as_read(Path(name), frame)
            tick = frame.pts if timed else count
            if shown.shape != picture.shape:
                raise ValueError(f"{name}: changes its size at frame {count}")
            if tick is None or tick <= last:
                raise ValueError(f"{name}: times do not increase at frame {count}")
            yield shown, tick
            last = tick

    return info, rest()


def _decoded(container: Any) -> Iterator[Any]:
    import av

    try:
        yield from container.decode(container.streams.video[0])
    except (av.FFmpegError, EOFError):
        return  # a camera that was switched off in the middle of a frame
