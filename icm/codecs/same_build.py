"""Codecs with one rate a set of weights, whose prior is computed in floats: pictures and clips to .vcm bytes and back.

    picture ─▶ tiles of 1024 px, each coded by itself, transforms included ─▶ one section a tile
    clip    ─▶ the same a frame ─▶ frames × tiles sections, timestamps in the header

The header says `same-build`: another processor or torch may round otherwise. Most such differences are allowed for
(icm/codecs/guard.py); where they are larger, decoding ends with an error that says so, never with a wrong picture.
Header parameters, 2 bytes: log2 of the tile's side in pixels, guard in bits.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from icm.bitstream import SAME_BUILD, Decoder, Header, OtherWeights, Stream, StreamError, Times, read, write
from icm.codecs.frames import FrameDecoder
from icm.codecs.guard import GUARD_MAX
from icm.codecs.networks import ALIASES
from icm.codecs.picture import GREY, TILE, Window, check
from icm.codecs.release import Release, find

GUARD = 16  # bits: 1.5e-5 of a scale, for about 0.0035 bits a symbol


class TileCoder(Protocol):
    """What codes the tiles: made from a Release, keeps no state between calls."""

    release: Release

    def encode_tile(self, picture: np.ndarray, guard: int) -> bytes:
        """(h, w, 3) uint8 → payload."""

    def decode_tile(self, payload: bytes, height: int, width: int, guard: int) -> np.ndarray:
        """The picture (height, width, 3) uint8. StreamError (Desynchronised) where the payload is not this one's."""

    def memory(self, height: int, width: int) -> int:
        """Bytes that decoding a tile needs beyond interpreter and weights."""


@functools.lru_cache(maxsize=2)
def coder_of(weights: str) -> Any:
    """The tile coder of weights by path, loaded once a process."""
    return Release.load(weights).picture_coder()


class SameBuildCodec(FrameDecoder):
    """`sa-icm` and its like: encode, decode, and the same for clips.

    weights: a path; there is no default. quality: None or 0, or what the weights call theirs: they have one rate, and
    the number is only a name for it in tables and plots. weights may be a folder of such files: then the quality
    chooses among them, and streams find theirs by its hash. tile: pixels, 2^n from 128. guard: bits, see guard.py.
    """

    suffix = ".vcm"

    def __init__(
        self,
        name: str,
        quality: float | None = None,
        weights: str | os.PathLike[str] | None = None,
        tile: int = TILE,
        guard: int = GUARD,
    ) -> None:
        if weights is None:
            arch = ALIASES.get(name, name)
            raise ValueError(
                f"{name}: no weights of it are shipped; name some with --weights: "
                f"`vcm convert CHECKPOINT --arch {arch}` makes them of the authors', `vcm train` of pictures"
            )
        if tile < 128 or tile & (tile - 1) or tile > 32768:
            raise ValueError(f"a tile's side is a power of two from 128 to 32768, not {tile}")
        if not 0 <= guard <= GUARD_MAX:
            raise ValueError(f"a guard has 0 to {GUARD_MAX} bits, not {guard}")
        self.name, self.tile, self.guard, self.weights = name, tile, guard, str(weights)
        self.coder = coder_of(str(_chosen(name, Path(weights), quality) if Path(weights).is_dir() else find(weights)))
        release = self.coder.release
        if release.arch != ALIASES.get(name, name):
            raise ValueError(f"{weights}: are weights of {release.arch}, not of {name}")
        self.quality = float(release.tensors.get("quality", 0.0))
        if quality not in (None, 0.0, self.quality):
            raise ValueError(f"{name}:{quality:g}: these weights have one rate, {self.quality:g}; write {name}")

    @property
    def quality_range(self) -> tuple[float, float, float]:
        """Always a ValueError: there is nothing to choose from."""
        raise ValueError(f"{self.name}: weights have one rate each: other ones make smaller files, --bpp cannot")

    # --- encoding ---------------------------------------------------------------------------------------------------
    def encode(self, picture: np.ndarray) -> bytes:
        """(H, W, 3) uint8 RGB of 1×1 or more → a whole .vcm file."""
        check(picture)
        return write(self._header("picture", (picture.shape[0], picture.shape[1])), self._sections(picture))

    def encode_clip(self, frames: Iterable[tuple[np.ndarray, int]], base: Fraction, colour: str = "srgb") -> bytes:
        """(frame, presentation tick) in order, all of one size; base: seconds a tick; colour: as the header has it."""
        sections: list[bytes] = []
        ticks: list[int] = []
        size: tuple[int, int] | None = None
        for frame, tick in frames:
            check(frame)
            size = size or (frame.shape[0], frame.shape[1])
            if frame.shape[:2] != size:
                raise ValueError(f"frame {len(ticks)} is {frame.shape[1]}x{frame.shape[0]}, the first was "
                                 f"{size[1]}x{size[0]}; cut the clip there")  # fmt: skip
            sections += self._sections(frame)
            ticks.append(int(tick))
        if size is None:
            raise ValueError("the clip has no frames")
        return write(self._header("clip", size, Times.of(ticks, base), colour), sections)

    def _header(self, kind: str, size: tuple[int, int], times: Times | None = None, colour: str = "srgb") -> Header:
        height, width = size
        memory, release = self._memory(self.coder, height, width, self.tile), self.coder.release
        return Header(
            kind, width, height, self.name, release.short_hash, self.parameters(), memory, times, colour, SAME_BUILD
        )

    def parameters(self) -> bytes:
        """The codec's own bytes of the header."""
        return bytes([self.tile.bit_length() - 1, self.guard])

    def _sections(self, picture: np.ndarray) -> list[bytes]:
        return [
            self.coder.encode_tile(np.ascontiguousarray(picture[top:bottom, left:right]), self.guard)
            for top, bottom, left, right in tiles(picture.shape[0], picture.shape[1], self.tile)
        ]

    # --- decoding ---------------------------------------------------------------------------------------------------
    def decode_partial(
        self, stream: Stream, frame: int = 0, strict: bool = False
    ) -> tuple[np.ndarray, dict[Window, str], list[Window]]:
        """A frame as far as it is intact → (picture, {window of a damaged tile, left grey: reason}, []): tiles are
        coded apart, so every other pixel is that of the intact file."""
        if (other := self._maker_of(stream)) is not self:
            return other.decode_partial(stream, frame, strict)
        windows, guard = self._windows(stream)
        picture = np.full((stream.header.height, stream.header.width, 3), GREY, np.uint8)
        lost: dict[Window, str] = {}
        for i, (top, bottom, left, right) in enumerate(windows):
            try:
                payload = stream.section(frame * len(windows) + i)
                tile = self.coder.decode_tile(payload, bottom - top, right - left, guard)
                picture[top:bottom, left:right] = tile
            except StreamError as error:
                if strict:
                    raise
                lost[top, bottom, left, right] = str(error)
        return picture, lost, []

    def verify(self, data: Any) -> list[str]:
        """Everything wrong with a file: container, checksums, every coded symbol."""
        with read(data, partial=True) as stream:
            if problems := stream.verify():
                return problems
            coder = self._maker_of(stream).coder
            windows, guard = self._maker_of(stream)._windows(stream)
            for i in range(len(stream)):
                top, bottom, left, right = windows[i % len(windows)]
                try:
                    coder.decode_tile(stream.section(i), bottom - top, right - left, guard)
                except StreamError as error:
                    problems.append(f"section {i}: {error}")
            return problems

    def read_symbols(self, stream: Stream, reader: Callable[[bytes], Decoder]) -> None:
        """Decode every section with decoders that `reader` makes of payloads. StreamError where one is damaged."""
        maker = self._maker_of(stream)
        windows, guard = maker._windows(stream)
        for i in range(len(stream)):
            top, bottom, left, right = windows[i % len(windows)]
            maker.coder.decompress(stream.section(i), bottom - top, right - left, guard, reader)

    def _maker_of(self, stream: Stream) -> SameBuildCodec:
        """This codec, or the one with those weights of the folder that made the stream."""
        wanted, folder = stream.header.weights, Path(self.weights)
        if wanted == self.coder.release.short_hash or not folder.is_dir():
            return self
        made = [path for path, _, sha256 in _members(self.name, folder) if sha256.startswith(wanted.hex())]
        return type(self)(self.name, weights=made[0], tile=self.tile, guard=self.guard) if made else self

    def _windows(self, stream: Stream) -> tuple[list[Window], int]:
        """(tiles of a frame, guard), from a header that has been checked."""
        header, release = stream.header, self.coder.release
        if header.weights != release.short_hash:
            raise OtherWeights(
                f"made with weights {header.weights.hex()} of {header.model}, "
                f"but {self.weights} is {release.short_hash.hex()}; name the right weights with --weights"
            )
        own = header.parameters
        if header.kind not in ("picture", "clip") or len(own) != len(self.parameters()):
            raise StreamError(f"damaged: a {header.kind} with {len(own)} bytes of parameters is none of {self.name}")
        if not 7 <= own[0] <= 15 or own[1] > GUARD_MAX:
            raise StreamError(f"damaged: tile 2^{own[0]} or guard {own[1]} is out of range")
        windows = tiles(header.height, header.width, 1 << own[0])
        if len(windows) * header.frames != len(stream):
            raise StreamError(f"damaged: {len(stream)} sections for {header.frames} frames of {len(windows)} tiles")
        needed = self._memory(self.coder, header.height, header.width, 1 << own[0])
        if needed > header.memory:
            raise StreamError(f"damaged: declares {header.memory} bytes of decode memory where {needed} are needed")
        return windows, own[1]

    @staticmethod
    def _memory(coder: Any, height: int, width: int, tile: int) -> int:
        return 3 * height * width + coder.memory(min(height, tile), min(width, tile))


def _members(name: str, folder: Path) -> list[tuple[Path, float, str]]:
    """(path, quality, SHA-256) of the weights of a codec in a folder."""
    from safetensors import SafetensorError, safe_open

    found = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                if about.get("arch") == ALIASES.get(name, name):
                    found.append((path, float(file.get_tensor("quality")), about.get("sha256", "")))
        except (SafetensorError, OSError):
            continue
    return found


def _chosen(name: str, folder: Path, quality: float | None) -> Path:
    """The weights of that quality, the first without one. ValueError: none, or two alike."""
    members = _members(name, folder)
    if not members:
        raise ValueError(f"{folder}: holds no weights of {name}")
    fitting = [path for path, number, _ in members if quality in (None, number)]
    if not fitting:
        known = ", ".join(f"{number:g}" for _, number, _ in members)
        raise ValueError(f"{name}:{quality:g}: {folder} has weights of {known}")
    if quality is not None and len(fitting) > 1:
        raise ValueError(f"{name}:{quality:g}: {fitting[0]} and {fitting[1].name} both have this number")
    return fitting[0]


def tiles(height: int, width: int, side: int) -> list[Window]:
    """(top, bottom, left, right) of each tile in pixels, row by row."""
    rows, cols = range(0, height, side), range(0, width, side)
    return [(t, min(t + side, height), c, min(c + side, width)) for t in rows for c in cols]


def build(name: str, quality: float | None = None, **options: Any) -> SameBuildCodec:
    """The codec called `name`; options: weights (path of a file or folder), tile (pixels), guard (bits)."""
    return SameBuildCodec(name, quality, **options)
