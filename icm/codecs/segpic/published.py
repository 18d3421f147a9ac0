"""The authors' tensors under our names. Their checkpoints hold a state dict of one model with N = 192, M = 320.

Each block of their transforms is listed twice (as basic_E or basic_D, and inside g_a1 … g_s1): the second is taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from icm.codecs import checkpoints
from icm.codecs.segpic.model import SegPIC

_TWICE = re.compile(r"basic_[ED]\.")
_OURS = ("net.", "entropy_bottleneck_p4.", "entropy_bottleneck_p16.")
CONSTANTS = (".pedestal", ".bound", ".target", ".scale_table", ".scale_bound", "relative_position_index")
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
    "gaussian_conditional": ("gaussian_conditional", []),
    "entropy_bottleneck": ("entropy_bottleneck", []),
    "entropy_bottleneck_b": ("entropy_bottleneck_p4", []),
    "entropy_bottleneck_b2": ("entropy_bottleneck_p16", []),
}


def read_segpic(path: str | os.PathLike[str], quality: float = 0.0) -> SegPIC:
    """The network with a checkpoint's weights, in evaluation mode. quality: the name of its rate point, see Release.

    ValueError, one line, where the file is no checkpoint of SegPIC.
    """
    network = from_tensors(checkpoints.state_dict(path), path)
    network.quality = float(quality)
    return network


def from_tensors(tensors: Mapping[str, Tensor], path: Any) -> SegPIC:
    """The same from tensors by their names, the authors' or ours. path: what errors speak of."""
    try:
        named = {our_name(name): tensor for name, tensor in tensors.items() if not _TWICE.match(name)}
        network = SegPIC(**settings_of(named))
    except (KeyError, ValueError, ZeroDivisionError):
        raise ValueError(f"{path}: is no checkpoint of SegPIC: its tensors have other names or shapes") from None
    checkpoints.fill(network, named, path, CONSTANTS)
    return network.eval()


def our_name(name: str) -> str:
    """Our name of one of their tensors (or of ours). ValueError: nothing of SegPIC's."""
    if name.startswith(_OURS):
        return name
    first, _, rest = name.partition(".")
    if first not in _PARTS or not rest:
        raise ValueError(f"{name[:80]}: is no tensor of SegPIC's published models")
    ours, changes = _PARTS[first]
    for pattern, replacement in changes:
        changed, found = re.subn(pattern, replacement, f".{rest}")
        rest = changed[1:]
        if found and ".layers" in replacement:
            break  # what is inside has names of its own
    return f"{ours}.{rest}"


def settings_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The keywords of Network that shapes imply. KeyError where they imply nothing."""
    width, latent = len(tensors["net.g_a1.0.0.weight"]), len(tensors["net.g_a2.1.0.weight"])
    context = re.compile(r"net\.charm\.cc_mean_transforms\.\d+\.0\.weight")
    inputs = [tensor.shape[1] for name, tensor in tensors.items() if context.fullmatch(name)]
    return {
        "width": width,
        "latent": latent,
        "slices": len(inputs),
        "support": (max(inputs, default=0) - latent) * len(inputs) // latent,
        "heads": tensors["net.g_a1.2.gate.0.bias"].shape[1],
        "rat": "net.rat.encoder.leave.weight" in tensors,
        "sal": "net.g_a1.0.2.layers.0.weight" in tensors,
    }
