"""What stands in the way: trees, lamp posts, bollards, benches, bins. They hide objects and belong to stuff classes."""

from __future__ import annotations

import numpy as np

from eval.scenes.labels import BUILDING, VEGETATION
from eval.scenes.shape import Shape


def tree(rng: np.random.Generator) -> Shape:
    shape = Shape(grain=0.28)
    tall, wide = rng.uniform(3.5, 7.5), rng.uniform(0.9, 2.0)
    bark = np.array([0.30, 0.24, 0.19]) * rng.uniform(0.7, 1.2)
    stem = tall * rng.uniform(0.4, 0.55)
    shape.limb(np.array([0, 0, 0.0]), np.array([rng.uniform(-0.2, 0.2), 0, stem]), 0.17, 0.11, bark)
    leaf = np.array([0.20, 0.33, 0.13]) * rng.uniform(0.75, 1.35) + rng.uniform(-0.03, 0.05, 3)
    places = rng.normal(size=(46, 3)) * (wide * 0.45, wide * 0.45, wide * 0.42)
    for place in places[np.argsort(places[:, 2])]:  # the lit tops last
        centre = place + (0, 0, stem + wide * 0.6)
        radius = wide * rng.uniform(0.10, 0.24)
        shape.limb(centre, centre + (0.1, 0, 0.1), radius, radius, leaf * (0.8 + 0.35 * place[2] / wide))
    return shape


def bush(rng: np.random.Generator) -> Shape:
    shape = Shape(grain=0.3)
    leaf = np.array([0.19, 0.31, 0.13]) * rng.uniform(0.75, 1.35)
    wide, tall = rng.uniform(0.5, 1.1), rng.uniform(0.5, 1.0)
    places = rng.uniform(-1, 1, (14, 3)) * (wide, wide, tall * 0.4)
    for place in places[np.argsort(places[:, 2])]:
        shape.limb(place + (0, 0, tall * 0.5), place + (0.05, 0, tall * 0.5), 0.3 * tall + 0.1, 0.3 * tall, leaf)
    return shape


def lamp_post(rng: np.random.Generator) -> Shape:
    shape, tall = Shape(), rng.uniform(4.5, 7)
    grey = np.full(3, rng.uniform(0.15, 0.5))
    shape.limb(np.zeros(3), np.array([0, 0, 0.5]), 0.13, 0.11, grey)
    shape.limb(np.array([0, 0, 0.4]), np.array([0, 0, tall]), 0.075, 0.05, grey)
    shape.limb(np.array([0, 0, tall]), np.array([1.1, 0, tall + 0.15]), 0.05, 0.09, grey)
    if rng.random() < 0.4:
        sign = np.array([0.75, 0.1, 0.1]) if rng.random() < 0.5 else np.array([0.1, 0.25, 0.6])
        shape.limb(np.array([0.02, 0, 2.4]), np.array([0.02, 0, 2.4]), 0.3, 0.3, sign)
    return shape


def bollard(rng: np.random.Generator) -> Shape:
    shape, tone = Shape(), np.full(3, rng.uniform(0.15, 0.6))
    for y in np.arange(rng.integers(1, 4)) * 1.3:
        shape.limb(np.array([0, y, 0.05]), np.array([0, y, 0.85]), 0.09, 0.085, tone)
        shape.limb(np.array([0, y, 0.72]), np.array([0, y, 0.74]), 0.094, 0.094, np.full(3, 0.85))
    return shape


def bench(rng: np.random.Generator) -> Shape:
    shape, wood = Shape(grain=0.12), np.array([0.46, 0.32, 0.20]) * rng.uniform(0.7, 1.2)
    for y in (-0.8, 0.8):
        shape.stroke(np.array([[0.2, y, 0], [0.2, y, 0.44], [-0.2, y, 0.44], [-0.25, y, 0.0]]), 0.04, np.full(3, 0.15))
    for x, z in ((-0.28, 0.85), (-0.26, 0.7), (-0.22, 0.57), (-0.1, 0.46), (0.05, 0.46), (0.2, 0.46)):
        shape.stroke(np.array([[x, -0.95, z], [x, 0.95, z]]), 0.055, wood * (0.9 + 0.1 * (z > 0.5)))
    return shape


def rubbish_bin(rng: np.random.Generator) -> Shape:
    shape, tone = Shape(grain=0.1), np.array([0.15, 0.3, 0.18]) * rng.uniform(0.5, 1.7)
    shape.limb(np.array([0, 0, 0.3]), np.array([0, 0, 0.85]), 0.26, 0.3, tone)
    shape.limb(np.array([0, 0, 0.98]), np.array([0, 0, 1.0]), 0.31, 0.28, tone * 0.5)
    return shape


PROPS = {"tree": (tree, VEGETATION), "bush": (bush, VEGETATION), "lamp_post": (lamp_post, BUILDING),
         "bollard": (bollard, BUILDING), "bench": (bench, BUILDING), "rubbish_bin": (rubbish_bin, BUILDING)}
"""name -> (builder of its shape, category id)"""
