"""What `eval.scenes.write` leaves on disk, read back with pycocotools."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from eval import scenes
from eval.scenes.coco import panoptic_segments, rle

COUNT = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    scenes.write(root, count=COUNT, seed=3, split="test")
    return root


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_run_lengths_are_pycocotools_own(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    expected = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    ours = rle(mask)
    assert ours["counts"] == expected["counts"].decode()
    assert ours["size"] == expected["size"]
    assert (coco_mask.decode(ours) == mask).all()


def test_instances_are_those_drawn(folder: Path) -> None:
    coco = COCO(str(folder / "annotations/instances.json"))
    assert len(coco.imgs) == COUNT
    assert {c["name"] for c in coco.cats.values()} == {"person", "bicycle", "car"}
    for picture in scenes.pictures(COUNT, seed=3, split="test"):
        rows = coco.imgToAnns[picture.index + 1]
        assert len(rows) == len(picture.instances)
        for row, o in zip(rows, picture.instances, strict=True):
            assert (coco.annToMask(row).astype(bool) == o.mask).all()
            assert tuple(row["bbox"]) == o.box == tuple(coco_mask.toBbox(row["segmentation"]).astype(int))
            assert (row["area"], row["category_id"], row["track_id"]) == (o.area, o.category_id, o.track_id)
        image = cv2.imread(str(folder / "images" / coco.imgs[picture.index + 1]["file_name"]))[..., ::-1]
        assert (image == picture.image).all()


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_the_truth_itself_scores_full_marks(folder: Path, task: str) -> None:
    coco = COCO(str(folder / "annotations/instances.json"))
    rows = [{**{k: a[k] for k in ("image_id", "category_id", "bbox", "segmentation")}, "score": 0.9}
            for a in coco.anns.values() if not a["iscrowd"]]
    run = COCOeval(coco, coco.loadRes(rows), task)
    run.evaluate()
    run.accumulate()
    run.summarize()
    assert run.stats[0] > 0.999


def test_panoptic_files_agree(folder: Path) -> None:
    panoptic = json.loads((folder / "annotations/panoptic.json").read_text())
    kinds = {c["id"]: c["isthing"] for c in panoptic["categories"]}
    instances = json.loads((folder / "annotations/instances.json").read_text())
    assert [i["file_name"] for i in panoptic["images"]] == sorted(p.name for p in (folder / "images").iterdir())
    for row in panoptic["annotations"]:
        bgr = cv2.imread(str(folder / "annotations" / "panoptic" / row["file_name"])).astype(int)
        ids = bgr[..., 2] + 256 * bgr[..., 1] + 65536 * bgr[..., 0]
        numbers, areas = np.unique(ids, return_counts=True)
        assert dict(zip(numbers.tolist(), areas.tolist(), strict=True)) == {
            s["id"]: s["area"] for s in row["segments_info"]}  # fmt: skip
        boxes = {tuple(s["bbox"]) for s in row["segments_info"] if kinds[s["category_id"]] and not s["iscrowd"]}
        assert boxes == {tuple(a["bbox"]) for a in instances["annotations"]
                         if a["image_id"] == row["image_id"] and not a["iscrowd"]}  # fmt: skip
        for s in row["segments_info"]:
            rows, columns = np.nonzero(ids == s["id"])
            assert s["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


def test_panoptic_labels_keep_coco_s_rules(folder: Path) -> None:
    """Ids once a picture and never void's, stuff at most once and never a crowd, categories with every key."""
    panoptic = json.loads((folder / "annotations/panoptic.json").read_text())
    things = {c["id"]: c["isthing"] for c in panoptic["categories"]}
    assert all({"id", "name", "supercategory", "isthing", "color"} <= set(c) for c in panoptic["categories"])
    images = {i["id"]: i for i in panoptic["images"]}
    assert [a["image_id"] for a in panoptic["annotations"]] == list(images)
    crowds = 0
    for row in panoptic["annotations"]:
        ids = [s["id"] for s in row["segments_info"]]
        assert min(ids) > 0
        assert max(ids) < 2**24
        assert len(set(ids)) == len(ids)
        stuff = [s["category_id"] for s in row["segments_info"] if not things[s["category_id"]]]
        assert stuff
        assert len(set(stuff)) == len(stuff)
        assert all(things[s["category_id"]] for s in row["segments_info"] if s["iscrowd"])
        crowd = [s["category_id"] for s in row["segments_info"] if s["iscrowd"]]
        assert len(set(crowd)) == len(crowd)
        crowds += len(crowd)
        image = images[row["image_id"]]
        assert sum(s["area"] for s in row["segments_info"]) == image["width"] * image["height"]  # no void
    assert crowds  # objects of which too little is seen


def test_ignored_objects_of_a_category_are_one_crowd() -> None:
    picture = scenes.picture(0, seed=3, split="test")
    ours = [replace(o, ignored=o.category_id == 1) for o in picture.instances]
    people = [o for o in ours if o.ignored]
    assert len(people) > 1
    ids, info = panoptic_segments(replace(picture, instances=ours))
    crowd = [s for s in info if s["iscrowd"]]
    assert [(s["category_id"], s["area"]) for s in crowd] == [(1, sum(o.area for o in people))]
    everyone = np.any([o.mask for o in people], axis=0)
    assert (ids[everyone] == crowd[0]["id"]).all()
    assert (ids[~everyone] == picture.segments[~everyone]).all()
    assert sum(s["area"] for s in info) == ids.size


def test_categories_are_coco_s(shared: Path) -> None:
    """Same ids, same kinds and groups, so that a model trained on COCO can be measured here."""
    coco = json.loads((shared / "data/coco128/annotations/panoptic_val.json").read_text())["categories"]
    theirs = {c["id"]: (c["isthing"], c["supercategory"]) for c in coco}
    for c in scenes.CATEGORIES:
        assert theirs[c["id"]] == (c["isthing"], c["supercategory"])


def test_the_semantic_map_follows_from_the_segments() -> None:
    picture = scenes.picture(0, seed=3, split="test")
    assert picture.semantic.dtype == np.int32
    expected = np.vectorize(picture.categories.__getitem__)(picture.segments)
    assert (picture.semantic == expected).all()


def test_a_clip_has_times_and_tracks(tmp_path: Path) -> None:
    paths = scenes.write(tmp_path / "clip", frames=5, seed=1, size=(192, 128), fps=10)
    instances = json.loads(Path(paths["instances"]).read_text())
    assert instances["info"]["fps"] == 10
    assert [(i["frame"], i["time_s"]) for i in instances["images"]] == [(k, k / 10) for k in range(5)]
    tracks: dict[int, list[int]] = {}
    for a in instances["annotations"]:
        tracks.setdefault(a["track_id"], []).append(a["image_id"])
    assert all(len(set(images)) == len(images) for images in tracks.values())  # once a frame
    assert max(len(images) for images in tracks.values()) == 5


def test_requests_that_cannot_be_met(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either count"):
        scenes.write(tmp_path, count=1, frames=1)
    with pytest.raises(ValueError, match="at least one"):
        scenes.write(tmp_path, count=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="choose another place"):
        scenes.write(tmp_path / "file", count=1)
