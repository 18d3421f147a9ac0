"""`vcm info` accounts for every byte; `vcm verify` finds what is wrong, and says how far it looked."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from icm.bitstream import SAME_BUILD, Header, Times, write
from pipelines import codecs
from pipelines import verify as stage
from pipelines.cli import main

PICTURE = Header("picture", 80, 50, "sa-icm-s", bytes(range(8)), b"\x90\x01\x0a", 1 << 27)
CLIP = Header("clip", 64, 48, "a-model", b"weights!", times=Times.constant(50, 25), colour="bt709", features=SAME_BUILD)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    data = write(PICTURE, [b"first tile", b"second"])
    sections = [bytes(i % 7) for i in range(50)]
    contents = {
        "good": data,
        "cut": data[:-8],
        "long": data + b"xyz",
        "clip": write(CLIP, sections),
        "other": b"\x89PNG",
    }
    contents["flip"] = data[:-12] + bytes([data[-12] ^ 1]) + data[-11:]
    for name, content in contents.items():
        (tmp_path / f"{name}.vcm").write_bytes(content)
    return {name: tmp_path / f"{name}.vcm" for name in contents}


class Checker:
    """A codec that can check symbols: it wants every section to be longer than six bytes."""

    def __init__(self, quality=None, **options) -> None:
        pass

    def verify(self, path):
        from icm.bitstream import read

        with read(path) as stream:
            return [f"section {i}: desynchronised" for i, n in enumerate(stream.lengths) if n <= 6]


@pytest.fixture
def known(monkeypatch):
    """Only the codec above, under the name in PICTURE."""
    stage._codec.cache_clear()
    monkeypatch.setattr(codecs, "table", lambda: {"sa-icm-s": Checker})
    yield
    stage._codec.cache_clear()


@pytest.mark.parametrize("name", ["good", "cut", "long", "clip", "flip"])
def test_info_accounts_for_every_byte(files, name, capsys):
    path = files[name]
    code = main(["info", str(path), "--json"])
    facts = json.loads(capsys.readouterr().out)
    at = 0
    for part in facts["parts"]:
        assert part["offset"] == at
        at += part["bytes"]
    size = path.stat().st_size
    assert at == size == facts["bytes"]
    assert facts["rate_bpp"] == 8 * size / (facts["width"] * facts["height"] * facts["frames"])
    assert sum(p["rate_bpp"] for p in facts["parts"]) == pytest.approx(facts["rate_bpp"])
    assert code == (1 if name in ("cut", "long") else 0)
    assert bool(facts["problem"]) == bool(code)


def test_info_reads_well(files, capsys):
    assert main(["info", str(files["clip"])]) == 0
    out = capsys.readouterr().out
    first = out.splitlines()[0]
    assert first == f"{files['clip']}: clip, 64x48, 50 frames, {files['clip'].stat().st_size} bytes, 0.0230 bpp"
    for words in ("a-model", "2.000 s, 25 frames per second (constant), 1.8 kbit/s", "bt709", "same-build", "VCM 1.0"):
        assert words in out
    assert "sections 16 to 49, 0 to 6 bytes" in out
    assert "100.00 %   the whole file" in out
    assert max(map(len, out.splitlines()[1:])) <= 120
    assert main(["info", str(files["clip"]), "--all"]) == 0
    assert "section 49" in capsys.readouterr().out
    assert main(["info", str(files["cut"])]) == 1
    out = capsys.readouterr().out
    assert "truncated: " in out
    assert "section 1 (4 bytes missing)" in out


def test_info_shows_irregular_times(tmp_path, capsys):
    times = Times.of([0, 1, 3], Fraction(1, 10))
    (tmp_path / "v.vcm").write_bytes(write(Header("network", 8, 8, "nerv", bytes(8), times=times), [b"net"]))
    assert main(["info", str(tmp_path / "v.vcm")]) == 0
    assert "6.66667 frames per second (varying, on average)" in capsys.readouterr().out
    one = Header("clip", 8, 8, "nerv", bytes(8), times=Times.constant(1, 30))
    (tmp_path / "o.vcm").write_bytes(write(one, [b"net"]))
    assert main(["info", str(tmp_path / "o.vcm")]) == 0
    assert "one frame, time base 1/30 s" in capsys.readouterr().out


@pytest.mark.parametrize("stage_name", ["info", "verify"])
def test_what_is_not_there_is_a_bad_request(stage_name, tmp_path, capsys):
    assert main([stage_name, str(tmp_path / "none.vcm")]) == 2
    assert main([stage_name, str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"vcm: {tmp_path}") for line in lines)


def test_info_of_another_file_is_one_line(files, capsys):
    assert main(["info", str(files["other"])]) == 2
    assert capsys.readouterr().err == f"vcm: {files['other']}: not a .vcm file: it does not begin with VCM\n"


def test_verify_names_what_is_wrong(files, known, capsys):
    assert main(["verify", str(files["good"].parent), "--container"]) == 1
    out = capsys.readouterr().out
    assert out.endswith("6 files: 2 intact, 4 not\n")
    assert f"NOT INTACT  {files['cut']}: truncated: section 1 lacks 4 of 6 bytes" in out
    assert f"NOT INTACT  {files['flip']}: damaged: section 0 of 2 does not match its CRC32C" in out
    assert f"NOT INTACT  {files['long']}: damaged: 3 bytes follow the end of the file" in out
    assert f"NOT INTACT  {files['other']}: not a .vcm file" in out
    assert f"intact      {files['good']}: {files['good'].stat().st_size} bytes, 2 sections; container only" in out


def test_verify_asks_the_codec_and_says_when_it_cannot(files, known, capsys):
    assert main(["verify", str(files["good"])]) == 1
    assert capsys.readouterr().out == f"NOT INTACT  {files['good']}: section 1: desynchronised\n"
    files["good"].write_bytes(write(PICTURE, [b"a tile of some bytes"]))
    assert main(["verify", str(files["good"])]) == 0
    assert "1 section; container and symbols" in capsys.readouterr().out
    assert main(["verify", str(files["clip"])]) == 0
    assert "container only (this version knows no codec a-model)" in capsys.readouterr().out


def test_verify_as_json(files, known, capsys):
    assert main(["verify", str(files["good"].parent), "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["intact"], result["damaged"]) == (1, 5)
    by_name = {Path(item["file"]).stem: item for item in result["files"]}
    assert by_name["clip"]["checked"] == "container"
    assert by_name["good"]["checked"] == "symbols"
    assert by_name["other"]["checked"] == "nothing"
    assert by_name["flip"]["problems"][0].startswith("damaged: section 0")


def test_weights_that_are_missing_are_a_bad_request_only_when_named(files, monkeypatch, capsys):
    def builder(quality=None, **options):
        raise ValueError("no such weights")

    stage._codec.cache_clear()
    monkeypatch.setattr(codecs, "table", lambda: {"sa-icm-s": builder})
    assert main(["verify", str(files["good"])]) == 0
    assert "container only (no such weights)" in capsys.readouterr().out
    assert main(["verify", str(files["good"]), "--weights", "x.safetensors"]) == 2
    assert capsys.readouterr().err == "vcm: no such weights\n"


def test_clips_of_changed_tiles(vcm, tmp_path):
    """Key frames and tiles sent, for people and for machines; the frames that damage concerns, from `vcm verify`."""
    frozen = Path(__file__).parents[1] / "conformance"
    done = vcm("info", frozen / "changed.vcm")
    assert done.code == 0
    assert "key_frames  0, 4\n" in done.out
    assert "changed tiles" in done.out
    for line in ("section 0 (frame 0: key frame)", "section 1 (frame 1: 2 of 12 tiles)", "section 3 (frame 3: 0 of 12"):
        assert line in done.out
    facts = json.loads(vcm("info", frozen / "changed.vcm", "--json").out)
    assert facts["codec"]["tiles_sent"] == [12, 2, 2, 0, 12, 4, 0]
    assert (facts["codec"]["tiles_a_frame"], facts["codec"]["tile_px"]) == (12, 64)
    assert sum(part["bytes"] for part in facts["parts"]) == (frozen / "changed.vcm").stat().st_size
    damaged = bytearray((frozen / "changed.vcm").read_bytes())
    damaged[next(part["offset"] for part in facts["parts"] if part["name"].startswith("section 2 "))] ^= 1
    (tmp_path / "a.vcm").write_bytes(damaged)
    weights = "--weights", frozen / "tiny.safetensors"
    assert vcm("verify", tmp_path / "a.vcm", *weights).code == 1
    assert vcm("verify", frozen / "changed.vcm", *weights).out.count("symbols") == 1
    done = vcm("decode", tmp_path / "a.vcm", "-o", tmp_path / "b", *weights)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "section 2 of 7 does not match its CRC32C; frames 2 to 3 lack something" in done.err
    done = vcm("decode", tmp_path / "a.vcm", "-o", tmp_path / "c", "--partial", *weights)
    assert done.code == 1
    names = {path.name for path in (tmp_path / "c").iterdir()}
    assert sorted(name for name in names if "damage" in name) == ["frame_000002.damage.png", "frame_000003.damage.png"]
