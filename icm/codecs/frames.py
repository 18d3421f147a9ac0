"""What every codec of pictures and clips does alike when it decodes: frames of a file by number, all or nothing.

    file ─▶ stream ─decode_partial of the codec, strictly─▶ frame
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any

import numpy as np

from icm.bitstream import Stream, StreamError, read


class FrameDecoder(abc.ABC):
    """A codec whose `decode_partial(stream, frame, strict=True)` gives a whole frame first, or raises StreamError."""

    @abc.abstractmethod
    def decode_partial(self, stream: Stream, frame: int = 0, strict: bool = False) -> tuple[np.ndarray, Any, Any]:
        """(picture, what is lost, …) of one frame."""

    def decode(self, data: Any) -> np.ndarray:
        """A .vcm picture (bytes or path) → (H, W, 3) uint8 RGB. StreamError where a byte is wrong, or for a clip."""
        with read(data) as stream:
            if stream.header.kind != "picture":
                raise StreamError(
                    f"holds a {stream.header.kind} of {stream.header.frames} frames, not a picture; "
                    "use decode_clip, or `vcm decode`"
                )
            return self.decode_frame(stream, 0)

    def decode_clip(self, data: Any, start: int = 0, stop: int | None = None) -> Iterator[tuple[np.ndarray, int]]:
        """Frames [start, stop) of a clip (or the one of a picture) with their ticks; only their bytes are read."""
        with read(data) as stream:
            frames = stream.header.frames
            ticks = stream.header.times.ticks if stream.header.times else [0]
            for frame in range(start, frames if stop is None else min(stop, frames)):
                yield self.decode_frame(stream, frame), int(ticks[frame])

    def decode_frame(self, stream: Stream, frame: int) -> np.ndarray:
        """One frame of an open stream, every tile of it intact."""
        return self.decode_partial(stream, frame, strict=True)[0]
