"""What is in an output folder after a second run, another clip, damage, or a kill: all of one run, nothing besides."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from icm.bitstream import read
from pipelines.clips import probe_clip, read_clip
from pipelines.clips_out import writing
from pipelines.media import read_picture, write_picture
from pipelines.run.atomic import replacing, replacing_folder
from pipelines.run.lock import Lock
from tests.conftest import ROOT


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def a_clip(vcm, path: Path, picture: np.ndarray, frames: int) -> Path:
    """A coded clip of that many frames."""
    with writing(path.with_suffix(".mkv"), Fraction(25)) as writer:
        for i in range(frames):
            writer.add(np.roll(picture, frames + i, axis=0), Fraction(i, 25), i)
    assert vcm("encode", path.with_suffix(".mkv"), "-o", path, "--codec", "fake:100").code == 0
    return path


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)


# --- clips -----------------------------------------------------------------------------------------------------------
def test_a_folder_holds_one_clip(vcm, fake, tmp_path: Path, picture: np.ndarray) -> None:
    long, short = a_clip(vcm, tmp_path / "long.vcm", picture, 5), a_clip(vcm, tmp_path / "short.vcm", picture, 2)
    frames = tmp_path / "frames"
    assert vcm("decode", long, "-o", frames).code == 0
    assert len(names(frames)) == 6
    assert vcm("decode", short, "-o", frames).code == 0
    assert names(frames) == {"frame_000000.png", "frame_000001.png", "frames.jsonl"}
    for i, (frame, _) in enumerate(read_clip(tmp_path / "short.mkv")):
        assert np.array_equal(read_picture(frames / f"frame_{i:06d}.png"), frame)
    damage(long)
    assert vcm("decode", long, "-o", frames, "--partial").code == 1
    assert len(names(frames)) == 7
    row = json.loads((frames / "frames.jsonl").read_text().splitlines()[-1])
    assert (row["damaged"], row["approximate"]) == (0.5, 0.125)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("held", [["notes.txt"], ["frame_000000.png"], ["frames.jsonl", ".git"]])
def test_what_no_clip_was_decoded_into_is_not_replaced(
    vcm, fake, tmp_path: Path, picture: np.ndarray, held: list[str]
) -> None:
    clip, frames = a_clip(vcm, tmp_path / "c.vcm", picture, 2), tmp_path / "frames"
    frames.mkdir()
    for name in held:
        (frames / name).touch()
    done = vcm("decode", clip, "-o", frames)
    assert done.code == 2
    assert done.err == (
        f"vcm: {frames}: holds {held[-1]}, which no `vcm decode` of a clip wrote; choose a new or an empty folder\n"
    )
    assert names(frames) == set(held)


def test_the_folder_that_one_is_in_is_not_replaced(
    vcm, fake, tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, frames = a_clip(vcm, tmp_path / "c.vcm", picture, 2), tmp_path / "frames"
    frames.mkdir()
    monkeypatch.chdir(frames)
    done = vcm("decode", clip, "-o", ".")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "name a folder inside it" in done.err
    assert vcm("decode", clip, "-o", "in/side").code == 0


KILLS = {  # where kill -9 comes, and whose folder is there then
    "import pathlib; body = lambda folder: kill()": "old",
    "shutil.rmtree = lambda *a, **k: kill(); body = lambda folder: None": "new",
    "atomic._take_place = lambda *a: kill(); body = lambda folder: None": "old",
}


@pytest.mark.parametrize("where", KILLS)
@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "renames"])
def test_a_kill_leaves_the_old_folder_or_the_new(tmp_path: Path, where: str, exchange: bool) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.txt").write_text("old")
    program = (
        "import os, shutil, ctypes, sys\n"
        "from pipelines.run import atomic\n"
        "def kill(): os.kill(os.getpid(), 9)\n"
        f"{'' if exchange else 'atomic.ctypes.CDLL = lambda name: None'}\n"
        f"{where}\n"
        "with atomic.replacing_folder(sys.argv[1]) as place:\n"
        "    (place / '0.txt').write_text('new')\n"
        "    body(place)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, folder], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    found = {path.name: path.read_text() for path in folder.iterdir()}
    assert found == ({"0.txt": "new"} if KILLS[where] == "new" else {f"{i}.txt": "old" for i in range(3)})
    assert len(list(tmp_path.iterdir())) == 2
    with replacing_folder(folder) as alive:
        assert set(tmp_path.iterdir()) == {folder, alive}
        with replacing_folder(folder):
            assert alive.is_dir()  # a run that lives is left alone
    assert list(tmp_path.iterdir()) == [folder]


# --- damage ----------------------------------------------------------------------------------------------------------
def test_resuming_does_not_forget_the_damage(vcm, fake, tmp_path: Path, picture: np.ndarray) -> None:
    write_picture(tmp_path / "a.png", picture)
    coded, out = tmp_path / "in" / "a.vcm", tmp_path / "out"
    vcm("encode", tmp_path / "a.png", "-o", coded, "--codec", "fake:100")
    whole = coded.read_bytes()
    damage(coded)
    first = vcm("decode", coded.parent, "-o", out, "--partial")
    assert first.code == 1
    again = vcm("decode", coded.parent, "-o", out, "--partial", "--resume")
    assert again.code == 1
    assert again.err == first.err
    assert "1 of them already there" in again.out
    assert (out / "a.damage.png").exists()
    coded.write_bytes(whole)
    assert vcm("decode", coded.parent, "-o", out, "--partial", "--resume").code == 0
    assert names(out) == {"a.png", "manifest.jsonl", "run.json"}


def test_an_intact_picture_has_no_map_and_other_pictures_stay(vcm, fake, tmp_path: Path, picture: np.ndarray) -> None:
    write_picture(tmp_path / "a.png", picture)
    vcm("encode", tmp_path / "a.png", "-o", tmp_path / "a.vcm", "--codec", "fake:100")
    write_picture(tmp_path / "out" / "a.damage.png", picture)
    assert vcm("decode", tmp_path / "a.vcm", "-o", tmp_path / "out").code == 0
    assert np.array_equal(read_picture(tmp_path / "out" / "a.damage.png"), picture)
    write_picture(tmp_path / "out" / "a.damage.png", np.full((40, 56, 3), 255, np.uint8))
    assert vcm("decode", tmp_path / "a.vcm", "-o", tmp_path / "out").code == 0
    assert names(tmp_path / "out") == {"a.png"}


def test_the_map_is_there_before_the_picture(
    vcm, fake, tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import media

    write_picture(tmp_path / "a.png", picture)
    vcm("encode", tmp_path / "a.png", "-o", tmp_path / "a.vcm", "--codec", "fake:100")
    damage(tmp_path / "a.vcm")
    written: list[str] = []
    monkeypatch.setattr(media, "write_picture", lambda path, _: written.append(path.name))
    assert vcm("decode", tmp_path / "a.vcm", "-o", tmp_path / "b.png", "--partial").code == 1
    assert written == ["b.damage.png", "b.png"]


# --- two files, one target -------------------------------------------------------------------------------------------
def test_decoding_writes_nothing_twice(vcm, fake, tmp_path: Path, picture: np.ndarray) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write_picture(tmp_path / "a.png", picture)
    vcm("encode", tmp_path / "a.png", "-o", source / "a.vcm", "--codec", "fake:100")
    for name in ("a.VCM", "A.VCM", "a.damage.vcm", "camera/still.vcm"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes((source / "a.vcm").read_bytes())
    a_clip(vcm, tmp_path / "camera.vcm", picture, 2).rename(source / "camera.vcm")
    done = vcm("decode", source, "-o", out, "--json")
    result = json.loads(done.out)
    assert done.code == 1
    assert {row["file"] for row in result["files"]} == {"A.png", "a.png", "camera/still.png"}
    assert {Path(row["file"]).name for row in result["refused"]} == {"a.vcm", "a.damage.vcm", "camera.vcm"}
    assert all("rename one of them" in row["reason"] for row in result["refused"])


def test_decoding_over_the_input_is_refused(vcm, tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "a.png"
    write_picture(path, picture)
    before = path.read_bytes()
    done = vcm("decode", path, "-o", path, "--codec", "webp")
    assert (done.code, done.err) == (2, f"vcm: {path}: is the input; choose another -o\n")
    assert path.read_bytes() == before


# --- resuming --------------------------------------------------------------------------------------------------------
def test_other_weights_are_coded_anew(
    vcm, fake, tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped weights of a name change with a release; and weights may be named, not only given as a file."""
    from pipelines import encode_file

    write_picture(tmp_path / "in" / "a.png", picture)
    command = ("encode", tmp_path / "in", "-o", tmp_path / "out", "--codec", "fake:80", "--resume")
    for release, there in ((b"1", False), (b"1", True), (b"2", False)):
        monkeypatch.setattr(fake, "coder", SimpleNamespace(release=SimpleNamespace(hash=release)), raising=False)
        encode_file.codec_of.cache_clear()
        done = vcm(*command)
        assert done.code == 0
        assert ("already there" in done.out) == there
    assert vcm(*command, "--weights", "a-name").code == 0


# --- kills -----------------------------------------------------------------------------------------------------------
def test_the_next_run_sweeps_what_a_killed_one_left(vcm, tmp_path: Path, picture: np.ndarray) -> None:
    write_picture(tmp_path / "in" / "deep" / "a.png", picture)
    out, command = tmp_path / "out", ["encode", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--codec", "webp:50"]
    program = (
        "import os, sys; from pipelines.cli import main; from pathlib import Path\n"
        "rename = os.replace\n"
        "os.replace = lambda a, b: os.kill(os.getpid(), 9) if Path(b).suffix == '.webp' else rename(a, b)\n"
        "main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", program, *command], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert any(".tmp" in name for name in names(out))
    (out / ".a.0123abcd.tmp").mkdir()
    (out / ".hidden.tmp").touch()  # not of our making
    assert vcm(*command, "--resume").code == 0
    assert names(out) == {".hidden.tmp", "deep/a.webp", "manifest.jsonl", "run.json"}
    assert not (out / ".a.0123abcd.tmp").exists()


def test_a_run_inside_another_folder_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / ".vcm.lock").touch()  # of a killed run
    inner = tmp_path / "inner"
    inner.mkdir()
    with Lock(inner), replacing(inner / "a.bin") as temporary:
        temporary.touch()
        with Lock(tmp_path):
            assert temporary.exists()
        with Lock(tmp_path):
            pass
    assert names(tmp_path) == {"inner/a.bin"}


# --- colour ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("suffix", "colour"), [(".mkv", "srgb"), (".mp4", "bt709"), (".y4m", "bt601")])
def test_a_coded_clip_tells_the_matrix_it_came_in(
    vcm, fake, tmp_path: Path, picture: np.ndarray, suffix: str, colour: str
) -> None:
    path = tmp_path / f"c{suffix}"
    with writing(path, Fraction(25)) as writer:
        for i in range(3):
            writer.add(picture, Fraction(i, 25), i)
    assert probe_clip(path).colour == colour
    assert vcm("encode", path, "-o", tmp_path / "c.vcm", "--codec", "fake:100").code == 0
    with read(tmp_path / "c.vcm") as stream:
        assert stream.header.colour == colour
