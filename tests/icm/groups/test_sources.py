"""Everything that `--groups-from` takes, on small files of its true layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icm.groups import GroupMask
from icm.groups.sources import Options, Source

PICTURE = np.zeros((64, 96, 3), np.uint8)
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]


def by_name(mask: GroupMask) -> dict[str, list[tuple[int, int, int, int]]]:
    found: dict[str, list[tuple[int, int, int, int]]] = {}
    for i, name in enumerate(mask.names):
        found.setdefault(name, []).append(mask.box(i))
    return found


def write(path: Path, table: Any) -> str:
    path.write_text(json.dumps(table))
    return str(path)


@pytest.fixture
def annotations(tmp_path: Path) -> str:
    def row(i: int, category: int, box: list[int]) -> dict[str, Any]:
        x, y, w, h = box
        return {"id": i, "image_id": 7, "category_id": category, "bbox": box, "iscrowd": 0,
                "segmentation": [[x, y, x + w, y, x, y + h]]}  # fmt: skip

    rows = [row(1, 1, [0, 0, 32, 64]), row(2, 1, [64, 0, 16, 16]), row(3, 3, [48, 32, 48, 32])]
    return write(tmp_path / "instances.json", {"images": [{"id": 7, "file_name": "a.jpg", "height": 64, "width": 96}],
                                               "annotations": rows, "categories": CATEGORIES})  # fmt: skip


def test_instances(annotations: str) -> None:
    found = by_name(Source(annotations).mask("a.jpg", PICTURE))
    assert found.keys() == {"background", "person", "car"}
    assert sorted(found["person"]) == [(0, 0, 32, 64), (64, 0, 80, 16)]
    mask = Source(annotations, Options(by="class")).mask("a.jpg", PICTURE)
    assert sorted(mask.names) == ["background", "car", "person"]
    assert by_name(mask)["person"] == [(0, 0, 80, 64)]
    only = Source(annotations, Options(classes=("car",))).mask("a.jpg", PICTURE)
    assert sorted(only.names) == ["background", "car"]
    boxes = Source(annotations, Options(classes=("car",), shape="boxes")).mask("a.jpg", PICTURE)
    count = {m: int((np.array(m.names)[m.pixels()] == "car").sum()) for m in (only, boxes)}
    assert count[boxes] == 48 * 32 > count[only] > 48 * 16


def test_classes_that_will_be_locked_are_groups_and_keep_their_cells(annotations: str) -> None:
    mask = Source(annotations, Options(classes=("car",), first=("person",))).mask("a.jpg", PICTURE)
    assert sorted(mask.names) == ["background", "car", "person", "person"]


def test_boxes_and_results(tmp_path: Path) -> None:
    boxes = [{"image_id": 7, "category_id": 3, "bbox": [30, 30, 4, 4], "score": 0.9},
             {"image_id": 7, "category_id": 1, "bbox": [-5, 50, 10, 100], "score": 0.2}]  # fmt: skip
    results = write(tmp_path / "results.json", boxes)
    assert by_name(Source(results).mask("000000000007.jpg", PICTURE))["class 3"] == [(16, 16, 48, 48)]
    assert len(Source(results, Options(score=0.1)).mask("7.jpg", PICTURE).names) == 3
    assert Source(results).mask("8.jpg", PICTURE).names == ("background",)
    with pytest.raises(ValueError, match="by number"):
        Source(results).mask("street.jpg", PICTURE)
    table = {"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": boxes, "categories": CATEGORIES}
    named = by_name(Source(write(tmp_path / "boxes.json", table)).mask("a.jpg", PICTURE))
    assert named.keys() == {"background", "car", "person"}
    plain = write(tmp_path / "plain.json", {"a.jpg": [{"bbox": [0, 0, 16, 16], "name": "face"}]})
    assert by_name(Source(plain).mask("a.jpg", PICTURE))["face"] == [(0, 0, 16, 16)]


def test_panoptic(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    ids = np.zeros((64, 96, 3), np.uint8)
    ids[:, :48] = (5, 0, 0)
    ids[:, 48:] = (6, 1, 0)
    Image.fromarray(ids).save(tmp_path / "p" / "a.png")
    segments = [{"id": 5, "category_id": 1}, {"id": 262, "category_id": 3}]
    path = write(tmp_path / "p.json", {
        "images": [{"id": 7, "file_name": "a.jpg"}], "categories": CATEGORIES,
        "annotations": [{"image_id": 7, "file_name": "a.png", "segments_info": segments}]})  # fmt: skip
    assert by_name(Source(path).mask("a.jpg", PICTURE)) == {"person": [(0, 0, 48, 64)], "car": [(48, 0, 96, 64)]}


def test_labels_and_saliency(tmp_path: Path) -> None:
    labels = np.zeros((64, 96), np.uint8)
    labels[20:30, 20:30] = 200
    (tmp_path / "deep").mkdir()
    Image.fromarray(labels).save(tmp_path / "deep" / "a.png")
    assert set(Source(str(tmp_path)).mask("deep/a.jpg", PICTURE).names) == {"background", "object 200"}
    write(tmp_path / "names.json", {"200": "face"})
    assert set(Source(str(tmp_path)).mask("deep/a.jpg", PICTURE).names) == {"background", "face"}
    one = Source(f"saliency:{tmp_path}/deep/a.png").mask("a.jpg", PICTURE)
    assert by_name(one)["salient"] == [(16, 16, 32, 32)]
    with pytest.raises(ValueError, match=r"96x64 for a picture of 95x64"):
        Source(str(tmp_path)).mask("deep/a.jpg", PICTURE[:, 1:])


def test_kept_masks_of_segment_anything(tmp_path: Path) -> None:
    import torch

    from icm.edges.sam.survivors import Survivors, boxes_of, pack
    from icm.edges.segmenters.kept import save

    masks = torch.zeros(2, 64, 96, dtype=torch.bool)
    masks[0, :, :40] = True
    masks[1, 16:48, :16] = True
    boxes = boxes_of(masks)
    kept = Survivors(packed=pack(masks), boxes=boxes, areas=masks.sum((1, 2)), iou=torch.tensor([0.9, 0.8]),
                     stability=torch.ones(2), points=torch.zeros(2, 2), crops=boxes, width=96, crops_nms=None,
                     small_region=0, box_nms=0.7)  # fmt: skip
    save(tmp_path / "a.jpg.npz", kept, PICTURE)
    write(tmp_path / "masks.json", {})
    assert set(Source(str(tmp_path)).mask("a.jpg", PICTURE).names) == {"background", "object 1", "object 2"}


def test_segmenters() -> None:
    picture = PICTURE.copy()
    picture[:, 48:] = 200
    assert Source("segment:felzenszwalb", Options(grid=16)).mask("a.jpg", picture).count == 2


def test_what_holds_no_groups_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "a.txt").write_text("x")
    write(tmp_path / "odd.json", [3])
    for spec in ("bad.json", "a.txt", "odd.json", "nothing.png"):
        with pytest.raises((ValueError, OSError)) as caught:
            Source(str(tmp_path / spec))
        assert "\n" not in str(caught.value)
        assert spec in str(caught.value)
