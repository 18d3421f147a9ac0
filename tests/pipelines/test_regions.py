"""`vcm encode --regions`: label maps from a segmenter into segpic's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import icm
from icm.bitstream import read
from icm.codecs.segpic.codec import SegpicCodec
from pipelines.media import read_picture, write_picture
from tests.icm.codecs.test_segpic import tiny
from tests.icm.conftest import picture


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/a.png, photos/sub/b.png, their labels, weights."""
    root = tmp_path_factory.mktemp("regions")
    tiny().export(root / "tiny.safetensors")
    for name, size in (("a.png", (70, 90)), ("sub/b.png", (64, 64))):
        labels = np.zeros((*size, 3), np.uint8)
        labels[20:40, 30:] = 7
        labels[50:] = (1, 2, 3)
        for folder, pixels in (("photos", picture(*size)), ("labels", labels)):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_picture(root / folder / name, pixels)
    return root


def bytes_of_labels(file: Path) -> int:
    with read(file) as stream:
        return SegpicCodec.parts(stream)["labels"]


def test_a_folder_with_its_label_maps(place: Path, tmp_path: Path, vcm: Callable[..., Any]) -> None:
    common = ["encode", place / "photos", "--codec", "segpic", "--weights", place / "tiny.safetensors"]
    told = ["--regions", f"labels:{place / 'labels'}"]
    assert vcm(*common, "-o", tmp_path / "grid").code == 0
    assert vcm(*common, "-o", tmp_path / "fine", *told).code == 0
    assert vcm(*common, "-o", tmp_path / "coarse", *told, "--regions-at", 16).code == 0
    for name in ("a", "sub/b"):
        sizes = [bytes_of_labels(tmp_path / kind / f"{name}.vcm") for kind in ("grid", "coarse", "fine")]
        assert sizes[0] == 0 < sizes[1] < sizes[2]
        labels = read_picture(place / "labels" / f"{name}.png").astype(np.int64) @ (1, 256, 65536)
        codec = icm.CODECS["segpic"](weights=place / "tiny.safetensors")
        expected = codec.encode(read_picture(place / "photos" / f"{name}.png"), labels)
        assert (tmp_path / "fine" / f"{name}.vcm").read_bytes() == expected


def test_regions_of_the_picture_itself(place: Path, tmp_path: Path, vcm: Callable[..., Any]) -> None:
    out = tmp_path / "a.vcm"
    words = ["--codec", "segpic", "--weights", place / "tiny.safetensors", "--regions", "felzenszwalb"]
    assert vcm("encode", place / "photos" / "a.png", "-o", out, *words).code == 0
    assert bytes_of_labels(out) > 0
    assert vcm("verify", out, "--weights", place / "tiny.safetensors").code == 0


def test_what_cannot_be_is_told(place: Path, tmp_path: Path, vcm: Callable[..., Any]) -> None:
    start = ["encode", place / "photos" / "a.png", "-o", tmp_path / "a.vcm", "--codec"]
    ours = ["segpic", "--weights", place / "tiny.safetensors"]
    for words, message in (
        (["jpeg:30", "--regions", "felzenszwalb"], "jpeg knows no regions"),
        ([*ours, "--regions", "nothing"], "unknown segmenter"),
        ([*ours, "--regions", f"labels:{place / 'labels' / 'sub'}"], "label"),
    ):
        done = vcm(*start, *words)
        assert done.code == 2
        assert message in done.err
        assert done.err.count("\n") == 1
    assert not (tmp_path / "a.vcm").exists()
