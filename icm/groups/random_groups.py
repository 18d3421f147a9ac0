"""Random groups for training (arXiv 2305.02586): rectangles on a 32-px grid, cut into connected components."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 2  # cells of 16 px
MOST = 6  # rectangles a picture


def random_groups(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """(rows, cols) int64 of cells of 16 px. Half of the calls give one group, the others 1 to 6 rectangles, the later
    ones above, and every connected piece (by its sides) of what is seen of each is a group."""
    if rng.random() < 0.5:
        return np.zeros((rows, cols), np.int64)
    coarse = np.zeros((-(-rows // SIDE), -(-cols // SIDE)), np.int64)
    for value in range(1, int(rng.integers(1, MOST + 1)) + 1):
        (top, bottom), (left, right) = (np.sort(rng.choice(n + 1, 2, replace=False)) for n in coarse.shape)
        coarse[top:bottom, left:right] = value
    return pieces(coarse).repeat(SIDE, 0).repeat(SIDE, 1)[:rows, :cols]


def pieces(labels: np.ndarray) -> np.ndarray:
    """Every connected piece of equal labels gets a number of its own, from 0."""
    out, count = np.zeros(labels.shape, np.int64), 0
    for value in np.unique(labels):
        numbers, found = cv2.connectedComponents((labels == value).astype(np.uint8), connectivity=4)
        out += np.where(found > 0, found - 1 + count, 0)
        count += numbers - 1  # OpenCV counts what is outside, too
    return out
