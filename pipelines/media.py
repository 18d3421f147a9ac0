"""Pictures in and out: (H, W, 3) uint8 RGB, whatever the file holds, or one line that says why not.

What becomes of a file (content decides, never the suffix):

| file | rule |
|---|---|
| 8-bit RGB | taken as it is, interlaced or progressive, under whatever suffix |
| missing, a folder, empty, HTML, not a picture, truncated, damaged | refused |
| more than 2^28 pixels or 32768 a side | refused before anything is allocated |
| metadata that unpacks without end | refused, at a megabyte of it |
| animated, several pages | refused: code it as a clip, or one page of it (of an MPO, the first picture is taken) |
| 16 bits a channel | the upper 8 bits: exact where 8-bit values were scaled by 257; an alpha channel likewise, but one
  transparent colour (tRNS) is refused |
| 32 bits, float | refused: they have no agreed range |
| CMYK, YCCK, L*a*b* | converted by formula |
| colour profile (ICC) | not applied, to any picture; a damaged one is no matter |
| 1 bit, grey, palette | converted |
| alpha, tRNS | composited on white |
| EXIF orientation 1-8 | applied; unreadable EXIF and other values count as 1 |
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.run.atomic import write_bytes

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 2**28
MAX_SIDE = 32768
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "AVIF", "JPEG2000")  # no EPS: it runs a program
PICTURES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
            ".gif", ".avif", ".jp2", ".mpo"}  # fmt: skip
LOSSLESS = {".png": "PNG", ".bmp": "BMP", ".ppm": "PPM", ".tif": "TIFF", ".tiff": "TIFF"}
_FILTERS = threading.Lock()  # Python's warning filters are one global list


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """(H, W, 3) uint8 RGB by the rules above; ValueError or OSError, one line naming the file, when it is refused."""
    path = Path(path)
    check_readable(path, "picture")
    with _FILTERS, warnings.catch_warnings():
        # Pillow only warns of damaged EXIF (harmless here) and of sizes that are judged below
        warnings.simplefilter("ignore")
        return _read(path)


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) in pixels, orientation applied, from the head of the file; refuses as `read_picture`."""
    path = Path(path)
    check_readable(path, "picture")
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _open(path) as image:
            check_size(path, image.width, image.height)
            turned = image.format != "TIFF" and _orientation(image) >= 5  # Pillow has already turned a TIFF's size
            return (image.width, image.height) if turned else (image.height, image.width)


def write_picture(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB losslessly, whole or not at all: PNG, or BMP, PPM, TIFF by the suffix; (H, W, 4) RGBA
    as PNG or TIFF."""
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() not in LOSSLESS:
        raise ValueError(f"{path}: pictures are written losslessly; choose a name ending in {', '.join(LOSSLESS)}")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (3, 4):
        raise ValueError(f"{path}: expected (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
    kind = LOSSLESS[path.suffix.lower()]
    if picture.shape[2] == 4 and kind not in ("PNG", "TIFF"):
        raise ValueError(f"{path}: {kind} has no transparency; choose a name ending in .png or .tif")
    options: dict[str, Any] = {"compress_level": 3} if kind == "PNG" else {}  # 6 is thrice as slow for 4 % less
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format=kind, **options)
    write_bytes(path, buffer.getvalue())


def list_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """Files below `folder` that are pictures by name, sorted; hidden ones left out; ValueError when there are none."""
    return list_files(folder, PICTURES, "pictures (.jpg, .png, .webp, …)")


def list_files(folder: str | os.PathLike[str], suffixes: set[str], what: str) -> list[Path]:
    """Files below `folder` with one of `suffixes`, sorted by path; ValueError when there are none."""
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    found = [path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not path.is_dir()
             and not any(part.startswith(".") for part in path.relative_to(folder).parts)]  # fmt: skip
    if not found:
        raise ValueError(f"{folder}: holds no {what}")
    return sorted(found)


def check_readable(path: Path, what: str) -> None:
    """Refuse what is not a file with something in it, in one line."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name a {what}")
    if not path.is_file():
        raise ValueError(f"{path}: is not a regular file; name a {what}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: is empty (0 bytes)")


def check_size(path: Path, width: int, height: int) -> None:
    """The limits of the format, before anything is allocated."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise ValueError(f"{path}: {width}x{height} is beyond the limit of 2^28 pixels and {MAX_SIDE} a side")


def looks_like_html(head: bytes) -> bool:
    """Whether a file begins as a web page does: what a failed download leaves under a picture's name."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml"))


def _open(path: Path) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    with open(path, "rb") as file:
        head = file.read(64)
    if looks_like_html(head):
        raise ValueError(f"{path}: is a web page, not a picture; download it again")
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # below this our own check decides; Pillow's own errs at twice this
    Image.init()  # registers every reader; without it only some names of FORMATS are known
    try:
        return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
    except UnidentifiedImageError:
        raise ValueError(f"{path}: is not a picture, or its head is damaged") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"{path}: is beyond the limit of 2^28 pixels and {MAX_SIDE} a side") from None
    except PermissionError:
        raise
    except Exception as error:  # Pillow's parsers raise anything on damaged heads
        raise ValueError(f"{path}: damaged picture ({error})") from None


def _read(path: Path) -> np.ndarray:
    with _open(path) as image:
        check_size(path, image.width, image.height)
        pages = getattr(image, "n_frames", 1)
        if pages > 1 and image.format != "MPO":
            raise ValueError(f"{path}: holds {pages} pictures; give one of them, or code it as a clip")
        deep = _is_16_bit(path, image)
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # the same
            raise ValueError(f"{path}: truncated or damaged picture ({error})") from None
        if deep and "transparency" in image.info:
            raise ValueError(f"{path}: 16 bits with transparency is not supported; convert it to 8 bits")
        pixels = _to_rgb(path, image)
        return np.ascontiguousarray(_turn(pixels, _orientation(image)))


def _to_rgb(path: Path, image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError(f"{path}: 32 bits a pixel have no agreed range; convert it to 8 or 16 bits")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        from PIL import Image

        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
    if image.mode == "LAB":
        from PIL import ImageCms

        transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        converted = ImageCms.applyTransform(image, transform)
        assert converted is not None
        return np.asarray(converted)
    return np.asarray(image.convert("RGB"))


def _is_16_bit(path: Path, image: Image.Image) -> bool:
    """Pillow reads 48-bit colour as its upper 8 bits without a word; only the file's head tells."""
    if image.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[-1] == 16  # IHDR: signature 8, length and name 8, width and height 8, then the depth
    return image.mode.startswith("I;16")


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF: the picture itself may be fine
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo EXIF orientation (TIFF 6.0, tag 274) on (H, W, 3)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
