"""Names of codecs: the quality comes after the last colon, and what is unknown is told with what is near."""

from __future__ import annotations

import numpy as np
import pytest

from eval.anchors import ANCHORS
from pipelines import codecs
from pipelines.media import read_picture, write_picture


@pytest.mark.parametrize(("spec", "expected"), [
    ("x265", ("x265", [])), ("x265:32,37", ("x265", [32, 37])), ("sa-icm-s:25.5", ("sa-icm-s", [25.5])),
    ("compressai:mbt2018-mean", ("compressai:mbt2018-mean", [])),
    ("compressai:mbt2018-mean:2,4,6", ("compressai:mbt2018-mean", [2, 4, 6])),
    ("compressai:cheng2020-anchor-ms-ssim:3", ("compressai:cheng2020-anchor-ms-ssim", [3])),
])  # fmt: skip
def test_split(spec, expected):
    assert codecs.split(spec) == expected
    name, qualities = expected
    assert [codecs.split(codecs.label(name, quality)) for quality in qualities] == [(name, [q]) for q in qualities]


@pytest.mark.parametrize(("spec", "match"), [
    ("x256:30", r"unknown codec 'x256' \(did you mean x265\?\)"),
    ("compressai:mbt2018-men:3", r"unknown codec 'compressai:mbt2018-men' \(did you mean compressai:mbt2018-mean\?\)"),
    ("compressai:4", r"unknown codec 'compressai' \(did you mean compressai:.*:4\?\)"),
    ("x265:30:40", "quality '30:40' is not a number"), ("x265:", "quality '' is not a number"),
    ("compressai:mbt2018-mean:x", "quality 'x' is not a number"),
    ("", "unknown codec ''; known codecs: .*compressai:MODEL"),
])  # fmt: skip
def test_refusals(spec, match):
    with pytest.raises(ValueError, match=match) as caught:
        codecs.split(spec)
    assert "\n" not in str(caught.value)


def test_weights_reach_those_that_take_them():
    codec = codecs.parse("compressai:mbt2018-mean:2", weights="random")
    assert (codec.name, codec.quality, codec.weights) == ("compressai:mbt2018-mean", 2, "random")
    assert codecs.parse("x265:30", weights="random").quality == 30  # classic ones have none
    assert [codecs.takes_weights(name) for name in ("sa-icm-s", "compressai:mbt2018", "x265")] == [True, True, False]
    assert codecs.weights_hash(codecs.parse("jpeg:30")) == ""


def test_compressai_on_the_command_line(vcm, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.png", picture)
    name, random = "compressai:bmshj2018-factorized", ("--weights", "random")
    done = vcm("encode", tmp_path / "a.png", "-o", tmp_path / "a.cai", "--codec", f"{name}:2", *random)
    assert done.code == 0, done.err
    data = (tmp_path / "a.cai").read_bytes()
    assert data == ANCHORS[name](2, weights="random").encode(picture)
    assert vcm("decode", tmp_path / "a.cai", "-o", tmp_path / "b.png", "--codec", name, *random).code == 0
    assert np.array_equal(read_picture(tmp_path / "b.png"), ANCHORS[name](weights="random").decode(data))


def test_the_video_anchors_code_clips_in_evaluations_only(vcm, clip, tmp_path):
    done = vcm("encode", clip, "-o", tmp_path / "a.h264", "--codec", "x264:30")
    assert done.code == 2
    assert "x264 codes pictures, not clips" in done.err
    assert not (tmp_path / "a.h264").exists()


def test_the_list_says_what_codecs_need(vcm, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("VCM_VTM_ENCODER", "VCM_VTM_DECODER"):
        monkeypatch.delenv(variable, raising=False)
    lines = vcm("models").out.split("task models")[0].splitlines()
    about = {line.split()[0]: line for line in lines[1:] if line.strip()}
    assert "no weights" in about["x265"]
    assert "EncoderAppStatic or EncoderApp is not on PATH" in about["vtm"]
    assert "weights fetched, or by --weights NAME=FILE" in about["compressai:mbt2018-mean"]
