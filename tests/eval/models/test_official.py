"""torchvision's models: the very network that torchvision builds, keypoints, semantic maps, downloads."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import get_model, get_model_weights

from eval import models
from eval.models.labels import COCO_THINGS, VOC_CATEGORIES, VOC_TO_COCO, mismatch

official = importlib.import_module("eval.models.official")  # the package has a function of that name
SEMANTIC = [name for name, tasks in official.OFFICIAL.items() if "semantic" in tasks]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def layers(model: torch.nn.Module) -> list[tuple]:
    """What decides a network's function besides its weights."""
    return [(name, type(module), getattr(module, "eps", None), getattr(module, "stride", None))
            for name, module in model.named_modules()]


@pytest.mark.parametrize("name", official.OFFICIAL)
def test_the_network_is_torchvisions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer by layer what `get_model(name, weights=DEFAULT)` gives, with weights of the same names and shapes."""
    entry = get_model_weights(name).DEFAULT
    monkeypatch.setattr(type(entry), "get_state_dict", lambda *_args, **_kwargs: {})
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda *_args, **_kwargs: None)
    with torch.device("meta"):
        ours, theirs = official.network(name).eval(), get_model(name, weights=entry).eval()
    assert layers(ours) == layers(theirs)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def test_labels_are_those_of_torchvisions_weights() -> None:
    for name in official.OFFICIAL:
        meta, model = get_model_weights(name).DEFAULT.meta["categories"], models.build(f"torchvision:{name}")
        assert isinstance(model, official.OfficialModel)
        if name in SEMANTIC:
            assert len(meta) == len(VOC_TO_COCO) == 21
            renamed = {"aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle",
                       "pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv"}
            assert [COCO_THINGS[i] for i in VOC_TO_COCO[1:]] == [renamed.get(n, n) for n in meta[1:]]
            assert model.categories == VOC_CATEGORIES
        else:
            named = {i: n for i, n in enumerate(meta) if i and n != "N/A"}
            assert model.categories == named
    assert len(VOC_CATEGORIES) == 20
    assert len(COCO_THINGS) == 80


def small(name: str, path: Path) -> Any:
    """Random weights, with statistics of noise where they decide what comes out, on a small input."""
    torch.manual_seed(3)
    net = official.network(name)
    if "semantic" in official.OFFICIAL[name]:
        for layer in net.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None  # the mean over all batches
        with torch.no_grad():
            for _ in range(4):
                net.train()(torch.rand(2, 3, 96, 144) * 4 - 2)
    torch.save(net.state_dict(), path)
    model = official.OfficialModel(name, path)
    if hasattr(net, "transform"):
        model._network().transform.min_size = (96,)
        model._network().roi_heads.detections_per_img = 5
    return model


def test_keypoints(tmp_path: Path) -> None:
    model = small("keypointrcnn_resnet50_fpn", tmp_path / "w.pth")
    picture = noise(96, 128)
    found = model.predict([picture])[0]
    n = len(found["scores"])
    assert n > 0
    assert found["keypoints"].shape == (n, 17, 3)
    assert found["keypoints"].dtype == np.float32
    assert set(found["labels"]) == {1}
    x, y, score = found["keypoints"].reshape(-1, 3).T
    assert ((x >= 0) & (x <= 128) & (y >= 0) & (y <= 96)).all()
    assert ((score >= 0) & (score <= 1)).all()
    with torch.inference_mode():
        theirs = model._network()([torch.from_numpy(picture).permute(2, 0, 1).float() / 255])[0]
    assert np.array_equal(found["keypoints"][..., :2], theirs["keypoints"][..., :2].numpy())
    assert model.files == (tmp_path / "w.pth",)


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_semantic_maps_are_torchvisions(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against torchvision's own preset and network; ids are COCO's."""
    monkeypatch.setattr(official, "SHORT_SIDE", 96)
    model = small(name, tmp_path / "w.pth")
    picture = noise(80, 120)
    ids = model.predict([picture])[0]["semantic"]
    assert ids.shape == (80, 120)
    assert ids.dtype == np.int32
    assert set(np.unique(ids)) <= {-1, *VOC_CATEGORIES}
    preset = get_model_weights(name).DEFAULT.transforms(resize_size=96)
    with torch.inference_mode():
        x = preset(torch.from_numpy(picture).permute(2, 0, 1))
        assert x.shape == (3, 96, 144)
        logits = model._network()(x[None])["out"]
        logits = torch.nn.functional.interpolate(logits, (80, 120), mode="bilinear")
    expected = np.array(VOC_TO_COCO)[logits[0].argmax(0).numpy()]
    assert len(np.unique(expected)) > 1
    assert np.array_equal(ids, expected)


def test_semantic_of_extreme_shapes(tmp_path: Path) -> None:
    model = small("lraspp_mobilenet_v3_large", tmp_path / "w.pth")
    for height, width in ((1, 1000), (3, 2)):
        assert model.predict([noise(height, width)])[0]["semantic"].shape == (height, width)


def test_batches_keep_order_and_sizes() -> None:
    pictures = [noise(4, 4, 0), noise(4, 4, 1), noise(4, 5, 2), noise(4, 4, 3)]
    assert [len(b) for b in official._batches(pictures, together=True)] == [2, 1, 1]
    alone = list(official._batches(pictures, together=False))
    assert [len(b) for b in alone] == [1, 1, 1, 1]
    assert all(np.array_equal(b[0], p) for b, p in zip(alone, pictures, strict=True))


def test_a_damaged_download_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash in torchvision's file name is checked at every load, not only after the download."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = "lraspp_mobilenet_v3_large"
    file = get_model_weights(name).DEFAULT.url.rpartition("/")[2]
    path = tmp_path / "hub" / "checkpoints" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut off")
    with pytest.raises(ValueError, match="is damaged") as caught:
        official.fetch(name)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    content = b"the very file"
    monkeypatch.setattr(get_model_weights(name).DEFAULT.__class__, "url",
                        property(lambda _: f"https://host/x-{hashlib.sha256(content).hexdigest()[:8]}.pth"))
    good = path.with_name(f"x-{hashlib.sha256(content).hexdigest()[:8]}.pth")
    good.write_bytes(content)
    assert official.fetch(name) == good


def test_what_a_model_does_not_know_is_told() -> None:
    class Known:
        name, note, categories = "two", "trained on squares", MappingProxyType({1: "person", 3: "car"})

    assert mismatch(Known, {1: "person", 3: "Car"}) == []
    assert mismatch(Known, {}) == []
    assert mismatch(object(), {1: "x"}) == []
    (line,) = mismatch(Known, {1: "person", 2: "bicycle", 3: "car"})
    assert "knows 2 of the 3" in line
    assert "bicycle" in line
    assert "never found (trained on squares)" in line
    assert "left out of the mean" in mismatch(Known, {1: "person", 2: "bicycle"}, "semantic")[0]
    (line,) = mismatch(Known, {1: "square", 3: "car"})
    assert "1 is 'person' there and 'square' in the labels" in line
