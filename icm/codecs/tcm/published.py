"""LIC_TCM's and SA-ICM's published checkpoints (icm_78, icm_93, the v2 set) as weights of ours.

Every size is read off the shapes: N = 64, 96 and 128 are published. Our layers have the authors' names, but for the
parts of the prior, which stand together under `charm`.
"""

from __future__ import annotations

import os
import re
from typing import Any

from torch import Tensor

from icm.codecs import checkpoints
from icm.codecs.tcm.network import Tcm

CONSTANTS = (".pedestal", ".bound", ".target", ".scale_table", ".scale_bound")
PRIOR = re.compile(r"(cc_mean_transforms|cc_scale_transforms|lrp_transforms)\.(\d+)\.(.*)")
ATTENTION = re.compile(r"(atten_mean|atten_scale)\.(\d+)\.0\.(.*)")


def read_tcm(path: str | os.PathLike[str], quality: float = 0.0) -> Tcm:
    """The network with a checkpoint's weights, in evaluation mode. quality: the name of its rate point, see Release.

    ValueError, one line, where the file is no checkpoint of LIC-TCM.
    """
    network = from_tensors(checkpoints.state_dict(path), path)
    network.quality = float(quality)
    return network


def from_tensors(tensors: dict[str, Tensor], path: Any) -> Tcm:
    """The same from tensors by their names, the authors' or ours. path: what errors speak of."""
    state = {_ours(name): tensor for name, tensor in tensors.items()}
    try:
        network = Tcm(**settings_of(state))
    except (KeyError, IndexError, ValueError, ZeroDivisionError):
        raise ValueError(f"{path}: is no checkpoint of LIC-TCM: its tensors have other names or shapes") from None
    checkpoints.fill(network, state, path, CONSTANTS)
    return network.eval()


def _ours(name: str) -> str:
    if found := ATTENTION.fullmatch(name):
        return f"charm.{found[1]}.{found[2]}.{found[3]}"
    return f"charm.{name}" if PRIOR.fullmatch(name) else name


def settings_of(state: dict[str, Tensor]) -> dict[str, Any]:
    """The keywords of `Settings` that shapes imply. KeyError and the like where they imply nothing."""
    wide, latent = state["g_a.0.conv1.weight"].shape[0], state["h_a.0.conv1.weight"].shape[1]
    width, inner = wide // 2, state["charm.atten_mean.0.in_conv.weight"].shape[0]
    stages = [*_stages(state, "g_a"), *_stages(state, "g_s")]
    depths = [len(heads) for heads in stages]
    last = max(int(found[1]) for name in state if (found := re.match(r"charm\.cc_mean_transforms\.(\d+)\.", name)))
    step = latent // (last + 1)
    first = [re.match(r"charm\.cc_mean_transforms\.0\.(\d+)\.weight", name) for name in state]
    stack = sorted(int(found[1]) for found in first if found)
    seen = (state[f"charm.cc_mean_transforms.{last}.0.weight"].shape[1] - latent) // step
    hyper = _stages(state, "h_a")[0]
    prior = state["charm.atten_mean.0.non_local_block.block_1.msa.relative_position_params"]
    return {
        "width": width,
        "latent": latent,
        "hyper": state["entropy_bottleneck.quantiles"].shape[0],
        "slices": last + 1,
        "support": seen if seen < last else last + 1,
        "depths": depths,
        "heads": [width // heads[0] for heads in stages],
        "hyper_head": width // hyper[0],
        "prior_head": inner // prior.shape[0],
        "inner": inner,
        "prior_widths": [state[f"charm.cc_mean_transforms.0.{i}.weight"].shape[0] for i in stack[:-1]],
    }


def _stages(state: dict[str, Tensor], part: str) -> list[list[int]]:
    """Numbers of heads of the blocks of each stage: a stage ends where a layer is no block."""
    ends = sorted({int(name.split(".")[1]) for name in state if name.startswith(f"{part}.")})
    stages: list[list[int]] = [[]]
    for i in ends[1:]:
        heads = state.get(f"{part}.{i}.trans_block.msa.relative_position_params")
        if heads is None:
            stages.append([])
        else:
            stages[-1].append(heads.shape[0])
    return [stage for stage in stages if stage]
