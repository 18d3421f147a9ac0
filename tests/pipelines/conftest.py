"""Fixtures of the stages: the command in this process, small pictures and clips, a codec without torch."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import icm
from pipelines import encode_file
from pipelines.cli import main
from tests.pipelines.fake import Fake


class Done(NamedTuple):
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def vcm(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`vcm("encode", path, …)` → Done."""

    def call(*words: object) -> Done:
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    """The codec "fake" among ours, for one test."""
    monkeypatch.setitem(icm.CODECS, "fake", Fake)
    encode_file.codec_of.cache_clear()
    return Fake


@pytest.fixture
def picture() -> np.ndarray:
    """(40, 56, 3) uint8: a gradient with some noise, so that size follows quality."""
    y, x = np.mgrid[:40, :56]
    noise = np.random.default_rng(0).integers(-12, 12, (40, 56, 3))
    return np.clip(np.stack([3 * x, 4 * y, 2 * x + 2 * y], -1) + noise + 20, 0, 255).astype(np.uint8)


@pytest.fixture
def clip(tmp_path: Path, picture: np.ndarray) -> Path:
    """A lossless clip of 12 frames at uneven times."""
    from pipelines.clips_out import writing

    path = tmp_path / "clip" / "camera.mkv"
    with writing(path, Fraction(25)) as writer:
        for i in range(12):
            writer.add(np.roll(picture, 3 * i, axis=1), Fraction(i * 40 + i // 5, 1000), i)
    return path
