"""SegPIC's network: what it must compute, that regions matter and are read as documented, that ablations ablate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import icm
from icm.codecs.segpic.layers import Attention, ScaleAffine, pad
from icm.codecs.segpic.model import SegPIC
from icm.codecs.segpic.regions import COARSE, FINE, RegionAdaptive, Regions, dense

TINY = {"width": 8, "latent": 16, "slices": 2, "support": 1, "heads": 2}


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def tiny(seed: int = 0, **settings: Any) -> SegPIC:
    torch.manual_seed(seed)
    model: SegPIC = icm.build("segpic", **{**TINY, **settings}).eval()
    with torch.no_grad():  # symbols of several units, as training makes them
        model.net.g_a2[1][0].weight.mul_(8)
        model.net.h_a[-1].weight.mul_(6)
        for stack in model.net.charm.cc_scale_transforms:
            stack[-1].bias.add_(2)
        for name in ("p4_a", "p16_a") if model.settings["rat"] else ():
            model.net.prototypes[name][-1].weight.mul_(100)
    return model


def pictures(batch: int = 1, height: int = 64, width: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    smooth = torch.nn.functional.interpolate(torch.rand(batch, 3, 4, 4, generator=generator), (height, width))
    return (smooth + 0.1 * torch.rand(batch, 3, height, width, generator=generator)).clamp(0, 1)


def halves(height: int = 64, width: int = 64, left: int = 5, right: int = 9) -> Tensor:
    """(1, H, W): two regions."""
    labels = torch.full((1, height, width), left)
    labels[..., width // 2 :] = right
    return labels


# --- layers ---------------------------------------------------------------------------------------------------------
def test_a_scale_affine_layer_scales_and_shifts() -> None:
    layer, x = ScaleAffine(3), torch.randn(1, 3, 4, 4)
    last = layer.layers[-1]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.0, 0.0, 7.0]))
    assert torch.allclose(
        layer(x), x * torch.tensor([1.0, 2.0, 0.0])[:, None, None] + torch.tensor([0, 0, 7.0])[:, None, None]
    )


def test_attention_stays_within_shifted_windows() -> None:
    """A changed position reaches, beyond the reach of the 3×3 convolutions, its window and nothing else."""
    torch.manual_seed(0)
    layer = Attention(4, 2, 4).eval()
    x, changed = torch.randn(1, 4, 16, 16), (9, 9)
    y = x.clone()
    y[..., changed[0], changed[1]] += 3
    moved = (layer.gate[0](x) != layer.gate[0](y)).any(1)[0].nonzero()
    # Windows of 4 that begin at 2, 6, 10, 14: (9, 9) lies in the one from 6 to 9.
    assert moved.min() == 6
    assert moved.max() == 9
    corner = x.clone()
    corner[..., 0, 0] += 3  # the shift puts the corners side by side, and attention must not know
    moved = (layer.gate[0](x) != layer.gate[0](corner)).any(1)[0].nonzero()
    assert moved.max() <= 1


# --- regions --------------------------------------------------------------------------------------------------------
def test_ids_are_numbered_without_gaps_in_each_picture() -> None:
    labels = torch.tensor([[[7, 7], [-3, 900_000_000_000]], [[2, 2], [2, 2]]])
    assert dense(labels).tolist() == [[[1, 1], [0, 2]], [[0, 0], [0, 0]]]
    with pytest.raises(ValueError, match="number them anew"):
        dense(torch.tensor([[[0, 2**41]]]))


def test_a_prototype_is_its_region_s_mean() -> None:
    regions, features = Regions.of(halves()), torch.arange(2 * 256.0).view(1, 2, 16, 16)
    pooled = regions.pool(features, FINE)
    assert pooled.shape == (1, 2, 2, 1)
    for half, columns in enumerate((slice(0, 8), slice(8, 16))):
        assert torch.allclose(pooled[0, :, half, 0], features[0, :, :, columns].mean((1, 2)), rtol=1e-4)
    spread = regions.spread(pooled, FINE, 16, 16)
    assert torch.equal(spread[..., 0, 3], pooled[..., 0, 0])
    assert torch.equal(spread[..., 9, 12], pooled[..., 1, 0])


def test_the_grid_is_a_map_of_sixteen() -> None:
    """Also where it stands beside a labelled picture in one batch."""
    labels = torch.cat([torch.zeros_like(halves()), halves()])
    mixed, alone = Regions.of(labels), Regions.of(labels[:1])
    assert alone.labels is None
    assert mixed.count == 16
    features = torch.randn(2, 3, 16, 16)
    told = mixed.pool(features, FINE)[0, :, :, 0].unflatten(1, (4, 4))
    assert torch.allclose(told, alone.pool(features[:1], FINE)[0], rtol=1e-3, atol=1e-4)
    assert torch.equal(mixed.present(FINE), torch.tensor([[True] * 16, [True] * 2 + [False] * 14]))


def test_a_spot_has_no_prototype_where_it_is_not_seen() -> None:
    labels = halves()
    labels[:, 20:24, 20:24] = 77  # one position at 1/4, none at 1/16
    regions = Regions.of(labels)
    assert regions.present(FINE).tolist() == [[True, True, True]]  # type: ignore[union-attr]
    assert regions.present(COARSE).tolist() == [[True, True, False]]  # type: ignore[union-attr]
    likelihoods = tiny()(pictures(), labels)["likelihoods"]
    assert (likelihoods["p16"][0, :, 2] == 1).all()
    assert (likelihoods["p16"][0, :, :2] < 1).all()
    assert (likelihoods["p4"] < 1).all()


def test_the_adaptive_transform_filters_each_position_by_its_own_kernel() -> None:
    torch.manual_seed(0)
    layer, x, told = RegionAdaptive(4).double(), torch.randn(1, 4, 6, 5).double(), torch.randn(1, 4, 6, 5).double()
    u = layer.enter(x)
    kernels = layer.kernels(torch.cat([u, told], 1)).view(1, 4, 9, 6, 5)
    unfolded = torch.nn.functional.unfold(u, 3, padding=1).view(1, 4, 9, 6, 5)
    filtered = (unfolded * kernels).sum(2)
    expected = x + layer.leave(layer.attention(filtered) * filtered)
    assert torch.allclose(layer(x, told), expected)


# --- the whole ------------------------------------------------------------------------------------------------------
def test_shapes_for_any_size() -> None:
    model = tiny()
    for height, width in ((64, 64), (1, 70), (100, 65)):
        out = model(pictures(2, height, width))
        rows, cols = -(-height // 64), -(-width // 64)
        assert out["x_hat"].shape == (2, 3, height, width)
        assert {name: tuple(p.shape[1:]) for name, p in out["likelihoods"].items()} == {
            "y": (16, 4 * rows, 4 * cols), "z": (8, rows, cols), "p4": (8, 4, 4), "p16": (8, 4, 4)
        }  # fmt: skip


def test_labels_reach_the_picture_by_their_regions_alone() -> None:
    model, x = tiny(), pictures()
    grid, told = model(x), model(x, halves())
    assert not torch.allclose(grid["x_hat"], told["x_hat"], atol=1e-3)
    other_ids = model(x, halves(left=1 << 33, right=2))
    assert torch.allclose(told["x_hat"], other_ids["x_hat"], atol=1e-5)
    assert torch.equal(grid["x_hat"], model(x, torch.zeros(1, 64, 64, dtype=torch.uint8))["x_hat"])
    between = halves()
    between[:, 1::4] = 3  # rows that are not looked at
    assert torch.equal(told["x_hat"], model(x, between)["x_hat"])


def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    model, x = tiny(), pictures(2)
    labels = torch.cat([halves(), torch.arange(16).repeat_interleave(4).repeat(64, 1)[None]])
    together, alone = model(x, labels), model(x[:1], labels[:1])
    assert torch.allclose(together["x_hat"][:1], alone["x_hat"], atol=1e-4)
    rate = [-torch.log2(out["likelihoods"]["p4"][0]).sum().item() for out in (together, alone)]
    assert rate[0] == pytest.approx(rate[1], rel=1e-4)  # the regions it does not have cost nothing


@pytest.mark.parametrize(("rat", "sal"), list(itertools.product([True, False], repeat=2)))
def test_ablations_take_their_parts_away(rat: bool, sal: bool) -> None:
    model, x = tiny(rat=rat, sal=sal), pictures()
    names = {name for name, _ in model.named_parameters()}
    assert any(".rat." in name for name in names) == rat
    assert any("prototypes" in name for name in names) == rat
    assert any(isinstance(m, ScaleAffine) for m in model.modules()) == sal
    out = model(x, halves())
    assert set(out["likelihoods"]) == ({"y", "z", "p4", "p16"} if rat else {"y", "z"})
    if not rat:
        assert torch.equal(out["x_hat"], model(x)["x_hat"])


def test_without_privilege_training_sees_the_grid() -> None:
    for privilege in (True, False):
        model = tiny(privilege=privilege)
        told = [float(model.train()(pictures(), labels)["x_hat"].sum()) for labels in (None, halves())]
        assert (told[0] == told[1]) != privilege


@torch.enable_grad()
def test_every_parameter_learns() -> None:
    model = tiny().train()
    out = model(pictures(2), torch.cat([halves(), halves()]))
    bits = sum(-torch.log2(p).sum() for p in out["likelihoods"].values())
    (bits + (out["x_hat"] - pictures(2)).square().sum()).backward()
    still = [n for n, p in model.named_parameters() if (p.grad is None or not p.grad.any()) and "quantiles" not in n]
    assert not still
    assert math.isfinite(model.aux_loss().item())


def test_sizes_that_do_not_go_together_are_told() -> None:
    with pytest.raises(ValueError, match="slices and heads that divide"):
        tiny(slices=3)
    with pytest.raises(ValueError, match="1, 2 or 4 regions a side"):
        tiny(grid=3)
    with pytest.raises(ValueError, match="map of integers"):
        tiny()(pictures(), halves().float())
    with pytest.raises(ValueError, match="do not fit"):
        tiny()(pictures(), halves(60, 60))


def test_padding_repeats_the_edge() -> None:
    x = torch.arange(6).view(1, 2, 3)
    assert pad(x, 4).tolist() == [[[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]]
    assert pad(x, 1) is x
