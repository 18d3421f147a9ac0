"""Pictures and clips of pictures to .vcm bytes and back.

    picture ─▶ tiles of 1024 px, each with a coder state of its own ─▶ one section a tile
    clip    ─▶ the tiles of 64 px that changed (icm/codecs/clips.py) ─▶ one section a frame, timestamps in the header
            ─▶ or every frame whole, as a picture (refresh=1)        ─▶ frames × tiles sections

The transforms reach across the tiles' borders (icm/codecs/coding.py, `regions`), so tiles leave no seam.
Header parameters, 3 bytes: quality·16 (little-endian, 2 bytes), log2 of the tile's side in pixels. Of a clip of changed
tiles, which has the feature bit of that name, an index follows (icm/codecs/clip_index.py). Of a picture with a map of
qualities, which has that bit, two bytes follow: log2 of the map's cells, its step; each tile's payload begins with its
part of the map (icm/quality_map.py).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import weakref
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from icm.bitstream import CHANGED_TILES, QUALITY_MAP, Header, OtherWeights, Stream, StreamError, Times, read, write
from icm.codecs.clips import FINER, REFRESH, ClipDecoder, ClipEncoder
from icm.codecs.coding import GREY, PictureCoder, Window
from icm.codecs.frames import FrameDecoder
from icm.codecs.layers import STRIDE
from icm.codecs.release import Release, shipped_with
from icm.quality import HIGHEST, LOWEST, STEPS, to_code
from icm.quality_map import QualityMap, Roi

TILE = 1024
DEFAULT_QUALITY = 30.0
_open_clips: weakref.WeakKeyDictionary[Stream, ClipDecoder] = weakref.WeakKeyDictionary()


@functools.lru_cache(maxsize=4)
def coder_of(weights: str) -> PictureCoder:
    """Weights by name or path, loaded once a process."""
    return Release.load(weights).picture_coder()


class PictureCodec(FrameDecoder):
    """`sa-icm-s` or `lic-s`: encode, decode, and the same for clips.

    quality: 1…100 in sixteenths. weights: a name or a path (default: those of the name). tile: pixels, 2^n from 64.
    refresh: of clips, a whole frame at least every so many frames, changed tiles between; 1: every frame whole.
    finer: by how many qualities the symbols of those whole frames are finer than the others' (at most up to 100).
    """

    suffix = ".vcm"
    takes_roi = True
    quality_range = (LOWEST, HIGHEST, 1 / STEPS)

    def __init__(
        self, name: str, quality: float | None = None, weights: str | os.PathLike[str] | None = None, tile: int = TILE,
        refresh: int = REFRESH, finer: int = FINER,
    ) -> None:  # fmt: skip
        self.name, self.quality = name, DEFAULT_QUALITY if quality is None else float(quality)
        self.code = to_code(self.quality)
        self.quality = self.code / STEPS  # what the stream will say
        if tile < 64 or tile & (tile - 1) or tile > 32768:
            raise ValueError(f"a tile's side is a power of two from 64 to 32768, not {tile}")
        if refresh < 1:
            raise ValueError(f"a clip is refreshed every 1 or more frames, not {refresh}")
        if finer < 0:
            raise ValueError(f"key frames are finer by 0 or more qualities, not {finer}")
        self.tile, self.refresh, self.finer = tile, refresh, finer
        self.weights, self.named = str(weights or name), weights is not None
        self.coder = coder_of(self.weights)

    # --- encoding ---------------------------------------------------------------------------------------------------
    def encode(self, picture: np.ndarray, roi: QualityMap | None = None) -> bytes:
        """(H, W, 3) uint8 RGB of 1×1 or more → a whole .vcm file. roi: qualities of its cells, below that of the codec.

        A map that changes nothing leaves no trace. ValueError for one of another size.
        """
        check(picture)
        height, width = picture.shape[:2]
        if roi is not None and not roi.fits(height, width):
            cells = f"{roi.depths.shape[0]}x{roi.depths.shape[1]} cells of {roi.roi.cell} pixels"
            raise ValueError(f"a map of {cells} does not fit a picture of {width}x{height}")
        header = self._header("picture", height, width)
        if roi is None or roi.flat:
            return write(header, self._tiles(picture))
        header = dataclasses.replace(
            header, parameters=header.parameters + roi.roi.to_bytes(), features=header.features | QUALITY_MAP,
            memory=header.memory + memory_of_map(height, width, self.tile, self.coder),
        )  # fmt: skip
        return write(header, self._tiles(picture, roi))

    def encode_clip(self, frames: Iterable[tuple[np.ndarray, int]], base: Fraction, colour: str = "srgb") -> bytes:
        """(frame, presentation tick) in order, all of one size; base: seconds a tick. Only payloads stay in memory.

        colour: where the RGB samples come from, as the header has it; coding does not depend on it.
        """
        sections: list[bytes] = []
        ticks: list[int] = []
        changes: ClipEncoder | None = None
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
            if self.refresh == 1:
                sections += self._tiles(frame)
            else:
                changes = changes or ClipEncoder(
                    self.coder, self.code, *size, self.tile, self.refresh, finer=self.finer
                )
                changes.add(frame)
            ticks.append(int(tick))
        if size is None:
            raise ValueError("the clip has no frames")
        header = self._header("clip", *size, Times.of(ticks, base), colour)
        if changes is None:
            return write(header, sections)
        header = dataclasses.replace(
            header, parameters=changes.finish(), features=header.features | CHANGED_TILES,
            memory=header.memory + memory_held(*size, self.tile, self.coder),
        )  # fmt: skip
        return write(header, changes.sections)

    def _header(self, kind: str, height: int, width: int, times: Times | None = None, colour: str = "srgb") -> Header:
        parameters = self.code.to_bytes(2, "little") + bytes([self.tile.bit_length() - 1])
        memory = decode_memory(height, width, self.tile, self.coder)
        return Header(kind, width, height, self.name, self.coder.release.short_hash, parameters, memory, times, colour)

    def _tiles(self, picture: np.ndarray, roi: QualityMap | None = None) -> list[bytes]:
        y = self.coder.analyse(picture, self.code)
        windows = tiles(y.shape[1], y.shape[2], self.tile)
        return [self.coder.encode_tile(y[:, r0:r1, c0:c1], self.code, roi and roi.window(r0, r1, c0, c1))[0]
                for r0, r1, c0, c1 in windows]  # fmt: skip

    # --- decoding ---------------------------------------------------------------------------------------------------
    def decode_partial(
        self, stream: Stream, frame: int = 0, strict: bool = False
    ) -> tuple[np.ndarray, dict[Window, str], list[Window]]:
        """A frame as far as it is intact → (picture, lost, approximate), windows in pixels.

        lost: {window of a damaged tile: reason}, left grey. approximate: windows around them, which reach 16·margin (of
        the coder) pixels further, as far as synthesis looks: there, pixels were computed without the damaged tile.
        Outside both, every pixel is that of the intact file.
        """
        if stream.header.features & CHANGED_TILES:
            return self._clip(stream).frame(stream, frame, strict)
        coder, code, tile, roi = self._parameters(stream)
        height, width = stream.header.height, stream.header.width
        rows, cols = -(-height // STRIDE), -(-width // STRIDE)
        windows = tiles(rows, cols, tile)
        if len(windows) * stream.header.frames != len(stream):
            raise StreamError(
                f"damaged: {len(stream)} sections for {stream.header.frames} frames of {len(windows)} tiles"
            )
        y_hat = torch.zeros(coder.model.settings["latent"], rows, cols)
        lost: dict[Window, str] = {}
        for i, (r0, r1, c0, c1) in enumerate(windows):
            try:
                payload = stream.section(frame * len(windows) + i)
                y_hat[:, r0:r1, c0:c1] = coder.decode_tile(payload, r1 - r0, c1 - c0, code, roi)
            except StreamError as error:
                if strict:
                    raise
                lost[r0 * STRIDE, min(r1 * STRIDE, height), c0 * STRIDE, min(c1 * STRIDE, width)] = str(error)
        picture = coder.synthesise(y_hat, height, width, code)
        reach, approximate = STRIDE * coder.margin, []
        for top, bottom, left, right in lost:
            picture[top:bottom, left:right] = GREY
            around = max(0, top - reach), min(height, bottom + reach), max(0, left - reach), min(width, right + reach)
            approximate.append(around)
        return picture, lost, approximate

    def verify(self, data: Any) -> list[str]:
        """Everything wrong with a file, found without making pictures: container, checksums, every coded symbol."""
        with read(data, partial=True) as stream:
            problems = stream.verify()
            if problems:
                return problems
            if stream.header.features & CHANGED_TILES:
                clip = self._clip(stream)
                found = (clip.step(stream, i) for i in range(stream.header.frames))
                return list(dict.fromkeys(str(problem) for problem in found if problem))
            coder, code, tile, roi = self._parameters(stream)
            windows = tiles(-(-stream.header.height // STRIDE), -(-stream.header.width // STRIDE), tile)
            if len(windows) * stream.header.frames != len(stream):
                return [f"damaged: {len(stream)} sections for {stream.header.frames} frames of {len(windows)} tiles"]
            for i in range(len(stream)):
                r0, r1, c0, c1 = windows[i % len(windows)]
                try:
                    coder.decode_tile(stream.section(i), r1 - r0, c1 - c0, code, roi)
                except StreamError as error:
                    problems.append(f"section {i}: {error}")
            return problems

    def latents(self, stream: Stream) -> Iterator[torch.Tensor]:
        """y_hat (M, h, w) of every section, of a clip of changed tiles after every frame: all that integers decide.
        StreamError where one is damaged."""
        if stream.header.features & CHANGED_TILES:
            clip = self._clip(stream)
            for i in range(stream.header.frames):
                if problem := clip.step(stream, i):
                    raise problem
                yield clip.held.y_hat
            return
        coder, code, tile, roi = self._parameters(stream)
        windows = tiles(-(-stream.header.height // STRIDE), -(-stream.header.width // STRIDE), tile)
        for i in range(len(stream)):
            r0, r1, c0, c1 = windows[i % len(windows)]
            yield coder.decode_tile(stream.section(i), r1 - r0, c1 - c0, code, roi)

    def _clip(self, stream: Stream) -> ClipDecoder:
        """What stands where it was left in this stream."""
        coder, found = self._parameters(stream)[0], _open_clips.get(stream)
        if found is None or found.coder is not coder:
            found = _open_clips[stream] = ClipDecoder(stream, coder)
        return found

    def _parameters(self, stream: Stream) -> tuple[PictureCoder, int, int, Roi | None]:
        """(coder, quality code, tile side, how maps of qualities are read) for a stream. Unless weights were named, any
        shipped ones may serve."""
        header = stream.header
        coder = self.coder
        if header.weights != coder.release.short_hash and not self.named and (path := shipped_with(header.weights)):
            coder = coder_of(str(path))
        if header.weights != coder.release.short_hash:
            raise OtherWeights(
                f"made with weights {header.weights.hex()} of {header.model}, "
                f"but {self.weights} is {coder.release.short_hash.hex()}; name the right weights with --weights"
            )
        changed = header.kind == "clip" and bool(header.features & CHANGED_TILES)
        mapped = bool(header.features & QUALITY_MAP)
        fits = len(header.parameters) > 5 and not mapped if changed else len(header.parameters) == 3 + 2 * mapped
        if header.kind not in ("picture", "clip") or not fits:
            raise StreamError(
                f"damaged: a {header.kind} with {len(header.parameters)} bytes of parameters is none of {self.name}"
            )
        code, log_tile = int.from_bytes(header.parameters[:2], "little"), header.parameters[2]
        if not LOWEST * STEPS <= code <= HIGHEST * STEPS or not 6 <= log_tile <= 15:
            raise StreamError(f"damaged: quality code {code} or tile 2^{log_tile} is out of range")
        needed = decode_memory(header.height, header.width, 1 << log_tile, coder)
        needed += memory_held(header.height, header.width, 1 << log_tile, coder) if changed else 0
        needed += memory_of_map(header.height, header.width, 1 << log_tile, coder) if mapped else 0
        if needed > header.memory:
            raise StreamError(f"damaged: declares {header.memory} bytes of decode memory where {needed} are needed")
        return coder, code, 1 << log_tile, Roi.from_bytes(header.parameters[3:]) if mapped else None


def tiles(rows: int, cols: int, tile: int) -> list[Window]:
    """(top, bottom, left, right) of each tile in latents, row by row."""
    side = tile // STRIDE
    return [
        (r, min(r + side, rows), c, min(c + side, cols)) for r in range(0, rows, side) for c in range(0, cols, side)
    ]


def decode_memory(height: int, width: int, tile: int, coder: PictureCoder) -> int:
    """Bytes that decoding needs beyond interpreter and weights: picture, latent, widest layers, a tile's prior.

    A reader refuses a stream that declares less, so what `icm.bitstream.Limits` allows is what a decoder may take.
    """
    settings = coder.model.settings
    side = min(max(height, width), 1280) + 2 * STRIDE * coder.margin
    pixels = (height + 15) * (width + 15)
    a, b, _ = settings["widths"]
    synthesis = 4 * min(pixels, side * side) * max(8 * a // 16, 8 * b // 64)
    prior = 8 * min(pixels, tile * tile) * (4 * settings["latent"] + 4 * settings["prior_width"]) // STRIDE**2
    return 3 * height * width + 4 * settings["latent"] * math.ceil(height * width / 256) + max(synthesis, prior)


def memory_held(height: int, width: int, tile: int, coder: PictureCoder) -> int:
    """What a clip of changed tiles needs beyond that: z, a second picture, the latents around what is coded."""
    settings = coder.model.settings
    z = 8 * settings["hyper"] * (height // 64 + 1) * (width // 64 + 1)
    beside = 4 * (tile + 64) * 64 * 8 * (4 * settings["latent"] + 4 * settings["prior_width"]) // STRIDE**2
    return z + 3 * height * width + beside


def memory_of_map(height: int, width: int, tile: int, coder: PictureCoder) -> int:
    """What a map of qualities needs beyond that: gains of every latent of a tile."""
    pixels = min((height + 15) * (width + 15), tile * tile)
    return 32 * pixels * int(coder.model.settings["latent"]) // STRIDE**2


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
