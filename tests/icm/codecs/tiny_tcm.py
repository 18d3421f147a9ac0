"""LIC-TCM of a few channels with random weights, whose symbols are as varied as a trained one's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from icm.codecs.tcm.network import Tcm

TINY: dict[str, Any] = {
    "width": 8, "latent": 20, "hyper": 6, "slices": 5, "depths": [2, 1, 1, 1, 1, 2], "heads": [4, 4, 8, 8, 4, 4],
    "hyper_head": 8, "prior_head": 4, "inner": 8, "prior_widths": [12, 8],
}  # fmt: skip


def tiny_tcm(seed: int = 0, **changes: Any) -> Tcm:
    torch.manual_seed(seed)
    model = Tcm(**{**TINY, **changes}).eval()
    with torch.no_grad():
        model.g_a[-1].weight.mul_(20)  # latents of several units, as training makes them
        model.h_a[-1].weight.mul_(8)
        for stack in model.charm.cc_scale_transforms:
            stack[-1].weight.mul_(20)  # scales from below the narrowest table to several units
            stack[-1].bias.add_(0.8)
    return model


def tiny_weights(folder: Path, seed: int = 0) -> Path:
    path = folder / f"tcm-{seed}.safetensors"
    tiny_tcm(seed).export(path)
    return path


def published(model: Tcm) -> dict[str, torch.Tensor]:
    """A state dict as the authors write it: their names, DataParallel's prefix, densities as CompressAI called them."""
    state = {}
    for name, tensor in model.state_dict().items():
        parts = name.removeprefix("charm.").split(".")
        if parts[0].startswith("atten_"):
            parts.insert(2, "0")
        if parts[1] in ("matrices", "biases", "factors"):
            old = {"matrices": "_matrix", "biases": "_bias", "factors": "_factor"}[parts[1]]
            parts[1:] = [f"{old}{parts[2]}"]
        state["module." + ".".join(parts)] = tensor
    gdn = "g_a.0.gdn.beta_reparam"
    extra = {f"{gdn}.pedestal": torch.zeros(1), f"{gdn}.lower_bound.bound": torch.ones(1),
             "entropy_bottleneck._quantized_cdf": torch.zeros(6, 9, dtype=torch.int32),
             "gaussian_conditional.scale_table": torch.ones(64)}  # fmt: skip
    return {**state, **{f"module.{name}": tensor for name, tensor in extra.items()}}
