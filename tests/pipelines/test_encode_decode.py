"""`vcm encode` and `vcm decode`: files, folders, clips, sizes, bad input, resumption."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipelines.clips import read_clip
from pipelines.media import read_picture, write_picture


@pytest.fixture
def folder(tmp_path: Path, picture: np.ndarray) -> Path:
    """Three good pictures, one of them deeper, and six bad ones."""
    folder = tmp_path / "photos"
    for name in ("a.png", "b.png", "deep/c.png"):
        write_picture(folder / name, picture)
    whole = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "page.jpg").write_text("<html></html>")
    (folder / "text.png").write_text("not a picture")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "notes.txt").write_text("not looked at")
    return folder


BAD = {"cut.png", "empty.jpg", "page.jpg", "text.png", "gone.png"}


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_one_picture_there_and_back(vcm, fake, tmp_path: Path, picture: np.ndarray) -> None:
    write_picture(tmp_path / "a.png", picture)
    done = vcm("encode", tmp_path / "a.png", "-o", tmp_path / "a.vcm", "--codec", "fake:100")
    size = (tmp_path / "a.vcm").stat().st_size
    assert done == (0, f"{tmp_path}/a.vcm: {size} bytes, {8 * size / (40 * 56):.4f} bpp, quality 100\n", "")
    assert vcm("decode", tmp_path / "a.vcm", "-o", tmp_path / "back.png").code == 0
    assert np.array_equal(read_picture(tmp_path / "back.png"), picture)
    assert vcm("decode", tmp_path / "a.vcm", "-o", tmp_path / "out").code == 0
    assert np.array_equal(read_picture(tmp_path / "out" / "a.png"), picture)


@pytest.mark.parametrize("codec", ["fake", "jpeg"])
@pytest.mark.parametrize("size", [["--bytes", 3000], ["--bpp", 9.5]])
def test_a_size_finds_the_best_quality(vcm, fake, tmp_path: Path, picture: np.ndarray, codec: str, size: list) -> None:
    write_picture(tmp_path / "a.png", picture)
    out = tmp_path / "a.bin"
    row = json.loads(vcm("encode", tmp_path / "a.png", "-o", out, "--codec", codec, *size, "--json").out)
    limit = 3000 if size[0] == "--bytes" else 9.5 * 40 * 56 / 8
    assert row["bytes"] == out.stat().st_size <= limit
    assert row["rate_bpp"] == 8 * row["bytes"] / (40 * 56)
    better = row["quality"] + (1 if codec == "jpeg" else 1 / 16)
    if better <= 100:
        vcm("encode", tmp_path / "a.png", "-o", out, "--codec", f"{codec}:{better}")
        assert out.stat().st_size > limit
    done = vcm("encode", tmp_path / "a.png", "-o", tmp_path / "b.bin", "--codec", codec, "--bytes", 20)
    assert done.code == 2
    assert "the smallest possible is" in done.err
    assert not (tmp_path / "b.bin").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_goes_on_past_what_is_bad(vcm, folder: Path, tmp_path: Path, workers: int) -> None:
    done = vcm("encode", folder, "-o", tmp_path / "out", "--codec", "jpeg:80", "--workers", workers, "--json")
    result = json.loads(done.out)
    assert done.code == 1
    assert names(tmp_path / "out") == {"a.jpg", "b.jpg", "deep/c.jpg", "manifest.jsonl", "run.json"}
    assert {Path(row["file"]).name for row in result["refused"]} == BAD
    for bad in BAD:
        assert sum(f"refused {folder / bad}: " in line for line in done.err.splitlines()) == 1
    assert done.err.splitlines()[-1] == "5 refused"
    assert result["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.jpg"))
    done = vcm("decode", tmp_path / "out", "-o", tmp_path / "back", "--codec", "jpeg", "--workers", workers)
    assert done.code == 0
    assert names(tmp_path / "back") == {"a.png", "b.png", "deep/c.png", "manifest.jsonl", "run.json"}


def test_dry_run_writes_nothing_and_sees_bad_heads(vcm, folder: Path, tmp_path: Path) -> None:
    done = vcm("encode", folder, "-o", tmp_path / "out", "--codec", "jpeg:80", "--dry-run")
    assert done.code == 1
    assert f"would write {tmp_path}/out/deep/c.jpg" in done.out
    assert f"refused {folder}/page.jpg" in done.err
    assert not (tmp_path / "out").exists()


def test_resume_does_what_is_missing_changed_or_differently_set(vcm, folder: Path, tmp_path: Path) -> None:
    out, command = tmp_path / "out", ("encode", folder, "-o", tmp_path / "out", "--codec")
    vcm(*command, "jpeg:80")
    marks = {name: (out / name).stat().st_mtime_ns for name in ("a.jpg", "b.jpg", "deep/c.jpg")}
    (out / "b.jpg").unlink()
    write_picture(folder / "deep" / "c.png", np.zeros((8, 8, 3), np.uint8))
    assert "3 files, 1 of them already there" in vcm(*command, "jpeg:80", "--resume").out
    assert (out / "a.jpg").stat().st_mtime_ns == marks["a.jpg"]
    assert (out / "deep/c.jpg").stat().st_mtime_ns != marks["deep/c.jpg"]
    assert "already there" not in vcm(*command, "jpeg:70", "--resume").out
    assert "already there" not in vcm(*command, "jpeg:70").out
    assert len((out / "manifest.jsonl").read_text().splitlines()) == 3


def test_nothing_is_written_twice_or_over_an_input(vcm, tmp_path: Path, picture: np.ndarray) -> None:
    write_picture(tmp_path / "in" / "a.png", picture)
    write_picture(tmp_path / "in" / "a.bmp", picture)
    done = vcm("encode", tmp_path / "in", "-o", tmp_path / "out", "--codec", "jpeg:30")
    assert done.code == 1
    assert "rename one of them" in done.err
    vcm("encode", tmp_path / "in" / "a.png", "-o", tmp_path / "in" / "a.jpg", "--codec", "jpeg:30")
    before = (tmp_path / "in" / "a.jpg").read_bytes()
    done = vcm("encode", tmp_path / "in", "-o", tmp_path / "in", "--codec", "jpeg:5")
    assert done.code == 1
    assert "over the input" in done.err
    assert (tmp_path / "in" / "a.jpg").read_bytes() == before
    done = vcm("encode", tmp_path / "in" / "a.jpg", "-o", tmp_path / "in" / "a.jpg", "--codec", "jpeg:5")
    assert done.code == 2
    assert "is the input" in done.err


def test_a_clip_there_and_back(vcm, fake, clip: Path, tmp_path: Path) -> None:
    original = list(read_clip(clip))
    row = json.loads(vcm("encode", clip, "-o", tmp_path / "c.vcm", "--codec", "fake:100", "--json").out)
    assert row["frames"] == 12
    assert row["rate_bpp"] == 8 * (tmp_path / "c.vcm").stat().st_size / (40 * 56 * 12)
    assert vcm("decode", tmp_path / "c.vcm", "-o", tmp_path / "frames").code == 0
    for index, (frame, _) in enumerate(original):
        assert np.array_equal(read_picture(tmp_path / "frames" / f"frame_{index:06d}.png"), frame)
    rows = [json.loads(line) for line in (tmp_path / "frames" / "frames.jsonl").read_text().splitlines()]
    assert [Fraction(row["time_s"]) for row in rows] == [time for _, time in original]
    assert vcm("decode", tmp_path / "c.vcm", "-o", tmp_path / "c.mkv").code == 0
    back = list(read_clip(tmp_path / "c.mkv"))
    assert [time for _, time in back] == [time for _, time in original]
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(back, original, strict=True))


@pytest.mark.parametrize(("text", "expected"), [("3:5", [3, 4]), (":2", [0, 1]), ("10:", [10, 11]), ("7", [7])])
def test_some_frames_of_a_clip(vcm, fake, clip: Path, tmp_path: Path, text: str, expected: list[int]) -> None:
    vcm("encode", clip, "-o", tmp_path / "c.vcm", "--codec", "fake:100")
    assert vcm("decode", tmp_path / "c.vcm", "-o", tmp_path / "frames", "--frames", text).code == 0
    assert names(tmp_path / "frames") == {f"frame_{i:06d}.png" for i in expected} | {"frames.jsonl"}
    original = [frame for frame, _ in read_clip(clip)]
    for i in expected:
        assert np.array_equal(read_picture(tmp_path / "frames" / f"frame_{i:06d}.png"), original[i])


@pytest.mark.parametrize("text", ["5:3", "4:4", ":", "a:b", "1:2:3", "-3:", "0:13", "12"])
def test_frames_that_do_not_exist(vcm, fake, clip: Path, tmp_path: Path, text: str) -> None:
    vcm("encode", clip, "-o", tmp_path / "c.vcm", "--codec", "fake:100")
    done = vcm("decode", tmp_path / "c.vcm", "-o", tmp_path / "frames", f"--frames={text}")
    assert done.code == 2
    assert "--frames" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "frames").exists()


def test_a_clip_to_a_size(vcm, fake, clip: Path, tmp_path: Path) -> None:
    row = json.loads(vcm("encode", clip, "-o", tmp_path / "c.vcm", "--codec", "fake", "--bpp", 6, "--json").out)
    assert 0.5 * 6 < row["rate_bpp"] <= 6


def test_a_damaged_picture(vcm, fake, tmp_path: Path, picture: np.ndarray) -> None:
    write_picture(tmp_path / "a.png", picture)
    vcm("encode", tmp_path / "a.png", "-o", tmp_path / "in" / "a.vcm", "--codec", "fake:100")
    vcm("encode", tmp_path / "a.png", "-o", tmp_path / "in" / "b.vcm", "--codec", "fake:100")
    data = bytearray((tmp_path / "in" / "a.vcm").read_bytes())
    data[-40] ^= 1
    (tmp_path / "in" / "a.vcm").write_bytes(data)
    done = vcm("decode", tmp_path / "in" / "a.vcm", "-o", tmp_path / "a_back.png")
    assert done.code == 2
    assert done.err.startswith(f"vcm: {tmp_path}/in/a.vcm: damaged")
    assert not (tmp_path / "a_back.png").exists()
    done = vcm("decode", tmp_path / "in", "-o", tmp_path / "out")
    assert done.code == 1
    assert names(tmp_path / "out") == {"b.png", "manifest.jsonl", "run.json"}
    done = vcm("decode", tmp_path / "in" / "a.vcm", "-o", tmp_path / "part.png", "--partial")
    assert done.code == 1
    assert "50.0% of it lost and left grey, 12.5% around that approximate" in done.out
    assert np.array_equal(read_picture(tmp_path / "part.png")[:20], picture[:20])
    assert (read_picture(tmp_path / "part.png")[20:] == 128).all()
    damage = read_picture(tmp_path / "part.damage.png")
    assert not damage[:15].any()
    assert (damage[15:20] == 128).all()
    assert (damage[20:] == 255).all()


def test_a_damaged_clip_leaves_nothing_or_its_intact_frames(vcm, fake, clip: Path, tmp_path: Path) -> None:
    vcm("encode", clip, "-o", tmp_path / "c.vcm", "--codec", "fake:100")
    data = bytearray((tmp_path / "c.vcm").read_bytes())
    data[-40] ^= 1
    (tmp_path / "c.vcm").write_bytes(data)
    for out in ("frames", "c.mkv"):
        done = vcm("decode", tmp_path / "c.vcm", "-o", tmp_path / out)
        assert done.code == 2
        assert "c.vcm: damaged" in done.err
        assert not (tmp_path / out).exists()
    assert vcm("decode", tmp_path / "c.vcm", "-o", tmp_path / "frames", "--frames", "0:11").code == 0
    assert vcm("decode", tmp_path / "c.vcm", "-o", tmp_path / "part", "--partial").code == 1
    assert {"frame_000011.png", "frame_000011.damage.png"} < names(tmp_path / "part")
    assert len(names(tmp_path / "part")) == 12 + 1 + 1
    (tmp_path / "c.vcm").write_bytes(data[: len(data) // 2])
    assert vcm("decode", tmp_path / "c.vcm", "-o", tmp_path / "none").code == 2
    assert not (tmp_path / "none").exists()


def test_bad_requests_are_one_line_and_2(vcm, fake, tmp_path: Path, picture: np.ndarray, clip: Path) -> None:
    good = tmp_path / "a.png"
    write_picture(good, picture)
    vcm("encode", good, "-o", tmp_path / "a.vcm", "--codec", "fake")
    out = tmp_path / "x" / "y.vcm"
    requests = [
        (("encode", tmp_path / "none.png", "-o", out, "--codec", "fake"), "none.png: no such file"),
        (("encode", good, "-o", out, "--codec", "fakke:3"), "did you mean fake?"),
        (("encode", good, "-o", out, "--codec", "fake:many"), "'many' is not a number"),
        (("encode", good, "-o", out, "--codec", "fake:0"), "1 to 100"),
        (("encode", good, "-o", out, "--codec", "fake:20,30"), "one quality"),
        (("encode", good, "-o", out, "--codec", "fake:20", "--bpp", 1), "--bpp finds the quality"),
        (("encode", good, "-o", out, "--codec", "fake", "--bpp", 1, "--bytes", 5), "not allowed with"),
        (("encode", good, "-o", out, "--codec", "fake", "--bpp", "nan"), "--bpp"),
        (("encode", good, "-o", out, "--codec", "fake", "--bytes", 0), "at least 1"),
        (("encode", good, "-o", tmp_path / "x.png", "--codec", "fake"), "writes .vcm files"),
        (("encode", good, "-o", good / "y.vcm", "--codec", "fake"), "not written"),
        (("encode", good, "-o", out, "--codec", "fake", "--resume"), "is for a folder"),
        (("encode", clip, "-o", out, "--codec", "jpeg"), "codes pictures, not clips"),
        (("encode", good, "-o", out), "--codec"),
        (("encode", good, "-o", out, "--codec", "fake", "--wrong"), "--wrong"),
        (("encode", tmp_path / "x2", "-o", out, "--codec", "fake"), "no such file or folder"),
        (("decode", good, "-o", out), "a.png: not a .vcm file"),
        (("decode", tmp_path / "none.vcm", "-o", out), "no such file"),
        (("decode", tmp_path / "a.vcm", "-o", tmp_path / "y.jpg"), "losslessly"),
        (("decode", tmp_path / "a.vcm", "-o", out, "--codec", "fake"), "is for anchors"),
        (("decode", tmp_path / "a.vcm", "-o", tmp_path / "y.png", "--frames", "0:1"), "is a picture"),
        (("decode", clip.parent, "-o", tmp_path / "y"), "holds no .vcm files"),
        (("unknown",), "unknown: no such stage; choose one of"),
    ]
    for words, reason in requests:
        done = vcm(*words)
        assert done.code == 2, words
        assert reason in done.err, done.err
        assert done.err.startswith("vcm: ")
        assert len(done.err.splitlines()) == 1
    assert not out.exists()


def test_an_unknown_model_in_a_file(vcm, fake, tmp_path: Path, picture: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr(fake, "name", "jpeg")  # a name that exists, and is no codec of ours
    write_picture(tmp_path / "a.png", picture)
    vcm("encode", tmp_path / "a.png", "-o", tmp_path / "a.vcm", "--codec", "fake")
    done = vcm("decode", tmp_path / "a.vcm", "-o", tmp_path / "b.png")
    assert done.code == 2
    assert "does not know" in done.err


def test_a_folder_of_clips_and_pictures(vcm, fake, clip: Path, tmp_path: Path, picture: np.ndarray) -> None:
    write_picture(clip.parent / "still.png", picture)
    assert vcm("encode", clip.parent, "-o", tmp_path / "out", "--codec", "fake:100").code == 0
    assert vcm("decode", tmp_path / "out", "-o", tmp_path / "back").code == 0
    assert {"still.png", "camera/frame_000000.png", "camera/frames.jsonl"} < names(tmp_path / "back")
    assert "2 of them already there" in vcm("decode", tmp_path / "out", "-o", tmp_path / "back", "--resume").out


def test_coco_pictures(vcm, shared: Path, tmp_path: Path) -> None:
    """The stages on real pictures, with an anchor; the file names are those that evaluation looks for."""
    done = vcm("encode", shared / "data/coco128/images/val", "-o", tmp_path / "out", "--codec", "jpeg:10", "--json")
    assert done.code == 0
    rows = json.loads(done.out)["files"]
    assert len(rows) == 64
    assert all((tmp_path / "out" / row["file"]).stat().st_size == row["bytes"] for row in rows)
