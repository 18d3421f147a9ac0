"""People: articulated bodies with varied build, clothes, hair, things carried, pose and gait; also riders.

    hips ─ knees ─ ankles ─ toes;  hips ─ shoulders ─ elbows ─ hands;  neck ─ head ─ hair
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.scenes.shape import Shape

SKIN = np.array([[0.91, 0.74, 0.62], [0.82, 0.62, 0.48], [0.66, 0.46, 0.33], [0.45, 0.30, 0.21], [0.30, 0.20, 0.15]])
HAIR = np.array([[0.10, 0.08, 0.07], [0.28, 0.18, 0.11], [0.50, 0.36, 0.20], [0.62, 0.60, 0.58], [0.40, 0.16, 0.09]])


def clothes(rng: np.random.Generator) -> np.ndarray:
    """A colour one meets in a street: mostly dark or muted, sometimes strong."""
    value = rng.choice([rng.uniform(0.06, 0.3), rng.uniform(0.3, 0.6), rng.uniform(0.7, 0.95)], p=[0.45, 0.35, 0.2])
    colour = value * (1 + rng.uniform(0.0, 0.9 if rng.random() < 0.4 else 0.25) * rng.uniform(-1, 1, 3))
    return np.clip(colour, 0.03, 0.97)


@dataclass(frozen=True)
class Person:
    """How one person looks; every picture of the same person shares it. Heights in metres, stride in radians."""

    height: float
    bulk: float
    skin: np.ndarray
    hair: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    shoes: np.ndarray
    accent: np.ndarray
    legs: str        # trousers | shorts | skirt | coat
    sleeves: bool
    head: str        # short | long | cap | hood | helmet
    carried: str     # nothing | backpack | bag | phone
    stripe: bool
    stride: float
    running: bool


def make_person(rng: np.random.Generator, standing: bool = False) -> Person:
    def pick(table: np.ndarray) -> np.ndarray:
        return np.clip(table[rng.integers(len(table))] * rng.uniform(0.88, 1.12), 0, 1)

    running = not standing and rng.random() < 0.12
    return Person(
        height=float(rng.choice([rng.uniform(1.52, 1.92), rng.uniform(1.05, 1.45)], p=[0.9, 0.1])),
        bulk=float(rng.uniform(0.86, 1.28)), skin=pick(SKIN), hair=pick(HAIR), top=clothes(rng), bottom=clothes(rng),
        shoes=clothes(rng), accent=clothes(rng),
        legs=str(rng.choice(["trousers", "shorts", "skirt", "coat"], p=[0.6, 0.14, 0.12, 0.14])),
        sleeves=bool(rng.random() < 0.7),
        head=str(rng.choice(["short", "long", "cap", "hood"], p=[0.46, 0.28, 0.14, 0.12])),
        carried=str(rng.choice(["nothing", "backpack", "bag", "phone"], p=[0.5, 0.22, 0.18, 0.10])),
        stripe=bool(rng.random() < 0.2),
        stride=0.04 if standing else float(rng.uniform(0.62, 0.75) if running else rng.uniform(0.34, 0.5)),
        running=running)


def _joint(origin: np.ndarray, angle: float, length: float) -> np.ndarray:
    """End of a bone that hangs from `origin`, swung forward by `angle`."""
    return origin + length * np.array([np.sin(angle), 0, -np.cos(angle)])


def _leg(shape: Shape, p: Person, hip: np.ndarray, thigh: float, shin: float) -> None:
    k, b = p.height / 1.75, p.bulk
    knee = _joint(hip, thigh, 0.43 * k)
    ankle = _joint(knee, shin, 0.42 * k)
    bare = p.skin if p.legs in ("shorts", "skirt") else p.bottom
    shape.limb(knee, ankle, 0.058 * k * b, 0.045 * k, bare)
    shape.limb(hip, knee, 0.092 * k * b, 0.065 * k * b, p.skin if p.legs == "skirt" else p.bottom)
    toe = ankle + 0.15 * k * np.array([np.cos(shin * 0.6), 0, np.sin(shin * 0.6)]) - (0, 0, 0.03 * k)
    shape.limb(ankle - (0.03 * k, 0, 0.02 * k), toe, 0.048 * k, 0.038 * k, p.shoes)


def _arm(shape: Shape, p: Person, shoulder: np.ndarray, swing: float, bend: float) -> np.ndarray:
    k, b = p.height / 1.75, p.bulk
    elbow = _joint(shoulder, swing, 0.28 * k)
    hand = _joint(elbow, swing + bend, 0.27 * k)
    shape.limb(elbow, hand, 0.042 * k, 0.036 * k, p.top if p.sleeves else p.skin)
    shape.limb(hand, _joint(hand, swing + bend, 0.06 * k), 0.042 * k, 0.034 * k, p.skin)
    shape.limb(shoulder, elbow, 0.058 * k * b, 0.046 * k * b, p.top)
    return hand


def _head(shape: Shape, p: Person, neck: np.ndarray, helmet: bool) -> None:
    k = p.height / 1.75
    forward = np.array([0.02 * k, 0, 0])
    head = neck + (0.02 * k, 0, 0.15 * k)
    if p.head == "long" and not helmet:
        shape.limb(head + (-0.04 * k, 0, 0.03 * k), neck + (-0.07 * k, 0, -0.06 * k), 0.115 * k, 0.085 * k, p.hair)
    shape.limb(neck - (0, 0, 0.05 * k), neck + (0, 0, 0.06 * k), 0.055 * k, 0.05 * k, p.skin)
    shape.limb(head + forward - (0, 0, 0.04 * k), head + (0, 0, 0.03 * k), 0.082 * k, 0.10 * k, p.skin)
    cover = {"cap": p.accent, "hood": p.top}.get(p.head, p.hair)
    if helmet:
        cover = p.accent
    back = 0.045 * k if p.head != "hood" else 0.06 * k
    shape.limb(head + (-back, 0, 0.0), head + (0.02 * k, 0, 0.075 * k), 0.092 * k, 0.088 * k, cover)
    if p.head == "cap" or helmet:
        shape.limb(head + (0.06 * k, 0, 0.06 * k), head + (0.13 * k, 0, 0.05 * k), 0.05 * k, 0.03 * k, cover)


def _torso(shape: Shape, p: Person, hips: np.ndarray, chest: np.ndarray, behind: bool) -> None:
    """`behind`: the back is towards the camera, so what hangs there is painted last."""
    k, b = p.height / 1.75, p.bulk
    half = 0.17 * k * b
    pack = np.array([-0.19 * k * b, 0, -0.16 * k])

    def backpack() -> None:
        shape.limb(chest + pack + (0, 0.06 * k, 0), chest + pack + (0, -0.06 * k, -0.18 * k), 0.15 * k, 0.14 * k,
                   p.accent)

    if p.carried == "backpack" and not behind:
        backpack()
    for y in (-1, 1):
        shape.limb(chest + (0, y * half * 0.8, -0.04 * k), hips + (0, y * half * 0.5, 0), 0.105 * k * b,
                   0.105 * k * b, p.top)
    shape.limb(chest - (0, 0, 0.05 * k), hips, 0.14 * k * b, 0.13 * k * b, p.top)
    if p.stripe:
        middle = (chest + hips) / 2
        shape.limb(middle + (0, half, 0.03 * k), middle + (0, -half, 0.03 * k), 0.07 * k, 0.07 * k, p.accent)
    if p.legs == "skirt":
        shape.limb(hips, hips - (0, 0, 0.36 * k), 0.14 * k * b, 0.20 * k * b, p.bottom)
    if p.legs == "coat":
        shape.limb(hips + (0, 0, 0.1 * k), hips - (0, 0, 0.42 * k), 0.155 * k * b, 0.185 * k * b, p.top)
    if p.carried == "backpack" and behind:
        backpack()


def walker(p: Person, phase: float, facing: float) -> Shape:
    """The body at `phase` (radians) of its gait. `facing`: cosine of heading against the camera's direction of view
    (> 0: one sees the back); it only orders the parts."""
    k, shape = p.height / 1.75, Shape()
    swing = p.stride * np.sin(phase)
    lean = 0.12 if p.running else 0.02
    hips = np.array([0, 0, 0.90 * k + 0.03 * k * abs(np.cos(phase)) * (p.stride > 0.1)])
    chest = hips + 0.48 * k * np.array([np.sin(lean), 0, np.cos(lean)])
    lift = 1.1 if p.running else 0.55

    def side(sign: int) -> None:
        thigh = sign * swing + lean
        knee = lift * p.stride * max(0.0, np.cos(phase) * sign) * 1.6 + 0.06
        _leg(shape, p, hips + (0, sign * 0.09 * k, 0), thigh, thigh - knee)

    def arm(sign: int) -> None:
        bend = 1.5 if p.running else 0.25
        swinging, hold = -sign * swing * 0.9, p.carried == "phone" and sign > 0
        hand = _arm(shape, p, chest + (0, sign * 0.2 * k * p.bulk, -0.02 * k), 0.45 if hold else swinging,
                    1.9 if hold else bend)
        if p.carried == "bag" and sign < 0:
            shape.limb(hand - (0.05, 0, 0.16 * k), hand - (-0.09, 0, 0.24 * k), 0.11 * k, 0.12 * k, p.accent)

    near = 1 if np.sin(np.arctan2(1, facing)) > 0 else -1
    arm(-near)
    side(-near)
    side(near)
    _torso(shape, p, hips, chest, facing > 0)
    _head(shape, p, chest + (0.01, 0, 0.07 * k), False)
    arm(near)
    return shape


def rider(p: Person, phase: float, near: int) -> tuple[Shape, Shape]:
    """Someone on a bicycle: what the frame hides (painted before it) and the rest. `near` = +1: the left side."""
    k = p.height / 1.75
    far, rest = Shape(), Shape()
    hips, chest = np.array([-0.22, 0, 0.98]), np.array([0.06, 0, 0.98 + 0.42 * k])
    for sign, shape in ((-near, far), (near, rest)):
        turn = phase + (0 if sign > 0 else np.pi)
        pedal = np.array([0.02 + 0.17 * np.cos(turn), sign * 0.12, 0.30 + 0.17 * np.sin(turn)])
        hip = hips + (0, sign * 0.08, 0)
        span = pedal + (0, 0, 0.08) - hip
        bone = 0.44 * k
        out = max(bone**2 - float(span @ span) / 4, 0.0) ** 0.5
        knee = hip + span / 2 + out * np.array([-span[2], 0, span[0]]) / np.linalg.norm(span)
        shape.limb(knee, pedal + (0, 0, 0.07), 0.058 * k, 0.045 * k, p.skin if p.legs != "trousers" else p.bottom)
        shape.limb(hip, knee, 0.095 * k * p.bulk, 0.066 * k, p.bottom)
        shape.limb(pedal + (-0.05, 0, 0.03), pedal + (0.11, 0, 0.02), 0.045, 0.035, p.shoes)
    grip = np.array([0.42, 0, 1.02])
    for sign, shape in ((-near, far), (near, rest)):
        if sign == near:
            _torso(rest, p, hips, chest, False)
            _head(rest, p, chest + (0.05, 0, 0.07 * k), True)
        shoulder = chest + (0, sign * 0.18 * k, -0.02)
        elbow = (shoulder + grip) / 2 + (-0.02, sign * 0.1, -0.09)
        shape.limb(elbow, grip + (0, sign * 0.22, 0), 0.042 * k, 0.036, p.top if p.sleeves else p.skin)
        shape.limb(shoulder, elbow, 0.056 * k, 0.045, p.top)
    return far, rest
