"""Tileable noise and filtered patterns that the scenes are painted with.

Shapes: maps are (H, W) float32. Noise has zero mean and unit deviation. Every pattern takes the width of a pixel in
its own coordinates (`footprint`) and is box-filtered by it, so nothing aliases in the distance.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

SIDE = 512


def rgb(*values: float) -> np.ndarray:
    """A colour as (3,) float32: a float64 constant would widen whole pictures."""
    return np.array(values, np.float32)


@cache
def noise(beta: float, number: int = 0) -> np.ndarray:
    """(512, 512) float32 periodic noise with a power spectrum falling as 1/f^(2·beta): 0 white, 1 pink, 2 clouds."""
    spectrum = np.fft.rfft2(np.random.default_rng([73, number]).standard_normal((SIDE, SIDE)))
    f = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]) * SIDE
    f[0, 0] = 1
    spectrum /= f**beta
    spectrum[0, 0] = 0
    values = np.fft.irfft2(spectrum, (SIDE, SIDE))
    return (values / values.std()).astype(np.float32)


def sample(beta: float, x: np.ndarray, y: np.ndarray, scale: float, footprint: np.ndarray | float = 0.0,
           number: int = 0) -> np.ndarray:
    """Noise at coordinates x, y (metres), maps or (n,); `scale` texels a metre. It fades where a pixel covers
    several texels."""
    if x.ndim == 1:  # cv2.remap takes rows of at most 32767
        n, rows = x.size, -(-x.size // 512)
        x, y = (np.resize(a, rows * 512).reshape(rows, 512) if n else a.reshape(0, 1) for a in (x, y))
        values = sample(beta, x, y, scale, 0.0, number).ravel()[:n] if n else np.zeros(0, np.float32)
        return values / np.maximum(1.0, np.asarray(footprint, np.float32) * np.float32(scale))
    # Wrapped here: cv2.remap holds coordinates in 16 bits.
    u, v = x * np.float32(scale / SIDE), y * np.float32(scale / SIDE)
    u, v = (u - np.floor(u)) * np.float32(SIDE), (v - np.floor(v)) * np.float32(SIDE)
    values = cv2.remap(noise(beta, number), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return values / np.maximum(1.0, np.asarray(footprint, np.float32) * np.float32(scale))


def tiled(values: np.ndarray, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A piece of a periodic map from a random place, repeated as far as it must."""
    y, x = rng.integers(0, SIDE, 2)
    reps = (-(-(y + shape[0]) // SIDE), -(-(x + shape[1]) // SIDE))
    return np.tile(values, reps)[y:y + shape[0], x:x + shape[1]] if max(reps) > 1 else \
        values[y:y + shape[0], x:x + shape[1]]


def pulse(t: np.ndarray, duty: float, footprint: np.ndarray | float) -> np.ndarray:
    """Train of pulses of period 1, high on [0, duty), box-filtered by `footprint`: the exact mean over a pixel."""
    width = np.maximum(np.asarray(footprint, np.float32), np.float32(1e-3))
    low, high = t - width / 2, t + width / 2

    def integral(s: np.ndarray) -> np.ndarray:
        whole = np.floor(s)
        return whole * duty + np.minimum(s - whole, duty)

    return ((integral(high) - integral(low)) / width).astype(np.float32)


def band(t: np.ndarray, low: float, high: float, footprint: np.ndarray | float) -> np.ndarray:
    """1 where low <= t < high, 0 elsewhere, with edges one footprint wide."""
    width = np.maximum(np.asarray(footprint, np.float32), np.float32(1e-3))
    return (np.clip((t - low) / width + 0.5, 0, 1) * np.clip((high - t) / width + 0.5, 0, 1)).astype(np.float32)


def slope(values: np.ndarray) -> np.ndarray:
    """How much a map changes from a pixel to the next: |d/dx| + |d/dy|, the footprint of a coordinate map."""
    out = np.empty_like(values)
    out[:, :-1] = np.abs(np.diff(values, axis=1))
    out[:, -1] = out[:, -2]
    down = np.abs(np.diff(values, axis=0))
    out[:-1] += down
    out[-1] += down[-1]
    return out
