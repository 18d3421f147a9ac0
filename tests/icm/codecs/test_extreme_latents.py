"""NaN, infinities and latents of 2^27 to 2^31 through every codec's walk and through the coder: back again, or one line
at once. CompressAI's encoder hangs at 2^28 and takes NaN for −2^31."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from icm.bitstream import Decoder, Encoder
from icm.bitstream.build_tables import gaussian
from icm.codecs.groups.codec import GroupsCodec
from icm.codecs.groups.coding import whole_layout
from icm.codecs.picture import PictureCodec
from icm.codecs.same_build import SameBuildCodec
from icm.codecs.segpic.codec import SegpicCodec
from nerv.coding.tensors import Stepped, pack, unpack
from tests.icm.codecs.test_segpic import tiny
from tests.icm.codecs.tiny_tcm import tiny_weights as tcm_weights
from tests.icm.conftest import picture, tiny_network
from tests.icm.groups.conftest import tiny_network as tiny_groups

POWERS = [sign * 2.0**power for power in (27, 28, 29, 30, 31) for sign in (1, -1)]
VALUES = [float("nan"), float("inf"), float("-inf"), *POWERS]
SECOND = 1.0


@contextmanager
def at_once() -> Iterator[None]:
    """Within a second of processor time, or in one line of a ValueError."""
    started = time.process_time()
    try:
        yield
    except ValueError as error:
        assert "\n" not in str(error)
        assert str(error)
    assert time.process_time() - started < SECOND


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("weights")
    for name, model in (("small", tiny_network()), ("groups", tiny_groups())):
        model.use_integers()
        model.export(folder / f"{name}.safetensors")
    tiny().export(folder / "segpic.safetensors")
    return {
        "sa-icm-s": PictureCodec("sa-icm-s", 40, weights=folder / "small.safetensors"),
        "groups": GroupsCodec("groups", 40, weights=folder / "groups.safetensors"),
        "sa-icm": SameBuildCodec("sa-icm", weights=tcm_weights(folder)),
        "segpic": SegpicCodec("segpic", weights=folder / "segpic.safetensors"),
    }


@pytest.mark.parametrize("value", VALUES)
def test_coder(value: float) -> None:
    tables, index = gaussian([1.0, 4.0]), np.array([0, 1, 1])
    with at_once():
        encoder = Encoder()
        told = encoder.code(tables, index, np.array([0.0, value, 1.0]))
        decoder = Decoder(encoder.finish())
        assert np.array_equal(decoder.code(tables, index), told)
        decoder.finish()
        assert told[1] == value
        return
    assert not np.isfinite(value) or value == 2.0**31  # all others are int32


@pytest.mark.parametrize("value", VALUES)
def test_small_codec(codecs: dict[str, Any], value: float) -> None:
    coder = codecs["sa-icm-s"].coder
    y = torch.zeros(16, 4, 4)
    y[3, 2, 1] = value
    with at_once():
        payload, y_hat = coder.encode_tile(y, 640)
        assert torch.equal(coder.decode_tile(payload, 4, 4, 640), y_hat)
        assert float(y_hat[3, 2, 1]) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("value", VALUES)
def test_groups(codecs: dict[str, Any], value: float) -> None:
    coder, layout = codecs["groups"].coder, whole_layout(4, 4)
    y = torch.zeros(16, 8)
    y[5, 3] = value
    with at_once():
        encoder = Encoder()
        y_hat = coder.walk(encoder, layout, 640, y)
        decoder = Decoder(encoder.finish())
        assert torch.equal(coder.walk(decoder, layout, 640), y_hat)
        decoder.finish()
        assert float(y_hat[5, 3]) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("codec", ["sa-icm", "segpic"])
def test_codecs_whose_prior_is_floats(
    codecs: dict[str, Any], codec: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One value of the latent replaced where the walk of slices is given it; the payload decodes, or there is none."""
    coder = codecs[codec].coder
    charm = coder.net.charm
    plain = charm.walk

    def walk(symbols: Any, tables: Any, means: Any, scales: Any, guard: int, y: Any = None) -> Any:
        if y is not None:
            y = y.clone()
            y[0, 3, 1, 2] = value
        return plain(symbols, tables, means, scales, guard, y)

    monkeypatch.setattr(charm, "walk", walk)
    with at_once():
        payload = coder.encode_tile(picture(64, 64), 16)
        assert coder.decode_tile(payload, 64, 64, 16).shape == (64, 64, 3)


@pytest.mark.parametrize("power", [27, 28, 29, 30, 31])
def test_tensors_of_networks(power: int) -> None:
    """Their symbols are int32: the extremes among them come back."""
    q = np.array([[0, 3, -1, 2], [1, min(2**power, 2**31 - 1), -(2**power), 0]], np.int64).astype(np.int32)
    tensor = Stepped(q, np.array([-40, -41], np.int32), np.zeros(4, np.int32))
    with at_once():
        back = unpack(pack(tensor), q.shape)
        assert isinstance(back, Stepped)
        assert np.array_equal(back.q, q)
