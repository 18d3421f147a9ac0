"""README.md holds: its commands are run, its make targets and links exist.

Blocks below `<!-- run -->` are run one after the other in folders of their own, on small inputs of the names that they
use; long trainings are cut to two steps.
"""

from __future__ import annotations

import re
import shlex
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli import main
from pipelines.clips_out import writing

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- run -->\n```(sh|python)\n(.*?)```", README, flags=re.DOTALL)
SHORTER = {"--steps 20000": "--steps 2"}


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """Blocks of colour with noise, (H, W, 3) uint8: something to segment and to code."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(30, 220, (-(-height // 32), -(-width // 32), 3))
    picture = np.repeat(np.repeat(blocks, 32, 0), 32, 1)[:height, :width]
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that README.md speaks of: street.jpg, photos/, camera.mp4 and the configurations."""
    from PIL import Image

    Image.fromarray(texture(96, 128, 0)).save(tmp_path / "street.jpg", quality=95)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.fromarray(texture(200, 264, i + 1)).save(tmp_path / "photos" / f"{i}.png")
    with writing(tmp_path / "camera.mp4", Fraction(25)) as writer:
        for i in range(6):
            writer.add(np.roll(texture(64, 96, 9), 2 * i, axis=1), Fraction(i, 25), i)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "configs").symlink_to(ROOT / "pipelines" / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_blocks_to_run() -> None:
    assert len(BLOCKS) >= 6
    assert all(short in README for short in SHORTER)


@pytest.mark.slow
@pytest.mark.parametrize("kind_and_text", BLOCKS, ids=[text.strip().splitlines()[0][:40] for _, text in BLOCKS])
def test_commands_of_the_readme(place: Path, kind_and_text: tuple[str, str]) -> None:
    kind, text = kind_and_text
    if kind == "python":
        exec(compile(text, "README.md", "exec"), {})
        return
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    for line in text.strip().splitlines():
        words = shlex.split(line)
        assert words[0] == "vcm"
        assert main(words[1:]) == 0, line
        if "-o" in words:
            assert (place / words[words.index("-o") + 1]).exists(), line


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= targets
    assert {"demo", "test", "lint", "bench"} <= targets


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_what_the_pages_name_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    places = re.findall(r"`((?:icm|nerv|eval|pipelines|tests|benchmarks)/[\w./-]*)`", text)
    missing = [name for name in links + places if not (ROOT / name).exists()]
    assert not missing
