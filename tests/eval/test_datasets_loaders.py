"""Each loader reads small files of its data set's true layout, and refuses other layouts in one line."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from eval.datasets import DATASETS, VOID, frames, load, split_annotations
from eval.datasets.labels import COCO_CLASSES
from tests.eval.tiny import tiny_files


def refused(match: str, kind: str, *arguments) -> None:
    with pytest.raises((ValueError, OSError), match=match) as caught:
        load(kind, *arguments)
    assert "\n" not in str(caught.value)


def picture(path: Path, width: int, height: int, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), shade, np.uint8)).save(path)
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def boxes(dataset, item_id: int) -> list:
    """(category, x, y, w, h, crowd) of a picture's annotations."""
    rows = dataset.truth.loadAnns(dataset.truth.getAnnIds(imgIds=[item_id]))
    return [(row["category_id"], *(round(v, 3) for v in row["bbox"]), row["iscrowd"]) for row in rows]


# COCO ---------------------------------------------------------------------------------------------------------------


def panoptic_files(folder: Path, ids: dict[int, tuple[int, int]]) -> Path:
    """A panoptic JSON and PNGs: upper half segment 70000 (thing 1), lower half 5 (stuff 9), left column void."""
    images, annotations = [], []
    for number, (height, width) in ids.items():
        rgb = np.zeros((height, width, 3), np.uint8)
        rgb[: height // 2] = (70000 % 256, 70000 // 256 % 256, 70000 // 65536)
        rgb[height // 2 :, :, 0] = 5
        rgb[:, 0] = 0
        (folder / "panoptic").mkdir(exist_ok=True)
        Image.fromarray(rgb).save(folder / "panoptic" / f"{number}.png")
        images.append({"id": number, "file_name": f"picture{number - 10}.png", "width": width, "height": height})
        segments = [{"id": 70000, "category_id": 1, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]},
                    {"id": 5, "category_id": 9, "iscrowd": 1, "area": 1, "bbox": [0, 0, 1, 1]}]  # fmt: skip
        annotations.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    categories = [{"id": 1, "name": "square", "isthing": 1}, {"id": 9, "name": "grass", "isthing": 0}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return text(folder / "panoptic.json", json.dumps(content))


def test_coco_panoptic_and_instances_together(tmp_path):
    images, instances = tiny_files(tmp_path)
    panoptic = panoptic_files(tmp_path, {10: (48, 64), 11: (48, 64)})
    dataset = load("coco", images, f"{instances},{panoptic}")
    assert dataset.tasks == ("detection", "instances", "panoptic", "semantic", "fidelity")
    assert [item.id for item in dataset.items] == [10, 11]
    ids = dataset.panoptic.map(10)
    assert (ids.dtype, ids.shape) == (np.int32, (48, 64))
    assert (ids[3, 5], ids[40, 5], ids[3, 0]) == (70000, 5, 0)
    semantic = dataset.semantic(11)
    assert (semantic[3, 5], semantic[40, 5], semantic[3, 0]) == (1, 9, VOID)
    assert dataset.panoptic.segments(10)[1]["iscrowd"] == 1
    assert dataset.panoptic.categories[9] == {"name": "grass", "isthing": False}
    assert dataset.semantic_categories == {1: "square", 9: "grass"}
    alone = load("coco", images, panoptic)
    assert alone.tasks == ("panoptic", "semantic", "fidelity")
    assert np.array_equal(pickle.loads(pickle.dumps(dataset)).panoptic.map(10), ids)


def test_coco_panoptic_refusals(tmp_path):
    images, instances = tiny_files(tmp_path)
    panoptic = panoptic_files(tmp_path, {10: (48, 64)})
    refused("1 of 2 pictures have no panoptic labels, picture1.png", "coco", images, f"{instances},{panoptic}")
    dataset = load("coco", images, panoptic)
    Image.fromarray(np.full((48, 64, 3), 7, np.uint8)).save(tmp_path / "panoptic" / "10.png")
    with pytest.raises(ValueError, match=r"10\.png: has segment 460551, which its JSON does not list"):
        dataset.panoptic.map(10)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "panoptic" / "10.png")
    with pytest.raises(ValueError, match="is 8x8, and its picture 64x48"):
        dataset.panoptic.map(10)
    (tmp_path / "panoptic" / "10.png").unlink()
    refused("1 of 1 PNGs", "coco", images, panoptic)
    (tmp_path / "panoptic").rmdir()
    refused(r"its PNGs should be in .*panoptic", "coco", images, panoptic)
    refused("is not JSON", "coco", images, text(tmp_path / "x.json", "<html>"))
    refused("second JSON of instances", "coco", images, f"{instances},{instances}")


def test_coco_keypoints_join_their_instances(tmp_path):
    images, instances = tiny_files(tmp_path)
    read = json.loads(instances.read_text())
    persons = [{**row, "keypoints": [5, 6, 2, 0, 0, 0], "num_keypoints": 1} for row in read["annotations"]
               if row["category_id"] == 1]  # fmt: skip
    kind = {"id": 1, "name": "square", "keypoints": ["a", "b"], "skeleton": [[1, 2]]}
    path = text(tmp_path / "keypoints.json", json.dumps({**read, "annotations": persons, "categories": [kind]}))
    assert load("coco", images, path).tasks == ("detection", "instances", "keypoints", "fidelity")
    both = load("coco", images, f"{instances},{path}")
    assert "keypoints" in both.tasks
    assert both.truth.anns[1]["num_keypoints"] == 1
    assert "keypoints" not in both.truth.anns[2]
    assert [number for number, row in both.truth.cats.items() if "keypoints" in row] == [1]
    persons[0]["id"] = 99
    text(path, json.dumps({**read, "annotations": persons, "categories": [kind]}))
    refused("annotation 99 is not in the JSON of instances", "coco", images, f"{instances},{path}")


def test_split_annotations(tmp_path):
    assert split_annotations(None) == []
    assert split_annotations("a.json,b.json") == ["a.json", "b.json"]
    comma = text(tmp_path / "a,b.json", "{}")
    assert split_annotations(comma) == [str(comma)]


def test_coco128_panoptic(shared):
    root = shared / "data" / "coco128"
    dataset = load("coco", root / "images" / "val", f"{root}/annotations/instances_val.json,"
                                                    f"{root}/annotations/panoptic_val.json")  # fmt: skip
    assert len(dataset.panoptic.categories) == 133
    assert dataset.categories == COCO_CLASSES
    item = dataset.items[0]
    ids, segments = dataset.panoptic.map(item.id), dataset.panoptic.segments(item.id)
    areas = dict(zip(*np.unique(ids, return_counts=True), strict=True))
    assert {row["id"]: areas[row["id"]] for row in segments} == {row["id"]: row["area"] for row in segments}


# Cityscapes ---------------------------------------------------------------------------------------------------------


def cityscapes_files(root: Path, train_ids: bool = False) -> Path:
    names = ["frankfurt_000000_000294", "lindau_000001_000019"]
    images, annotations = [], []
    for name in names:
        city = name.split("_")[0]
        picture(root / "leftImg8bit" / "val" / city / f"{name}_leftImg8bit.png", 32, 16)
        ids = np.zeros((16, 32), np.int32)
        ids[8:], ids[2:5, 4:8], ids[2:5, 20:] = 7, 26001, 26  # road, one car, a group of cars
        file = root / "gtFine" / "cityscapes_panoptic_val" / f"{name}_gtFine_panoptic.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(file)
        images.append({"id": name, "width": 32, "height": 16, "file_name": f"{name}_gtFine_leftImg8bit.png"})
        road, car = (0, 13) if train_ids else (7, 26)
        segments = [{"id": 7, "category_id": road, "iscrowd": 0, "area": 256, "bbox": [0, 8, 32, 8]},
                    {"id": 26001, "category_id": car, "iscrowd": 0, "area": 12, "bbox": [4, 2, 4, 3]},
                    {"id": 26, "category_id": car, "iscrowd": 1, "area": 36, "bbox": [20, 2, 12, 3]}]  # fmt: skip
        annotations.append({"image_id": name, "file_name": file.name, "segments_info": segments})
        labels = np.where(ids > 1000, ids // 1000, ids).astype(np.uint8)
        labels[0] = 3  # out of the region of interest
        file = root / "gtFine" / "val" / city / f"{name}_gtFine_labelIds.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(file)
    categories = [{"id": road, "name": "road", "isthing": 0}, {"id": car, "name": "car", "isthing": 1}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return text(root / "gtFine" / "cityscapes_panoptic_val.json", json.dumps(content))


@pytest.mark.parametrize("train_ids", [False, True])
def test_cityscapes(tmp_path, train_ids):
    cityscapes_files(tmp_path, train_ids)
    dataset = load("cityscapes", tmp_path)
    assert [item.file_name for item in dataset.items] == [
        "leftImg8bit/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png",
        "leftImg8bit/val/lindau/lindau_000001_000019_leftImg8bit.png"]  # fmt: skip
    assert dataset.tasks == ("panoptic", "semantic", "fidelity")
    road, car = (0, 13) if train_ids else (7, 26)
    ids, semantic = dataset.panoptic.map(1), dataset.semantic(1)
    assert (ids[3, 5], ids[3, 25], ids[0, 0]) == (26001, 26, 0)
    assert (semantic[10, 0], semantic[3, 5], semantic[3, 25], semantic[0, 0]) == (road, car, car, VOID)
    assert dataset.panoptic.categories[car] == {"name": "car", "isthing": True}


def test_cityscapes_semantic_alone_agrees(tmp_path):
    cityscapes_files(tmp_path)
    panoptic, semantic = load("cityscapes", tmp_path), load("cityscapes", tmp_path, tmp_path / "gtFine" / "val")
    assert semantic.tasks == ("semantic", "fidelity")
    assert len(semantic.semantic_categories) == 19
    for item in panoptic.items:
        assert np.array_equal(panoptic.semantic(item.id), semantic.semantic(item.id))


def test_cityscapes_refusals(tmp_path):
    refused("no such folder", "cityscapes", tmp_path / "none")
    refused("createPanopticImgs", "cityscapes", tmp_path)
    path = cityscapes_files(tmp_path)
    refused("holds no CITY", "cityscapes", tmp_path, tmp_path / "leftImg8bit" / "val")
    next(tmp_path.glob("leftImg8bit/val/lindau/*.png")).unlink()
    refused("1 of 2 pictures .*lindau_000001_000019_leftImg8bit.png first", "cityscapes", tmp_path, path)
    text(path, json.dumps({"images": [], "annotations": []}))
    refused("has no list 'images'", "cityscapes", tmp_path, path)


# VisDrone -----------------------------------------------------------------------------------------------------------


def test_visdrone_det(tmp_path):
    picture(tmp_path / "images" / "0000001_02999_d_0000005.jpg", 100, 60)
    picture(tmp_path / "images" / "0000002_00005_d_0000014.jpg", 100, 60)
    text(tmp_path / "annotations" / "0000001_02999_d_0000005.txt",
         "10,20,30,10,1,4,0,0\n60,0,30,10,0,0,0,0\n5,5,4,4,0,1,1,2,\n90,50,30,30,1,9,0,1\n")  # fmt: skip
    text(tmp_path / "annotations" / "0000002_00005_d_0000014.txt", "")
    dataset = load("visdrone", tmp_path)
    assert len(dataset) == 2
    assert len(dataset.categories) == 10
    found = boxes(dataset, 1)
    assert found[0] == (4, 10, 20, 30, 10, 0)
    assert found[1:11] == [(kind, 60, 0, 30, 10, 1) for kind in range(1, 11)]  # ignored for every class
    assert found[11:] == [(1, 5, 5, 4, 4, 1), (9, 90, 50, 10, 10, 0)]  # not counted; cut at the edge
    assert boxes(dataset, 2) == []
    assert dataset.tasks == ("detection", "fidelity")


def test_visdrone_ignored_regions_are_neither_right_nor_wrong(tmp_path):
    picture(tmp_path / "images" / "a.jpg", 100, 60)
    text(tmp_path / "annotations" / "a.txt", "10,20,30,10,1,4,0,0\n60,0,30,30,0,0,0,0\n")
    dataset = load("visdrone", tmp_path)
    wrong = {"image_id": 1, "category_id": 4, "bbox": [62, 2, 10, 10], "score": 0.99}
    right = {"image_id": 1, "category_id": 4, "bbox": [10, 20, 30, 10], "score": 0.5}
    evaluation = COCOeval(dataset.truth, dataset.truth.loadRes([wrong, right]), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_visdrone_vid(tmp_path):
    for number in (1, 2):
        picture(tmp_path / "sequences" / "uav1_v" / f"{number:07d}.jpg", 64, 48)
    text(tmp_path / "annotations" / "uav1_v.txt",
         "1,7,1,2,10,10,1,4,0,0\n2,7,3,2,10,10,1,4,0,0\n2,0,0,0,9,9,0,11,0,0\n")  # fmt: skip
    dataset = load("visdrone", tmp_path)
    assert dataset.sequences == {"uav1_v": (1, 2)}
    assert "tracking" in dataset.tasks
    assert [dataset.truth.anns[i]["track_id"] for i in (1, 2)] == [7, 7]
    assert len(boxes(dataset, 2)) == 11
    text(tmp_path / "annotations" / "uav1_v.txt", "3,7,1,2,10,10,1,4,0,0\n")
    refused("has frame 3", "visdrone", tmp_path)


def test_visdrone_refusals(tmp_path):
    picture(tmp_path / "images" / "a.jpg", 10, 10)
    refused("annotations: no such folder", "visdrone", tmp_path)
    text(tmp_path / "annotations" / "b.txt", "")
    refused("one a picture", "visdrone", tmp_path)
    label = text(tmp_path / "annotations" / "a.txt", "1,2,3\n")
    refused("line 1 is not VisDrone's left,top", "visdrone", tmp_path)
    text(label, "1,2,3,4,1,12,0,0")
    refused("category 12 is not one of", "visdrone", tmp_path)


# SFU-HW-Objects -----------------------------------------------------------------------------------------------------


def sfu_files(root: Path) -> None:
    """RaceHorses in classes C (raw YUV) and D (PNG), which share their name."""
    for number in range(3):
        text(root / "ClassC" / "Annotations" / "RaceHorses" / f"RaceHorses_{number:03d}.txt",
             "17 0.5 0.5 0.5 0.25\n0 0.0625 0.0625 0.5 0.5\n" if number == 1 else "")  # fmt: skip
    yuv = np.concatenate([np.full(16 * 8 * 3 // 2, 128, np.uint8) for _ in range(3)])
    yuv[192:320] = 235  # the luma of frame 1
    (root / "ClassC" / "RaceHorsesC_16x8_30.yuv").write_bytes(yuv.tobytes())
    text(root / "ClassD" / "Annotations" / "RaceHorses" / "RaceHorses_001.txt", "56 0.5 0.5 1 1\n")
    for number in range(2):
        picture(root / "ClassD" / "RaceHorses_32x16_60" / f"{number:03d}.png", 32, 16, 10 * number)


def test_sfu(tmp_path):
    sfu_files(tmp_path)
    dataset = load("sfu", tmp_path)
    assert dataset.sequences == {"ClassC/RaceHorses": (1, 2, 3), "ClassD/RaceHorses": (4,)}
    assert dataset.rate == {"ClassC/RaceHorses": 30, "ClassD/RaceHorses": 60}
    assert boxes(dataset, 1) == []
    assert boxes(dataset, 2) == [(19, 4, 3, 8, 2, 0), (1, 0, 0, 5, 2.5, 0)]  # horse, person; cut at the edge
    assert boxes(dataset, 4) == [(62, 0, 0, 32, 16, 0)]
    assert dataset.items[3].path.name == "001.png"
    shades = [int(frame.mean()) for frame in frames(dataset.items)]
    assert shades == [130, 255, 130, 10]


def test_sfu_as_compressai_vision_keeps_it(tmp_path):
    name = "BQSquare_416x240_60_val"
    images = []
    for number in range(2):
        picture(tmp_path / name / "images" / f"{name}_{number:03d}.png", 416, 240)
        row = {"file_name": f"{name}_{number:03d}.png", "width": 416, "height": 240, "id": float(number)}
        images.append(row)
    rows = [{"bbox": [215.5, 196.5, 16.5, 30.5], "bbox_mode": 0, "category_id": 56, "class": "chair", "id": 1,
             "image_id": 0.0, "iscrowd": 0, "area": 503.25}]  # fmt: skip
    categories = [{"name": "Person", "id": 0}, {"name": "Chair", "id": 56}]
    text(tmp_path / name / "annotations" / f"{name}.json",
         json.dumps({"images": images, "annotations": rows, "categories": categories}))  # fmt: skip
    dataset = load("sfu", tmp_path)
    assert boxes(dataset, 1) == [(62, 215.5, 196.5, 16.5, 30.5, 0)]
    assert dataset.rate == {name: 60}
    assert dataset.sequences == {name: (1, 2)}


def test_sfu_refusals(tmp_path):
    refused("holds no ClassX", "sfu", tmp_path)
    sfu_files(tmp_path)
    label = tmp_path / "ClassD" / "Annotations" / "RaceHorses" / "RaceHorses_001.txt"
    text(label, "56 0.5 0.5 1\n")
    refused("line 1 is not a line of SFU", "sfu", tmp_path)
    text(label, "56 50 50 10 10\n")
    refused("56 50 50 10 10 is not a line", "sfu", tmp_path)
    text(label, "80 0.5 0.5 1 1\n")
    refused("is not a line", "sfu", tmp_path)
    label.rename(label.with_name("RaceHorses_007.txt"))
    refused("holds 2 frames", "sfu", tmp_path)
    (tmp_path / "ClassC" / "RaceHorsesC_16x8_30.yuv").rename(tmp_path / "ClassC" / "RaceHorses_16x10_30.yuv")
    refused("no whole number of 16x10 frames", "sfu", tmp_path)
    (tmp_path / "ClassC" / "RaceHorses_16x10_30.yuv").unlink()
    refused("sequence RaceHorses has no source of frames", "sfu", tmp_path)


# Open Images --------------------------------------------------------------------------------------------------------

BOXES = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n"


def test_open_images(tmp_path):
    picture(tmp_path / "images" / "aa.jpg", 100, 50)
    picture(tmp_path / "images" / "bb.jpg", 100, 50)
    path = text(tmp_path / "boxes.csv", BOXES + "aa,cell_phone,0.1,0.3,0.2,0.6,0\naa,/m/09j2d,0,1,0,1,1\n"
                                                "bb,person,0.25,1.0,0.5,0.98,0\n")  # fmt: skip
    names = text(tmp_path / "names.csv", "/m/09j2d,Clothing\n/m/01g317,Person\n")
    dataset = load("open-images", tmp_path / "images", f"{path},{names}")
    assert dataset.categories == {1: "person", 77: "cell phone", 1001: "Clothing"}
    assert boxes(dataset, 1) == [(77, 10, 10, 20, 20, 0), (1001, 0, 0, 100, 50, 1)]
    assert boxes(dataset, 2) == [(1, 25, 25, 75, 24, 0)]
    assert dataset.tasks == ("detection", "fidelity")


def test_open_images_classes_that_nobody_looked_for_do_not_count(tmp_path):
    for name in ("aa", "bb"):
        picture(tmp_path / f"{name}.jpg", 100, 50)
    path = text(tmp_path / "boxes.csv", BOXES + "aa,person,0.1,0.3,0.2,0.6,0\nbb,dog,0.1,0.3,0.2,0.6,0\n")
    labels = text(tmp_path / "labels.csv", "ImageID,LabelName,Confidence\naa,person,1\naa,dog,0\nbb,dog,1\n")
    dataset = load("open-images", tmp_path, f"{path},{labels}")
    assert boxes(dataset, 1) == [(1, 10, 10, 20, 20, 0)]  # of dogs in aa it is known that there are none
    assert (1, 0, 0, 100, 50, 1) in boxes(dataset, 2)  # nobody looked for persons in bb


def test_open_images_masks(tmp_path):
    picture(tmp_path / "aa.jpg", 100, 50)
    big = np.zeros((100, 200), np.uint8)  # drawn on a copy of twice the size
    big[20:60, 20:60] = 1
    counts = coco_mask.encode(np.asfortranarray(big))["counts"]
    coded = base64.b64encode(zlib.compress(counts)).decode()
    head = "ImageID,LabelName,ImageWidth,ImageHeight,XMin,YMin,XMax,YMax,IsGroupOf,Mask,MaskPath\n"
    path = text(tmp_path / "masks.csv", head + f"aa,person,200,100,0.1,0.2,0.3,0.6,0,{coded},aa_m_1.png\n")
    dataset = load("open-images", tmp_path, path)
    assert dataset.tasks == ("detection", "instances", "fidelity")
    mask = dataset.truth.annToMask(dataset.truth.anns[1])
    assert np.array_equal(mask, big[::2, ::2])
    assert boxes(dataset, 1) == [(1, 10, 10, 20, 20, 0)]
    text(path, head + f"aa,person,200,200,0.1,0.2,0.3,0.6,0,{coded},aa_m_1.png\n")
    refused("has a mask of 200x200|has no mask", "open-images", tmp_path, path)
    text(path, head + "aa,person,200,100,0.1,0.2,0.3,0.6,0,!!,aa_m_1.png\n")
    refused("row 2 has no mask", "open-images", tmp_path, path)


def test_open_images_refusals(tmp_path):
    picture(tmp_path / "aa.jpg", 100, 50)
    refused("the CSV of boxes", "open-images", tmp_path, None)
    refused("is not Open Images' CSV", "open-images", tmp_path, text(tmp_path / "x.csv", "a,b,c\n"))
    path = text(tmp_path / "boxes.csv", BOXES + "zz,person,0.1,0.3,0.2,0.6,0\n")
    refused(r"picture zz\.jpg", "open-images", tmp_path, path)
    text(path, BOXES + "aa,person,10,30,20,60,0\n")
    refused("row 2 has a box beyond 0 to 1", "open-images", tmp_path, path)
    text(path, BOXES + "aa,person,x,30,20,60,0\n")
    refused("row 2 has no numbers", "open-images", tmp_path, path)
    text(path, BOXES + "aa,person,0.1\n")
    refused("row 2 is short", "open-images", tmp_path, path)


# MOTChallenge -------------------------------------------------------------------------------------------------------


def mot_files(folder: Path) -> None:
    for number in (1, 2):
        picture(folder / "img1" / f"{number:06d}.jpg", 64, 48)
    text(folder / "seqinfo.ini", f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate=30\nseqLength=2\n"
                                 "imWidth=64\nimHeight=48\nimExt=.jpg\n")  # fmt: skip
    text(folder / "gt" / "gt.txt", "1,1,11,6,10,20,1,1,0.9\n2,1,13,6,10,20,1,1,1\n1,2,31,6,10,20,0,1,1\n"
                                   "1,3,41,6,10,20,1,8,1\n1,4,1,1,5,5,1,3,1\n2,5,61,6,20,20,1,1,1\n")  # fmt: skip


def test_mot(tmp_path):
    mot_files(tmp_path / "MOT17-02-FRCNN")
    mot_files(tmp_path / "MOT17-04-FRCNN")
    dataset = load("mot", tmp_path)
    assert dataset.sequences == {"MOT17-02-FRCNN": (1, 2), "MOT17-04-FRCNN": (3, 4)}
    assert dataset.rate["MOT17-02-FRCNN"] == Fraction(30)
    assert boxes(dataset, 1) == [(1, 10, 5, 10, 20, 0), (1, 30, 5, 10, 20, 1), (1, 40, 5, 10, 20, 1)]
    assert boxes(dataset, 2) == [(1, 12, 5, 10, 20, 0), (1, 60, 5, 20, 20, 0)]
    assert "tracking" in dataset.tasks
    assert [dataset.truth.anns[i].get("track_id") for i in range(1, 6)] == [1, 1, None, None, 5]
    assert len(load("mot", tmp_path / "MOT17-02-FRCNN")) == 2


def test_mot_refusals(tmp_path):
    refused("neither seqinfo.ini", "mot", tmp_path)
    mot_files(tmp_path)
    refused("leave --annotations away", "mot", tmp_path, "gt.txt")
    text(tmp_path / "gt" / "gt.txt", "3,1,11,6,10,20,1,1,1\n")
    refused("has frame 3", "mot", tmp_path)
    (tmp_path / "gt" / "gt.txt").unlink()
    refused("test splits have none", "mot", tmp_path)
    (tmp_path / "img1" / "000002.jpg").unlink()
    refused("holds 1 frames", "mot", tmp_path)
    text(tmp_path / "seqinfo.ini", "[Sequence]\nframeRate=x\n")
    refused("is not \\[Sequence\\]", "mot", tmp_path)


# all ----------------------------------------------------------------------------------------------------------------


def test_unknown_kinds_and_options(tmp_path):
    refused(r"--dataset visdron: unknown \(did you mean visdrone\?\)", "visdron", tmp_path)
    refused("only clip takes options", "coco:every=2", tmp_path)
    refused("only clip takes options", "clip:each=2", tmp_path)
    for kind in DATASETS:
        if kind not in ("open-images", "coco"):
            refused("none", kind, tmp_path / "none")


def test_parts_of_a_set_keep_their_sequences(tmp_path):
    mot_files(tmp_path / "a")
    mot_files(tmp_path / "b")
    dataset = load("mot", tmp_path)
    assert dataset.take(3).sequences == {"a": (1, 2), "b": (3,)}
    assert dataset.spread(2).sequences == {"a": (1,), "b": (3,)}
