"""Pseudo-labels: what a model finds scores 100 against itself, and less once something is taken away."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.datasets.base import Dataset, Item, SemanticOf
from eval.evaluators import build
from eval.metrics import coco_results
from eval.models.pseudo import Maps, pseudo_truth

SIZE = (40, 60)
OBJECTS = ("boxes", "scores", "labels", "masks", "keypoints")
CATEGORIES = {1: "person", 3: "car", 184: "tree"}


class Model:
    name = "fake"
    categories = CATEGORIES


def items(count: int, sequence: str = "") -> tuple[Item, ...]:
    return tuple(Item(10 + i, f"{i}.png", Path(f"{i}.png"), SIZE[1], SIZE[0], sequence, i) for i in range(count))


def prediction(seed: int) -> dict[str, Any]:
    """Six objects with masks, scores .9 … .15, 17 keypoints each; three segments."""
    rng = np.random.default_rng(seed)
    corner, side = rng.integers(0, 20, (6, 2)), rng.integers(8, 20, (6, 2))
    boxes = np.concatenate([corner, corner + side], 1).astype(np.float32)
    points = np.concatenate([boxes[:, None, :2] + rng.uniform(0, 8, (6, 17, 2)), np.full((6, 17, 1), 0.5)], 2)
    masks = np.zeros((6, *SIZE), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
    panoptic = np.zeros(SIZE, np.int32)
    panoptic[:10], panoptic[10:20, :30], panoptic[10:20, 30:] = 7, 2**20 + 3, 9
    return {"boxes": boxes, "scores": np.linspace(0.9, 0.15, 6, dtype=np.float32), "labels": np.array([1, 3] * 3),
            "masks": masks, "keypoints": points,
            "panoptic": panoptic, "semantic": np.where(panoptic == 7, 184, -1).astype(np.int32),
            "segments": [{"id": 7, "category_id": 184, "isthing": False}, {"id": 9, "category_id": 1, "isthing": True},
                         {"id": 2**20 + 3, "category_id": 1, "isthing": True},
                         {"id": 55, "category_id": 3, "isthing": True}]}  # fmt: skip


@pytest.fixture
def found() -> tuple[Dataset, list[tuple[Item, dict[str, Any]]]]:
    dataset = Dataset("photos", items(3))
    return dataset, [(item, prediction(item.id)) for item in dataset.items]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("task", ["detection", "instances", "keypoints", "panoptic", "semantic"])
def test_a_model_agrees_with_itself(found: Any, task: str, kept: bool) -> None:
    dataset, pairs = found
    if kept:  # as it is on disk
        pairs = [(item, {k: v for k, v in one.items() if k in ("panoptic", "segments", "semantic")}
                  | {"rows": coco_results(item.id, one)}) for item, one in pairs]  # fmt: skip
    truth = pseudo_truth(dataset, iter(pairs), Model(), 0.5)
    assert truth.pseudo
    assert task in truth.tasks
    assert truth.items == dataset.items
    for spoilt in (False, True):
        evaluator = build(task, truth)
        for number, (item, one) in enumerate(pairs):
            one = dict(one)
            if spoilt and number == 1:
                one |= {"rows": []} if kept else {k: one[k][:0] for k in OBJECTS}
                one |= {"panoptic": one["panoptic"] * 0, "segments": [], "semantic": one["semantic"] * 0 - 1}
            evaluator.process(item, None, None, one)
        figures = evaluator.evaluate().figures()
        primary = {"panoptic": "pq", "semantic": "miou"}.get(task, "ap")
        assert (figures[primary] > 99.9) != spoilt, figures
        assert figures[primary] > 40


def test_labels_are_cocos(found: Any) -> None:
    dataset, pairs = found
    truth = pseudo_truth(dataset, pairs, Model(), 0.5)
    rows = truth.truth.dataset["annotations"]
    assert len(rows) == 9  # three of six scores are at least .5
    assert [row["id"] for row in rows] == list(range(1, 10))
    first = pairs[0][1]
    assert rows[0]["area"] == first["masks"][0].sum()
    points = np.reshape(rows[0]["keypoints"], (17, 3))
    assert points[:, :2] == pytest.approx(first["keypoints"][0, :, :2], abs=1e-3)
    assert (points[:, 2] == 2).all()
    assert rows[0]["num_keypoints"] == 17
    assert truth.truth.dataset["info"]["description"] == "pseudo-labels: fake, score >= 0.5"
    assert [c["name"] for c in truth.truth.dataset["categories"]] == ["person", "car", "tree"]
    assert [bool(c.get("keypoints")) for c in truth.truth.dataset["categories"]] == [True, True, False]
    assert truth.categories == truth.semantic_categories == CATEGORIES
    assert truth.panoptic is not None
    assert truth.panoptic.categories[184] == {"name": "tree", "isthing": False}
    assert truth.panoptic.categories[1]["isthing"]
    assert truth.panoptic.segments(10) == [
        {"id": 7, "category_id": 184, "iscrowd": 0, "area": 600, "bbox": [0, 0, 60, 10]},
        {"id": 9, "category_id": 1, "iscrowd": 0, "area": 300, "bbox": [30, 10, 30, 10]},
        {"id": 2**20 + 3, "category_id": 1, "iscrowd": 0, "area": 300, "bbox": [0, 10, 30, 10]}]  # fmt: skip
    for item, one in pairs:
        assert np.array_equal(truth.panoptic.map(item.id), one["panoptic"])
        assert truth.semantic is not None
        assert np.array_equal(truth.semantic(item.id), one["semantic"])
    assert set(np.unique(SemanticOf(truth.panoptic)(10))) == {-1, 1, 184}
    again = pickle.loads(pickle.dumps(truth))
    assert np.array_equal(again.panoptic.map(10), pairs[0][1]["panoptic"])
    assert again.tasks == truth.tasks


def test_sequences_have_tracks() -> None:
    """A weak detection that continues a track is a label; a single false alarm has no track."""
    dataset = Dataset("clip", items(5, "a"))
    pairs = []
    for t, item in enumerate(dataset.items):
        boxes = [[2 + 2 * t, 5, 12 + 2 * t, 25], [30, 5, 40, 25]] + [[45, 30, 55, 38]] * (t == 2)
        scores = [0.2 if t == 3 else 0.9, 0.8] + [0.95] * (t == 2)
        pairs.append((item, {"boxes": np.array(boxes, float), "scores": np.array(scores),
                             "labels": np.ones(len(boxes), int)}))  # fmt: skip
    truth = pseudo_truth(dataset, pairs, Model())
    assert "tracking" in truth.tasks
    rows = truth.truth.dataset["annotations"]
    tracks = [[row.get("track_id") for row in rows if row["image_id"] == item.id] for item in dataset.items]
    assert [sorted(t, key=str) for t in tracks] == [[1, 2], [1, 2], [1, 2, None], [1, 2], [1, 2]]
    stills = [(dataclasses.replace(item, sequence=""), one) for item, one in pairs]
    still = pseudo_truth(Dataset("stills", items(5)), stills, Model())
    assert len(still.truth.dataset["annotations"]) == len(rows) - 1
    assert "tracking" not in still.tasks


def test_tracks_agree_with_themselves() -> None:
    """The evaluator links detections as the labels were linked; weak ones and false alarms included."""
    pytest.importorskip("trackeval.metrics", reason="TrackEval is not installed: pip install --no-deps trackeval")
    rng = np.random.default_rng(0)
    dataset = Dataset("clip", items(20, "a"))
    pairs = []
    for t, item in enumerate(dataset.items):
        boxes = np.array([[3 * k + t, 4 * k, 3 * k + t + 12, 4 * k + 14] for k in range(5)], float)
        boxes += rng.normal(0, 0.8, boxes.shape)
        pairs.append((item, {"boxes": boxes, "scores": np.sort(rng.uniform(0.05, 1, 5))[::-1],
                             "labels": np.array([1, 1, 3, 1, 3])}))  # fmt: skip
    truth = pseudo_truth(dataset, pairs, Model())
    evaluator = build("tracking", truth)
    for item, one in pairs:
        evaluator.process(item, None, None, one)
    figures = evaluator.evaluate().figures()
    assert {name: figures[name] for name in ("mota", "idf1", "hota")} == pytest.approx(
        {"mota": 100, "idf1": 100, "hota": 100})


def test_what_cannot_be_is_told(found: Any) -> None:
    dataset, pairs = found
    with pytest.raises(ValueError, match=r"1.png: no prediction to make pseudo-labels of") as told:
        pseudo_truth(dataset, pairs[:1], Model())
    assert "\n" not in str(told.value)
    boxes = [(item, {k: one[k] for k in ("boxes", "scores", "labels")}) for item, one in pairs]
    with pytest.raises(ValueError, match=r"fake finds nothing with a score of 0\.95"):
        pseudo_truth(dataset, boxes, Model(), 0.95)
    unnamed = pseudo_truth(dataset, boxes, object())
    assert unnamed.categories == {1: "category 1", 3: "category 3"}
    assert (unnamed.panoptic, unnamed.semantic) == (None, None)
    assert unnamed.tasks == ("detection", "fidelity")
    with pytest.raises(ValueError, match="picture 4: a map holds ids"):
        Maps().add(4, np.full((2, 2), 1 << 24))


def test_the_labels_that_were_there_are_gone(found: Any) -> None:
    dataset, pairs = found
    other = {5: "x"}
    full = dataclasses.replace(dataset, categories=other, semantic=lambda _: np.zeros(SIZE), semantic_categories=other)
    boxes = [(item, {k: one[k] for k in ("boxes", "scores", "labels")}) for item, one in pairs]
    truth = pseudo_truth(full, boxes, Model())
    assert (truth.semantic, truth.semantic_categories, truth.categories) == (None, {}, CATEGORIES)
