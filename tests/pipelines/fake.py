"""A small honest codec for tests of the stages: it writes real .vcm files of pictures and clips, without torch.

Pixels are quantised by a step that shrinks as quality grows and deflated; two sections a picture (upper and lower
half), so that one can be damaged and the other shown.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from icm.bitstream import Header, Stream, StreamError, Times, read, write

WEIGHTS = b"\x01" * 8


class Fake:
    """Quality 1 … 100, continuous in sixteenths."""

    name, suffix, quality_range = "fake", ".vcm", (1.0, 100.0, 1 / 16)

    def __init__(self, quality: float | None = None, weights: str | None = None) -> None:
        self.quality = 50.0 if quality is None else quality
        if not 1 <= self.quality <= 100:
            raise ValueError(f"fake:{self.quality:g}: quality is 1 to 100")
        self.step = max(1, round((101 - self.quality) * 16) // 16)

    def encode(self, picture: np.ndarray) -> bytes:
        height, width = picture.shape[:2]
        header = Header("picture", width, height, self.name, WEIGHTS, bytes([self.step]))
        return write(header, [self._pack(half) for half in np.array_split(picture, 2)])

    def decode(self, data: Any) -> np.ndarray:
        with read(data) as stream:
            return self.decode_partial(stream, 0, strict=True)[0]

    def encode_clip(self, frames: Iterable[tuple[np.ndarray, int]], base: Fraction, colour: str = "srgb") -> bytes:
        sections, ticks, shape = [], [], (0, 0, 0)
        for frame, tick in frames:
            sections += [self._pack(half) for half in np.array_split(frame, 2)]
            ticks.append(tick)
            shape = frame.shape
        times, parameters = Times.of(ticks, base), bytes([self.step])
        header = Header("clip", shape[1], shape[0], self.name, WEIGHTS, parameters, 0, times, colour)
        return write(header, sections)

    def decode_clip(self, source: Any, start: int, stop: int) -> Iterator[tuple[np.ndarray, int]]:
        with read(source) as stream:
            for frame in range(start, stop):
                yield self.decode_partial(stream, frame, strict=True)[0], int(stream.header.times.ticks[frame])

    def decode_partial(
        self, stream: Stream, frame: int = 0, strict: bool = False
    ) -> tuple[np.ndarray, dict[tuple[int, int, int, int], str], list[tuple[int, int, int, int]]]:
        head = stream.header
        picture, lost, approximate = np.full((head.height, head.width, 3), 128, np.uint8), {}, []
        for i, rows in enumerate(np.array_split(np.arange(head.height), 2)):
            try:
                data = stream.section(2 * frame + i)
                picture[rows] = self._unpack(data, (len(rows), head.width, 3), head.parameters[0])
            except StreamError as error:
                if strict:
                    raise
                lost[int(rows[0]), int(rows[-1]) + 1, 0, head.width] = str(error)
                approximate.append((max(0, int(rows[0]) - 5), min(head.height, int(rows[-1]) + 6), 0, head.width))
        return picture, lost, approximate

    def _pack(self, pixels: np.ndarray) -> bytes:
        return zlib.compress((pixels // self.step).tobytes())

    @staticmethod
    def _unpack(data: bytes, shape: tuple[int, int, int], step: int) -> np.ndarray:
        return np.minimum(np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape) * int(step), 255).astype(
            np.uint8
        )
