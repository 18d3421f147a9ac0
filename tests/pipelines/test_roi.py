"""`vcm encode --roi`: every way of saying what matters, and one line for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icm.codecs.release import Release
from pipelines.media import read_picture, write_picture
from pipelines.roi import Regions
from tests.icm.conftest import picture, tiny_network
from tests.pipelines.conftest import Done

HEIGHT, WIDTH = 96, 128


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = tiny_network()
    network.use_integers()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    Release.from_model(network).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        photo = picture(HEIGHT, WIDTH, ord(name))
        photo[10:40, 40:60] = (250, 20, 20)  # what segments and stands out
        write_picture(tmp_path / "photos" / f"{name}.png", photo)
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask[10:40, 40:60] = 3
    for name in ("a", "b"):
        write_picture(tmp_path / "masks" / f"{name}.png", mask)
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [[40, 10, 20, 30]], "b.png": []}))
    coco = {"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "x/b.png"}],
            "annotations": [{"image_id": 1, "bbox": [40, 10, 20, 30]}]}  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    return tmp_path / "photos"


@pytest.mark.parametrize("what", ["saliency", "edges", "boxes.json", "coco.json", "masks", "masks/a.png"])
def test_a_folder_with_maps(vcm: Callable[..., Done], photos: Path, weights: Path, tmp_path: Path, what: str) -> None:
    roi = what if what in ("saliency", "edges") else tmp_path / what
    codec = ("--codec", "sa-icm-s:80", "--weights", weights)
    assert vcm("encode", photos, "-o", tmp_path / "coded", *codec, "--roi", roi, "--roi-option", "step=60").code == 0
    assert vcm("encode", photos, "-o", tmp_path / "plain", *codec).code == 0
    for name in ("a.vcm", "b.vcm"):
        assert (tmp_path / "coded" / name).stat().st_size < (tmp_path / "plain" / name).stat().st_size
    assert vcm("verify", tmp_path / "coded", "--weights", weights).code == 0
    assert vcm("decode", tmp_path / "coded", "-o", tmp_path / "back", "--weights", weights).code == 0
    assert read_picture(tmp_path / "back" / "a.png").shape == (HEIGHT, WIDTH, 3)
    facts = json.loads(vcm("info", tmp_path / "coded" / "a.vcm", "--json").out)
    assert facts["features"] == ["quality map"]
    assert facts["codec"]["roi_step"] == 60


def test_where_it_matters(photos: Path, tmp_path: Path) -> None:
    original = read_picture(photos / "a.png")
    expected = np.ones((3, 4), int)
    expected[:2, 1] = 0
    for what in ("boxes.json", "coco.json", "masks", "masks/a.png"):
        regions = Regions(str(tmp_path / what))
        assert np.array_equal(regions.map_of(photos / "a.png", original).depths, expected), what
    nothing = Regions(str(tmp_path / "boxes.json")).map_of(photos / "b.png", original)
    assert nothing.depths.all()
    third = Regions("saliency", ("cell=16", "share=0.25")).map_of(photos / "a.png", original)
    assert (third.depths == 0).sum() == 12


def test_a_rate_can_be_asked_for(vcm: Callable[..., Done], photos: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.vcm"
    words = ("--codec", "sa-icm-s", "--weights", weights, "--bytes", 700, "--roi", "saliency")
    assert vcm("encode", photos / "a.png", "-o", out, *words).code == 0
    assert out.stat().st_size <= 700


def test_a_run_that_goes_on_has_the_same_maps(
    vcm: Callable[..., Done], photos: Path, weights: Path, tmp_path: Path
) -> None:
    words = ("encode", photos, "-o", tmp_path / "coded", "--codec", "sa-icm-s:50", "--weights", weights)
    boxes = tmp_path / "boxes.json"
    assert vcm(*words, "--roi", boxes).code == 0
    assert "2 of them already there" in vcm(*words, "--roi", boxes, "--resume").out
    boxes.write_text(json.dumps({"a.png": [], "b.png": []}))
    assert "already there" not in vcm(*words, "--roi", boxes, "--resume").out
    assert "already there" not in vcm(*words, "--resume").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--roi", "nowhere"), "neither saliency, edges, a .json of boxes, a .png nor a folder"),
        (("--roi", "nowhere.json"), "nowhere.json: no such file"),
        (("--roi", "saliency", "--roi-option", "cell=20"), "cells of 16, 32, 64 pixels, not 20"),
        (("--roi", "saliency", "--roi-option", "stepp=20"), "stepp=20: is not one of"),
        (("--roi", "saliency", "--roi-option", "step=x"), "'x' is not a number"),
        (("--roi", "saliency", "--roi-option", "share=0"), "must be above 0"),
        (("--roi-option", "step=20"), "say what matters with --roi"),
    ],
)
def test_mistakes_are_one_line(
    vcm: Callable[..., Done], photos: Path, weights: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = vcm("encode", photos, "-o", tmp_path / "out", "--codec", "sa-icm-s:50", "--weights", weights, *words)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_has_no_maps_says_so(vcm: Callable[..., Done], photos: Path, clip: Path, weights: Path) -> None:
    done = vcm("encode", photos, "-o", photos.parent / "out", "--codec", "jpeg:30", "--roi", "saliency")
    assert done.code == 2
    assert "jpeg has one quality a picture" in done.err
    words = ("--codec", "sa-icm-s:50", "--weights", weights, "--roi", "saliency")
    done = vcm("encode", clip, "-o", photos.parent / "out.vcm", *words)
    assert done.code == 2
    assert "--roi is for pictures" in done.err


def test_a_picture_of_which_nothing_is_known_is_refused(
    vcm: Callable[..., Done], photos: Path, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": []}))
    write_picture(tmp_path / "masks" / "b.png", np.ones((5, 5, 3), np.uint8))
    for roi, reason in ((tmp_path / "boxes.json", "no labels for it"), (tmp_path / "masks", "is 5x5, the picture is")):
        done = vcm("encode", photos, "-o", tmp_path / roi.stem, "--codec", "sa-icm-s:50", "--weights", weights,
                   "--roi", roi)  # fmt: skip
        assert done.code == 1
        assert reason in done.err
        assert [path.name for path in (tmp_path / roi.stem).glob("*.vcm")] == ["a.vcm"]
