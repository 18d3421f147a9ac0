"""Fitting a clip by the command: segments, resuming, sizes, edges, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import icm
from nerv.codec import NetworkDecoder
from nerv.file import NetworkFile
from pipelines import fit
from pipelines.segments import Cuts, longest_for, segments
from tests.pipelines.conftest import Done

Command = Callable[..., Done]


def moving(count: int, start: int = 0, size: tuple[int, int] = (40, 56)) -> list[np.ndarray]:
    """A square that moves over a gradient."""
    y, x = np.mgrid[: size[0], : size[1]]
    back = np.stack([3 * x, 4 * y, 2 * (x + y)], -1).clip(0, 255).astype(np.uint8)
    found = []
    for i in range(start, start + count):
        frame = back.copy()
        frame[8:20, 2 * i % 40 : 2 * i % 40 + 10] = 250
        found.append(frame)
    return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames at uneven times."""
    path, frames = tmp_path_factory.mktemp("clip") / "camera.mkv", moving(12)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "bgr0"
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")
            picture.pts = 3 * i if i < 6 else 3 * i + 7
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def test_cuts_are_found_and_movement_is_none() -> None:
    frames = moving(8) + [255 - frame for frame in moving(5, 8)]
    cuts = Cuts()
    assert [i for i, frame in enumerate(frames) if cuts.is_cut(frame)] == [8]
    found = list(segments(((frame, i) for i, frame in enumerate(frames)), 6))
    assert [(s.number, s.start, s.stop) for s in found] == [(0, 0, 6), (1, 6, 8), (2, 8, 13)]
    assert found[2].ticks == [8, 9, 10, 11, 12]
    assert (found[2].frames[0] == frames[8]).all()


def test_segments_are_equal_and_fit_the_memory() -> None:
    assert longest_for(768, 432, 1394) == 279
    assert longest_for(7680, 4320) == 10
    assert longest_for(768, 432) == 300


@pytest.mark.parametrize(("text", "expected"), [("0.75M", {"parameters": 750_000}), ("350k", {"parameters": 350_000}),
                                                ("64kbps", {"bits_a_second": 64e3})])  # fmt: skip
def test_sizes_are_read(text: str, expected: dict[str, float]) -> None:
    assert fit.size_of(text) == expected


@pytest.mark.parametrize("codec", ["nerv", "hnerv", "sa-nerv"])
def test_a_clip_becomes_a_network_and_frames_again(clip: Path, tmp_path: Path, vcm: Command, codec: str) -> None:
    out = tmp_path / "a.vcm"
    done = vcm("encode", clip, "-o", out, "--codec", f"{codec}:60k", "--steps", 12, "--segment", 6, "--json")
    assert done.code == 0, done.err
    row = json.loads(done.out)
    assert row["segments"] == 2
    assert row["bytes"] == out.stat().st_size
    assert vcm("verify", out).code == 0
    assert vcm("decode", out, "-o", tmp_path / "frames").code == 0
    decoded = sorted((tmp_path / "frames").glob("*.png"))
    assert len(decoded) == 12
    with NetworkDecoder(out) as decoder, NetworkFile(out) as file:
        assert (cv2.imread(str(decoded[7]))[..., ::-1] == decoder.frame(7)).all()
        assert decoder.frame(0).shape == (40, 56, 3)
        assert file.header.model == codec
        times = file.header.times
        assert times is not None
        assert len(set(np.diff(times.ticks).tolist())) == 2
    work = tmp_path / "a.vcm.fit"
    assert (work / "0001" / "plot.png").exists()
    assert not (work / "0001" / "checkpoint.safetensors").exists()


def test_bytes_are_kept_to(clip: Path, tmp_path: Path, vcm: Command) -> None:
    out = tmp_path / "a.vcm"
    done = vcm("encode", clip, "-o", out, "--codec", "sa-nerv", "--bytes", 30_000, "--steps", 12)
    assert done.code == 0, done.err
    assert 25_000 < out.stat().st_size <= 30_000


def test_a_size_that_was_too_small_leaves_no_fit(clip: Path, tmp_path: Path, vcm: Command) -> None:
    out = tmp_path / "a.vcm"
    for background, told in (("nothing:50", "unknown codec"), ("sa-icm-s:50", "too few")):
        refused = vcm("encode", clip, "-o", out, "--codec", "sa-nerv:1k", "--background", background, "--steps", "2")
        assert refused.code == 2
        assert told in refused.err
    assert vcm("encode", clip, "-o", out, "--codec", "sa-nerv:20k", "--steps", "2").code == 0
    with NetworkFile(out) as file:
        assert file.background() is None


def test_edges_change_what_is_learned(clip: Path, tmp_path: Path, vcm: Command) -> None:
    edges = tmp_path / "edges"
    edges.mkdir()
    for i, frame in enumerate(moving(12)):
        cv2.imwrite(str(edges / f"{i:06d}.png"), 255 * (frame[..., 0] > 240).astype(np.uint8))
    files = []
    for name, words in (("plain", ["--fit", "loss=nerv"]), ("pair", ["--edges", edges]),
                        ("only", ["--edges", edges, "--fit", "edges=only"])):  # fmt: skip
        out = tmp_path / f"{name}.vcm"
        done = vcm("encode", clip, "-o", out, "--codec", "sa-nerv:60k", "--steps", 8, *words)
        assert done.code == 0, done.err
        files.append(out.read_bytes())
    assert len(set(files)) == 3
    (edges / "000003.png").unlink()
    done = vcm("encode", clip, "-o", tmp_path / "b.vcm", "--codec", "sa-nerv:60k", "--steps", 8, "--edges", edges)
    assert done.code == 2
    assert "000003.png" in done.err
    assert done.err.count("\n") == 1


def test_a_static_background_is_paid_for_once(clip: Path, tmp_path: Path, vcm: Command) -> None:
    """Two segments on one picture: the file decodes, tells of it, is nearer to the clip than one without."""
    psnr = {}
    for name, words in (("with", ["--background", "sa-icm-s:60"]), ("without", [])):
        out = tmp_path / f"{name}.vcm"
        size = ["--codec", "sa-nerv", "--bytes", 24_000, "--steps", 20, "--segment", 6]
        done = vcm("encode", clip, "-o", out, *size, *words)
        assert done.code == 0, done.err
        assert out.stat().st_size <= 24_000
        with NetworkDecoder(out, icm.decode) as decoder:
            errors = [decoder.frame(i).astype(float) - frame for i, frame in enumerate(moving(12))]
        psnr[name] = -10 * np.log10(np.mean(np.square(errors)) / 255**2)
    assert psnr["with"] > psnr["without"] + 1
    assert "background" in vcm("info", tmp_path / "with.vcm").out
    assert vcm("verify", tmp_path / "with.vcm").code == 0
    segment = tmp_path / "with.vcm.fit" / "0001" / "segment.vcm"
    with NetworkDecoder(tmp_path / "with.vcm", icm.decode) as whole, NetworkDecoder(segment, icm.decode) as part:
        assert (whole.frame(8) == part.frame(2)).all()
    with pytest.raises(ValueError, match="has a background"):
        NetworkDecoder(segment)
    done = vcm("encode", clip, "-o", tmp_path / "h.vcm", "--codec", "hnerv:60k", "--steps", 2, "--background")
    assert done.code == 2
    assert "has no background" in done.err


def test_killed_and_resumed_is_as_uninterrupted(clip: Path, tmp_path: Path) -> None:
    """kill -9 at two moments of a fit of two segments; the bytes are those of a run that nothing stopped."""
    words = [sys.executable, "-m", "pipelines", "encode", str(clip), "--codec", "sa-nerv:60k", "--steps", "40",
             "--segment", "6", "--threads", "1", "--checkpoint-minutes", "0.002"]  # fmt: skip
    whole, cut = tmp_path / "whole.vcm", tmp_path / "cut.vcm"
    subprocess.run([*words, "-o", str(whole)], check=True, capture_output=True)
    for folder in ("0000", "0001"):
        process = subprocess.Popen([*words, "-o", str(cut), "--resume"], stderr=subprocess.DEVNULL)
        started = time.monotonic()
        while not (cut.with_name("cut.vcm.fit") / folder / "checkpoint.safetensors").exists():
            assert time.monotonic() - started < 120
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*words, "-o", str(cut), "--resume"], check=True, capture_output=True)
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(("words", "told"), [
    (["--codec", "sa-nerv"], "say how large"),
    (["--codec", "sa-nerv:12"], "is no size"),
    (["--codec", "sa-nerv:10"], "is no size"),
    (["--codec", "sa-nerv:60k", "--fit", "los=l2"], "los"),
    (["--codec", "sa-nerv:60k", "--steps", "0"], "must be above 0"),
    (["--codec", "sa-nerv:60k", "--weights", "w"], "learn their weights"),
    (["--codec", "sa-nerv:60k", "--fit", "edges=pair", "--steps", "1"], "needs edge maps"),
    (["--codec", "sa-icm-s:20", "--steps", "5"], "is for networks"),
])  # fmt: skip
def test_bad_requests_are_one_line(clip: Path, tmp_path: Path, vcm: Command, words: list[str], told: str) -> None:
    done = vcm("encode", clip, "-o", tmp_path / "a.vcm", *words)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert told in done.err


def test_standard_input_is_fitted_as_it_comes(clip: Path, tmp_path: Path) -> None:
    """Y4M through a pipe: segments are whole files before the source ends."""
    words = [sys.executable, "-m", "pipelines", "encode", "-", "-o", str(tmp_path / "a.vcm"), "--codec", "nerv:60k",
             "--steps", "3", "--segment", "4"]  # fmt: skip
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"YUV4MPEG2 W56 H40 F10:1 Ip A1:1 C444\n")
    for frame in moving(10):
        yuv = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV).transpose(2, 0, 1)
        process.stdin.write(b"FRAME\n" + yuv.tobytes())
    process.stdin.flush()
    first, started = tmp_path / "a.vcm.fit" / "0000" / "segment.vcm", time.monotonic()
    while not first.exists():
        assert time.monotonic() - started < 120
        time.sleep(0.05)
    with NetworkDecoder(first) as decoder:
        assert decoder.frame(3).shape == (40, 56, 3)
    _, told = process.communicate()
    assert process.returncode == 0, told
    with NetworkFile(tmp_path / "a.vcm") as file:
        assert file.counts == [4, 4, 2]
        assert file.header.times is not None
        assert float(file.header.times.rate or 0) == pytest.approx(10)


@pytest.mark.parametrize(("source", "codec", "told"), [
    ("rtsp://127.0.0.1:9/camera", "sa-nerv:60k", "gives no video"),
    ("-", "sa-icm-s:20", "is for networks"),
])  # fmt: skip
def test_live_sources_that_cannot_be(tmp_path: Path, vcm: Command, source: str, codec: str, told: str) -> None:
    done = vcm("encode", source, "-o", tmp_path / "a.vcm", "--codec", codec)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert told in done.err
