"""A contact sheet: for each picture a row of the picture, its label map in colours and its edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HEIGHT = 200
GAP = 6


def label_colours(labels: np.ndarray) -> np.ndarray:
    """Label map (H, W) as (H, W, 3) uint8: the same label the same colour, neighbouring ids far apart, 0 black."""
    _, dense = np.unique(labels.ravel(), return_inverse=True)
    hue = (np.arange(int(dense.max(initial=0)) + 1) * 0.618034) % 1.0  # golden ratio: any run of ids is spread out
    phase = np.abs((hue[:, None] * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    shade = 0.65 + 0.35 * ((np.arange(len(hue)) * 0.414214) % 1.0)
    colours = np.round(255 * np.clip(phase, 0.15, 1) * shade[:, None]).astype(np.uint8)
    painted = colours[dense].reshape(*labels.shape, 3)
    painted[labels == 0] = 0
    return painted


def row(picture: np.ndarray, labels: Sequence[np.ndarray], edges: Sequence[np.ndarray]) -> np.ndarray:
    """One row (HEIGHT, W', 3) uint8: picture (H, W, 3), then label colours and edges for each alpha."""
    tiles = [_fit(picture, smooth=True)]
    for painted, drawn in zip(labels, edges, strict=True):
        tiles.append(_fit(label_colours(painted), smooth=False))
        # Lines a pixel wide would fade or vanish in a smaller picture: each tile pixel shows the brightest it covers.
        tiles.append(_shrink_lines(drawn))
    spacer = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    return np.concatenate([part for tile in tiles for part in (tile, spacer)][:-1], axis=1)


def sheet(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows under one another on white, (H', W', 3) uint8."""
    width = max(part.shape[1] for part in rows)
    parts: list[np.ndarray] = []
    for part in rows:
        parts += [
            np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255),
            np.full((GAP, width, 3), 255, np.uint8),
        ]
    return np.concatenate(parts[:-1], axis=0)


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return HEIGHT, max(1, min(4 * HEIGHT, round(shape[1] * HEIGHT / shape[0])))


def _fit(picture: np.ndarray, smooth: bool) -> np.ndarray:
    import cv2

    height, width = _size(picture.shape)
    method = (cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_CUBIC) if smooth else cv2.INTER_NEAREST
    return cv2.resize(picture, (width, height), interpolation=method)


def _shrink_lines(edges: np.ndarray) -> np.ndarray:
    height, width = _size(edges.shape)
    ys, xs = np.nonzero(edges)
    if edges.shape[0] <= height or edges.shape[1] <= width:
        return _fit(np.repeat(edges[..., None].astype(np.uint8) * 255, 3, axis=2), smooth=False)
    small = np.zeros((height, width), np.uint8)
    small[ys * height // edges.shape[0], xs * width // edges.shape[1]] = 255
    return np.repeat(small[..., None], 3, axis=2)
