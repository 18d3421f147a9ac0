"""Procedural scenes as a surveillance camera sees them, with exact boxes, masks, panoptic labels and tracks.

Everything is a pure function of (seed, split, index): the same arguments give the same bytes. Nothing is downloaded.

    for picture in pictures(70, seed=0, split="demo"): picture.image, picture.instances, picture.segments
    for frame in clip(120, seed=0, fps=12): frame.image, frame.time_s        # one camera, objects with track_id
    write("runs/demo/scenes", count=70, split="demo")                        # COCO layout, see `coco.write`

Splits never share a scene: train and val made the shipped models, demo is what `vcm demo` measures on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eval.scenes.coco import write_pictures
from eval.scenes.labels import CATEGORIES, THINGS
from eval.scenes.render import Instance, Picture, render, still
from eval.scenes.scene import make_scene

__all__ = ["CATEGORIES", "SPLITS", "THINGS", "Instance", "Picture", "clip", "picture", "pictures", "write"]

SIZE = (384, 256)
SPLITS = {"train": 1, "val": 2, "demo": 3, "test": 4}


def _rng(seed: int, split: str, *index: int) -> np.random.Generator:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: one of {', '.join(SPLITS)}")
    if seed < 0:
        raise ValueError(f"the seed of a scene is not negative, not {seed}")
    return np.random.default_rng([seed, SPLITS[split], *index])


def _check(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    if not (32 <= width <= 8192 and 32 <= height <= 8192):
        raise ValueError(f"scenes are 32 to 8192 pixels a side, not {width}×{height}")
    return int(width), int(height)


def picture(index: int, seed: int = 0, size: tuple[int, int] = SIZE, split: str = "val") -> Picture:
    """Picture number `index` of a split; size is (width, height)."""
    rng = _rng(seed, split, 0, index)
    scene = make_scene(rng, _check(size))
    return render(scene, still(scene, rng), rng, index)


def pictures(count: int, seed: int = 0, size: tuple[int, int] = SIZE, split: str = "val",
             start: int = 0) -> Iterator[Picture]:
    """Pictures start … start+count-1 of a split, each another place."""
    for index in range(start, start + count):
        yield picture(index, seed, size, split)


def clip(frames: int, seed: int = 0, size: tuple[int, int] = SIZE, split: str = "val",
         fps: float = 12.0) -> Iterator[Picture]:
    """Frames of one static camera; objects move along paths and keep their `track_id`."""
    rng = _rng(seed, split, 1)
    scene = make_scene(rng, _check(size), max(frames / fps, 1e-3))
    background = still(scene, rng)
    for index in range(frames):
        yield render(scene, background, _rng(seed, split, 2, index), index, index / fps)


def write(folder, count: int | None = None, frames: int | None = None, seed: int = 0,
          size: tuple[int, int] = SIZE, split: str = "val", fps: float = 12.0) -> dict[str, str]:
    """Writes `count` pictures, or a clip of `frames`, in COCO's layout; returns the paths written, by name.

    ValueError unless exactly one of count and frames is given; OSError where the folder cannot be written.
    """
    if (count is None) == (frames is None):
        raise ValueError("say either count (pictures) or frames (a clip)")
    if (count or frames or 0) < 1:
        raise ValueError(f"a folder of scenes has at least one picture, not {count if frames is None else frames}")
    info = {"description": "vcm embedded scenes", "seed": seed, "split": split, "size": list(size)}
    if frames is not None:
        return write_pictures(folder, clip(frames, seed, size, split, fps), {**info, "fps": fps})
    return write_pictures(folder, pictures(count or 0, seed, size, split), info)
