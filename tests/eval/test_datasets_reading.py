"""Pictures and frames of clips: the same pixels as the commands read, each frame decoded once."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import eval.datasets.reading as reading
from eval.datasets import Item, frames, load, read
from eval.datasets.reading import Yuv, picture_size, read_clip, read_picture
from pipelines.clips import read_clip as read_clip_of_commands
from pipelines.media import read_picture as read_picture_of_commands


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_clip(path: Path, count: int, codec: str = "ffv1", pix_fmt: str = "bgr0", size=(48, 64)) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(30000, 1001))
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        for number in range(count):
            picture = np.full((*size, 3), 10 * number, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


MODES = {"rgb.png": "RGB", "grey.png": "L", "palette.png": "P", "alpha.png": "RGBA", "la.png": "LA", "one.png": "1",
         "grey16.png": "I;16", "c.jpg": "CMYK", "g.jpg": "L", "a.webp": "RGBA", "b.bmp": "RGB"}  # fmt: skip


@pytest.mark.parametrize("name", MODES)
def test_pictures_are_those_that_the_commands_read(tmp_path, name):
    if MODES[name] == "I;16":
        image = Image.fromarray(scene(9, 14)[..., 0].astype(np.uint16) * 200)
    else:
        image = Image.fromarray(scene(9, 14)).convert(MODES[name])
        if "A" in MODES[name]:
            image.putalpha(Image.fromarray(scene(9, 14, 1)[..., 0]))
    image.save(tmp_path / name)
    assert np.array_equal(read_picture(tmp_path / name), read_picture_of_commands(tmp_path / name))
    assert picture_size(tmp_path / name) == (9, 14)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    Image.fromarray(scene(9, 14)).save(path, exif=exif)
    picture = read_picture(path)
    assert np.array_equal(picture, read_picture_of_commands(path))
    assert picture_size(path) == picture.shape[:2]


def test_transparent_palette(tmp_path):
    image = Image.fromarray(scene(9, 14)).convert("P")
    image.save(tmp_path / "a.png", transparency=0)
    assert np.array_equal(read_picture(tmp_path / "a.png"), read_picture_of_commands(tmp_path / "a.png"))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_turned_tiff_and_lab(tmp_path, orientation):
    path = tmp_path / "a.tif"
    Image.fromarray(scene(9, 14)).save(path, tiffinfo={0x0112: orientation})
    assert np.array_equal(read_picture(path), read_picture_of_commands(path))
    assert picture_size(path) == read_picture(path).shape[:2]
    lab = Image.merge("LAB", Image.fromarray(scene(9, 14)).split())
    lab.save(path)
    assert np.array_equal(read_picture(path), read_picture_of_commands(path))


def test_several_pictures_and_other_programs_files_are_refused(tmp_path):
    path = tmp_path / "a.gif"
    Image.fromarray(scene(9, 14)).save(path, save_all=True, append_images=[Image.fromarray(scene(9, 14, 1))])
    with pytest.raises(ValueError, match="holds 2 pictures"):
        read_picture(path)
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(ValueError, match=r"a\.png: is not a picture"):  # EPS would run a program
        read_picture(tmp_path / "a.png")


def test_damaged_pictures_are_told_in_one_line(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(scene(64, 64)).save(path)
    data = path.read_bytes()
    for damaged in (b"", b"<html>", data[:2000], data[:30]):
        path.write_bytes(damaged)
        with pytest.raises((ValueError, OSError), match=r"a\.png") as caught:
            read_picture(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png")


@pytest.mark.parametrize(("codec", "pix_fmt"), [("ffv1", "bgr0"), ("libx264", "yuv420p"), ("ffv1", "yuv444p10le")])
def test_clips_are_those_that_the_commands_read(tmp_path, codec, pix_fmt):
    path = write_clip(tmp_path / "a.mkv", 5, codec, pix_fmt)
    ours, theirs = list(read_clip(path)), [frame for frame, _ in read_clip_of_commands(path)]
    assert len(ours) == 5
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_real_clips(shared):
    path = shared / "data" / "clips" / "hamilton.mp4"
    theirs = read_clip_of_commands(path)
    for (ours, _), (frame, _) in zip(zip(read_clip(path), range(3), strict=False), theirs, strict=False):
        assert np.array_equal(ours, frame)
    assert len(load("clip:every=50", path)) == 6


def test_clip_items(tmp_path):
    (tmp_path / "clips").mkdir()
    path = write_clip(tmp_path / "clips" / "a.mkv", 7)
    write_clip(tmp_path / "clips" / "b.mp4", 3, "libx264", "yuv420p")
    dataset = load("clip", tmp_path / "clips")
    assert dataset.sequences == {"a.mkv": tuple(range(7)), "b.mp4": (7, 8, 9)}
    assert dataset.rate["a.mkv"] == Fraction(30000, 1001)
    assert dataset.items[2].file_name == "a.mkv/000002"
    assert {(item.width, item.height) for item in dataset.items} == {(64, 48)}
    assert [int(frame[0, 0, 0]) for frame in frames(dataset.items[:7])] == [0, 10, 20, 30, 40, 50, 60]
    thin = load("clip:every=3,max=2", path)
    assert [item.frame for item in thin.items] == [0, 3]
    assert thin.rate == {"a.mkv": Fraction(10000, 1001)}
    assert int(read(thin.items[1])[0, 0, 0]) == 30
    assert thin.tasks == ("fidelity",)


def test_no_frame_is_decoded_twice(tmp_path, monkeypatch):
    dataset = load("clip", write_clip(tmp_path / "a.mkv", 9))
    count = 0
    original = reading._rgb

    def counted(path, frame):
        nonlocal count
        count += 1
        return original(path, frame)

    monkeypatch.setattr(reading, "_rgb", counted)
    assert len(list(frames(dataset.items))) == 9
    assert count == 9
    assert [int(frame[0, 0, 0]) for frame in frames([dataset.items[5], dataset.items[2]])] == [50, 20]


def test_clip_refusals(tmp_path):
    for path, match in [(tmp_path / "none.mp4", "no such clip"), (tmp_path, "holds no clips")]:
        with pytest.raises(ValueError, match=match):
            load("clip", path)
    path = tmp_path / "a.mkv"
    path.write_bytes(b"x" * 500)
    with pytest.raises(ValueError, match=r"a\.mkv: is not a clip"):
        load("clip", path)
    write_clip(path, 9, "libx264", "yuv420p")
    items = load("clip", path).items
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"a\.mkv: (ends before frame|truncated)"):
        list(frames(items))
    with pytest.raises(ValueError, match="annotations"):
        load("clip", path, "labels.json")


@pytest.mark.parametrize(("name", "depth"), [("S_64x48_30.yuv", 8), ("S_64x48_30fps_10bit_420.yuv", 10)])
def test_raw_yuv(tmp_path, name, depth):
    """As FFmpeg reads the same samples: the colours of a tagged clip and of raw ones agree."""
    path = tmp_path / name
    rng = np.random.default_rng(3)
    low = rng.integers(16, 236, (3, 48 * 3 // 2, 64)).astype(np.uint16)
    path.write_bytes((low << (depth - 8)).astype("<u2" if depth > 8 else np.uint8).tobytes())
    dataset = load("clip", path)
    assert (len(dataset), dataset.rate[name]) == (3, 30)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for planes in low.astype(np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode(None))
    expected = list(read_clip(tmp_path / "a.mkv"))
    assert all(np.array_equal(a, b) for a, b in zip(frames(dataset.items), expected, strict=True))
    assert np.array_equal(read(dataset.items[2]), expected[2])


@pytest.mark.parametrize(("name", "size", "depth"), [
    ("BasketballDrive_1920x1080_50Hz_8bit_P420.yuv", (1920, 1080), 8),
    ("Traffic_2560x1600_30_crop.yuv", (2560, 1600), 8),
    ("Campfire_3840x2160_30fps_10bit_420_bt709_videoRange.yuv", (3840, 2160), 10), ("x_64x48_30_12b.yuv", (64, 48), 12),
])  # fmt: skip
def test_names_of_raw_yuv(tmp_path, name, size, depth):
    path = tmp_path / name
    path.touch()
    yuv = Yuv.of(path)
    assert ((yuv.width, yuv.height), yuv.depth) == (size, depth)


@pytest.mark.parametrize(("name", "match"), [("a.yuv", "size in its name"), ("a_15x8.yuv", "even sizes"),
                                             ("a_16x8.yuv", "no whole number of 16x8 frames")])  # fmt: skip
def test_raw_yuv_refusals(tmp_path, name, match):
    (tmp_path / name).write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match=match):
        read(Item(0, name, tmp_path / name))
