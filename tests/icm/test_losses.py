"""The loss of SA-ICM, term by term."""

from __future__ import annotations

import pytest
import torch

from icm import losses


def test_edges_alone_decide() -> None:
    """Eq. 5: errors off the edges cost nothing; on them the mean is over all pixels, scaled by 255²."""
    x = torch.zeros(1, 3, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1, 2] = 1
    x_hat = torch.full_like(x, 0.5)
    x_hat[..., 1, 2] = 0.1
    assert float(losses.masked_mse_255(x, x_hat, losses.pixel_weights(mask))) == pytest.approx(0.01 * 255**2 / 16)
    x_hat[..., 1, 2] = 0
    assert float(losses.masked_mse_255(x, x_hat, losses.pixel_weights(mask))) == 0


def test_ones_are_plain_mse() -> None:
    x, x_hat = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    plain = losses.masked_mse_255(x, x_hat)
    assert torch.allclose(plain, losses.masked_mse_255(x, x_hat, torch.ones(2, 1, 8, 8)))
    assert torch.allclose(plain, 255**2 * (x - x_hat).square().mean((1, 2, 3)))


@pytest.mark.parametrize("elsewhere", [0.0, 0.25, 1.0])
def test_normalised_weights_average_one(elsewhere: float) -> None:
    mask = (torch.rand(1, 1, 64, 64) < 0.2).float()
    weight = losses.pixel_weights(mask, elsewhere, float(mask.mean()))
    assert float(weight.mean()) == pytest.approx(1, abs=1e-5)
    if elsewhere < 1:
        assert float(weight.max() / weight[mask == 0].max().clamp_min(1e-9)) >= 1 / max(elsewhere, 1e-3) - 1e-3


def test_rate_is_bits_over_pixels() -> None:
    likelihoods = {"y": torch.full((2, 4, 2, 2), 0.5), "z": torch.full((2, 1, 1, 1), 0.25)}
    assert losses.rate_bpp_estimated(likelihoods, 32 * 32).tolist() == pytest.approx([18 / 1024] * 2)


def test_lambda_is_geometric_in_quality() -> None:
    lmbda = losses.lmbda_at(torch.tensor([1.0, 50.5, 100.0]), 1e-4, 1e-2)
    assert lmbda.tolist() == pytest.approx([1e-4, 1e-3, 1e-2], rel=1e-4)
