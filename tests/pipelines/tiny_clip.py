"""A lossless clip of a red square and a blue disc that move apart, for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np


def tiny_clip(path: Path, frames: int) -> None:
    """Write it: 64x48 pixels, 25 frames a second."""
    from pipelines.clips_out import writing

    rows, columns = np.mgrid[:48, :64]
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path, Fraction(25)) as writer:
        for i in range(frames):
            picture = np.full((48, 64, 3), 90, np.uint8)
            picture[(columns >= 4) & (columns < 20) & (rows >= 4 + i) & (rows < 20 + i)] = (220, 40, 40)
            picture[(columns - 46) ** 2 + (rows - 34 + i) ** 2 <= 64] = (40, 60, 230)
            writer.add(picture, Fraction(i, 25), i)
