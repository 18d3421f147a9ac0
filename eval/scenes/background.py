"""The still part of a scene: ground, walls and sky, one ray a pixel.

    rays -> ground (road, pavement, grass) | left, right, end wall (facade, hedge) | sky -> albedo, light, labels

Shapes: colours (3, H, W) or (3, n) float32, planes first because numpy broadcasts a last axis of three slowly;
labels (H, W) int32 of category ids, ground (H, W) bool.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.scenes.labels import BUILDING, PAVEMENT, ROAD, SKY, VEGETATION
from eval.scenes.texture import band, pulse, rgb, sample, slope
from eval.scenes.world import Camera, Light, Street


@dataclass(frozen=True)
class Background:
    lit: np.ndarray      # (3, H, W) in full light
    shaded: np.ndarray   # (3, H, W) where a shadow falls
    labels: np.ndarray
    ground: np.ndarray


def _blend(base: np.ndarray, colour: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return base + (_flat(colour, amount) - base) * amount


def _flat(colour: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A single colour (3,) as planes that broadcast over a map; maps of colours stay."""
    return colour.reshape(3, *[1] * like.ndim) if colour.ndim == 1 else colour


def _road(street: Street, u: np.ndarray, v: np.ndarray, fu: np.ndarray, fv: np.ndarray,
          rng: np.random.Generator) -> np.ndarray:
    """Colour of asphalt (3, n) at street coordinates (n,) with their footprints."""
    far, half = np.maximum(fu, fv), street.road / 2
    asphalt = float(rng.uniform(0.34, 0.50)) + rng.uniform(-0.02, 0.02, 3).astype(np.float32)
    moved = v + np.float32(rng.uniform(0, 400))
    wear = 0.05 * sample(1.6, u, moved, 9, far) + 0.07 * sample(0.3, u, moved, 60, far, 1)
    road = asphalt[:, None] + (wear + 0.02 * np.cos(u * (4 * np.pi / max(street.road, 1))))
    patch = sample(2.0, u, moved, 12, 0.0, 2)
    road = _blend(road, asphalt * 0.72, 0.6 * np.clip((patch - rng.uniform(1.0, 2.2)) / 0.02, 0, 1))
    paint = rng.uniform(0.66, 0.85)
    marks = band(u, -0.07, 0.07, fu) * pulse(v / 6, 0.5, fv / 6)
    marks = np.maximum(marks, band(np.abs(u), half - 0.45, half - 0.33, fu) * rng.integers(0, 2))
    if np.isfinite(street.zebra):
        marks = np.maximum(marks, band(v, street.zebra - 1.6, street.zebra + 1.6, fv) * pulse(u, 0.5, fu)
                           * band(np.abs(u), -1, half - 0.3, fu))
    worn = np.clip(0.85 + 0.18 * sample(0.8, u, moved, 30, far, 3), 0, 1)
    return _blend(road, rgb(paint, paint, paint), (marks * worn).astype(np.float32))


def _pavement(street: Street, u: np.ndarray, v: np.ndarray, fu: np.ndarray, fv: np.ndarray,
              rng: np.random.Generator) -> np.ndarray:
    """Colour of slabs (3, n), the kerb included."""
    far, half = np.maximum(fu, fv), street.road / 2
    tile, joint = rng.uniform(0.4, 1.1), rng.uniform(0.05, 0.12)
    stone = (rng.uniform(0.46, 0.68) + rng.uniform(-0.05, 0.05) * np.array([1, 0, -1])).astype(np.float32)
    shift = np.floor(v / tile) * np.float32(0.5 * rng.integers(0, 2))
    joints = np.maximum(pulse(u / tile + shift, joint, fu / tile), pulse(v / tile, joint, fv / tile))
    cells = np.sin(np.floor(u / tile + shift) * np.float32(12.99) + np.floor(v / tile) * np.float32(78.23)) * 438.5
    tone = (cells - np.floor(cells) - 0.5) / np.maximum(1, 2 * far / tile)
    grain = 0.04 * sample(1.2, u, v, 25, far, 4) + 0.04 * sample(0.2, u, v, 80, far, 5)
    slabs = stone[:, None] + (0.10 * tone + grain - 0.16 * joints)
    return _blend(slabs, stone * 1.2, band(np.abs(u) - half, 0, 0.22, fu) * (half > 0))


def _ground(street: Street, u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    fu, fv = slope(u), slope(v)
    half = street.road / 2
    edge = np.where(u < 0, street.left, street.right) - np.abs(u)
    hedged = np.where(u < 0, street.walls[0] != "building", street.walls[1] != "building")
    soft = np.float32(0.25) * sample(1.0, u, v, 10, np.maximum(fu, fv), 8)
    on_road = np.abs(u) < half
    green = ~on_road & (edge + soft < street.verge + 1.2 * hedged)
    labels = np.where(on_road, ROAD, np.where(green, VEGETATION, PAVEMENT))
    colour = np.empty((3, *u.shape), np.float32)
    tint = float(rng.uniform(0.8, 1.2))
    for label, painter in ((ROAD, _road), (PAVEMENT, _pavement)):  # each only where it lies: half of the work
        where = labels == label
        if where.any():
            colour[:, where] = painter(street, u[where], v[where], fu[where], fv[where], rng)
    if green.any():
        a, b, far = u[green], v[green], np.maximum(fu, fv)[green]
        blades = 0.26 * sample(0.9, a, b, 40, far, 6) + 0.26 * sample(0.2, a, b, 90, far, 7)
        colour[:, green] = rgb(0.27, 0.38, 0.17)[:, None] * tint * np.maximum(0.1, 1 + blades)
    return colour, labels


def _facade(s: np.ndarray, z: np.ndarray, normal: np.ndarray, light: Light,
            rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Colour of a row of houses, s along the wall, z up, metres; and how high each house is. Lit windows are as
    much brighter as the light on their wall is dark."""
    fs, fz = slope(s), slope(z)
    far = np.maximum(fs, fz)
    width = rng.uniform(7, 15)
    table = 64
    house = np.floor(s / width).astype(np.int32) % table
    hue = (rng.uniform(0.32, 0.78, (table, 1)) + rng.uniform(-0.11, 0.11, (table, 3)) * rgb(1, 0.5, -1)).T
    roof = rng.uniform(5.5, 17, table).astype(np.float32)
    bricks = rng.random(table).astype(np.float32) > 0.45
    bay, duty = (1 / rng.uniform(1.5, 3.2, table)).astype(np.float32), rng.uniform(0.35, 0.6)
    wall = np.ascontiguousarray(hue, np.float32)[:, house]
    grain = 0.04 * sample(1.0, s, z, 20, far, 9) + 0.03 * sample(0.1, s, z, 70, far, 10)
    courses = np.maximum(pulse(z / 0.24, 0.2, fz / 0.24), pulse(s / 0.5 + 0.5 * np.floor(z / 0.24), 0.1, fs / 0.5))
    wall = wall * (1 + grain - 0.22 * courses * bricks[house])
    floor = 3.0
    along, up = s * bay[house], z / floor
    window = pulse(along - 0.5 + duty / 2, duty, fs * bay[house]) * pulse(up - 0.3, 0.5, fz / floor)
    frame = pulse(along - 0.5 + duty / 2 + 0.05, duty + 0.1, fs * bay[house]) * pulse(up - 0.27, 0.56, fz / floor)
    shop = z < floor  # the ground floor has wider panes and doors
    pane = pulse(s / 2.7, 0.72, fs / 2.7) * band(z, 0.45, 2.35, fz)
    window = np.where(shop, pane, window)
    frame = np.where(shop, pane, frame)
    pick = (np.floor(along + duty / 2 - 0.0).astype(np.int32) * 31 + np.floor(up - 0.2).astype(np.int32) * 57) % 256
    glass = (rng.uniform(0.10, 0.36, (256, 1)) * rgb(0.85, 0.97, 1.1)).astype(np.float32).T
    lit = ((rng.random(256) < 0.45)[:, None] * rgb(0.95, 0.75, 0.42) * rng.uniform(0.3, 1.0, (256, 1)))
    reflection = 0.12 * sample(1.5, s, z, 14, far, 11)
    wall = _blend(wall, rgb(0.82, 0.80, 0.76) * rng.uniform(0.6, 1.1), frame)
    wall = _blend(wall, glass[:, pick] + np.abs(reflection), window)
    wall = _blend(wall, rgb(0.3, 0.29, 0.28), band(z, 2.85, 3.05, fz) * 0.7)
    wall = wall * (1 - 0.35 * np.exp(-np.maximum(z, 0) / 0.35))
    if light.night:
        wall = wall + window * lit.astype(np.float32).T[:, pick] / _flat(light.factor(normal[None])[0], z)
    return wall, roof[house]


def _hedge(s: np.ndarray, z: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    far = np.maximum(slope(s), slope(z))
    tall = rng.uniform(1.6, 6.5)
    top = tall * (1 + 0.16 * sample(1.3, s, 0 * z, 10, 0.0, 12)) + 0.3 * sample(0.6, s, z, 16, far, 13)
    leaves = 0.24 * sample(0.8, s, z, 26, far, 14) + 0.20 * sample(0.1, s, z, 55, far, 15)
    green = rgb(0.20, 0.31, 0.13) * float(rng.uniform(0.75, 1.3)) + rng.uniform(-0.03, 0.03, 3).astype(np.float32)
    return _flat(green, z) * np.maximum(0.15, 1 + 1.5 * leaves + 0.5 * (z / tall - 0.6)), top


def paint(camera: Camera, street: Street, light: Light, rng: np.random.Generator) -> Background:
    """The picture without its objects, in light and in shadow."""
    dx, dy, dz = camera.rays()
    ground = dz < -1e-3
    reach = np.minimum(camera.height / np.maximum(-dz, np.float32(1e-3)), np.float32(200))
    u, v = (x.astype(np.float32) for x in street.to_street(dx * reach, dy * reach))
    first = int(np.argmax(ground[:, 0]))  # the camera has no roll: the horizon is a row
    lit, labels = np.zeros((3, *dz.shape), np.float32), np.full(dz.shape, SKY, np.int32)
    lit[:, first:], labels[first:] = _ground(street, u[first:], v[first:], rng)
    up = np.array([[0.0, 0.0, 1.0]])
    shaded = lit * _flat(light.factor(up, 0.12)[0], dz)
    lit *= _flat(light.factor(up)[0], dz)
    if first:
        high, flat = dz[:first], 1 / (np.abs(dz[:first]) + np.float32(0.12))
        clouds = np.clip(sample(1.7, dx[:first] * flat, flat, 24, 0.0, 16), -1.5, 2)
        low, zenith = light.sky_low.astype(np.float32), light.sky_high.astype(np.float32)
        sky = _blend(_flat(low, high), zenith, np.clip(high / 0.45, 0, 1)) + 0.07 * (1 - light.night) * clouds
        lit[:, :first] = shaded[:, :first] = sky
    depth = np.where(ground, reach, np.float32(1e9))

    s, c = float(np.sin(street.yaw)), float(np.cos(street.yaw))
    across, along = dx * c - dy * s, dx * s + dy * c
    sides = ((-street.left - street.axis, across, along, (c, -s, 0)),
             (street.right - street.axis, across, along, (-c, s, 0)),
             (street.end, along, across, (-s, -c, 0)))
    for (where, toward, beside, normal), kind in zip(sides, street.walls, strict=True):
        if kind == "none":
            continue
        t = where / np.where(np.abs(toward) < 1e-4, np.float32(1e-4), toward)
        z = camera.height + t * dz
        hit = (t > 0.5) & (t < 200) & (t < depth) & (z >= 0) & (z < 18)
        rows, columns = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
        if rows.size < 2 or columns.size < 2:
            continue
        box = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]  # the rest of the picture costs nothing
        t = np.clip(t[box], 0.5, 200)
        z, place = np.clip(z[box], -1, 30), beside[box] * t
        facing = np.array(normal, float)
        wall, top = _facade(place, z, facing, light, rng) if kind == "building" else _hedge(place, z, rng)
        seen = hit[box] & (z < top)
        value = wall * _flat(light.factor(facing[None])[0], z)
        for target, source in ((lit, value), (shaded, value), (depth, t),
                               (labels, BUILDING if kind == "building" else VEGETATION), (ground, False)):
            np.copyto(target[(..., *box)], source, where=seen)
    lamp_x, lamp_y = float(rng.uniform(-6, 6)), float(rng.uniform(9, 20))
    lamp = np.exp(-((dx * reach - lamp_x) ** 2 + (dy * reach - lamp_y) ** 2) / 60) if light.night else dx
    haze = ((1 - np.exp(np.minimum(depth, 200) / -260)) * (labels != SKY)).astype(np.float32)
    for target in (lit, shaded):
        if light.night:
            target *= 1 + 1.9 * np.where(ground, lamp, np.float32(0.25)) * _flat(rgb(1.0, 0.85, 0.6), dz)
        target += (_flat(light.sky_low.astype(np.float32), dz) - target) * haze
    return Background(lit, shaded, labels, ground)
