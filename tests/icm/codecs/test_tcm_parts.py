"""The parts of LIC-TCM against plain formulas and against CompressAI's, and what has been published of its size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from icm.codecs.tcm import attention, layers
from icm.codecs.tcm.network import Tcm
from icm.codecs.tcm.transforms import Settings
from tests.icm.codecs.tiny_tcm import TINY


@pytest.mark.parametrize(("width", "parameters"), [(128, 76_568_148), (96, 59_133_650), (64, 45_180_752)])
def test_parameter_count(width: int, parameters: int) -> None:
    """76.57 M as published; the other two as the authors' code counts them."""
    with torch.device("meta"):
        network = Tcm(width=width)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def plain_attention(module: attention.WindowAttention, x: Tensor) -> Tensor:
    """Window by window, head by head, position by position: what may be attended is found from where things were."""
    _, height, width, channels = x.shape
    window, dim = module.window, channels // module.heads
    shift = window // 2 if module.shifted else 0
    q, k, v = module.embedding_layer(x).chunk(3, -1)
    out = torch.zeros_like(x)
    for top in range(0, height, window):
        for left in range(0, width, window):
            at = [((top + i + shift) % height, (left + j + shift) % width, (top + i + shift) // height,
                   (left + j + shift) // width, i, j) for i in range(window) for j in range(window)]  # fmt: skip
            for r, c, over_r, over_c, i, j in at:
                allowed = [o for o in at if o[2:4] == (over_r, over_c)]
                for head in range(module.heads):
                    of = slice(head * dim, (head + 1) * dim)
                    bias = [module.relative_position_params[head, i - o[4] + window - 1, j - o[5] + window - 1]
                            for o in allowed]  # fmt: skip
                    keys = torch.stack([k[:, o[0], o[1], of] for o in allowed], 1)
                    values = torch.stack([v[:, o[0], o[1], of] for o in allowed], 1)
                    score = (keys @ q[:, r, c, of, None])[..., 0] / math.sqrt(dim) + torch.stack(bias)
                    out[:, r, c, of] = (score.softmax(-1)[..., None] * values).sum(1)
    return module.linear(out)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (8, 12), (4, 8)])
def test_windows_are_attention_position_by_position(shifted: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = attention.WindowAttention(6, 3, 4, shifted).double()
    torch.nn.init.normal_(module.relative_position_params)
    x = torch.randn(2, *size, 6, dtype=torch.float64, requires_grad=True)
    ours, plain = module(x), plain_attention(module, x)
    assert torch.allclose(ours, plain, atol=1e-12)
    weights = torch.randn_like(ours)
    gradients = [torch.autograd.grad((out * weights).sum(), [x, *module.parameters()]) for out in (ours, plain)]
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(*gradients, strict=True))


def test_windows_must_fit() -> None:
    with pytest.raises(ValueError, match="12x10 positions cannot be cut into windows of 4"):
        attention.WindowAttention(8, 4, 4, False)(torch.zeros(1, 12, 10, 8))
    with pytest.raises(ValueError, match="8 channels cannot be cut into heads of 3"):
        attention.WindowAttention(8, 3, 4, False)


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_compressai_s(inverse: bool) -> None:
    from compressai.layers import GDN

    torch.manual_seed(0)
    theirs = GDN(5, inverse=inverse).double()
    for buffer in theirs.buffers():  # made in float32
        buffer.copy_(buffer.double())
    theirs.beta_reparam.pedestal.fill_(2.0**-36)
    theirs.gamma_reparam.pedestal.fill_(2.0**-36)
    with torch.no_grad():
        theirs.gamma.add_(0.3 * torch.randn(5, 5))  # some below the bound
    ours = layers.Gdn(5, inverse).double()
    ours.load_state_dict({"beta": theirs.beta, "gamma": theirs.gamma})
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64)
    weights = torch.randn_like(x)
    found = []
    for module in (ours, theirs):
        out = module(x)
        found.append([out, *torch.autograd.grad((out * weights).sum(), [module.beta, module.gamma])])
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(*found, strict=True))


def test_settings_that_do_not_exist_or_fit() -> None:
    with pytest.raises(ValueError, match=r"tcm: unknown setting n; known: depths, .*width"):
        Tcm(n=128)
    with pytest.raises(ValueError, match="six numbers each"):
        Settings.of(depths=[2, 2])
    with pytest.raises(ValueError, match="20 channels cannot be cut in 3 equal slices"):
        Tcm(**{**TINY, "slices": 3})
