"""`sa-icm-s`: a small, fast, portable image codec for machines, with one set of weights for every quality.

    x ─▶ g_a ─▶ y ─×g_q─▶ ⌊·−mu⌉ ─▶ symbols ─▶ y_hat ─▶ g_s ─▶ x_hat
                │                     ▲  two-step integer prior (icm/prior/dual.py)
                └▶ h_a ─▶ z ─⌊·⌉─▶ factorised tables ─▶ z_hat ─┘

Trained on edges it is SA-ICM's loss (arXiv 2403.04173, Eq. 5) on our own network; trained on all pixels it is `lic-s`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from icm.codecs.layers import STRIDE
from icm.codecs.transforms import Transforms
from icm.prior import ste_round
from icm.prior.dual import step_mask
from icm.quality import LOG_STEP, SCALE_COUNT, SCALE_LOWEST, Gains, scale_table

with warnings.catch_warnings():
    # CompressAI's point-cloud dependency announces deprecations of torch on import: nothing a user of ours can act on.
    warnings.simplefilter("ignore")
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.models import CompressionModel

DEFAULT_QUALITY = 30.0


class SaIcmS(CompressionModel):
    """CompressAI's interface on the network above.

    forward(x, quality=None, quality_map=None)
        → {"x_hat": (B, 3, H, W), "likelihoods": {"y": (B, M, h, w), "z": (B, Nz, ·, ·)}}
    compress(x, quality=30) → {"strings": [[bytes per picture]], "shape": (H, W)}
    decompress(strings, shape, quality=30) → {"x_hat": (B, 3, H, W)}

    x: RGB in [0, 1]; any size of 1×1 or more (padded to multiples of 16 by replication). quality: (B,) in 1…100.
    quality_map: (B, ceil(H/16), ceil(W/16)), the quality of each latent where it is not that of the picture (ROI).
    Call `update()` after training and before compressing: it makes the integer tables.
    """

    def __init__(
        self,
        latent: int = 128,
        hyper: int = 64,
        prior_width: int = 96,
        widths: Sequence[int] = (64, 128, 192),
        depths: Sequence[int] = (2, 4, 3),
    ) -> None:
        super().__init__()
        parts = Transforms(latent, hyper, prior_width, widths, depths)
        self.settings = parts.settings
        self.g_a, self.g_s, self.h_a, self.prior = parts.g_a, parts.g_s, parts.h_a, parts.prior
        self.gains = Gains(latent)
        self.entropy_bottleneck = EntropyBottleneck(hyper)
        self.gaussian_conditional = GaussianConditional(scale_table().float().tolist(), scale_bound=SCALE_LOWEST)
        self._coding: Any = None

    def use_integers(self) -> None:
        """Enter the phase of training in which the prior computes with the integers that streams will use."""
        self.prior.use_integers()

    @staticmethod
    def pad(x: Tensor) -> Tensor:
        """Replicate the right and bottom edges up to multiples of 16."""
        height, width = x.shape[-2:]
        return F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")

    @staticmethod
    def pad_latent(y: Tensor) -> Tensor:
        """Zeros up to multiples of 4, h_a's stride."""
        return F.pad(y, (0, -y.shape[-1] % 4, 0, -y.shape[-2] % 4))

    def hyper_symbols(self, y: Tensor, gain: Tensor) -> Tensor:
        """z before rounding, (B, Nz, ceil(h/4), ceil(w/4))."""
        return self.h_a(self.pad_latent(y * gain))

    def forward(  # type: ignore[override]
        self, x: Tensor, quality: Tensor | None = None, quality_map: Tensor | None = None
    ) -> dict[str, Any]:
        if quality is None:
            quality = torch.full((len(x),), DEFAULT_QUALITY, device=x.device)
        height, width = x.shape[-2:]
        y = self.g_a(self.pad(x), quality).float()
        with torch.autocast(x.device.type, enabled=False):
            log_gain = self.gains(quality if quality_map is None else quality_map)
            y_hat, y_likelihoods, z_likelihoods = self.quantise(y, log_gain)
        x_hat = self.g_s(y_hat, quality)[..., :height, :width]
        return {"x_hat": x_hat, "likelihoods": {"y": y_likelihoods, "z": z_likelihoods}}

    def quantise(self, y: Tensor, log_gain: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(y_hat, likelihoods of y, of z): noise for the rate, straight-through rounding for what is passed on."""
        gain = torch.exp(log_gain)
        z = self.hyper_symbols(y, gain)
        _, z_likelihoods = self.entropy_bottleneck(z)
        medians = self.entropy_bottleneck.quantiles[:, 0, 1].detach()[None, :, None, None]
        features = self.prior.features(ste_round(z - medians), *y.shape[-2:])
        offset = log_gain / LOG_STEP

        _, channels, height, width = y.shape
        mask = step_mask(channels, height, width, y.device)
        mean_1, index_1 = self.prior.first(features)
        y_hat_1 = ste_round((y - mean_1) * gain) / gain + mean_1
        mean_2, index_2 = self.prior.conditioned(features, y_hat_1, mask)
        mean = torch.where(mask, mean_1, mean_2)
        index = torch.where(mask, index_1, index_2) + offset
        residual = (y - mean) * gain
        sigma = SCALE_LOWEST * torch.exp(index.clamp(0, SCALE_COUNT - 1) * LOG_STEP)
        _, y_likelihoods = self.gaussian_conditional(residual, sigma)
        return ste_round(residual) / gain + mean, y_likelihoods, z_likelihoods

    def update(self, *args: Any, **kwargs: Any) -> bool:  # type: ignore[override]
        """Make the integer tables from the trained densities. True, as CompressAI says that something changed."""
        from icm.codecs.release import Release

        self._coding = Release.from_model(self).picture_coder()
        return True

    def compress(self, x: Tensor, quality: float = DEFAULT_QUALITY) -> dict[str, Any]:
        """x (B, 3, H, W) → one string a picture, without container: size and quality are the caller's to keep."""
        coder = self._ready()
        return {"strings": [[coder.compress(picture, quality) for picture in x]], "shape": tuple(x.shape[-2:])}

    def decompress(
        self, strings: list[list[bytes]], shape: tuple[int, int], quality: float = DEFAULT_QUALITY
    ) -> dict[str, Tensor]:
        """The inverse of `compress`, at the same quality → {"x_hat": (B, 3, H, W) in [0, 1]}."""
        coder = self._ready()
        return {"x_hat": torch.stack([coder.decompress(string, *shape, quality) for string in strings[0]]).clamp(0, 1)}

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the weights that streams name and `icm.build` loads; the prior goes over to integers for good."""
        from icm.codecs.release import Release

        self.use_integers()
        Release.from_model(self).save(path)

    def _ready(self) -> Any:
        if self._coding is None:
            raise ValueError("sa-icm-s: call update() once before compressing, so that the integer tables exist")
        return self._coding
