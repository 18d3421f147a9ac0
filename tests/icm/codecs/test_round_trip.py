"""Pictures of every size through real bytes, in this process and in a fresh one."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import icm
from icm.bitstream import StreamError, read
from icm.codecs.picture import PictureCodec, tiles
from tests.icm.conftest import picture, tiny_network

RNG = np.random.default_rng(7)
SIZES = [(1, 1), (1, 50), (50, 1), (15, 16), (16, 16), (17, 63), (64, 65), (2, 700)]
SIZES += [tuple(int(n) for n in RNG.integers(1, 180, 2)) for _ in range(52)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_decoder_gives_what_the_encoder_knew(tiny_weights: Path, height: int, width: int) -> None:
    codec = PictureCodec("sa-icm-s", float(RNG.uniform(1, 100)), weights=tiny_weights)
    original = picture(height, width)
    data = codec.encode(original)
    y = codec.coder.analyse(original, codec.code)
    payload, y_hat = codec.coder.encode_tile(y, codec.code)
    expected = codec.coder.synthesise(y_hat, height, width, codec.code)
    assert np.array_equal(codec.decode(data), expected)
    assert len(data) <= len(payload) + 48
    with read(data) as stream:
        assert sum(length for _, _, length in stream.layout()) == len(data)


def test_fresh_process_needs_file_and_weights_alone(tiny_weights: Path, tmp_path: Path) -> None:
    codec = PictureCodec("sa-icm-s", 60, weights=tiny_weights)
    path = tmp_path / "a.vcm"
    path.write_bytes(codec.encode(picture(75, 131)))
    program = (
        "import sys, hashlib, icm; "
        "print(hashlib.sha256(icm.decode(sys.argv[1], weights=sys.argv[2]).tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, path, tiny_weights], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(codec.decode(path).tobytes()).hexdigest()


def test_quality_is_continuous_and_buys_bytes(tiny_weights: Path) -> None:
    original = picture(160, 160)
    sizes = [
        len(PictureCodec("sa-icm-s", q, weights=tiny_weights).encode(original)) for q in (1, 25, 50, 50.5, 75, 100)
    ]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("quality", [0.5, 101, float("nan")])
def test_quality_out_of_range_is_refused(tiny_weights: Path, quality: float) -> None:
    with pytest.raises(ValueError, match="outside 1 to 100"):
        PictureCodec("sa-icm-s", quality, weights=tiny_weights)


@pytest.mark.parametrize("tile", [64, 128])
def test_tiles_leave_no_seam(tiny_weights: Path, tile: int) -> None:
    """Synthesis reaches across tiles: in regions it gives the pixels that it gives as a whole."""
    codec = PictureCodec("sa-icm-s", 70, weights=tiny_weights, tile=tile)
    original = picture(150, 400)
    with read(codec.encode(original)) as stream:
        assert len(stream) == len(tiles(10, 25, tile))
        decoded = codec.decode_frame(stream, 0)
    y = codec.coder.analyse(original, codec.code)
    whole = torch.zeros_like(y)
    for r0, r1, c0, c1 in tiles(*y.shape[1:], tile):
        whole[:, r0:r1, c0:c1] = codec.coder.encode_tile(y[:, r0:r1, c0:c1], codec.code)[1]
    for region in (64, 96, 1024):
        again = codec.coder.synthesise(whole, 150, 400, codec.code, region=region)
        assert np.abs(again.astype(int) - decoded).max() <= 1


def test_analysis_in_regions_is_the_whole(tiny_weights: Path) -> None:
    coder = PictureCodec("sa-icm-s", 70, weights=tiny_weights).coder
    original = picture(200, 330)
    assert torch.allclose(coder.analyse(original, 800, region=80), coder.analyse(original, 800), atol=1e-4)


def test_clip_any_frame_alone(tiny_weights: Path) -> None:
    codec = PictureCodec("sa-icm-s", 40, weights=tiny_weights, refresh=1)  # others: test_clips.py
    frames = [picture(48, 80, seed) for seed in range(6)]
    ticks = [0, 3, 6, 10, 13, 16]
    data = codec.encode_clip(zip(frames, ticks, strict=True), Fraction(1, 100))
    everything = list(codec.decode_clip(data))
    assert [tick for _, tick in everything] == ticks
    for (alone, tick), (in_order, _) in zip(codec.decode_clip(data, 3, 5), everything[3:5], strict=True):
        assert tick in ticks
        assert np.array_equal(alone, in_order)
    assert np.array_equal(everything[2][0], codec.decode(codec.encode(frames[2])))


def test_a_clip_is_no_picture(tiny_weights: Path) -> None:
    codec = PictureCodec("sa-icm-s", 40, weights=tiny_weights)
    data = codec.encode_clip([(picture(20, 30, seed), seed) for seed in range(3)], Fraction(1, 25), "bt709")
    for decode in (codec.decode, lambda data: icm.decode(data, weights=tiny_weights)):
        with pytest.raises(StreamError, match=r"^holds a clip of 3 frames, not a picture; use decode_clip") as caught:
            decode(data)
        assert "\n" not in str(caught.value)
    with read(data) as stream:
        assert stream.header.colour == "bt709"


def test_weights_that_do_not_match_are_named(tiny_weights: Path, tmp_path: Path) -> None:
    from icm.codecs.release import Release

    other = tiny_network(1)
    other.use_integers()
    Release.from_model(other).save(tmp_path / "other.safetensors")
    data = PictureCodec("sa-icm-s", 40, weights=tiny_weights).encode(picture(40, 40))
    codec = PictureCodec("sa-icm-s", 40, weights=tmp_path / "other.safetensors")
    with pytest.raises(StreamError, match=r"made with weights [0-9a-f]{16} .* is [0-9a-f]{16}"):
        codec.decode(data)


def test_old_weights_are_found_by_their_hash(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams name their weights by hash: shipped weights that have been replaced go on decoding what they made."""
    import shutil

    from icm.codecs import release

    (tmp_path / "icm" / "weights" / "old").mkdir(parents=True)
    shutil.copy(tiny_weights, tmp_path / "icm" / "weights" / "old" / "first.safetensors")
    other = tiny_network(2)
    other.use_integers()
    release.Release.from_model(other).save(tmp_path / "icm" / "weights" / "sa-icm-s.safetensors")
    monkeypatch.setattr(release, "__file__", str(tmp_path / "icm" / "codecs" / "release.py"))
    old = PictureCodec("sa-icm-s", 40, weights=tiny_weights)
    from icm.codecs.picture import coder_of

    coder_of.cache_clear()
    data = old.encode(picture(40, 50))
    assert np.array_equal(icm.decode(data), old.decode(data))
    coder_of.cache_clear()


def test_memory_that_is_declared_too_small_is_refused(tiny_weights: Path) -> None:
    import dataclasses

    from icm.bitstream import write

    codec = PictureCodec("sa-icm-s", 40, weights=tiny_weights)
    with read(codec.encode(picture(300, 300))) as stream:
        data = write(dataclasses.replace(stream.header, memory=1), list(stream.sections()))
    with pytest.raises(StreamError, match="decode memory"):
        codec.decode(data)


def test_weights_files_are_the_same_bytes(tiny_weights: Path, tmp_path: Path) -> None:
    from icm.codecs.release import Release

    release = Release.load(tiny_weights)
    for i in range(6):
        release.save(tmp_path / f"{i}.safetensors")
    assert len({(tmp_path / f"{i}.safetensors").read_bytes() for i in range(6)}) == 1
    assert Release.load(tmp_path / "0.safetensors").hash == release.hash


@pytest.mark.parametrize("broken", [[11], [0, 7], [5]])
def test_partial_keeps_the_intact_tiles(tiny_weights: Path, broken: list[int]) -> None:
    """Outside of what is called lost or approximate, no pixel differs; what is called lost is the tiles' own place."""
    codec = PictureCodec("sa-icm-s", 60, weights=tiny_weights, tile=64)
    reach = 16 * codec.coder.margin
    height, width = 250, 64 * 6 + 9  # 4 x 7 tiles, the last ones cut
    data = bytearray(codec.encode(picture(height, width)))
    with read(bytes(data)) as stream:
        intact = codec.decode_frame(stream, 0)
        offsets = {name: offset for name, offset, _ in stream.layout()}
    for section in broken:
        data[offsets[f"section {section}"]] ^= 1
    with pytest.raises(StreamError):
        codec.decode(bytes(data))
    with read(bytes(data), partial=True) as stream:
        shown, lost, approximate = codec.decode_partial(stream)
    assert list(lost) == [
        (64 * r, min(64 * r + 64, height), 64 * c, min(64 * c + 64, width)) for r, c in (divmod(i, 7) for i in broken)
    ]
    assert approximate == [
        (max(0, top - reach), min(height, bottom + reach), max(0, left - reach), min(width, right + reach))
        for top, bottom, left, right in lost
    ]
    changed = (shown != intact).any(-1)
    for top, bottom, left, right in lost:
        assert (shown[top:bottom, left:right] == 128).all()
        changed[top:bottom, left:right] = False
    assert changed.any()  # so that the border is needed
    for top, bottom, left, right in approximate:
        changed[top:bottom, left:right] = False
    assert not changed.any()


def test_module_interface(tiny_weights: Path) -> None:
    """forward, compress and decompress as CompressAI's users know them; the estimate is what the coder spends."""
    model = icm.build("sa-icm-s", weights=tiny_weights)
    x = torch.from_numpy(np.stack([picture(96, 120, s) for s in range(2)])).permute(0, 3, 1, 2).float() / 255
    out = model(x, torch.tensor([50.0, 50.0]))
    assert out["x_hat"].shape == x.shape
    assert model.update()
    packed = model.compress(x, quality=50)
    bits = -sum(float(torch.log2(p.detach()).sum()) for p in out["likelihoods"].values())
    assert 8 * sum(map(len, packed["strings"][0])) == pytest.approx(bits, rel=0.03)
    assert model.decompress(packed["strings"], packed["shape"], quality=50)["x_hat"].shape == x.shape


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="unknown codec nothing; known: sa-icm-s"):
        icm.encode(picture(8, 8), "nothing:3")
    with pytest.raises(ValueError, match="neither a file nor the name"):
        icm.build("sa-icm-s", weights="no-such-weights")
