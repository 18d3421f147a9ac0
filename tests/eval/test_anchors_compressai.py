"""CompressAI's models as codecs: the strings are theirs byte for byte, all else is counted, damage is told."""

from __future__ import annotations

import urllib.error

import numpy as np
import pytest
import torch

from eval.anchors import ANCHORS, WITH_WEIGHTS
from eval.anchors.compressai_zoo import MODELS, NAMES, PREFIX, Zoo, _load

NAME = "compressai:bmshj2018-hyperprior"


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_codec(name: str = NAME, quality: int = 2) -> Zoo:
    return ANCHORS[name](quality, weights="random")


@pytest.fixture
def busy(monkeypatch):
    """Random weights whose latents are not all zero, so that strings have something in them."""
    network = _load(NAME, 2, "random")[0]
    last = [module for module in network.g_a.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    before = last.weight.detach().clone()
    with torch.no_grad():
        last.weight.mul_(50)
    yield network
    with torch.no_grad():
        last.weight.copy_(before)


@pytest.mark.parametrize("size", [(64, 128), (70, 90)])
def test_the_size_is_that_of_the_models_strings_and_the_header(busy, size):
    codec, x = random_codec(), picture(*size)
    data = codec.encode(x)
    padded = np.pad(x, ((0, -size[0] % 64), (0, -size[1] % 64), (0, 0)), mode="edge")
    with torch.no_grad():
        coded = busy.compress(torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255)
    strings = [part[0] for part in coded["strings"]]
    assert data.endswith(b"".join(strings))
    header = len(data) - sum(map(len, strings))
    numbers = [*size, *map(len, strings)]  # seven bits a byte
    assert header == 2 + sum(-(-number.bit_length() // 7) for number in numbers) + 4  # model, quality; numbers; CRC
    assert sum(map(len, strings)) > 200  # there was something to count
    with torch.no_grad():
        x_hat = busy.decompress(coded["strings"], coded["shape"])["x_hat"]
    expected = (x_hat[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()[: size[0], : size[1]]
    assert np.array_equal(random_codec(quality=5).decode(data), expected)  # the quality is in the stream


@pytest.mark.parametrize("name", ["bmshj2018-factorized", "bmshj2018-factorized-relu", "mbt2018-mean",
                                  "bmshj2018-hyperprior-vbr"])  # fmt: skip
def test_other_families(name):
    codec = random_codec(PREFIX + name, 1)
    data = codec.encode(picture(17, 80))
    assert codec.decode(data).shape == (17, 80, 3)
    assert data[0] == list(MODELS).index(name)
    assert data == codec.encode(picture(17, 80))


def test_every_model_of_the_zoo_is_named():
    from compressai.zoo import image, image_vbr

    zoo = set(image.model_architectures) | set(image_vbr.model_architectures)
    assert set(MODELS) == {name.replace("_", "-") for name in zoo}
    for name in NAMES:
        codec = ANCHORS[PREFIX + name]()
        assert codec.name in WITH_WEIGHTS
        if name in image.cfgs:
            assert codec.qualities == (min(image.cfgs[name]), max(image.cfgs[name]))
    variable = image_vbr.model_architectures["mbt2018-vbr"](*image_vbr.cfgs["mbt2018-vbr"])
    assert variable.levels == MODELS["mbt2018-vbr"][0]


def test_damage_is_told_before_anything_is_decoded(busy, monkeypatch):
    codec = random_codec()
    data = codec.encode(picture(64, 64))

    def never(*_, **__):
        raise AssertionError("a damaged stream reached the decoder")

    monkeypatch.setattr(busy, "decompress", never)
    flipped = [data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :] for at in range(0, len(data), 7)]
    for damaged in [b"", data[:1], data[:5], data[:-1], data + b"\0", b"\xff" * 40, *flipped]:
        with pytest.raises(ValueError, match=r"damaged|not a|whole number") as caught:
            codec.decode(damaged)
        assert "\n" not in str(caught.value)


def test_other_weights_are_told(tmp_path):
    data = random_codec().encode(picture(64, 64))
    state = {key: value.clone() for key, value in _load(NAME, 2, "random")[0].state_dict().items()}
    state["g_s.0.bias"] += 1e-3
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="made with other weights"):
        ANCHORS[NAME](2, weights=tmp_path / "other.pth").decode(data)
    with pytest.raises(ValueError, match="its header says compressai:bmshj2018-hyperprior"):
        random_codec("compressai:mbt2018-mean").decode(data)


def test_weights_from_files(tmp_path):
    from safetensors.torch import save_file

    network, sha256 = _load(NAME, 2, "random")
    state = {key: value.clone() for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w-2.pth.tar")
    save_file(state, tmp_path / "w.safetensors")
    data = random_codec().encode(picture(64, 64))
    for weights in (tmp_path / "w-{quality}.pth.tar", tmp_path / "w.safetensors"):
        codec = ANCHORS[NAME](2, weights=weights)
        assert codec.weights_sha256 == sha256
        assert codec.encode(picture(64, 64)) == data
    with pytest.raises(FileNotFoundError, match=r"w-3\.pth\.tar: no such file"):
        ANCHORS[NAME](3, weights=tmp_path / "w-{quality}.pth.tar")
    with pytest.raises(ValueError, match=r"w\.safetensors: no weights of mbt2018"):
        ANCHORS["compressai:mbt2018"](2, weights=tmp_path / "w.safetensors").encode(picture(64, 64))
    (tmp_path / "bad.pth").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"bad\.pth: is no file of weights"):
        ANCHORS[NAME](2, weights=tmp_path / "bad.pth").encode(picture(64, 64))


def test_offline_is_one_line(monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    match = r"compressai:mbt2018-mean:4: its weights could not be fetched .*--weights"
    with pytest.raises(OSError, match=match) as caught:
        ANCHORS["compressai:mbt2018-mean"](4).encode(picture(64, 64))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("quality", [0, 9, 2.5])
def test_impossible_qualities(quality):
    with pytest.raises(ValueError, match=r"compressai:bmshj2018-hyperprior:.*whole number"):
        ANCHORS[NAME](quality)


def test_the_callers_state_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    _load.cache_clear()
    random_codec().encode(picture(16, 16))
    assert torch.equal(torch.rand(3), expected)
