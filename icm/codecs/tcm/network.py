"""LIC-TCM for training, with CompressAI's interface. The drawings are in transforms.py and icm/codecs/charm.py.

    x ─▶ g_a ─▶ y ─▶ slices: ⌊y_i − mu_i⌉ ─▶ y_hat ─▶ g_s ─▶ x_hat
                │            ▲ mu_i, sigma_i
                └▶ h_a ─▶ z ─⌊·⌉─▶ h_mean_s, h_scale_s
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from torch import Tensor

from icm.codecs.tcm.layers import pad
from icm.codecs.tcm.transforms import MULTIPLE, Transforms
from icm.prior.integer import ste_round
from icm.quality import SCALE_LOWEST, scale_table

with warnings.catch_warnings():
    # CompressAI's point-cloud dependency announces deprecations of torch on import: nothing a user of ours can act on.
    warnings.simplefilter("ignore")
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.models import CompressionModel


class Tcm(CompressionModel):
    """CompressAI's interface on the network above; one lambda a set of weights.

    forward(x) → {"x_hat": (B, 3, H, W), "likelihoods": {"y": (B, M, h, w), "z": (B, Nz, ·, ·)}}
    compress(x) → {"strings": [[bytes per picture]], "shape": (H, W)}
    decompress(strings, shape) → {"x_hat": (B, 3, H, W)}

    x: RGB in [0, 1]; any size of 1×1 or more (padded to multiples of 128 by replication). settings: of Settings there.
    Call `update()` after training and before compressing: it makes the integer tables.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        parts = Transforms(**settings)
        self.settings = parts.settings
        self.g_a, self.g_s, self.h_a, self.charm = parts.g_a, parts.g_s, parts.h_a, parts.charm
        self.h_mean_s, self.h_scale_s = parts.h_mean_s, parts.h_scale_s
        self.entropy_bottleneck = EntropyBottleneck(self.settings["hyper"])
        self.gaussian_conditional = GaussianConditional(None, scale_bound=SCALE_LOWEST)
        self.quality = 0.0  # the name of the rate point in tables and plots
        self._coding: Any = None

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Tensor]) -> Tcm:
        """The network of a state dict, the authors' or ours, sizes read off its shapes. ValueError: of another one."""
        from icm.codecs import checkpoints
        from icm.codecs.tcm.published import from_tensors

        return from_tensors(checkpoints.named(state_dict), "this state dict")

    def forward(self, x: Tensor) -> dict[str, Any]:  # type: ignore[override]
        height, width = x.shape[-2:]
        y = self.g_a(pad(x, MULTIPLE))
        with torch.autocast(x.device.type, enabled=False):
            y = y if y.dtype == torch.float64 else y.float()
            z = self.h_a(y)
            _, z_likelihoods = self.entropy_bottleneck(z)
            medians = self.entropy_bottleneck.quantiles[:, 0, 1].detach()[None, :, None, None]
            z_hat = ste_round(z - medians) + medians
            y_hat, y_likelihoods = self.charm(y, self.h_mean_s(z_hat), self.h_scale_s(z_hat), self._likelihood)
        x_hat = self.g_s(y_hat)[..., :height, :width]
        return {"x_hat": x_hat, "likelihoods": {"y": y_likelihoods, "z": z_likelihoods}}

    def _likelihood(self, y: Tensor, sigma: Tensor, mu: Tensor) -> Tensor:
        return self.gaussian_conditional(y, sigma, mu)[1]

    def update(self, *args: Any, **kwargs: Any) -> bool:  # type: ignore[override]
        """Make the integer tables from the trained densities. True, as CompressAI says that something changed."""
        self._coding = self.release().picture_coder()
        return True

    def release(self) -> Any:
        """The weights and tables as they are now."""
        from icm.bitstream.build_tables import gaussian
        from icm.codecs.release import Release, hyper_tables

        tables = {"hyper": hyper_tables(self.entropy_bottleneck), "scales": gaussian(scale_table().tolist())}
        return Release.of_floats(self, "tcm", tables, self.quality)

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write weights that `icm.build`, `vcm encode` and further training read."""
        self.release().save(path)

    def compress(self, x: Tensor) -> dict[str, Any]:
        """x (B, 3, H, W) → one string a picture, without container: the size is the caller's to keep."""
        return {"strings": [[self._ready().compress(picture) for picture in x]], "shape": tuple(x.shape[-2:])}

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """The inverse of `compress` → {"x_hat": (B, 3, H, W) in [0, 1]}."""
        coder = self._ready()
        return {"x_hat": torch.stack([coder.decompress(string, *shape) for string in strings[0]])}

    def _ready(self) -> Any:
        if self._coding is None:
            raise ValueError("tcm: call update() once before compressing, so that the integer tables exist")
        return self._coding
