"""Anchors: what they write is all that they need, odd sizes come back, colours are tagged and right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from eval.anchors import ANCHORS
from eval.anchors.colour import rgb_to_yuv420, yuv420_to_rgb
from eval.anchors.units import last_obu, nal_units, strip_sei
from eval.metrics import psnr_db

BEST = {"jpeg": 100, "webp": 100, "x264": 1, "x265": 1, "svtav1": 1, "uncompressed": 0}
CLASSIC = tuple(BEST)  # those that need no weights and no program
VIDEO = ["x264", "x265", "svtav1"]
SIZES = [(1, 1), (1, 40), (7, 3), (16, 16), (17, 19), (33, 64), (65, 130)]


def smooth(height: int, width: int) -> np.ndarray:
    """A coloured gradient: what survives 4:2:0."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    channels = [60 + 1.1 * x, 200 - 1.3 * y, 90 + 40 * np.sin(x / 19 + y / 17)]
    return np.stack(channels, -1).round().astype(np.uint8)


@pytest.mark.parametrize("name", CLASSIC)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_comes_back(name, size):
    picture = smooth(*size)
    data = ANCHORS[name](BEST[name]).encode(picture)
    decoded = ANCHORS[name]().decode(data)  # another quality: nothing but the bytes is needed
    assert decoded.shape == picture.shape
    assert decoded.dtype == np.uint8
    assert psnr_db(picture, decoded) > 33


@pytest.mark.parametrize("name", [name for name in CLASSIC if name != "uncompressed"])
def test_quality_moves_the_rate(name):
    picture = smooth(96, 128) ^ np.random.default_rng(0).integers(0, 16, (96, 128, 3), dtype=np.uint8)
    low, high = ANCHORS[name]().qualities
    sizes = [len(ANCHORS[name](q).encode(picture)) for q in (low, (low + high) // 2, high)]
    assert sizes in (sorted(set(sizes)), sorted(set(sizes), reverse=True))


def test_uncompressed_is_24_bpp_and_exact():
    picture = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    data = ANCHORS["uncompressed"]().encode(picture)
    assert len(data) - 3 * 37 * 53 == len(b"P6 53 37 255\n")
    assert np.array_equal(ANCHORS["uncompressed"]().decode(data), picture)


def test_colour_conversion_alone_loses_little():
    picture = smooth(65, 81)
    assert psnr_db(picture, yuv420_to_rgb(rgb_to_yuv420(picture))) > 45
    for colour in [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (12, 200, 130)]:
        flat = np.full((4, 6, 3), colour, np.uint8)
        assert np.abs(yuv420_to_rgb(rgb_to_yuv420(flat)).astype(int) - flat).max() <= 2


def test_bt709_limited_values():
    """White, black and pure red by the standard's own equations."""
    for colour, expected in [((255,) * 3, (235, 128, 128)), ((0,) * 3, (16, 128, 128)), ((255, 0, 0), (63, 102, 240))]:
        planes = rgb_to_yuv420(np.full((2, 2, 3), colour, np.uint8))
        assert tuple(int(plane[0, 0]) for plane in planes) == expected


def test_chroma_is_sited_left():
    """A ramp of colour survives: sited otherwise it would come back shifted by half a pixel or so."""
    ramp = np.zeros((8, 200, 3), np.uint8)
    ramp[..., 0], ramp[..., 2] = np.arange(200), 200 - np.arange(200)
    difference = yuv420_to_rgb(rgb_to_yuv420(ramp)).astype(float) - ramp
    assert abs(difference[:, 4:-4].mean(axis=(0, 1))).max() < 0.25


@pytest.mark.parametrize("name", VIDEO)
def test_streams_are_tagged(name, tmp_path):
    codec = ANCHORS[name]()
    path = tmp_path / f"picture{codec.suffix}"
    path.write_bytes(codec.encode(smooth(64, 96)))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (96, 64)
    assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)  # BT.709, limited


@pytest.mark.parametrize("name", ["x264", "x265"])
def test_no_option_strings(name):
    codec = ANCHORS[name]()
    data = codec.encode(smooth(64, 96))
    assert b"options" not in data
    assert strip_sei(codec.syntax, data) == data
    assert len(list(nal_units(data))) == (3 if name == "x264" else 4)  # parameter sets and one slice


@pytest.mark.parametrize("name", VIDEO)
def test_only_padded_pictures_pay_for_their_size(name):
    codec = ANCHORS[name]()
    even, odd = codec.encode(smooth(32, 32)), codec.encode(smooth(32, 32)[:15, :15])
    units = (
        (lambda d: d[last_obu(d)] == 0x7A)
        if codec.syntax == "av1"
        else (lambda d: list(nal_units(d))[-1][0] in (0x18, 0x60))
    )
    assert not units(even)
    assert units(odd)


@pytest.mark.parametrize("name", VIDEO)
def test_other_decoders_open_padded_streams(name, tmp_path):
    codec = ANCHORS[name]()
    path = tmp_path / f"picture{codec.suffix}"
    path.write_bytes(codec.encode(smooth(15, 15)))
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 1


@pytest.mark.parametrize("name", CLASSIC)
def test_damage_is_a_value_error(name):
    codec = ANCHORS[name]()
    data = codec.encode(smooth(48, 48))
    for damaged in (b"", data[: len(data) // 3], b"\x00" * 50):
        with pytest.raises(ValueError, match=r".+") as caught:
            codec.decode(damaged)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "quality"), [("jpeg", 0), ("jpeg", 101), ("webp", 1.5), ("x265", 52), ("svtav1", 64),
                                               ("x264", -1), ("uncompressed", 3)])  # fmt: skip
def test_impossible_quality_is_refused(name, quality):
    with pytest.raises(ValueError, match=name):
        ANCHORS[name](quality)


def test_bytes_are_the_same_every_time():
    picture = smooth(70, 90)
    for name in CLASSIC:
        assert ANCHORS[name]().encode(picture) == ANCHORS[name]().encode(picture), name


def test_a_fresh_process_decodes(tmp_path):
    picture = smooth(35, 50)
    for name in CLASSIC:
        codec = ANCHORS[name]()
        Path(tmp_path / f"{name}.bin").write_bytes(codec.encode(picture))
        np.save(tmp_path / f"{name}.npy", codec.decode(codec.encode(picture)))
    script = (
        "import sys, pathlib, numpy as np\nfrom eval.anchors import ANCHORS\nroot = pathlib.Path(sys.argv[1])\n"
        f"for name in {CLASSIC}:\n"
        "    y = ANCHORS[name]().decode((root / f'{name}.bin').read_bytes())\n"
        "    assert np.array_equal(y, np.load(root / f'{name}.npy')), name\n"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=root, timeout=120)
