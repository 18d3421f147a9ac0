"""Tracks: MOTA, IDF1 and HOTA of cases worked out on paper, and of resampled sequences."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from eval.datasets.base import Dataset, Item
from eval.evaluators import build
from eval.metrics.scores import join, load
from eval.metrics.sums import Sums
from eval.metrics.tracking import QUANTITIES, TrackScores, iou
from tests.eval.test_metrics_ap import make_coco

EMPTY = np.zeros((0, 4))


def boxes(*lefts, top=0.0):
    return np.array([[left, top, 10.0, 10.0] for left in lefts])


def test_overlaps():
    assert iou(boxes(0), boxes(5)).tolist() == [[pytest.approx(1 / 3)]]
    assert iou(boxes(0), boxes(5), crowd=True).tolist() == [[0.5]]
    assert iou(boxes(0, 1), EMPTY).shape == (2, 0)


def clip(frames, name="a", first=0, crowds=(), category=1):
    """(items, annotations): frames of {track id: left of a 10x10 box}."""
    items, rows = [], []
    for number, objects in enumerate(frames):
        items.append(Item(first + number, f"{name}/{number}", None, 300, 100, name, number))
        for track, left in objects.items():
            rows.append({"image_id": items[-1].id, "category_id": category, "bbox": [left, 0, 10, 10],
                         "area": 100, "iscrowd": 0, "track_id": track})  # fmt: skip
        rows += [{"image_id": items[-1].id, "category_id": category, "bbox": list(box), "area": 1, "iscrowd": 1}
                 for box in crowds]  # fmt: skip
    return items, rows


def data_set(*clips):
    items = tuple(item for part, _ in clips for item in part)
    rows = [{**row, "id": i} for i, row in enumerate((row for _, part in clips for row in part), start=1)]
    categories = [{"id": 1, "name": "person"}, {"id": 5, "name": "car"}]
    images = [{"id": item.id, "width": 300, "height": 100} for item in items]
    return Dataset("clips", items, make_coco({"images": images, "categories": categories, "annotations": rows}))


def tracked(frames):
    """A prediction a frame, of {track id: left}."""
    return [{"rows": [{"category_id": 1, "bbox": [left, 0, 10, 10], "score": 0.9, "track_id": track}
                      for track, left in objects.items()]} for objects in frames]  # fmt: skip


def score(dataset, predictions):
    evaluator = build("tracking", dataset)
    for item, prediction in zip(dataset.items, predictions, strict=True):
        evaluator.process(item, None, None, prediction)
    return evaluator.evaluate()


@pytest.fixture
def trackeval():
    return pytest.importorskip("trackeval.metrics", reason="TrackEval is not installed")


STILL = [{7: 20.0}] * 10
CASES = [  # labels, tracks, mota, idf1, hota; worked out by hand
    (STILL, STILL, 100, 100, 100),
    (STILL, [{1: 20.0}] * 5 + [{2: 20.0}] * 5, 90, 50, 100 * 0.5**0.5),  # a switch: association 5 / 10
    (STILL, [{1: 20.0}] * 5 + [{}] * 5, 50, 100 * 5 / 7.5, 50),  # DetA 5/10, association 5/10
    (STILL, [{1: 20.0, 2: 200.0}] * 10, 0, 100 * 10 / 15, 100 * 0.5**0.5),  # as many false alarms as objects
    (STILL, [{}] * 10, 0, 0, 0),
    (STILL, [{1: 22.5}] * 10, 100, 100, 100 * 12 / 19),  # IoU .6: 12 of the 19 thresholds from .05 to .95
]  # fmt: skip


@pytest.mark.parametrize(("labels", "tracks", "mota", "idf1", "hota"), CASES)
def test_figures_by_hand(trackeval, labels, tracks, mota, idf1, hota):
    figures = score(data_set(clip(labels)), tracked(tracks)).figures()
    assert figures == {"mota": pytest.approx(mota), "idf1": pytest.approx(idf1), "hota": pytest.approx(hota)}


def test_crowds_forgive(trackeval):
    labels = clip(STILL, crowds=[(15, 0, 100, 50)])
    lone = [{1: 20.0, 2: 80.0}] * 10  # the second lies in the crowd; the first too, but it is an object found
    assert score(data_set(labels), tracked(lone)).figures()["mota"] == pytest.approx(100)
    outside = [{1: 20.0, 2: 112.0}] * 10  # three tenths of it in the crowd
    assert score(data_set(labels), tracked(outside)).figures()["mota"] == pytest.approx(0)


def test_boxes_are_linked_where_the_model_does_not_track(trackeval):
    moving = [{3: 20.0 + 2 * t, 4: 150.0 - 2 * t} for t in range(20)]
    dataset = data_set(clip(moving))
    plain = [{"boxes": [[left, 0, left + 10, 10] for left in objects.values()], "scores": [0.9, 0.8], "labels": [1, 1]}
             for objects in moving]  # fmt: skip
    assert score(dataset, plain).figures() == dict.fromkeys(("mota", "idf1", "hota"), pytest.approx(100))
    swapped = [{**p, "track_ids": [t % 2, 1 - t % 2]} for t, p in enumerate(plain)]
    assert score(dataset, swapped).figures()["idf1"] == pytest.approx(50)


def wander(seed, name, first):
    """(clip, predictions) of objects that come and go, found with gaps, jitter and switches."""
    rng = np.random.default_rng(seed)
    frames, found = [], []
    for t in range(12):
        objects = {k: 30.0 * k + t for k in range(4) if rng.random() < 0.8}
        frames.append(objects)
        found.append({k + 10 * (t > 6 and k == 2): left + rng.normal(0, 2) for k, left in objects.items()
                      if rng.random() < 0.8} | ({40: 250.0} if rng.random() < 0.2 else {}))  # fmt: skip
    return clip(frames, name, first), tracked(found)


def test_sequences_are_combined_as_trackeval_does(trackeval, tmp_path):
    parts = [wander(seed, name, 100 * seed) for seed, name in enumerate("abc")]
    dataset = data_set(*(labels for labels, _ in parts))
    scores = score(dataset, [p for _, found in parts for p in found])
    assert scores.sequences == ["a", "b", "c"]
    assert scores.picture_ids.tolist() == [0, 100, 200]
    assert scores.per_class()["car"] == {"mota": None, "idf1": None, "hota": None}
    assert scores.per_class()["person"] == scores.figures()
    alone = [score(data_set(labels), found).figures() for labels, found in parts]
    for sequence, figures in zip("abc", alone, strict=True):
        assert scores.per_sequence()[sequence] == pytest.approx(figures)
    # the package's own rule of combining, on what was kept of each sequence
    wide = 4 * 19
    kept = scores.sums.values
    hota, clear, identity = trackeval.HOTA(), trackeval.CLEAR({"PRINT_CONFIG": False}), trackeval.Identity(
        {"PRINT_CONFIG": False})  # fmt: skip
    counts = np.array([2, 0, 1])
    rows = [row for row, count in zip(kept, counts, strict=True) for _ in range(count)]
    of_hota, of_clear, of_id = {}, {}, {}
    for place, row in enumerate(rows):
        tp, fn, fp, together = row[:wide].reshape(4, 19)
        nothing = np.zeros(19)
        of_hota[place] = {"HOTA_TP": tp, "HOTA_FN": fn, "HOTA_FP": fp, "AssA": together / np.maximum(1, tp),
                          "AssRe": nothing, "AssPr": nothing, "LocA": nothing}  # fmt: skip
        of_clear[place] = {**dict.fromkeys(clear.summed_fields, 0), "CLR_TP": row[wide], "CLR_FN": row[wide + 1],
                           "CLR_FP": row[wide + 2], "IDSW": row[wide + 3]}  # fmt: skip
        of_id[place] = {"IDTP": row[wide + 4], "IDFN": row[wide + 5], "IDFP": row[wide + 6]}
    expected = {"mota": 100 * clear.combine_sequences(of_clear)["MOTA"],
                "idf1": 100 * identity.combine_sequences(of_id)["IDF1"],
                "hota": 100 * hota.combine_sequences(of_hota)["HOTA"].mean()}  # fmt: skip
    assert scores.figures(counts) == pytest.approx(expected)
    assert 0 < expected["hota"] < 100
    scores.save(tmp_path / "m.tracking.npz")
    shards = [score(data_set(labels), found) for labels, found in parts]
    for again in (load(tmp_path / "m.tracking.npz"), join(shards)):
        assert (again.figures(counts), again.sequences) == (scores.figures(counts), scores.sequences)


def test_frames_out_of_order_and_incomplete_sequences(trackeval):
    dataset = data_set(clip(STILL))
    evaluator = build("tracking", dataset)
    with pytest.raises(ValueError, match="a/1: not the next frame of sequence a"):
        evaluator.process(dataset.items[1], None, None, {"rows": []})
    with pytest.raises(ValueError, match="a/0: no prediction"):
        evaluator.process(dataset.items[0], None, None, None)
    evaluator.process(dataset.items[0], None, None, {"rows": []})
    with pytest.raises(ValueError, match="sequence a is not complete"):
        evaluator.evaluate()


def test_resampled_sums_need_no_package():
    """Files of scores can be read, and their intervals drawn, where TrackEval is not."""
    values = np.zeros((1, QUANTITIES))
    values[0, :19], values[0, 57:76], values[0, 76], values[0, 80] = 10, 5, 10, 10
    scores = TrackScores([4], ["a"], ["person"], Sums(1, 1, np.array([0]), np.array([0]), values))
    assert scores.figures() == {"mota": 100.0, "idf1": 100.0, "hota": pytest.approx(100 * 0.5**0.5)}


def test_without_the_package_one_line_says_how_to_install_it(monkeypatch):
    for module in ("trackeval", "trackeval.metrics"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match="pip install --no-deps trackeval") as caught:
        build("tracking", data_set(clip(STILL)))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no sequences with labelled tracks"):
        build("tracking", Dataset("stills", (Item(1, "1.png", None),)))
