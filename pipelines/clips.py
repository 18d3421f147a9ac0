"""Clips in: frames (H, W, 3) uint8 RGB with exact times, whatever the file holds, or one line that says why not.

What becomes of a file:

| file | rule |
|---|---|
| missing, empty, HTML, no video in it | refused |
| truncated, a damaged packet or frame | refused where it shows, which may be the end; a format that declares neither
  frames nor length (.ts, .h264, a .y4m cut between frames) gives the frames that are there |
| wrong bytes in a frame that its decoder conceals | not told by FFmpeg, FFV1's own checksums included: decoded |
| an .mp4 or .mov without its index (moov) | refused: the samples are there, and not where they begin |
| times as they stand, even or not, from any start | kept exactly; the first need not be 0 |
| no times in the file: one nominal frame after the other | .h264, .y4m and the like: frame i at i / rate |
| B-frames, open groups, any order of coding | frames in order of showing; those before the first that can be decoded
  are left out, as players do |
| rotated (display matrix) by 90, 180, 270 degrees | turned upright; other angles are refused |
| size changes on the way, beyond the picture limits, more than 2.6 M frames | refused |
| times that do not increase | refused |
| YUV without a matrix tag | BT.709 from 720 lines up, else BT.601 |
| YUV without a range tag | limited ("video") range, unless the pixel format says full (yuvj) |
| more than 8 bits, HDR | scaled to 8 bits; no tone mapping |
| RGB | taken as it is; grey becomes RGB |
| alpha | left out |
| odd sizes | kept; chroma is interpolated to full size |
| audio, subtitles, further video streams | left out |
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.media import check_readable, check_size, looks_like_html

CLIPS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".y4m", ".wmv",
         ".flv", ".ogv", ".3gp", ".h264", ".264", ".hevc", ".h265", ".265", ".obu", ".ivf"}  # fmt: skip
MAX_FRAMES = 2_600_000
MATRICES = {1, 4, 5, 6, 7, 9, 10}  # ITU-T H.273: BT.709, FCC, BT.601 (5, 6), SMPTE 240M, BT.2020 (9, 10)
COLOURS = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}  # nearest of the four


@dataclasses.dataclass(frozen=True)
class ClipInfo:
    """What the head of a clip declares. width, height: upright, in pixels; frames: None where it is not declared;
    rate: frames a second, nominal; time_base: seconds a tick, of which every time of `read_clip` is a multiple; colour:
    where the samples come from, one of icm.bitstream.COLOURS by the matrix that they were converted with."""

    width: int
    height: int
    frames: int | None
    rate: Fraction
    time_base: Fraction
    colour: str = "srgb"


def probe_clip(path: str | os.PathLike[str]) -> ClipInfo:
    """What the clip declares, its first frame decoded for the rotation; raises as `read_clip`."""
    path = Path(path)
    with _open(path) as container:
        stream = container.streams.video[0]
        declared = stream.frames or None
        rate, base = nominal_rate(stream), Fraction(stream.time_base)
        for frame in _frames(path, container):
            base = base if frame.pts is not None else 1 / rate  # raw streams have no times: one tick a frame
            height, width = _upright(path, frame, np.empty((frame.height, frame.width, 0), np.uint8)).shape[:2]
            colour = "srgb" if frame.format.is_rgb else COLOURS[matrix_of(frame)]
            return ClipInfo(width, height, declared, rate, base, colour)
    raise ValueError(f"{path}: holds no frames")


def read_clip(path: str | os.PathLike[str]) -> Iterator[tuple[np.ndarray, Fraction]]:
    """Frames, (H, W, 3) uint8 RGB, with their times in seconds as exact fractions, in order of showing.

    ValueError or OSError, one line naming the file, by the rules above, when the damage is met.
    """
    path = Path(path)
    with _open(path) as container:
        rate = nominal_rate(container.streams.video[0])
        shape, last, count = None, None, 0
        for frame in _frames(path, container):
            if count >= MAX_FRAMES:
                raise ValueError(f"{path}: holds more than {MAX_FRAMES} frames; cut it")
            picture = as_read(path, frame)
            if shape not in (None, picture.shape):
                raise ValueError(f"{path}: changes its size at frame {count}; cut it there")
            time = count / rate if frame.pts is None else frame.pts * Fraction(frame.time_base)
            if last is not None and time <= last:
                raise ValueError(f"{path}: times do not increase at frame {count}; write the clip anew (remux it)")
            yield picture, time
            shape, last, count = picture.shape, time, count + 1
        if count == 0:
            raise ValueError(f"{path}: holds no frames")


def with_ticks(path: Path, info: ClipInfo) -> Iterator[tuple[np.ndarray, int]]:
    """`read_clip` with times as whole ticks of `info.time_base`. ValueError where one is no such multiple."""
    for number, (frame, time_s) in enumerate(read_clip(path)):
        tick = time_s / info.time_base
        if tick.denominator != 1:
            raise ValueError(f"{path}: frame {number} has a time of its own kind; write the clip anew (remux it)")
        yield frame, tick.numerator


def _open(path: Path) -> Any:
    import av

    check_readable(path, "clip")
    with open(path, "rb") as file:
        if looks_like_html(file.read(64)):
            raise ValueError(f"{path}: is a web page, not a clip; download it again")
    try:
        # "file:" so that a colon in a name is no protocol; the whitelist so that a playlist reaches no network
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        raise ValueError(f"{path}: is not a clip, or its head is damaged ({_reason(error)})") from None
    if not container.streams.video:
        container.close()
        raise ValueError(f"{path}: holds no video")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        container.close()
        raise ValueError(f"{path}: is in a video format that cannot be decoded here")
    check_size(path, stream.codec_context.width, stream.codec_context.height)
    return container


def _frames(path: Path, container: Any) -> Iterator[Any]:
    """Decoded frames of the first video stream; raises at damage, and at the end where packets are missing."""
    import av

    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    count, packets, y4m_end, end, frame_s = 0, 0, 0, Fraction(0), 1 / nominal_rate(stream)
    try:
        for packet in container.demux():  # every stream: the longest of them tells where the file should end
            if packet.pts is not None and packet.size:
                length = packet.duration * Fraction(packet.time_base) if packet.duration else frame_s
                end = max(end, packet.pts * Fraction(packet.time_base) + length)
            if packet.stream.index != stream.index:
                continue
            packets += packet.size > 0
            if packet.size and packet.pos is not None:  # MPEG program streams do not tell where a packet is
                y4m_end = packet.pos + packet.size
            if packet.is_corrupt:
                raise ValueError(f"{path}: damaged near frame {count}")
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise ValueError(f"{path}: damaged at frame {count}")
                yield frame
                count += 1
    except av.FFmpegError as error:
        raise ValueError(f"{path}: truncated or damaged after frame {count} ({_reason(error)})") from None
    if container.format.name == "yuv4mpegpipe" and packets and container.size != y4m_end:
        raise ValueError(f"{path}: truncated in frame {count}")
    if stream.frames and packets < stream.frames:
        raise ValueError(f"{path}: truncated: {packets} of {stream.frames} frames")
    if container.duration is not None and "matroska" in container.format.name:  # elsewhere it may be a guess
        # Some count the duration from 0 and some from the first frame: of a clip that begins late, the earlier end.
        expected = Fraction(container.duration + min(0, container.start_time or 0), 10**6)
        if expected - end > max(Fraction(3, 4) * frame_s, Fraction(5, 1000)):  # its times are rounded to milliseconds
            raise ValueError(f"{path}: truncated at {float(end):.2f} of {float(expected):.2f} seconds")


def as_read(path: Path, frame: Any) -> np.ndarray:
    """A decoded frame as (H, W, 3) uint8 RGB, upright, by the rules above."""
    return _upright(path, frame, _to_rgb(path, frame))


def _to_rgb(path: Path, frame: Any) -> np.ndarray:
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    check_size(path, frame.width, frame.height)
    matrix = matrix_of(frame)
    full = int(frame.color_range) == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    converted = frame.reformat(
        format="rgb24",
        src_colorspace={6: 5, 10: 9}.get(matrix, matrix),  # the same matrices under a second number
        dst_colorspace=Colorspace.ITU709,  # without effect on RGB, and never left to a default
        src_color_range=ColorRange.JPEG if full or frame.format.is_rgb else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    )
    return converted.to_ndarray(format="rgb24")


def matrix_of(frame: Any) -> int:
    """ITU-T H.273 number of the matrix that a frame's samples were converted with."""
    return int(frame.colorspace) if int(frame.colorspace) in MATRICES else matrix_untagged(frame.height)


def matrix_untagged(height: int) -> int:
    """ITU-T H.273 matrix of YUV that does not tell: 1 (BT.709) from 720 lines up, else 5 (BT.601)."""
    return 1 if height >= 720 else 5


def _upright(path: Path, frame: Any, picture: np.ndarray) -> np.ndarray:
    turns, rest = divmod(frame.rotation, 90)  # degrees, anticlockwise, as np.rot90 turns
    if rest:
        raise ValueError(f"{path}: is turned by {frame.rotation} degrees; only quarter turns are known")
    return np.ascontiguousarray(np.rot90(picture, turns))


def nominal_rate(stream: Any) -> Fraction:
    """Nominal frames a second; 25 where the file says nothing, as players take it."""
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
