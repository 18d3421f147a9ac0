"""AP of scores against pycocotools, to the last digit, and resamples against data sets that really repeat pictures."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest

from eval.datasets import DATASETS
from eval.datasets.base import Dataset, Item
from eval.evaluators import build
from eval.metrics.ap_scores import FIGURES, ApScores
from eval.metrics.scores import join, load

NAMES = {"bbox": list(FIGURES), "segm": list(FIGURES), "keypoints": [n for n in FIGURES if n != "ap_small"]}
KINDS = {"detection": "bbox", "instances": "segm", "keypoints": "keypoints"}
SIZE = 240


def make_coco(dataset):
    from pycocotools.coco import COCO

    truth = COCO()
    truth.dataset = copy.deepcopy(dataset)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def summary(dataset, rows, kind, ids=None):
    """pycocotools' own figures in percent, and its precision table."""
    from pycocotools.cocoeval import COCOeval

    truth = make_coco(dataset)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(rows)), kind)
        if ids is not None:
            evaluation.params.imgIds = ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [100 * value if value >= 0 else None for value in evaluation.stats[: len(NAMES[kind])].tolist()]
    return dict(zip(NAMES[kind], stats, strict=True)), evaluation.eval["precision"]


def wild(seed, pictures=7, classes=4, most=9):
    """Labels and rows with crowds, ties in and between pictures, classes without objects or detections, all sizes."""
    from pycocotools import mask as coder

    rng = np.random.default_rng(seed)
    images = [{"id": int(i), "width": SIZE, "height": SIZE} for i in rng.permutation(50)[:pictures] + 3]
    categories = [{"id": c * 3 + 1, "name": f"class {c}"} for c in range(classes)]
    annotations, rows = [], []

    def shape(box):
        mask = np.zeros((SIZE, SIZE), np.uint8, order="F")
        x, y, w, h = (round(v) for v in box)
        mask[max(y, 0) : y + h, max(x, 0) : x + w] = 1
        mask[y + h // 2 :, x : x + w // 3] = 0
        rle = coder.encode(mask)
        return {"size": rle["size"], "counts": rle["counts"].decode()}

    def points(box, spread):
        x, y, w, h = box
        xy = np.stack([x + w * rng.uniform(0, 1, 17), y + h * rng.uniform(0, 1, 17)], 1)
        return xy if spread is None else spread + rng.normal(0, 0.1 * np.sqrt(w * h), (17, 2))

    for image in images:
        for _ in range(rng.integers(0, most)):
            side = rng.choice([12, 32, 60, 96, 150])
            box = [*rng.integers(0, SIZE - side, 2).tolist(), int(side), int(rng.integers(side // 2, side + 1))]
            category = categories[rng.integers(0, classes - 1)]["id"]  # the last class has no objects
            body = points(box, None).round(2)
            seen = rng.integers(0, 3, 17) * int(rng.random() < 0.8)
            annotations.append({
                "id": len(annotations) + 1, "image_id": image["id"], "category_id": category,
                "iscrowd": int(rng.random() < 0.15), "bbox": box, "area": float(box[2] * box[3] * rng.uniform(0.5, 1)),
                "segmentation": shape(box), "num_keypoints": int((seen > 0).sum()),
                "keypoints": np.column_stack([body, seen]).ravel().tolist(),
            })  # fmt: skip
            for _ in range(rng.integers(0, 4)):
                moved = [float(v) for v in np.array(box) + rng.normal(0, 0.08 * side, 4).round(rng.integers(0, 3))]
                moved[2:] = [max(v, 3.0) for v in moved[2:]]
                off = rng.random() < 0.2
                rows.append({
                    "image_id": image["id"], "category_id": int(rng.choice([1, 4, 7, 10])) if off else category,
                    "bbox": moved, "score": float(rng.integers(1, 9)) / 8, "segmentation": shape(moved),
                    "keypoints": np.column_stack([points(moved, body), np.ones(17)]).ravel().tolist(),
                })  # fmt: skip
    return {"images": images, "categories": categories, "annotations": annotations}, rows


def only(rows, kind):
    """The rows as a file of that kind holds them: pycocotools guesses the kind from the fields."""
    drop = {"bbox": ("segmentation", "keypoints"), "segm": ("bbox", "keypoints"), "keypoints": ("bbox", "segmentation")}
    return [{k: v for k, v in row.items() if k not in drop[kind]} for row in rows]


def score(dataset, rows, task, ids=None) -> ApScores:
    items = tuple(Item(image["id"], "", None) for image in dataset["images"] if ids is None or image["id"] in ids)
    evaluator = build(task, Dataset("wild", items, make_coco(dataset)))
    for item in items:
        evaluator.process(item, None, None, {"rows": [row for row in rows if row["image_id"] == item.id]})
    return evaluator.evaluate()


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_figures_equal_pycocotools(task, seed):
    dataset, rows = wild(seed)
    rows = only(rows, KINDS[task])
    expected, precision = summary(dataset, rows, KINDS[task])
    scores = score(dataset, rows, task)
    assert scores.figures() == expected
    assert expected["ap"] not in (None, 0.0)
    for k, (name, figures) in enumerate(scores.per_class().items()):
        values = precision[:, :, k, 0, -1]
        values = values[values > -1]
        assert figures["ap"] == (100 * values.mean() if values.size else None), name


@pytest.mark.parametrize("task", KINDS)
def test_only_the_best_of_many_detections_count(task):
    """More than 100 (20 for keypoints) detections of a class in a picture, ties at the edge."""
    dataset, rows = wild(11, pictures=3)
    rng = np.random.default_rng(0)
    rows = [{**row, "score": float(rng.integers(0, 40)) / 40} for row in rows * 40]
    rows = only(rows, KINDS[task])
    crowded = {}
    for row in rows:
        key = row["image_id"], row["category_id"]
        crowded[key] = crowded.get(key, 0) + 1
    assert max(crowded.values()) > 150
    assert score(dataset, rows, task).figures() == summary(dataset, rows, KINDS[task])[0]


def test_annotations_numbered_from_zero_and_some_pictures_only():
    dataset, rows = wild(3)
    for annotation in dataset["annotations"]:
        annotation["id"] -= 1
    ids = sorted(image["id"] for image in dataset["images"])[1:5]
    rows = only([row for row in rows if row["image_id"] in ids], "bbox")
    assert score(dataset, rows, "detection", ids).figures() == summary(dataset, rows, "bbox", ids)[0]


def repeated(dataset, rows, counts):
    """The data set with each picture really there `counts` times, copies right behind one another, under new ids."""
    images, annotations, more = [], [], []
    for image in dataset["images"]:
        for number in range(counts[image["id"]]):
            new = image["id"] * 100 + number
            images.append({**image, "id": new})
            for annotation in dataset["annotations"]:
                if annotation["image_id"] == image["id"]:
                    annotations.append({**annotation, "image_id": new, "id": len(annotations) + 1})
            more += [{**row, "image_id": new} for row in rows if row["image_id"] == image["id"]]
    return {**dataset, "images": images, "annotations": annotations}, more


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_counts_equal_really_repeated_pictures(task, seed):
    dataset, rows = wild(20 + seed)
    rows = only(rows, KINDS[task])
    scores = score(dataset, rows, task)
    rng = np.random.default_rng(seed)
    draws = [np.full(len(scores.picture_ids), 2), rng.multinomial(7, np.full(7, 1 / 7)), rng.integers(0, 5, 7)]
    fast = scores.resample(np.array(draws))
    for number, counts in enumerate(draws):
        twice, more = repeated(dataset, rows, dict(zip(scores.picture_ids.tolist(), counts.tolist(), strict=True)))
        expected = summary(twice, more, KINDS[task])[0]
        assert scores.figures(counts) == expected
        for name, value in expected.items():
            assert fast[name][number] == pytest.approx(np.nan if value is None else value, abs=1e-10, nan_ok=True)


def test_resamples_without_objects_have_no_figure():
    dataset, rows = wild(1)
    scores = score(dataset, only(rows, "bbox"), "detection")
    empty = np.zeros((2, len(scores.picture_ids)), int)
    assert all(np.isnan(values).all() for values in scores.resample(empty).values())
    assert set(scores.figures(empty[0]).values()) == {None}
    with pytest.raises(ValueError, match="one a picture"):
        scores.figures(empty)


def test_scores_survive_files_and_shards(tmp_path):
    dataset, rows = wild(4)
    rows = only(rows, "segm")
    whole = score(dataset, rows, "instances")
    whole.save(tmp_path / "m.instances.npz")
    again = load(tmp_path / "m.instances.npz")
    assert again.arrays.keys() == whole.arrays.keys()
    ids = [image["id"] for image in dataset["images"]]
    parts = join([score(dataset, rows, "instances", ids[:2]), score(dataset, rows, "instances", ids[2:])])
    for other in (again, parts, join([again])):
        assert other.figures() == whole.figures()
        assert other.per_class() == whole.per_class()
        assert other.picture_ids.tolist() == whole.picture_ids.tolist()


def test_predictions_and_their_kept_rows_give_the_same(tmp_path):
    from eval.metrics import coco_results

    dataset, rows = wild(5)
    of = [row for row in rows if row["image_id"] == dataset["images"][0]["id"]]
    boxes = np.array([row["bbox"] for row in of])
    boxes[:, 2:] += boxes[:, :2]
    prediction = {"boxes": boxes, "scores": np.array([row["score"] for row in of]) + 1e-9,
                  "labels": [row["category_id"] for row in of],
                  "keypoints": np.array([row["keypoints"] for row in of]).reshape(len(of), 17, 3)}  # fmt: skip
    item = Item(dataset["images"][0]["id"], "a.png", None)
    kept = coco_results(item.id, prediction)
    assert len(kept[0]["keypoints"]) == 51
    for task in ("detection", "keypoints"):
        evaluator = build(task, Dataset("wild", (item,), make_coco(dataset)))
        figures = []
        for given in (prediction, {"rows": kept}):
            evaluator.reset()
            evaluator.process(item, None, None, given)
            figures.append(evaluator.evaluate().figures())
        assert figures[0] == figures[1]
    with pytest.raises(ValueError, match="the model predicts no masks"):
        build("instances", Dataset("wild", (item,), make_coco(dataset))).process(item, None, None, prediction)
    with pytest.raises(ValueError, match="no prediction"):
        evaluator.process(item, None, None, None)
    with pytest.raises(ValueError, match="no labels of objects"):
        build("detection", Dataset("bare", (item,)))


def perturbed(truth, ids, seed, masks=False):
    """Predictions of every kind of error, made from the labels."""
    from pycocotools import mask as coder

    rng, rows = np.random.default_rng(seed), []
    categories = truth.getCatIds()
    for picture in ids:
        for label in truth.imgToAnns[picture]:
            for _ in range(rng.poisson(1.2)):
                x, y, w, h = label["bbox"]
                dx, dy, dw, dh = rng.normal(0, 0.06, 4)
                row = {"image_id": picture, "category_id": label["category_id"] if rng.random() < 0.9 else
                       int(rng.choice(categories)), "score": round(float(rng.beta(2, 2)), 2),
                       "bbox": [round(v, 3) for v in (x + dx * w, y + dy * h, w * (1 + dw), h * (1 + dh))]}  # fmt: skip
                if masks:
                    mask = np.roll(truth.annToMask(label), (round(dy * h), round(dx * w)), (0, 1))
                    row["segmentation"] = coder.encode(np.asfortranarray(mask))
                    row["segmentation"]["counts"] = row["segmentation"]["counts"].decode()
                    del row["bbox"]
                rows.append(row)
    return rows


@pytest.mark.parametrize("task", ["detection", "instances"])
def test_real_labels_equal_pycocotools(shared, task):
    folder = shared / "data" / "coco128"
    dataset = DATASETS["coco"](folder / "images" / "val", folder / "annotations" / "instances_val.json")
    rows = perturbed(dataset.truth, [item.id for item in dataset.items], 0, masks=task == "instances")
    scores = score(dataset.truth.dataset, rows, task)
    expected = summary(dataset.truth.dataset, rows, KINDS[task])[0]
    assert scores.figures() == expected
    assert 20 < expected["ap"] < 90
    rng = np.random.default_rng(0)
    counts = rng.multinomial(64, np.full(64, 1 / 64), 1000)
    fast = scores.resample(counts)
    for number in (0, 500, 999):
        for name, value in scores.figures(counts[number]).items():
            assert fast[name][number] == pytest.approx(value, abs=1e-10)
