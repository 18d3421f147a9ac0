"""Structured streams by the command line: encode, info, decode, extract, verify, with locks and damage."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines import encode_file
from pipelines.media import read_picture, write_picture
from tests.icm.groups.conftest import random_picture
from tests.pipelines.conftest import vcm  # noqa: F401 - a fixture

Vcm = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_weights: Path) -> Path:
    """A folder with a picture, boxes of two persons and a car, and two keys; the working directory."""
    encode_file.codec_of.cache_clear()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in" / "street.png", random_picture(np.random.default_rng(0), 64, 96))
    boxes = [{"bbox": [0, 0, 16, 16], "name": "person"}, {"bbox": [40, 20, 20, 20], "name": "person"},
             {"bbox": [70, 30, 20, 30], "name": "car"}]  # fmt: skip
    (tmp_path / "boxes.json").write_text(json.dumps({"street.png": boxes}))
    (tmp_path / "one").write_bytes(bytes(32))
    (tmp_path / "two").write_text("ab" * 32)
    (tmp_path / "w").symlink_to(tiny_weights)
    return tmp_path


def test_the_whole_way(street: Path, vcm: Vcm) -> None:  # noqa: F811
    done = vcm("encode", "in/street.png", "-o", "a.vcm", "--codec", "groups:30", "--weights", "w", "--groups-from",
               "boxes.json", "--groups-quality", "person=60", "--base", 5)  # fmt: skip
    assert done.code == 0, done.err
    facts = json.loads(vcm("info", "a.vcm", "--json").out)
    assert [row["name"] for row in facts["groups"]][:4] == ["person", "background", "person", "car"]
    assert facts["codec"] == {"quality": "30 to 60", "groups": 4, "grid_px": 16, "tile_px": 1024}
    text = vcm("info", "a.vcm").out
    assert "section 3 (group 2 (person))" in text
    assert "32, 16, 64, 48" in text
    assert vcm("decode", "a.vcm", "-o", "a.png", "--weights", "w").code == 0
    whole = read_picture("a.png")
    done = vcm("decode", "a.vcm", "-o", "p.png", "--weights", "w", "--groups", "person,3", "--fill", "transparent")
    assert done.code == 0, done.err
    with Image.open("p.png") as file:
        clear = np.asarray(file)
    assert clear.shape == (64, 96, 4)
    assert np.array_equal(clear[16:48, 32:64, :3], whole[16:48, 32:64])
    assert (clear[..., 3] == 0).any()
    done = vcm("extract", "a.vcm", "--groups", "2,3", "-o", "cut.vcm")
    assert done.code == 0, done.err
    assert (street / "cut.vcm").stat().st_size < (street / "a.vcm").stat().st_size
    done = vcm("decode", "cut.vcm", "-o", "cut.png", "--weights", "w")
    assert done.code == 0
    assert "group 0 missing: not in this file, it was cut away" in done.out
    assert np.array_equal(read_picture("cut.png")[16:48, 32:64], whole[16:48, 32:64])
    assert vcm("verify", "cut.vcm", "--weights", "w").out.startswith("intact")
    done = vcm("decode", "a.vcm", "-o", "b.png", "--weights", "w", "--groups", "car", "--fill", "background")
    assert done.code == 0, done.err


def test_locks(street: Path, vcm: Vcm) -> None:  # noqa: F811
    pytest.importorskip("cryptography")
    done = vcm("encode", "in", "-o", "coded", "--codec", "groups", "--weights", "w", "--groups-from", "boxes.json",
               "--lock", "person", "--key-file", "one", "--lock", "car,bike", "--key-file", "two")  # fmt: skip
    assert done.code == 0, done.err
    done = vcm("decode", "coded/street.vcm", "-o", "a.png", "--weights", "w")
    assert done.code == 0
    assert done.out.count("locked; --key-file names its key") == 3
    assert (read_picture("a.png")[:16, :16] == 128).all()
    done = vcm("decode", "coded", "-o", "out", "--weights", "w", "--key-file", "two", "--key-file", "one")
    assert done.code == 0, done.err
    assert read_picture("out/street.png")[:16, :16].std() > 0
    (street / "three").write_bytes(b"x" * 32)
    done = vcm("decode", "coded/street.vcm", "-o", "c.png", "--weights", "w", "--key-file", "three")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "opens none of the locked groups: it is a wrong key" in done.err
    assert not (street / "c.png").exists()
    assert vcm("verify", "coded/street.vcm", "--weights", "w", "--key-file", "one", "--key-file", "two").code == 0
    assert "wrong key" in vcm("verify", "coded/street.vcm", "--weights", "w", "--key-file", "three").out


def test_a_damaged_group_is_named_and_the_rest_decodes(street: Path, vcm: Vcm) -> None:  # noqa: F811
    vcm("encode", "in/street.png", "-o", "a.vcm", "--codec", "groups", "--weights", "w", "--groups-from", "boxes.json")
    vcm("decode", "a.vcm", "-o", "a.png", "--weights", "w")
    part = next(p for p in json.loads(vcm("info", "a.vcm", "--json").out)["parts"] if "car" in p["name"])
    data = bytearray((street / "a.vcm").read_bytes())
    data[part["offset"]] ^= 255
    (street / "a.vcm").write_bytes(data)
    done = vcm("decode", "a.vcm", "-o", "b.png", "--weights", "w")
    assert done.code == 2
    assert "group 3 (car): damaged" in done.err
    assert "group 3 (car)" in vcm("verify", "a.vcm", "--weights", "w").out
    done = vcm("decode", "a.vcm", "-o", "b.png", "--weights", "w", "--partial")
    assert done.code == 1
    assert "group 3 (car): damaged" in done.out
    lost = read_picture("b.damage.png")[..., 0] == 255
    assert lost.sum() == 32 * 48
    assert np.array_equal(read_picture("b.png")[~lost], read_picture("a.png")[~lost])


def test_bad_requests_are_one_line(street: Path, vcm: Vcm) -> None:  # noqa: F811
    one = ("encode", "in/street.png", "-o", "a.vcm", "--weights", "w", "--codec")
    assert vcm(*one, "groups", "--groups-from", "boxes.json").code == 0
    for words, said in (
        ((*one, "groups", "--lock", "person"), "--lock: needs groups; name what makes them with --groups-from"),
        ((*one, "groups", "--groups-from", "boxes.json", "--lock", "person"), "go together: 1 of the one and 0"),
        ((*one, "groups", "--groups-from", "none.json"), "none.json: no such file"),
        ((*one, "groups", "--groups-from", "boxes.json", "--groups-grid", "20"), "is one of 16, 32, 64, 128"),
        ((*one, "groups", "--groups-from", "boxes.json", "--groups-quality", "person"), "write it as person=50"),
        ((*one, "groups", "--groups-from", "boxes.json", "--lock", "car", "--key-file", "boxes.json"), "is no key"),
        (("encode", "in/street.png", "-o", "a.webp", "--codec", "webp:30", "--base", "3"), "is for --codec groups"),
        (("decode", "a.vcm", "-o", "a.png", "--weights", "w", "--groups", "bike"), "no group 'bike'"),
        (("decode", "a.vcm", "-o", "a.bmp", "--weights", "w", "--groups", "car", "--fill", "transparent"), "BMP has"),
        (("decode", "a.vcm", "-o", "a.png", "--weights", "w", "--groups", "car", "--fill", "background"), "no base"),
        (("extract", "a.vcm", "--groups", "9", "-o", "b.vcm"), "no group '9'"),
        (("extract", "a.vcm", "--groups", "car", "-o", "b.png"), "name it b.vcm"),
        (("extract", "a.vcm", "--groups", "car", "-o", "a.vcm"), "is the input"),
    ):
        done = vcm(*words)
        assert done.code == 2, words
        assert said in done.err, (words, done.err)
        assert done.err.count("\n") == 1


def test_other_files_have_no_groups(street: Path, vcm: Vcm) -> None:  # noqa: F811
    vcm("encode", "in/street.png", "-o", "a.vcm", "--codec", "sa-icm-s:10")
    for words in (("decode", "-o", "a.png"), ("extract", "-o", "b.vcm")):
        done = vcm(words[0], "a.vcm", "--groups", "person", *words[1:])
        assert done.code == 2
        assert "groups" in done.err


def test_cutting_and_listing_import_no_torch(street: Path, vcm: Vcm) -> None:  # noqa: F811
    vcm("encode", "in/street.png", "-o", "a.vcm", "--codec", "groups", "--weights", "w", "--groups-from", "boxes.json")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pipelines.cli import main\n"
        "code = main(['info', 'a.vcm']) or main(['extract', 'a.vcm', '--groups', 'car', '-o', 'b.vcm'])\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (street / "b.vcm").exists()
