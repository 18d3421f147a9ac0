"""What a machine found, as layers to lay over a picture: objects as SVG, panoptic and semantic maps as a tinted WebP.

    rows (COCO)        ─objects─▶ <svg>   masks tinted, boxes outlined, keypoints, a name and score each
    map (H, W) of ids  ─regions─▶ <img> + <svg>   regions tinted and outlined, the large ones named

Layers are drawn apart from the picture, so that a page can switch them without holding the picture twice.
"""

from __future__ import annotations

import base64
import colorsys
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LEAST_SCORE = 0.5  # what is drawn; AP counts everything
MOST = 60  # objects drawn, the surest
LIMBS = ((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
         (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6))  # fmt: skip  # COCO's 17 keypoints, from 0
Size = tuple[int, int]  # width, height in pixels, of the picture that the rows are of


def objects(
    rows: Sequence[Mapping[str, Any]], names: Mapping[int, str], size: Size, least_score: float = LEAST_SCORE
) -> str:
    """An <svg> of COCO rows (results, or labels without a score) over a picture of `size`."""
    shown = [row for row in rows if row.get("score", 1.0) >= least_score]
    shown = sorted(shown, key=lambda row: row.get("score", 1.0))[-MOST:]
    shapes, labels, font = [], [], _font(size)
    taken: list[Any] = []
    for row in shown:
        ink = hexadecimal(colour(row["category_id"]))
        if outline := _outline(row.get("segmentation"), size):
            shapes.append(f'<path d="{outline}" fill="{ink}" fill-opacity=".38" fill-rule="evenodd"/>')
        x, y, w, h = row["bbox"]
        shapes.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="none" stroke="{ink}"/>')
        shapes.append(_skeleton(row.get("keypoints") or (), font))
    for row in reversed(shown):  # the surest first: its label gets the best place
        name = names.get(row["category_id"], str(row["category_id"]))
        text = f"{name} {row['score']:.2f}" if "score" in row else name
        x, y, w, h = row["bbox"]
        high = 1.45 * font
        labels.append(_label(text, x, (y - high, y, y + h, y + h - high), size, colour(row["category_id"]), taken))
    return _svg(size, font, [*shapes, *labels])


def regions(ids: np.ndarray, kinds: Mapping[int, int], names: Mapping[int, str], void: int = 0) -> str:
    """An <img> and an <svg> of a map of regions.

    ids: (H, W) int, the region of every pixel, `void` where there is none; kinds: region -> category id;
    names: category id -> name. Things of one category differ in lightness, categories in hue.
    """
    import cv2
    from PIL import Image

    height, width = ids.shape
    present, flat = np.unique(ids, return_inverse=True)
    inks = np.zeros((len(present), 4), np.uint8)
    for i, region in enumerate(present.tolist()):
        if region != void and region in kinds:
            inks[i] = (*colour(kinds[region], shade=int(region) % 3), 150)
    flat = flat.reshape(ids.shape)
    tint = inks[flat]
    edge = np.zeros(ids.shape, bool)
    edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edge[1:] |= ids[1:] != ids[:-1]
    tint[edge] = (255, 255, 255, 210)
    buffer = io.BytesIO()
    Image.fromarray(tint).save(buffer, "webp", lossless=True, method=4)
    labels, font = [], _font((width, height))
    taken: list[Any] = []
    areas = np.bincount(flat.ravel(), minlength=len(present))
    for i in np.argsort(-areas):
        region = int(present[i])
        if region == void or region not in kinds or areas[i] < 0.006 * ids.size:
            continue
        inner = cv2.distanceTransform(np.pad((flat == i).astype(np.uint8), 1), cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(inner.argmax()), inner.shape)  # the middle of the widest part
        name = names.get(kinds[region], str(kinds[region]))
        left = float(x) - 0.3 * font * len(name)
        rows = [float(y) + step * font for step in (-0.7, 0.8, -2.2)]
        labels.append(_label(name, left, rows, (width, height), colour(kinds[region]), taken))
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (f'<img decoding="sync" alt="" src="data:image/webp;base64,{data}">' + _svg((width, height), font, labels))


def colour(category: int, shade: int = 0) -> tuple[int, int, int]:
    """A bright colour of a category, the same everywhere; neighbours in number are far apart in hue.

    The numbers that golden steps of hue bring back to the same hue (13, 21, 34 apart) differ in lightness.
    """
    shade = (category // 3 + shade) % 3
    red, green, blue = colorsys.hsv_to_rgb((0.08 + 0.381966 * category) % 1.0, 0.72 - 0.16 * shade, 0.95 - 0.12 * shade)
    return round(255 * red), round(255 * green), round(255 * blue)


def hexadecimal(ink: Sequence[int]) -> str:
    """#rrggbb."""
    return "#" + "".join(f"{channel:02x}" for channel in ink)


def shrunk(picture: np.ndarray, widest: int) -> np.ndarray:
    """(H', W', 3) uint8: at most `widest` pixels wide."""
    from PIL import Image

    height, width = picture.shape[:2]
    if width <= widest:
        return picture
    return np.asarray(Image.fromarray(picture).resize((widest, max(1, round(height * widest / width))),
                                                      Image.Resampling.LANCZOS))  # fmt: skip


def webp(picture: np.ndarray, quality: int = 88) -> bytes:
    """The picture as a small file for a page."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "webp", quality=quality, method=4)
    return buffer.getvalue()


def _svg(size: Size, font: float, parts: Sequence[str]) -> str:
    return (f'<svg viewBox="0 0 {size[0]} {size[1]}" font-size="{font:.3g}" stroke-width="2" aria-hidden="true">'
            + "".join(parts) + "</svg>")  # fmt: skip


def _font(size: Size) -> float:
    """Pixels of the picture; shown some 800 wide, letters are some 16 high."""
    return max(size[0] / 50, size[1] / 56, 1.0)


def _outline(shape: Any, size: Size) -> str:
    """The path of an RLE mask; "" of anything else. Corners nearer than a third of a thousandth are left out."""
    if not (isinstance(shape, dict) and isinstance(shape.get("counts"), str | bytes)):
        return ""
    import cv2
    from pycocotools import mask as coder

    found, _ = cv2.findContours(coder.decode(shape), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)  # type: ignore[arg-type]
    lines = [cv2.approxPolyDP(contour, max(size) / 1200, True)[:, 0] for contour in found]
    return "".join("M" + "L".join(f"{x} {y}" for x, y in line.tolist()) + "Z" for line in lines if len(line) > 2)


def _skeleton(keypoints: Sequence[float], font: float) -> str:
    """Circles at the keypoints that are seen, and limbs between COCO's."""
    points = [(x, y) if seen > 0 else None for x, y, seen in zip(*[iter(keypoints)] * 3, strict=True)]
    limbs = [(points[a], points[b]) for a, b in LIMBS] if len(points) == 17 else []
    lines = [f'<path d="M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}" stroke="#fff"/>' for a, b in limbs if a and b]
    dots = [f'<circle cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="{font / 4:.2g}" fill="#fff" stroke="#000" stroke-width="1"/>'
            for p in points if p]  # fmt: skip
    return "".join([*lines, *dots])


def _label(text: str, x: float, places: Sequence[float], size: Size, ink: Sequence[int], taken: list[Any]) -> str:
    """At the first of the heights `places` that is free; else left out."""
    font = _font(size)
    width, height = font * (0.56 * len(text) + 0.6), 1.45 * font
    column = min(max(0, x), max(0, size[0] - width))
    for row in places:
        place = (column, row, column + width, row + height)
        if row >= 0 and row + height <= size[1] and not any(_meet(place, other) for other in taken):
            taken.append(place)
            bright = 0.299 * ink[0] + 0.587 * ink[1] + 0.114 * ink[2] > 115
            return (f'<rect x="{column:.1f}" y="{row:.1f}" width="{width:.1f}" height="{height:.1f}" '
                    f'fill="{hexadecimal(ink)}"/><text x="{column + 0.3 * font:.1f}" y="{row + 1.06 * font:.1f}" '
                    f'fill="{"#000" if bright else "#fff"}">{html.escape(text)}</text>')  # fmt: skip
    return ""


def _meet(a: Any, b: Any) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
