"""Maps of qualities in real files: what the encoder knew comes back, bytes follow the map, and a flat map has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import icm
from icm.bitstream import QUALITY_MAP, Header, StreamError, read, write
from icm.codecs.picture import PictureCodec
from icm.codecs.sa_icm_s import SaIcmS
from icm.quality import Gains
from icm.quality_map import CELLS, QualityMap, Roi, grid
from tests.icm.conftest import picture

RNG = np.random.default_rng(3)


def a_map(height: int, width: int, cell: int = 32, step: int = 25, highest: int = 2) -> QualityMap:
    depths = RNG.integers(0, highest + 1, grid(height, width, cell)).astype(np.uint8)
    depths.flat[0] = highest  # never flat
    return QualityMap(Roi(cell, step), depths)


@pytest.fixture(scope="module")
def codec(tiny_weights: Path) -> PictureCodec:
    return PictureCodec("sa-icm-s", 70, weights=tiny_weights, tile=64)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 17), (75, 131), (64, 128), (200, 90)])
def test_decoder_gives_what_the_encoder_knew(tiny_weights: Path, height: int, width: int, cell: int) -> None:
    """In one tile, so that one call of the coder can be compared with."""
    codec = PictureCodec("sa-icm-s", 70, weights=tiny_weights, tile=256)
    original, roi = picture(height, width), a_map(height, width, cell)
    y = codec.coder.analyse(original, codec.code)
    _, y_hat = codec.coder.encode_tile(y, codec.code, roi)
    expected = codec.coder.synthesise(y_hat, height, width, codec.code)
    data = codec.encode(original, roi)
    assert np.array_equal(codec.decode(data), expected)
    assert codec.verify(data) == []
    with read(data) as stream:
        assert stream.header.features == QUALITY_MAP
        assert stream.header.parameters[3:] == roi.roi.to_bytes()


def test_tiles_have_their_own_parts_of_the_map(codec: PictureCodec) -> None:
    original, roi = picture(150, 200), a_map(150, 200)
    data = codec.encode(original, roi)
    whole = codec.decode(data)
    assert codec.verify(data) == []
    with read(data) as stream:
        assert len(stream) == 3 * 4
        sections = [stream.section(i) for i in range(len(stream))]
        header = stream.header
    sections[5] = sections[5][:-1] + bytes([sections[5][-1] ^ 1])
    with read(write(header, sections)) as stream:
        partial, lost, _ = codec.decode_partial(stream)
        assert list(lost) == [(64, 128, 64, 128)]
        assert partial.shape == whole.shape


def test_a_map_that_changes_nothing_leaves_no_trace(codec: PictureCodec) -> None:
    original = picture(80, 120)
    flat = QualityMap(Roi(32, 25), np.zeros((3, 4), np.uint8))
    assert codec.encode(original, flat) == codec.encode(original)


def test_in_python(tiny_weights: Path) -> None:
    original, roi = picture(80, 120), a_map(80, 120)
    data = icm.encode(original, "sa-icm-s:70", roi=roi, weights=tiny_weights)
    assert len(data) < len(icm.encode(original, "sa-icm-s:70", weights=tiny_weights))
    assert icm.decode(data, weights=tiny_weights).shape == original.shape


def test_bytes_follow_the_map(codec: PictureCodec) -> None:
    """All cells a step lower cost about what the lower quality costs, and half of them about half the way."""
    original = picture(256, 256)
    high, low = (len(PictureCodec("sa-icm-s", q, codec.weights).encode(original)) for q in (70, 40))
    lower = np.ones((8, 8), np.uint8)
    size = len(PictureCodec("sa-icm-s", 70, codec.weights).encode(original, QualityMap(Roi(32, 30), lower)))
    # g_a was told 70, not 40; beside that, it is the same coding and a map
    assert abs(size - low) < 0.1 * (high - low) + 40
    half = lower.copy()
    half[:4] = 0
    between = len(PictureCodec("sa-icm-s", 70, codec.weights).encode(original, QualityMap(Roi(32, 30), half)))
    assert size < between < high


def test_what_is_kept_is_kept_better(codec: PictureCodec) -> None:
    original = picture(192, 192)
    depths = np.full((6, 6), 3, np.uint8)
    depths[2:4, 2:4] = 0
    decoded = codec.decode(codec.encode(original, QualityMap(Roi(32, 20), depths))).astype(float)
    plain = PictureCodec("sa-icm-s", 10, codec.weights, 64)
    low = plain.decode(plain.encode(original)).astype(float)
    inside = np.s_[64:128, 64:128]
    full = codec.decode(codec.encode(original)).astype(float)
    assert np.abs(decoded - full)[inside].mean() < np.abs(low - full)[inside].mean()


def test_wrong_maps_are_refused(codec: PictureCodec) -> None:
    with pytest.raises(ValueError, match="3x3 cells of 32 pixels does not fit a picture of 100x40"):
        codec.encode(picture(40, 100), QualityMap(Roi(32, 20), np.ones((3, 3), np.uint8)))
    data = codec.encode(picture(80, 120), a_map(80, 120))
    with read(data) as stream:
        header, sections = stream.header, [stream.section(i) for i in range(len(stream))]

    def changed(parameters: bytes, features: int = QUALITY_MAP, memory: int = header.memory) -> bytes:
        return write(Header("picture", 120, 80, header.model, header.weights, parameters, memory, features=features),
                     sections)  # fmt: skip

    for parameters, features in ((header.parameters[:3], QUALITY_MAP), (header.parameters, 0)):
        with pytest.raises(StreamError, match="bytes of parameters"):
            codec.decode(changed(parameters, features))
    with pytest.raises(StreamError, match="cells of 16, 32, 64 pixels, not 512"):
        codec.decode(changed(header.parameters[:3] + b"\x09\x14"))
    with pytest.raises(StreamError, match="bytes of decode memory"):
        codec.decode(changed(header.parameters, memory=1 << 15))


def test_damage_is_told(codec: PictureCodec) -> None:
    """The payload alone, without its checksum: bits of the map and of what follows it."""
    y = codec.coder.analyse(picture(64, 64), codec.code)
    roi = a_map(64, 64, 16)
    payload, y_hat = codec.coder.encode_tile(y, codec.code, roi)
    silent = 0
    for at in range(0, 8 * len(payload), 7):
        damaged = bytearray(payload)
        damaged[at // 8] ^= 1 << at % 8
        try:
            got = codec.coder.decode_tile(bytes(damaged), 4, 4, codec.code, roi.roi)
        except StreamError:
            continue
        silent += not torch.equal(got, y_hat)
    assert silent == 0


def test_info_says_so(codec: PictureCodec) -> None:
    with read(codec.encode(picture(80, 120), a_map(80, 120, 16, 25))) as stream:
        facts = icm.describe(stream.header)
    assert facts["quality"] == 70
    assert facts["roi_cell_px"] == 16
    assert facts["roi_step"] == 25


def test_training_sees_the_gains_of_streams(tiny_model: SaIcmS) -> None:
    gains = Gains(6)
    with torch.no_grad():
        gains.log_gain.add_(torch.randn(gains.log_gain.shape, generator=torch.Generator().manual_seed(0)))
    quality = torch.tensor([[10.0, 40.0], [40.0, 99.0]])[None]
    maps = gains(quality)
    assert maps.shape == (1, 6, 2, 2)
    for r, c in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert torch.equal(maps[0, :, r, c], gains(quality[:, r, c])[0, :, 0, 0])
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        plain = tiny_model(x, torch.tensor([50.0]))
        mapped = tiny_model(x, torch.tensor([50.0]), torch.full((1, 4, 4), 50.0))
    assert torch.allclose(plain["x_hat"], mapped["x_hat"])
