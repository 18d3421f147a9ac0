"""Rate and distortion, a picture at a time, so that every picture of a batch can have its own lambda.

SA-ICM, Eq. 5:  R(y) + R(z) + lmbda·mse(x ⊙ m, x_hat ⊙ m), m the edge map sam_x(alpha). With m = object masks this is
region learning, with m = 1 plain learned compression. Distortion is scaled by 255² (the published code's habit).

| distortion | what counts |
|---|---|
| all | every pixel alike |
| edges | the pixels of edge maps (masks), the others with weight `elsewhere`, 0 unless said: SA-ICM |
| blend | the same with 0.25 elsewhere, unless said |
| objects | the pixels of object masks given as files (masks) |
| regions | the pixels of labelled objects (labels): region learning |
| roi | every pixel, with the lambda of the quality that a map gives its cell (icm/quality_map.py) |
| features | features of a frozen detector beside the pixels: task loss |
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

DISTORTIONS = ("all", "edges", "blend", "objects", "regions", "roi", "features")


def rate_bpp_estimated(likelihoods: dict[str, Tensor], pixels: int) -> Tensor:
    """(B,) bits a pixel of each picture, from the likelihoods of its symbols. pixels = H·W."""
    return sum((-torch.log2(p.float()).flatten(1).sum(1) for p in likelihoods.values()), torch.zeros(())) / pixels  # type: ignore[return-value]


def masked_mse_255(x: Tensor, x_hat: Tensor, weight: Tensor | None = None) -> Tensor:
    """(B,) mean over all pixels of weight·(255·(x − x_hat))². x (B, 3, H, W); weight (B, 1, H, W), None: ones."""
    error = (x - x_hat).square() * 255**2
    return (error if weight is None else error * weight).flatten(1).mean(1)


def pixel_weights(mask: Tensor, elsewhere: float = 0.0, mean_fraction: float | None = None) -> Tensor:
    """Blend a 0/1 mask (B, 1, H, W) with `elsewhere` for the other pixels.

    mean_fraction: share of the pixels that the masks of the data set cover; given, the weights average 1 over the data
    set, so that a lambda buys about the same rate whatever the distortion. None: the paper's plain product.
    """
    weight = mask + elsewhere * (1 - mask)
    if mean_fraction is not None:
        if mean_fraction + elsewhere <= 0:
            raise ValueError("the masks are empty and nothing counts elsewhere: there is nothing to train on")
        weight = weight / (mean_fraction + elsewhere * (1 - mean_fraction))
    return weight


def lmbda_at(quality: Tensor, lowest: float, highest: float) -> Tensor:
    """Quality 1…100 → lambda, geometric between the two ends."""
    from icm.quality import progress

    return torch.exp(math.log(lowest) + progress(quality) * math.log(highest / lowest))


def roi_weights(quality_map: Tensor, quality: Tensor, lowest: float, highest: float, pixels: int) -> Tensor:
    """Weights (B, 1, H, W) that give each cell of a map the lambda of its own quality, beside lambda at `quality` (B,).

    quality_map: (B, h, w) qualities; pixels: side of each of its positions.
    """
    ratio = lmbda_at(quality_map, lowest, highest) / lmbda_at(quality, lowest, highest)[:, None, None]
    return ratio.repeat_interleave(pixels, 1).repeat_interleave(pixels, 2)[:, None]


def feature_error(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> Tensor:
    """(B,) squared error of features (B, C, h, w), as a share of their square, averaged over the levels: 0 equal."""
    shares = []
    for f, f_hat in zip(wanted, got, strict=True):
        error = (f.float() - f_hat.float()).square().flatten(1).mean(1)
        shares.append(error / f.float().square().flatten(1).mean(1).clamp_min(1e-6))
    return torch.stack(shares).mean(0)
