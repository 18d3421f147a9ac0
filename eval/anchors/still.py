"""JPEG and WebP through Pillow, whose colour tags are fixed by the formats themselves, and the uncompressed picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class Pillow:
    """A still-picture format of Pillow. Quality 1 to 100: larger is larger and better."""

    name: str
    quality: int
    suffix: str
    options: tuple[tuple[str, object], ...]
    qualities: tuple[int, int] = (1, 100)
    threads: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"{self.name}:{self.quality}: the quality is a whole number from 1 to 100")

    def encode(self, picture: np.ndarray) -> bytes:
        """The file's bytes of a (H, W, 3) uint8 RGB picture."""
        from PIL import Image

        buffer = io.BytesIO()
        try:
            Image.fromarray(picture).save(buffer, self.name, quality=self.quality, **dict(self.options))
        except OSError as error:  # WebP ends at 16383 pixels a side
            raise ValueError(f"{self.name} refuses a {picture.shape[1]}x{picture.shape[0]} picture: {error}") from error
        return buffer.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        """The (H, W, 3) uint8 RGB picture; ValueError where the bytes are damaged."""
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(data), formats=[self.name]) as image:
                return np.array(image.convert("RGB"))
        except (OSError, SyntaxError) as error:
            unknown = isinstance(error, UnidentifiedImageError)  # its text shows a Python object
            reason = "it is no such file, or its head is damaged" if unknown else error
            raise ValueError(f"damaged {self.name} file: {reason}") from error


@dataclass(frozen=True)
class Uncompressed:
    """The picture itself as a binary PPM: 24 bits a pixel and a header of about 15 bytes."""

    name: str = "uncompressed"
    quality: int = 0
    suffix: str = ".ppm"
    qualities: tuple[int, int] = (0, 0)
    threads: ClassVar[int] = 1

    def encode(self, picture: np.ndarray) -> bytes:
        """The PPM's bytes of a (H, W, 3) uint8 RGB picture."""
        height, width = picture.shape[:2]
        return b"P6 %d %d 255\n" % (width, height) + np.ascontiguousarray(picture).tobytes()

    def decode(self, data: bytes) -> np.ndarray:
        """The picture, bit for bit; ValueError where header and length disagree."""
        words = data[:64].split(b"\n", 1)[0].split(b" ")
        if len(words) != 4 or words[0] != b"P6" or words[3] != b"255" or not (words[1] + words[2]).isdigit():
            raise ValueError("damaged uncompressed picture: not a binary PPM as written here")
        width, height = int(words[1]), int(words[2])
        pixels = data[data.index(b"\n") + 1 :]
        if len(pixels) != 3 * width * height:
            raise ValueError(f"damaged uncompressed picture: {len(pixels)} bytes of pixels for {width}x{height}")
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3).copy()


def jpeg(quality: float | None = None) -> Pillow:
    """Baseline 4:2:0 JPEG with optimised Huffman tables, `quality` 1 to 100."""
    return Pillow("jpeg", _whole("jpeg", quality, 30), ".jpg", (("optimize", True), ("subsampling", "4:2:0")))


def webp(quality: float | None = None) -> Pillow:
    """Lossy WebP, `quality` 1 to 100, the encoder's slowest method."""
    return Pillow("webp", _whole("webp", quality, 30), ".webp", (("method", 6),))


def uncompressed(quality: float | None = None) -> Uncompressed:
    """The ceiling of every curve; takes no quality."""
    if quality:
        raise ValueError(f"uncompressed:{quality:g}: takes no quality")
    return Uncompressed()


def _whole(name: str, quality: float | None, default: int) -> int:
    if quality is None:
        return default
    if quality != int(quality):
        raise ValueError(f"{name}:{quality}: the quality is a whole number")
    return int(quality)
