"""Damaged files: an error or the right picture, never another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from icm.bitstream import StreamError, read, write
from icm.codecs.picture import PictureCodec
from tests.icm.conftest import picture


@pytest.fixture(scope="module")
def codec(tiny_weights: Path) -> PictureCodec:
    return PictureCodec("sa-icm-s", 60, weights=tiny_weights, tile=64)


def damage(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    kind, at = rng.integers(4), int(rng.integers(len(data)))
    if kind == 0:
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(rng.integers(8))
        return bytes(flipped)
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + other[int(rng.integers(len(other))) :]
    return data[:at] + rng.bytes(int(rng.integers(1, 9))) + data[at + int(rng.integers(0, 9)) :]


def test_no_damaged_file_becomes_a_picture(codec: PictureCodec) -> None:
    rng = np.random.default_rng(3)
    data, other = codec.encode(picture(70, 90)), codec.encode(picture(90, 70, 1))
    right, refused = codec.decode(data), 0
    for _ in range(2000):
        broken = damage(data, other, rng)
        try:
            shown = codec.decode(broken)
        except StreamError:
            refused += 1
            continue
        assert broken in (data, other) or np.array_equal(shown, right)
    assert refused >= 1900


def test_behind_repaired_checksums_the_coder_notices(codec: PictureCodec) -> None:
    """Sections changed and sealed again: only the coder's final state can tell, and it does."""
    rng = np.random.default_rng(4)
    with read(codec.encode(picture(64, 64))) as stream:
        header, payload = stream.header, stream.section(0)
    silent = 0
    for _ in range(500):
        broken = bytearray(payload)
        broken[int(rng.integers(len(broken)))] ^= 1 << int(rng.integers(8))
        try:
            codec.decode(write(header, [bytes(broken)]))
            silent += 1
        except StreamError:
            pass
    assert silent == 0


def test_wrong_number_of_sections(codec: PictureCodec) -> None:
    with read(codec.encode(picture(64, 64))) as stream:
        header, payload = stream.header, stream.section(0)
    with pytest.raises(StreamError, match="2 sections for 1 frames of 1 tiles"):
        codec.decode(write(header, [payload, payload]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.0**40])
def test_latents_that_no_symbol_can_hold_are_refused(codec: PictureCodec, value: float) -> None:
    y = torch.zeros(16, 4, 4)
    y[3, 2, 1] = value
    with pytest.raises(ValueError, match=r"not finite|int32"):
        codec.coder.encode_tile(y, codec.code)


@pytest.mark.parametrize("value", [1e3, -1e5, 2.0**27])
def test_huge_latents_round_trip(codec: PictureCodec, value: float) -> None:
    y = torch.zeros(16, 4, 4)
    y[3, 2, 1] = value
    payload, y_hat = codec.coder.encode_tile(y, 800)
    assert torch.equal(codec.coder.decode_tile(payload, 4, 4, 800), y_hat)
    assert float(y_hat[3, 2, 1]) == pytest.approx(value, rel=1e-3)


def test_verify_needs_no_pixels(codec: PictureCodec) -> None:
    data = codec.encode(picture(70, 90))
    assert codec.verify(data) == []
    with read(data) as stream:
        header, sections = stream.header, list(stream.sections())
    changed = bytes([sections[1][0] ^ 4]) + sections[1][1:]
    problems = codec.verify(write(header, [sections[0], changed, *sections[2:]]))
    assert len(problems) == 1
    assert problems[0].startswith("section 1: ")


def test_verify_tells_other_weights_from_damage(tiny_weights: Path, tmp_path: Path) -> None:
    from icm.codecs.release import Release
    from pipelines.verify import check
    from tests.icm.conftest import tiny_network

    other = tiny_network(5)
    other.use_integers()
    Release.from_model(other).save(tmp_path / "other.safetensors")
    path = tmp_path / "a.vcm"
    path.write_bytes(PictureCodec("sa-icm-s", 40, weights=tmp_path / "other.safetensors").encode(picture(40, 40)))
    result = check(path, weights=str(tiny_weights))
    assert result["intact"]
    assert result["checked"] == "container"
    assert "made with weights" in result["note"]
