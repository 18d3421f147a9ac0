"""A tiny codec with random weights whose symbols are as varied as a trained one's, and pictures to feed it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from icm.codecs.release import Release
from icm.codecs.sa_icm_s import SaIcmS


def tiny_network(seed: int = 0) -> SaIcmS:
    torch.manual_seed(seed)
    model = SaIcmS(latent=16, hyper=8, prior_width=12, widths=(8, 12, 16), depths=(1, 1, 1)).eval()
    with torch.no_grad():
        model.g_a.deep[-1].weight.mul_(25)  # latents of several units, as training makes them
        model.h_a.layers[-1].weight.mul_(8)
    return model


@pytest.fixture(scope="session")
def tiny_model() -> SaIcmS:
    """Before the integer phase."""
    return tiny_network()


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_network()
    model.use_integers()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    Release.from_model(model).save(path)
    return path


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: smooth shapes, an edge, some noise."""
    rng = np.random.default_rng([seed, height, width])
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(rng.uniform(2, 20) * x + rng.uniform(2, 20) * y + rng.uniform(0, 6)) for _ in range(3)]
    base = 120 + 60 * np.stack(waves, -1) + 50 * (x + y > rng.uniform(0.3, 1.2))[..., None]
    return (base + rng.normal(0, 6, base.shape)).clip(0, 255).astype(np.uint8)
