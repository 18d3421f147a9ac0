"""The parts of `sa-icm-s` that streams need, without the library that training needs: it takes seconds to import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from icm.codecs.layers import Analysis, HyperAnalysis, Synthesis
from icm.prior import DualPrior


class Transforms(nn.Module):
    """g_a, g_s, h_a and the prior, untrained. settings: what it was built with, as a stream's weights record it."""

    def __init__(
        self,
        latent: int = 128,
        hyper: int = 64,
        prior_width: int = 96,
        widths: Sequence[int] = (64, 128, 192),
        depths: Sequence[int] = (2, 4, 3),
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "latent": latent, "hyper": hyper, "prior_width": prior_width,
            "widths": list(widths), "depths": list(depths),
        }  # fmt: skip
        self.g_a = Analysis(latent, tuple(widths), tuple(depths))
        self.g_s = Synthesis(latent, tuple(widths), tuple(depths))
        self.h_a = HyperAnalysis(latent, hyper, prior_width)
        self.prior = DualPrior(latent, hyper, prior_width)
