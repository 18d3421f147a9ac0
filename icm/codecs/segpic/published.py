"""The authors' tensors under our names. Their checkpoints hold a state dict of one model with N = 192, M = 320.

Each block of their transforms is listed twice (as basic_E or basic_D, and inside g_a1 … g_s1): the second is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

_DROPPED = re.compile(
    r"basic_[ED]\.|gaussian_conditional\.|.*(_reparam\.|relative_position_index$|\.target$|lower_bound|\._offset$"
    r"|\._quantized_cdf$|\._cdf_length$)"
)
_ATTENTION = [
    (r"\.conv_b\.0\.attn\.relative_position_bias_table", ".gate.0.bias"),
    (r"\.conv_b\.0\.attn\.qkv", ".gate.0.qkv"),
    (r"\.conv_b\.0\.attn\.proj", ".gate.0.out"),
    (r"\.conv_a\.(\d)\.conv", r".trunk.\1.layers"),
    (r"\.conv_b\.(\d)\.conv", r".gate.\1.layers"),
    (r"\.conv_b\.", ".gate."),
]
_DOWN = [(r"\.conv_groups\.", "."), (r"\.scales_bias\.", ".2.layers.")]
_UP = [(r"\.conv_groups\.1\.", ".2."), (r"\.conv_groups\.0\.", ".1."), (r"\.scales_bias\.", ".0.layers.")]
_RAT = [
    (r"\.k_sp_gen\.", ".kernels."), (r"\.k_ch_gen\.", ".attention."), (r"\.conv_out\.", ".leave."),
    (r"\.conv\.", ".enter."),
]  # fmt: skip
_BOTTLENECK = [(r"\._matrix", ".matrices."), (r"\._bias", ".biases."), (r"\._factor", ".factors.")]

# Their first name → ours, and what changes behind it.
_PARTS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "g_a1": ("net.g_a1", _ATTENTION + _DOWN),
    "g_a2": ("net.g_a2", _ATTENTION + _DOWN),
    "g_s0": ("net.g_s0", _ATTENTION + _UP),
    "g_s1": ("net.g_s1", _ATTENTION + _UP),
    "h_a": ("net.h_a", []),
    "h_mean_s": ("net.h_mean", []),
    "h_scale_s": ("net.h_scale", []),
    "g_ab": ("net.prototypes.p4_a", []),
    "g_sb": ("net.prototypes.p4_s", []),
    "g_ab2": ("net.prototypes.p16_a", []),
    "g_sb2": ("net.prototypes.p16_s", []),
    "cc_mean_transforms": ("net.charm.cc_mean_transforms", []),
    "cc_scale_transforms": ("net.charm.cc_scale_transforms", []),
    "lrp_transforms": ("net.charm.lrp_transforms", []),
    "dyn_encoder": ("net.rat.encoder", _RAT),
    "dyn_decoder": ("net.rat.decoder", _RAT),
    "dyn_enc_hyper": ("net.rat.hyper", _RAT),
    "dyn_dec_hyper_means": ("net.rat.means", _RAT),
    "dyn_dec_hyper_scales": ("net.rat.scales", _RAT),
    "entropy_bottleneck": ("entropy_bottleneck", _BOTTLENECK),
    "entropy_bottleneck_b": ("entropy_bottleneck_p4", _BOTTLENECK),
    "entropy_bottleneck_b2": ("entropy_bottleneck_p16", _BOTTLENECK),
}


def our_name(name: str) -> str | None:
    """Our name of one of their tensors; None where we need none. ValueError: nothing of SegPIC's."""
    name = name.removeprefix("module.")
    if _DROPPED.match(name):
        return None
    first, _, rest = name.partition(".")
    if first not in _PARTS or not rest:
        raise ValueError(f"{name[:80]}: is no tensor of SegPIC's published models; name another --arch")
    ours, changes = _PARTS[first]
    for pattern, replacement in changes:
        rest, found = re.subn(pattern, replacement, f".{rest}")
        rest = rest[1:]
        if found and changes is not _BOTTLENECK and ".layers" in replacement:
            break  # what is inside has names of its own
    return f"{ours}.{rest}"


def convert(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors by our names, settings of Network), from a state dict of theirs. ValueError where it is none."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        ours = our_name(name)
        if ours is not None:
            tensors[ours] = tensor.detach().float() if tensor.is_floating_point() else tensor
    try:
        width = len(tensors["net.g_a1.0.0.weight"])
        latent = len(tensors["net.g_a2.1.0.weight"])
        heads = tensors["net.g_a1.2.gate.0.bias"].shape[1]
        context = "net.charm.cc_mean_transforms."
        inputs = [tensors[f"{context}{i}.0.weight"].shape[1] for i in range(_count(tensors, context))]
    except KeyError as error:
        raise ValueError(f"no checkpoint of SegPIC: it has no tensor that would be {error.args[0]}") from None
    slices = len(inputs)
    settings = {
        "width": width, "latent": latent, "slices": slices, "support": (max(inputs) - latent) * slices // latent,
        "heads": heads, "grid": 4, "rat": "net.rat.encoder.leave.weight" in tensors,
        "sal": "net.g_a1.0.2.layers.0.weight" in tensors,
    }  # fmt: skip
    return tensors, settings


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].partition(".")[0] for name in tensors if name.startswith(prefix)})
