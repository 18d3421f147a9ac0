"""x264, x265 and SVT-AV1 as picture codecs: one intra picture, every header byte counted, no option strings. And clips.

    picture -> pad -> BT.709 limited 4:2:0 -> encoder -> elementary stream (+ crop unit where padded)

The file is the raw elementary stream (Annex B, or AV1's low-overhead units): no container, so the
rate is the codec's own. One thread, so the bytes do not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from eval.anchors import clips
from eval.anchors.colour import rgb_to_yuv420, yuv420_to_rgb
from eval.anchors.units import add_crop, read_crop, strip_sei

PRESETS = {"x264": "medium", "x265": "medium", "svtav1": "6"}


@dataclass(frozen=True)
class Intra:
    """One still picture by a video encoder. Quality is the quantiser: larger is smaller and worse."""

    name: str
    quality: int
    preset: str
    suffix: str
    syntax: str  # h264, hevc or av1
    encoder: str  # FFmpeg's names
    decoder: str
    qualities: tuple[int, int]
    align: int  # width and height are padded to a multiple of this,
    smallest: int  # and to at least this
    options: dict[str, str] = field(default_factory=dict)
    clip_options: dict[str, str] = field(default_factory=dict)
    threads: ClassVar[int] = 1

    def __post_init__(self) -> None:
        low, high = self.qualities
        if not low <= self.quality <= high:
            raise ValueError(f"{self.name}:{self.quality}: the quality is a whole number from {low} to {high}")

    def encode(self, picture: np.ndarray) -> bytes:
        """The stream's bytes of a (H, W, 3) uint8 RGB picture."""
        import av

        height, width = picture.shape[:2]
        rows, columns = (self.padding(length) for length in (height, width))
        padded = np.pad(picture, ((0, rows), (0, columns), (0, 0)), mode="edge")
        try:
            data = self._encode_planes(rgb_to_yuv420(padded))
        except av.FFmpegError as error:
            raise ValueError(f"{self.name}:{self.quality} refuses a {width}x{height} picture: {error}") from error
        if self.syntax != "av1":
            data = strip_sei(self.syntax, data)
        return add_crop(self.syntax, data, columns, rows)

    def decode(self, data: bytes) -> np.ndarray:
        """The (H, W, 3) uint8 RGB picture, from the stream's bytes alone. ValueError where they are damaged."""
        import av

        data, columns, rows = read_crop(self.syntax, data)
        context: Any = av.CodecContext.create(self.decoder, "r")
        context.thread_count = 1
        context.options = {"err_detect": "explode"} if self.syntax != "av1" else {}
        try:
            frames = context.decode(av.Packet(data)) + context.decode(None)
        except av.FFmpegError as error:
            raise ValueError(f"damaged {self.name} stream: {error}") from error
        if len(frames) != 1:
            raise ValueError(f"damaged {self.name} stream: {len(frames)} pictures where there should be one")
        picture = yuv420_to_rgb(tuple(clips.read_plane(plane) for plane in frames[0].planes))  # type: ignore[arg-type]
        return np.ascontiguousarray(picture[: picture.shape[0] - rows, : picture.shape[1] - columns])

    def encode_clip(self, frames: Iterable[np.ndarray], rate: Fraction | float) -> bytes:
        """One stream of frames at `rate` a second, with the encoder's usual groups of pictures (clips.py)."""
        return clips.encode_clip(self, frames, rate)

    def decode_clip(self, data: bytes) -> Iterator[np.ndarray]:
        """The frames of `encode_clip`'s stream, from its bytes alone."""
        return clips.decode_clip(self, data)

    def padding(self, length: int) -> int:
        """Pixels added to a side."""
        return max(self.smallest, -(-length // self.align) * self.align) - length

    def _encode_planes(self, planes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bytes:
        height, width = planes[0].shape
        context = clips.open_encoder(self, width, height, Fraction(25), self.options)
        packets = [*context.encode(clips.to_frame(context, planes, 0)), *context.encode(None)]
        return b"".join(bytes(packet) for packet in packets)


def x264(quality: float | None = None, preset: str = PRESETS["x264"]) -> Intra:
    """H.264, constant quantiser `quality` (0 to 51)."""
    qp = _whole("x264", quality, 37)
    common = "chromaloc=0:threads=1"
    options, clip = ({"qp": str(qp), "x264-params": params} for params in (f"keyint=1:{common}", common))
    return Intra("x264", qp, preset, ".h264", "h264", "libx264", "h264", (1, 51), 2, 16, options, clip)


def x265(quality: float | None = None, preset: str = PRESETS["x265"]) -> Intra:
    """HEVC, constant quantiser `quality` (0 to 51), no information SEI."""
    qp = _whole("x265", quality, 37)
    common = (
        f"qp={qp}:info=0:log-level=none:pools=none:frame-threads=1:"
        "range=limited:colorprim=bt709:transfer=iec61966-2-1:colormatrix=bt709:chromaloc=0"
    )
    options, clip = ({"x265-params": params} for params in (f"keyint=1:{common}", common))
    return Intra("x265", qp, preset, ".hevc", "hevc", "libx265", "hevc", (0, 51), 2, 16, options, clip)


def svtav1(quality: float | None = None, preset: str = PRESETS["svtav1"]) -> Intra:
    """AV1 by SVT-AV1, still-picture mode for pictures, constant rate factor `quality` (1 to 63)."""
    crf = _whole("svtav1", quality, 50)
    common = "lp=1:chroma-sample-position=left"
    options, clip = ({"crf": str(crf), "svtav1-params": params} for params in (f"avif=1:{common}", common))
    return Intra("svtav1", crf, preset, ".obu", "av1", "libsvtav1", "libdav1d", (1, 63), 1, 16, options, clip)


def _whole(name: str, quality: float | None, default: int) -> int:
    if quality is None:
        return default
    if quality != int(quality):
        raise ValueError(f"{name}:{quality}: the quality is a whole number")
    return int(quality)
