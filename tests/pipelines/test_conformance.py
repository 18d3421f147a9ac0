"""`vcm conformance`: finds the frozen streams, says which differ and in what, and is not content with others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines import conformance
from pipelines.conformance_check import differs, look, thumbnail
from tests.pipelines.conftest import Done

FROZEN = Path(__file__).parents[1] / "conformance"
FEW = ("64x65.vcm", "changed-one.vcm", "groups-locked.vcm", "hnerv-8-bit.vcm", "damaged-flip.vcm", "other-weights.vcm")


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Some of the streams, with what they need, in a folder of their own."""
    rows = json.loads((FROZEN / "frozen.json").read_text())
    (tmp_path / "frozen.json").write_text(json.dumps({name: rows[name] for name in FEW}))
    for name in (*FEW, "tiny.safetensors", "tiny-groups.safetensors", "groups.key"):
        shutil.copy(FROZEN / name, tmp_path)
    return tmp_path


def edit(folder: Path, name: str, **fields: object) -> None:
    rows = json.loads((folder / "frozen.json").read_text())
    rows[name] |= fields
    (folder / "frozen.json").write_text(json.dumps(rows))


def test_as_frozen(vcm, few: Path) -> None:
    done: Done = vcm("conformance", "--streams", few)
    assert (done.code, done.err) == (0, "")
    assert done.out == "6 streams: 6 as frozen (2 are to be refused), 0 not\n"
    facts = json.loads(vcm("conformance", "--streams", few, "--json").out)
    assert (facts["streams"], facts["as_frozen"], facts["differ"]) == (6, 6, 0)
    assert [row["stream"] for row in facts["results"]] == list(FEW)


def test_each_difference_is_a_line(vcm, few: Path) -> None:
    rows = json.loads((few / "frozen.json").read_text())
    far = bytearray(bytes.fromhex(rows["changed-one.vcm"]["pixels"][0]))
    far[4] += 2
    edit(few, "changed-one.vcm", pixels=[far.hex()])
    near = bytearray(bytes.fromhex(rows["groups-locked.vcm"]["pixels"][0]))
    near[4] += 1  # which other builds may do
    edit(few, "groups-locked.vcm", pixels=[near.hex()])
    edit(few, "64x65.vcm", symbols="0" * 64)
    edit(few, "damaged-flip.vcm", error="Unsupported")
    (few / "hnerv-8-bit.vcm").write_bytes((few / "hnerv-8-bit.vcm").read_bytes()[:-30])
    (few / "stray.vcm").write_bytes(b"VCM")
    (few / "other-weights.vcm").unlink()
    done: Done = vcm("conformance", "--streams", few)
    assert done.code == 1
    lines = done.out.splitlines()
    for name, words in {
        "64x65.vcm": "symbols 56f4e5bf2aa837a9, not 0000000000000000",
        "changed-one.vcm": "frame 0: the mean of a cell is 2 of 255 away",
        "hnerv-8-bit.vcm": "gave Truncated: ",
        "damaged-flip.vcm": "gave Damaged (",
        "other-weights.vcm": "no such file",
        "stray.vcm": "is not in frozen.json",
    }.items():
        (line,) = (line for line in lines if f"/{name}: " in line)
        assert line.startswith("NOT AS FROZEN  ")
        assert words in line
    assert lines[-1] == "7 streams: 1 as frozen (2 are to be refused), 6 not"
    assert len(lines) == 7
    assert json.loads(vcm("conformance", "--streams", few, "--json").out)["differ"] == 6


def test_without_the_key_it_is_not_the_same(few: Path) -> None:
    row = json.loads((few / "frozen.json").read_text())["groups-locked.vcm"]
    shut = {name: value for name, value in row.items() if name != "key"}
    assert "symbols" in differs(row, look(few / "groups-locked.vcm", shut))


def test_another_build_may_refuse_a_float_prior_and_no_other(few: Path) -> None:
    refused = {"error": "Desynchronised", "message": "this build rounds otherwise"}
    row = {"symbols": "a", "pixels": []}
    assert differs({**row, "same_build": True}, refused) == ""
    assert differs(row, refused) == "gave Desynchronised: this build rounds otherwise"
    assert differs({**row, "same_build": True}, {**refused, "error": "Damaged"})


def test_what_opens_locks_may_be_missing(vcm, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(key: bytes) -> None:
        raise ImportError("locked groups need the package cryptography")

    monkeypatch.setattr("icm.groups.lock.cipher", missing)
    done: Done = vcm("conformance", "--streams", few)
    assert done.code == 0
    assert done.out.splitlines() == [
        "6 streams: 5 as frozen (2 are to be refused), 0 not",
        "not checked: groups-locked.vcm: locked groups need the package cryptography",
    ]


def test_an_installation_without_them_says_where_they_are(
    vcm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance, "BESIDE", tmp_path / "tests" / "conformance")
    for words in ((), ("--streams", tmp_path)):
        done: Done = vcm("conformance", *words)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert "no frozen streams here" in done.err
        assert "tests/conformance of this version's source" in done.err
    (tmp_path / "frozen.json").write_text("[")
    done = vcm("conformance", "--streams", tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no list of frozen streams" in done.err


def test_thumbnails_are_means_of_cells(picture) -> None:
    cells = thumbnail(picture)
    assert len(cells) == 48
    assert list(cells[:3]) == picture[:10, :14].reshape(-1, 3).mean(0).round().astype(int).tolist()
    assert thumbnail(picture[:1, :1]) == picture[0, 0].tobytes()
    assert len(thumbnail(picture[:3, :1])) == 9
