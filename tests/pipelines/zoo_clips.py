"""Clips of every kind that a camera, a network or an accident leaves: how each is made, and what must become of it.

An entry: the file's name, the row of the table in pipelines/clips.py that rules it, and a function that writes the file
and returns (frames, (height, width)) that must be read (frames None: as many as ffprobe finds), or the refusal's words.
All are made here, by PyAV.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

Outcome = tuple[int | None, tuple[int, int]] | str
Maker = Callable[[Path], Outcome]
CLIPS: dict[str, tuple[str, Maker]] = {}
IDENTITY = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)  # a track header's matrix, 16.16 fixed point
QUIET = {"libx264": {"x264-params": "log-level=none"}, "libx265": {"x265-params": "log-level=none"}}
WRONG = "missing, empty, HTML, no video in it"
CUT = "truncated, a damaged packet or frame"
NO_INDEX = "an .mp4 or .mov without its index (moov)"
TIMES = "times as they stand, even or not, from any start"
TOOLS = "B-frames, open groups, any order of coding"


def entry(name: str, rule: str) -> Callable[[Maker], Maker]:
    def add(make: Maker) -> Maker:
        CLIPS[name] = rule, make
        return make

    return add


def frame(i: int, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8, smooth, moving."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((x + 3 * i) / 23 + p) + np.cos((y + i) / 17 + p) for p in range(3)]
    return np.rint(127.5 + 50 * np.stack(waves, -1)).astype(np.uint8)


def write(
    path: Path, codec: str = "libx264", size: tuple[int, int] = (48, 64), count: int = 12, pixels: str = "yuv420p",
    ticks: Sequence[int] | None = None, base: Fraction = Fraction(1, 25), form: str | None = None,
    options: dict[str, str] | None = None, rotation: int = 0,
) -> tuple[int, tuple[int, int]]:  # fmt: skip
    """A clip of that kind; ticks: of `base`, where frames are not one tick apart."""
    params = QUIET.get(codec, {}) | (options or {})
    with av.open(str(path), "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=25, options=params)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = base
        for i in range(count):
            picture = av.VideoFrame.from_ndarray(frame(i, *size), format="rgb24").reformat(format=pixels)
            picture.pts, picture.time_base = ticks[i] if ticks else i, base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return count, size


def edit(path: Path, change: Callable[[bytearray], Any]) -> None:
    data = bytearray(path.read_bytes())
    changed = change(data)
    path.write_bytes(data if changed is None else changed)


def ffprobe_times(path: Path) -> list[Fraction | None] | None:
    """Seconds at which ffprobe shows each frame of the first video stream, None where it knows none (raw streams; old
    versions on program streams); None altogether where it is not on PATH."""
    if shutil.which("ffprobe") is None:
        return None
    shown = "stream=time_base:frame=pts,best_effort_timestamp"
    command = ["ffprobe", "-v", "quiet", "-select_streams", "v:0", "-show_entries", shown, "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    ticks = [frame.get("pts", frame.get("best_effort_timestamp")) for frame in found["frames"]]
    base = Fraction(found["streams"][0]["time_base"])
    return [None if tick is None else tick * base for tick in ticks]


def agree(times: Sequence[Fraction], theirs: Sequence[Fraction | None]) -> bool:
    """As many frames, each at the same time where ffprobe knows it; where it knows none, at the nominal 25 a second."""
    if not any(time is not None for time in theirs):
        theirs = [Fraction(i, 25) for i in range(len(theirs))]
    return len(times) == len(theirs) and all(b in (None, a) for a, b in zip(times, theirs, strict=True))


# --- times -----------------------------------------------------------------------------------------------------------
UNEVEN = (0, 1, 2, 5, 6, 20, 21, 22, 23, 50, 52, 53)


@entry("even.mp4", TIMES)
def even(path: Path) -> Outcome:
    return write(path)


@entry("vfr.mp4", TIMES)
def uneven_mp4(path: Path) -> Outcome:
    return write(path, ticks=UNEVEN)


@entry("vfr.mkv", TIMES)
def uneven_mkv(path: Path) -> Outcome:
    return write(path, "ffv1", ticks=UNEVEN, pixels="bgr0")


@entry("vfr-ntsc.ts", TIMES)
def uneven_ts(path: Path) -> Outcome:
    return write(path, "mpeg2video", ticks=UNEVEN, base=Fraction(1001, 30000), form="mpegts")


@entry("late.mkv", TIMES)
def late(path: Path) -> Outcome:
    return write(path, "ffv1", ticks=range(1000, 1012), pixels="bgr0")


@entry("ntsc.mp4", TIMES)
def ntsc(path: Path) -> Outcome:
    return write(path, base=Fraction(1001, 30000))


@entry("raw.h264", "no times in the file: one nominal frame after the other")
def raw(path: Path) -> Outcome:
    return write(path, form="h264", options={"bf": "0"})


@entry("raw.y4m", "no times in the file: one nominal frame after the other")
def y4m(path: Path) -> Outcome:
    return write(path, "rawvideo", pixels="yuv420p", form="yuv4mpegpipe")


@entry("stopped-times.mkv", "times that do not increase")
def stopped(path: Path) -> Outcome:
    """Two frames at one time, written by packets."""
    write(path.with_name("good.mkv"), "mjpeg", pixels="yuvj420p")
    with av.open(str(path.with_name("good.mkv"))) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for i, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet.stream = stream
            packet.pts = packet.dts = 40 * (i - (i >= 5))
            container.mux(packet)
    return "times do not increase at frame 5"


# --- coding ----------------------------------------------------------------------------------------------------------
@entry("b-frames.mp4", TOOLS)
def bidirectional(path: Path) -> Outcome:
    return write(path, options={"bf": "4", "b_strategy": "0"})


@entry("b-frames.mkv", TOOLS)
def bidirectional_hevc(path: Path) -> Outcome:
    return write(path, "libx265", options={"x265-params": "log-level=none:bframes=4:b-adapt=0"})


@entry("open-gop.mp4", TOOLS)
def open_group(path: Path) -> Outcome:
    return write(path, count=20, options={"g": "5", "bf": "3", "x264-params": "open-gop=1:b-adapt=0:log-level=none"})


@entry("open-gop-hevc.mkv", TOOLS)
def open_group_hevc(path: Path) -> Outcome:
    options = {"x265-params": "log-level=none:open-gop=1:keyint=5:min-keyint=5:bframes=3:b-adapt=0"}
    return write(path, "libx265", count=20, options=options)


@entry("mpeg2.mpg", TOOLS)
def mpeg2(path: Path) -> Outcome:
    return write(path, "mpeg2video", options={"bf": "2", "g": "6"})


@entry("mpeg4.avi", TOOLS)
def mpeg4(path: Path) -> Outcome:
    return write(path, "mpeg4", options={"bf": "0"})


@entry("intra.mov", TOOLS)
def intra(path: Path) -> Outcome:
    return write(path, "prores_ks", pixels="yuv422p10le")


# --- pixels ----------------------------------------------------------------------------------------------------------
@entry("10-bit.mp4", "more than 8 bits, HDR")
def ten_bits(path: Path) -> Outcome:
    return write(path, "libx265", pixels="yuv420p10le")


@entry("10-bit.mkv", "more than 8 bits, HDR")
def ten_bits_lossless(path: Path) -> Outcome:
    return write(path, "ffv1", pixels="yuv444p10le")


@entry("16-bit-grey.mkv", "more than 8 bits, HDR")
def sixteen_bits(path: Path) -> Outcome:
    return write(path, "ffv1", pixels="gray16le")


@entry("grey.mkv", "RGB")
def grey(path: Path) -> Outcome:
    return write(path, "ffv1", pixels="gray")


@entry("rgb.mkv", "RGB")
def rgb(path: Path) -> Outcome:
    return write(path, "ffv1", pixels="bgr0")


@entry("alpha.mkv", "alpha")
def alpha(path: Path) -> Outcome:
    return write(path, "ffv1", pixels="bgra")


@entry("full-range.avi", "YUV without a range tag")
def full_range(path: Path) -> Outcome:
    return write(path, "mjpeg", pixels="yuvj420p")


# --- sizes -----------------------------------------------------------------------------------------------------------
for size in ((47, 63), (33, 2), (2, 131), (1, 1)):

    def _odd(path: Path, size: tuple[int, int] = size) -> Outcome:
        return write(path, "ffv1", size, pixels="yuv420p" if min(size) > 2 else "bgr0")

    CLIPS[f"odd-{size[1]}x{size[0]}.mkv"] = "odd sizes", _odd


@entry("odd.mp4", "odd sizes")
def odd_mp4(path: Path) -> Outcome:
    return write(path, size=(47, 63), pixels="yuv444p")


@entry("size-changes.h264", "size changes on the way")
def resized(path: Path) -> Outcome:
    parts = []
    for i, size in enumerate(((48, 64), (64, 48))):
        write(part := path.with_name(f"part-{i}.h264"), size=size, count=6, form="h264", options={"bf": "0"})
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return "changes its size at frame 6"


@entry("huge.y4m", "size changes on the way, beyond the picture limits")
def huge(path: Path) -> Outcome:
    path.write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1 C420jpeg\nFRAME\n" + bytes(100))
    return "limit|not a clip"


# --- rotation --------------------------------------------------------------------------------------------------------
def _rotated(path: Path, a: int, b: int) -> None:
    def change(data: bytearray) -> None:
        at = data.index(IDENTITY, data.index(b"tkhd"))
        data[at : at + 36] = struct.pack(">9i", a, b, 0, -b, a, 0, 0, 0, 1 << 30)

    write(path)
    edit(path, change)


ROTATED = "rotated (display matrix)"
for degrees, (a, b) in {90: (0, 1), 180: (-1, 0), 270: (0, -1)}.items():

    def _quarter(path: Path, a: int = a, b: int = b) -> Outcome:
        _rotated(path, a << 16, b << 16)
        return 12, (64, 48) if b else (48, 64)

    CLIPS[f"rotated-{degrees}.mp4"] = ROTATED, _quarter


@entry("rotated-45.mp4", ROTATED)
def slanted(path: Path) -> Outcome:
    _rotated(path, 46341, 46341)
    return "only quarter turns"


# --- accidents -------------------------------------------------------------------------------------------------------
@entry("missing.mp4", WRONG)
def missing(path: Path) -> Outcome:
    return "no such file"


def _bytes(data: bytes, words: str) -> Maker:
    def make(path: Path) -> Outcome:
        path.write_bytes(data)
        return words

    return make


CLIPS["empty.mp4"] = WRONG, _bytes(b"", "is empty")
CLIPS["page.mp4"] = WRONG, _bytes(b"<html>404</html>", "web page")
CLIPS["text.mp4"] = WRONG, _bytes(b"no clip\n" * 99, "not a clip")
CLIPS["zeros.mp4"] = WRONG, _bytes(bytes(5000), "not a clip")
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"
CLIPS["playlist.m3u8.mp4"] = WRONG, _bytes(PLAYLIST, "not a clip|damaged|no video")
CLIPS["no-frames.y4m"] = WRONG, _bytes(b"YUV4MPEG2 W64 H48 F25:1 C420jpeg\n", "no frames|not a clip|truncated")


@entry("sound.mkv", WRONG)
def sound(path: Path) -> Outcome:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=8000)
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        heard.rate, heard.pts = 8000, 0
        container.mux(stream.encode(heard))
        container.mux(stream.encode(None))
    return "holds no video"


@entry("no-frames.mkv", WRONG)
def nothing(path: Path) -> Outcome:
    """A whole file with a track of video, and not one packet."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "bgr0"
        container.start_encoding()
    return "holds no frames|not a clip"


@entry("no-moov.mp4", NO_INDEX)
def no_index(path: Path) -> Outcome:
    """What a camera leaves that lost its power: the samples, and not where they are."""
    write(path)
    edit(path, lambda data: data[: data.index(b"moov") - 4])
    return "not a clip"


@entry("no-moov-inside.mp4", NO_INDEX)
def hidden_index(path: Path) -> Outcome:
    write(path)
    edit(path, lambda data: data.replace(b"moov", b"none"))
    return "not a clip"


def _cut(codec: str, share: float, **options: Any) -> Maker:
    def make(path: Path) -> Outcome:
        write(path, codec, **options)
        edit(path, lambda data: data[: int(share * len(data))])
        return "truncated|damaged|not a clip|no frames"

    return make


for share in (0.1, 0.5, 0.9):
    CLIPS[f"cut-{round(100 * share)}.mkv"] = CUT, _cut("ffv1", share, pixels="bgr0")
    CLIPS[f"cut-{round(100 * share)}.mp4"] = CUT, _cut("libx264", share, options={"movflags": "faststart"})
    CLIPS[f"cut-{round(100 * share)}.y4m"] = CUT, _cut("rawvideo", share, form="yuv4mpegpipe")
    CLIPS[f"cut-{round(100 * share)}.avi"] = CUT, _cut("mjpeg", share, pixels="yuvj420p")


@entry("flipped.mkv", "wrong bytes in a frame that its decoder conceals")
def flipped(path: Path) -> Outcome:
    """A wrong byte in a frame whose codec has a checksum: FFmpeg logs it, and gives a frame without a mark."""
    made = write(path, "ffv1", pixels="bgr0", options={"level": "3", "slicecrc": "1"})

    def change(data: bytearray) -> None:
        data[len(data) // 2] ^= 1

    edit(path, change)
    return made


@entry("no-key-frame.ts", TOOLS)
def headless(path: Path) -> Outcome:
    """A stream joined in the middle of an open group: what leads needs what was before."""
    write(path, "mpeg2video", count=30, form="mpegts", options={"g": "10", "bf": "2"})
    edit(path, lambda data: data[188 * (len(data) // 188 // 3) :])
    return None, (48, 64)


# --- other streams ---------------------------------------------------------------------------------------------------
@entry("two-videos.mkv", "audio, subtitles, further video streams")
def two(path: Path) -> Outcome:
    with av.open(str(path), "w") as container:
        streams: list[Any] = [container.add_stream("ffv1", rate=25) for _ in range(2)]
        for stream, (height, width) in zip(streams, ((48, 64), (16, 16)), strict=True):
            stream.height, stream.width, stream.pix_fmt = height, width, "bgr0"
        for i in range(6):
            for stream in streams:
                array = frame(i, stream.height, stream.width)
                picture = av.VideoFrame.from_ndarray(array, format="rgb24").reformat(format="bgr0")
                picture.pts, picture.time_base = i, Fraction(1, 25)
                container.mux(stream.encode(picture))
        for stream in streams:
            container.mux(stream.encode(None))
    return 6, (48, 64)
