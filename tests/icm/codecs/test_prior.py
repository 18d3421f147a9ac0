"""The prior in integers: training's twin, bounded, and deaf to everything a caller can set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from icm.codecs.picture import PictureCodec
from icm.codecs.sa_icm_s import SaIcmS
from icm.prior.dual import BITS, step_mask
from icm.prior.integer import ACCUMULATOR_LIMIT
from icm.quality import Gains, interpolate
from tests.icm.conftest import picture, tiny_network


@pytest.fixture(scope="module")
def model() -> SaIcmS:
    network = tiny_network()
    network.use_integers()
    return network


def test_coding_equals_training_in_integers(model: SaIcmS) -> None:
    """What training calls the integer phase is, number for number, what streams are coded with."""
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.integers(-140, 140, (2, 8, 3, 4))).float()
    y_hat = torch.from_numpy(rng.integers(-1500, 1500, (2, 16, 10, 15))).float()
    mask = step_mask(16, 10, 15)
    coding = model.prior.coding()
    with torch.no_grad():
        features = model.prior.features(z, 10, 15)
        mean, index = model.prior.first(features)
        mean_2, index_2 = model.prior.conditioned(features, y_hat / 2**BITS, mask)
    integer = coding.features(z, 10, 15)
    assert torch.equal(integer, features.double() * 2**BITS)
    for ours, theirs in zip(coding.step_1(integer), (mean, index), strict=True):
        assert torch.equal(ours, theirs.double() * 16)
    for ours, theirs in zip(coding.step_2(integer, y_hat.double() * mask), (mean_2, index_2), strict=True):
        assert torch.equal(ours, theirs.double() * 16)


def test_accumulators_stay_below_2_24_and_the_bound_is_reached_by_its_worst_input(model: SaIcmS) -> None:
    for name, bound in model.prior.accumulator_bounds().items():
        assert 0 < bound < ACCUMULATOR_LIMIT, name
    layer = model.prior.context
    weight, bias, shift = layer.integer_parameters()
    channel = int((weight.abs().flatten(1).sum(1) * layer.in_max + bias.abs()).argmax())
    worst = float((weight[channel].abs() * layer.in_max).sum() + bias[channel].abs())
    assert layer.accumulator_bound() == int(worst + 2 ** (shift - 1))


def test_weights_that_outgrew_their_bits_are_tightened() -> None:
    network = tiny_network()
    network.use_integers()
    layer = network.prior.context
    before = layer.bits
    with torch.no_grad():
        layer.weight.mul_(5)
    assert layer.accumulator_bound() >= ACCUMULATOR_LIMIT
    with pytest.raises(ValueError, match="beyond 2\\^24"):
        network.prior.coding()
    layer.tighten()
    assert layer.bits < before
    network.prior.coding()


def test_float_prior_cannot_code(tiny_model: SaIcmS) -> None:
    with pytest.raises(ValueError, match="not trained in integers"):
        tiny_model.prior.coding()


def test_batch_threads_layout_and_autocast_change_nothing(model: SaIcmS) -> None:
    coding = model.prior.coding()
    z = torch.from_numpy(np.random.default_rng(1).integers(-30, 30, (8, 8, 6, 6)))
    whole = coding.step_1(coding.features(z, 24, 24))
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for autocast in (False, True):
                with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                    for i in range(8):
                        one = z[i : i + 1].to(memory_format=torch.channels_last)
                        parts = coding.step_1(coding.features(one, 24, 24))
                        assert all(torch.equal(a[i], b[0]) for a, b in zip(whole, parts, strict=True))
    finally:
        torch.set_num_threads(threads)


ENVIRONMENTS = {
    "threads": {"OMP_NUM_THREADS": "2"},
    "isa-avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "isa-sse41": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "aten-default": {"ATEN_CPU_CAPABILITY": "default"},
    "aten-avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "bf16": {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
    "no-onednn": {"VCM_TEST_NO_ONEDNN": "1"},
}
PROGRAM = """
import os, sys, glob, hashlib, torch
torch.backends.mkldnn.enabled = "VCM_TEST_NO_ONEDNN" not in os.environ
from icm.bitstream import Decoder, read
from icm.codecs.picture import coder_of
coder = coder_of(sys.argv[1])
for path in sorted(glob.glob(sys.argv[2] + "/*.vcm")):
    with read(path) as stream:
        h, w = -(-stream.header.height // 16), -(-stream.header.width // 16)
        y_hat = coder.decode_tile(stream.section(0), h, w, int.from_bytes(stream.header.parameters[:2], "little"))
    print(hashlib.sha256(y_hat.numpy().tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def streams(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    for i, quality in enumerate((5, 40, 95)):
        codec = PictureCodec("sa-icm-s", quality, weights=tiny_weights)
        (folder / f"{i}.vcm").write_bytes(codec.encode(picture(170, 210, i)))
    return folder


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_symbols_do_not_depend_on_the_environment(tiny_weights: Path, streams: Path, name: str) -> None:
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("ONEDNN", "ATEN", "OMP"))}
    outputs = []
    for extra in ({"OMP_NUM_THREADS": "1"}, ENVIRONMENTS[name]):
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, tiny_weights, streams]
        done = subprocess.run(command, capture_output=True, text=True, env={**plain, **extra}, check=True)
        outputs.append(done.stdout.split())
    assert len(outputs[0]) == 3
    assert outputs[0] == outputs[1]


def test_quality_tables_interpolate_in_integers() -> None:
    gains = Gains(6)
    inverse, offset = gains.tables()
    assert inverse.shape == offset.shape == (100, 6)
    assert torch.equal(interpolate(inverse, 16), inverse[0].long())
    assert torch.equal(interpolate(inverse, 1600), inverse[99].long())
    half = interpolate(inverse, 16 * 50 + 8)
    assert ((half - (inverse[49] + inverse[50]).double() / 2).abs() <= 0.5).all()
    assert (inverse[1:] <= inverse[:-1]).all()
    assert (offset[1:] >= offset[:-1]).all()


def test_autocast_around_the_call_changes_no_byte_and_no_pixel(tiny_weights: Path) -> None:
    codec = PictureCodec("sa-icm-s", 60, weights=tiny_weights)
    original = picture(100, 140)
    data = codec.encode(original)
    with torch.autocast("cpu", torch.bfloat16):
        assert codec.encode(original) == data
        inside = codec.decode(data)
    assert np.array_equal(inside, codec.decode(data))
