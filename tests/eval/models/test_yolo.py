"""YOLO by name: what the adapter gives and asks, with a stand-in for ultralytics; and with the package, its numbers."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval import models
from eval.models.labels import COCO_THINGS
from eval.models.yolo import ids_of

KEYS = ("YOLO_OFFLINE", "YOLO_AUTOINSTALL", "YOLO_VERBOSE", "ULTRALYTICS_SAFE_LOAD")
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


class Found:
    """Two objects, as ultralytics' Results hold them; `masks` and `keypoints` as the task has them."""

    def __init__(self, task: str) -> None:
        self.boxes = types.SimpleNamespace(
            xyxy=torch.tensor([[1.0, 2, 30, 40], [5, 6, 7, 8]]), conf=torch.tensor([0.9, 0.2]),
            cls=torch.tensor([2.0, 0]), __len__=lambda: 2)  # fmt: skip
        self.boxes = type("Boxes", (), {**vars(self.boxes), "__len__": lambda _: 2})()
        data = torch.zeros(2, 48, 64)
        data[0, 2:40, 1:30] = 1
        self.masks = types.SimpleNamespace(data=data) if task == "segment" else None
        points = torch.arange(68.0).reshape(2, 17, 2)
        self.keypoints = types.SimpleNamespace(data=points, shape=points.shape) if task == "pose" else None

    def cpu(self) -> Found:
        return self


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Puts a stand-in in ultralytics' place; what it is asked."""
    calls: list[Any] = []

    class YOLO:
        def __init__(self, path: str) -> None:
            if b"damaged" in Path(path).read_bytes():
                raise RuntimeError("two\nlines")
            stem = Path(path).stem
            ends = {"seg": "segment", "pose": "pose", "cls": "classify"}
            self.task = next((task for end, task in ends.items() if stem.endswith(end)), "detect")
            people = {0: "person"} if self.task == "pose" else dict(enumerate(COCO_THINGS.values()))
            self.names = {0: "tram", 1: "van", 2: "cart"} if stem == "trams" else people
            if self.task == "pose":
                self.names = {0: "person", 1: "dog", 2: "car"}
            calls.append(("read", path, {key: os.environ.get(key) for key in KEYS}))

        def predict(self, source: np.ndarray, **settings: Any) -> list[Found]:
            calls.append(("predict", source, settings))
            return [Found(self.task)]

    def fetch(file: Path) -> str:
        if Path(file).stem != "yolov8n":
            raise ConnectionError(f"no network for {file}\nat all")
        Path(file).write_bytes(b"weights")
        return str(file)

    utils, downloads = types.ModuleType("ultralytics.utils"), types.ModuleType("ultralytics.utils.downloads")
    package = types.ModuleType("ultralytics")
    package.YOLO, downloads.attempt_download_asset = YOLO, fetch  # type: ignore[attr-defined]
    for name, module in (("ultralytics", package), ("ultralytics.utils", utils), (downloads.__name__, downloads)):
        monkeypatch.setitem(sys.modules, name, module)
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("VCM_MODELS", str(tmp_path / "cache"))
    yield calls
    for key in KEYS:
        os.environ.pop(key, None)


def test_a_name_is_fetched_into_the_cache_and_asked_quietly(asked: list[Any], tmp_path: Path) -> None:
    model = models.build("yolo:yolov8n")
    assert model.tasks == ("detection",)
    assert asked == []  # listing costs nothing
    (found,) = model.predict([PICTURE])
    assert model.files == (tmp_path / "cache" / "yolov8n.pt",)
    assert "COCO" in model.note
    assert model.categories == COCO_THINGS
    assert {k: v.dtype for k, v in found.items()} == {"boxes": np.float32, "scores": np.float32, "labels": np.int64}
    assert found["labels"].tolist() == [3, 1]
    (_, _, variables), (_, source, settings) = asked
    assert variables == {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false",
                         "ULTRALYTICS_SAFE_LOAD": "true"}  # fmt: skip
    assert np.array_equal(source, PICTURE[..., ::-1])  # BGR
    assert (settings["conf"], settings["iou"], settings["max_det"], settings["save"]) == (0.001, 0.7, 300, False)


def test_masks_and_keypoints(asked: list[Any], tmp_path: Path) -> None:
    for name in ("a-seg.pt", "b-pose.pt"):
        (tmp_path / name).write_bytes(b"weights")
    model = models.build("yolo:yolo11n-seg", weights=tmp_path / "a-seg.pt")
    assert model.tasks == ("detection", "instances")
    (found,) = model.predict([PICTURE])
    assert found["masks"].shape == (2, 48, 64)
    assert found["masks"].dtype == bool
    assert found["masks"].sum() == 38 * 29
    assert model.note == ""  # the file may be anyone's
    model = models.build(f"yolo:{tmp_path}/b-pose.pt")
    assert model.tasks == ("detection", "keypoints")
    (found,) = model.predict([PICTURE])
    assert found["keypoints"].shape == (2, 17, 3)
    assert (found["keypoints"][..., 2] == 1).all()  # this network scores no points
    assert found["keypoints"][0, 1].tolist() == [2, 3, 1]


def test_classes_that_are_not_cocos_are_counted_from_one(asked: list[Any], tmp_path: Path) -> None:
    (tmp_path / "trams.pt").write_bytes(b"weights")
    model = models.build(f"yolo:{tmp_path}/trams.pt")
    assert model.categories == {1: "tram", 2: "van", 3: "cart"}
    assert model.predict([PICTURE])[0]["labels"].tolist() == [3, 1]
    assert ids_of(["car", "person"]) == {3: "car", 1: "person"}


def test_errors_are_one_line(asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("broken.pt", b"damaged"), ("a-seg.pt", b"x"), ("c-cls.pt", b"x")):
        (tmp_path / name).write_bytes(text)
    cases = [("yolo:none.pt", None, ValueError, "no such weights"), ("yolo:", None, ValueError, "name a network"),
             (f"yolo:{tmp_path}/broken.pt", None, ValueError, "not readable by ultralytics .two lines"),
             ("yolo:yolov8n", tmp_path / "a-seg.pt", ValueError, "name it so, as in yolo:yolov8n-seg"),
             ("yolo:yolov8n-cls", tmp_path / "c-cls.pt", ValueError, "network for 'classify'"),
             ("yolo:yolov9z", None, OSError, "not fetched by ultralytics .*--model-weights PATH")]  # fmt: skip
    for name, weights, kind, message in cases:
        with pytest.raises(kind, match=message) as told:
            models.build(name, weights=weights).predict([PICTURE])
        assert "\n" not in str(told.value)
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(ImportError, match=r"AGPL-3.0.*pip install ultralytics"):
        models.build("yolo:yolov8n").predict([PICTURE])


@pytest.mark.skipif(importlib.util.find_spec("ultralytics") is None,
                    reason="ultralytics (AGPL-3.0) is not installed: pip install ultralytics")  # fmt: skip
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["yolov8n", "yolov5nu", "yolov8n-seg", "yolov8n-pose"])
def test_the_numbers_are_its_own(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against its predict(), with random weights whose statistics are of noise and whose scores are spread."""
    for key, value in zip(KEYS, ("true", "false", "false", "true"), strict=True):
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    from ultralytics import YOLO

    torch.manual_seed(0)
    network = YOLO(f"{name}.yaml")
    network.model.train()
    for layer in network.model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        network.model(torch.rand(4, 3, 128, 128))
        for head in network.model.model[-1].cv3:
            head[-1].weight *= 40
    classes = COCO_THINGS.values() if len(network.model.names) == 80 else ["person"]
    network.model.names = dict(enumerate(classes))
    file = tmp_path / f"{name}.pt"
    torch.save({"model": network.model.eval(), "train_args": {"imgsz": 128, "task": network.task}}, file)
    model = models.build(f"yolo:{name}", weights=file)
    pictures = [PICTURE, np.random.default_rng(1).integers(0, 256, (70, 40, 3), dtype=np.uint8)]
    reference = YOLO(str(file))
    for picture, found in zip(pictures, model.predict(pictures), strict=True):
        theirs = reference.predict(np.ascontiguousarray(picture[..., ::-1]), conf=0.001, iou=0.7, verbose=False,
                                   max_det=300 if model.tasks == ("detection",) else 100, retina_masks=True,
                                   device="cpu")[0]  # fmt: skip
        assert len(found["scores"]) >= 10
        assert np.array_equal(found["boxes"], theirs.boxes.xyxy.numpy())
        assert np.array_equal(found["scores"], theirs.boxes.conf.numpy())
        assert found["labels"].tolist() == [list(model.categories)[int(c)] for c in theirs.boxes.cls]
        if "masks" in found:
            assert np.array_equal(found["masks"], theirs.masks.data.numpy() > 0.5)
            assert found["masks"].any()
        if "keypoints" in found:
            assert np.array_equal(found["keypoints"], theirs.keypoints.data.numpy())
