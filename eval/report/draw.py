"""Detections drawn on a picture: masks tinted, boxes outlined, a name and score each."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LEAST_SCORE = 0.5  # what is drawn; AP counts everything
WIDEST = 480  # pixels; larger pictures are shown smaller


def overlay(
    picture: np.ndarray, rows: Sequence[Mapping[str, Any]], names: Mapping[int, str], least_score: float = LEAST_SCORE
) -> np.ndarray:
    """(H', W', 3) uint8: `picture` (H, W, 3), W' at most 480, with COCO rows (results, or labels without a score)."""
    from PIL import Image, ImageDraw, ImageFont
    from pycocotools import mask as coder

    shown = sorted((row for row in rows if row.get("score", 1.0) >= least_score), key=lambda row: row.get("score", 1.0))
    height, width = picture.shape[:2]
    scale = min(1.0, WIDEST / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)).astype(np.float32)
    for row in shown:
        shape = row.get("segmentation")
        if isinstance(shape, dict) and isinstance(shape.get("counts"), str | bytes):
            mask = Image.fromarray(coder.decode(shape) * 255).resize(size, Image.Resampling.BILINEAR)  # type: ignore[arg-type]
            weight = 0.38 * np.asarray(mask, np.float32)[..., None] / 255
            canvas = canvas * (1 - weight) + weight * np.asarray(colour(row["category_id"]), np.float32)
    image = Image.fromarray(canvas.round().astype(np.uint8))
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=max(9, round(size[0] / 28)))  # read at half size and less
    taken: list[tuple[float, float, float, float]] = []
    for row in reversed(shown):  # the surest first: its label gets the best place
        x, y, w, h = (value * scale for value in row["bbox"])
        ink = colour(row["category_id"])
        pen.rectangle((x, y, x + w, y + h), outline=ink, width=2)
        name = names.get(row["category_id"], str(row["category_id"]))
        text = f"{name} {row['score']:.2f}" if "score" in row else name
        _label(pen, font, text, (x, y, w, h), size, ink, taken)
    return np.asarray(image)


def colour(category: int) -> tuple[int, int, int]:
    """A bright colour of a category, the same everywhere; neighbours in number are far apart in hue."""
    red, green, blue = colorsys.hsv_to_rgb((0.08 + 0.381966 * category) % 1.0, 0.72, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def webp(picture: np.ndarray, quality: int = 82) -> bytes:
    """The picture as a small file for a page."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "webp", quality=quality, method=4)
    return buffer.getvalue()


def _label(pen: Any, font: Any, text: str, box: Any, size: Any, ink: Any, taken: list[Any]) -> None:
    """Above the box, inside its top, below it, inside its bottom: the first place that is free; else left out."""
    x, y, _, h = box
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 4
    column = min(max(0, x), max(0, size[0] - width))
    for row in (y - height, y, y + h, y + h - height):
        place = (column, row, column + width, row + height)
        inside = row >= 0 and row + height <= size[1]
        if inside and not any(_meet(place, other) for other in taken):
            pen.rectangle(place, fill=ink)
            bright = 0.299 * ink[0] + 0.587 * ink[1] + 0.114 * ink[2] > 115
            pen.text((column + 3 - left, row + 2 - top), text, fill="black" if bright else "white", font=font)
            taken.append(place)
            return


def _meet(a: Any, b: Any) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
