"""Task models: one interface, one-line errors, nothing fetched unless asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from eval import models
from eval.models.mask_rcnn_scenes import CLASSES, SceneMaskRCNN
from eval.models.official import OFFICIAL, OfficialModel
from eval.models.scene_model import paste
from eval.models.weights import read, write


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def check_result(result: dict, picture: np.ndarray, tasks: tuple[str, ...]) -> None:
    height, width = picture.shape[:2]
    n = len(result["scores"])
    assert result["boxes"].shape == (n, 4)
    assert result["labels"].shape == (n,)
    assert (np.diff(result["scores"]) <= 0).all()
    if n:
        x0, y0, x1, y1 = result["boxes"].T
        assert (x0 >= 0).all()
        assert (y0 >= 0).all()
        assert (x1 <= width + 1e-3).all()
        assert (y1 <= height + 1e-3).all()
    assert ("masks" in result) == ("instances" in tasks)
    if "masks" in result:
        assert result["masks"].shape == (n, height, width)
        assert result["masks"].dtype == bool


def test_listing_models_needs_no_torch() -> None:
    code = ("import sys, eval.models as m; m.build('mask-rcnn-scenes'); assert 'torch' not in sys.modules;"
            "print(len(m.MODELS))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) == 1 + len(OFFICIAL)


@pytest.fixture(scope="module")
def untrained() -> models.SceneModel:
    torch.manual_seed(0)
    return models.SceneModel(SceneMaskRCNN().eval())


@pytest.mark.parametrize("size", [(256, 384), (31, 47), (1, 1), (100, 700), (720, 1280)])
def test_any_size_of_picture(untrained: models.SceneModel, size: tuple[int, int]) -> None:
    picture = noise(*size)
    check_result(untrained.predict([picture])[0], picture, untrained.tasks)


def test_neighbours_and_repetition_change_nothing(untrained: models.SceneModel) -> None:
    a, b = noise(128, 192), noise(96, 160)
    alone, together = untrained.predict([a])[0], untrained.predict([b, a])[1]
    for key in ("boxes", "scores", "labels", "masks"):
        assert np.array_equal(alone[key], together[key])


def test_fusing_keeps_the_function() -> None:
    torch.manual_seed(0)
    model = SceneMaskRCNN().train()
    for _ in range(3):  # statistics unlike the initial ones
        model.backbone(torch.rand(2, 3, 64, 96) * 4 - 2)
    model.eval()
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        before = model.backbone(x)
        after = model.fuse().backbone(x)
    for level in before:
        assert torch.allclose(before[level], after[level], rtol=1e-3, atol=1e-4)


def test_pasted_masks_lie_in_their_boxes() -> None:
    masks = np.ones((2, 28, 28), np.float32)
    boxes = np.array([[10.0, 20.0, 30.0, 50.0], [-5.0, -5.0, 8.0, 4.0]], np.float32)
    whole = paste(masks, boxes, 60, 80)
    expected = np.zeros((2, 60, 80), bool)
    expected[0, 20:50, 10:30] = True
    expected[1, 0:4, 0:8] = True
    assert (whole == expected).all()
    half = np.zeros((1, 28, 28), np.float32)
    half[:, :, 14:] = 1
    right = paste(half, boxes[:1], 60, 80)[0]
    assert not right[:, :20].any()
    assert right[20:50, 20:30].all()


def test_weights_survive_the_disk(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = SceneMaskRCNN()
    write(tmp_path / "w.safetensors", model.state_dict())
    back = read(tmp_path / "w.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(back[name], tensor.half().float() if tensor.is_floating_point() else tensor)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_errors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"not tensors at all")
    write(tmp_path / "other.safetensors", {"x": torch.zeros(3)})
    cases = {"missing.safetensors": "no such weights", "bad.safetensors": "not readable",
             "other.safetensors": "not this model's"}
    for name, message in cases.items():
        for kind in ("mask-rcnn-scenes", "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn"):
            with pytest.raises(ValueError, match=message) as caught:
                models.build(kind, weights=tmp_path / name).predict([noise(64, 64)])
            assert "\n" not in str(caught.value)
            assert name in str(caught.value)
    with pytest.raises(ValueError, match="unknown task model"):
        models.build("centernet")
    with pytest.raises(ValueError, match="uint8 RGB"):
        models.SceneModel(SceneMaskRCNN()).predict([np.zeros((4, 4))])


@pytest.mark.parametrize("name", ["fasterrcnn_mobilenet_v3_large_320_fpn", "maskrcnn_resnet50_fpn"])
def test_torchvision_models_take_weights_from_a_file(name: str, tmp_path: Path) -> None:
    from torchvision.models import get_model

    torch.manual_seed(0)
    state = get_model(name, weights=None, weights_backbone=None, num_classes=91).state_dict()
    torch.save(state, tmp_path / "w.pth")
    model = models.build(f"torchvision:{name}", weights=tmp_path / "w.pth")
    assert isinstance(model, OfficialModel)
    model._network().transform.min_size = (96,)  # 800 pixels of noise would cost minutes on a busy machine
    picture = noise(96, 128)
    check_result(model.predict([picture])[0], picture, model.tasks)
    assert model.tasks == OFFICIAL[name]


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="not readable as weights"):
        models.build("torchvision:fcos_resnet50_fpn", weights=tmp_path / "evil.pth").predict([noise(32, 32)])
    assert not (tmp_path / "ran").exists()


def test_offline_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.error import URLError

    def offline(*_args, **_kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match="--model-weights PATH") as caught:
        models.build("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn").predict([noise(32, 32)])
    assert "\n" not in str(caught.value)
    assert "download.pytorch.org" in str(caught.value)


def test_labels_are_the_scenes_categories() -> None:
    from eval.scenes import CATEGORIES

    assert {c["id"]: c["name"] for c in CATEGORIES if c["isthing"]} == CLASSES
