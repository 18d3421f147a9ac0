"""A tiny network with random weights for structured streams, and pictures with random groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from icm.codecs.groups.codec import GroupsCodec
from icm.codecs.groups.network import GroupsNet
from icm.groups import GroupMask, from_labels


def tiny_network(seed: int = 0) -> GroupsNet:
    torch.manual_seed(seed)
    model = GroupsNet(
        latent=8, hyper=4, prior_width=6, slices=2, widths=(4, 6, 8, 8), depths=(1, 1, 2, 1), heads=(1, 2, 2, 2)
    ).eval()
    with torch.no_grad():
        model.g_a.out.weight.mul_(25)  # latents of several units, as training makes them
        for block in (m for m in model.modules() if hasattr(m, "relative")):
            block.bias.normal_()  # zeros at the start of training would hide a wrong place
    return model


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_network()
    model.use_integers()
    path = tmp_path_factory.mktemp("weights") / "tiny-groups.safetensors"
    model.export(path)
    return path


@pytest.fixture(scope="session")
def codec(tiny_weights: Path) -> GroupsCodec:
    return GroupsCodec("groups", 30, weights=tiny_weights)


def random_mask(rng: np.random.Generator, height: int, width: int, kinds: int = 4) -> GroupMask:
    """Rectangles, or scattered cells, with names of which some repeat."""
    labels = np.zeros((height, width), np.int64)
    if rng.random() < 0.3:
        cells = rng.integers(0, kinds, (-(-height // 16), -(-width // 16)))
        labels = cells.repeat(16, 0).repeat(16, 1)[:height, :width]
    for label in range(1, kinds + 1):
        top, left = rng.integers(0, height), rng.integers(0, width)
        labels[top : top + rng.integers(8, 80), left : left + rng.integers(8, 80)] = label
    names = {label: ("person", "car")[label % 2] for label in range(1, kinds + 1)}
    return from_labels(labels, names, int(rng.choice([16, 16, 32])))


def random_picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8: waves and noise."""
    y, x = np.mgrid[:height, :width] / 64
    waves = np.stack([np.sin(rng.uniform(1, 9) * x + rng.uniform(1, 9) * y + rng.uniform(0, 6)) for _ in range(3)], -1)
    return (125 + 70 * waves + rng.normal(0, 12, waves.shape)).clip(0, 255).astype(np.uint8)
