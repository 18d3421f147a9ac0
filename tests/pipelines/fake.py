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

from icm.bitstream import Header, StreamError, Times, read, write

WEIGHTS = b"\x01" * 8


class Fake:
    """Quality 1 … 100, continuous in sixteenths."""

    name, suffix = "fake", ".vcm"

    def __init__(self, quality: float | None = None, weights: str | None = None) -> None:
        self.quality = 50.0 if quality is None else quality
        if not 1 <= self.quality <= 100:
            raise ValueError(f"fake:{self.quality:g}: quality is 1 to 100")
        self.step = max(1, round((101 - self.quality) * 16) // 16)

    def encode(self, picture: np.ndarray) -> bytes:
        height, width = picture.shape[:2]
        header = Header("picture", width, height, self.name, WEIGHTS, bytes([self.step]))
        return write(header, [self._pack(half) for half in np.array_split(picture, 2)])

    def decode(self, data: bytes) -> np.ndarray:
        return self.decode_partial(data, strict=True)[0]

    def decode_partial(self, data: bytes, strict: bool = False) -> tuple[np.ndarray, np.ndarray]:
        with read(data, partial=not strict) as stream:
            head = stream.header
            picture = np.full((head.height, head.width, 3), 128, np.uint8)
            damage = np.zeros((head.height, head.width), bool)
            for i, rows in enumerate(np.array_split(np.arange(head.height), 2)):
                try:
                    picture[rows] = self._unpack(stream.section(i), (len(rows), head.width, 3), head.parameters[0])
                except StreamError:
                    if strict:
                        raise
                    damage[rows] = True
            return picture, damage

    def encode_clip(self, frames: Iterable[tuple[np.ndarray, Fraction]]) -> bytes:
        sections, times, shape = [], [], (0, 0, 0)
        for frame, time_s in frames:
            sections.append(self._pack(frame))
            times.append(time_s)
            shape = frame.shape
        base = Fraction(1, int(np.lcm.reduce([time.denominator for time in times])))
        header = Header("clip", shape[1], shape[0], self.name, WEIGHTS, bytes([self.step]),
                        times=Times.of([int(time / base) for time in times], base))  # fmt: skip
        return write(header, sections)

    def decode_clip(self, source: Any, start: int, stop: int) -> Iterator[tuple[np.ndarray, Fraction]]:
        for frame, time_s, damage in self.decode_clip_partial(source, start, stop):
            if damage.any():
                raise StreamError("damaged: a frame does not match its CRC32C")
            yield frame, time_s

    def decode_clip_partial(
        self, source: Any, start: int, stop: int
    ) -> Iterator[tuple[np.ndarray, Fraction, np.ndarray]]:
        with read(source, partial=True) as stream:
            head = stream.header
            assert head.times is not None
            for i in range(start, stop):
                damage = np.zeros((head.height, head.width), bool)
                try:
                    frame = self._unpack(stream.section(i), (head.height, head.width, 3), head.parameters[0])
                except StreamError:
                    frame, damage = np.full((head.height, head.width, 3), 128, np.uint8), ~damage
                yield frame, int(head.times.ticks[i]) * head.times.base, damage

    def _pack(self, pixels: np.ndarray) -> bytes:
        return zlib.compress((pixels // self.step).tobytes())

    @staticmethod
    def _unpack(data: bytes, shape: tuple[int, int, int], step: int) -> np.ndarray:
        return np.minimum(np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape) * int(step), 255).astype(
            np.uint8
        )
