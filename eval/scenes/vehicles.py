"""Cars of several bodies, and bicycles.

A car is a side profile drawn out to its width (the lower body), a tapered cabin on it, and details on their faces;
both are convex, so culling the faces turned away and painting lower body, wheels, cabin in that order is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.scenes.people import clothes
from eval.scenes.shape import CIRCLE, Shape

# length, width, height, sill of the windows, then along the length (0 rear, 1 front): cabin at its base, at its roof
BODIES = {
    "sedan": (4.5, 1.80, 1.44, 0.92, (0.12, 0.74), (0.27, 0.57)),
    "hatchback": (3.9, 1.72, 1.48, 0.93, (0.02, 0.74), (0.10, 0.56)),
    "estate": (4.6, 1.80, 1.48, 0.93, (0.01, 0.73), (0.07, 0.57)),
    "suv": (4.6, 1.88, 1.72, 1.06, (0.01, 0.75), (0.07, 0.60)),
    "van": (4.9, 1.92, 2.05, 1.10, (0.005, 0.88), (0.02, 0.72)),
    "pickup": (5.1, 1.88, 1.76, 1.02, (0.38, 0.76), (0.42, 0.64)),
    "coupe": (4.3, 1.80, 1.32, 0.86, (0.10, 0.70), (0.30, 0.52)),
}
PAINT = np.array([[0.80, 0.81, 0.82], [0.60, 0.62, 0.64], [0.10, 0.10, 0.11], [0.30, 0.31, 0.33], [0.88, 0.87, 0.84],
                  [0.55, 0.08, 0.08], [0.12, 0.20, 0.45], [0.10, 0.28, 0.20], [0.72, 0.60, 0.20], [0.25, 0.45, 0.62],
                  [0.45, 0.35, 0.27], [0.80, 0.40, 0.12]])
PAINT_SHARE = np.array([6, 6, 6, 6, 4, 3, 3, 1.5, 1, 2, 1, 0.7])


@dataclass(frozen=True)
class Car:
    body: str
    paint: np.ndarray
    glass: np.ndarray
    scale: float
    roof: np.ndarray      # often the paint, sometimes black
    sign: bool            # a taxi's lamp
    rack: bool
    lights: float         # 0 off, 1 on


def make_car(rng: np.random.Generator, night: float) -> Car:
    paint = PAINT[rng.choice(len(PAINT), p=PAINT_SHARE / PAINT_SHARE.sum())] * rng.uniform(0.85, 1.12)
    roof = paint if rng.random() < 0.85 else np.array([0.08, 0.08, 0.09])
    return Car(str(rng.choice(list(BODIES), p=[0.24, 0.2, 0.14, 0.2, 0.1, 0.06, 0.06])), np.clip(paint, 0, 1),
               np.array([0.10, 0.13, 0.15]) * rng.uniform(0.6, 2.0), float(rng.uniform(0.93, 1.05)), roof,
               bool(rng.random() < 0.07), bool(rng.random() < 0.12), float(night or rng.random() < 0.25))


def _inset(quad: np.ndarray, s0: float, s1: float, t0: float, t1: float) -> np.ndarray:
    """Part of a quad (4, 3): s along its first edge, t from that edge to the opposite one."""
    a, b, c, d = quad
    return np.stack([(1 - t) * ((1 - s) * a + s * b) + t * ((1 - s) * d + s * c)
                     for s, t in ((s0, t0), (s1, t0), (s1, t1), (s0, t1))])


def _outward(quad: np.ndarray, centre: np.ndarray) -> np.ndarray:
    normal = np.cross(quad[1] - quad[0], quad[2] - quad[0])
    normal = normal / max(float(np.linalg.norm(normal)), 1e-9)
    return normal if normal @ (quad.mean(0) - centre) > 0 else -normal


def _wheel(shape: Shape, x: float, y: float, radius: float, outward: float) -> None:
    normal = None if outward == 0 else np.array([0, outward, 0.0])
    for r, grey in ((radius, 0.06), (radius * 0.66, 0.46), (radius * 0.52, 0.24), (radius * 0.2, 0.55)):
        ring = np.stack([x + r * CIRCLE[:, 0], np.full(len(CIRCLE), y), radius + r * CIRCLE[:, 1]], -1)
        shape.face(ring, np.full(3, grey), normal)


def car(c: Car) -> Shape:
    base, top = BODIES[c.body][4:]
    length, width, height, sill = (v * c.scale for v in BODIES[c.body][:4])
    shape, half = Shape(grain=0.025), width / 2
    radius = 0.32 * c.scale * (1.12 if c.body in ("suv", "pickup", "van") else 1)
    axles = ((0.2 - 0.5) * length, (0.82 - 0.5) * length)
    dark = np.array([0.05, 0.05, 0.055])
    shape.face(np.array([[x, y, 0.03] for x, y in ((-0.47, -0.9), (0.47, -0.9), (0.47, 0.9), (-0.47, 0.9))])
               * (length, half, 1), dark * 0.6)
    for axle in axles:  # the far wheels show below the body
        for y in (-half, half):
            _wheel(shape, axle, y * 0.94, radius, 0)
    # The side's outline, from the rear bumper over the boot and the bonnet to the front bumper.
    x = np.array([-0.49, -0.5, -0.495, -0.47, 0.30, 0.47, 0.5, 0.495]) * length
    nose = sill * (0.95 if c.body == "van" else 0.86)
    z = np.array([0.26, 0.52, 0.96 * sill, sill, sill, nose, 0.62 * sill, 0.24])
    centre = np.array([0, 0, 0.6])
    for sign in (-1, 1):
        normal = np.array([0, sign, 0.0])
        shape.face(np.stack([x, np.full(len(x), sign * half), z], -1), c.paint * 0.92, normal)
        low = np.array([[x[0], sign * half, z[0]], [x[-1], sign * half, z[-1]], [x[-2], sign * half, 0.42],
                        [x[1], sign * half, 0.42]])
        shape.face(low, c.paint * 0.68, normal)
        for axle in axles:  # arches
            arch = np.stack([axle + 1.18 * radius * CIRCLE[:, 0], np.full(len(CIRCLE), sign * half),
                             np.maximum(radius + 1.18 * radius * CIRCLE[:, 1], 0.2)], -1)
            shape.face(arch, dark, normal)
            _wheel(shape, axle, sign * (half + 0.01), radius, sign)
        for door in (0.02, 0.25) if c.body != "pickup" else (0.12,):
            shape.face(np.array([[door * length + dx, sign * half, zz] for dx, zz in
                                 ((0, 0.4), (0.025, 0.4), (0.025, sill), (0, sill))]), c.paint * 0.5, normal)
    for i in range(len(x)):
        j = (i + 1) % len(x)
        quad = np.array([[x[i], -half, z[i]], [x[i], half, z[i]], [x[j], half, z[j]], [x[j], -half, z[j]]])
        normal = _outward(quad, centre)
        shape.face(quad, c.paint, normal)
        if i in (1, 5):  # lamps, at the rear and in front
            front = i == 5
            lamp = np.array([0.95, 0.93, 0.85]) * (0.8 + 4 * c.lights) if front else \
                np.array([0.75, 0.06, 0.05]) * (0.8 + 3 * c.lights)
            for s0, s1 in ((0.04, 0.24), (0.76, 0.96)):
                shape.face(_inset(quad, s0, s1, 0.2, 0.85), lamp, normal)
            if front:
                shape.face(_inset(quad, 0.32, 0.68, 0.25, 0.9), dark, normal)
        if i in (0, 6):
            shape.face(_inset(quad, 0.36, 0.64, 0.35, 0.75), np.array([0.85, 0.85, 0.8]), normal)
    if c.body == "pickup":
        bed = np.array([[-0.47, -0.42], [-0.47, 0.42], [-0.14, 0.42], [-0.14, -0.42]])
        bed = np.stack([bed[:, 0] * length, bed[:, 1] * width, np.full(4, sill)], -1)
        shape.face(bed, dark * 1.4, np.array([0, 0, 1.0]))
    _cabin(shape, c, length, half, sill, height, base, top)
    return shape


def _cabin(shape: Shape, c: Car, length: float, half: float, sill: float, height: float,
           base: tuple[float, float], top: tuple[float, float]) -> None:
    inset = 0.12 if c.body == "van" else 0.2
    b0, b1, t0, t1 = ((f - 0.5) * length for f in (*base, *top))
    low = [np.array([x, y * (half - 0.03), sill]) for x, y in ((b0, -1), (b1, -1), (b1, 1), (b0, 1))]
    high = [np.array([x, y * (half - inset), height]) for x, y in ((t0, -1), (t1, -1), (t1, 1), (t0, 1))]
    centre = np.array([(b0 + b1) / 2, 0, (sill + height) / 2])
    for y in (-1, 1):  # mirrors: first, the cabin hides the far one
        shape.limb(np.array([b1 - 0.35, y * (half + 0.02), sill + 0.06]),
                   np.array([b1 - 0.3, y * (half + 0.14), sill + 0.08]), 0.07, 0.06, c.paint * 0.8)
    panes: dict[int, tuple[tuple[float, float], ...]]
    panes = {0: ((0.05, 0.33), (0.36, 0.63), (0.66, 0.93)), 2: ((0.07, 0.34), (0.37, 0.64), (0.67, 0.95))}
    if c.body == "van":
        panes = {0: ((0.72, 0.95),), 2: ((0.05, 0.28),)}
    if c.body in ("pickup", "coupe"):
        panes = {0: ((0.12, 0.5), (0.54, 0.9)), 2: ((0.1, 0.46), (0.5, 0.88))}
    sky = np.array([0.55, 0.62, 0.68])
    for i in range(4):
        j = (i + 1) % 4
        quad = np.stack([low[i], low[j], high[j], high[i]])
        normal = _outward(quad, centre)
        shape.face(quad, c.roof * 0.9 if i % 2 else c.paint, normal)
        for s0, s1 in panes.get(i, ((0.06, 0.94),)):
            shape.face(_inset(quad, s0, s1, 0.08, 0.86), c.glass, normal)
            shape.face(_inset(quad, s0, s0 + 0.55 * (s1 - s0), 0.48, 0.86), 0.7 * c.glass + 0.3 * sky, normal)
    up = np.array([0, 0, 1.0])
    shape.face(np.stack(high), c.roof * 1.02, up)
    shape.face(_inset(np.stack(high), 0.15, 0.85, 0.2, 0.8), np.clip(c.roof * 1.1, 0, 1), up)
    for y in (-1, 1) if c.rack else ():
        shape.stroke(np.array([[t0, y * (half - 0.25), height + 0.05], [t1, y * (half - 0.25), height + 0.05]]), 0.03,
                     np.full(3, 0.2))
    if c.sign:
        shape.limb(np.array([0, -0.12, height + 0.08]), np.array([0, 0.12, height + 0.08]), 0.08, 0.08,
                   np.array([1.0, 0.9, 0.4]))


@dataclass(frozen=True)
class Bicycle:
    colour: np.ndarray
    sport: bool
    basket: bool
    rack: bool


def make_bicycle(rng: np.random.Generator) -> Bicycle:
    return Bicycle(clothes(rng), bool(rng.random() < 0.4), bool(rng.random() < 0.3), bool(rng.random() < 0.4))


def bicycle(b: Bicycle, phase: float) -> Shape:
    shape, r = Shape(), 0.34
    black = np.array([0.07, 0.07, 0.075])
    hubs = [np.array([-0.52, 0, r]), np.array([0.54, 0, r])]
    for hub in hubs:
        ring = hub + r * np.stack([CIRCLE[:, 0], 0 * CIRCLE[:, 0], CIRCLE[:, 1]], -1)
        shape.veil(ring, np.array([0.45, 0.45, 0.46]))
    for hub in hubs:
        ring = hub + r * np.stack([CIRCLE[:, 0], 0 * CIRCLE[:, 0], CIRCLE[:, 1]], -1)
        shape.stroke(np.concatenate([ring, ring[:1]]), 0.026, black)
        for turn in np.arange(3) * np.pi / 3 + phase:
            spoke = 0.95 * r * np.array([np.cos(turn), 0, np.sin(turn)])
            shape.stroke(np.stack([hub - spoke, hub + spoke]), 0.004, np.full(3, 0.5))
    crank, seat, head = np.array([0.0, 0, 0.30]), np.array([-0.20, 0, 0.86]), np.array([0.40, 0, 0.82])
    fork = head + (-0.03, 0, 0.12)
    for points, radius in (((crank, hubs[0]), 0.016), ((seat, hubs[0]), 0.014), ((crank, seat), 0.022),
                           ((crank, head), 0.026), ((seat + (0.03, 0, -0.06), head), 0.024),
                           ((fork, hubs[1]), 0.022)):
        shape.stroke(np.stack(points), radius, b.colour)
    pedal = 0.17 * np.array([np.cos(phase), 0, np.sin(phase)])
    shape.stroke(np.stack([crank - pedal, crank + pedal]), 0.018, black)
    shape.stroke(np.stack([seat, seat + (-0.01, 0, 0.1)]), 0.016, np.full(3, 0.5))
    shape.limb(seat + (-0.10, 0, 0.11), seat + (0.10, 0, 0.12), 0.06, 0.03, black)
    bar = fork + (0.03, 0, 0.06 if not b.sport else 0.0)
    grips = ((-0.08, -0.27, 0), (0, -0.1, 0), (0, 0.1, 0), (-0.08, 0.27, 0))
    shape.stroke(bar + np.array(grips), 0.018, black)
    shape.stroke(np.stack([fork, bar]), 0.018, b.colour)
    if b.rack:
        shape.stroke(np.array([[-0.24, 0, 0.74], [-0.72, 0, 0.74], [-0.52, 0, r]]), 0.02, black)
    if b.basket:
        shape.limb(np.array([0.58, -0.08, 0.86]), np.array([0.58, 0.08, 0.86]), 0.15, 0.15, np.array([0.35, 0.28, 0.2]))
    return shape
