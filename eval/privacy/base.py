"""The two small interfaces of the privacy measurement, and what each model must say of itself.

    picture (H, W, 3) uint8 RGB ─Detector─▶ [Face] ─align─▶ crop (112, 112, 3) uint8 ─Embedder─▶ (D,) unit vector

To add a detector or an embedder: a class with these attributes, and a line in `DETECTORS` or `EMBEDDERS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

SIDE = 112  # pixels of an aligned crop


@dataclass(frozen=True)
class About:
    """What a report must name of a model. sha256 of its weights, "" where it has none."""

    name: str
    sha256: str
    licence: str
    source: str


@dataclass(frozen=True)
class Face:
    """box (4,) xyxy in pixels; landmarks (5, 2) xy: eyes, nose, corners of the mouth, left of the picture first."""

    box: np.ndarray
    score: float
    landmarks: np.ndarray

    @property
    def size_px(self) -> float:
        """Side of the square of the box's area."""
        return float(np.sqrt(max(0.0, (self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))))


class Detector(Protocol):
    """Faces of a picture, the largest first."""

    about: About

    def detect(self, picture: np.ndarray) -> list[Face]: ...


class Embedder(Protocol):
    """(N, D) float32 unit vectors of N aligned crops (112, 112, 3) uint8 RGB; like faces have a large inner product."""

    about: About

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray: ...


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4), xyxy."""
    a, b = np.asarray(a, float).reshape(-1, 1, 4), np.asarray(b, float).reshape(1, -1, 4)
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    shared = sides.prod(-1)
    area_a, area_b = (np.clip(x[..., 2:] - x[..., :2], 0, None).prod(-1) for x in (a, b))
    return shared / np.maximum(area_a + area_b - shared, 1e-9)


def matches(found: np.ndarray, wanted: np.ndarray, least: float = 0.5) -> list[int]:
    """For each wanted box the index of the found one that is its own (IoU >= least, each used once), or -1."""
    table = overlap(wanted, found)
    chosen = [-1] * len(table)
    while table.size and table.max() >= least:
        row, column = np.unravel_index(int(table.argmax()), table.shape)
        chosen[int(row)] = int(column)
        table[row, :], table[:, column] = -1, -1
    return chosen
