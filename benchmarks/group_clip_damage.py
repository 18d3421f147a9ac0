"""Damaged clips of groups through the whole decoder: refused, harmless, or silently wrong.

    python -m benchmarks.group_clip_damage --weights groups.safetensors [PICTURES] [--files 2000] [--seed 0]

As group_damage.py, with whose damages: clips of 8 frames in which two rectangles move before a picture, one of them
locked in every second clip. Of each damaged file a frame is decoded whole (right, or refused) and with --partial: every
pixel outside the lost and approximate windows must be that of the intact file. All in this process, so a crash would
end the run.
"""

from __future__ import annotations

import collections
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from benchmarks.group_damage import KEY, KINDS, SLOW_S, Counts, command, damaged
from icm.bitstream import StreamError, read
from icm.groups import GroupMask, from_labels

FRAMES = 8


def moving(picture: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, GroupMask]]:
    """Frames and masks: pieces of another picture that move before this one, which gets brighter in a corner."""
    height, width = picture.shape[:2]
    starts, steps = rng.integers(0, (height // 2, width // 2), (2, 2)), rng.integers(-6, 7, (2, 2))
    frames = []
    for i in range(FRAMES):
        frame, labels = picture.copy(), np.zeros((height, width), np.int64)
        if i >= FRAMES // 2:
            frame[-20:, -30:] = 255 - frame[-20:, -30:]
        for label, (start, step) in enumerate(zip(starts, steps, strict=True), 1):
            top, left = (start + i * step).clip(0)
            part = np.s_[top : top + height // 3, left : left + width // 4]
            frame[part], labels[part] = other[part], label
        frames.append((frame, from_labels(labels, {1: "person", 2: "car"})))
    return frames


def outcome(codec: Any, broken: bytes, right: np.ndarray, frame: int) -> str:
    """What `vcm decode --frames` makes of it, whole and partial."""
    try:
        shown = next(codec.decode_clip(broken, frame, keys=[KEY]))[0]
        whole = "same picture" if np.array_equal(shown, right) else "SILENTLY WRONG"
    except (StreamError, StopIteration):
        whole = "refused"
    except ValueError as error:
        if "key" not in str(error):
            raise
        whole = "refused"
    try:
        with read(broken, partial=True) as stream:
            shown, lost, approximate = codec.decode_partial(stream, frame, keys=[KEY])
            missing = codec.missing(broken, keys=[KEY])
    except StreamError:
        return f"{whole}; partial refused"
    except ValueError as error:
        if "key" not in str(error):
            raise
        return f"{whole}; partial refused"
    exact = np.ones(right.shape[:2], bool)
    for top, bottom, left, right_edge in [*lost, *approximate]:
        exact[top:bottom, left:right_edge] = False
    if missing or not np.array_equal(shown[exact], right[exact]):
        return f"{whole}; partial PARTLY WRONG"
    return f"{whole}; partial {'shown' if exact.all() else 'partly shown'}"


def run(codec: Any, pictures: Sequence[np.ndarray], files: int, seed: int) -> Counts:
    """Outcomes by kind of damage."""
    rng, coded = np.random.default_rng(seed), []
    for i, picture in enumerate(pictures):
        frames = moving(picture, pictures[i - 1], rng)
        pairs = ((frame, tick) for tick, (frame, _) in enumerate(frames))
        coded.append(codec.encode_clip(pairs, Fraction(1, 10), masks=lambda n, _, of=frames: of[n][1],
                                       locks=[(["person"], KEY)] if i % 2 else []))  # fmt: skip
    right = [[frame for frame, _ in codec.decode_clip(data, keys=[KEY])] for data in coded]
    counts: Counts = collections.Counter()
    for i in range(files):
        which, kind = int(rng.integers(len(coded))), KINDS[i % 3]
        kind = "flip, resealed" if kind == "flip" and i % 2 else kind
        broken = damaged(coded[which], coded[int(rng.integers(len(coded)))], kind, rng)
        frame, started = int(rng.integers(FRAMES)), time.perf_counter()
        found = outcome(codec, broken, right[which][frame], frame)
        slow = time.perf_counter() - started > SLOW_S
        counts[kind, found + ("; SLOW" if slow else "")] += 1
    return counts


if __name__ == "__main__":
    sys.exit(command(__doc__, run, 8))
