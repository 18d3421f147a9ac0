"""Small runs of what `benchmarks/killed.py`, `benchmarks/faults.py` and `benchmarks/soak.py` do at length."""

from __future__ import annotations

import mmap
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

MEMORY = Path("/dev/shm")  # syncing a disk is most of what these would take


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


def benchmark(name: str, *words: object) -> str:
    """Its output; it must exit with 0. It forks, so it has a process of its own, with one thread."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has imported torch")
def test_edges_killed_at_random_moments_end_as_if_they_had_not_been(place: Path) -> None:
    text = benchmark("killed", "edges", "-o", place, "--kills", 4, "--items", 12)
    assert "4 kills" in text
    assert "the same each time" in text


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")
@pytest.mark.parametrize(("stage", "items", "every", "kinds"), [
    ("edges", 3, 13, "kill,ENOSPC,EIO,torn,EFBIG"), ("train", 1, 29, "kill,ENOSPC,torn"),
])  # fmt: skip
def test_faults_at_changes_and_inside_writes_lose_nothing(
    place: Path, stage: str, items: int, every: int, kinds: str
) -> None:
    """Killed, told of a full disk, torn by the kernel inside a write; the benchmark does so at every change."""
    text = benchmark("faults", stage, "-o", place, "--items", items, "--every", every, "--first", 4, "--sizes", 2,
                     "--faults", kinds)  # fmt: skip
    struck = re.findall(r"\d+ (\w+)(?=[,;])", text)
    assert set(kinds.split(",")) <= set(struck)
    assert "0 not as promised" in text


def test_what_is_compared_would_be_seen_to_differ() -> None:
    from benchmarks.killing import Killed

    found = Killed()
    found.compare({"a": 1, "b": 2}, {"a": 1, "b": 2})
    assert not found.differing
    found.compare({"a": 1, "b": 2}, {"a": 1, "b": 3, ".a.0123abcd.tmp": 4})
    assert found.differing == [".a.0123abcd.tmp", "b"]
    assert found.ends == 2


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_a_second_run_of_one_file_removes_what_a_killed_one_left(tmp_path: Path, suffix: str) -> None:
    """`vcm encode` of a picture, and `vcm decode` of a file, killed before the rename."""
    Image.new("RGB", (32, 24), (90, 40, 200)).save(tmp_path / "a.png")
    program = (
        "import os, sys; from pipelines.cli import main\n"
        "rename = os.replace\n"
        "def replace(old, new):\n"
        "    os.kill(os.getpid(), 9) if sys.argv[1] == 'kill' else rename(old, new)\n"
        "os.replace = replace\n"
        "sys.exit(main(sys.argv[2:]))"
    )
    out = tmp_path / "out" / f"b{suffix}"
    words = ["encode", tmp_path / "a.png", "-o", out, "--codec", "webp:50"]
    if suffix == ".png":
        Image.open(tmp_path / "a.png").save(tmp_path / "a.webp")
        words = ["decode", tmp_path / "a.webp", "-o", out, "--codec", "webp"]
    for how, code, names in (("kill", -signal.SIGKILL, 1), ("kill", -signal.SIGKILL, 1), ("go", 0, 0)):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, how, *words], cwd=ROOT, check=False)
        assert done.returncode == code
        assert sum(path.name.startswith(".b.") for path in out.parent.iterdir()) == names
    assert out.exists()


def test_two_hundred_encodes_and_decodes_grow_nothing(tmp_path: Path) -> None:
    from benchmarks.soak import damaged, pictures, soak

    found = soak(pictures(48), 200, 80)
    assert found["more_descriptors"] <= 0
    assert found["growth_mib"] < 50
    found = soak(damaged(tmp_path), 40, 20)
    assert found["more_descriptors"] <= 0


def test_the_soak_sees_a_leak(tmp_path: Path) -> None:
    from benchmarks.soak import soak

    held = []
    found = soak(lambda i, rng: held.append(open(tmp_path / "a", "wb")), 8, 4)  # noqa: SIM115
    for file in held:
        file.close()
    assert found["more_descriptors"] == 4
    kept: list[mmap.mmap] = []  # new pages each: memory that was freed before would hide the growth

    def leak(i: int, rng: np.random.Generator) -> None:
        kept.append(mmap.mmap(-1, 2**22))
        kept[-1].write(b"\1" * 2**22)

    assert soak(leak, 24, 4)["growth_mib"] > 50
