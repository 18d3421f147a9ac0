"""Our networks under CompressAI's own names: its registry, its zoo, and what its evaluation asks of a model.

    from icm.codecs import compat
    compat.register()
    net = compressai.zoo.models["sa-icm-s"](quality=25, pretrained=True)      or compressai.registry.MODELS["tcm"]()
    net.update(); packed = net.compress(x); net.decompress(packed["strings"], packed["shape"])

Nothing is registered before that call: importing our packages leaves other people's tables alone. CompressAI's own
writers of files know only its own models; ours have .vcm (icm.encode).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from icm.codecs.networks import architecture, load
from icm.quality import to_code

NAMES = ("sa-icm-s", "tcm", "segpic")
VARIABLE = ("sa-icm-s",)  # one set of weights for qualities 1 to 100


class AtQuality(nn.Module):
    """A network of many qualities held at one, with CompressAI's signatures: forward(x), compress(x), decompress(…)."""

    def __init__(self, net: Any, quality: float) -> None:
        super().__init__()
        to_code(quality)  # ValueError out of range
        self.net, self.quality = net, float(quality)

    def forward(self, x: Tensor) -> dict[str, Any]:
        """x (B, 3, H, W) → x_hat and likelihoods."""
        return self.net(x, torch.full((len(x),), self.quality, device=x.device))

    def compress(self, x: Tensor) -> dict[str, Any]:
        """x → strings and shape."""
        return self.net.compress(x, self.quality)

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """The inverse."""
        return self.net.decompress(strings, shape, self.quality)

    def update(self, *args: Any, **kwargs: Any) -> bool:
        """Make the integer tables."""
        return self.net.update(*args, **kwargs)

    def aux_loss(self) -> Tensor:
        """Of the densities' quantiles."""
        return self.net.aux_loss()


def builder(name: str) -> Callable[..., nn.Module]:
    """A function with the signature of CompressAI's zoo, for the network `name`."""

    def build(
        quality: float = 30,
        metric: str = "mse",
        pretrained: bool = False,
        progress: bool = True,
        weights: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> nn.Module:
        """quality: 1 to 100 where weights have many, else unused. pretrained: the shipped weights; weights: a file."""
        import icm

        if metric != "mse":
            raise ValueError(f"{name}: has no weights for metric {metric!r}, only for 'mse'")
        if pretrained and weights is None:
            if name not in VARIABLE:
                raise ValueError(f"{name}: no weights of it are shipped; give weights=FILE (`vcm convert` makes them)")
            weights = name
        net = icm.build(name, weights=weights, **settings)
        return AtQuality(net, quality) if name in VARIABLE else net

    return build


def register() -> None:
    """Enter our networks into CompressAI's registry (classes) and zoo (functions). Calling it again changes nothing."""
    from compressai import zoo
    from compressai.registry import register_model
    from compressai.zoo import image

    for name in NAMES:
        network = load(architecture(name).network)
        register_model(name)(network)
        image.model_architectures[name] = network
        zoo.models[name] = zoo.image_models[name] = builder(name)
