"""What privacy engineers do without a codec for machines: pixelation and blur of the whole picture, as codecs.

Each has `name`, `quality`, `suffix`, `encode`, `decode` as every codec here; what is stored is no more than what is
shown, so that their rate can be compared too.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np


@dataclass(frozen=True)
class Pixelate:
    """Squares of `quality` pixels, each its mean colour, kept as a PNG of one pixel a square."""

    quality: float
    name: str = "pixelate"
    suffix: str = ".pixels"

    def encode(self, picture: np.ndarray) -> bytes:
        """(H, W, 3) uint8 RGB → height, width (4 bytes each), PNG."""
        side = int(self.quality)
        height, width = picture.shape[:2]
        padded = np.pad(picture, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge").astype(np.float32)
        rows, columns = padded.shape[0] // side, padded.shape[1] // side
        means = padded.reshape(rows, side, columns, side, 3).mean((1, 3))
        return struct.pack("<II", height, width) + _png(np.rint(means).astype(np.uint8))

    def decode(self, data: bytes) -> np.ndarray:
        """The picture in squares."""
        height, width, small = _parts(self.name, data)
        side = int(self.quality)
        return np.ascontiguousarray(small.repeat(side, 0).repeat(side, 1)[:height, :width])


@dataclass(frozen=True)
class Blur:
    """Gaussian of standard deviation `quality` pixels, kept as a PNG of every (quality / 1.5)th pixel: a blurred
    picture holds no more."""

    quality: float
    name: str = "blur"
    suffix: str = ".blurred"

    def encode(self, picture: np.ndarray) -> bytes:
        """(H, W, 3) uint8 RGB → height, width (4 bytes each), PNG."""
        height, width = picture.shape[:2]
        step = max(1, int(self.quality / 1.5))
        soft = cv2.GaussianBlur(picture, (0, 0), self.quality)
        size = (max(1, -(-width // step)), max(1, -(-height // step)))
        return struct.pack("<II", height, width) + _png(cv2.resize(soft, size, interpolation=cv2.INTER_AREA))

    def decode(self, data: bytes) -> np.ndarray:
        """The blurred picture."""
        height, width, small = _parts(self.name, data)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


BASELINES: dict[str, Any] = {"pixelate": Pixelate, "blur": Blur}
LIMITS = {"pixelate": (2, 256), "blur": (0.5, 64)}


def baseline(name: str, quality: float) -> Any:
    """The baseline at a strength in pixels; ValueError where it is out of range."""
    low, high = LIMITS[name]
    if not low <= quality <= high or (name == "pixelate" and quality != int(quality)):
        kind = "a whole number of" if name == "pixelate" else "a number of"
        raise ValueError(f"{name}:{quality:g}: the strength is {kind} pixels from {low:g} to {high:g}")
    return BASELINES[name](float(quality))


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _parts(name: str, data: bytes) -> tuple[int, int, np.ndarray]:
    from PIL import Image

    try:
        height, width = struct.unpack_from("<II", data)
        with Image.open(io.BytesIO(data[8:]), formats=["PNG"]) as image:
            return height, width, np.array(image.convert("RGB"))
    except (struct.error, OSError, SyntaxError) as error:
        raise ValueError(f"damaged {name} file: {error}") from error
