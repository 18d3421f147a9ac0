"""Data sets refuse what they cannot read in one line; records survive both formats."""

from __future__ import annotations

import json

import pytest

from eval.datasets import DATASETS
from eval.records import Record, append_jsonl, csv_text, from_dict, read_csv, read_jsonl
from tests.eval.tiny import tiny_dataset, tiny_files

RECORD = Record("x265", 37.0, "val", "detection", "m", 64, 1000, 2500, 20.0, ap=21.5, ap50=38.25,
                psnr_db=30.1, ap_per_class={"person": 10.125, "cat, big": None},
                ms_ssim=0.5, encode_s=1.5, versions={"av": "18"})  # fmt: skip


def test_coco_items(tmp_path):
    dataset = tiny_dataset(tmp_path)
    assert [(i.id, i.file_name, i.width, i.height) for i in dataset.items] == [
        (10, "picture0.png", 64, 48), (11, "picture1.png", 64, 48)]  # fmt: skip
    assert all(item.path.is_file() for item in dataset.items)
    assert dataset.categories == {1: "square", 2: "disc", 3: "never"}
    assert dataset.truth.annToMask(dataset.truth.loadAnns([1])[0]).sum() == 256
    assert len(dataset.take(1)) == 1


def test_coco_refusals(tmp_path):
    images, annotations = tiny_files(tmp_path)
    read = json.loads(annotations.read_text())
    bad = tmp_path / "bad.json"
    for text, match in [
        ("{", "is not JSON"),
        ("[1]", "no list 'images'"),
        (json.dumps({**read, "images": [{"id": 1}]}), "lacks one of"),
        (json.dumps({**read, "images": [{**read["images"][0], "file_name": "../../etc/passwd"}]}), "leaves its folder"),
        (json.dumps({**read, "images": [{**read["images"][0], "file_name": "none.png"}]}), "1 of 1 pictures"),
        (json.dumps({**read, "images": []}), "lists no pictures"),
    ]:
        bad.write_text(text)
        with pytest.raises(ValueError, match=match) as caught:
            DATASETS["coco"](images, bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no such folder"):
        DATASETS["coco"](tmp_path / "none", annotations)
    with pytest.raises(ValueError, match="--annotations"):
        DATASETS["coco"](images, None)


def test_folder(tmp_path):
    images, annotations = tiny_files(tmp_path)
    (images / "notes.txt").write_text("no picture")
    assert [item.file_name for item in DATASETS["folder"](images, None).items] == ["picture0.png", "picture1.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        DATASETS["folder"](tmp_path / "empty", None)
    with pytest.raises(ValueError, match="no annotations"):
        DATASETS["folder"](images, annotations)


def test_the_shared_validation_set(shared):
    folder = shared / "data" / "coco128"
    dataset = DATASETS["coco"](folder / "images" / "val", folder / "annotations" / "instances_val.json")
    assert len(dataset) == 64
    assert len(dataset.categories) == 80


def test_jsonl_round_trip(tmp_path):
    path = tmp_path / "records.jsonl"
    append_jsonl(path, [RECORD])
    append_jsonl(path, [Record("jpeg", 5.0, "val", "fidelity", "", 1, 1, 1, 8.0)])
    records = read_jsonl(path)
    assert records[0] == RECORD
    assert records[1].ap is None


def test_a_killed_run_leaves_readable_records(tmp_path):
    path = tmp_path / "records.jsonl"
    append_jsonl(path, [RECORD])
    with open(path, "a") as file:
        file.write('{"codec": "x2')
    assert read_jsonl(path) == [RECORD]
    append_jsonl(path, [RECORD])
    assert read_jsonl(path) == [RECORD, RECORD]


def test_csv_round_trip(tmp_path):
    path = tmp_path / "records.csv"
    path.write_text(csv_text([RECORD, RECORD]))
    assert read_csv(path) == [RECORD, RECORD]


def test_unknown_fields_are_errors(tmp_path):
    values = {"codec": "x265", "quality": 37.0, "dataset": "val", "task": "detection", "model": "m", "pictures": 1,
              "pixels_total": 1, "bytes_total": 1, "rate_bpp": 8.0}  # fmt: skip
    assert from_dict(values).quality == 37
    with pytest.raises(ValueError, match="unknown field 'bpp'"):
        from_dict({**values, "bpp": 1.0})
    with pytest.raises(ValueError, match="pictures cannot be"):
        from_dict({**values, "pictures": "many"})
    with pytest.raises(ValueError, match="rate_bpp"):
        from_dict({key: value for key, value in values.items() if key != "rate_bpp"})
    for path, text in [("r.jsonl", json.dumps({**values, "bpp": 1}) + "\n"), ("r.csv", "codec,bpp\nx265,1\n")]:
        (tmp_path / path).write_text(text)
        with pytest.raises(ValueError, match=r"line \d.*bpp"):
            (read_jsonl if path.endswith("l") else read_csv)(tmp_path / path)
    with pytest.raises(ValueError, match="psnr_db cannot be"):
        from_dict({**values, "psnr_db": float("inf")})
