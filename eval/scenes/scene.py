"""A scene: camera, street, light, what stands in it and who passes through; at any time, what there is to draw.

    seed -> rng -> view, light, props, actors;   Scene.at(t) -> [Item(number, category, shape, distance)]
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from eval.scenes.labels import BICYCLE, CAR, PERSON
from eval.scenes.people import Person, make_person, rider, walker
from eval.scenes.props import PROPS
from eval.scenes.shape import Shape
from eval.scenes.vehicles import Bicycle, Car, bicycle, car, make_bicycle, make_car
from eval.scenes.world import Camera, Light, Street, make_light, make_view

NEAR_M, FAR_M = 3.0, 36.0  # nearer fills the picture, farther is below some 20 pixels of 256


@dataclass(frozen=True)
class Item:
    """Something to draw: `number` names its object (0: stuff), several items may share it."""

    number: int
    category: int
    shape: Shape
    distance: float


@dataclass(frozen=True)
class Actor:
    """One object (two with a rider) on a straight path: at `place` (u, v) at time 0, along `heading` (world)."""

    number: int
    looks: Person | Car | Bicycle
    on_top: Person | None
    place: tuple[float, float]
    heading: float
    speed: float
    phase: float

    def position(self, street: Street, t: float) -> np.ndarray:
        start = street.to_world(*self.place)
        return start + self.speed * t * np.array([np.cos(self.heading), np.sin(self.heading)])


def _circles(looks: object, position: np.ndarray, heading: float) -> tuple[np.ndarray, float]:
    """Footprint as circles of one radius: centres (n, 2), metres."""
    ahead = np.array([np.cos(heading), np.sin(heading)])
    offsets, radius = ((-1.7, 0, 1.7), 1.15) if isinstance(looks, Car) else \
        ((-0.4, 0.4), 0.45) if isinstance(looks, Bicycle) else ((0.0,), 0.3)
    return position + np.outer(offsets, ahead), radius


@dataclass
class Scene:
    """Built by `make_scene`. `duration_s` is how long objects keep coming."""

    camera: Camera
    street: Street
    light: Light
    props: list[Item] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)

    def at(self, t: float) -> list[Item]:
        """Everything to draw at time t (seconds), farthest first."""
        items = list(self.props)
        for a in self.actors:
            position = a.position(self.street, t)
            distance = float(position @ (0, 1))
            _, v = self.street.to_street(position[0], position[1])
            if distance < NEAR_M or distance > 2 * FAR_M or v > self.street.end - 0.5:
                continue
            travelled = a.speed * t
            away = np.sin(a.heading)
            if isinstance(a.looks, Person):
                phase = a.phase + 2 * np.pi * travelled / (0.83 * a.looks.height * (1.5 if a.looks.running else 1))
                items.append(Item(a.number, PERSON, walker(a.looks, phase, away).placed(position, a.heading), distance))
            elif isinstance(a.looks, Car):
                items.append(Item(a.number, CAR, car(a.looks).placed(position, a.heading), distance))
            else:
                phase = a.phase + travelled / 0.34
                bike = Item(a.number, BICYCLE, bicycle(a.looks, phase).placed(position, a.heading), distance)
                if a.on_top is None:
                    items.append(bike)
                    continue
                left = np.array([-np.sin(a.heading), np.cos(a.heading)])
                near = 1 if left @ position < 0 else -1
                far, rest = (s.placed(position, a.heading) for s in rider(a.on_top, phase / 2.4, near))
                items += [Item(a.number + 1, PERSON, far, distance + 0.02), bike,
                          Item(a.number + 1, PERSON, rest, distance - 0.02)]
        return sorted(items, key=lambda item: -item.distance)


class _Placer:
    """Finds free, visible spots."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene, self.rng = scene, rng
        self.taken: list[tuple[np.ndarray, float]] = []

    def spot(self) -> tuple[float, float] | None:
        """Street coordinates (u, v) of visible ground, near and far alike."""
        camera, street, rng = self.scene.camera, self.scene.street, self.rng
        x = rng.uniform(-0.02, 1.02) * camera.width
        if rng.random() < 0.45:
            y = rng.uniform(0.1, 1.05) * camera.height_px
            ray = np.array([x - camera.width / 2, y - camera.height_px / 2, camera.focal]) @ camera.axes
            if ray[2] >= 0:
                return None
            where = ray[:2] * camera.height / -ray[2]
        else:
            depth = rng.uniform(5, FAR_M)
            where = np.array([(x - camera.width / 2) * depth / camera.focal, depth])
        u, v = (float(c) for c in street.to_street(*where))
        fits = NEAR_M + 1 < where[1] < FAR_M and -street.left + 0.5 < u < street.right - 0.5 and v < street.end - 2
        return (u, v) if fits else None

    def free(self, looks: object, place: tuple[float, float], heading: float) -> bool:
        """Claims the ground there unless something stands on it."""
        centres, radius = _circles(looks, self.scene.street.to_world(*place), heading)
        for other, its in self.taken:
            if np.min(np.linalg.norm(centres[:, None] - other[None], axis=-1)) < radius + its:
                return False
        self.taken.append((centres, radius))
        return True


def _path(placer: _Placer, looks: Person | Car | Bicycle, moving: bool) -> tuple[tuple[float, float], float] | None:
    """A place and a heading that suit the object: cars in lanes or at the kerb, people mostly on pavements."""
    street, rng = placer.scene.street, placer.rng
    along = np.pi / 2 - street.yaw
    half = street.road / 2
    for _ in range(40):
        place = placer.spot()
        if place is None:
            continue
        u, v = place
        heading = along + np.pi * rng.integers(0, 2) + rng.normal() * 0.05
        if isinstance(looks, Car):
            if half:
                if abs(u) > half + 1.5:
                    continue
                side = 1 if u > 0 else -1  # right-hand traffic
                u = side * (0.42 * half if moving else half + 0.35)  # parked with two wheels on the kerb
                heading = along + (0 if side > 0 else np.pi) + rng.normal() * 0.015
            else:
                heading = along + rng.choice([0, np.pi / 2]) + np.pi * rng.integers(0, 2) + rng.normal() * 0.1
        elif isinstance(looks, Bicycle) and half and moving and rng.random() < 0.7:
            side = 1 if u > 0 else -1
            u = side * (half - rng.uniform(0.6, 1.3))
            heading = along + (0 if side > 0 else np.pi) + rng.normal() * 0.04
        elif half and abs(u) < half + 0.4 and (isinstance(looks, Bicycle) or rng.random() < 0.8):  # few walk there
            continue
        elif rng.random() < (0.5 if not half else 0.25):
            heading = rng.uniform(0, 2 * np.pi)
        if placer.free(looks, (u, v), heading):
            return (u, v), float(heading)
    return None


def make_scene(rng: np.random.Generator, size: tuple[int, int], duration_s: float = 0.0) -> Scene:
    """A scene of `size` (width, height) whose actors all pass through its picture within `duration_s` seconds."""
    camera, street = make_view(rng, size)
    scene = Scene(camera, street, make_light(rng))
    placer = _Placer(scene, rng)
    for _ in range(int(rng.integers(0, 5))):
        place = placer.spot()
        if place is None or abs(place[0]) < street.road / 2 + 0.5:
            continue
        name = str(rng.choice(list(PROPS), p=[0.3, 0.15, 0.2, 0.13, 0.12, 0.1]))
        builder, category = PROPS[name]
        heading = rng.uniform(0, 2 * np.pi)
        if street.to_world(*place)[1] > 7 and placer.free(None, place, heading):
            shape = builder(rng).placed(street.to_world(*place), heading)
            scene.props.append(Item(0, category, shape, float(street.to_world(*place)[1])))
    crowd = rng.uniform(0.5, 1.5)
    passing = duration_s / 9  # a passer-by is in sight for about nine seconds
    cars, bikes, people = (int(rng.poisson(m * crowd)) for m in ((2.1 if street.road else 0.7), 1.7, 4.2))
    number = 1
    for category, count in ((CAR, cars), (BICYCLE, bikes), (PERSON, people + 1)):
        still = 0.45 if category != PERSON else 0.25
        for _ in range(count + int(rng.poisson(count * (1 - still) * passing)) if duration_s else count):
            moving = bool(rng.random() > still)
            looks: Person | Car | Bicycle
            on_top = None
            if category == CAR:
                looks, speed = make_car(rng, scene.light.night), rng.uniform(4, 6.5)
            elif category == BICYCLE:
                looks, speed = make_bicycle(rng), rng.uniform(2.6, 4.5)
                on_top = make_person(rng) if moving else None
            else:
                looks, speed = make_person(rng, not moving), rng.uniform(1.0, 1.6)
                speed *= 2.0 if looks.running else 1.0
            speed = float(speed * moving * (np.sign(duration_s)))
            found = _path(placer, looks, moving)
            if found is None:
                continue
            (u, v), heading = found
            if speed:  # it is at that spot at some moment of the clip
                start = street.to_world(u, v) - speed * rng.uniform(0, duration_s) * np.array([np.cos(heading),
                                                                                              np.sin(heading)])
                u, v = (float(c) for c in street.to_street(start[0], start[1]))
            scene.actors.append(Actor(number, looks, on_top, (u, v), heading, speed, float(rng.uniform(0, 2 * np.pi))))
            number += 2 if on_top is not None else 1
    return scene
