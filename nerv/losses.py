"""What a network that learns a clip minimises, each over a batch: x, x̂ (B, 3, H, W) in [0, 1], masks (B, 1, H, W).

    L2      mean square: HNeRV (Chen et al. 2023)
    NeRV    β·L1 + (1 − β)·(1 − SSIM), β = 0.7: NeRV (Chen et al. 2021, Eq. 2)
    SA-NeRV NeRV's loss on the pair, plus the same on the edge-masked pair (arXiv 2403.04173, Sec. 3.3)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nerv.published import restricted

BETA = 0.7
SSIM_SIDE = 11  # of SSIM's window; smaller frames have none


def l2(x: Tensor, x_hat: Tensor) -> Tensor:
    """Mean square error."""
    return F.mse_loss(x_hat, x)


def l1(x: Tensor, x_hat: Tensor) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(x_hat, x)


def nerv(x: Tensor, x_hat: Tensor) -> Tensor:
    """β·L1 + (1 − β)·(1 − SSIM); SSIM with the usual Gaussian window of 11. ValueError: frames smaller than that."""
    from pytorch_msssim import ssim

    if min(x.shape[-2:]) < SSIM_SIDE:
        raise ValueError(f"frames of {x.shape[-1]}x{x.shape[-2]} are too small for SSIM; take --loss l2")
    with torch.autocast(x.device.type, enabled=False):  # variances are small differences of large numbers
        similar = ssim(x_hat.float(), x.float(), data_range=1.0, size_average=True)
    return BETA * l1(x, x_hat) + (1 - BETA) * (1 - similar)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l2": l2, "l1": l1, "nerv": nerv}


def on_edges(loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, x_hat: Tensor, mask: Tensor) -> Tensor:
    """The loss of the pair where `mask` is 1, black elsewhere in both."""
    return loss(x * mask, x_hat * mask)


class Features(torch.nn.Module):
    """Distance of a frozen torchvision backbone's features, each stage's divided by the mean square of the original's.

    names: nodes of `torchvision.models.feature_extraction`. forward(x, x_hat) → (). Weights: a state dict's path.
    """

    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as every torchvision backbone wants

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: str, weights: str, names: tuple[str, ...]) -> None:
        super().__init__()
        from torchvision.models import get_model
        from torchvision.models.feature_extraction import create_feature_extractor

        try:
            network = get_model(backbone, weights=None)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{backbone}: torchvision has no such model ({error})") from None
        try:
            network.load_state_dict(restricted(weights))
        except Exception as error:  # zip and pickle raise whatever they meet
            line = " ".join(str(error).split())[:160]
            raise ValueError(f"{weights}: is not a state dict of {backbone} ({line})") from None
        self.extract = create_feature_extractor(network.eval().requires_grad_(False), list(names))
        self.register_buffer("mean", torch.tensor(self.MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(self.STD)[:, None, None])

    def forward(self, x: Tensor, x_hat: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.extract((x - self.mean) / self.std)
        found = self.extract((x_hat - self.mean) / self.std)
        parts = [F.mse_loss(found[k], v) / v.square().mean().clamp_min(1e-12) for k, v in wanted.items()]
        return torch.stack(parts).mean()
