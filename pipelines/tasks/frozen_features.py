"""Features of a frozen task model, for a loss that asks what the model still sees.

    x (B, 3, H, W) in [0, 1] ─the model's own normalisation─▶ backbone ─▶ its levels, each (B, C, h, w)

torchvision's detectors and semantic networks, and mask-rcnn-scenes. Untrained features say little, so weights are read
here, at once, and never changed. The crop is not resized to what the model sees in use: features are those of its
scale on disk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class FrozenFeatures:
    """Called with x → list of its levels. name: as in `vcm models`; weights: a path, or None for the model's own.

    Raises ValueError for a model that has no such features, or weights that are not there; OSError where they cannot be
    fetched. Its parameters take no gradient, pictures do.
    """

    def __init__(self, name: str, weights: str | None = None) -> None:
        from eval.models import build

        if name != "mask-rcnn-scenes" and not name.startswith("torchvision:"):
            raise ValueError(f"features {name}: torchvision's models and mask-rcnn-scenes have them; see `vcm models`")
        self.name = name
        self.network: nn.Module = build(name, weights=weights)._network()  # type: ignore[attr-defined]
        self.network.eval().requires_grad_(False)
        if not hasattr(self.network, "backbone"):
            raise ValueError(f"features {name}: this network has no backbone of its own; take another model")
        transform: Any = getattr(self.network, "transform", None)  # detectors normalise inside, semantic ones outside
        mean = getattr(transform, "image_mean", (0.485, 0.456, 0.406))
        std = getattr(transform, "image_std", (0.229, 0.224, 0.225))
        self.mean, self.std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))

    def __call__(self, x: Tensor) -> list[Tensor]:
        if next(self.network.parameters()).device != x.device:
            self.network.to(x.device)
            self.mean, self.std = self.mean.to(x.device), self.std.to(x.device)
        network: Any = self.network
        if self.name == "mask-rcnn-scenes":
            return list(network.features(x).values())
        return list(network.backbone((x - self.mean) / self.std).values())
