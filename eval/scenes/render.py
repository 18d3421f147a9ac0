"""A scene to a picture and its exact labels.

    background × shadows -> objects, far to near -> lens blur -> sensor noise -> uint8
                                  └─> segments: the nearest object that covers at least half of the pixel
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from eval.scenes.background import Background, paint
from eval.scenes.labels import CATEGORIES
from eval.scenes.scene import Item, Scene
from eval.scenes.shape import rasterise, shadow
from eval.scenes.texture import noise, tiled

FIRST_THING = 1000      # segment id of object number n is 1000 + n; a stuff segment has its category's id
MIN_PIXELS = 20         # objects of which less is seen are marked `ignored` (COCO's iscrowd)
MIN_VISIBLE = 0.2       # the same for the share of the object that is seen
THINGS = {c["id"] for c in CATEGORIES if c["isthing"]}


@dataclass(frozen=True)
class Instance:
    """One object in one picture. `box` is (x, y, width, height), tight around `mask` (H, W) bool, the visible part."""

    segment_id: int
    category_id: int
    track_id: int
    box: tuple[int, int, int, int]
    mask: np.ndarray
    ignored: bool

    @property
    def area(self) -> int:
        return int(self.mask.sum())


@dataclass(frozen=True)
class Picture:
    """image (H, W, 3) uint8 RGB; segments (H, W) int32 ids; `categories`: segment id -> category id, all of them."""

    index: int
    image: np.ndarray
    segments: np.ndarray
    categories: dict[int, int]
    instances: list[Instance]
    time_s: float = 0.0

    @property
    def semantic(self) -> np.ndarray:
        """(H, W) int32 category ids, of things and stuff."""
        numbers = np.array(sorted(self.categories))
        kinds = np.array([self.categories[n] for n in numbers.tolist()], np.int32)
        return kinds[np.searchsorted(numbers, self.segments)]


def _fall(scene: Scene, items: list[Item], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Cast shadows and contact shadows, each (H, W) float32 in [0, 1]."""
    cast, contact = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for item in items:
        if not scene.light.night:
            shadow(item.shape, scene.camera, scene.light, cast)
        points = np.concatenate(item.shape.points)
        low = points[points[:, 2] < 0.4].copy()
        if len(low) > 2:
            low[:, 2] = 0
            hull = cv2.convexHull(scene.camera.project(low)[0].astype(np.float32))
            cv2.fillPoly(contact, [np.round(hull * 16 - 8).astype(np.int32)], (255,), cv2.LINE_AA, 4)
    scale = 1 / np.float32(255)
    return (cv2.GaussianBlur(cast, (0, 0), 0.8) * scale,
            cv2.GaussianBlur(contact, (0, 0), 1.2 * shape[0] / 256) * scale)


def render(scene: Scene, background: Background, rng: np.random.Generator, index: int = 0, t: float = 0.0) -> Picture:
    """The picture at time t; rng makes the sensor's noise alone."""
    camera, light = scene.camera, scene.light
    items = scene.at(t)
    cast, contact = _fall(scene, items, background.labels.shape)
    cloud = 1 - 0.18 * (1 + np.sin(0.35 * t)) / 2 if t else 1.0  # passing clouds
    dark = np.where(background.ground, 1 - np.float32(cloud) * (1 - cast), np.float32(1 - cloud))
    image = background.lit + (background.shaded - background.lit) * dark
    image *= 1 - np.float32(0.42) * (contact * background.ground)
    segments = background.labels.copy()
    whole: dict[int, float] = {}
    inside: dict[int, float] = {}
    categories = {int(i): int(i) for i in np.flatnonzero(np.bincount(segments.ravel()))}
    for item in items:
        name = item.number + FIRST_THING if item.number else item.category
        patch = rasterise(item.shape, camera, light, name)
        if patch is None:
            continue
        h, w = patch.opacity.shape
        box = np.s_[patch.y:patch.y + h, patch.x:patch.x + w]
        part = image[(slice(None), *box)]
        part *= 1 - patch.opacity
        part += patch.colour
        covered = patch.coverage >= 0.5
        segments[box][covered] = name
        categories[name] = item.category
        whole[name] = whole.get(name, 0) + float(covered.sum())
        inside[name] = max(inside.get(name, 0), patch.inside)
    grain = noise(0.0, 3)
    planes = []
    for plane in image:
        noisy = cv2.GaussianBlur(plane, (0, 0), light.blur) * 255
        noisy += np.float32(light.noise) * tiled(grain, rng, segments.shape)
        planes.append(np.clip(noisy + 0.5, 0, 255).astype(np.uint8))
    values = cv2.merge(planes)

    instances = []
    present = {int(i) for i in np.flatnonzero(np.bincount(segments.ravel()))}
    for name in sorted(present):
        if categories[name] not in THINGS:
            continue
        mask = segments == name
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        area = int(mask.sum())
        ignored = area < MIN_PIXELS or area < MIN_VISIBLE * whole[name] or inside[name] < MIN_VISIBLE
        tight = (int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
        instances.append(Instance(name, categories[name], name - FIRST_THING, tight, mask, bool(ignored)))
    return Picture(index, values, segments, {i: categories[i] for i in sorted(present)}, instances, t)


def still(scene: Scene, rng: np.random.Generator) -> Background:
    """The scene's background, painted once for all its frames."""
    return paint(scene.camera, scene.street, scene.light, rng)
