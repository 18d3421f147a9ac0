"""Pictures and frames of clips in, as a data set names them: (H, W, 3) uint8 RGB, or one line that says why not.

Pictures: by pictures.py. Clips: upright by the display matrix; YUV without a matrix tag is BT.709 from 720 lines up,
else BT.601, and limited unless tagged full. Raw YUV 4:2:0 (.yuv) says its size and depth in its name, as in
Campfire_3840x2160_30fps_10bit.yuv.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.datasets.base import Item
from eval.datasets.pictures import picture_size, read_picture

CLIPS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".y4m", ".wmv",
         ".flv", ".ogv", ".3gp", ".h264", ".264", ".hevc", ".h265", ".265", ".obu", ".ivf", ".yuv"}  # fmt: skip
MATRICES = {1, 4, 5, 6, 7, 9, 10}  # ITU-T H.273, those that swscale knows
_SIZE = re.compile(r"(?<!\d)(\d{1,5})x(\d{1,5})(?!\d)")
_DEPTH = re.compile(r"(?<!\d)(\d{1,2}) ?(?:bits?|b)(?![a-z])", re.IGNORECASE)
_RATE = re.compile(r"\d+x\d+_(\d{1,3}(?:\.\d+)?)(?:fps)?(?![\dx])", re.IGNORECASE)


def read(item: Item) -> np.ndarray:
    """(H, W, 3) uint8 RGB of one item. A frame of a clip costs all frames before it: use `frames` for several."""
    return next(frames([item]))


def frames(items: Iterable[Item]) -> Iterator[np.ndarray]:
    """The picture of each item, in the order given; of a clip, no frame is decoded twice as long as they ascend.

    One clip is open at a time, and one frame in memory. ValueError or OSError, one line naming the file.
    """
    opened: tuple[Path, Iterator[np.ndarray], int] | None = None
    try:
        for item in items:
            if item.path.suffix.lower() == ".yuv":
                yield Yuv.of(item.path).frame(item.frame)
                continue
            if item.path.suffix.lower() not in CLIPS:
                yield read_picture(item.path)
                continue
            if opened is None or opened[0] != item.path or opened[2] > item.frame:
                _close(opened)
                opened = (item.path, read_clip(item.path), 0)
            path, clip, at = opened
            picture = None
            while at <= item.frame:
                picture = next(clip, None)
                if picture is None:
                    raise ValueError(f"{path}: ends before frame {item.frame}; it is truncated, or has changed")
                at += 1
            opened = (path, clip, at)
            assert picture is not None
            if item.width and picture.shape[:2] != (item.height, item.width):
                raise ValueError(f"{path}: changes its size at frame {item.frame}; cut it there")
            yield picture
    finally:
        _close(opened)


def _close(opened: tuple[Path, Any, int] | None) -> None:
    if opened is not None:
        opened[1].close()


def read_clip(path: Path) -> Iterator[np.ndarray]:
    """The frames of a clip file, (H, W, 3) uint8 RGB, in order of showing, one in memory at a time."""
    import av

    if path.suffix.lower() == ".yuv":
        yuv = Yuv.of(path)
        yield from (yuv.frame(index) for index in range(yuv.count))
        return
    with open_clip(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        try:
            for frame in container.decode(video=0):
                yield _rgb(path, frame)
        except av.FFmpegError as error:
            raise ValueError(f"{path}: truncated or damaged ({_reason(error)})") from None


@contextlib.contextmanager
def open_clip(path: Path) -> Iterator[Any]:
    """An open PyAV container that holds video; ValueError or OSError where it is none."""
    import av

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such clip")
    try:
        # "file:" so that a colon in a name is no protocol; the whitelist so that a playlist reaches no network
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        raise ValueError(f"{path}: is not a clip, or its head is damaged ({_reason(error)})") from None
    with container:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise ValueError(f"{path}: holds no video that can be decoded here")
        yield container


def _rgb(path: Path, frame: Any) -> np.ndarray:
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    tagged = int(frame.colorspace) in MATRICES
    matrix = int(frame.colorspace) if tagged else (1 if frame.height >= 720 else 5)
    full = int(frame.color_range) == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    converted = frame.reformat(
        format="rgb24",
        src_colorspace={6: 5, 10: 9}.get(matrix, matrix),  # the same matrices under a second number
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG if full or frame.format.is_rgb else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    )
    turns, rest = divmod(frame.rotation, 90)  # degrees, anticlockwise, as np.rot90 turns
    if rest:
        raise ValueError(f"{path}: is turned by {frame.rotation} degrees; only quarter turns are known")
    return np.ascontiguousarray(np.rot90(converted.to_ndarray(format="rgb24"), turns))


__all__ = ["CLIPS", "Yuv", "frames", "nominal_rate", "open_clip", "picture_size", "read", "read_clip", "read_picture"]


@dataclass(frozen=True)
class Yuv:
    """A file of planar YUV 4:2:0 frames, 8 bits, or 9 to 16 in two little-endian bytes a sample."""

    path: Path
    width: int
    height: int
    depth: int

    @staticmethod
    def of(path: Path) -> Yuv:
        """By the file's name, which holds WIDTHxHEIGHT and, unless 8, DEPTHbit; ValueError where it does not."""
        size, depth = _SIZE.search(path.name), _DEPTH.search(path.stem)
        if size is None:
            raise ValueError(f"{path}: raw YUV says its size in its name, as in BQMall_832x480_60.yuv; rename it")
        yuv = Yuv(path, int(size[1]), int(size[2]), int(depth[1]) if depth else 8)
        if yuv.width % 2 or yuv.height % 2 or not 8 <= yuv.depth <= 16 or not yuv.width * yuv.height:
            raise ValueError(f"{path}: 4:2:0 needs even sizes and 8 to 16 bits, and its name says "
                             f"{yuv.width}x{yuv.height}, {yuv.depth} bits")  # fmt: skip
        size_b, whole = path.stat().st_size, yuv.bytes_a_frame
        if size_b % whole:
            raise ValueError(f"{path}: {size_b} bytes are no whole number of {yuv.width}x{yuv.height} frames of "
                             f"{yuv.depth} bits ({whole} bytes each); is its name right?")  # fmt: skip
        return yuv

    @property
    def bytes_a_frame(self) -> int:
        """One luma sample a pixel and two chroma samples every four."""
        return self.width * self.height * 3 // 2 * (1 if self.depth == 8 else 2)

    @property
    def count(self) -> int:
        """Frames in the file."""
        return self.path.stat().st_size // self.bytes_a_frame

    def frame(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB of frame `index`; samples above 8 bits are scaled down with rounding first."""
        import av

        with open(self.path, "rb") as file:
            file.seek(index * self.bytes_a_frame)
            data = file.read(self.bytes_a_frame)
        if index < 0 or len(data) < self.bytes_a_frame:
            raise ValueError(f"{self.path}: has {self.count} frames, and number {index} (from 0) was asked for")
        samples = np.frombuffer(data, np.uint8 if self.depth == 8 else "<u2")
        if self.depth > 8:
            shift = self.depth - 8
            samples = np.minimum((samples.astype(np.uint32) + (1 << shift >> 1)) >> shift, 255).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(samples.reshape(self.height * 3 // 2, self.width), format="yuv420p")
        return _rgb(self.path, frame)


def nominal_rate(path: Path) -> float | None:
    """Frames a second by a name such as BQMall_832x480_60.yuv; None where it says nothing."""
    found = _RATE.search(path.name)
    return float(found[1]) if found else None


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
