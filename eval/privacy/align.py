"""From a picture and five landmarks to a crop in which every face has its eyes at the same place.

Attacker and measurement keep more than the crop: the `Context`, a piece of the picture around the face at its own
resolution, because a network that undoes a codec must see the codec's own pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from eval.privacy.base import SIDE, Face

# Eyes, nose, corners of the mouth in a crop of 112 x 112: where embedders trained on the ArcFace crop expect them.
TEMPLATE = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]], np.float64)
MARGIN = 0.45  # of the box's longer side, on each side: the whole crop lies inside
WIDEST = 320  # pixels: larger contexts are shrunk, no embedder sees more than 160


@dataclass(frozen=True)
class Context:
    """pixels (h, w, 3) uint8 RGB around one face; landmarks (5, 2) xy in them."""

    pixels: np.ndarray
    landmarks: np.ndarray

    def crop(self) -> np.ndarray:
        """The aligned face, (112, 112, 3) uint8."""
        return aligned(self.pixels, self.landmarks)


def similarity(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """(2, 3) matrix of the rotation, scale and shift that brings points (N, 2) nearest to `onto` (least squares).

    In complex numbers the map is z -> a z + b with a = cov(z, w) / var(z).
    """
    z, w = (p[:, 0] + 1j * p[:, 1] for p in (np.asarray(points, float), np.asarray(onto, float)))
    centred = z - z.mean()
    spread = float((abs(centred) ** 2).sum())
    if spread < 1e-9:
        raise ValueError("landmarks coincide: no face can be aligned by them")
    a = (centred.conj() * (w - w.mean())).sum() / spread
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def aligned(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(112, 112, 3) uint8: the face upright at its fixed place."""
    matrix = similarity(landmarks, TEMPLATE)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:  # bilinear sampling would alias
        picture = cv2.GaussianBlur(picture, (0, 0), 0.45 / scale)
    return cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def window(face: Face, height: int, width: int) -> tuple[int, int, int, int]:
    """(x1, y1, x2, y2) of the face's context within a picture of that size."""
    x1, y1, x2, y2 = face.box
    margin = MARGIN * max(x2 - x1, y2 - y1)
    left, top = int(max(0, np.floor(x1 - margin))), int(max(0, np.floor(y1 - margin)))
    return left, top, int(min(width, np.ceil(x2 + margin))), int(min(height, np.ceil(y2 + margin)))


def context(picture: np.ndarray, face: Face) -> Context:
    """The face's surroundings, at most 320 pixels a side. The face's place is taken from the caller: an attacker who
    knows where a face is (from another frame, or from the body below it) is the one to measure."""
    left, top, right, bottom = window(face, *picture.shape[:2])
    if right - left < 2 or bottom - top < 2:
        raise ValueError("a face lies outside of its picture")
    pixels = picture[top:bottom, left:right]
    landmarks = face.landmarks - [left, top]
    scale = WIDEST / max(pixels.shape[:2])
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        ratio = np.array(size) / [pixels.shape[1], pixels.shape[0]]
        pixels, landmarks = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), landmarks * ratio
    return Context(np.ascontiguousarray(pixels), landmarks)
