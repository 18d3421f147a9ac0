"""Clips out: frames into a folder of PNGs, or into a video file with its colour tags set.

| OUT | what is written |
|---|---|
| a folder | frame_000010.png …, named by index in the clip: exact |
| .mkv | FFV1, RGB: exact pixels; times rounded to milliseconds |
| .mp4 | H.264 (x264, crf 17), BT.709, limited range, 4:2:0 with chroma sited left; 4:4:4 where a side is odd |
| .y4m | raw 4:4:4, limited range, constant rate (the format has no times), the matrix that `clips` reads untagged |
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.clips import matrix_untagged
from pipelines.media import write_picture
from pipelines.run.atomic import is_temporary, make_folder, replacing

VIDEOS = {".mkv", ".mp4", ".y4m"}
TICK = Fraction(1, 90_000)  # seconds
INDEX = "frames.jsonl"
OURS = re.compile(r"frame_\d{6,}(\.damage)?\.png|frames\.jsonl")


class FolderWriter:
    """Frames as PNG files. `add(frame, time_s, index)`; nothing to close."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = make_folder(folder)

    def add(self, frame: np.ndarray, time_s: Fraction, index: int) -> None:
        """Write (H, W, 3) uint8 RGB as frame_INDEX.png; the time is in the stream and in `vcm info`."""
        write_picture(self.folder / f"frame_{index:06d}.png", frame)


class VideoWriter:
    """Frames into one video file; `add(frame, time_s, index)`. Times start at the first frame's, shifted to 0."""

    def __init__(self, container: Any, suffix: str, rate: Fraction) -> None:
        self.container, self.suffix, self.rate = container, suffix, rate
        self.stream: Any = None
        self.start, self.count = Fraction(0), 0

    def add(self, frame: np.ndarray, time_s: Fraction, index: int) -> None:
        """Encode one (H, W, 3) uint8 RGB frame; times must increase."""
        import av

        if self.stream is None:
            self.start = time_s
            self._begin(*frame.shape[:2])
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = self._converted(picture)
        if self.suffix == ".y4m":
            picture.pts, picture.time_base = self.count, 1 / self.rate
        else:
            picture.pts, picture.time_base = round((time_s - self.start) / TICK), TICK
        self.container.mux(self.stream.encode(picture))
        self.count += 1

    def finish(self) -> None:
        """Flush what the encoder still holds."""
        if self.stream is not None:
            self.container.mux(self.stream.encode(None))

    def _begin(self, height: int, width: int) -> None:
        odd = height % 2 or width % 2
        name, pixels, options = {
            ".mkv": ("ffv1", "bgr0", {"level": "3", "slicecrc": "1"}),
            ".mp4": ("libx264", "yuv444p" if odd else "yuv420p", {"crf": "17", "x264-params": "chromaloc=0"}),
            ".y4m": ("rawvideo", "yuv444p", {}),
        }[self.suffix]
        self.stream = self.container.add_stream(name, rate=self.rate, options=options)
        self.stream.width, self.stream.height, self.stream.pix_fmt = width, height, pixels
        context = self.stream.codec_context
        if self.suffix != ".y4m":
            context.time_base = TICK
        if pixels != "bgr0":
            self.matrix = matrix_untagged(height) if self.suffix == ".y4m" else 1
            context.colorspace, context.color_range = self.matrix, 1  # ITU-T H.273; 1: limited
            context.color_primaries, context.color_trc = 1, 1

    def _converted(self, frame: Any) -> Any:
        if self.stream.pix_fmt == "bgr0":
            return frame.reformat(format="bgr0")
        from av.video.reformatter import ColorRange, Colorspace, Interpolation

        return frame.reformat(
            format=self.stream.pix_fmt,
            src_colorspace=Colorspace.ITU709,  # without effect on RGB
            dst_colorspace=self.matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
        )


def check_folder(folder: str | os.PathLike[str]) -> None:
    """ValueError, one line, unless `folder` is new, empty, or holds a decoded clip and nothing else: it is replaced."""
    folder = Path(folder)
    if not folder.is_dir():
        return
    names = sorted(name for name in os.listdir(folder) if not is_temporary(name))
    others = [name for name in names if not OURS.fullmatch(name)]
    if others or (names and INDEX not in names):
        raise ValueError(
            f"{folder}: holds {(others or names)[0]}, which no `vcm decode` of a clip wrote; "
            "choose a new or an empty folder"
        )


@contextmanager
def writing(out: str | os.PathLike[str], rate: Fraction) -> Iterator[FolderWriter | VideoWriter]:
    """A writer for `out` by its suffix; a video file appears whole or not at all. rate: nominal frames a second."""
    out = Path(out)
    if out.suffix.lower() not in VIDEOS:
        yield FolderWriter(out)
        return
    import av

    suffix = out.suffix.lower()
    kind = {".mkv": "matroska", ".mp4": "mp4", ".y4m": "yuv4mpegpipe"}[suffix]
    with replacing(out) as temporary:
        temporary.touch()  # so that what cannot be written is known under our own wording
        with av.open(f"file:{temporary}", "w", format=kind) as container:
            writer = VideoWriter(container, suffix, rate)
            yield writer
            writer.finish()
