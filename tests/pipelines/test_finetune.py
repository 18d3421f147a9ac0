"""Fine-tuning: torchvision's detectors and models with losses of their own; batches, mirroring, targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import eval.models
from eval.datasets import load
from pipelines.finetune import decode
from pipelines.tasks.finetune import FineTune, Settings, targets
from tests.eval.tiny import tiny_files
from tests.pipelines.tiny_model import TinyModel

DETECTOR = "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn"


class Tunable(TinyModel):
    """A model that brings its losses, as Detectron2's do."""

    name = "tunable"
    categories = {1: "square"}  # noqa: RUF012

    def __init__(self, weights=None):
        self.net = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1))
        self.seen = []

    def network(self):
        return self.net

    def losses(self, pictures, annotations, semantic=None):
        self.seen.append((pictures, annotations, semantic))
        x = torch.from_numpy(np.stack(pictures)).float().mean((1, 2)) / 255
        return {"loss": (self.net[0](x) - 1).square().mean()}


@pytest.fixture
def task(tmp_path, monkeypatch):
    """The fine-tuning of Tunable on the tiny data set, decoded by two qualities."""
    from pipelines.codecs import parse

    monkeypatch.setitem(eval.models.MODELS, "tunable", Tunable)
    dataset = load("coco", *tiny_files(tmp_path / "data"))
    codecs = [parse("jpeg:5"), parse("jpeg:90")]
    (tmp_path / "run").mkdir()
    decoded = decode(codecs, dataset, "content", tmp_path / "run")
    return FineTune(Settings("tunable", ["jpeg:5", "jpeg:90"]), 0, dataset, decoded, {"codecs": ["jpeg:5", "jpeg:90"]})


def test_batches_are_functions_of_the_step(task):
    one, again, other = (task.batch(step, 0, 1) for step in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one[0], again[0], strict=True))
    assert one[1] == again[1]
    assert not all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True))
    assert {row["category_id"] for rows in one[1] for row in rows} == {1}  # discs are nothing to this model


def test_mirrored_labels_lie_on_the_mirrored_objects(task):
    """Red squares where the boxes and masks say so, whichever way round, at both qualities."""
    from pycocotools import mask as coder

    sides = set()
    for step in range(12):
        for picture, rows in zip(*task.batch(step, 0, 1)[:2], strict=True):
            (row,) = rows
            x, y, w, h = (int(value) for value in row["bbox"])
            sides.add(x)
            redness = picture[..., 0].astype(int) - picture[..., 2]
            assert redness[y + 4 : y + h - 4, x + 4 : x + w - 4].mean() > 60
            mask = coder.decode(row["segmentation"]).astype(bool)
            assert mask.sum() == w * h
            assert mask[y : y + h, x : x + w].all()
    assert sides == {4, 64 - 4 - 16}


def test_decoding_goes_on_where_it_was_stopped(task, tmp_path, monkeypatch):
    from pipelines.codecs import parse

    (tmp_path / "run" / "decoded" / "jpeg" / "5" / "10.png").unlink()
    calls = []
    monkeypatch.setattr("eval.anchors.still.Pillow.encode", lambda self, picture: calls.append(self.quality) or b"")
    monkeypatch.setattr("eval.anchors.still.Pillow.decode", lambda self, data: np.zeros((48, 64, 3), np.uint8))
    decode([parse("jpeg:5"), parse("jpeg:90")], task.dataset, "content", tmp_path / "run")
    assert calls == [5]
    decode([parse("jpeg:5")], task.dataset, "other pictures", tmp_path / "run")
    assert calls == [5, 5, 5]


def test_a_model_with_losses_of_its_own_is_trained_by_them(task, tmp_path):
    from pipelines.trainer import Trainer, TrainerSettings

    before = {name: tensor.clone() for name, tensor in task.model.net.state_dict().items()}
    path = Trainer(task, TrainerSettings(3, amp=False, ema=0.0), tmp_path / "trained").run()
    after = load_file(path)
    assert not torch.equal(before["0.weight"], after["0.weight"])
    assert torch.equal(before["1.running_mean"], after["1.running_mean"])  # statistics stay
    assert len(task.model.seen) == 3
    from pipelines.evaluate_models import tuned_on

    assert tuned_on(path) == {"codecs": ["jpeg:5", "jpeg:90"]}


def test_targets_of_torchvision():
    from pycocotools import mask as coder

    mask = np.zeros((6, 8), np.uint8, order="F")
    mask[1:4, 2:7] = 1
    row = {"bbox": [2, 1, 5, 3], "category_id": 7, "segmentation": coder.encode(mask)}
    flat = {**row, "bbox": [2, 1, 5, 0.5]}
    found = targets([flat, row], torch.device("cpu"), True, (6, 8, 3))
    assert found["boxes"].tolist() == [[2, 1, 7, 4]]
    assert found["labels"].tolist() == [7]
    assert np.array_equal(found["masks"][0].numpy(), mask)
    nothing = targets([], torch.device("cpu"), True, (6, 8, 3))
    assert (tuple(nothing["boxes"].shape), tuple(nothing["masks"].shape)) == ((0, 4), (0, 6, 8))


def test_a_detector_of_torchvision(vcm, tmp_path):
    """From random weights: what is exported is that model's, and other than before."""
    from eval.models.official import network

    torch.manual_seed(0)
    start = {name: t.contiguous() for name, t in network(DETECTOR.partition(":")[2]).state_dict().items()}
    save_file(start, tmp_path / "start.safetensors")
    images, annotations = tiny_files(tmp_path / "data")
    done = vcm("finetune", "--images", images, "--annotations", annotations, "--codec", "webp:20", "--model", DETECTOR,
               "--model-weights", tmp_path / "start.safetensors", "--steps", "1", "-o", tmp_path / "tuned")  # fmt: skip
    assert done.code == 0, done.err
    path = tmp_path / "tuned" / "model.safetensors"
    after = load_file(path)
    assert set(after) == set(start)
    assert any(not torch.equal(start[name], after[name]) for name in start)
    eval.models.build(DETECTOR, weights=path).predict([np.zeros((32, 32, 3), np.uint8)])
