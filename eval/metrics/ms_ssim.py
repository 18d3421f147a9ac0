"""MS-SSIM of 8-bit RGB pictures (Wang, Simoncelli, Bovik 2003), with a rule for small ones.

From 161 pixels a side the value is pytorch-msssim's (a test compares them): five scales, an 11-pixel Gaussian
window of sigma 1.5, no padding, 2x2 means between scales, the mean of the three channels. That package refuses
smaller pictures. Here scales are left out from the coarsest on, and the weights of the others are scaled
up to the same sum; below 11 pixels one scale remains and the window shrinks to the largest odd size that fits. So every
size has a value, comparable between codecs on the same pictures, not between pictures of different sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2


def scales(height: int, width: int) -> tuple[int, int]:
    """(number of scales, window in pixels) for a picture of this size."""
    shortest = min(height, width)
    if shortest < WINDOW:
        return 1, shortest - 1 + shortest % 2
    count = 1
    while count < len(WEIGHTS) and shortest > (WINDOW - 1) * 2**count:
        count += 1
    return count, WINDOW


def ms_ssim(original: np.ndarray, decoded: np.ndarray) -> float:
    """MS-SSIM, 0 to 1, of (H, W, 3) uint8 pictures of the same shape."""
    import torch
    import torch.nn.functional as F

    if original.shape != decoded.shape:
        raise ValueError(f"pictures of different shapes: {original.shape} and {decoded.shape}")
    count, window = scales(*original.shape[:2])
    x, x_hat = (torch.from_numpy(p.astype(np.float32)).permute(2, 0, 1)[:, None] for p in (original, decoded))
    exponents = [weight * sum(WEIGHTS) / sum(WEIGHTS[:count]) for weight in WEIGHTS[:count]]
    product = torch.ones(3)
    with torch.no_grad():
        for level, exponent in enumerate(exponents):
            luminance, contrast = _ssim_terms(x, x_hat, window)
            last = level == count - 1
            term = (luminance * contrast if last else contrast).mean(dim=(1, 2, 3))
            product *= torch.relu(term) ** exponent
            if not last:
                odd = [length % 2 for length in x.shape[2:]]
                x, x_hat = (F.avg_pool2d(p, 2, padding=odd) for p in (x, x_hat))
    return float(product.mean())


def _ssim_terms(x: Tensor, x_hat: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure maps, each (3, 1, H - window + 1, W - window + 1)."""
    mu, mu_hat = _blur(x, window), _blur(x_hat, window)
    variance = _blur(x * x, window) - mu * mu
    variance_hat = _blur(x_hat * x_hat, window) - mu_hat * mu_hat
    covariance = _blur(x * x_hat, window) - mu * mu_hat
    luminance = (2 * mu * mu_hat + C1) / (mu * mu + mu_hat * mu_hat + C1)
    return luminance, (2 * covariance + C2) / (variance + variance_hat + C2)


def _blur(p: Tensor, window: int) -> Tensor:
    import torch
    import torch.nn.functional as F

    taps = torch.exp(-((torch.arange(window) - window // 2) ** 2) / (2 * SIGMA**2))
    taps = taps / taps.sum()
    return F.conv2d(F.conv2d(p, taps.reshape(1, 1, -1, 1)), taps.reshape(1, 1, 1, -1))
