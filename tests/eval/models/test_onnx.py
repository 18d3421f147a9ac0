"""ONNX detectors: every layout on a network of four boxes, FastestDet against the outside script, one-line errors."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from eval import models
from eval.metrics import average_precision, coco_results
from eval.models.labels import COCO_THINGS
from eval.models.layouts import Fit, fit, recognise, suppress, unfit
from tests.eval.models.tiny_onnx import LAYOUTS, write

NAMES = {0: "person", 1: "dog", 2: "car"}
IDS = [1, 18, 3]


def picture() -> np.ndarray:
    """(32, 64, 3): left half (250, 125, 0), right half (0, 50, 200)."""
    whole = np.zeros((32, 64, 3), np.uint8)
    whole[:, :32], whole[:, 32:] = (250, 125, 0), (0, 50, 200)
    return whole


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_every_layout(layout: str, dynamic: bool, tmp_path: Path) -> None:
    """Scores are means of the letterboxed picture's quadrants: 16 of 32 rows are the picture, the rest grey 114."""
    path = write(tmp_path / "a.onnx", layout, NAMES, dynamic)
    about = {"resize": "letterbox", "colour": "rgb"} if layout == "fastestdet" else {}
    if dynamic:
        about["size"] = [64, 64]  # type: ignore[assignment]
    if about:
        Path(f"{path}.json").write_text(json.dumps(about))
    model = models.build(f"onnx:{path}")
    assert model.tasks == ("detection",)
    assert model.categories == dict(zip(IDS, NAMES.values(), strict=True))
    found = model.predict([picture()])[0]
    assert {k: v.dtype for k, v in found.items()} == {"boxes": np.float32, "scores": np.float32, "labels": np.int64}
    assert (np.diff(found["scores"]) <= 0).all()
    # a quadrant is cut by the picture's border: rows -16 … 16 and 16 … 48 of 32
    cells = {(0, 0): [0, 0, 32, 16], (0, 1): [32, 0, 64, 16], (1, 0): [0, 16, 32, 32], (1, 1): [32, 16, 64, 32]}
    if layout == "fastestdet":  # its box is centred on the cell's corner, of half the picture, and not cut
        cells = {(r, c): [c * 32 - 16, r * 32 - 32, c * 32 + 16, r * 32] for r, c in cells}
    sides = {0: (250, 125, 0), 1: (0, 50, 200)}
    expected = []
    for (row, column), box in cells.items():
        means = [(114 + value) / 2 / 255 for value in sides[column]]
        for k in range(1 if layout.startswith("rows") else 3):
            score = means[k] ** 0.4 if layout == "fastestdet" else means[k]
            if layout != "fastestdet" or means[k] == max(means):  # it has one class a cell
                expected.append((row, column, score, IDS[k], box))
    assert len(found["scores"]) == len(expected)
    for _row, _column, score, label, box in expected:
        near = (np.abs(found["boxes"] - box).max(1) < 1e-3) & (found["labels"] == label)
        assert near.sum() == 1
        assert found["scores"][near][0] == pytest.approx(score, abs=1e-5)


def test_settings_beside_the_file(tmp_path: Path) -> None:
    """Ids, colour order, thresholds; one class a box."""
    path = write(tmp_path / "a.onnx", "yolov8")
    beside = Path(f"{path}.yaml")
    beside.write_text("{categories: {7: a, 5: b, 9: c}, colour: bgr, resize: stretch, several: false, score: 0.5, "
                      "note: trained on stripes}")  # fmt: skip
    model = models.build(f"onnx:{path}")
    found = model.predict([picture()])[0]
    assert (model.categories, model.note) == ({7: "a", 5: "b", 9: "c"}, "trained on stripes")
    assert model.files == (path, beside)
    assert found["labels"].tolist() == [9, 9, 7, 7]  # blue comes first: left is (0, 125, 250), right (200, 50, 0)
    assert found["scores"] == pytest.approx(np.array([250, 250, 200, 200]) / 255, abs=1e-5)
    beside.write_text("{categories: {7: a, 5: b, 9: c}, mean: [0.1, 0.1, 0.1], std: [0.5, 0.5, 0.5], most: 2}")
    found = models.build(f"onnx:{path}").predict([picture()])[0]
    assert found["scores"] == pytest.approx(np.full(2, ((250 + 114) / 2 / 255 - 0.1) / 0.5), abs=1e-4)


def test_neighbours_change_nothing(tmp_path: Path) -> None:
    model = models.build(f"onnx:{write(tmp_path / 'a.onnx', 'yolov5', NAMES)}")
    alone = model.predict([picture()])[0]
    together = model.predict([picture()[:, :50], picture()])[1]
    for key in alone:
        assert np.array_equal(alone[key], together[key])
    assert model.predict([]) == []
    listed = models.build(f"onnx:{write(tmp_path / 'b.onnx', 'yolov5', list(NAMES.values()))}")  # older exports' way
    assert listed.categories == model.categories


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (31, 47), (480, 640), (213, 320)])
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_boxes_find_back_to_the_picture(size: tuple[int, int], resize: str) -> None:
    height, width = size
    resized, fitted = fit(np.full((height, width, 3), 9, np.uint8), (320, 256), resize)
    assert resized.shape == (256, 320, 3)
    rows, columns = np.nonzero(resized[..., 0] == 9)
    inside = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], float)
    assert unfit(inside, fitted) == pytest.approx(np.array([[0, 0, width, height]]), abs=1e-9)


def test_suppression_is_within_a_class_and_stable() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [50, 0, 60, 10], [50, 0, 60, 10]], float)
    scores, classes = np.array([0.5, 0.9, 0.8, 0.3, 0.01]), np.array([0, 0, 1, 0, 0])
    assert suppress((boxes, scores, classes), 0.05, 0.5, 300).tolist() == [1, 2, 3]
    assert suppress((boxes, scores, classes), 0.05, 0.95, 300).tolist() == [1, 2, 0, 3]
    assert suppress((boxes, scores, classes), 0.05, 0.5, 2).tolist() == [1, 2]
    assert suppress((boxes[:0], scores[:0], classes[:0]), 0.05, 0.5, 2).tolist() == []
    assert unfit(np.zeros((0, 4)), Fit((2, 2), (1, 1))).shape == (0, 4)


def test_shapes_are_told_apart() -> None:
    cases = {(1, 85, 22, 22): "fastestdet", (1, 25200, 85): "yolov5", (1, 84, 8400): "yolov8", (1, 300, 6): "rows6",
             (7, 7): "rows7", (0, 7): "rows7", (1, 1000): None, (1, 8400, 6): None, (1, 116, 8400): None,
             (1, 3, 80, 80, 85): None, (1, 85, 84): None}  # fmt: skip
    assert {shape: recognise(shape, None) for shape in cases} == cases
    assert recognise((1, 25200, 15), 10) == "yolov5"
    assert recognise((1, 14, 8400), 10) == "yolov8"
    assert recognise((1, 14, 8400), 9) is None


def test_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eval.models.onnx_description import read_description

    def told(path: Path, message: str, beside: str | None = None) -> None:
        if beside is not None:
            Path(f"{path}.yaml").write_text(beside)
        with pytest.raises(ValueError, match=message) as caught:
            models.build(f"onnx:{path}").predict([picture()])
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)

    told(tmp_path / "none.onnx", "no such file")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    told(tmp_path / "junk.onnx", "does not load as ONNX")
    told(write(tmp_path / "three.onnx", "yolov5"), "say its layout")  # eight columns, and no word of classes
    told(write(tmp_path / "odd.onnx", "yolov8", {0: "person", 1: "tram", 2: "car"}), "'tram' is none of COCO's")
    told(write(tmp_path / "few.onnx", "yolov8"), "class 2, and 1 are known", "{layout: yolov8, categories: {1: a}}")
    told(write(tmp_path / "small.onnx", "yolov8", NAMES, True), "does not run on a picture", "size: [16, 16]")
    told(write(tmp_path / "axes.onnx", "rows7"), "not laid out as yolov8, which has 3 axes", "layout: yolov8")
    told(write(tmp_path / "twice.onnx", "yolov8", {0: "car", 1: "dog", 2: "car"}), "two of its classes have one name")
    told(write(tmp_path / "key.onnx", "yolov8"), "'colours', which is none of", "colours: rgb")
    told(tmp_path / "key.onnx", "layout 'yolov9' is none of fastestdet", "layout: yolov9")
    told(tmp_path / "key.onnx", "mapping of ids to names", "categories: [person]")
    told(tmp_path / "key.onnx", "mean must be a list of 3 numbers", "mean: 0.5")
    told(tmp_path / "key.onnx", "most must be above 0", "most: 0")
    told(tmp_path / "key.onnx", "score must be float, not 'low'", "score: low")
    told(tmp_path / "key.onnx", "several must be bool", "several: 1")
    told(tmp_path / "key.onnx", "iou must be float, not True", "iou: true")
    told(tmp_path / "key.onnx", "std holds a 0", "std: [1, 0, 1]")
    told(tmp_path / "key.onnx", "size must be .width, height. in pixels", "size: [0, 640]")
    told(tmp_path / "key.onnx", "is not YAML", "{")
    with pytest.raises(ValueError, match="leave --model-weights out"):
        models.build(f"onnx:{tmp_path / 'key.onnx'}", weights="w.pth")
    with pytest.raises(ValueError, match="name the file"):
        models.build("onnx:")
    (tmp_path / "text.yaml").write_text("text")
    with pytest.raises(ValueError, match="'str'"):
        read_description(tmp_path / "text.yaml")
    path = write(tmp_path / "good.onnx", "yolov8", NAMES)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        models.build(f"onnx:{path}").predict([picture()])


def test_fastestdet_is_the_outside_scripts(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same detections as shared/eval/coco_ap.py, and the same AP50, on the first 8 pictures of coco128 val."""
    import cv2

    from eval.datasets import DATASETS

    monkeypatch.syspath_prepend(str(shared / "eval"))
    script = importlib.import_module("coco_ap")
    file = shared / "weights" / "FastestDet.onnx"
    network, model = script.onnxruntime.InferenceSession(str(file)), models.build(f"onnx:{file}")
    assert model.categories == COCO_THINGS
    assert "COCO" in model.note
    data = shared / "data" / "coco128"
    dataset = DATASETS["coco"](data / "images" / "val", data / "annotations" / "instances_val.json").take(8)
    ids, rows, theirs = np.array(sorted(dataset.categories)), [], []
    for item in dataset.items:
        bgr = cv2.imread(str(item.path))
        boxes, scores, classes = script.detect(network, bgr)
        found = model.predict([np.ascontiguousarray(bgr[..., ::-1])])[0]
        assert found["labels"].tolist() == ids[classes].tolist()
        assert np.array_equal(found["scores"], scores)
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        assert np.abs(found["boxes"] - corners).max(initial=0) < 1e-4
        rows += coco_results(item.id, found)
        theirs += [{"image_id": item.id, "category_id": int(ids[c]), "bbox": box.tolist(), "score": float(s)}
                   for box, s, c in zip(boxes, scores, classes, strict=True)]  # fmt: skip
    assert len(rows) > 50
    kept = [item.id for item in dataset.items]
    ours, reference = (average_precision(dataset.truth, r, "detection", kept) for r in (rows, theirs))
    assert ours.ap50 == pytest.approx(reference.ap50, abs=1e-9)
    assert ours.ap50 > 20
