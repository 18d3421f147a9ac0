"""`patterns`: an embedder that needs no download and no training: texture and gradients of the aligned head.

    crop ─▶ grey, light evened out ─▶ ┬ LBP histograms in cells, radii 1 2 3   (Ahonen et al. 2006)
                                      ├ HOG at two scales                      (Dalal and Triggs 2005)
                                      └ Gabor magnitudes, 2 scales 8 angles    (Liu and Wechsler 2002)

Hair counts as much as the face, as it does to whoever wants to recognise somebody. It is weak beside a trained
network: every report says how weak, measured on the originals.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from eval.privacy.base import About, unit

CELLS = 7


@functools.cache
def _uniform() -> np.ndarray:
    """(256,) labels: the 58 patterns with at most two changes around the circle, and 58 for all others."""
    codes = [code for code in range(256) if (code ^ ((code >> 1) | ((code & 1) << 7))).bit_count() <= 2]
    labels = np.full(256, 58, np.int64)
    labels[codes] = np.arange(len(codes))
    return labels


@functools.cache
def _gabor() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Even and odd kernels, wavelengths 3 and 5 pixels of the crop at 48 x 48."""
    pairs = []
    for wavelength in (3, 5):
        for step in range(8):
            even, odd = (cv2.getGaborKernel((13, 13), 0.56 * wavelength, step * np.pi / 8, wavelength, 1, phase)
                         for phase in (0, np.pi / 2))  # fmt: skip
            pairs.append((even - even.mean(), odd))
    return tuple(pairs)


@functools.cache
def _hog(side: int) -> Any:
    """Cells of 8, blocks of 2 x 2 cells, 9 directions."""
    return cv2.HOGDescriptor((side, side), (16, 16), (8, 8), (8, 8), 9)


def even_light(grey: np.ndarray) -> np.ndarray:
    """(H, W) float32: gamma, difference of Gaussians, contrast equalised (Tan and Triggs 2010)."""
    x = (grey.astype(np.float32) / 255 + 1e-3) ** 0.2
    x = cv2.GaussianBlur(x, (0, 0), 1.0) - cv2.GaussianBlur(x, (0, 0), 4.0)
    x = x / (np.mean(np.abs(x) ** 0.1) ** 10 + 1e-9)
    x = x / (np.mean(np.minimum(np.abs(x), 10.0) ** 0.1) ** 10 + 1e-9)
    return 10 * np.tanh(x / 10)


def lbp(x: np.ndarray, radius: int) -> np.ndarray:
    """(H, W) labels 0 … 58 of the eight neighbours at that distance."""
    height, width = x.shape
    padded = np.pad(x, radius, mode="edge")
    code = np.zeros(x.shape, np.uint8)
    for bit in range(8):
        angle = bit * np.pi / 4
        row, column = radius + round(-radius * np.sin(angle)), radius + round(radius * np.cos(angle))
        code |= (padded[row : row + height, column : column + width] >= x).astype(np.uint8) << np.uint8(bit)
    return _uniform()[code]


def cell_histograms(labels: np.ndarray, bins: int = 59) -> np.ndarray:
    """(cells², bins) square roots of shares: their inner product is the Bhattacharyya coefficient."""
    height, width = labels.shape
    rows, columns = np.arange(height) * CELLS // height, np.arange(width) * CELLS // width
    place = (rows[:, None] * CELLS + columns[None]) * bins + labels
    counts = np.bincount(place.ravel(), minlength=CELLS * CELLS * bins).reshape(-1, bins)
    return np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))


class Patterns:
    """See the module. embed: N crops (112, 112, 3) uint8 → (N, D) unit vectors."""

    about = About("patterns", "", "Apache-2.0", "computed: LBP, HOG and Gabor magnitudes, no weights")

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        rows = []
        for crop in crops:
            x = even_light(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY))
            # The mirrored face is added: it takes away half of what pose does
            rows.append(describe(x) + describe(np.ascontiguousarray(x[:, ::-1])))
        return unit(np.stack(rows)) if rows else np.zeros((0, 1), np.float32)


def describe(x: np.ndarray) -> np.ndarray:
    """(D,) of the evened crop (112, 112) float32, each part centred and of length 1."""
    parts = []
    for radius in (1, 2, 3):
        soft = x if radius == 1 else cv2.GaussianBlur(x, (0, 0), 0.5 * radius)
        parts.append(cell_histograms(lbp(soft, radius)).ravel())
    bytes_ = np.clip(x * 12.7 + 128, 0, 255).astype(np.uint8)
    for side, hog in ((64, _hog(64)), (32, _hog(32))):
        parts.append(hog.compute(cv2.resize(bytes_, (side, side), interpolation=cv2.INTER_AREA)).ravel())
    magnitudes, small = [], cv2.resize(x, (48, 48), interpolation=cv2.INTER_AREA)
    for even, odd in _gabor():
        magnitude = cv2.magnitude(cv2.filter2D(small, -1, even), cv2.filter2D(small, -1, odd))
        pooled = cv2.resize(magnitude, (10, 10), interpolation=cv2.INTER_AREA).ravel()
        magnitudes.append(unit(pooled - pooled.mean()))
    parts.append(np.concatenate(magnitudes))
    return np.concatenate([unit(part - part.mean()) for part in parts])
