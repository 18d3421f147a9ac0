"""A static camera before which two things move, with their masks."""

from __future__ import annotations

import numpy as np

from icm.codecs.groups.codec import GroupsCodec
from icm.groups import GroupMask, from_labels
from tests.icm.groups.conftest import random_picture

HEIGHT, WIDTH = 134, 200
Clip = tuple[list[np.ndarray], list[GroupMask]]


def moving(seed: int = 0, frames: int = 6) -> Clip:
    """A person who walks to the right, a car that comes later and stops, and a lamp of the background that goes on."""
    rng = np.random.default_rng(seed)
    background, person, car = (random_picture(rng, *size) for size in ((HEIGHT, WIDTH), (48, 32), (30, 40)))
    pictures, masks = [], []
    for i in range(frames):
        picture, labels = background.copy(), np.zeros((HEIGHT, WIDTH), np.int64)
        if i >= frames // 2:
            picture[4:30, 150:190] = 255 - picture[4:30, 150:190]
        left = 8 + 20 * i
        picture[40:88, left : left + 32], labels[40:88, left : left + 32] = person, 1
        if i >= 2:
            top = min(72 + 16 * i, 104)
            shown = car[: HEIGHT - top]
            picture[top : top + 30, 20:60], labels[top : top + 30, 20:60] = shown, 2
        pictures.append(picture)
        masks.append(from_labels(labels, {1: "person", 2: "car"}))
    return pictures, masks


def coded(codec: GroupsCodec, clip: Clip, **options: object) -> bytes:
    """The clip as a file, 25 frames a second."""
    from fractions import Fraction

    pictures, masks = clip
    pairs = ((picture, i) for i, picture in enumerate(pictures))
    return codec.encode_clip(pairs, Fraction(1, 25), masks=lambda i, _: masks[i], **options)  # type: ignore[arg-type]


def of_name(mask: GroupMask, name: str) -> np.ndarray:
    """(H, W) bool: where groups of a name are."""
    return np.isin(mask.pixels(), [i for i, one in enumerate(mask.names) if one == name])
