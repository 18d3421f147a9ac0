"""Whole files or none, locks, manifests, settings, refusals: what every long job shares."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import pytest

from pipelines.run import manifest
from pipelines.run.atomic import make_folder, replacing, replacing_folder, sweep_beside, write_bytes, write_text
from pipelines.run.batch import Refusals, each, one_line
from pipelines.run.lock import Lock
from pipelines.run.provenance import provenance, sha256_file
from pipelines.run.settings import build, override, read_yaml

ROOT = Path(__file__).resolve().parents[3]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / ("long" * 60 + ".bin")
    write_bytes(path, b"one")
    with replacing(path) as temporary:
        temporary.write_bytes(b"two")
        assert temporary.suffix == ".bin"
        assert temporary.parent == path.parent
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(self: Path, data: bytes) -> int:
        with open(self, "wb") as file:
            file.write(data[:7])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"a\.bin: not written \(after 7 of 100 bytes\).*make room") as caught:
        write_bytes(path, bytes(100))
    assert "\n" not in one_line(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_dead_left_of_an_output_is_swept_and_the_living_left_alone(tmp_path: Path) -> None:
    path, left = tmp_path / "a.b.vcm", [tmp_path / ".a.b.0123abcd.tmp.vcm", tmp_path / ".a.b.vcm.0123abcd.tmp"]
    left[0].write_bytes(b"half")
    left[1].mkdir()
    others = {tmp_path / name for name in (".b.0123abcd.tmp.vcm", ".a.b.0123abcd.tmp.png", ".a.b.0123.tmp.vcm")}
    for other in others:
        other.touch()
    with replacing(path) as alive, replacing_folder(tmp_path / "a.b.vcm.d") as folder:
        sweep_beside(path)
        sweep_beside(tmp_path / "a.b.vcm.d")
        assert set(tmp_path.iterdir()) == {alive, folder, *others}
    sweep_beside(tmp_path / "none" / "a.bin")


def test_sync_failing_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems tell of a full disk only when synced."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk is full"):
        write_bytes(tmp_path / "a.bin", b"data")
    assert not list(tmp_path.iterdir())


def test_a_size_limit_of_the_system(tmp_path: Path) -> None:
    """The same with a real error from the kernel, in a process that may write 1,000 bytes a file."""
    (tmp_path / "a.ppm").write_bytes(b"P6 40 40 255\n" + bytes(range(256)) * 18 + bytes(192))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from pipelines.cli import main;"
        f"sys.exit(main(['encode', {str(tmp_path / 'a.ppm')!r}, '-o', {str(tmp_path / 'b.ppm')!r},"
        " '--codec', 'uncompressed']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert re.fullmatch(r"vcm: .*b\.ppm: not written \(after 1000 of 4813 bytes\): .*\n", done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ppm"]


def test_unwritable_places(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/a\.bin: not written: .*file is not a folder"):
        write_bytes(tmp_path / "file" / "a.bin", b"")
    with pytest.raises(OSError, match="is a folder"):
        write_bytes(tmp_path, b"")
    with pytest.raises(OSError, match="is a file; name a folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(OSError, match="not written"):
        make_folder("/proc/none/out")
    with pytest.raises(OSError, match="is not a regular file"):
        write_bytes("/dev/null", b"")
    if os.geteuid() != 0:  # root may write anywhere
        tmp_path.chmod(0o500)
        with pytest.raises(OSError, match="permission denied"):
            write_bytes(tmp_path / "a.bin", b"")
        tmp_path.chmod(0o700)


def test_errors_of_others_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="another"), replacing(tmp_path / "a"):
        (tmp_path / "another").read_bytes()
    assert not list(tmp_path.iterdir())


def test_a_second_run_is_refused_and_a_dead_one_is_not(tmp_path: Path) -> None:
    with Lock(tmp_path), pytest.raises(ValueError, match=rf"another run \(pid {os.getpid()}\)"):
        Lock(tmp_path).__enter__()
    assert not list(tmp_path.iterdir())
    code = f"from pipelines.run.lock import Lock; Lock({str(tmp_path)!r}).__enter__(); print('held', flush=True);"
    command, pipe = [sys.executable, "-c", code + " input()"], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) as held:
        assert held.stdout is not None
        assert held.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=f"pid {held.pid}"):
            Lock(tmp_path).__enter__()
        held.kill()
        held.wait()
        assert (tmp_path / ".vcm.lock").exists()
        with Lock(tmp_path):
            assert (tmp_path / ".vcm.lock").read_text() == f"{os.getpid()}\n"
    assert not list(tmp_path.iterdir())


def test_a_lock_on_a_full_disk_is_told_and_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match=r"\.vcm\.lock: not written \(after 0 of \d+ bytes\): the disk is full"):
            Lock(tmp_path).__enter__()
    assert not list(tmp_path.iterdir())
    with Lock(tmp_path):
        pass


def test_manifests(tmp_path: Path) -> None:
    rows = [{"file": "ü.png", "bytes": 3}, {"file": "b", "edges": [1, 2]}]
    manifest.write(tmp_path / "m.jsonl", rows)
    assert manifest.read(tmp_path / "m.jsonl") == rows
    write_text(tmp_path / "m.jsonl", '{"a": 1}\n{"a":')
    with pytest.raises(ValueError, match=r"m\.jsonl: line 2 is not JSON"):
        manifest.read(tmp_path / "m.jsonl")
    write_text(tmp_path / "m.jsonl", "[1]\n")
    with pytest.raises(ValueError, match="line 1 is not a JSON object"):
        manifest.read(tmp_path / "m.jsonl")


def test_provenance_without_torch(tmp_path: Path) -> None:
    code = "import sys; from pipelines.run.provenance import provenance as p; p(); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "False\n"
    known = provenance()
    assert known["hardware"]["cores"] >= 1
    assert known["versions"]["numpy"]
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@dataclasses.dataclass(frozen=True)
class Inner:
    width: int = 8
    rate: float = 0.5


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    mode: Literal["all", "edges"] = "all"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, float] = (1, 2.0)
    limit: int | None = None
    place: Path = Path("runs")
    fast: bool = False
    model: Inner = dataclasses.field(default_factory=Inner)


def load(path: Path, words: list[str]) -> Outer:
    values = read_yaml(path)
    for word in words:
        values = override(values, word)
    return build(Outer, values, str(path))


def test_settings_from_yaml_and_words(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: x\nmode: edges\nsizes: [3, 4]\npair: [5, 6]\nmodel:\n  rate: 1e-4\nplace: there\n")
    settings = load(path, ["limit=7", "model.width=16", "fast=true"])
    assert settings == Outer("x", "edges", (3, 4), (5, 6.0), 7, Path("there"), True, Inner(16, 1e-4))
    assert load(path, ["limit=null"]).limit is None
    assert load(path, ["pair=[1, $HOME]", "name=[", "pair=[1, 2]"]).name == "["


def test_variables_in_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$VCM_SHARED has a value wherever nothing is set; other variables are the environment's."""
    monkeypatch.delenv("VCM_SHARED", raising=False)
    monkeypatch.setenv("WHERE", "there")
    path = tmp_path / "a.yaml"
    path.write_text("a: $VCM_SHARED/data\nb: [{c: $WHERE/x}, 3, $NEVER_SET]\n")
    assert read_yaml(path) == {"a": "../shared/data", "b": [{"c": "there/x"}, 3, "$NEVER_SET"]}
    monkeypatch.setenv("VCM_SHARED", "/here")
    assert read_yaml(path)["a"] == "/here/data"


@pytest.mark.parametrize(("text", "words", "reason"), [
    ("name: x\nmodell: 3\n", [], r"a\.yaml: unknown key modell \(did you mean model\?\); known keys: name, mode"),
    ("name: x\nmodel: {widht: 3}\n", [], r"unknown key widht"),
    ("mode: all\n", [], "name must be given"),
    ("name: 3\n", [], "name: 3 is not str"),
    ("name: x\nfast: 1\n", [], "fast: 1 is not bool"),
    ("name: x\nmode: none\n", [], "not one of all, edges"),
    ("name: x\nsizes: [1, a]\n", [], "'a' is not int"),
    ("name: x\npair: [1]\n", [], "pair"),
    ("name: x\nlimit: 1.5\n", [], "limit: 1.5 is not"),
    ("name: x\n", ["nam=3"], r"unknown key nam \(did you mean name\?\)"),
    ("name: x\n", ["model.width=wide"], "'wide' is not int"),
    ("name: x\n", ["name.first=y"], "has no keys inside"),
    ("name: x\n", ["name"], "is not key=value"),
    ("name: [x\n", [], "not YAML"),
    ("- x\n", [], "holds no `key: value`"),
])  # fmt: skip
def test_bad_settings_are_one_line(tmp_path: Path, text: str, words: list[str], reason: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        load(tmp_path / "a.yaml", words)
    assert "\n" not in str(caught.value)


def halve(number: int) -> int:
    if number == 3:
        raise ValueError("3: is odd\nand more")
    if number == 5:
        os._exit(9)  # as the kernel ends a process when memory runs out
    time.sleep(0.01)
    return number // 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_batch_goes_on(workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    refusals = Refusals()
    assert list(each([2, 3, 4], halve, refusals, workers=workers)) == [1, 2]
    assert refusals.items == [("3", "is odd and more")]
    assert refusals.exit_code == 1
    refusals.report()
    assert capsys.readouterr().err == "refused 3: is odd and more\n1 refused\n"
    assert Refusals().exit_code == 0


def test_a_worker_that_dies_is_told() -> None:
    refusals = Refusals()
    list(each([5, 2], halve, refusals, workers=2))
    assert refusals.items[0] == ("5", "its process died (out of memory?); try fewer --workers")


def test_a_bug_is_not_a_refusal() -> None:
    with pytest.raises(ZeroDivisionError):
        list(each([0], lambda n: 1 // n, Refusals()))
    with pytest.raises(RuntimeError):
        list(each([0], lambda n: exec("raise RuntimeError"), Refusals()))
