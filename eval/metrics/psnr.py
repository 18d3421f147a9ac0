"""Peak signal-to-noise ratio of 8-bit RGB pictures."""

from __future__ import annotations

import math

import numpy as np

CEILING_DB = 100.0  # identical pictures: infinity would swallow the mean over a dataset


def psnr_db(original: np.ndarray, decoded: np.ndarray) -> float:
    """PSNR in dB over the three channels of (H, W, 3) uint8 pictures; at most 100, which identical ones get."""
    if original.shape != decoded.shape:
        raise ValueError(f"pictures of different shapes: {original.shape} and {decoded.shape}")
    mse = float(np.mean(np.square(original.astype(np.float32) - decoded.astype(np.float32)), dtype=np.float64))
    return CEILING_DB if mse == 0.0 else min(CEILING_DB, 10.0 * math.log10(255.0**2 / mse))
