"""The authors' names of tensors: a checkpoint laid out as theirs gives the network that it was made of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from icm.codecs.segpic.model import SegPIC
from icm.codecs.segpic.published import our_name, read_segpic
from tests.icm.codecs.test_segpic import pictures, tiny

# Ours → theirs, written the other way round and on its own, from the list of tensors of the authors' model.
BACK = [
    (r"net\.(g_a\d)\.([01])\.0\.", r"\1.\2.conv_groups.0."),
    (r"net\.(g_a\d)\.([01])\.1\.", r"\1.\2.conv_groups.1."),
    (r"net\.(g_a\d)\.([01])\.2\.layers\.", r"\1.\2.scales_bias."),
    (r"net\.(g_s\d)\.([12])\.0\.layers\.", r"\1.\2.scales_bias."),
    (r"net\.(g_s\d)\.([12])\.1\.", r"\1.\2.conv_groups.0."),
    (r"net\.(g_s\d)\.([12])\.2\.", r"\1.\2.conv_groups.1."),
    (r"net\.(g_..)\.(\d)\.trunk\.(\d)\.layers\.", r"\1.\2.conv_a.\3.conv."),
    (r"net\.(g_..)\.(\d)\.gate\.0\.bias", r"\1.\2.conv_b.0.attn.relative_position_bias_table"),
    (r"net\.(g_..)\.(\d)\.gate\.0\.qkv\.", r"\1.\2.conv_b.0.attn.qkv."),
    (r"net\.(g_..)\.(\d)\.gate\.0\.out\.", r"\1.\2.conv_b.0.attn.proj."),
    (r"net\.(g_..)\.(\d)\.gate\.([1-3])\.layers\.", r"\1.\2.conv_b.\3.conv."),
    (r"net\.(g_..)\.(\d)\.gate\.4\.", r"\1.\2.conv_b.4."),
    (r"net\.g_s1\.3\.", "g_s1.3."),
    (r"net\.h_(mean|scale)\.", r"h_\1_s."),
    (r"net\.h_a\.", "h_a."),
    (r"net\.charm\.", ""),
    (r"net\.prototypes\.p4_([as])\.", r"g_\1b."),
    (r"net\.prototypes\.p16_([as])\.", r"g_\1b2."),
    (r"net\.rat\.(encoder|decoder)\.", r"dyn_\1."),
    (r"net\.rat\.hyper\.", "dyn_enc_hyper."),
    (r"net\.rat\.(means|scales)\.", r"dyn_dec_hyper_\1."),
    (r"^(dyn_.*)\.enter\.", r"\1.conv."),
    (r"^(dyn_.*)\.kernels\.", r"\1.k_sp_gen."),
    (r"^(dyn_.*)\.attention\.", r"\1.k_ch_gen."),
    (r"^(dyn_.*)\.leave\.", r"\1.conv_out."),
    (r"^entropy_bottleneck_p4\.", "entropy_bottleneck_b."),
    (r"^entropy_bottleneck_p16\.", "entropy_bottleneck_b2."),
    (r"^(entropy_bottleneck.*)\.matrices\.", r"\1._matrix"),
    (r"^(entropy_bottleneck.*)\.biases\.", r"\1._bias"),
    (r"^(entropy_bottleneck.*)\.factors\.", r"\1._factor"),
]


def as_published(model: SegPIC) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        for pattern, replacement in BACK:
            name = re.sub(pattern, replacement, name)
        state[name] = tensor
        if found := re.match(r"g_a1\.(\d)\.(conv_groups.*)", name):
            state[f"basic_E.{found[1]}.{found[2]}"] = tensor
    gdn = [name.removesuffix("gamma") for name in state if name.endswith("gamma")]
    state |= {f"{name}gamma_reparam.pedestal": torch.zeros(1) for name in gdn}
    state["g_a1.2.conv_b.0.attn.relative_position_index"] = torch.zeros(64, 64, dtype=torch.long)
    return state


@pytest.mark.parametrize("settings", [{}, {"rat": False}, {"slices": 4, "support": 2}])
def test_a_published_checkpoint_gives_its_network(tmp_path: Path, settings: dict[str, int]) -> None:
    model = tiny(3, **settings)
    state = as_published(model)
    assert not any(name.startswith(("net.", "charm")) for name in state)
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "theirs.pth.tar"
    )
    read = read_segpic(tmp_path / "theirs.pth.tar", 3)
    assert read.settings == model.settings
    assert read.quality == 3
    with torch.no_grad():
        assert torch.equal(read(pictures())["x_hat"], model(pictures())["x_hat"])
    again = SegPIC.from_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_another_checkpoint_is_told(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    state = as_published(tiny())
    for change in ({"fc.weight": torch.zeros(1)}, {"g_s1.3.weight": torch.zeros(5, 5)}):
        torch.save({**state, **change}, path)
        with pytest.raises(ValueError, match=r"other\.pth: .*") as caught:
            read_segpic(path)
        assert "\n" not in str(caught.value)
    torch.save({name: t for name, t in state.items() if "dyn_encoder.conv_out" not in name}, path)
    with pytest.raises(ValueError, match="beside its weights it has"):
        read_segpic(path)
    with pytest.raises(ValueError, match="no tensor of SegPIC"):
        our_name("h_b.0.weight")
