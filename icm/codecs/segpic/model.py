"""SegPIC with CompressAI's interface: what trains, and what its users call. See network.py for the drawing."""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from torch import Tensor

from icm.codecs.segpic.layers import STRIDE, pad
from icm.codecs.segpic.network import Network
from icm.codecs.segpic.regions import COARSE, FINE, Regions
from icm.prior import ste_round
from icm.quality import SCALE_LOWEST, scale_table

with warnings.catch_warnings():
    # CompressAI's point-cloud dependency announces deprecations of torch on import: nothing a user of ours can act on.
    warnings.simplefilter("ignore")
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.models import CompressionModel


class SegPIC(CompressionModel):
    """forward(x, labels=None) → {"x_hat": (B, 3, H, W), "likelihoods": {"y", "z", "p4", "p16"}}, each (B, …).

    x: RGB in [0, 1], any size (padded to multiples of 64 by replication). labels: (B, H, W) of any integers, the region
    of each pixel; None, or 0 in a whole picture: the 4×4 grid. Likelihoods count what a stream with these regions
    sends, except the label map itself: a region that has no position at 1/16 has no prototype there (likelihood 1).

    settings: of Network. One lambda a training: there is no quality.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.net = Network(**settings)
        self.settings = self.net.settings
        channels = {"z": self.settings["width"]}
        if self.settings["rat"]:
            channels |= dict.fromkeys(("p4", "p16"), self.net.prototype_channels)
        self.entropy_bottleneck = EntropyBottleneck(channels.pop("z"))
        for name, count in channels.items():
            self.add_module(f"entropy_bottleneck_{name}", EntropyBottleneck(count))
        self.gaussian_conditional = GaussianConditional(scale_table().float().tolist(), scale_bound=SCALE_LOWEST)
        self.quality = 0.0  # the name of the rate point, see Release.of_floats
        self._coding: Any = None

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Tensor]) -> SegPIC:
        """The network of a state dict, the authors' or ours, sizes read off the shapes. ValueError: of another one."""
        from icm.codecs import checkpoints
        from icm.codecs.segpic.published import from_tensors

        return from_tensors(checkpoints.named(state_dict), "this state dict")

    def bottleneck(self, name: str) -> EntropyBottleneck:
        """The factorised density of "z", "p4" or "p16"."""
        return self.entropy_bottleneck if name == "z" else getattr(self, f"entropy_bottleneck_{name}")

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Any]:  # type: ignore[override]
        height, width = x.shape[-2:]
        if self.training and not self.settings["privilege"]:
            labels = None
        if labels is not None and labels.shape != (len(x), height, width):
            raise ValueError(f"labels of shape {tuple(labels.shape)} do not fit pictures of shape {tuple(x.shape)}")
        regions = Regions.of(labels, self.settings["grid"])
        likelihoods: dict[str, Tensor] = {}

        def side(name: str, value: Tensor | None) -> Tensor:
            assert value is not None
            bottleneck, value = self.bottleneck(name), exact(value)
            with torch.autocast(x.device.type, enabled=False):
                _, likelihood = bottleneck(value)
                medians = bottleneck.quantiles[:, 0, 1].detach()[:, None, None]
                present = None if name == "z" else regions.present(FINE if name == "p4" else COARSE)
                if present is not None:
                    likelihood = torch.where(present[:, None, :, None], likelihood, 1.0)
                likelihoods[name] = likelihood
                return ste_round(value - medians) + medians

        y, known = self.net.analyse(pad(x, STRIDE), regions, side)
        with torch.autocast(x.device.type, enabled=False):  # streams compute the prior in float32
            means, scales = self.net.hyper(known, regions)
            y_hat, likelihoods["y"] = self.net.charm(exact(y), means, scales, self._likelihood)
        x_hat = self.net.synthesise(y_hat, known, regions)[..., :height, :width]
        return {"x_hat": x_hat, "likelihoods": likelihoods}

    def _likelihood(self, y: Tensor, sigma: Tensor, mu: Tensor) -> Tensor:
        return self.gaussian_conditional(y, sigma, mu)[1]

    # --- streams ----------------------------------------------------------------------------------------------------
    def release(self) -> Any:
        """The weights and tables as they are now."""
        from icm.bitstream.build_tables import gaussian
        from icm.codecs.release import Release, hyper_tables

        tables = {"scales": gaussian(scale_table().tolist()), "hyper": hyper_tables(self.bottleneck("z"))}
        if self.settings["rat"]:
            tables |= {name: hyper_tables(self.bottleneck(name)) for name in ("p4", "p16")}
        return Release.of_floats(self, "segpic", tables, self.quality)

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write weights that `icm.build`, `vcm encode` and further training read."""
        self.release().save(path)

    def update(self, *args: Any, **kwargs: Any) -> bool:  # type: ignore[override]
        """Make the integer tables from the trained densities. True, as CompressAI says that something changed."""
        self._coding = self.release().picture_coder()
        return True

    def compress(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Any]:
        """x (B, 3, H, W) → one string a picture, without container: the size is the caller's to keep.

        labels: (B, H, W), told in the strings; None: the grid.
        """
        coder, maps = self._ready(), [None] * len(x) if labels is None else [part.cpu().numpy() for part in labels]
        strings = [coder.compress(picture, labels=told) for picture, told in zip(x, maps, strict=True)]
        return {"strings": [strings], "shape": tuple(x.shape[-2:])}

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """The inverse of `compress` → {"x_hat": (B, 3, H, W) in [0, 1]}."""
        coder = self._ready()
        return {"x_hat": torch.stack([coder.decompress(string, *shape) for string in strings[0]])}

    def _ready(self) -> Any:
        if self._coding is None:
            raise ValueError("segpic: call update() once before compressing, so that the integer tables exist")
        return self._coding


def exact(x: Tensor) -> Tensor:
    """Half precision, which autocast leaves, to float32: likelihoods and rounding need it."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
