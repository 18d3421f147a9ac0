"""The network of `groups` in training: all groups of a batch at once, each as if it were alone.

    x ─▶ cells ─g_a─▶ y ─×g_q─▶ ⌊·−mu⌉ ─▶ symbols ─▶ y_hat ─g_s─▶ cells ─▶ x_hat
                      │                   ▲ 1×1 integer prior, slice after slice (prior.py)
                      └─h_a─▶ z of each group ─⌊·⌉─▶ factorised tables

A group is a row of its own in every window and every block of hyper-latent (layout.py), so what streams do group by
group, training does in one pass.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from icm.codecs.groups.layout import Layout, of_maps
from icm.codecs.groups.transforms import STRIDE, Transforms
from icm.groups.random_groups import random_groups
from icm.prior import ste_round
from icm.quality import LOG_STEP, SCALE_COUNT, SCALE_LOWEST, Gains, scale_table

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # as in icm/codecs/sa_icm_s.py
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.models import CompressionModel

DEFAULT_QUALITY = 30.0


class GroupsNet(CompressionModel):
    """forward(x, quality=None, labels=None) → {"x_hat": (B, 3, H, W), "likelihoods": {"y": (B, ·), "z": (B, ·)}}

    x: RGB in [0, 1], any size (padded to multiples of 16 by replication). quality: (B,) in 1…100. labels: (B, H, W)
    integers; a cell of 16 px is of the label at its middle. Without labels, or where all are 0: one group; in training
    random rectangles in half of the pictures. In training, half of the labelled pictures are one group, too.
    """

    def __init__(
        self,
        latent: int = 96,
        hyper: int = 32,
        prior_width: int = 64,
        slices: int = 4,
        widths: Sequence[int] = (32, 48, 64, 96),
        depths: Sequence[int] = (1, 1, 2, 1),
        heads: Sequence[int] = (2, 3, 4, 6),
        expansion: int = 2,
    ) -> None:
        super().__init__()
        parts = Transforms(latent, hyper, prior_width, slices, widths, depths, heads, expansion)
        self.settings = parts.settings
        self.g_a, self.g_s, self.h_a, self.prior = parts.g_a, parts.g_s, parts.h_a, parts.prior
        self.gains = Gains(latent)
        self.entropy_bottleneck = EntropyBottleneck(hyper)
        self.gaussian_conditional = GaussianConditional(scale_table().float().tolist(), scale_bound=SCALE_LOWEST)
        self._coding: Any = None

    def use_integers(self) -> None:
        """Enter the phase of training in which the prior computes with the integers that streams will use."""
        self.prior.use_integers()

    def forward(  # type: ignore[override]
        self, x: Tensor, quality: Tensor | None = None, labels: Tensor | None = None
    ) -> dict[str, Any]:
        if quality is None:
            quality = torch.full((len(x),), DEFAULT_QUALITY, device=x.device)
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        rows, cols = padded.shape[-2] // STRIDE, padded.shape[-1] // STRIDE
        layout, picture = of_maps(self.groups(len(x), rows, cols, labels), x.device)
        of = torch.from_numpy(picture).to(x.device)
        at = quality.to(x.device)[of]
        y = self.g_a(to_cells(padded), at, layout).float()
        with torch.autocast(x.device.type, enabled=False):
            y_hat, y_likelihoods, z_likelihoods = self.quantise(y, self.gains(at)[..., 0, 0], layout)
        x_hat = from_cells(self.g_s(y_hat, at, layout), len(x), rows, cols)[..., :height, :width]
        likelihoods = {"y": y_likelihoods.reshape(len(x), -1), "z": _by_picture(z_likelihoods, layout, len(x))}
        return {"x_hat": x_hat, "likelihoods": likelihoods}

    def groups(self, count: int, rows: int, cols: int, labels: Tensor | None) -> np.ndarray:
        """(B, rows, cols) int64, groups of cells, numbered from 0 in each picture."""
        out = np.zeros((count, rows, cols), np.int64)
        # The trainer seeds torch's generator anew for every step, so a run that is resumed draws the same groups.
        rng = np.random.default_rng(int(torch.randint(2**31, ()))) if self.training else None
        for i in range(count):
            if labels is not None and bool(labels[i].any()):
                middle = labels[i, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].cpu().numpy()
                middle = np.pad(middle, ((0, rows - middle.shape[0]), (0, cols - middle.shape[1])), mode="edge")
                if rng is None or rng.random() < 0.5:
                    out[i] = np.unique(middle, return_inverse=True)[1].reshape(rows, cols)
            elif rng is not None:
                out[i] = random_groups(rng, rows, cols)
        return out

    def quantise(self, y: Tensor, log_gain: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """y, ln g (n, M) → (y_hat (n, M), likelihoods (n, M), of z (blocks, Nz)): noise for the rate, straight-through
        rounding for what is passed on."""
        gain = torch.exp(log_gain)
        z = self.h_a(y * gain, layout)
        _, z_likelihoods = self.entropy_bottleneck(z.t()[None, :, :, None])
        medians = self.entropy_bottleneck.quantiles[:, 0, 1].detach()
        features = self.prior.features(ste_round(z - medians), layout)
        y, gain, offset = (a.t()[None, :, :, None] for a in (y, gain, log_gain / LOG_STEP))
        y_hat: list[Tensor] = []
        likelihoods = []
        for i, (own, g, o) in enumerate(
            zip(*(a.split(self.prior.share, 1) for a in (y, gain, offset)), strict=True)
        ):
            mean, index = self.prior.slice(i, features, y_hat)
            residual = (own - mean) * g
            sigma = SCALE_LOWEST * torch.exp((index + o).clamp(0, SCALE_COUNT - 1) * LOG_STEP)
            likelihoods.append(self.gaussian_conditional(residual, sigma)[1])
            y_hat.append(ste_round(residual) / g + mean)
        back = (torch.cat(parts, 1)[0, :, :, 0].t() for parts in (y_hat, likelihoods))
        return (*back, z_likelihoods[0, :, :, 0].t())  # type: ignore[return-value]

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the weights that `icm.build(weights=path)` and the codec read."""
        from icm.codecs.release import Release

        Release.from_model(self, arch="groups").save(path)

    def update(self, *args: Any, **kwargs: Any) -> bool:  # type: ignore[override]
        """Make the integer tables from the trained densities. True, as CompressAI says that something changed."""
        from icm.codecs.release import Release

        self._coding = Release.from_model(self, arch="groups").picture_coder()
        return True

    def compress(self, x: Tensor, quality: float = DEFAULT_QUALITY) -> dict[str, Any]:
        """x (B, 3, H, W) → one string a picture, all of it one group, without container."""
        pictures = (x.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return {"strings": [[self._ready().compress(p, quality) for p in pictures]], "shape": tuple(x.shape[-2:])}

    def decompress(
        self, strings: list[list[bytes]], shape: tuple[int, int], quality: float = DEFAULT_QUALITY
    ) -> dict[str, Tensor]:
        """The inverse of `compress`, at the same quality → {"x_hat": (B, 3, H, W) in [0, 1]}."""
        found = [torch.from_numpy(self._ready().decompress(s, *shape, quality)) for s in strings[0]]
        return {"x_hat": torch.stack(found).permute(0, 3, 1, 2).float() / 255}

    def _ready(self) -> Any:
        if self._coding is None:
            raise ValueError("groups: call update() once before compressing, so that the integer tables exist")
        return self._coding


def to_cells(x: Tensor) -> Tensor:
    """(B, 3, 16·h, 16·w) → (B·h·w, 16, 16, 3)."""
    b, c, height, width = x.shape
    cells = x.reshape(b, c, height // STRIDE, STRIDE, width // STRIDE, STRIDE).permute(0, 2, 4, 3, 5, 1)
    return cells.reshape(-1, STRIDE, STRIDE, c)


def from_cells(cells: Tensor, count: int, rows: int, cols: int) -> Tensor:
    """The inverse of `to_cells`."""
    x = cells.view(count, rows, cols, STRIDE, STRIDE, -1).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(count, -1, rows * STRIDE, cols * STRIDE)


def _by_picture(z_likelihoods: Tensor, layout: Layout, count: int) -> Tensor:
    """(blocks, Nz) → (B, longest, Nz), 1 where a picture has fewer blocks than another."""
    picture = layout.blocks[0] >> 16
    number = np.arange(len(picture)) - np.searchsorted(picture, picture)
    out = z_likelihoods.new_ones(count, int(number.max()) + 1, z_likelihoods.shape[1])
    at = tuple(torch.from_numpy(a).to(out.device) for a in (picture, number))
    return out.index_put(at, z_likelihoods)
