"""Every rule of pipelines/media.py for files that are not plain 8-bit RGB pictures."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipelines.media import list_pictures, picture_size, read_picture, write_picture


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def png(path: Path, width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> Path:
    """A PNG written by hand, for kinds that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


def trns(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + b"tRNS" + data + struct.pack(">I", zlib.crc32(b"tRNS" + data))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (33, 47)])
def test_what_is_written_is_read(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    picture = noise(*size)
    write_picture(tmp_path / f"a{suffix}", picture)
    assert np.array_equal(read_picture(tmp_path / f"a{suffix}"), picture)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_write_refuses_lossy_names_and_other_arrays(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.jpg.*lossless"):
        write_picture(tmp_path / "a.jpg", noise(2, 2))
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        write_picture(tmp_path / "a.png", noise(2, 2).astype(np.float32))
    assert not list(tmp_path.iterdir())


def test_absent_empty_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such file"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"empty\.png: is empty"):
        read_picture(tmp_path / "empty.png")
    with pytest.raises(ValueError, match="is a folder"):
        read_picture(tmp_path)


@pytest.mark.parametrize("data", [b"hello\n", b"\0" * 4096, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_not_a_picture(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.jpg: is not a picture"):
        read_picture(tmp_path / "a.jpg")


def test_a_web_page_named_jpg(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("\n  <!DOCTYPE html><html><body>404</body></html>")
    with pytest.raises(ValueError, match="web page"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".ppm", ".gif", ".tif"])
def test_truncated_is_refused_or_whole(tmp_path: Path, suffix: str) -> None:
    """A cut may fall behind the last pixel (an end marker, metadata); then the picture is the whole one."""
    whole = tmp_path / f"whole{suffix}"
    Image.fromarray(noise(40, 60)).save(whole)
    data, picture = whole.read_bytes(), read_picture(whole)
    cut, refused = tmp_path / f"cut{suffix}", 0
    ends = sorted({*range(1, len(data), max(1, len(data) // 60)), *range(len(data) - 12, len(data))})
    for end in ends:
        cut.write_bytes(data[:end])
        try:
            assert np.array_equal(read_picture(cut), picture), f"silently wrong when cut to {end} of {len(data)}"
        except ValueError as error:
            assert str(error).startswith(f"{cut}: ")
            refused += 1
    assert refused >= len(ends) - 13


@pytest.mark.parametrize("size", [(20000, 1), (1, 20000), (3, 20000)])
def test_very_long(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = noise(*size)
    write_picture(tmp_path / "a.png", picture)
    assert np.array_equal(read_picture(tmp_path / "a.png"), picture)
    assert picture_size(tmp_path / "a.png") == size


@pytest.mark.parametrize("size", [(32769, 1), (16385, 16385), (60000, 60000), (2**31 - 1, 1)])
def test_bombs_are_refused_from_their_head(tmp_path: Path, size: tuple[int, int]) -> None:
    path = png(tmp_path / "bomb.png", *size, 8, 2, b"\0" * 100)
    with pytest.raises(ValueError, match=r"bomb\.png.*limit"):
        read_picture(path)


def test_a_large_honest_picture_is_read(tmp_path: Path) -> None:
    """Above Pillow's own default warning (89 million pixels) and below our limit."""
    path = tmp_path / "large.png"
    Image.new("1", (10000, 9500)).save(path)
    assert picture_size(path) == (9500, 10000)
    assert read_picture(path).shape == (9500, 10000, 3)


def test_16_bit_grey_and_colour_take_the_upper_byte(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 2**16, (6, 5, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colour = read_picture(png(tmp_path / "colour.png", 5, 6, 16, 2, rows))
    assert np.array_equal(colour, values >> 8)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values[:, :, 0])
    grey = read_picture(png(tmp_path / "grey.png", 5, 6, 16, 0, rows))
    assert np.array_equal(grey, np.repeat(values[:, :, :1] >> 8, 3, axis=2))
    Image.fromarray(values[:, :, 0]).save(tmp_path / "grey.tif")
    assert np.array_equal(read_picture(tmp_path / "grey.tif"), grey)


def test_16_bit_with_transparency_is_refused(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + bytes(12) for _ in range(2))
    path = png(tmp_path / "a.png", 2, 2, 16, 2, rows, trns(struct.pack(">HHH", 0, 0, 0)))
    with pytest.raises(ValueError, match="16 bits with transparency"):
        read_picture(path)


def test_32_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "f.tif")
    Image.fromarray(np.ones((4, 4), np.int32)).save(tmp_path / "i.tif")
    for name in ("f.tif", "i.tif"):
        with pytest.raises(ValueError, match="32 bits"):
            read_picture(tmp_path / name)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    rgb = noise(16, 16) // 2 + 64
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "a.tif")
    assert np.abs(read_picture(tmp_path / "a.tif").astype(int) - rgb).max() <= 1
    flat = np.full((32, 32, 3), (200, 90, 40), np.uint8)
    Image.fromarray(flat).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - flat).max() <= 4


def test_lab_is_converted(tmp_path: Path) -> None:
    Image.new("LAB", (4, 4), (255, 128, 128)).save(tmp_path / "a.tif")
    assert read_picture(tmp_path / "a.tif").min() >= 250


def test_grey_one_bit_and_palette(tmp_path: Path) -> None:
    grey = noise(9, 8, 1)[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_picture(tmp_path / "grey.png"), np.repeat(grey[:, :, None], 3, 2))
    Image.fromarray(grey > 100).save(tmp_path / "bits.png")
    assert np.array_equal(read_picture(tmp_path / "bits.png")[:, :, 0], (grey > 100) * np.uint8(255))
    palette = Image.fromarray(noise(9, 8)).quantize(16)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_picture(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))


def test_transparency_is_composited_on_white(tmp_path: Path) -> None:
    rgba = noise(6, 6, 4)
    rgba[0, 0], rgba[0, 1] = (10, 20, 30, 0), (10, 20, 30, 255)
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    picture = read_picture(tmp_path / "alpha.png")
    assert tuple(picture[0, 0]) == (255, 255, 255)
    assert tuple(picture[0, 1]) == (10, 20, 30)
    alpha = rgba[:, :, 3:].astype(float) / 255
    assert np.abs(picture - (rgba[:, :, :3] * alpha + 255 * (1 - alpha))).max() <= 1
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 50, 60, 70] + [0] * 762)
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "trns.png", transparency=0)
    assert read_picture(tmp_path / "trns.png").tolist() == [[[255, 255, 255], [50, 60, 70]]]
    rows = b"\0" + bytes([1, 2, 3, 4, 5, 6])
    keyed = png(tmp_path / "key.png", 2, 1, 8, 2, rows, trns(struct.pack(">HHH", 1, 2, 3)))
    assert read_picture(keyed).tolist() == [[[255, 255, 255], [4, 5, 6]]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    image = Image.fromarray(noise(24, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    image.save(path, exif=exif)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    assert np.array_equal(read_picture(path), expected)
    assert picture_size(path) == expected.shape[:2] == ((40, 24) if orientation >= 5 else (24, 40))


def test_damaged_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(8, 8)).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert read_picture(path).shape == (8, 8, 3)


def test_animations_are_refused_and_mpo_gives_its_first(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(8, 8, seed=i)) for i in range(3)]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(ValueError, match="holds 3 pictures"):
            read_picture(tmp_path / name)
    frames[0].save(tmp_path / "a.mpo", format="MPO", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "first.jpg")
    assert np.array_equal(read_picture(tmp_path / "a.mpo"), read_picture(tmp_path / "first.jpg"))


def test_listing_is_sorted_and_leaves_out_what_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no pictures"):
        list_pictures(tmp_path)
    for name in ("b.PNG", "a.jpg", "sub/c.webp", "notes.txt", ".hidden.png", ".cache/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_pictures(tmp_path)]
    assert found == ["a.jpg", "b.PNG", "sub/c.webp"]
    with pytest.raises(FileNotFoundError, match="no such folder"):
        list_pictures(tmp_path / "none")


def test_every_shared_picture_is_read(shared: Path) -> None:
    pictures = list_pictures(shared / "data" / "faces")
    assert len(pictures) >= 10
    for path in pictures:
        assert read_picture(path).shape[:2] == picture_size(path)
