"""Pictures of every kind that a camera, an editor or an accident leaves: how each is made, and what must become of it.

An entry: the file's name, the row of the table in pipelines/media.py that rules it, and a function that writes the file
and returns what must be read, exactly (an array), within so much (array, worst difference), or the refusal's words.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps

Outcome = np.ndarray | tuple[np.ndarray, int] | str
Maker = Callable[[Path], Outcome]
PICTURES: dict[str, tuple[str, Maker]] = {}


def entry(name: str, rule: str) -> Callable[[Maker], Maker]:
    def add(make: Maker) -> Maker:
        PICTURES[name] = rule, make
        return make

    return add


def noise(height: int, width: int, channels: int = 3, seed: int = 0, kind: type = np.uint8) -> np.ndarray:
    most = np.iinfo(kind).max
    return np.random.default_rng(seed).integers(0, int(most) + 1, (height, width, channels), dtype=kind)


def flat(height: int, width: int) -> np.ndarray:
    """Kind to lossy formats."""
    return np.full((height, width, 3), (200, 90, 40), np.uint8)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(path: Path, array: np.ndarray, colour: int, extra: bytes = b"", size: tuple[int, int] | None = None) -> None:
    """A PNG written by hand: kinds that Pillow does not write, and heads that lie."""
    height, width = size or array.shape[:2]
    rows = b"".join(b"\0" + row.astype(array.dtype.newbyteorder(">")).tobytes() for row in array)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * array.itemsize, colour, 0, 0, 0))
    parts = [b"\x89PNG\r\n\x1a\n", head, extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"".join(parts))


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey.reshape(*grey.shape[:2], 1), 3, 2)


def on_white(rgba: np.ndarray) -> tuple[np.ndarray, int]:
    alpha = rgba[..., -1:].astype(float) / 255
    colour = rgba[..., :-1] if rgba.shape[2] == 4 else rgb(rgba[..., 0])
    return np.rint(colour * alpha + 255 * (1 - alpha)).astype(np.uint8), 1


# --- plain -----------------------------------------------------------------------------------------------------------
@entry("plain.png", "8-bit RGB")
def plain(path: Path) -> Outcome:
    Image.fromarray(noise(9, 7)).save(path)
    return noise(9, 7)


@entry("png-named.jpg", "8-bit RGB")
def misnamed(path: Path) -> Outcome:
    Image.fromarray(noise(9, 7)).save(path, format="PNG")
    return noise(9, 7)


@entry("progressive.jpg", "8-bit RGB")
def progressive(path: Path) -> Outcome:
    Image.fromarray(flat(33, 47)).save(path, progressive=True, quality=95)
    return flat(33, 47), 3


@entry("interlaced.gif", "1 bit, grey, palette")
def interlaced(path: Path) -> Outcome:
    image = Image.fromarray(noise(20, 17)).quantize(16)
    image.save(path, interlace=True)
    return np.asarray(image.convert("RGB"))


@entry("strip-1x20000.png", "8-bit RGB")
def long_row(path: Path) -> Outcome:
    Image.fromarray(noise(1, 20000)).save(path)
    return noise(1, 20000)


@entry("strip-20000x1.png", "8-bit RGB")
def long_column(path: Path) -> Outcome:
    Image.fromarray(noise(20000, 1)).save(path)
    return noise(20000, 1)


# --- depths ----------------------------------------------------------------------------------------------------------
DEEP = "16 bits a channel"


@entry("16-grey.png", DEEP)
def deep_grey(path: Path) -> Outcome:
    png(path, values := noise(6, 5, 1, 1, np.uint16), 0)
    return rgb((values >> 8).astype(np.uint8))


@entry("16-rgb.png", DEEP)
def deep_rgb(path: Path) -> Outcome:
    png(path, values := noise(6, 5, 3, 1, np.uint16), 2)
    return (values >> 8).astype(np.uint8)


@entry("16-rgba.png", DEEP)
def deep_rgba(path: Path) -> Outcome:
    png(path, values := noise(6, 5, 4, 2, np.uint16), 6)
    return on_white((values >> 8).astype(np.uint8))


@entry("16-grey-alpha.png", DEEP)
def deep_grey_alpha(path: Path) -> Outcome:
    png(path, values := noise(6, 5, 2, 3, np.uint16), 4)
    return on_white((values >> 8).astype(np.uint8))


@entry("16-trns.png", DEEP)
def deep_keyed(path: Path) -> Outcome:
    png(path, np.zeros((2, 2, 3), np.uint16), 2, chunk(b"tRNS", bytes(6)))
    return "16 bits with transparency"


@entry("16-grey.tif", DEEP)
def deep_tiff(path: Path) -> Outcome:
    values = noise(6, 5, 1, 4, np.uint16)[..., 0]
    Image.fromarray(values).save(path)
    return rgb((values >> 8).astype(np.uint8))


@entry("16-rgb.tif", DEEP)
def deep_tiff_rgb(path: Path) -> Outcome:
    values = noise(6, 5, 3, 5, np.uint16)
    cv2.imwrite(str(path), values[..., ::-1])
    return (values >> 8).astype(np.uint8)


@entry("32-float.tif", "32 bits, float")
def floating(path: Path) -> Outcome:
    Image.fromarray(np.ones((4, 4), np.float32)).save(path)
    return "32 bits"


@entry("32-integer.tif", "32 bits, float")
def long_integers(path: Path) -> Outcome:
    Image.fromarray(np.ones((4, 4), np.int32)).save(path)
    return "32 bits"


# --- colours ---------------------------------------------------------------------------------------------------------
@entry("cmyk.tif", "CMYK, YCCK, L*a*b*")
def cmyk(path: Path) -> Outcome:
    picture = noise(16, 16) // 2 + 64
    Image.fromarray(picture).convert("CMYK").save(path)
    return picture, 1


@entry("cmyk.jpg", "CMYK, YCCK, L*a*b*")
def cmyk_jpeg(path: Path) -> Outcome:
    Image.fromarray(flat(32, 32)).convert("CMYK").save(path, quality=95)
    return flat(32, 32), 4


@entry("lab.tif", "CMYK, YCCK, L*a*b*")
def lab(path: Path) -> Outcome:
    Image.new("LAB", (4, 4), (255, 128, 128)).save(path)
    return np.full((4, 4, 3), 255, np.uint8), 5


@entry("one-bit.png", "1 bit, grey, palette")
def one_bit(path: Path) -> Outcome:
    bits = noise(9, 8, 1)[..., 0] > 100
    Image.fromarray(bits).save(path)
    return rgb(bits * np.uint8(255))


@entry("one-bit.pbm", "1 bit, grey, palette")
def bitmap(path: Path) -> Outcome:
    bits = noise(9, 11, 1)[..., 0] > 100
    Image.fromarray(bits).save(path, format="PPM")
    return rgb(bits * np.uint8(255))


@entry("grey.jpg", "1 bit, grey, palette")
def grey_jpeg(path: Path) -> Outcome:
    Image.new("L", (17, 9), 77).save(path)
    return np.full((9, 17, 3), 77, np.uint8), 1


@entry("palette.png", "1 bit, grey, palette")
def palette(path: Path) -> Outcome:
    image = Image.fromarray(noise(9, 8)).quantize(16)
    image.save(path)
    return np.asarray(image.convert("RGB"))


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@entry("icc.jpg", "colour profile (ICC)")
def with_profile(path: Path) -> Outcome:
    Image.fromarray(flat(16, 16)).save(path, quality=95, icc_profile=_profile())
    return flat(16, 16), 3


@entry("icc-lab.png", "colour profile (ICC)")
def with_strange_profile(path: Path) -> Outcome:
    """One that would change every pixel if it were applied."""
    lab_profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.fromarray(noise(9, 7)).save(path, icc_profile=lab_profile)
    return noise(9, 7)


@entry("icc-damaged.png", "colour profile (ICC)")
def with_damaged_profile(path: Path) -> Outcome:
    Image.fromarray(noise(9, 7)).save(path, icc_profile=b"no profile" * 20)
    return noise(9, 7)


# --- transparency ----------------------------------------------------------------------------------------------------
@entry("rgba.png", "alpha, tRNS")
def rgba(path: Path) -> Outcome:
    Image.fromarray(noise(6, 6, 4)).save(path)
    return on_white(noise(6, 6, 4))


@entry("rgba.webp", "alpha, tRNS")
def rgba_webp(path: Path) -> Outcome:
    Image.fromarray(noise(6, 6, 4)).save(path, lossless=True, exact=True)
    return on_white(noise(6, 6, 4))


@entry("grey-alpha.png", "alpha, tRNS")
def grey_alpha(path: Path) -> Outcome:
    Image.fromarray(noise(6, 6, 2)).save(path)
    return on_white(noise(6, 6, 2))


@entry("palette-trns.png", "alpha, tRNS")
def palette_keyed(path: Path) -> Outcome:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 9, 50, 60, 70] + [0] * 762)
    image.putpixel((1, 0), 1)
    image.save(path, transparency=bytes([0, 128]))
    return np.array([[[255, 255, 255], [152, 157, 162]]], np.uint8), 1


@entry("rgb-trns.png", "alpha, tRNS")
def keyed(path: Path) -> Outcome:
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    png(path, pixels, 2, chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    return np.array([[[255, 255, 255], [4, 5, 6]]], np.uint8)


@entry("grey-trns.png", "alpha, tRNS")
def grey_keyed(path: Path) -> Outcome:
    png(path, np.array([[7, 8]], np.uint8), 0, chunk(b"tRNS", struct.pack(">H", 7)))
    return np.array([[[255] * 3, [8] * 3]], np.uint8)


# --- orientation -----------------------------------------------------------------------------------------------------
def _turned(value: int) -> Maker:
    def make(path: Path) -> Outcome:
        exif = Image.Exif()
        exif[0x0112] = value
        Image.fromarray(noise(8, 12)).save(path, exif=exif)
        with Image.open(path) as stored:
            return np.asarray(ImageOps.exif_transpose(stored) if 1 <= value <= 8 else stored.copy())

    return make


for value in (*range(1, 9), 0, 9):
    PICTURES[f"exif-{value}.png"] = "EXIF orientation 1-8", _turned(value)


@entry("exif-damaged.jpg", "EXIF orientation 1-8")
def damaged_exif(path: Path) -> Outcome:
    Image.fromarray(flat(16, 16)).save(path, quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    return flat(16, 16), 3


# --- several pictures ------------------------------------------------------------------------------------------------
def _several(path: Path) -> Outcome:
    frames = [Image.fromarray(noise(8, 8, seed=i)) for i in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return "holds 3 pictures"


for suffix in ("gif", "png", "webp", "tif"):
    PICTURES[f"animated.{suffix}"] = "animated, several pages", _several


@entry("stereo.mpo", "animated, several pages")
def stereo(path: Path) -> Outcome:
    frames = [Image.fromarray(flat(16, 16)), Image.fromarray(255 - flat(16, 16))]
    frames[0].save(path, format="MPO", save_all=True, append_images=frames[1:], quality=95)
    return flat(16, 16), 3


# --- sizes -----------------------------------------------------------------------------------------------------------
LIMIT = "more than 2^28 pixels or 32768 a side"
for width, height in ((60000, 60000), (32769, 1), (16385, 16385), (2**31 - 1, 1)):

    def _bomb(path: Path, size: tuple[int, int] = (height, width)) -> Outcome:
        png(path, np.zeros((1, 100), np.uint8), 2, size=size)
        return "limit"

    PICTURES[f"bomb-{width}x{height}.png"] = LIMIT, _bomb


@entry("bomb-text.png", "metadata that unpacks without end")
def text_bomb(path: Path) -> Outcome:
    packed = zlib.compress(bytes(20_000_000), 9)
    png(path, noise(2, 2), 2, chunk(b"zTXt", b"comment\0\0" + packed))
    return "Decompressed data too large"


@entry("bomb-profile.png", "metadata that unpacks without end")
def profile_bomb(path: Path) -> Outcome:
    png(path, noise(2, 2), 2, chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(20_000_000), 9)))
    return "Decompressed data too large"


# --- what is no picture ----------------------------------------------------------------------------------------------
WRONG = "missing, a folder, empty, HTML, not a picture, truncated, damaged"


@entry("missing.png", WRONG)
def missing(path: Path) -> Outcome:
    return "no such file"


@entry("folder.png", WRONG)
def folder(path: Path) -> Outcome:
    path.mkdir()
    return "is a folder"


@entry("empty.png", WRONG)
def empty(path: Path) -> Outcome:
    path.touch()
    return "is empty"


def _bytes(data: bytes, words: str) -> Maker:
    def make(path: Path) -> Outcome:
        path.write_bytes(data)
        return words

    return make


PICTURES["zeros.png"] = WRONG, _bytes(bytes(4096), "is not a picture")
PICTURES["page.jpg"] = WRONG, _bytes(b"\n <!DOCTYPE html><html>404</html>", "web page")
PICTURES["text.jpg"] = WRONG, _bytes(b"hello\n", "is not a picture")
PICTURES["program.eps.png"] = WRONG, _bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture")
PICTURES["drawing.svg.png"] = WRONG, _bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture")
PICTURES["document.pdf.png"] = WRONG, _bytes(b"%PDF-1.7\n1 0 obj\n", "is not a picture")


def _cut(kind: str, share: float) -> Maker:
    def make(path: Path) -> Outcome:
        out = io.BytesIO()
        Image.fromarray(noise(40, 60)).save(out, kind)
        path.write_bytes(out.getvalue()[: int(share * len(out.getvalue()))])
        return "truncated or damaged|damaged|is not a picture"

    return make


for kind in ("png", "jpeg", "webp", "tiff", "gif", "bmp", "ppm", "avif", "jpeg2000"):
    for share in (0.02, 0.5, 0.95):
        PICTURES[f"cut-{round(100 * share)}.{kind}"] = WRONG, _cut(kind.upper(), share)


@entry("flipped.png", WRONG)
def flipped(path: Path) -> Outcome:
    """A wrong byte in the middle of the pixels: the chunk's checksum tells."""
    Image.fromarray(noise(40, 60)).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return "truncated or damaged"
