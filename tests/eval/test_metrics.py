"""Metrics against independent values: pycocotools' own summary, pytorch-msssim, arithmetic by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval.metrics import average_precision, bd_rate, coco_results, ms_ssim, psnr_db
from eval.metrics.ms_ssim import scales
from tests.eval.tiny import tiny_dataset


def test_psnr_by_hand():
    a = np.full((5, 7, 3), 100, np.uint8)
    assert psnr_db(a, a + 5) == pytest.approx(10 * math.log10(255**2 / 25))
    assert psnr_db(a, a) == 100.0
    with pytest.raises(ValueError, match="shapes"):
        psnr_db(a, a[1:])


@pytest.mark.parametrize("size", [(161, 161), (200, 333), (256, 161)])
def test_ms_ssim_equals_pytorch_msssim(size):
    import torch
    from pytorch_msssim import ms_ssim as reference

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    x_hat = np.clip(x + rng.normal(0, 40, x.shape), 0, 255).astype(np.uint8)
    tensors = [torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (x, x_hat)]
    expected = float(reference(*tensors, data_range=255))
    assert ms_ssim(x, x_hat) == pytest.approx(expected, abs=1e-5)


SMALL = {(1, 1): (1, 1), (4, 90): (1, 3), (11, 11): (1, 11), (20, 20): (1, 11), (21, 21): (2, 11), (160, 400): (4, 11),
         (161, 161): (5, 11)}  # fmt: skip


@pytest.mark.parametrize(("size", "expected"), SMALL.items())
def test_ms_ssim_of_small_pictures(size, expected):
    assert scales(*size) == expected
    rng = np.random.default_rng(0)
    x = rng.integers(60, 200, (*size, 3)).astype(np.uint8)
    slightly, badly = (np.clip(x + rng.normal(0, s, x.shape), 0, 255).astype(np.uint8) for s in (2, 60))
    assert ms_ssim(x, x) == pytest.approx(1.0, abs=1e-5)
    assert 0 <= ms_ssim(x, badly) < ms_ssim(x, slightly) <= 1.00001


def predictions(dataset, shift: float, drop: int = 0):
    """The labels themselves, moved by `shift` pixels, the first `drop` left out; scores fall from one to the next."""
    rows = []
    for item in dataset.items:
        labels = dataset.truth.loadAnns(dataset.truth.getAnnIds(item.id))[drop:]
        boxes = [[b[0] + shift, b[1], b[0] + b[2] + shift, b[1] + b[3]] for b in (label["bbox"] for label in labels)]
        masks = [np.roll(dataset.truth.annToMask(label), round(shift), axis=1).astype(bool) for label in labels]
        scores, ids = [0.9 - 0.1 * i for i in range(len(labels))], [label["category_id"] for label in labels]
        rows += coco_results(item.id, {"boxes": boxes, "scores": scores, "labels": ids, "masks": masks})
    return rows


def test_perfect_predictions_have_ap_100(tmp_path):
    dataset = tiny_dataset(tmp_path)
    ids = [item.id for item in dataset.items]
    for task in ("detection", "instances"):
        found = average_precision(dataset.truth, predictions(dataset, 0), task, ids)
        assert (found.ap, found.ap50) == (pytest.approx(100), pytest.approx(100))
        assert found.per_class == {"square": pytest.approx(100), "disc": pytest.approx(100), "never": None}


def test_ap_by_hand(tmp_path):
    """Every box moved by 2 of its 16 pixels: IoU 14/18 = .778 passes 6 of the 10 thresholds."""
    dataset = tiny_dataset(tmp_path)
    ids = [item.id for item in dataset.items]
    found = average_precision(dataset.truth, predictions(dataset, 2.0), "detection", ids)
    assert found.ap50 == pytest.approx(100)
    assert found.ap == pytest.approx(60)
    # one of the two classes never found: half
    assert average_precision(dataset.truth, predictions(dataset, 0, drop=1), "detection", ids).ap == pytest.approx(50)


def test_ap_counts_only_the_pictures_asked_for(tmp_path):
    dataset = tiny_dataset(tmp_path)
    rows = [row for row in predictions(dataset, 0) if row["image_id"] == dataset.items[0].id]
    assert average_precision(dataset.truth, rows, "detection", [dataset.items[0].id]).ap == pytest.approx(100)
    assert average_precision(dataset.truth, rows, "detection", [i.id for i in dataset.items]).ap < 60


def test_nothing_found_is_zero(tmp_path):
    dataset = tiny_dataset(tmp_path)
    found = average_precision(dataset.truth, [], "instances", [item.id for item in dataset.items])
    assert (found.ap, found.ap50, found.per_class["square"]) == (0, 0, 0)


def test_nothing_to_find_is_no_figure(tmp_path):
    """Pictures without any object: pycocotools says -1, and an AP of 0 would be a lie about the model."""
    dataset = tiny_dataset(tmp_path)
    ids = [item.id for item in dataset.items]
    rows = predictions(dataset, 0)
    dataset.truth.dataset["annotations"] = []
    dataset.truth.createIndex()
    found = average_precision(dataset.truth, rows, "detection", ids)
    assert (found.ap, found.ap50, set(found.per_class.values())) == (None, None, {None})


def test_masks_are_needed_for_instances(tmp_path):
    dataset = tiny_dataset(tmp_path)
    rows = [{k: v for k, v in row.items() if k != "segmentation"} for row in predictions(dataset, 0)]
    with pytest.raises(ValueError, match="no masks"):
        average_precision(dataset.truth, rows, "instances", [dataset.items[0].id])
    with pytest.raises(ValueError, match="choose one of detection, instances"):
        average_precision(dataset.truth, rows, "pose", [1])


def test_bd_rate_of_a_scaled_curve():
    anchor = [(0.1, 20.0), (0.2, 25.0), (0.4, 29.0), (0.8, 32.0)]
    for factor in (0.5, 0.9, 1.25):
        bd = bd_rate(anchor, [(rate * factor, quality) for rate, quality in anchor])
        assert bd.percent == pytest.approx(100 * (factor - 1))
    assert str(bd_rate(anchor, anchor)) == "+0.0 %"


@pytest.mark.parametrize(("curve", "reason"), [
    ([(0.1, 20.0), (0.2, 21.0), (0.4, 21.0), (0.8, 32.0)], "the codec is not monotone: no gain from 0.2 to 0.4 bpp"),
    ([(0.1, 40.0), (0.2, 41.0), (0.4, 42.0), (0.8, 43.0)], "do not overlap"),
    ([(0.1, 20.0), (0.2, 25.0)], "2 rates"),
    ([(0.1, 20.0), (0.1, 22.0), (0.2, 25.0), (0.4, 26.0)], "two points at one rate"),
])  # fmt: skip
def test_bd_rate_says_why_not(curve, reason):
    bd = bd_rate([(0.1, 20.0), (0.2, 25.0), (0.4, 29.0), (0.8, 32.0)], curve)
    assert bd.percent is None
    assert reason in str(bd)
    assert str(bd).startswith("n/a")
