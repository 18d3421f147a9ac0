"""Camera, light and street: what a scene has before anything moves in it.

World: metres, X right of the camera, Y ahead of it, Z up; the camera stands at (0, 0, height) and looks ahead and
down. The street is a strip of any direction: `u` across it (0 on its axis), `v` along it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole: `focal` in pixels, `height` in metres above the ground, `pitch` in radians downwards."""

    width: int
    height_px: int
    focal: float
    height: float
    pitch: float

    @cached_property
    def axes(self) -> np.ndarray:
        """(3, 3): rows right, down, forward, in the world."""
        s, c = np.sin(self.pitch), np.cos(self.pitch)
        return np.array([[1, 0, 0], [0, -s, -c], [0, c, -s]])

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (n, 3) to pixels (n, 2) and depths (n,); what lies behind is pushed to 0.3 m ahead."""
        local = (points - (0, 0, self.height)) @ self.axes.T
        depth = np.maximum(local[:, 2], 0.3)
        pixels = self.focal * local[:, :2] / depth[:, None] + (self.width / 2, self.height_px / 2)
        return pixels, depth

    def rays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """World directions (dx, dy, dz) through the centre of every pixel, each (H, W) float32, depth 1."""
        x = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal
        y = (np.arange(self.height_px) + 0.5 - self.height_px / 2) / self.focal
        s, c = np.sin(self.pitch), np.cos(self.pitch)
        dx, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        return dx, (c - s * down).astype(np.float32), (-s - c * down).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """Sun and sky. Colours are RGB factors on albedo; `sun` is the unit vector towards the sun."""

    sun: np.ndarray
    sun_rgb: np.ndarray
    ambient_rgb: np.ndarray
    sky_low: np.ndarray
    sky_high: np.ndarray
    night: float
    noise: float
    blur: float

    def factor(self, normals: np.ndarray, visible: float = 1.0) -> np.ndarray:
        """RGB light (n, 3) on faces with unit normals (n, 3); upward faces see more sky."""
        lambert = np.maximum(normals @ self.sun, 0)[:, None] * visible
        sky = (0.78 + 0.22 * normals[:, 2])[:, None]
        return (self.ambient_rgb * sky + self.sun_rgb * lambert).astype(np.float32)


@dataclass(frozen=True)
class Street:
    """A strip: direction `yaw` (0: away from the camera; pi/2: across), widths in metres, what borders it."""

    yaw: float
    axis: float          # u of the camera
    road: float          # width; 0 is a pedestrian square
    left: float          # |u| of the left wall
    right: float
    end: float           # v of the wall that closes the street
    walls: tuple[str, str, str]  # left, right, end: "building" | "hedge" | "none"
    verge: float         # width of grass before a wall
    zebra: float         # v of a crossing; nan where there is none

    def to_world(self, u: np.ndarray | float, v: np.ndarray | float) -> np.ndarray:
        """(…, 2) ground position of street coordinates."""
        s, c = np.sin(self.yaw), np.cos(self.yaw)
        u = np.asarray(u) - self.axis
        return np.stack(np.broadcast_arrays(u * c + v * s, -u * s + v * c), -1)

    def to_street(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s, c = np.sin(self.yaw), np.cos(self.yaw)
        return x * c - y * s + self.axis, x * s + y * c


def make_view(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Camera, Street]:
    """A camera and a street that fills at least half of its picture with ground between the walls."""
    for _ in range(12):
        camera, street = make_camera(rng, size), make_street(rng)
        x, y = np.meshgrid(np.linspace(-0.5, 0.5, 9) * size[0], np.linspace(-0.5, 0.5, 9) * size[1])
        rays = np.stack([x, y, np.full_like(x, camera.focal)], -1) @ camera.axes
        reach = camera.height / np.maximum(-rays[..., 2], 1e-3)
        u, v = street.to_street(rays[..., 0] * reach, rays[..., 1] * reach)
        if ((rays[..., 2] < 0) & (u > -street.left) & (u < street.right) & (v < street.end)).mean() > 0.5:
            break
    return camera, street


def make_camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    width, height = size
    unit = max(width, height * 1.5)  # the field of view follows the longer need, so any shape of picture works
    return Camera(width, height, unit * rng.uniform(0.95, 1.35), rng.uniform(3.2, 6.5), np.deg2rad(rng.uniform(11, 21)))


def make_street(rng: np.random.Generator) -> Street:
    layout = rng.choice(["along", "across", "diagonal", "square"], p=[0.3, 0.25, 0.27, 0.18])
    side = rng.choice([-1, 1])
    yaw = {"along": rng.uniform(0.0, 0.3), "across": rng.uniform(1.25, 1.57), "diagonal": rng.uniform(0.4, 1.1),
           "square": rng.uniform(0, 1.4)}[str(layout)] * side
    road = 0.0 if layout == "square" else rng.uniform(6.0, 9.5)
    left, right = (road / 2 + rng.uniform(3, 8) + (7 if layout == "square" else 0) for _ in range(2))
    if layout == "across":  # the camera stands before the near pavement and looks at the far wall
        axis = (road / 2 + rng.uniform(3.5, 9)) * side
        left, right = (abs(axis) + 4, right + 3) if side < 0 else (left + 3, abs(axis) + 4)
    else:  # whatever lies ahead is at smaller u when yaw is positive
        axis = rng.uniform(-0.4, 0.8) * side * min(left, right)
    kinds = ["building", "hedge", "none"]
    walls = tuple(str(rng.choice(kinds, p=[0.68, 0.22, 0.10])) for _ in range(3))
    return Street(float(yaw), float(axis), float(road), float(left), float(right), float(rng.uniform(32, 60)),
                  (walls[0], walls[1], walls[2]), float(rng.choice([0.0, rng.uniform(0.6, 2.0)])),
                  float(rng.uniform(10, 22)) if rng.random() < 0.4 else float("nan"))


def make_light(rng: np.random.Generator) -> Light:
    kind = str(rng.choice(["sun", "overcast", "low", "night"], p=[0.45, 0.27, 0.16, 0.12]))
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad({"sun": rng.uniform(30, 65), "overcast": 60,
                                                                "low": rng.uniform(12, 25), "night": 70}[kind])
    sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    tint = rng.uniform(-0.03, 0.03, 3)
    level = rng.uniform(1.1, 1.45)
    table = {  # sun, ambient, sky at the horizon, sky above
        "sun": ((0.72, 0.68, 0.60), (0.42, 0.46, 0.53), (0.80, 0.86, 0.93), (0.42, 0.60, 0.86)),
        "overcast": ((0.10, 0.10, 0.10), (0.76, 0.78, 0.81), (0.82, 0.84, 0.86), (0.66, 0.69, 0.74)),
        "low": ((0.78, 0.54, 0.34), (0.40, 0.40, 0.47), (0.93, 0.74, 0.56), (0.45, 0.50, 0.70)),
        "night": ((0.16, 0.14, 0.10), (0.26, 0.26, 0.31), (0.12, 0.12, 0.17), (0.04, 0.05, 0.09)),
    }
    sun_rgb, ambient, low, high = (np.array(c) * level for c in table[kind])
    night = float(kind == "night")
    return Light(sun, sun_rgb, ambient + tint, low, high, night,
                 float(rng.uniform(1.2, 4.0) + 2.5 * night), float(rng.uniform(0.3, 0.65)))
