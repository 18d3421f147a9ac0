"""Clips in and out: exact where it is promised, close elsewhere, and refused in one line where damaged."""

from __future__ import annotations

import itertools
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.clips import probe_clip, read_clip
from pipelines.clips_out import writing

RATE = Fraction(25)


def smooth(height: int, width: int, count: int) -> list[np.ndarray]:
    """Smooth moving colours, kind to lossy coding and to chroma subsampling."""
    y, x = np.mgrid[:height, :width]
    frames = []
    for t in range(count):
        waves = [np.sin((x + 3 * t) / 23 + p) + np.cos((y + t) / 17 + 2 * p) for p in (0, 1, 2)]
        frames.append(np.rint(127.5 + 50 * np.stack(waves, -1)).astype(np.uint8))
    return frames


def write(path: Path, frames: list[np.ndarray], times: list[Fraction] | None = None) -> Path:
    with writing(path, RATE) as writer:
        for index, frame in enumerate(frames):
            writer.add(frame, times[index] if times else index / RATE, index)
    return path


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (1, 1), (2, 131)])
def test_ffv1_is_exact_with_times(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = [np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8) for i in range(7)]
    times = [Fraction(n, 1000) for n in (0, 40, 81, 120, 300, 1000, 1001)]
    read = list(read_clip(write(tmp_path / "a.mkv", frames, times)))
    assert [time for _, time in read] == times
    assert all(np.array_equal(got, frame) for (got, _), frame in zip(read, frames, strict=True))


@pytest.mark.parametrize(("suffix", "worst"), [(".mp4", 10), (".y4m", 3)])
@pytest.mark.parametrize("size", [(64, 96), (63, 95), (720, 64)])
def test_lossy_and_raw_keep_colours(tmp_path: Path, suffix: str, worst: int, size: tuple[int, int]) -> None:
    """A wrong matrix or range moves these colours by 15 and more."""
    frames = smooth(*size, 5)
    path = write(tmp_path / f"a{suffix}", frames)
    info, read = probe_clip(path), list(read_clip(path))
    assert (info.height, info.width) == size
    assert [time for _, time in read] == [index / RATE for index in range(5)]
    for (got, _), frame in zip(read, frames, strict=True):
        assert np.abs(got.astype(int) - frame).mean() < worst / 4
        assert np.percentile(np.abs(got.astype(int) - frame), 99) <= worst
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_mp4_has_its_colour_tags(tmp_path: Path) -> None:
    with av.open(str(write(tmp_path / "a.mp4", smooth(64, 64, 2)))) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)


@pytest.mark.parametrize(("matrix", "full"), [(1, False), (5, False), (1, True), (5, True)])
def test_matrix_and_range_tags_are_obeyed(tmp_path: Path, matrix: int, full: bool) -> None:
    """Pure colours written as YUV computed here by H.273, with tags; they come back within rounding."""
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114)}[matrix]
    colours = np.array([[200, 30, 60], [20, 180, 90], [40, 60, 220], [128, 128, 128]])
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        for index, (r, g, b) in enumerate(colours / 255):
            y = kr * r + (1 - kr - kb) * g + kb * b
            cb, cr = (b - y) / 2 / (1 - kb), (r - y) / 2 / (1 - kr)
            yuv = (255 * y, 128 + 255 * cb, 128 + 255 * cr) if full else (16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr)
            frame = av.VideoFrame(16, 16, "yuv444p")
            for plane, value in zip(frame.planes, yuv, strict=True):
                plane.update(bytes([round(value)]) * plane.buffer_size)
            frame.pts, frame.colorspace, frame.color_range = index, matrix, 2 if full else 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for (got, _), colour in zip(read_clip(path), colours, strict=True):
        assert np.abs(got.reshape(-1, 3).astype(int) - colour).max() <= 3


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_rotation_is_undone(tmp_path: Path, quarter: int) -> None:
    frames = smooth(32, 48, 2)
    plain = write(tmp_path / "a.mp4", frames)
    upright = [frame for frame, _ in read_clip(plain)]
    # the track header's matrix (ISO 14496-12, 8.3.2), 16.16 fixed point: a turn by so many quarters clockwise
    a, b = {1: (0, 1), 2: (-1, 0), 3: (0, -1)}[quarter]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data = bytearray(plain.read_bytes())
    at = data.index(identity, data.index(b"tkhd"))
    data[at : at + 36] = matrix
    (tmp_path / "turned.mp4").write_bytes(data)
    turned = [frame for frame, _ in read_clip(tmp_path / "turned.mp4")]
    assert probe_clip(tmp_path / "turned.mp4").width == (32 if quarter % 2 else 48)
    assert all(np.array_equal(t, np.rot90(u, -quarter)) for t, u in zip(turned, upright, strict=True))


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "page.mp4").write_text("<html>404</html>")
    (tmp_path / "text.mp4").write_text("no clip\n" * 100)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("flac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.rate, sound.pts = 8000, 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    for name, reason in [("none.mp4", "no such file"), ("empty.mp4", "is empty"), ("page.mp4", "web page"),
                         ("text.mp4", "not a clip"), ("list.mp4", "damaged|no video"),
                         ("sound.mkv", "holds no video")]:  # fmt: skip
        with pytest.raises((ValueError, OSError), match=reason) as caught:
            list(read_clip(tmp_path / name))
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".y4m"])
def test_truncated_is_refused_or_complete(tmp_path: Path, suffix: str) -> None:
    whole = write(tmp_path / f"whole{suffix}", smooth(48, 64, 12))
    data, cut, refused = whole.read_bytes(), tmp_path / f"cut{suffix}", 0
    ends = [round(len(data) * part / 25) for part in range(1, 25)]
    for end in ends:
        if suffix == ".y4m" and (end - data.index(b"\n") - 1) % (6 + 48 * 64 * 3) == 0:
            continue  # between two frames: such a file is whole as far as the format can tell
        cut.write_bytes(data[:end])
        try:
            assert len(list(read_clip(cut))) == 12, f"silently short when cut to {end} of {len(data)}"
        except ValueError as error:
            assert str(cut) in str(error)
            refused += 1
    assert refused >= len(ends) - (2 if suffix == ".mp4" else 1)


def test_a_clip_that_begins_late_is_whole(tmp_path: Path) -> None:
    """Matroska's duration counts from 0 or from the first frame, by who wrote it; a cut one is found all the same."""
    frames = smooth(32, 48, 5)
    with av.open(str(tmp_path / "late.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "bgr0"
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")
            picture.pts, picture.time_base = 1000 + index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert [time for _, time in read_clip(tmp_path / "late.mkv")] == [40 + index / RATE for index in range(5)]
    data = (tmp_path / "late.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(ValueError, match=r"truncated at 40\.\d+ of 40\.20 seconds"):
        list(read_clip(tmp_path / "cut.mkv"))


def test_packets_without_a_place_in_the_file(tmp_path: Path) -> None:
    """MPEG program streams have them."""
    with av.open(str(tmp_path / "a.mpg"), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for frame in smooth(32, 48, 5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    assert len(list(read_clip(tmp_path / "a.mpg"))) == 5


def test_a_failed_video_leaves_nothing(tmp_path: Path) -> None:
    frame = smooth(16, 16, 1)[0]

    def fail() -> None:
        with writing(tmp_path / "a.mkv", RATE) as writer:
            writer.add(frame, Fraction(0), 0)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="not written"), writing("/proc/none/a.mkv", RATE) as writer:
        writer.add(frame, Fraction(0), 0)


def test_folder_names_are_indices(tmp_path: Path) -> None:
    with writing(tmp_path / "frames", RATE) as writer:
        for index in (10, 11):
            writer.add(smooth(8, 8, 1)[0], Fraction(0), index)
    assert sorted(p.name for p in (tmp_path / "frames").iterdir()) == ["frame_000010.png", "frame_000011.png"]


def test_shared_clips(shared: Path) -> None:
    clips = shared / "data" / "clips"
    assert sum(1 for _ in read_clip(clips / "bunny-360p.mkv")) == 132
    times = [time for _, time in itertools.islice(read_clip(clips / "hamilton.mp4"), 3)]
    assert [b - a for a, b in itertools.pairwise(times)] == [Fraction(400, 11988)] * 2
    assert probe_clip(clips / "person.mp4").frames == 1394
