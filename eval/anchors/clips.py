"""x264, x265 and SVT-AV1 as clip codecs: their usual groups of pictures, one elementary stream, every byte counted.

    frames ─▶ pad ─▶ BT.709 limited 4:2:0 ─▶ encoder ─▶ access units ─▶ one stream (+ a crop unit where padded)

The preset and the quantiser are those of the picture codecs (x264, x265: constant qp, which the encoders shift by the
kind of picture; SVT-AV1: crf); the distance of key frames, B pictures and look-ahead are the encoders' defaults. One
thread, so that the bytes do not depend on the machine. Memory holds the encoder's look-ahead and the stream.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from eval.anchors.colour import rgb_to_yuv420, yuv420_to_rgb
from eval.anchors.units import add_crop, read_crop, strip_sei

FORMATS = {"h264": "h264", "hevc": "hevc", "av1": "obu"}  # FFmpeg's names of the raw streams


def encode_clip(codec: Any, frames: Iterable[np.ndarray], rate: Fraction | float) -> bytes:
    """The stream of frames (H, W, 3) uint8 RGB at `rate` frames a second, `codec` being one of video.py.

    ValueError, one line, where there are no frames, their size changes, or the encoder refuses.
    """
    import av

    chunks: list[bytes] = []
    context, height, width, columns, rows, count = None, 0, 0, 0, 0, 0
    try:
        for picture in frames:
            if context is None:
                height, width = picture.shape[:2]
                rows, columns = codec.padding(height), codec.padding(width)
                rate = Fraction(rate).limit_denominator(1001)
                context = open_encoder(codec, width + columns, height + rows, rate, codec.clip_options)
            elif picture.shape[:2] != (height, width):
                raise ValueError(f"{codec.name}: frame {count} is {picture.shape[1]}x{picture.shape[0]}, and those "
                                 f"before it {width}x{height}")  # fmt: skip
            padded = np.pad(picture, ((0, rows), (0, columns), (0, 0)), mode="edge")
            chunks += _units(codec, context.encode(to_frame(context, rgb_to_yuv420(padded), count)))
            count += 1
        if context is None:
            raise ValueError(f"{codec.name}: there are no frames to encode")
        chunks += _units(codec, context.encode(None))
    except av.FFmpegError as error:
        raise ValueError(f"{codec.name}:{codec.quality} refuses {width}x{height} frames: {error}") from error
    return add_crop(codec.syntax, b"".join(chunks), columns, rows)


def decode_clip(codec: Any, data: bytes) -> Iterator[np.ndarray]:
    """The frames, (H, W, 3) uint8 RGB, in order of showing, one in memory at a time.

    Raw streams do not state how many frames they have: the caller compares. ValueError where bytes are damaged.
    """
    import av

    data, columns, rows = read_crop(codec.syntax, data)
    try:
        # "explode" makes damage an error rather than a concealed picture; AV1's decoder has no such option
        options = {} if codec.syntax == "av1" else {"err_detect": "explode"}
        with av.open(io.BytesIO(data), "r", format=FORMATS[codec.syntax], options=options) as container:
            stream: Any = container.streams.video[0]
            stream.codec_context.thread_count = 1
            count = 0
            for frame in container.decode(stream):
                count += 1
                if frame.is_corrupt:
                    raise ValueError(f"damaged {codec.name} stream: a frame is corrupt")
                picture = yuv420_to_rgb(tuple(read_plane(plane) for plane in frame.planes))  # type: ignore[arg-type]
                height, width = picture.shape[0] - rows, picture.shape[1] - columns
                yield np.ascontiguousarray(picture[:height, :width])
            if not count:
                raise ValueError(f"damaged {codec.name} stream: it holds no frames")
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"damaged {codec.name} stream: {error}") from error


def open_encoder(codec: Any, width: int, height: int, rate: Fraction, options: dict[str, str]) -> Any:
    """An encoder of PyAV for 4:2:0 frames of an even size, with every colour tag set."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 writes its banner to stderr otherwise
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    context: Any = av.CodecContext.create(codec.encoder, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = 1 / rate, rate
    context.thread_count = 1
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.IEC61966_2_1
    context.options = {"preset": codec.preset, **options}
    return context


def to_frame(context: Any, planes: tuple[np.ndarray, np.ndarray, np.ndarray], number: int) -> Any:
    """A frame of PyAV, tagged as its encoder."""
    import av

    frame = av.VideoFrame(context.width, context.height, "yuv420p")
    frame.colorspace, frame.color_range = context.colorspace, context.color_range
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)  # rows are longer than the picture is wide
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    frame.pts = number
    return frame


def read_plane(plane: Any) -> np.ndarray:
    """(h, w) uint8 of a plane of PyAV, without the bytes at the ends of its rows."""
    rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size]
    return rows.reshape(plane.height, plane.line_size)[:, : plane.width]


def _units(codec: Any, packets: Iterable[Any]) -> list[bytes]:
    data = [bytes(packet) for packet in packets]
    return data if codec.syntax == "av1" else [strip_sei(codec.syntax, unit) for unit in data]


def at_bytes(
    name: str, frames: Callable[[], Iterable[np.ndarray]], rate: Fraction | float, most: int
) -> tuple[int, bytes]:
    """(quality, stream) of `name` (x264, x265, svtav1): the best quality whose stream has at most `most` bytes.

    `frames()` gives the clip anew for each try; bisection tries about six. ValueError where even the worst is larger.
    """
    from eval.anchors import ANCHORS

    best, worst = ANCHORS[name]().qualities  # the quantiser: the larger, the smaller the stream
    found: tuple[int, bytes] | None = None
    low, high = best, worst
    while low <= high:
        middle = (low + high) // 2
        data = ANCHORS[name](middle).encode_clip(frames(), rate)
        if len(data) <= most:
            found, high = (middle, data), middle - 1
        else:
            low = middle + 1
    if found is None:
        smallest = len(ANCHORS[name](worst).encode_clip(frames(), rate))
        raise ValueError(f"{name}: {most} bytes are too few for this clip; {name}:{worst} needs {smallest}")
    return found
