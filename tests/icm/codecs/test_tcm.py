"""`sa-icm` on LIC-TCM through real bytes, on tiny settings: sizes, clips, tiles, damage, other builds, interfaces."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import icm
from icm.bitstream import Desynchronised, StreamError, read
from icm.codecs.same_build import SameBuildCodec
from icm.codecs.tcm.coding import TcmCoder
from tests.icm.codecs.tiny_tcm import TINY, tiny_tcm, tiny_weights
from tests.icm.conftest import picture


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("tcm"))


@pytest.fixture(scope="module")
def codec(weights: Path) -> SameBuildCodec:
    return icm.CODECS["sa-icm"](weights=weights)


@pytest.mark.parametrize("size", [(1, 1), (90, 150), (128, 256)])
def test_decoder_gives_what_the_network_computes(weights: Path, codec: SameBuildCodec, size: tuple[int, int]) -> None:
    """The file's picture is forward's x_hat but where a rounding fell otherwise (another memory layout)."""
    original = picture(*size)
    original.setflags(write=False)  # as files are read
    data = codec.encode(original)
    decoded = codec.decode(data)
    assert np.array_equal(icm.decode(data, weights=weights), decoded)
    network = icm.build("tcm", weights=weights)
    with torch.no_grad():
        x_hat = network(torch.tensor(original).permute(2, 0, 1)[None].float() / 255)["x_hat"]
    expected = (x_hat[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.median(np.abs(decoded - expected)) == 0
    assert np.mean(np.abs(decoded - expected)) < 0.5
    with read(data) as stream:
        assert stream.header.same_build
        assert stream.header.model == "sa-icm"
        assert icm.describe(stream.header) == {"tile_px": 1024, "guard_bits": 16}
        assert len(data) - sum(stream.lengths) <= 48
    assert codec.verify(data) == []


@pytest.mark.parametrize("onednn", [True, False])
def test_another_kernel_and_layout_decode_the_same(
    codec: SameBuildCodec, monkeypatch: pytest.MonkeyPatch, onednn: bool
) -> None:
    """Their floats differ in the last bits, which the guard allows for."""
    data = codec.encode(picture(120, 200))
    decoded = codec.decode(data).astype(int)
    other = TcmCoder(codec.coder.release)
    other.net = other.net.to(memory_format=torch.contiguous_format)
    monkeypatch.setattr(codec, "coder", other)
    try:
        torch.backends.mkldnn.enabled = onednn
        assert np.abs(codec.decode(data) - decoded).max() <= 1
    finally:
        torch.backends.mkldnn.enabled = True


def test_a_build_that_rounds_otherwise_is_told(codec: SameBuildCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision stands for a build whose floats are too far from the encoder's: no picture, one line."""
    data = codec.encode(picture(120, 200))
    other = TcmCoder(codec.coder.release)
    for parameter in other.net.charm.parameters():
        parameter.copy_(parameter.half().float())
    monkeypatch.setattr(codec, "coder", other)
    with pytest.raises(Desynchronised, match="its prior is computed in floats, and this build") as caught:
        codec.decode(data)
    assert "\n" not in str(caught.value)
    assert "rounds otherwise" in codec.verify(data)[0]


def test_what_the_caller_sets_changes_no_byte(codec: SameBuildCodec) -> None:
    original = picture(60, 100)
    data = codec.encode(original)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert codec.encode(original) == data
            inside = codec.decode(data)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert np.array_equal(inside, codec.decode(data))


def test_tiles_and_partial_decoding(weights: Path) -> None:
    codec = icm.CODECS["sa-icm"](weights=weights, tile=128)
    original = picture(150, 260)
    data = bytearray(codec.encode(original))
    with read(bytes(data)) as stream:
        assert len(stream) == 6
        intact = codec.decode_frame(stream, 0)
        offsets = {name: offset for name, offset, _ in stream.layout()}
    assert np.array_equal(intact[:128, :128], codec.decode(codec.encode(original[:128, :128])))
    data[offsets["section 4"] + 3] ^= 1
    with pytest.raises(StreamError):
        codec.decode(bytes(data))
    with read(bytes(data), partial=True) as stream:
        shown, lost, approximate = codec.decode_partial(stream)
    assert list(lost) == [(128, 150, 128, 256)]
    assert approximate == []
    assert (shown[128:150, 128:256] == 128).all()
    shown[128:150, 128:256] = intact[128:150, 128:256]
    assert np.array_equal(shown, intact)


def test_clip(weights: Path, codec: SameBuildCodec) -> None:
    frames = [picture(40, 60, seed) for seed in range(3)]
    data = codec.encode_clip(zip(frames, (0, 3, 4), strict=True), Fraction(1, 25), "bt709")
    everything = list(codec.decode_clip(data))
    assert [tick for _, tick in everything] == [0, 3, 4]
    assert np.array_equal(everything[1][0], codec.decode(codec.encode(frames[1])))
    (alone, tick), = codec.decode_clip(data, 2, 3)
    assert tick == 4
    assert np.array_equal(alone, everything[2][0])
    with pytest.raises(StreamError, match="holds a clip of 3 frames"):
        codec.decode(data)


def test_requests_that_cannot_be_met(weights: Path, codec: SameBuildCodec, tmp_path: Path) -> None:
    make = icm.CODECS["sa-icm"]
    assert make(0, weights=weights).quality == 0
    for options, match in (
        ({}, r"sa-icm: no weights of it are shipped; name some with --weights: `vcm convert CHECKPOINT --arch tcm`"),
        ({"weights": "sa-icm-s"}, "sa-icm-s: are weights of sa-icm-s, not of sa-icm"),
        ({"weights": weights, "quality": 5}, "sa-icm:5: these weights have one rate, 0; write sa-icm"),
        ({"weights": weights, "tile": 64}, "power of two from 128"),
        ({"weights": weights, "guard": 41}, "0 to 40 bits"),
    ):
        with pytest.raises(ValueError, match=match):
            make(**options)
    with pytest.raises(ValueError, match="weights have one rate each"):
        _ = codec.quality_range
    with pytest.raises(ValueError, match="are weights of tcm, not of sa-icm-s"):
        icm.build("sa-icm-s", weights=weights)
    other = make(weights=tiny_weights(tmp_path, 1))
    with pytest.raises(StreamError, match=r"made with weights [0-9a-f]{16} of sa-icm, but .* is [0-9a-f]{16}"):
        other.decode(codec.encode(picture(20, 20)))


def test_a_folder_of_weights_is_a_codec_of_several_qualities(tmp_path: Path) -> None:
    made = {}
    for quality in (1.0, 2.5):
        network = tiny_tcm(int(quality))
        network.quality = quality
        network.export(tmp_path / f"{quality:g}.safetensors")
        codec = icm.CODECS["sa-icm"](quality, weights=tmp_path)
        assert codec.quality == quality
        made[quality] = codec.encode(picture(50, 70))
    assert len(set(made.values())) == 2
    for quality, data in made.items():
        alone = icm.CODECS["sa-icm"](weights=tmp_path / f"{quality:g}.safetensors")
        assert np.array_equal(icm.decode(data, weights=tmp_path), alone.decode(data))
        assert icm.CODECS["sa-icm"](weights=tmp_path).verify(data) == []
    with pytest.raises(ValueError, match=r"sa-icm:3: .* has weights of 1, 2.5"):
        icm.CODECS["sa-icm"](3, weights=tmp_path)
    with pytest.raises(ValueError, match="holds no weights of segpic"):
        icm.CODECS["segpic"](weights=tmp_path)
    (tmp_path / "other").mkdir()
    data = icm.CODECS["sa-icm"](weights=tiny_weights(tmp_path / "other", 9)).encode(picture(9, 9))
    with pytest.raises(StreamError, match="name the right weights"):
        icm.decode(data, weights=tmp_path)
    (tmp_path / "again.safetensors").write_bytes((tmp_path / "1.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"sa-icm:1: .*1.safetensors and again.safetensors both have this number"):
        icm.CODECS["sa-icm"](1, weights=tmp_path)


def test_module_interface(weights: Path) -> None:
    """forward, compress, decompress as CompressAI's users know them."""
    network = icm.build("sa-icm", weights=weights)
    x = torch.from_numpy(np.stack([picture(70, 100, s) for s in range(2)])).permute(0, 3, 1, 2).float() / 255
    with pytest.raises(ValueError, match="call update"):
        network.compress(x)
    with torch.no_grad():
        out = network(x)
    assert out["x_hat"].shape == x.shape
    assert {name: p.shape[:2] for name, p in out["likelihoods"].items()} == {"y": (2, 20), "z": (2, 6)}
    assert float(network.aux_loss().detach()) > 0
    assert network.update()
    packed = network.compress(x)
    x_hat = network.decompress(packed["strings"], packed["shape"])["x_hat"]
    assert x_hat.shape == x.shape
    assert (x_hat - out["x_hat"].clamp(0, 1)).abs().mean() < 2e-3


def test_it_learns() -> None:
    """Every parameter has a gradient, and a few steps lower rate and distortion."""
    network = tiny_tcm().train()
    x = torch.from_numpy(picture(128, 128)).permute(2, 0, 1)[None].float() / 255
    optimizer = torch.optim.Adam([p for n, p in network.named_parameters() if not n.endswith("quantiles")], 2e-3)
    losses = []
    for _ in range(12):
        out = network(x)
        rate = sum(-p.log2().sum() for p in out["likelihoods"].values()) / x[0, 0].numel()
        loss = rate + 100 * (x - out["x_hat"]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        missing = [n for n, p in network.named_parameters() if p.grad is None and not n.endswith("quantiles")]
        assert not missing
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_mixed_precision_leaves_the_prior_alone() -> None:
    network = tiny_tcm()
    x = torch.rand(1, 3, 128, 128)
    for training in (True, False):
        with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(training):
            out = network.train(training)(x)
        assert out["x_hat"].dtype == torch.bfloat16
        assert {p.dtype for p in out["likelihoods"].values()} == {torch.float32}


def test_compressai_finds_it() -> None:
    import compressai
    from compressai.registry import MODELS

    from icm.codecs import compat

    compat.register()
    compat.register()
    network = MODELS["tcm"](**TINY)
    again = compressai.zoo.image.model_architectures["tcm"].from_state_dict(network.state_dict())
    assert again.settings == network.settings
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    x = torch.from_numpy(picture(64, 80)).permute(2, 0, 1)[None].float() / 255
    net = compressai.zoo.models["sa-icm-s"](quality=40, pretrained=True).eval()
    net.update()
    packed = net.compress(x)
    out = net(x)
    assert net.decompress(packed["strings"], packed["shape"])["x_hat"].shape == out["x_hat"].shape == x.shape
    bits = -sum(float(p.detach().log2().sum()) for p in out["likelihoods"].values())
    assert 8 * len(packed["strings"][0][0]) == pytest.approx(bits, rel=0.1)
    with pytest.raises(ValueError, match="tcm: no weights of it are shipped; give weights=FILE"):
        compressai.zoo.models["tcm"](quality=1, pretrained=True)
    with pytest.raises(ValueError, match="no weights for metric 'ms-ssim'"):
        compressai.zoo.models["sa-icm-s"](quality=1, metric="ms-ssim")
