"""The network learns through the one training loop, and what it exports codes pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

import icm
from icm.codecs.groups.codec import GroupsCodec
from icm.groups import from_labels
from pipelines.cli import main
from pipelines.media import write_picture
from tests.icm.groups.conftest import random_picture, tiny_network

MODEL = ("settings.model={latent: 8, hyper: 4, prior_width: 6, slices: 2, widths: [4, 6, 8, 8], depths: [1, 1, 2, 1], "
         "heads: [1, 2, 2, 2]}")  # fmt: skip


def test_a_few_steps_then_a_stream(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        write_picture(tmp_path / "in" / f"{i}.png", random_picture(np.random.default_rng(i), 80, 90))
    config = tmp_path / "tiny.yaml"
    config.write_text(f"task: image-codec\nsettings:\n  arch: groups\n  data:\n    - pictures: {tmp_path}/in\n"
                      "  crop: 64\n  batch: 2\n  integers_at: 0.5\n"
                      "trainer:\n  log_steps: 1\n  device: cpu\n")  # fmt: skip
    assert main(["train", str(config), MODEL, "-o", str(tmp_path / "run"), "--steps", "6"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(row["main"]) for row in rows if "main" in row)
    codec = GroupsCodec("groups", 40, weights=tmp_path / "run" / "model.safetensors")
    picture, labels = random_picture(np.random.default_rng(9), 50, 60), np.zeros((50, 60), int)
    labels[10:40, 20:60] = 1
    data = codec.encode(picture, from_labels(labels))
    assert codec.decode(data).shape == picture.shape
    assert not codec.verify(data)


def test_learning_lowers_the_loss() -> None:
    torch.manual_seed(0)
    net = tiny_network().train()
    x = torch.from_numpy(random_picture(np.random.default_rng(0), 64, 64)).permute(2, 0, 1)[None].float() / 255
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    labels[:, 20:, 30:] = 3
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        out = net(x, torch.tensor([50.0]), labels)
        rate = sum(-torch.log2(p).sum() for p in out["likelihoods"].values()) / 4096
        loss = rate + 0.01 * 255**2 * (out["x_hat"] - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_weights_by_name_and_the_interface_of_compressai(tiny_weights: Path) -> None:
    net = icm.build("groups", weights=tiny_weights)
    net.update()
    x = torch.from_numpy(random_picture(np.random.default_rng(1), 40, 50)).permute(2, 0, 1)[None].float() / 255
    coded = net.compress(x, 30)
    back = net.decompress(**coded, quality=30)["x_hat"]
    assert back.shape == x.shape
    codec = GroupsCodec("groups", 30, weights=tiny_weights)
    picture = (x[0].permute(1, 2, 0) * 255).round().byte().numpy()
    shown = codec.decode(codec.encode(picture))
    assert np.array_equal(shown, (back[0].permute(1, 2, 0) * 255).round().byte().numpy())
    assert np.array_equal(icm.decode(codec.encode(picture), weights=tiny_weights), shown)


def test_integers_of_the_prior_are_those_of_training() -> None:
    """The coding twin gives the means and indices of the integer phase, exactly."""
    from icm.codecs.groups.coding import whole_layout

    net = tiny_network()
    net.use_integers()
    coding, layout = net.prior.coding(), whole_layout(5, 6)
    z = torch.randint(-20, 20, (layout.blocks[2], 4)).double()
    features = coding.features(z, layout)
    with torch.no_grad():
        trained = net.prior.double().features(z, layout)
        assert torch.equal(features, trained * 16)
        first = torch.randint(-900, 900, (4, 30))
        mean, index = coding.slice(1, features, [first])
        mean_float, index_float = net.prior.slice(1, trained, [first[None, :, :, None].double() / 16])
    assert torch.equal(mean.double(), mean_float[0, :, :, 0] * 16)
    assert torch.equal(index.double(), index_float[0, :, :, 0] * 16)
