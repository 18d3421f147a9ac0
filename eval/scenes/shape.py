"""Objects as a few coloured solids in metres, and their picture: colour, opacity and outline, anti-aliased.

An object is a list of parts in the order in which they are painted:
    face    (n, 3) corners of a flat convex polygon; with an outward normal it is culled and lit
    limb    two balls and their hull: arms, legs, trunks
    stroke  a tube along (n, 3) points: frames, rims, posts
    veil    a face that lets most of the background through (spokes of a wheel) and yet belongs to the object
Local axes: x forward, y left, z up; the origin on the ground.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from eval.scenes.texture import noise, tiled
from eval.scenes.world import Camera, Light

CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 14, endpoint=False)),
                   np.sin(np.linspace(0, 2 * np.pi, 14, endpoint=False))], -1)
VEIL = 56  # opacity of a veil, of 255
UNKNOWN = (0.0, -0.7, 0.714)


@dataclass
class Shape:
    """Parts with their points gathered, so that one product projects them all."""

    points: list[np.ndarray] = field(default_factory=list)
    parts: list[tuple[str, int, int, np.ndarray, tuple[float, ...], np.ndarray | None]] = field(default_factory=list)
    count: int = 0
    grain: float = 0.05  # how strongly the surface's noise shows

    def _add(self, kind: str, points: np.ndarray, colour: np.ndarray, radii: tuple[float, ...] = (),
             normal: np.ndarray | None = None) -> None:
        points = np.asarray(points, float).reshape(-1, 3)
        self.parts.append((kind, self.count, self.count + len(points), np.asarray(colour, float), radii, normal))
        self.points.append(points)
        self.count += len(points)

    def face(self, points: np.ndarray, colour: np.ndarray, normal: np.ndarray | None = None) -> None:
        self._add("face", points, colour, (), normal)

    def veil(self, points: np.ndarray, colour: np.ndarray) -> None:
        self._add("veil", points, colour)

    def limb(self, a: np.ndarray, b: np.ndarray, ra: float, rb: float, colour: np.ndarray) -> None:
        self._add("limb", np.array([a, b]), colour, (ra, rb))

    def stroke(self, points: np.ndarray, radius: float, colour: np.ndarray) -> None:
        self._add("stroke", points, colour, (radius,))

    def placed(self, position: np.ndarray, heading: float) -> Shape:
        """Turned by `heading` (radians from X towards Y) and moved to `position` (2,) on the ground."""
        s, c = np.sin(heading), np.cos(heading)
        turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        points = np.concatenate(self.points) @ turn + (position[0], position[1], 0)
        parts = [(k, a, b, colour, r, None if n is None else n @ turn) for k, a, b, colour, r, n in self.parts]
        return Shape([points], parts, self.count, self.grain)


@dataclass(frozen=True)
class Patch:
    """What an object covers: colour (3, h, w) premultiplied, opacity and coverage (h, w) in [0, 1]; top left x, y."""

    x: int
    y: int
    colour: np.ndarray
    opacity: np.ndarray
    coverage: np.ndarray
    inside: float        # share of the object's box that lies within the picture


def _hull(a: np.ndarray, b: np.ndarray, ra: float, rb: float) -> np.ndarray:
    balls = np.empty((2 * len(CIRCLE), 2), np.float32)
    balls[:len(CIRCLE)] = a + ra * CIRCLE
    balls[len(CIRCLE):] = b + rb * CIRCLE
    return cv2.convexHull(balls)[:, 0]


def _outline(part: tuple, pixels: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, float]:
    """Polygon (n, 2) in pixels and, for a stroke, its width."""
    kind, a, b, _, radii, _ = part
    if kind == "limb":
        return _hull(pixels[a], pixels[a + 1], radii[0] * scale[a], radii[1] * scale[a + 1]), 0.0
    return pixels[a:b], radii[0] * (scale[a] + scale[b - 1]) if kind == "stroke" else 0.0


def rasterise(shape: Shape, camera: Camera, light: Light, grain: int = 0) -> Patch | None:
    """The object's picture, or None where it is out of sight. `grain` picks the noise of its surface."""
    points = np.concatenate(shape.points)
    pixels, depth = camera.project(points)
    scale = camera.focal / depth
    eye = np.array([0, 0, camera.height])
    # What has no normal is lit as the side one sees, half from above.
    factors = light.factor(np.array([UNKNOWN if part[5] is None else part[5] for part in shape.parts]))
    colours = np.array([part[3] for part in shape.parts]) * factors
    toned = np.minimum(colours * (1.06 + 0.35 * light.sun_rgb.mean()), 1)
    shift = np.array([light.sun[0], -abs(light.sun[2]) * 0.5]) * 0.38
    drawn = []
    for part, colour, tone in zip(shape.parts, np.minimum(colours, 1), toned, strict=True):
        kind, a, b, _, _, normal = part
        if normal is not None and normal @ (eye - points[a]) <= 0:
            continue
        polygon, width = _outline(part, pixels, scale)
        drawn.append((kind, polygon, width, colour))
        if kind == "limb" and scale[a] * part[4][0] > 1.5:  # a second, brighter tone towards the sun
            ra, rb = part[4][0] * scale[a], part[4][1] * scale[a + 1]
            polygon = _hull(pixels[a] + ra * shift, pixels[a + 1] + rb * shift, 0.55 * ra, 0.55 * rb)
            drawn.append((kind, polygon, 0.0, tone))
    if not drawn:
        return None
    corners = np.concatenate([p for _, p, _, _ in drawn])
    pad = max(w for _, _, w, _ in drawn) / 2 + 1
    low, high = corners.min(0) - pad, corners.max(0) + pad
    x0, y0 = np.maximum(np.floor(low), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(high), (camera.width, camera.height_px)).astype(int)
    if x1 - x0 < 1 or y1 - y0 < 1:
        return None
    inside = float((x1 - x0) * (y1 - y0) / max(np.prod(high - low), 1e-6))
    times = 4 if max(x1 - x0, y1 - y0) < 90 else 3 if max(x1 - x0, y1 - y0) < 180 else 2
    corner = np.array([x0, y0])
    canvas = np.zeros(((y1 - y0) * times, (x1 - x0) * times, 4), np.uint8)
    for kind, polygon, width, colour in drawn:
        # Four fractional bits; half a pixel because pixel centres lie at .5 in the camera's coordinates.
        fixed = (((polygon - corner) * times - 0.5) * 16).round().astype(np.int32)
        r, g, b = (255 * colour * (VEIL / 255 if kind == "veil" else 1)).tolist()
        value = (r, g, b, VEIL if kind == "veil" else 255)
        if kind == "stroke":
            cv2.polylines(canvas, [fixed], False, value, max(1, round(width * times)), cv2.LINE_8, 4)
        else:
            cv2.fillPoly(canvas, [fixed], value, cv2.LINE_8, 4)
    size = (x1 - x0, y1 - y0)
    coverage = cv2.resize((canvas[..., 3] > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    red, green, blue, alpha = (np.float32(1 / 255) * p for p in cv2.split(cv2.resize(canvas, size,
                                                                                      interpolation=cv2.INTER_AREA)))
    fabric = tiled(noise(0.7), np.random.default_rng(grain), (y1 - y0, x1 - x0))
    colour = np.stack([red, green, blue]) * np.maximum(1 + shape.grain * fabric, np.float32(0.1))
    return Patch(int(x0), int(y0), colour, alpha, coverage, min(1.0, inside))


def shadow(shape: Shape, camera: Camera, light: Light, mask: np.ndarray) -> None:
    """Adds the object's shadow on flat ground to `mask` (H, W) uint8."""
    points = np.concatenate(shape.points)
    fallen = points.copy()
    fallen[:, :2] -= points[:, 2:] * light.sun[None, :2] / light.sun[2]
    fallen[:, 2] = 0
    seen = (fallen - (0, 0, camera.height)) @ camera.axes[2] > 0.5
    pixels, depth = camera.project(fallen)
    pixels = np.clip(pixels, -8000, 8000)
    scale = camera.focal / depth
    whole = bool(seen.all())
    for part in shape.parts:
        kind, a, b, _, _, _ = part
        if kind == "veil" or not (whole or seen[a:b].all()):
            continue
        polygon, width = _outline(part, pixels, scale)
        fixed = (polygon * 16 - 8).round().astype(np.int32)
        if kind == "stroke":
            cv2.polylines(mask, [fixed], False, (255,), max(1, round(width)), cv2.LINE_AA, 4)
        else:
            cv2.fillPoly(mask, [cv2.convexHull(fixed)], (255,), cv2.LINE_AA, 4)
