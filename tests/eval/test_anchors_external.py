"""External encoders: their command lines, their streams and their failures, with small programs in their place.

The programs are scripts that check what they are given and do the coding with what is here: HEVC for HM, and for VVenC
one stream that it once wrote. Where the real ones are installed (VCM_HM_ENCODER and so on, or on PATH), they are tried
too.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.anchors import ANCHORS
from eval.anchors.external import KINDS
from eval.anchors.units import add_crop, read_crop, strip_sei
from eval.metrics import psnr_db

FAKE_HM = """
import sys, pathlib
import numpy as np
arguments = sys.argv[1:]
assert arguments[:2] == ["-c", CFG] if CFG else "--MaxCUWidth=64" in arguments, arguments
given = dict(zip(arguments, arguments[1:]))
width, height = int(given["-wdt"]), int(given["-hgt"])
assert width % 8 == height % 8 == 0 and min(width, height) >= 64
assert given["-f"] == "1" and given["-fr"] == "25" and "--InputBitDepth=8" in arguments
assert "--InputChromaFormat=420" in arguments and given["-o"] == "/dev/null"
samples = np.frombuffer(pathlib.Path(given["-i"]).read_bytes(), np.uint8)
y, cb, cr = np.split(samples, [width * height, width * height * 5 // 4])
half = (height // 2, width // 2)
from eval.anchors import ANCHORS
data = ANCHORS["x265"](int(given["-q"]))._encode_planes((y.reshape(height, width), cb.reshape(half), cr.reshape(half)))
sei = b"\\0\\0\\1\\x4e\\x01" + b"a decoded picture hash"
pathlib.Path(given["-b"]).write_bytes(data + sei)
print("POC 0")
"""
FAKE_HM_DECODER = """
import io, sys, pathlib
import av
import numpy as np
given = dict(zip(sys.argv[1:], sys.argv[2:]))
assert given["-d"] == "8"
stream = pathlib.Path(given["-b"]).read_bytes()
with av.open(io.BytesIO(stream), format="hevc") as container:
    frame = next(container.decode(video=0))
pathlib.Path(given["-o"]).write_bytes(frame.to_ndarray().tobytes())
"""
# smooth(70, 61), padded to 64x72, by VVenC 1.15.0-dev with the command line of the anchor at quantiser 50
VVC = bytes.fromhex(
    "000000010079000d8210800080820491a80fa6dd32348a4de709b2b182041382affd2ecbfc792000000300200000030326200000000100810000"
    "410248987ec0800000010041c40180abc0058a88c0b31593e663806daa481f40"
)
FAKE_VVENC = f"""
import sys, pathlib
given = dict(zip(sys.argv[1:], sys.argv[2:]))
assert given["-s"] == "64x72" and given["-q"] == "50" and given["-f"] == "1" and given["--intraperiod"] == "1", given
assert given["-c"] == "yuv420" and given["--qpa"] == "0" and given["-t"] == "1" and given["--preset"] == "medium"
assert pathlib.Path(given["-i"]).stat().st_size == 64 * 72 * 3 // 2
pathlib.Path(given["-o"]).write_bytes({VVC!r})
"""
FAKE_VVDEC = """
import io, sys, pathlib
import av
given = dict(zip(sys.argv[1:], sys.argv[2:]))
with av.open(io.BytesIO(pathlib.Path(given["-b"]).read_bytes()), format="vvc") as container:
    frame = next(container.decode(video=0))
assert frame.format.name == "yuv420p10le"
pathlib.Path(given["-o"]).write_bytes(frame.to_ndarray().tobytes())
"""


def program(path: Path, code: str) -> Path:
    root = Path(__file__).resolve().parents[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n{code}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def fake_hm(tmp_path, monkeypatch):
    for variable in KINDS["hm"].variables:
        monkeypatch.delenv(variable, raising=False)
    program(tmp_path / "bin" / "TAppEncoderStatic", f"CFG = ''\n{FAKE_HM}")
    program(tmp_path / "bin" / "TAppDecoderStatic", FAKE_HM_DECODER)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return np.stack([60 + 0.7 * x, 200 - 0.8 * y, 90 + 40 * np.sin(x / 19 + y / 17)], -1).round().astype(np.uint8)


def test_hm_by_path(fake_hm):
    codec = ANCHORS["hm"](20)
    data = codec.encode(smooth(70, 61))
    assert b"hash" not in data  # supplemental information does not count
    plain, columns, rows = read_crop("hevc", data)
    assert (columns, rows, len(data) - len(plain)) == (3, 2, 7)
    decoded = ANCHORS["hm"]().decode(data)
    assert decoded.shape == (70, 61, 3)
    assert psnr_db(smooth(70, 61), decoded) > 35
    assert np.array_equal(decoded, ANCHORS["x265"]().decode(data))  # the same colours and crop as x265's
    assert data == codec.encode(smooth(70, 61))


def test_the_command_is_recorded(fake_hm):
    command = ANCHORS["hm"](33).command
    assert command.startswith(str(fake_hm / "bin" / "TAppEncoderStatic"))
    assert "-i IN.yuv -wdt WIDTH -hgt HEIGHT -fr 25 -f 1 -q 33" in command
    assert f"&& {fake_hm / 'bin' / 'TAppDecoderStatic'} -b STREAM -o OUT.yuv -d 8" in command


def test_configuration_by_variable_and_beside_the_program(fake_hm, monkeypatch):
    plain = ANCHORS["hm"]().weights_sha256
    cfg = fake_hm / "cfg" / "encoder_intra_main.cfg"
    cfg.parent.mkdir()
    cfg.write_text("Profile : main\n")
    program(fake_hm / "bin" / "TAppEncoderStatic", f"CFG = {str(cfg)!r}\n{FAKE_HM}")
    codec = ANCHORS["hm"]()
    assert f"-c {cfg}" in codec.command
    assert codec.encode(smooth(16, 16))
    assert codec.weights_sha256 != plain
    monkeypatch.setenv("VCM_HM_CFG", str(fake_hm / "none.cfg"))
    with pytest.raises(FileNotFoundError, match=r"none\.cfg: no such file; set VCM_HM_CFG"):
        ANCHORS["hm"]()


def test_vtm_needs_its_configuration(tmp_path, monkeypatch):
    for variable in KINDS["vtm"].variables:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("VCM_VTM_ENCODER", str(program(tmp_path / "bin" / "EncoderApp", "")))
    monkeypatch.setenv("VCM_VTM_DECODER", str(program(tmp_path / "bin" / "DecoderApp", "")))
    with pytest.raises(FileNotFoundError, match=r"set VCM_VTM_CFG to encoder_intra_vtm\.cfg"):
        ANCHORS["vtm"]()
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "encoder_intra_vtm.cfg").write_text("")
    assert "--InternalBitDepth=10" in ANCHORS["vtm"](30).command


def test_vvenc(tmp_path, monkeypatch):
    """A true VVC stream of 10 bits: its size is read from it, its crop unit is ours."""
    monkeypatch.setenv("VCM_VVENC", str(program(tmp_path / "vvencapp", FAKE_VVENC)))
    monkeypatch.setenv("VCM_VVDEC", str(program(tmp_path / "vvdecapp", FAKE_VVDEC)))
    codec = ANCHORS["vvenc"](50)
    assert "-s WIDTHxHEIGHT -c yuv420 -r 25 -f 1 -q 50 --preset medium --intraperiod 1 --qpa 0" in codec.command
    data = codec.encode(smooth(70, 61))
    assert len(data) == len(VVC) + 7
    decoded = ANCHORS["vvenc"]().decode(data)
    assert decoded.shape == (70, 61, 3)
    assert psnr_db(smooth(70, 61), decoded) == pytest.approx(34.263, abs=0.01)
    for damaged in (data[:40], b"", data[20:]):
        with pytest.raises(ValueError, match="damaged vvenc stream") as caught:
            codec.decode(damaged)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", KINDS)
def test_a_missing_program_is_one_line(name, tmp_path, monkeypatch):
    for variable in filter(None, KINDS[name].variables):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{name}: .* is not on PATH; install it, or set VCM_") as caught:
        ANCHORS[name](30)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv(KINDS[name].variables[0], str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="none is not a program"):
        ANCHORS[name](30)


def test_failures_are_one_line(fake_hm):
    codec = ANCHORS["hm"]()
    data = codec.encode(smooth(64, 64))
    for damaged in (b"", b"\0" * 50, data[: len(data) // 3]):
        with pytest.raises(ValueError, match="damaged hm stream") as caught:
            codec.decode(damaged)
        assert "\n" not in str(caught.value)
    program(fake_hm / "bin" / "TAppDecoderStatic", "sys.exit()")
    with pytest.raises(ValueError, match="0 bytes decoded for a 64x64 picture"):
        codec.decode(data)
    program(fake_hm / "bin" / "TAppEncoderStatic", "print('Error: bad QP')\nsys.exit(3)")
    with pytest.raises(ValueError, match=r"hm:37 refuses a 64x64 picture: .* ended with code 3 \(Error: bad QP\)"):
        codec.encode(smooth(64, 64))
    program(fake_hm / "bin" / "TAppEncoderStatic", "")
    with pytest.raises(ValueError, match="wrote no stream"):
        codec.encode(smooth(64, 64))


@pytest.mark.parametrize(("name", "quality"), [("hm", 52), ("hm", 30.5), ("hm", -1)])
def test_impossible_quality(fake_hm, name, quality):
    with pytest.raises(ValueError, match=f"{name}:{quality}: the quality is a whole number"):
        ANCHORS[name](quality)


def test_ten_bit_output_is_rounded():
    from eval.anchors.external import _planes

    samples = (np.arange(96, dtype="<u2") * 4 + 2).view(np.uint8)
    planes = _planes(samples, 8, 8)
    assert planes is not None
    assert np.array_equal(np.concatenate([plane.ravel() for plane in planes]), np.arange(1, 97))


def test_vvc_units():
    """VVC tells the type of a unit in its second byte; the crop unit is of type 28, which is unspecified."""
    slice_unit, sei = b"\x00\x41\xaa\xbb", b"\x00\xb9\x01\x02"  # types 8 (IDR_N_LP) and 23 (prefix SEI)
    data = strip_sei("vvc", b"\x00\x00\x00\x01" + sei + b"\x00\x00\x01" + slice_unit)
    assert data == b"\x00\x00\x00\x01" + slice_unit
    assert read_crop("vvc", add_crop("vvc", data, 5, 63)) == (data, 5, 63)
    assert read_crop("vvc", data) == (data, 0, 0)


@pytest.mark.parametrize("name", KINDS)
def test_the_real_programs(name):
    try:
        codec = ANCHORS[name](30)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    for size in ((64, 64), (70, 61)):
        data = codec.encode(smooth(*size))
        decoded = codec.decode(data)
        assert decoded.shape == (*size, 3)
        assert psnr_db(smooth(*size), decoded) > 30
        assert len(ANCHORS[name](50).encode(smooth(*size))) < len(data)
