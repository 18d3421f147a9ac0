"""What of the Detectron2 adapter works without Detectron2: names, files, pickles, category ids of made-up outputs."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eval.models import build, detectron2_files, detectron2_zoo
from eval.models.detectron2_files import cached, fetched, read_checkpoint, read_pickle
from eval.models.detectron2_recipe import Ids

R50 = "COCO-Detection/faster_rcnn_R_50_FPN_3x"


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Detectron2 as far as building looks: a package with configurations."""
    for name in (f"{R50}.yaml", "COCO-Detection/rpn_R_50_FPN_1x.yaml", "Base-RCNN-FPN.yaml", "new_baselines/a.py"):
        path = tmp_path / "model_zoo" / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("MODEL: {}\n")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def one_line(kind: type[Exception], call, *arguments) -> str:
    with pytest.raises(kind) as told:
        call(*arguments)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_without_the_package_one_line_says_how_to_install_it(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = one_line(ImportError, build, f"detectron2:{R50}")
    assert "pip install 'setuptools<81' && pip install --no-build-isolation git+https://github.com/" in told


@pytest.mark.usefixtures("installed")
def test_building_reads_nothing_and_knows_the_tasks() -> None:
    model = build(f"detectron2:{R50}")
    assert (model.name, model.tasks) == (f"detectron2:{R50}", ("detection",))
    assert (model.note, model.files) == ("trained on COCO train2017 (photographs)", ())
    assert build(f"detectron2:{R50}", weights="mine.pkl").note == ""
    assert build(f"detectron2:{R50}.yaml").tasks == ("detection",)
    assert build(f"detectron2:{R50}@0.25").score_threshold == 0.25
    assert build("detectron2:new_baselines/a", weights="w.pkl").tasks == ("detection",)


@pytest.mark.parametrize(("name", "tasks"), [
    ("faster_rcnn_R_50_FPN_3x", ("detection",)), ("retinanet_R_50_FPN_3x", ("detection",)),
    ("mask_rcnn_R_50_FPN_3x", ("detection", "instances")), ("keypoint_rcnn_R_50_FPN_3x", ("detection", "keypoints")),
    ("panoptic_fpn_R_50_3x", ("detection", "instances", "panoptic", "semantic")),
    ("semantic_R_50_FPN_1x", ("semantic",)),
])  # fmt: skip
def test_tasks_by_name(name: str, tasks: tuple[str, ...]) -> None:
    assert detectron2_zoo._tasks(name) == tasks


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("rest", "said"), [
    ("COCO-Detection/faster_rcnn_R50_FPN_3x", f"did you mean detectron2:{R50}?"),
    ("panoptic_fpn_R50_3x", "did you mean detectron2:COCO-PanopticSegmentation/panoptic_fpn_R_50_3x?"),
    ("qqq", "no such configuration; give a name"), ("", "no such configuration"),
    ("../configs/Base-RCNN-FPN", "no such configuration"), ("Base-RCNN-FPN", "no such configuration"),
    ("COCO-Detection/rpn_R_50_FPN_1x", "proposals, not detections"),
])  # fmt: skip
def test_a_name_that_is_none_is_one_line(rest: str, said: str) -> None:
    assert said in one_line(ValueError, build, f"detectron2:{rest}")


@pytest.mark.usefixtures("installed")
def test_a_configuration_of_ones_own_needs_weights(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("MODEL: {}\n")
    assert "--model-weights" in one_line(ValueError, build, f"detectron2:{path}")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_pickles_of_arrays_are_read_exactly(tmp_path, protocol: int) -> None:
    rng = np.random.default_rng(0)
    wanted = {"a": rng.normal(size=(3, 4, 5)).astype(np.float32), "columns": np.asfortranarray(rng.normal(size=(3, 4))),
              "big": np.arange(5, dtype=">i4"), "half": np.float16([1, 2]), "flag": np.array([True, False]),
              "none": np.zeros((0, 4), np.float32), "scalar": np.float64(2.5), "number": 3, "text": "t"}  # fmt: skip
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps({"model": OrderedDict(wanted), "__author__": "somebody"}, protocol=protocol))
    read = read_pickle(path)["model"]
    assert read.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(read[key], value)
        assert np.asarray(read[key]).dtype == np.asarray(value).dtype
    tensors, author = read_checkpoint(path)
    assert author is None
    assert tensors["a"].dtype == torch.float32
    assert tensors["big"].tolist() == [0, 1, 2, 3, 4]


class Evil:
    def __reduce__(self):
        return os.system, ("false",)


@pytest.mark.parametrize(("content", "said"), [
    ({"model": Evil()}, "system"), ({"model": {"w": torch.zeros(2)}}, "torch"),
    ({"model": {"w": np.array([Evil()], object)}}, "O8"), ({"model": {"w": np.zeros(2, "i4,f4")}}, "V8"),
    ({"model": {"w": np.array(["text"])}}, "U4"),
])  # fmt: skip
def test_a_pickle_of_anything_else_is_refused_unrun(tmp_path, content, said: str) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(content))
    told = one_line(ValueError, read_checkpoint, path)
    assert said in told
    assert ".safetensors" in told


def test_broken_and_missing_files_are_one_line(tmp_path) -> None:
    path = tmp_path / "m.pkl"
    whole = pickle.dumps({"model": {"w": np.arange(100.0)}})
    for cut in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        one_line(ValueError, read_checkpoint, path)
    path.write_bytes(pickle.dumps([1, 2]))
    assert "no state dict" in one_line(ValueError, read_checkpoint, path)
    assert "no such weights" in one_line(ValueError, read_checkpoint, tmp_path / "none.pkl")


def test_detectron_1_and_heuristic_files_name_their_author(tmp_path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps({"blobs": {"conv1_w": np.zeros(2), "conv1_w_momentum": np.zeros(2)}}, protocol=2))
    tensors, author = read_checkpoint(path)
    assert (list(tensors), author) == (["conv1_w"], "Caffe2")
    path.write_bytes(pickle.dumps({"model": {"w": np.zeros(2)}, "__author__": "t", "matching_heuristics": True}))
    assert read_checkpoint(path)[1] == "t"


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A zoo of one file, at a file:// address, named by its MD5; (address, where it will lie)."""
    monkeypatch.setenv("VCM_MODELS", str(tmp_path / "cache"))
    data = b"weights" * 1000
    path = tmp_path / "zoo" / f"model_final_{hashlib.md5(data).hexdigest()[:6]}.pkl"
    path.parent.mkdir()
    path.write_bytes(data)
    return path.as_uri(), cached(path.as_uri())


def test_weights_are_fetched_once_and_their_hash_is_kept(served) -> None:
    url, place = served
    assert fetched("m", url) == place
    note = place.with_name(f"{place.name}.sha256")
    assert note.read_text() == f"{hashlib.sha256(place.read_bytes()).hexdigest()}  {place.name}\n"
    place.write_bytes(b"another")
    told = one_line(ValueError, fetched, "m", url)
    assert "changed since it was first used" in told
    assert url in told


def test_a_cached_file_needs_no_network(served) -> None:
    url, place = served
    fetched("m", url)
    os.unlink(url.removeprefix("file://"))
    assert fetched("m", url) == place


def test_a_pinned_hash_is_compared_at_the_first_use(served, monkeypatch) -> None:
    url, place = served
    monkeypatch.setitem(detectron2_files.PINNED, place.name, "0" * 64)
    assert "not 000000000000" in one_line(ValueError, fetched, "m", url)


def test_a_broken_download_leaves_nothing(served, tmp_path) -> None:
    url, place = served
    (tmp_path / "zoo" / place.name).write_bytes(b"half")
    told = one_line(OSError, fetched, "m", url)
    assert "its MD5 begins with" in told
    assert list(place.parent.iterdir()) == []


def test_offline_one_line_names_address_and_place(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("VCM_MODELS", str(tmp_path))
    url = "http://127.0.0.1:9/detectron2/COCO-Detection/x/1/model_final_000000.pkl"
    told = one_line(OSError, fetched, "detectron2:x", url)
    assert url in told
    assert f"put it at {tmp_path}/detectron2/COCO-Detection/x/1/model_final_000000.pkl" in told
    assert "--model-weights" in told


@pytest.mark.parametrize(("batch", "mixed", "sizes"), [
    (1, False, [1] * 6), (1, True, [1] * 6), (6, False, [2, 1, 3]), (2, False, [2, 1, 2, 1]), (4, True, [4, 2]),
])  # fmt: skip
def test_pictures_go_through_together_as_they_may(batch: int, mixed: bool, sizes: list[int]) -> None:
    shapes = [(4, 6, 3)] * 2 + [(6, 4, 3)] + [(4, 6, 3)] * 3
    slices = list(detectron2_zoo.groups(shapes, batch, mixed))
    assert [len(shapes[part]) for part in slices] == sizes
    assert [i for part in slices for i in range(6)[part]] == list(range(6))
    assert list(detectron2_zoo.groups([], batch, mixed)) == []


class Instances(SimpleNamespace):
    def to(self, device):
        return self

    def has(self, field):
        return hasattr(self, field)


IDS = Ids(things=(1, 2, 90), stuff={1: 92, 2: 200}, categories=None)


def test_classes_become_category_ids_and_scores_fall() -> None:
    found = Instances(scores=torch.tensor([0.2, 0.9]), pred_classes=torch.tensor([2, 0]),
                      pred_boxes=SimpleNamespace(tensor=torch.tensor([[0.0, 1, 2, 3], [4, 5, 6, 7]])),
                      pred_masks=torch.tensor([[[True]], [[False]]]),
                      pred_keypoints=torch.tensor([[[1.5, 2.5, 0.3]], [[8.5, 9.5, 0.4]]]))  # fmt: skip
    result = detectron2_zoo.prediction({"instances": found}, IDS)
    assert result["labels"].tolist() == [1, 90]
    assert result["labels"].dtype == np.int64
    assert result["boxes"].tolist() == [[4, 5, 6, 7], [0, 1, 2, 3]]
    assert result["masks"].tolist() == [[[False]], [[True]]]
    np.testing.assert_allclose(result["keypoints"], [[[8, 9, 0.4]], [[1, 2, 0.3]]], rtol=1e-6)
    assert "panoptic" not in result


def test_panoptic_and_semantic_maps_carry_category_ids() -> None:
    logits = torch.zeros(3, 1, 4)
    for x, c in enumerate((0, 1, 2, 0)):  # "things", banner, rug, "things"
        logits[c, 0, x] = 1
    panoptic = torch.tensor([[1, 2, 0, 0]], dtype=torch.int32), [
        {"id": 1, "isthing": True, "category_id": 2, "score": 0.9, "instance_id": 0},
        {"id": 2, "isthing": False, "category_id": 1, "area": 1},
    ]  # fmt: skip
    result = detectron2_zoo.prediction({"sem_seg": logits, "panoptic_seg": panoptic}, IDS)
    assert result["panoptic"].tolist() == [[1, 2, 0, 0]]
    assert result["segments"] == [{"id": 1, "category_id": 90, "isthing": True},
                                  {"id": 2, "category_id": 92, "isthing": False}]  # fmt: skip
    # the thing and the stuff of the fused map; stuff too small for it; a thing that nothing covers
    assert result["semantic"].tolist() == [[90, 92, 200, -1]]
    assert detectron2_zoo.prediction({"sem_seg": logits}, IDS)["semantic"].tolist() == [[-1, 92, 200, -1]]
