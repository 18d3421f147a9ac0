"""Table indices from float scales: agreed on within the guard, told where they differ by more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from icm.bitstream import Decoder, Desynchronised, Encoder
from icm.bitstream.build_tables import gaussian
from icm.codecs.charm import Charm
from icm.codecs.guard import EDGES, agree
from icm.quality import SCALE_COUNT, scale_table

TABLES = gaussian(scale_table().tolist())
RNG = np.random.default_rng(3)


def both(given: torch.Tensor, seen: torch.Tensor, bits: int) -> tuple[np.ndarray, np.ndarray, int]:
    """(the encoder's indices, the decoder's for what it sees, bytes)."""
    encoder = Encoder()
    ours = agree(encoder, given, bits, True)
    payload = encoder.finish()
    decoder = Decoder(payload)
    theirs = agree(decoder, seen, bits, False)
    decoder.finish()
    return ours, theirs, len(payload)


def scales(count: int) -> torch.Tensor:
    """As spread as a prior's: some negative, most near the lowest, some at an edge and a last bit beside it."""
    values = np.concatenate([RNG.normal(0, 1, count), np.exp(RNG.uniform(-3, 6, count)), EDGES, EDGES * (1 + 1e-7)])
    return torch.from_numpy(values.astype(np.float32))[None, :, None]


@pytest.mark.parametrize("bits", [0, 6, 12, 20])
def test_same_scales_same_indices(bits: int) -> None:
    given = scales(3000)
    ours, theirs, size = both(given, given, bits)
    assert ours.shape == given.shape
    assert np.array_equal(ours, theirs)
    nearest = np.abs(np.log(given.numpy().clip(1e-9))[..., None] - np.log(scale_table().numpy())).argmin(-1)
    assert (ours == nearest).mean() > (0.85 if bits == 6 else 0.98)  # near an edge, the lower
    assert set(np.unique(ours)) == set(range(SCALE_COUNT))
    assert size <= (4 if bits == 0 else 2000)  # three bytes of them are the coder's own


@pytest.mark.parametrize("bits", [6, 12, 20])
def test_whatever_is_within_the_guard_is_agreed_on(bits: int) -> None:
    given = scales(3000)
    for _ in range(5):
        off = torch.from_numpy(RNG.uniform(-0.9, 0.9, given.shape)) * 2.0**-bits
        ours, theirs, _ = both(given, (given.double() * (1 + off)), bits)
        assert np.array_equal(ours, theirs)


def test_without_a_guard_a_last_bit_is_told() -> None:
    given = scales(3000)
    with pytest.raises(Desynchronised, match=r"this build \(processor, torch, threads\) rounds otherwise"):
        both(given, given * (1 + 2e-7), 0)


@pytest.mark.parametrize("shape", [(1, 0, 4), (1, 1, 1), (1, 7, 3)])
def test_small_slices(shape: tuple[int, ...]) -> None:
    for value in (0.0, float(EDGES[5]), 3.0):
        given = torch.full(shape, value)
        ours, theirs, _ = both(given, given, 12)
        assert np.array_equal(ours, theirs)


def test_random_payloads_end_in_one_error() -> None:
    given = scales(500)

    def read_all(payload: bytes) -> None:
        decoder = Decoder(payload)
        agree(decoder, given, 8, False)
        decoder.finish()

    for _ in range(60):
        with pytest.raises(ValueError, match=r"desynchronised|damaged") as caught:
            read_all(RNG.bytes(40).rstrip(b"\0"))
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def charm() -> Charm:
    """Means of zero and scales that do not depend on anything, so that latents can be drawn from the model itself."""
    torch.manual_seed(0)
    module = Charm(30, 3, 2, (8,)).eval()
    with torch.no_grad():
        for stack in (*module.cc_mean_transforms, *module.cc_scale_transforms):
            stack[-1].weight.zero_()
            stack[-1].bias.zero_()
        for i, stack in enumerate(module.cc_scale_transforms):
            stack[-1].bias.copy_(torch.exp(torch.linspace(-3, 2.5, 10) + 0.04 * i))
    return module


@pytest.mark.parametrize("guard", [0, 12])
def test_payload_is_the_estimate_within_one_per_cent(charm: Charm, guard: int) -> None:
    from compressai.entropy_models import GaussianConditional

    torch.manual_seed(1)
    sigma = torch.cat([stack[-1].bias for stack in charm.cc_scale_transforms]).detach()
    y = torch.randn(1, 30, 48, 64) * sigma[None, :, None, None]
    zeros = torch.zeros_like(y)
    conditional = GaussianConditional(None, scale_bound=0.11).eval()
    encoder = Encoder()
    with torch.no_grad():
        _, likelihoods = charm(y, zeros, zeros, lambda v, s, m: conditional(v, s, m)[1])
        y_hat = charm.walk(encoder, TABLES, zeros, zeros, guard, y)
        payload = encoder.finish()
        decoder = Decoder(payload)
        assert torch.equal(charm.walk(decoder, TABLES, zeros, zeros, guard), y_hat)
    decoder.finish()
    estimate = -float(likelihoods.log2().sum()) / 8
    assert len(payload) == pytest.approx(estimate, rel=0.01)
    assert (y_hat - y).abs().max() <= 1.0  # half a step, and what the refinement adds


def test_slices_see_the_slices_before_them_alone() -> None:
    torch.manual_seed(0)
    module = Charm(12, 4, 2, (8, 6)).eval()
    y, hyper = torch.randn(1, 12, 5, 6), torch.randn(1, 12, 5, 6)
    sigmas = []
    for changed in (None, 0, 1, 2, 3):
        part = y.clone()
        if changed is not None:
            part[:, 3 * changed : 3 * changed + 3] += 5
        found: list[torch.Tensor] = []
        with torch.no_grad():
            module(part, hyper, hyper, lambda v, s, m, found=found: found.append(s) or torch.ones_like(v))
        sigmas.append(found)
    for changed in range(4):
        for i in range(4):
            differs = not torch.equal(sigmas[0][i], sigmas[changed + 1][i])
            assert differs == (changed < min(i, 2)), (changed, i)


def test_a_latent_that_is_not_finite_is_refused(charm: Charm) -> None:
    y = torch.zeros(1, 30, 2, 2)
    y[0, 3, 1, 1] = float("nan")
    with pytest.raises(ValueError, match="not finite; the weights do not suit"), torch.no_grad():
        charm.walk(Encoder(), TABLES, torch.zeros_like(y), torch.zeros_like(y), 12, y)
