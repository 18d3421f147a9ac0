"""Clips of groups by the command line: where their masks come from, encode, info, decode by class and time, extract,
locks, damage, resumed folders; and what moves before a static camera."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icm.groups.motion import Motion, block_means
from icm.groups.sources import Options, Source
from pipelines import encode_file
from pipelines.clips_out import writing
from pipelines.media import read_picture, write_picture
from tests.icm.groups.moving import moving, of_name
from tests.pipelines.conftest import vcm  # noqa: F401 - a fixture

Vcm = Callable[..., Any]
PICTURES, MASKS = moving(7, 4)


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_weights: Path) -> Path:
    """A clip, the boxes of what moves in it, a key; the working directory."""
    encode_file.codec_of.cache_clear()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    with writing(tmp_path / "in/camera.mkv", Fraction(25)) as writer:
        for i, picture in enumerate(PICTURES):
            writer.add(picture, Fraction(i, 25), i)
    rows: dict[str, list[dict[str, Any]]] = {}
    for i, mask in enumerate(MASKS):
        boxes = ((name, mask.box(g)) for g, name in enumerate(mask.names) if name != "background")
        rows[f"{i:06d}"] = [{"bbox": [x0, y0, x1 - x0, y1 - y0], "name": name} for name, (x0, y0, x1, y1) in boxes]
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    (tmp_path / "K").write_bytes(bytes(32))
    (tmp_path / "w").symlink_to(tiny_weights)
    return tmp_path


def encoded(vcm: Vcm, *words: Any) -> Any:  # noqa: F811
    return vcm("encode", "in/camera.mkv", "-o", "a.vcm", "--codec", "groups:30", "--weights", "w", *words)


def test_the_whole_way(camera: Path, vcm: Vcm) -> None:  # noqa: F811
    done = encoded(vcm, "--groups-from", "boxes.json", "--groups-quality", "background=50", "--lock", "car",
                   "--key-file", "K")  # fmt: skip
    assert done.code == 0, done.err
    facts = json.loads(vcm("info", "a.vcm", "--json").out)
    rows = {row["name"]: row for row in facts["clip_groups"]}
    assert (rows["background"]["quality"], rows["car"]["locked"], rows["person"]["frames"]) == (50, True, 4)
    assert facts["features"] == ["groups of frames"]
    text = vcm("info", "a.vcm").out
    assert "frame 1: group 0 (background), what changed" in text or "frame 2: group 0 (background)" in text
    assert "car, locked" in text
    done = vcm("decode", "a.vcm", "-o", "all", "--weights", "w", "--key-file", "K")
    assert (done.code, done.out) == (0, "all: 4 frames, 200x134\n")
    done = vcm("decode", "a.vcm", "-o", "some", "--weights", "w", "--groups", "person", "--frames", "1:3", "--fill",
               "transparent")  # fmt: skip
    assert done.code == 0, done.err
    assert sorted(path.name for path in Path("some").iterdir()) == ["frame_000001.png", "frame_000002.png",
                                                                    "frames.jsonl"]  # fmt: skip
    for i in (1, 2):
        person = of_name(MASKS[i], "person")
        with Image.open(f"some/frame_00000{i}.png") as file:
            clear = np.asarray(file)
        assert np.array_equal(clear[..., 3] == 255, person)
        assert np.array_equal(clear[person][:, :3], read_picture(f"all/frame_00000{i}.png")[person])
    done = vcm("decode", "a.vcm", "-o", "open.mkv", "--weights", "w", "--fill", "background")
    assert "(car) missing: locked; --key-file names its key" in done.out
    done = vcm("extract", "a.vcm", "--groups", "person", "-o", "p.vcm")
    assert done.code == 0, done.err
    done = vcm("decode", "p.vcm", "-o", "p", "--weights", "w")
    assert done.out.count("not in this file, it was cut away") == 2
    person = of_name(MASKS[3], "person")
    assert np.array_equal(read_picture("p/frame_000003.png")[person], read_picture("all/frame_000003.png")[person])
    assert (read_picture("p/frame_000003.png")[~person] == 128).all()
    assert [vcm("verify", name, "--weights", "w").code for name in ("a.vcm", "p.vcm")] == [0, 0]


def test_a_damaged_group_is_named_and_the_rest_decodes(camera: Path, vcm: Vcm) -> None:  # noqa: F811
    assert encoded(vcm, "--groups-from", "boxes.json").code == 0
    vcm("decode", "a.vcm", "-o", "right", "--weights", "w")
    part = next(p for p in json.loads(vcm("info", "a.vcm", "--json").out)["parts"]
                if "frame 1: group" in p["name"] and "person" in p["name"])  # fmt: skip
    data = bytearray((camera / "a.vcm").read_bytes())
    data[part["offset"]] ^= 255
    (camera / "a.vcm").write_bytes(data)
    done = vcm("decode", "a.vcm", "-o", "b", "--weights", "w")
    assert (done.code, done.err.count("\n"), (camera / "b").exists()) == (2, 1, False)
    assert "(frame 1, group" in done.err
    assert "(person)" in done.err
    assert "frame 1: group" in vcm("verify", "a.vcm", "--weights", "w").out
    done = vcm("decode", "a.vcm", "-o", "b", "--weights", "w", "--partial")
    assert done.code == 1
    assert "does not match its CRC32C (frame 1, group" in done.out
    lost = read_picture("b/frame_000001.damage.png")[..., 0] == 255
    assert np.array_equal(lost, of_name(MASKS[1], "person"))
    for i in range(4):
        whole, shown = (read_picture(f"{folder}/frame_00000{i}.png") for folder in ("right", "b"))
        assert np.array_equal(shown[~lost], whole[~lost]) if i == 1 else np.array_equal(shown, whole)


def test_where_masks_come_from(camera: Path, vcm: Vcm) -> None:  # noqa: F811
    """A folder of labels and COCO results give the files that boxes give."""
    (camera / "labels").mkdir()
    (camera / "labels/names.json").write_text('{"1": "person", "2": "car"}')
    results = []
    for i, mask in enumerate(MASKS):
        labels = of_name(mask, "person") + 2 * of_name(mask, "car")
        Image.fromarray(labels.astype(np.uint8)).save(camera / f"labels/{i:06d}.png")
    for key, rows in json.loads((camera / "boxes.json").read_text()).items():
        results += [{"image_id": int(key), "category_id": 1, "score": 0.9, "bbox": row["bbox"]} for row in rows]
    (camera / "results.json").write_text(json.dumps(results))
    files = []
    for source in ("boxes.json", "labels"):
        assert encoded(vcm, "--groups-from", source).code == 0
        files.append((camera / "a.vcm").read_bytes())
    assert files[0] == files[1]
    assert encoded(vcm, "--groups-from", "results.json", "--refresh", 2).code == 0
    facts = json.loads(vcm("info", "a.vcm", "--json").out)
    assert [row["name"] for row in facts["clip_groups"]] == ["background", "class 1"]
    assert facts["codec"]["chapters"] == [0, 2]
    assert encoded(vcm, "--groups-from", "boxes.json", "--groups-by", "object", "--groups-grid", 32).code == 0
    assert json.loads(vcm("info", "a.vcm", "--json").out)["codec"]["grid_px"] == 32


def test_a_folder_is_resumed(camera: Path, vcm: Vcm) -> None:  # noqa: F811
    """Labels of its clips lie in folders of their names."""
    labels = camera / "labels/camera"
    labels.mkdir(parents=True)
    for i, mask in enumerate(MASKS):
        Image.fromarray(of_name(mask, "person").astype(np.uint8)).save(labels / f"{i:06d}.png")
    words = ("encode", "in", "-o", "coded", "--codec", "groups", "--weights", "w", "--groups-from", "labels")
    assert vcm(*words).code == 0
    before = (camera / "coded/camera.vcm").read_bytes()
    done = vcm(*words, "--resume", "--json")
    assert done.code == 0, done.err
    assert (camera / "coded/camera.vcm").read_bytes() == before


def test_bad_requests_are_one_line(camera: Path, vcm: Vcm) -> None:  # noqa: F811
    rows = json.loads((camera / "boxes.json").read_text())
    del rows["000002"]
    (camera / "few.json").write_text(json.dumps(rows))
    write_picture(camera / "a.png", PICTURES[0])
    assert encoded(vcm, "--groups-from", "boxes.json").code == 0
    one = ("encode", "in/camera.mkv", "-o", "b.vcm", "--weights", "w", "--codec", "groups", "--groups-from")
    for words, said in (
        ((*one, "few.json"), "in/camera.mkv: frame 2: no labels for it in few.json"),
        ((*one, "boxes.json", "--base", "5"), "--base: is for pictures"),
        (("encode", "a.png", "-o", "b.vcm", "--weights", "w", "--codec", "groups", "--groups-from", "motion"),
         "motion: is for clips"),
        (("decode", "a.vcm", "-o", "b", "--weights", "w", "--groups", "bike"), "no group 'bike'"),
        (("decode", "a.vcm", "-o", "b.mkv", "--weights", "w", "--fill", "transparent"), "no transparency here"),
        (("extract", "a.vcm", "--groups", "car", "-o", "b.vcm", "--with-base"), "a clip has no base"),
    ):  # fmt: skip
        done = vcm(*words)
        assert done.code == 2, words
        assert said in done.err, (words, done.err)
        assert done.err.count("\n") == 1
        assert not (camera / "b.vcm").exists()


def test_motion() -> None:
    """What moves before a noisy camera is found where it is, and nothing else; what stops becomes background."""
    rng = np.random.default_rng(0)
    background = rng.integers(60, 160, (12, 16, 3)).repeat(8, 0).repeat(8, 1)
    source, again = Source("motion", Options(by="class")), Motion()
    sizes = []
    for i in range(80):
        frame = background + rng.normal(0, 8, background.shape)
        if i >= 5:
            left = min(8 + 4 * (i - 5), 80)
            frame[32:64, left : left + 32] = 190
        picture = frame.clip(0, 255).astype(np.uint8)
        mask = source.mask(f"{i:06d}", picture)
        assert np.array_equal(mask.pixels() != 0, of_name(mask, "moving"))
        labels, names = again(f"{i:06d}", picture)
        assert names == {1: "moving"}
        if 5 <= i < 23:
            assert labels[32:64, left : left + 32].all()
            assert labels[:16].max() == labels[88:].max() == 0
        sizes.append(int(labels.sum()))
    assert sizes[0] == 0 < sizes[10]
    assert max(sizes[:5]) == 0
    still = Motion()
    for _ in range(4):
        labels, _ = still("x", np.full((32, 32, 3), 90, np.uint8))
    moved = np.full((32, 32, 3), 130, np.uint8)
    assert [int(still("x", moved)[0].any()) for _ in range(120)] == [1] * 109 + [0] * 11
    with pytest.raises(ValueError, match="another size"):
        still("000060", moved[:16])
    assert block_means(np.full((9, 17, 3), 7, np.uint8)).shape == (2, 3, 3)
