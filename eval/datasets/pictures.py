"""Picture files in: (H, W, 3) uint8 RGB by the rules of the commands that code them, or one line that says why not.

Upright by EXIF, transparency on white, 16 bits become 8 (the upper byte), grey, palettes, CMYK and L*a*b* converted.
Content decides, never the suffix; several pictures in a file, 32 bits and more than 2^28 pixels are refused.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "AVIF", "JPEG2000")  # no EPS: it runs a program
MAX_PIXELS = 2**28


def read_picture(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a picture file; ValueError or OSError, one line, where it is none or holds several."""
    with _open_picture(path) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise ValueError(f"{path}: holds {image.n_frames} pictures; give one of them, or use --dataset clip")
        try:
            return _pixels(path, image)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise anything on damaged files
            if isinstance(error, ValueError) and str(path) in str(error):
                raise
            raise ValueError(f"{path}: truncated or damaged picture ({error})") from None


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of `read_picture`'s result, from the head of the file; refuses as it does."""
    with _open_picture(path) as image:
        turned = image.format != "TIFF" and _orientation(image) >= 5  # Pillow has already turned a TIFF's size
        return (image.width, image.height) if turned else (image.height, image.width)


def _open_picture(path: Path) -> Any:
    from PIL import Image

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such picture")
    Image.init()  # registers every reader; without it only some names of FORMATS are known
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures, which are judged below, and of damaged EXIF
        try:
            image = Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
        except PermissionError:
            raise
        except Exception as error:  # Pillow's parsers raise anything on damaged heads; some texts show Python objects
            reason = "" if isinstance(error, Image.UnidentifiedImageError) else f" ({error})"
            raise ValueError(f"{path}: is not a picture, or its head is damaged{reason}") from None
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ValueError(f"{path}: {image.width}x{image.height} is beyond the limit of 2^28 pixels")
    return image


def _pixels(path: Path, image: Any) -> np.ndarray:
    from PIL import Image, ImageCms

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.load()
        orientation = _orientation(image)
    if image.mode.startswith("I;16"):
        pixels = np.repeat((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    elif image.mode in ("I", "F"):
        raise ValueError(f"{path}: 32 bits a pixel have no agreed range; convert it to 8 or 16 bits")
    elif "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        pixels = np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
    elif image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted: Any = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB"))
        pixels = np.asarray(converted)
    else:
        pixels = np.asarray(image.convert("RGB"))
    if orientation >= 5:  # TIFF 6.0, tag 274
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.array(pixels, order="C")


def _orientation(image: Any) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF: the picture itself may be fine
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
