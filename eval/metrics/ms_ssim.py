"""MS-SSIM of 8-bit RGB pictures (Wang, Simoncelli, Bovik 2003), with a rule for small ones.

From 161 pixels a side the value is pytorch-msssim's (a test compares them): five scales, an 11-pixel Gaussian
window of sigma 1.5, no padding, 2x2 means between scales, the mean of the three channels. That package refuses
smaller pictures. Here scales are left out from the coarsest on, and the weights of the others are scaled
up to the same sum; below 11 pixels one scale remains and the window shrinks to the largest odd size that fits. So every
size has a value, comparable between codecs on the same pictures, not between pictures of different sizes.
"""

from __future__ import annotations

import numpy as np

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
BAND = 48  # rows
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
    if original.shape != decoded.shape:
        raise ValueError(f"pictures of different shapes: {original.shape} and {decoded.shape}")
    count, window = scales(*original.shape[:2])
    exponents = [weight * sum(WEIGHTS) / sum(WEIGHTS[:count]) for weight in WEIGHTS[:count]]
    x, x_hat = original.astype(np.float32), decoded.astype(np.float32)
    product = np.ones(3)
    for level, exponent in enumerate(exponents):
        last = level == count - 1
        product *= np.maximum(_mean(x, x_hat, window, last), 0.0) ** exponent
        if not last:
            x, x_hat = _halve(x), _halve(x_hat)
    return float(product.mean())


def _mean(x: np.ndarray, x_hat: np.ndarray, window: int, last: bool) -> np.ndarray:
    """(3,) means of the contrast-structure map, times the luminance map on the last scale.

    In bands of rows whose intermediate maps stay in the processor's cache: more than twice as fast, to the same digits.
    """
    import cv2

    height, width = x.shape[0] - window + 1, x.shape[1] - window + 1
    total = np.zeros(3)
    for top in range(0, height, BAND):
        rows = slice(top, min(top + BAND, height) + window - 1)
        total += cv2.sumElems(_terms(x[rows], x_hat[rows], window, last))[:3]  # in double precision
    return total / (height * width)


def _terms(x: np.ndarray, x_hat: np.ndarray, window: int, last: bool) -> np.ndarray:
    """(H - window + 1, W - window + 1, 3): contrast and structure, on the last scale times luminance."""
    mu, mu_hat = _blur(x, window), _blur(x_hat, window)
    variance = _blur(x * x, window) - mu * mu
    variance_hat = _blur(x_hat * x_hat, window) - mu_hat * mu_hat
    covariance = _blur(x * x_hat, window) - mu * mu_hat
    contrast: np.ndarray = (2 * covariance + C2) / (variance + variance_hat + C2)
    if last:
        contrast *= (2 * mu * mu_hat + C1) / (mu * mu + mu_hat * mu_hat + C1)
    return contrast


def _blur(p: np.ndarray, window: int) -> np.ndarray:
    """Gaussian means of the whole windows only. OpenCV: on a CPU some fifty times faster than a convolution layer."""
    import cv2

    taps = np.exp(-((np.arange(window) - window // 2) ** 2) / (2 * SIGMA**2))
    taps /= taps.sum()
    half = window // 2
    return cv2.sepFilter2D(p, -1, taps, taps)[half : p.shape[0] - half, half : p.shape[1] - half]


def _halve(p: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels; an odd side gets a zero in front, as avg_pool2d's padding does in the reference."""
    import cv2

    if p.shape[0] % 2 or p.shape[1] % 2:
        p = np.pad(p, ((p.shape[0] % 2, 0), (p.shape[1] % 2, 0), (0, 0)))
    return cv2.resize(p, (p.shape[1] // 2, p.shape[0] // 2), interpolation=cv2.INTER_AREA)
