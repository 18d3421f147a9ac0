"""Pictures and clips of pictures to .vcm bytes and back.

    picture ─▶ tiles of 1024 px, each with a coder state of its own ─▶ one section a tile
    clip    ─▶ the same a frame                                     ─▶ frames × tiles sections, timestamps in the header

The transforms reach across the tiles' borders (icm/codecs/coding.py, `regions`), so tiles leave no seam.
Header parameters, 3 bytes: quality·16 (little-endian, 2 bytes), log2 of the tile's side in pixels.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from icm.bitstream import Header, Stream, StreamError, Times, read, write
from icm.codecs.coding import PictureCoder
from icm.codecs.layers import STRIDE
from icm.codecs.release import Release
from icm.quality import HIGHEST, LOWEST, STEPS, to_code

TILE = 1024
DEFAULT_QUALITY = 30.0
GREY = 128


@functools.lru_cache(maxsize=4)
def coder_of(weights: str) -> PictureCoder:
    """Weights by name or path, loaded once a process."""
    return Release.load(weights).picture_coder()


class PictureCodec:
    """`sa-icm-s` or `lic-s`: encode, decode, and the same for clips.

    quality: 1…100 in sixteenths. weights: a name or a path (default: those of the name). tile: pixels, 2^n from 64.
    """

    suffix = ".vcm"
    quality_range = (LOWEST, HIGHEST, 1 / STEPS)

    def __init__(
        self, name: str, quality: float | None = None, weights: str | os.PathLike[str] | None = None, tile: int = TILE
    ) -> None:
        self.name, self.quality = name, DEFAULT_QUALITY if quality is None else float(quality)
        self.code = to_code(self.quality)
        if tile < 64 or tile & (tile - 1) or tile > 32768:
            raise ValueError(f"a tile's side is a power of two from 64 to 32768, not {tile}")
        self.tile = tile
        self.weights = str(weights or name)
        self.coder = coder_of(self.weights)

    # --- encoding ---------------------------------------------------------------------------------------------------
    def encode(self, picture: np.ndarray) -> bytes:
        """(H, W, 3) uint8 RGB of 1×1 or more → a whole .vcm file."""
        check(picture)
        height, width = picture.shape[:2]
        return write(self._header("picture", height, width), self._tiles(picture))

    def encode_clip(self, frames: Iterable[tuple[np.ndarray, int]], base: Fraction) -> bytes:
        """(frame, presentation tick) in order, all of one size; base: seconds a tick. Only payloads stay in memory."""
        sections: list[bytes] = []
        ticks: list[int] = []
        size: tuple[int, int] | None = None
        for frame, tick in frames:
            check(frame)
            if size is None:
                size = frame.shape[0], frame.shape[1]
            if frame.shape[:2] != size:
                raise ValueError(
                    f"frame {len(ticks)} is {frame.shape[1]}x{frame.shape[0]}, the first was {size[1]}x{size[0]}; "
                    "cut the clip there"
                )
            sections += self._tiles(frame)
            ticks.append(int(tick))
        if size is None:
            raise ValueError("the clip has no frames")
        return write(self._header("clip", *size, times=Times.of(ticks, base)), sections)

    def _header(self, kind: str, height: int, width: int, times: Times | None = None) -> Header:
        parameters = self.code.to_bytes(2, "little") + bytes([self.tile.bit_length() - 1])
        memory = decode_memory(height, width, self.coder)
        return Header(kind, width, height, self.name, self.coder.release.short_hash, parameters, memory, times)

    def _tiles(self, picture: np.ndarray) -> list[bytes]:
        y = self.coder.analyse(picture, self.code)
        windows = tiles(y.shape[1], y.shape[2], self.tile)
        return [self.coder.encode_tile(y[:, r0:r1, c0:c1], self.code)[0] for r0, r1, c0, c1 in windows]

    # --- decoding ---------------------------------------------------------------------------------------------------
    def decode(self, data: Any) -> np.ndarray:
        """A .vcm picture (bytes or path) → (H, W, 3) uint8 RGB. StreamError where a byte is wrong."""
        with read(data) as stream:
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
        picture, damage = self.decode_partial(stream, frame, strict=True)
        assert not damage
        return picture

    def decode_partial(
        self, stream: Stream, frame: int = 0, strict: bool = False
    ) -> tuple[np.ndarray, dict[tuple[int, int, int, int], str]]:
        """A frame with grey where a tile is damaged → (picture, {(top, bottom, left, right) in pixels: reason}).

        Pixels within 16·margin (of the coder) of a damaged tile were computed without it and are approximate.
        """
        code, tile = self._parameters(stream)
        height, width = stream.header.height, stream.header.width
        rows, cols = -(-height // STRIDE), -(-width // STRIDE)
        windows = tiles(rows, cols, tile)
        if len(windows) * stream.header.frames != len(stream):
            raise StreamError(
                f"damaged: {len(stream)} sections for {stream.header.frames} frames of {len(windows)} tiles"
            )
        y_hat = torch.zeros(self.coder.model.settings["latent"], rows, cols)
        damage: dict[tuple[int, int, int, int], str] = {}
        for i, (r0, r1, c0, c1) in enumerate(windows):
            try:
                payload = stream.section(frame * len(windows) + i)
                y_hat[:, r0:r1, c0:c1] = self.coder.decode_tile(payload, r1 - r0, c1 - c0, code)
            except StreamError as error:
                if strict:
                    raise
                damage[r0 * STRIDE, min(r1 * STRIDE, height), c0 * STRIDE, min(c1 * STRIDE, width)] = str(error)
        picture = self.coder.synthesise(y_hat, height, width, code)
        for top, bottom, left, right in damage:
            picture[top:bottom, left:right] = GREY
        return picture, damage

    def verify(self, data: Any) -> list[str]:
        """Everything wrong with a file, found without making pictures: container, checksums, every coded symbol."""
        with read(data, partial=True) as stream:
            problems = stream.verify()
            if problems:
                return problems
            code, tile = self._parameters(stream)
            windows = tiles(-(-stream.header.height // STRIDE), -(-stream.header.width // STRIDE), tile)
            if len(windows) * stream.header.frames != len(stream):
                return [f"damaged: {len(stream)} sections for {stream.header.frames} frames of {len(windows)} tiles"]
            for i in range(len(stream)):
                r0, r1, c0, c1 = windows[i % len(windows)]
                try:
                    self.coder.decode_tile(stream.section(i), r1 - r0, c1 - c0, code)
                except StreamError as error:
                    problems.append(f"section {i}: {error}")
            return problems

    def _parameters(self, stream: Stream) -> tuple[int, int]:
        """(quality code, tile side) of a stream that these weights can decode."""
        header = stream.header
        if header.weights != self.coder.release.short_hash:
            raise StreamError(
                f"made with weights {header.weights.hex()} of {header.model}, "
                f"but {self.weights} is {self.coder.release.short_hash.hex()}; "
                "name the right weights with --weights"
            )
        if header.kind not in ("picture", "clip") or len(header.parameters) != 3:
            raise StreamError(
                f"damaged: a {header.kind} with {len(header.parameters)} bytes of parameters is none of {self.name}"
            )
        code, log_tile = int.from_bytes(header.parameters[:2], "little"), header.parameters[2]
        if not LOWEST * STEPS <= code <= HIGHEST * STEPS or not 6 <= log_tile <= 15:
            raise StreamError(f"damaged: quality code {code} or tile 2^{log_tile} is out of range")
        return code, 1 << log_tile


def tiles(rows: int, cols: int, tile: int) -> list[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of each tile in latents, row by row."""
    side = tile // STRIDE
    return [
        (r, min(r + side, rows), c, min(c + side, cols)) for r in range(0, rows, side) for c in range(0, cols, side)
    ]


def decode_memory(height: int, width: int, coder: PictureCoder) -> int:
    """Bytes that decoding needs beyond interpreter and weights: picture, latent, the widest layers of a region."""
    settings = coder.model.settings
    side = min(max(height, width), 1280) + 2 * STRIDE * coder.margin
    region = min(math.prod((height + 15, width + 15)), side * side)
    a, b, _ = settings["widths"]
    return (
        3 * height * width
        + 4 * settings["latent"] * math.ceil(height * width / 256)
        + 4 * region * max(8 * a // 16, 8 * b // 64)
    )


def check(picture: np.ndarray) -> None:
    """ValueError unless (H, W, 3) uint8 with at least one pixel."""
    if (
        not isinstance(picture, np.ndarray)
        or picture.dtype != np.uint8
        or picture.ndim != 3
        or picture.shape[2] != 3
        or not picture.size
    ):
        raise ValueError("a picture is an array (H, W, 3) of uint8, RGB, of at least one pixel")


def build(name: str, quality: float | None = None, **options: Any) -> PictureCodec:
    """The codec called `name`; options: weights (name or path), tile (pixels)."""
    return PictureCodec(name, quality, **options)
