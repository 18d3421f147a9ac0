"""Panoptic quality and semantic IoU: by hand, against panopticapi where it is installed, and as resamples."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from eval.datasets.base import Dataset, Item, Panoptic, SemanticOf
from eval.evaluators import build
from eval.metrics.pq import match_segments
from eval.metrics.scores import join, load
from eval.metrics.semantic import confusion

CLASSES = {1: {"name": "person", "isthing": True}, 2: {"name": "dog", "isthing": True},
           7: {"name": "sky", "isthing": False}, 9: {"name": "sea", "isthing": False}}  # fmt: skip
PLACE = {1: 0, 2: 1, 7: 2, 9: 3}


def label(number, category, area, crowd=0):
    return {"id": number, "category_id": category, "area": area, "iscrowd": crowd}


def test_a_match_by_hand():
    """10x10: a person of 40 pixels found with 30 of them and 10 of void; a dog found as a person; sky missed."""
    truth = np.zeros((10, 10), int)
    truth[:4] = 5  # person
    truth[4:6] = 6  # dog
    truth[6:8] = 8  # sky; the last two rows are void
    found = np.zeros_like(truth)
    found[:3] = 1
    found[9] = 1
    found[4:6] = 2
    labels = [label(5, 1, 40), label(6, 2, 20), label(8, 7, 20)]
    segments = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 1}]
    table = match_segments(truth, labels, found, segments, PLACE)
    assert table.tolist() == [[30 / 40, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_crowds_and_void_forgive():
    truth = np.zeros((10, 10), int)
    truth[:5] = 3  # a crowd of persons; below it void
    labels = [label(3, 1, 50, crowd=1)]
    cases = [
        (slice(0, 5), 1, 0),  # in the crowd of its class: forgiven
        (slice(0, 5), 2, 1),  # in a crowd of another class
        (slice(5, 10), 2, 0),  # in void
        (slice(2, 8), 1, 0),  # half in each
        (slice(2, 8), 2, 1),  # exactly half in void is not more than half
        (slice(2, 9), 2, 0),
    ]
    for rows, category, false in cases:
        found = np.zeros_like(truth)
        found[rows] = 4
        table = match_segments(truth, labels, found, [{"id": 4, "category_id": category}], PLACE)
        assert table[PLACE[category]].tolist() == [0, 0, false, 0], (rows, category)
        assert table.sum() == false


def test_nothing_and_odd_segments():
    truth = np.zeros((4, 4), int)
    assert match_segments(truth, [], truth, [], PLACE).sum() == 0
    truth[:2] = 1
    assert match_segments(truth, [label(1, 7, 8)], truth * 0, [], PLACE)[2].tolist() == [0, 0, 0, 1]
    extra = [{"id": 1, "category_id": 7}, {"id": 9, "category_id": 9}, {"id": 4, "category_id": 555}]
    found = truth.copy()
    found[3] = 4
    assert match_segments(truth, [label(1, 7, 8)], found, extra, PLACE).sum(axis=0).tolist() == [1, 1, 0, 0]
    with pytest.raises(ValueError, match="holds segment 4, which"):
        match_segments(truth, [label(1, 7, 8)], found, extra[:2], PLACE)
    with pytest.raises(ValueError, match="of 3x4 for a picture of 4x4"):
        match_segments(truth, [label(1, 7, 8)], found[:, :3], extra, PLACE)


def stripes(seed, pictures=6):
    """Labels and predictions of random bands with crowds, void and every mistake. (dataset, item id -> prediction)"""
    rng = np.random.default_rng(seed)
    rows, maps, found = {}, {}, {}
    for number in range(pictures):
        truth = np.zeros((24, 30), np.int32)
        at, labels = 0, []
        for segment in range(1, rng.integers(2, 8)):
            high = int(rng.integers(1, 6))
            truth[at : at + high] = segment * 1000 if rng.random() < 0.9 else 0
            at += high
            if (truth == segment * 1000).any():
                category = int(rng.choice(list(CLASSES)))
                taken = {row["category_id"] for row in labels if row["iscrowd"]}  # at most one a class, as in COCO
                crowd = int(CLASSES[category]["isthing"] and category not in taken and rng.random() < 0.2)
                labels.append(label(segment * 1000, category, int((truth == segment * 1000).sum()), crowd))
        guess = np.roll(truth // 500, rng.integers(0, 3), axis=0)
        guess[rng.random(guess.shape) < 0.1] = 0
        wrong = rng.random() < 0.3
        segments = [{"id": row["id"] // 500, "category_id": int(rng.choice(list(CLASSES))) if wrong else
                     row["category_id"], "isthing": True} for row in labels]  # fmt: skip
        rows[number], maps[number], found[number] = labels, truth, {"panoptic": guess, "segments": segments}
    panoptic = Panoptic(CLASSES, rows, maps.__getitem__)
    items = tuple(Item(i, f"{i}.png", None, 30, 24) for i in range(pictures))
    names = {category: entry["name"] for category, entry in CLASSES.items()}
    dataset = Dataset("stripes", items, panoptic=panoptic, semantic=SemanticOf(panoptic), semantic_categories=names)
    for i in found:
        segments = found[i]["segments"]
        meaning = {0: -1, **{segment["id"]: segment["category_id"] for segment in segments}}
        found[i]["semantic"] = np.vectorize(meaning.__getitem__)(found[i]["panoptic"])
    return dataset, found


def score(task, dataset, found, known=None):
    evaluator = build(task, dataset, known)
    for item in reversed(dataset.items):
        evaluator.process(item, None, None, found[item.id])
    return evaluator.evaluate()


def repeat(dataset, found, counts):
    """The data set with pictures really repeated."""
    chosen = [i for i, count in enumerate(counts) for _ in range(count)]
    maps = {new: dataset.panoptic.map(old) for new, old in enumerate(chosen)}
    panoptic = Panoptic(CLASSES, {new: dataset.panoptic.rows[old] for new, old in enumerate(chosen)}, maps.__getitem__)
    items = tuple(Item(i, f"{i}.png", None) for i in range(len(chosen)))
    return (Dataset("again", items, panoptic=panoptic, semantic=SemanticOf(panoptic),
                    semantic_categories=dataset.semantic_categories),
            {new: found[old] for new, old in enumerate(chosen)})  # fmt: skip


@pytest.mark.parametrize("task", ["panoptic", "semantic"])
@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_really_repeated_pictures(task, seed):
    dataset, found = stripes(seed)
    scores = score(task, dataset, found)
    rng = np.random.default_rng(seed)
    draws = np.array([np.full(6, 2), rng.multinomial(6, np.full(6, 1 / 6)), rng.integers(0, 4, 6)])
    fast = scores.resample(draws)
    for number, counts in enumerate(draws):
        expected = score(task, *repeat(dataset, found, counts)).figures()
        assert scores.figures(counts) == pytest.approx(expected, abs=1e-9)
        for name, value in expected.items():
            assert fast[name][number] == pytest.approx(np.nan if value is None else value, abs=1e-9, nan_ok=True)
    assert scores.figures(np.full(6, 2)) == pytest.approx(scores.figures(), abs=1e-9)


@pytest.mark.parametrize("task", ["panoptic", "semantic"])
def test_scores_survive_files_and_shards(tmp_path, task):
    dataset, found = stripes(1)
    scores = score(task, dataset, found)
    scores.save(tmp_path / "m.npz")
    again = load(tmp_path / "m.npz")
    first = Dataset(**{**vars(dataset), "items": dataset.items[:2]})
    second = Dataset(**{**vars(dataset), "items": dataset.items[2:]})
    for other in (again, join([score(task, first, found), score(task, second, found)])):
        assert (other.figures(), other.per_class()) == (scores.figures(), scores.per_class())
        assert other.picture_ids.tolist() == scores.picture_ids.tolist()


def test_things_and_stuff_and_classes():
    dataset, found = stripes(2)
    scores = score("panoptic", dataset, found)
    figures, classes = scores.figures(), scores.per_class()
    assert figures["pq"] == pytest.approx(np.mean([classes[c["name"]]["pq"] for c in CLASSES.values()]))
    assert figures["pq_stuff"] == pytest.approx(np.mean([classes[name]["pq"] for name in ("sky", "sea")]))
    perfect = {i: {"panoptic": dataset.panoptic.map(i), "segments": dataset.panoptic.segments(i)} for i in found}
    assert score("panoptic", dataset, perfect).figures() == dict.fromkeys(figures, 100.0)
    nothing = Dataset(**{**vars(dataset), "panoptic": Panoptic(CLASSES, {0: []}, lambda i: np.zeros((24, 30), int)),
                         "items": dataset.items[:1]})  # fmt: skip
    empty = {0: {"panoptic": np.zeros((24, 30), int), "segments": []}}
    assert set(score("panoptic", nothing, empty).figures().values()) == {None}


def test_confusion_by_hand():
    truth = np.array([[1, 1, 7, -1], [1, 1, 7, 55]])
    found = np.array([[1, 2, 7, 7], [1, -1, 1, 1]])
    table = confusion(truth, found, [1, 2, 7])
    assert table.tolist() == [[2, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 0]]
    with pytest.raises(ValueError, match="of 3x2 for a picture of 4x2"):
        confusion(truth, found[:, :3], [1, 2, 7])
    names = {1: "a", 2: "b", 7: "c"}
    dataset = Dataset("one", (Item(0, "0.png", None),), semantic=lambda i: truth, semantic_categories=names)
    scores = score("semantic", dataset, {0: {"semantic": found}})
    assert scores.figures() == {"miou": pytest.approx(100 * (2 / 5 + 1 / 2) / 2), "pixel_accuracy": 100 * 3 / 6}
    assert scores.per_class()["b"] == {"miou": None, "pixel_accuracy": None}
    assert scores.confusion().tolist() == table.tolist()
    # a model that has never heard of "a": its pixels can still be taken for something else
    assert score("semantic", dataset, {0: {"semantic": found}}, {7}).figures() == {
        "miou": 50.0, "pixel_accuracy": 50.0}  # fmt: skip
    with pytest.raises(ValueError, match="knows none of the classes"):
        build("semantic", dataset, {99})


def test_what_is_missing_is_told_in_one_line():
    dataset, found = stripes(0)
    for task in ("panoptic", "semantic"):
        with pytest.raises(ValueError, match=f"0.png: no {task} prediction"):
            build(task, dataset).process(dataset.items[0], None, None, {"boxes": []})
        with pytest.raises(ValueError, match=f"bare has no {task} labels"):
            build(task, Dataset("bare", dataset.items))
        bad = {key: value[:, :3] if key != "segments" else value for key, value in found[0].items()}
        with pytest.raises(ValueError, match=f"0.png: {task} map of 3x24 for a picture of 30x24"):
            build(task, dataset).process(dataset.items[0], None, None, bad)


def perturbed(dataset, seed):
    """Predictions from panoptic labels: segments moved, merged, renamed, dropped; new ids; crowds as anything."""
    rng, found = np.random.default_rng(seed), {}
    categories = list(dataset.panoptic.categories)
    for item in dataset.items:
        truth = dataset.panoptic.map(item.id)
        guess, segments = np.zeros(truth.shape, np.int32), []
        for number, row in enumerate(dataset.panoptic.segments(item.id), start=1):
            if rng.random() < 0.1:
                continue
            shift = tuple(rng.integers(-12, 13, 2) * (1 + seed))
            guess[np.roll(truth == row["id"], shift, (0, 1))] = number * 77
            category = row["category_id"] if rng.random() < 0.9 else int(rng.choice(categories))
            segments.append({"id": number * 77, "category_id": category, "isthing": True})
        guess[:, : seed * 20] = 0
        there = set(np.unique(guess).tolist())
        found[item.id] = {"panoptic": guess, "segments": [row for row in segments if row["id"] in there]}
    return found


@pytest.fixture(scope="module")
def real(shared):
    """(coco128 val's panoptic labels, their folder), maps read once."""
    from eval.datasets import DATASETS

    folder = shared / "data" / "coco128"
    dataset = DATASETS["coco"](folder / "images" / "val", folder / "annotations" / "panoptic_val.json")
    maps = {item.id: dataset.panoptic.map(item.id) for item in dataset.items}
    panoptic = Panoptic(dataset.panoptic.categories, dataset.panoptic.rows, maps.__getitem__)
    return Dataset("val", dataset.items, panoptic=panoptic), folder / "annotations"


PANOPTICAPI = [  # seed -> pq, sq, rq, pq_things, pq_stuff of the predictions `perturbed`
    (37.943546590, 54.907023080, 47.887353689, 33.460184865, 43.833453170),
    (24.185360863, 42.366462883, 32.780998243, 22.382133221, 26.798200916),
    (17.791234248, 35.203811489, 25.404212113, 18.609855144, 16.645164994),
]


@pytest.mark.parametrize("seed", range(3))
def test_real_labels_give_what_panopticapi_gave(real, seed):
    figures = score("panoptic", real[0], perturbed(real[0], seed)).figures()
    assert list(figures.values()) == pytest.approx(PANOPTICAPI[seed], abs=1e-6)
    assert list(figures) == ["pq", "sq", "rq", "pq_things", "pq_stuff"]


@pytest.mark.parametrize("seed", range(3))
def test_panopticapi_itself_gives_them(real, tmp_path, seed):
    reference = pytest.importorskip("panopticapi.evaluation", reason="panopticapi is not installed")
    dataset, folder = real
    found = perturbed(dataset, seed)
    truth = json.loads((folder / "panoptic_val.json").read_text())
    pairs = []
    for row in truth["annotations"]:
        guess = found[row["image_id"]]["panoptic"]
        colours = np.stack([guess % 256, guess // 256 % 256, guess // 65536], -1).astype(np.uint8)
        name = f"{row['image_id']}.png"
        Image.fromarray(colours).save(tmp_path / name)
        pairs.append((row, {"image_id": row["image_id"], "file_name": name,
                            "segments_info": found[row["image_id"]]["segments"]}))  # fmt: skip
    categories = {row["id"]: row for row in truth["categories"]}
    stat = reference.pq_compute_single_core(0, pairs, str(folder / "panoptic_val"), str(tmp_path), categories)
    everything, things, stuff = (stat.pq_average(categories, isthing=part)[0] for part in (None, True, False))
    given = [everything["pq"], everything["sq"], everything["rq"], things["pq"], stuff["pq"]]
    assert [100 * value for value in given] == pytest.approx(PANOPTICAPI[seed], abs=1e-6)
    assert figures_of(dataset, found) == pytest.approx([100 * value for value in given], abs=1e-9)


def figures_of(dataset, found):
    return list(score("panoptic", dataset, found).figures().values())
