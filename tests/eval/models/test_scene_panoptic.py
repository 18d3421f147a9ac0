"""Panoptic and semantic maps of the drawn scenes' model: what is asked for, and nothing changed by it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from eval import models, scenes
from eval.models.mask_rcnn_scenes import IGNORED, SEMANTIC, SceneMaskRCNN
from eval.models.scene_model import classes_at
from eval.models.weights import SHIPPED, card, read, write
from pipelines.tasks import mask_rcnn_scenes as task_file

NAME = "mask-rcnn-scenes"
KEYS = {"detection": {"boxes", "scores", "labels"}, "instances": {"boxes", "scores", "labels", "masks"},
        "semantic": {"boxes", "scores", "labels", "semantic"},
        "panoptic": {"boxes", "scores", "labels", "panoptic", "segments"}}  # fmt: skip


@pytest.fixture(scope="module")
def shipped() -> models.SceneModel:
    return models.build(NAME)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def picture() -> scenes.Picture:
    return scenes.picture(3, split="test")


def test_channels_are_the_scenes_categories(shipped: models.SceneModel) -> None:
    assert tuple(c["id"] for c in scenes.CATEGORIES) == SEMANTIC
    assert shipped.categories == {c["id"]: c["name"] for c in scenes.CATEGORIES}


def test_only_what_is_wanted_and_always_the_same(shipped: models.SceneModel, picture: scenes.Picture) -> None:
    shipped.wanted = None
    everything = shipped.predict([picture.image])[0]
    assert set(everything) == set().union(*KEYS.values())
    assert len(everything["scores"]) > 0
    for wanted in (("detection",), ("instances",), ("semantic",), ("panoptic",), ("detection", "instances"),
                   shipped.tasks):  # fmt: skip
        shipped.wanted = wanted
        found = shipped.predict([picture.image])[0]
        assert set(found) == set().union(*(KEYS[task] for task in wanted))
        for key in set(found) - {"segments"}:
            assert np.array_equal(found[key], everything[key]), (wanted, key)
        assert found.get("segments", everything["segments"]) == everything["segments"]
    shipped.wanted = ("keypoints",)
    with pytest.raises(ValueError, match="no task keypoints; it has detection"):
        shipped.predict([picture.image])
    shipped.wanted = None


@pytest.mark.parametrize("size", [(256, 384), (31, 47), (1, 1), (100, 700), (720, 1280), (260, 380)])
def test_maps_of_any_size(shipped: models.SceneModel, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = shipped.predict([noise])[0]
    assert found["semantic"].shape == found["panoptic"].shape == size
    assert found["semantic"].dtype == found["panoptic"].dtype == np.int32
    assert set(np.unique(found["semantic"])) <= set(SEMANTIC)
    assert set(np.unique(found["panoptic"])) - {0} == {s["id"] for s in found["segments"]}
    for segment in found["segments"]:
        assert segment["isthing"] == (segment["category_id"] in scenes.THINGS)


def test_a_map_is_of_the_picture_s_own_size() -> None:
    logits = np.stack([np.where(np.arange(8) < 4, v, -v) * np.ones((6, 1)) for v in (1.0, -1.0)]).astype(np.float32)
    large = classes_at(logits, (149, 187), 60, 80)
    assert large.shape == (60, 80)
    assert (large[:, :38] == 149).all()
    assert (large[:, 42:] == 187).all()
    logits[:, :3] = np.nan
    assert (classes_at(logits, (149, 187), 6, 8)[:3] == -1).all()


def test_weights_without_the_head_still_detect(tmp_path: Path, shipped: models.SceneModel,
                                               picture: scenes.Picture) -> None:
    """Files of before the semantic head."""
    old = {name: t for name, t in read(SHIPPED / f"{NAME}.safetensors").items() if not name.startswith("semantic.")}
    write(tmp_path / "old.safetensors", old)
    model, now = models.SceneModel(weights=tmp_path / "old.safetensors"), shipped.predict([picture.image])[0]
    found = model.predict([picture.image])[0]
    assert set(found) == KEYS["instances"]
    for key, value in found.items():
        assert np.array_equal(value, now[key])
    model.wanted = ("panoptic",)
    with pytest.raises(ValueError, match=r"old\.safetensors: these weights have no semantic head") as caught:
        model.predict([picture.image])
    assert "\n" not in str(caught.value)


def test_the_detector_is_the_one_that_was_published() -> None:
    """The head came later; every other tensor is the file's of before, so its published figures hold."""
    digest = hashlib.sha256()
    for name, tensor in sorted(read(SHIPPED / f"{NAME}.safetensors").items()):
        if not name.startswith("semantic."):
            half = tensor.half() if tensor.is_floating_point() else tensor
            digest.update(name.encode() + half.numpy().tobytes())
    assert digest.hexdigest() == card(NAME)["detector_sha256"]


def test_the_shipped_head_knows_the_scenes(shipped: models.SceneModel) -> None:
    """Far above what one class everywhere gives (20 to 50 %)."""
    right = [(shipped.predict([p.image])[0]["semantic"] == p.semantic).mean()
             for p in scenes.pictures(6, split="test", start=200)]  # fmt: skip
    assert np.mean(right) > 0.9


class TestTraining:
    """`semantic_only` leaves the detector as it was, and teaches the head."""

    def settings(self, **changes) -> task_file.Settings:
        return task_file.Settings(batch=2, scenes=2, width=96, height=64, **changes)

    def test_everything_else_stays_bit_for_bit(self, tmp_path: Path) -> None:
        from pipelines.trainer import Trainer, TrainerSettings

        torch.manual_seed(5)
        write(tmp_path / "start.safetensors", SceneMaskRCNN(semantic=False).state_dict())
        task = task_file.build(self.settings(semantic_only=True, weights=tmp_path / "start.safetensors"), 0)
        Trainer(task, TrainerSettings(steps=4, ema=0.5, log_steps=1), tmp_path / "run").run()
        before, after = read(tmp_path / "start.safetensors"), read(tmp_path / "run" / "model.safetensors")
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
        new = {name for name in after if name not in before}
        assert new
        assert all(name.startswith("semantic.") for name in new)
        torch.manual_seed(0)
        untrained = task.build().state_dict()
        assert not torch.equal(after["semantic.predict.weight"], untrained["semantic.predict.weight"].half().float())
        assert list((tmp_path / "run" / "previews").iterdir())

    def test_training_all_of_it_has_the_semantic_loss_too(self) -> None:
        task = task_file.build(self.settings(), 0)
        model = task.build().train()
        losses = task.loss(model, task.batch(0, 0, 1), 0)
        assert losses["loss_semantic"] > 0
        assert torch.isclose(losses["main"], sum(v for k, v in losses.items() if k != "main"))

    def test_a_head_needs_weights(self) -> None:
        with pytest.raises(ValueError, match=r"settings\.weights"):
            self.settings(semantic_only=True)

    def test_labels_turn_with_the_picture(self) -> None:
        """Indices of what was drawn, mirrored when the boxes are."""
        drawn = scenes.picture(0, size=(96, 64), split="train")
        seen = set()
        for seed in range(8):
            _, target = task_file.example(drawn, np.random.default_rng(seed))
            ids = np.array(SEMANTIC)[target["semantic"].numpy()]
            flipped = not np.array_equal(ids, drawn.semantic)
            assert np.array_equal(ids[:, ::-1] if flipped else ids, drawn.semantic)
            seen.add(flipped)
            for box, label in zip(target["boxes"].int().tolist(), target["labels"].tolist(), strict=True):
                assert (ids[box[1]:box[3], box[0]:box[2]] == label).any()
        assert seen == {False, True}

    def test_ignored_pixels_do_not_count(self) -> None:
        torch.manual_seed(0)
        model = SceneMaskRCNN().eval()
        features = model.features(torch.rand(1, 3, 64, 96))
        truth = torch.randint(0, len(SEMANTIC), (64, 96))
        half = truth.clone()
        half[:, 48:] = IGNORED
        logits = model.classify(features, (64, 96))[..., :48]
        expected = torch.nn.functional.cross_entropy(logits, truth[None, :, :48])
        assert torch.allclose(model.semantic_loss(features, [{"semantic": half}]), expected)
        assert model.semantic_loss(features, [{"semantic": torch.full_like(truth, IGNORED)}]) == 0
