"""`segpic` through real bytes, on tiny settings: the grid, a label map that is paid for, damage, the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import icm
from icm.bitstream import Decoder, Desynchronised, Encoder, StreamError, read
from icm.codecs.segpic import labels as label_maps
from icm.codecs.segpic.codec import SegpicCodec
from icm.codecs.segpic.coding import Section, SegpicCoder
from icm.codecs.segpic.regions import COARSE, FINE
from pipelines.cli import main
from pipelines.media import read_picture, write_picture
from tests.icm.codecs.test_segpic import tiny
from tests.icm.codecs.test_segpic_published import as_published
from tests.icm.conftest import picture


def regions(height: int, width: int, ids: tuple[int, ...] = (900_001, 3, -7)) -> np.ndarray:
    """A disc, a band and the rest."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.select([(y - 0.4) ** 2 + (x - 0.4) ** 2 < 0.06, x + y > 1], ids[:2], ids[2])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("segpic") / "tiny.safetensors"
    tiny().export(path)
    return path


@pytest.fixture(scope="module")
def codec(weights: Path) -> SegpicCodec:
    made: SegpicCodec = icm.CODECS["segpic"](weights=weights)
    return made


def expected(weights: Path, original: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    network = icm.build("segpic", weights=weights)
    x = torch.from_numpy(original).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        out = network(x, None if labels is None else torch.from_numpy(labels)[None])
    return (out["x_hat"][0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()


# --- files ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [(1, 1), (64, 64), (70, 131)])
@pytest.mark.parametrize("told", [False, True])
def test_a_file_holds_what_the_network_computes(
    weights: Path, codec: SegpicCodec, size: tuple[int, int], told: bool
) -> None:
    original, labels = picture(*size), regions(*size) if told else None
    data = codec.encode(original, labels)
    decoded = icm.decode(data, weights=weights)
    assert np.mean(np.abs(decoded - expected(weights, original, labels))) < 0.5
    assert codec.verify(data) == []
    with read(data) as stream:
        assert stream.header.same_build
        parts = codec.parts(stream)
        assert sum(parts.values()) == len(data)
        assert (parts["labels"] > 0) == (told and size != (1, 1))
        assert parts["container"] <= 48


def test_the_price_of_privilege_is_in_the_file(codec: SegpicCodec) -> None:
    """A map at 1/16 is cheaper than at 1/4, and each is what its coder spends."""
    original, labels = picture(128, 192), regions(128, 192)
    found = {}
    for scale in (FINE, COARSE):
        with read(codec.encode(original, labels, scale)) as stream:
            found[scale] = codec.parts(stream)["labels"]
        encoder = Encoder()
        seen = label_maps.canonical(labels[::scale, ::scale])
        label_maps.code(encoder, seen.shape, seen)
        assert found[scale] == len(encoder.finish())
    assert 0 < found[COARSE] < found[FINE]


def test_labels_change_the_picture_and_their_numbers_do_not(codec: SegpicCodec) -> None:
    original = picture(96, 96)
    told = codec.encode(original, regions(96, 96))
    assert told == codec.encode(original, regions(96, 96, (1, 2, 5)))
    assert not np.array_equal(codec.decode(told), codec.decode(codec.encode(original)))
    assert codec.encode(original) == codec.encode(original, np.zeros((96, 96), np.uint8))


def test_tiles_have_regions_of_their_own(weights: Path) -> None:
    codec = SegpicCodec("segpic", weights=weights, tile=128)
    original, labels = picture(130, 200), regions(130, 200)
    data = codec.encode(original, labels)
    alone = SegpicCodec("segpic", weights=weights)
    window = slice(0, 128), slice(128, 200)
    assert np.array_equal(codec.decode(data)[window], alone.decode(alone.encode(original[window], labels[window])))


def test_labels_that_do_not_fit_are_told(codec: SegpicCodec, tmp_path: Path) -> None:
    original = picture(70, 70)
    for labels, message in (
        (regions(70, 69), "do not fit"), (regions(70, 70).astype(float), "integers"), (None, "no region-adaptive")
    ):  # fmt: skip
        chosen = codec
        if labels is None:
            tiny(rat=False).export(tmp_path / "plain.safetensors")
            chosen, labels = SegpicCodec("segpic", weights=tmp_path / "plain.safetensors"), regions(70, 70)
            assert chosen.verify(chosen.encode(original)) == []
        with pytest.raises(ValueError, match=message) as caught:
            chosen.encode(original, labels)
        assert "\n" not in str(caught.value)
    many = np.arange(70 * 70).reshape(70, 70) + 1
    assert codec.verify(codec.encode(original, many)) == []  # 324 regions
    with pytest.raises(ValueError, match="at most 1024"):
        codec.encode(picture(160, 160), np.arange(160 * 160).reshape(160, 160) + 1)


def test_sections_that_were_changed_are_refused(weights: Path, codec: SegpicCodec) -> None:
    """Behind the checksums: a map that was cut or changed, symbols of the grid read with a map, the empty section."""
    coder: SegpicCoder = codec.coder
    original, rng = picture(64, 96), np.random.default_rng(0)
    payload = coder.encode_tile(original, 12, regions(64, 96))
    section = Section.parse(payload)
    assert section.to_bytes() == payload
    assert section.labels
    grid = Section.parse(coder.encode_tile(original, 12)).symbols
    told = section.labels
    swapped = [(told, FINE, grid), (None, FINE, section.symbols), (told, COARSE, section.symbols),
               (told[:-1], FINE, section.symbols)]  # fmt: skip
    wrong = [b"", payload[:3], *(Section(*parts).to_bytes() for parts in swapped)]
    for _ in range(12):
        changed = bytearray(payload)
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        wrong.append(bytes(changed))
    for data in wrong:
        with pytest.raises(StreamError):
            coder.decode_tile(data, 64, 96, 12)


def test_another_layout_or_number_of_threads_decodes_the_same(codec: SegpicCodec) -> None:
    original = picture(100, 150)
    payload = codec.coder.encode_tile(original, 12, regions(100, 150))
    decoded = codec.coder.decode_tile(payload, 100, 150, 12).astype(int)
    other, threads = SegpicCoder(codec.coder.release), torch.get_num_threads()
    other.net = other.net.to(memory_format=torch.contiguous_format)
    torch.set_num_threads(3)
    try:
        assert np.abs(other.decode_tile(payload, 100, 150, 12) - decoded).max() <= 1
    finally:
        torch.set_num_threads(threads)


def test_module_interface(weights: Path) -> None:
    """CompressAI's calls; the estimate is what the coder spends beside the label map."""
    model = icm.build("segpic", weights=weights)
    x = torch.from_numpy(np.stack([picture(64, 128, s) for s in range(2)])).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(regions(64, 128)).expand(2, -1, -1)
    with pytest.raises(ValueError, match="call update"):
        model.compress(x)
    assert model.update()
    for told in (None, labels):
        with torch.no_grad():
            out = model(x, told)
        packed = model.compress(x, told)
        decoded = model.decompress(packed["strings"], packed["shape"])["x_hat"]
        assert torch.allclose(decoded, out["x_hat"].clamp(0, 1), atol=1e-3)
        bits = -sum(torch.log2(p).sum().item() for p in out["likelihoods"].values())
        symbols = [Section.parse(string).symbols for string in packed["strings"][0]]
        assert 8 * sum(map(len, symbols)) == pytest.approx(bits, rel=0.05)  # some of it for the guard


# --- label maps -----------------------------------------------------------------------------------------------------
RNG = np.random.default_rng(5)
MAPS = {
    "one position": np.array([[4]]),
    "a row": RNG.integers(0, 3, (1, 40)),
    "a column": RNG.integers(0, 3, (40, 1)),
    "noise": RNG.integers(0, 9, (17, 23)),
    "many": RNG.integers(0, 700, (30, 31)),
    "flat": np.full((20, 30), -5),
    "shapes": regions(60, 80),
    "stripes": np.arange(30)[:, None] // 3 + np.zeros((1, 12), int),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_label_map_comes_back(name: str) -> None:
    original = label_maps.canonical(MAPS[name])
    assert np.array_equal(label_maps.canonical(original), original)
    pairs = np.unique(np.stack([MAPS[name].ravel(), original.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(MAPS[name])) == original.max() + 1  # one to one
    encoder = Encoder()
    assert np.array_equal(label_maps.code(encoder, original.shape, original), original)
    payload = encoder.finish()
    decoder = Decoder(payload)
    assert np.array_equal(label_maps.code(decoder, original.shape), original)
    decoder.finish()


def test_a_map_of_shapes_is_cheap() -> None:
    """Its boundary is about 120 positions long; a map of one label costs next to nothing."""
    sizes = {}
    for name in ("flat", "shapes"):
        encoder, told = Encoder(), label_maps.canonical(MAPS[name])
        label_maps.code(encoder, told.shape, told)
        sizes[name] = len(encoder.finish())
    assert sizes["flat"] <= 8
    assert sizes["shapes"] < 80


def test_garbage_is_no_label_map() -> None:
    """It ends, in an error or at a final state that is not the coder's first."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        decoder = Decoder(rng.bytes(60) + b"\1")
        with pytest.raises(Desynchronised):
            _finished(decoder)


def _finished(decoder: Decoder) -> None:
    label_maps.code(decoder, (12, 15))
    decoder.finish()


# --- the command line -----------------------------------------------------------------------------------------------
def test_published_weights_to_a_file_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": as_published(tiny())}, tmp_path / "theirs.pth.tar")
    write_picture(tmp_path / "a.png", picture(66, 70))
    ours, out = str(tmp_path / "ours.safetensors"), str(tmp_path / "a.vcm")
    theirs = str(tmp_path / "theirs.pth.tar")
    assert main(["convert", theirs, "-o", ours, "--arch", "segpic", "--trust", "--quality", "3"]) == 0
    assert main(["encode", str(tmp_path / "a.png"), "-o", out, "--codec", "segpic", "--weights", ours]) == 0
    assert main(["verify", out, "--weights", ours]) == 0
    back = str(tmp_path / "back.png")
    assert main(["decode", out, "-o", back, "--weights", ours]) == 0
    assert np.array_equal(read_picture(Path(back)), icm.decode(Path(out), weights=ours))
    assert main(["info", out]) == 0
    assert "same-build" in capsys.readouterr().out
