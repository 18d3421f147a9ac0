"""A clip on the command line: only changed tiles are sent, unless every frame is to be whole."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from pipelines.clips import read_clip
from pipelines.clips_out import writing
from tests.icm.conftest import picture


@pytest.fixture
def still(tmp_path):
    """Eight frames of a camera that sees a block move through one corner."""
    path = tmp_path / "camera.mkv"
    background = picture(128, 192)
    with writing(path, Fraction(25)) as writer:
        for i in range(8):
            frame = background.copy()
            frame[8:40, 8 + 3 * i : 40 + 3 * i] = (230, 40, 40)
            writer.add(frame, Fraction(i, 25), i)
    return path


def test_encode_info_decode(vcm, still, tmp_path):
    sizes, facts = {}, {}
    for name, words in (("changed", []), ("often", ["--refresh", 3]), ("whole", ["--refresh", 1])):
        file = tmp_path / f"{name}.vcm"
        assert vcm("encode", still, "-o", file, "--codec", "sa-icm-s:25", *words).code == 0
        sizes[name], facts[name] = file.stat().st_size, json.loads(vcm("info", file, "--json").out)
        assert vcm("verify", file).code == 0
    assert sizes["changed"] < sizes["often"] < sizes["whole"]
    assert facts["changed"]["codec"]["key_frames"] == [0]
    assert facts["often"]["codec"]["key_frames"] == [0, 3, 6]
    assert sum(facts["changed"]["codec"]["tiles_sent"]) < 6 + 7 * 3
    assert facts["whole"]["parameters"] == "90010a"
    file = tmp_path / "changed.vcm"
    assert vcm("decode", file, "-o", tmp_path / "all.mkv").code == 0
    assert vcm("decode", file, "-o", tmp_path / "some.mkv", "--frames", "4:6").code == 0
    every, some = ([frame for frame, _ in read_clip(tmp_path / f"{name}.mkv")] for name in ("all", "some"))
    assert len(every) == 8
    assert all(np.array_equal(a, b) for a, b in zip(every[4:6], some, strict=True))


def test_bad_requests(vcm, still, tmp_path):
    for codec, words, says in [
        ("sa-icm-s:25", ["--refresh", 0], "every 1 or more frames, not 0"),
        ("x265:40", ["--refresh", 5], "--refresh: x265 knows no frames of changed tiles"),
    ]:
        done = vcm("encode", still, "-o", tmp_path / "a.vcm", "--codec", codec, *words)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert says in done.err
