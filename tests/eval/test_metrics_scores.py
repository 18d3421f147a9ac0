"""Scores: files of them, joining, counts; fidelity as the simplest of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from eval.datasets.base import Dataset
from eval.evaluators import build
from eval.metrics.fidelity import FidelityScores
from eval.metrics.scores import KINDS, PRIMARY, check_counts, join, load
from eval.records import Record, csv_text, from_dict, read_csv, to_json
from tests.eval.tiny import tiny_dataset


def some(ids=(3, 1, 7), seed=0) -> FidelityScores:
    rng = np.random.default_rng(seed)
    return FidelityScores(ids, rng.uniform(20, 40, len(ids)), rng.uniform(0.5, 1, len(ids)))


def test_fidelity_of_resamples():
    scores = some()
    psnr = scores.values["psnr_db"]
    assert scores.figures() == {"psnr_db": float(np.mean(psnr)), "ms_ssim": float(np.mean(scores.values["ms_ssim"]))}
    assert scores.figures(np.array([2, 0, 1]))["psnr_db"] == pytest.approx((2 * psnr[0] + psnr[2]) / 3, rel=1e-14)
    assert scores.figures(np.zeros(3, int)) == {"psnr_db": None, "ms_ssim": None}
    found = scores.resample(np.array([[1, 1, 1], [0, 0, 4], [0, 0, 0]]), ["psnr_db"])
    assert list(found) == ["psnr_db"]
    np.testing.assert_allclose(found["psnr_db"], [psnr.mean(), psnr[2], np.nan], rtol=1e-14)


def test_scores_survive_their_file(tmp_path):
    scores = some()
    scores.save(tmp_path / "deep" / "none.fidelity.npz")
    with np.load(tmp_path / "deep" / "none.fidelity.npz") as file:
        assert sorted(file.files) == ["about", "ms_ssim", "picture_ids", "psnr_db"]
    again = load(tmp_path / "deep" / "none.fidelity.npz")
    assert type(again) is FidelityScores
    assert again.figures() == scores.figures()
    assert again.picture_ids.tolist() == [3, 1, 7]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["none.fidelity.npz"]


def test_files_that_hold_no_scores_are_refused_in_one_line(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "future.npz", about=np.array(json.dumps({"kind": "fidelity", "version": 99})))
    np.savez(tmp_path / "kind.npz", about=np.array(json.dumps({"kind": "smell", "version": 1})))
    (tmp_path / "empty.npz").touch()
    some().save(tmp_path / "cut.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-30])
    for name in ("text", "other", "future", "kind", "empty", "cut"):
        with pytest.raises(ValueError, match=f"{name}.npz: is no file of scores") as caught:
            load(tmp_path / f"{name}.npz")
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz")


def test_damaged_files_are_refused_or_whole(tmp_path):
    path, scores = tmp_path / "a.npz", some()
    scores.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            assert load(path).figures() == scores.figures()  # a bit that says nothing, as of a time
        except ValueError as error:
            assert "is no file of scores" in str(error)


def test_parts_join_to_the_whole():
    whole = join([some((1, 2), 1), some((5,), 2)])
    assert whole.picture_ids.tolist() == [1, 2, 5]
    assert whole.figures()["psnr_db"] == pytest.approx(
        np.mean([*some((1, 2), 1).values["psnr_db"], *some((5,), 2).values["psnr_db"]]))  # fmt: skip
    with pytest.raises(ValueError, match="pictures in common"):
        join([some(), some()])
    with pytest.raises(ValueError, match="at least one"):
        join([])


@pytest.mark.parametrize("counts", [[1, 2], [1, -1, 0], [0.5, 1, 1], [[[1, 1, 1]]]])
def test_counts_that_do_not_fit(counts):
    with pytest.raises(ValueError, match="whole numbers from 0"):
        check_counts(np.array(counts), 3)


def test_every_task_has_a_primary_figure_and_an_importable_kind():
    import importlib

    assert set(PRIMARY) == {"detection", "instances", "keypoints", "panoptic", "semantic", "tracking", "fidelity"}
    for module, name in KINDS.values():
        assert callable(getattr(importlib.import_module(module), name).restore)


def test_the_fidelity_evaluator_takes_pictures_in_any_order(tmp_path):
    dataset = tiny_dataset(tmp_path)
    pictures = {item.id: np.asarray(Image.open(item.path)) for item in dataset.items}
    evaluator = build("fidelity", dataset)
    for item in reversed(dataset.items):
        evaluator.process(item, pictures[item.id], 255 - pictures[item.id], None)
    scores = evaluator.evaluate()
    assert scores.picture_ids.tolist() == [10, 11]
    assert scores.figures()["psnr_db"] < 20
    with pytest.raises(ValueError, match="decoded as 64x47, was 64x48"):
        evaluator.process(dataset.items[0], pictures[10], pictures[10][:-1], None)
    evaluator.reset()
    with pytest.raises(ValueError, match="no pictures"):
        evaluator.evaluate()


def test_unknown_tasks_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"pose: no such task; known: .*fidelity"):
        build("pose", Dataset("nothing", ()))


OLD = {"codec": "x265", "quality": 37.0, "dataset": "val", "task": "detection", "model": "m", "pictures": 1,
       "pixels_total": 1, "bytes_total": 1, "rate_bpp": 8.0, "ap_per_class": {"person": 1.5}}  # fmt: skip


def test_records_written_before_the_new_fields_still_load(tmp_path):
    record = from_dict(OLD)
    assert (record.metrics, record.per_class, record.per_sequence, record.overlapped) == ({}, {}, {}, False)
    (tmp_path / "old.csv").write_text("codec,quality,dataset,task,model,pictures,pixels_total,bytes_total,rate_bpp\n"
                                      "x265,37,val,detection,m,1,1,1,8\n")  # fmt: skip
    assert read_csv(tmp_path / "old.csv")[0].metrics == {}


def test_records_hold_every_figure(tmp_path):
    record = Record(**OLD, metrics={"ap": 1.0, "ap_small": None}, per_class={"a, b": 2.0, "c": None},
                    overlapped=True, per_sequence={"clip": {"hota": 3.5, "rate_bpp": 0.1, "idf1": None}},
                    protocol="pseudo-labels")  # fmt: skip
    assert from_dict(json.loads(to_json(record))) == record
    (tmp_path / "r.csv").write_text(csv_text([record, from_dict(OLD)]))
    assert read_csv(tmp_path / "r.csv") == [record, from_dict(OLD)]
    for wrong in ({"protocol": "melted"}, {"overlapped": "yes"}, {"per_sequence": {"c": 1.0}}, {"metrics": {"a": "b"}}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            from_dict({**OLD, **wrong})
