"""What a frame is given: HNeRV's encoder of ConvNeXt blocks, or the principal components of its patches to start from.

    frame (3, H, W) ─▶ per stride s: conv s×s, stride s ─▶ ConvNeXt block ─▶ embedding (C, h, w)

HNeRV: Chen et al. 2023, arXiv 2304.02633; ConvNeXt: Liu et al. 2022, arXiv 2201.03545. B: frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 64  # of all stages but the last
SCALE = 1e-6  # of a block's residual at the start
SAMPLES = 20000  # patches at most, for the components
PIXELS = 8  # a side of what a patch is shrunk to


class Encoder(nn.Module):
    """forward(x (B, 3, H, W) in [0, 1]) → (B, channels, H / ∏ strides, W / ∏ strides)."""

    def __init__(self, strides: Sequence[int], channels: int, width: int = WIDTH) -> None:
        super().__init__()
        from torchvision.models.convnext import CNBlock

        widths = [3, *[width] * (len(strides) - 1), channels]
        self.stages = nn.ModuleList()
        for i, stride in enumerate(strides):
            down = nn.Conv2d(widths[i], widths[i + 1], stride, stride)
            self.stages.append(nn.ModuleDict({"down": down, "block": CNBlock(widths[i + 1], SCALE, 0.0)}))

    def forward(self, x: Tensor) -> Tensor:
        for i, stage in enumerate(self.stages):
            if i:
                x = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)
            x = stage["block"](stage["down"](x))  # type: ignore[index]
        return x


def components(frames: Tensor, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """frames (F, 3, H, W) uint8 → (F, C, h, w): each cell the first C principal components of its part of the frame,
    shrunk to 8×8 and of unit variance over the clip; zeros where there are fewer components."""
    channels, h, w = shape
    side = PIXELS
    small = torch.cat([F.interpolate(x[None].float(), (h * side, w * side), mode="area") for x in frames])
    patches = F.unfold(small, side, stride=side).permute(0, 2, 1).reshape(-1, 3 * side * side)
    patches = patches - patches.mean(0)
    generator = torch.Generator().manual_seed(seed)
    sample = patches[torch.randperm(len(patches), generator=generator)[:SAMPLES]]
    axes = torch.linalg.eigh((sample.T @ sample).double())[1].flip(1)[:, :channels]
    axes = axes * axes.sum(0).sign()  # eigenvectors have no sign of their own
    found = patches @ axes.float()
    found = found / found.std(0).clamp_min(1e-3)
    found = F.pad(found, (0, channels - found.shape[1]))
    return found.reshape(len(frames), h, w, channels).permute(0, 3, 1, 2).contiguous()
