"""The bookkeeping of benchmarks/groups_partial.py and benchmarks/groups_clip.py: figures are read by people."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import groups_clip, groups_partial
from benchmarks.groups_partial import SHARES, Bench, Pictures, draw, own_labels, psnr_db, report, summary
from icm.bitstream import read
from icm.codecs.groups.codec import GroupsCodec
from icm.groups import clips
from tests.icm.groups.conftest import tiny_weights  # noqa: F401 - a fixture
from tests.icm.groups.moving import moving, of_name

PERSON = 7


class Model:
    """Sees the frame of what is not grey, and points at its corners."""

    name, tasks = "fake", ("detection", "keypoints")

    def predict(self, pictures: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        found = []
        for picture in pictures:
            y, x = np.nonzero((picture != 128).any(-1))
            boxes = [[x.min(), y.min(), x.max() + 1, y.max() + 1]] if len(x) else []
            points = [[[box[i % 2 * 2], box[i % 4 // 2 * 2 + 1], 1] for i in range(17)] for box in boxes]
            found.append({"boxes": np.array(boxes, np.float32).reshape(-1, 4), "scores": np.ones(len(boxes)),
                          "labels": np.full(len(boxes), PERSON), "keypoints": np.array(points).reshape(-1, 17, 3)})
        return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Bench:  # noqa: F811
    """Two pictures of one person and a car, annotated by their boxes, and in panoptic colours."""
    from PIL import Image

    root = tmp_path_factory.mktemp("parts")
    (root / "images").mkdir()
    (root / "panoptic").mkdir()
    images, rows, segments = [], [], []
    for i, (picture, mask) in enumerate(list(zip(*moving(3), strict=True))[2:4]):
        images.append({"id": 40 + i, "file_name": f"{i}.png", "height": 134, "width": 200})
        Image.fromarray(picture).save(root / f"images/{i}.png")
        colours = np.zeros((134, 200, 3), np.uint8)
        colours[..., 0] = 1 + mask.pixels()
        Image.fromarray(colours).save(root / f"panoptic/{i}.png")
        named = [{"id": 1 + g, "category_id": PERSON if name == "person" else 9} for g, name in enumerate(mask.names)]
        segments.append({"image_id": 40 + i, "file_name": f"{i}.png", "segments_info": named})
        x0, y0, x1, y1 = mask.box(mask.names.index("person"))
        outline = [[x0 + 2, y0 + 2, x1 - 2, y0 + 2, x1 - 2, y1 - 2, x0 + 2, y1 - 2]]
        rows.append({"id": i + 1, "image_id": 40 + i, "category_id": PERSON, "bbox": [x0, y0, x1 - x0, y1 - y0],
                     "area": (x1 - x0) * (y1 - y0), "iscrowd": 0, "segmentation": outline})  # fmt: skip
    table = {"images": images, "categories": [{"id": PERSON, "name": "person"}, {"id": 9, "name": "car"}]}
    (root / "instances.json").write_text(json.dumps({**table, "annotations": rows}))
    (root / "panoptic.json").write_text(json.dumps({**table, "annotations": segments}))
    pictures = Pictures(root / "images", root / "instances.json", root / "panoptic.json", None)
    return Bench(pictures, str(tiny_weights), Model())


def test_partial_reconstruction(bench: Bench, tmp_path: Path) -> None:
    from pipelines.media import read_picture

    rows = [bench.row(path, read_picture(path), quality) for path in bench.pictures.paths for quality in (0, 40)]
    rows = json.loads(json.dumps(rows))
    for row in rows[1::2]:
        assert row["irregular"]["pixels"] == row["boxes"]["pixels"] > 0
        assert 0 < row["irregular"]["bytes"] < row["irregular"]["sent"]
        assert [part[0] for part in row["each"]] == [row["irregular"]["bytes"]]
        kept = [row["lost"][f"{share:g}"]["kept"] for share in SHARES]
        assert kept == sorted(kept, reverse=True)
        assert kept[0] == row["lost"]["0"]["groups"] >= 3
        assert row["lost"]["0"]["pixels"] == 134 * 200
    lines = summary(bench, rows)
    persons = [line for line in lines if line["table"] == "persons"]
    assert [line["kind"] for line in persons] == ["uncompressed", *groups_partial.SHAPES.values()]
    alone = persons[1]  # what is left is the person, so that is where the model sees one
    assert alone["detection AP50"] == pytest.approx(100)
    assert persons[0]["detection AP50"] < 50
    assert persons[0]["keypoints (pseudo) AP"] == pytest.approx(100)
    assert persons[1]["keypoints (pseudo) AP"] < 50
    lost = [line for line in lines if line["table"] == "lost"]
    assert [line["kind"] for line in lost][1:3] == ["10 % of groups lost", "25 % of groups lost"]
    text = report(lines)
    assert "| persons, irregular | 40 | " in text
    assert text.count("\n\n") == 1 + (sum(line["table"] == "a person" for line in lines) > 0)
    draw(lines, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_damaged_clips(tiny_weights: Path) -> None:  # noqa: F811
    """What the command counts: most is refused or partly shown, nothing is wrong."""
    from benchmarks.group_clip_damage import run

    pictures = [picture[:64, :96] for picture in moving(1, 2)[0]]
    counts = run(GroupsCodec("groups", 20, weights=tiny_weights), pictures, 24, 0)
    assert sum(counts.values()) == 24
    assert not [found for _, found in counts if "WRONG" in found]
    assert {kind for kind, _ in counts} == {"flip", "flip, resealed", "truncation", "splice"}
    assert sum(count for (_, found), count in counts.items() if found.startswith("refused")) > 10
    assert any("partly shown" in found for _, found in counts)


def test_small_figures() -> None:
    assert psnr_db(0, 0) is None
    assert psnr_db(3 * 10 * 65025 / 100, 10) == pytest.approx(20)
    result = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 5], "score": 0.6, "keypoints": [1, 2, 0.3] * 17}
    table = own_labels({"images": []}, [result, {**result, "score": 0.2}])
    (label,) = table["annotations"]
    assert (label["area"], label["num_keypoints"], label["keypoints"][2]) == (20, 17, 2)


def test_clips_of_groups(tmp_path: Path, tiny_weights: Path) -> None:  # noqa: F811
    """The bench's coder takes boxes of detections for masks, and gives the background its quality."""
    from icm.groups.sources import Options, Source

    pictures, masks = moving(5, 3)
    found: dict[str, Any] = {}
    for i, mask in enumerate(masks):
        box = mask.box(mask.names.index("person"))
        found[f"{i:06d}"] = groups_clip.rows({"boxes": np.array([box], np.float32), "scores": np.array([0.9])})
    (tmp_path / "boxes.json").write_text(json.dumps(found))
    source = Source(str(tmp_path / "boxes.json"), Options(classes=("person",), by="class"))
    codec = GroupsCodec("groups", 30, weights=tiny_weights)
    data = groups_clip.Clip(codec, source, 20).encode_clip([(p, i) for i, p in enumerate(pictures)], Fraction(1, 10))
    with read(data) as stream:
        rows = {row["name"]: row for row in clips.listing(stream)}
        index = clips.check(stream)
        for i, mask in enumerate(masks):
            number = rows["person"]["group"]
            assert np.array_equal(index.mask(i) == number, of_name(mask, "person")[::16, ::16])
    assert {name: row["quality"] for name, row in rows.items()} == {"background": 50, "person": 30}
    row = {"kind": "persons", "quality": 30.0, "bytes": 500, "psnr_db": None, "ap50": 12.5, "encode_cpu_s": 0.5,
           "decode_cpu_s": 0.25}  # fmt: skip
    assert "500 bytes ( 25.0 %)  PSNR     none  person AP50  12.50" in groups_clip.shown(row, 2000)
