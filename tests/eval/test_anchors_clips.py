"""Clips by the video anchors: all frames come back in order, from bytes alone, at a rate far below single pictures'."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from eval.anchors import ANCHORS
from eval.anchors.clips import FORMATS, at_bytes
from eval.anchors.units import nal_units
from eval.metrics import psnr_db

VIDEO = ["x264", "x265", "svtav1"]


def moving(count: int, height: int = 48, width: int = 70):
    """A texture that moves two pixels a frame, with the number of the frame in its first rows."""
    texture = np.random.default_rng(0).integers(60, 190, (height // 4, width, 3)).repeat(4, 0).repeat(4, 1)
    for number in range(count):
        frame = texture[:height, 2 * number % width :][:, :width].astype(np.uint8)
        frame = np.pad(frame, ((0, height - frame.shape[0]), (0, 0), (0, 0)), mode="edge")
        frame[:16] = 2 * (number % 100)
        yield frame


@pytest.mark.parametrize("name", VIDEO)
@pytest.mark.parametrize(("count", "size"), [(1, (48, 70)), (12, (33, 71)), (70, (48, 70))])
def test_every_frame_comes_back_in_order(name, count, size):
    frames = list(moving(count, *size))
    data = ANCHORS[name](20).encode_clip(iter(frames), 30000 / 1001)
    decoded = list(ANCHORS[name]().decode_clip(data))  # another quality: nothing but the bytes is needed
    assert len(decoded) == count
    assert all(frame.shape == (*size, 3) for frame in decoded)
    assert min(psnr_db(a, b) for a, b in zip(frames, decoded, strict=True)) > 26
    shades = [round(frame[:8].mean() / 2) for frame in decoded]
    assert all(abs(shade - number) <= 2 for number, shade in enumerate(shades))


@pytest.mark.parametrize("name", VIDEO)
def test_pictures_are_predicted_from_each_other(name):
    still = next(moving(1))
    codec = ANCHORS[name](25)
    clip = len(codec.encode_clip((still for _ in range(30)), 30))
    assert clip < 5 * len(codec.encode(still))
    with av.open(io.BytesIO(codec.encode_clip(moving(40), 30)), format=FORMATS[codec.syntax]) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert sum(packet.is_keyframe for packet in packets) <= 2


@pytest.mark.parametrize("name", ["x264", "x265"])
def test_long_clips_have_key_frames_at_the_encoders_distance(name):
    codec = ANCHORS[name]()
    data = codec.encode_clip(moving(260, 16, 16), 25)
    assert len(list(codec.decode_clip(data))) == 260
    with av.open(io.BytesIO(data), format=FORMATS[codec.syntax]) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0) if packet.size) >= 2


@pytest.mark.parametrize("name", ["x264", "x265"])
def test_no_option_strings(name):
    data = ANCHORS[name]().encode_clip(moving(5), 30)
    assert b"options" not in data
    assert len(list(nal_units(data))) == (2 if name == "x264" else 3) + 5  # parameter sets, slices


@pytest.mark.parametrize("name", VIDEO)
def test_the_same_bytes_every_time_and_lower_for_worse_quality(name):
    codec = ANCHORS[name](30)
    data = codec.encode_clip(moving(20), 30)
    assert codec.encode_clip(moving(20), 30) == data
    assert len(ANCHORS[name](45).encode_clip(moving(20), 30)) < len(data)


@pytest.mark.parametrize("name", VIDEO)
def test_streams_are_tagged(name):
    data = ANCHORS[name]().encode_clip(moving(3), 30)
    with av.open(io.BytesIO(data), format=FORMATS[ANCHORS[name]().syntax]) as container:
        frame = next(container.decode(video=0))
    assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)  # BT.709, limited


def test_frames_are_taken_one_by_one():
    """Of the frames only what the encoder looks ahead is alive."""
    import weakref

    alive, most = [], 0

    def frames():
        nonlocal most
        for frame in moving(150, 16, 16):
            copy = frame.copy()
            alive.append(weakref.ref(copy))
            most = max(most, sum(reference() is not None for reference in alive))
            yield copy
            del copy

    ANCHORS["x264"]().encode_clip(frames(), 25)
    assert most <= 3
    decoded = ANCHORS["x264"]().decode_clip(ANCHORS["x264"]().encode_clip(moving(30), 25))
    assert next(decoded).shape == (48, 70, 3)  # an iterator: the rest is not decoded


@pytest.mark.parametrize("name", VIDEO)
def test_refusals(name):
    codec = ANCHORS[name]()
    with pytest.raises(ValueError, match=f"{name}: there are no frames"):
        codec.encode_clip([], 30)
    with pytest.raises(ValueError, match=f"{name}: frame 1 is 20x10, and those before it 70x48"):
        codec.encode_clip([next(moving(1)), np.zeros((10, 20, 3), np.uint8)], 30)
    for damaged in (b"", b"\0" * 50):
        with pytest.raises(ValueError, match=f"damaged {name} stream|damaged AV1 stream") as caught:
            list(codec.decode_clip(damaged))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", VIDEO)
def test_cut_streams_never_give_all_frames(name):
    codec = ANCHORS[name]()
    data = codec.encode_clip(moving(20, 48, 64), 30)
    try:
        assert len(list(codec.decode_clip(data[: len(data) // 2]))) < 20
    except ValueError as error:
        assert "\n" not in str(error)


def test_the_best_quality_within_a_number_of_bytes():
    most = len(ANCHORS["x264"](33).encode_clip(moving(15), 30))
    quality, data = at_bytes("x264", lambda: moving(15), 30, most)
    assert len(data) <= most < len(ANCHORS["x264"](quality - 1).encode_clip(moving(15), 30))
    assert data == ANCHORS["x264"](quality).encode_clip(moving(15), 30)
    with pytest.raises(ValueError, match=r"x264: 20 bytes are too few for this clip; x264:51 needs \d+"):
        at_bytes("x264", lambda: moving(15), 30, 20)
