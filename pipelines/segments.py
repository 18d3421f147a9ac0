"""A clip cut into segments, each for a network of its own: at scene cuts, and where one would grow too long.

    frame, frame, frame │ frame, frame, …      a scene cut (│), or `longest` frames
Online: a segment is given out as soon as its last frame has been read, so a live source works as a file does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

THUMBNAIL = 32, 18  # width, height
CUT, TIMES = 0.10, 4.0  # a cut changes a thumbnail by at least so much (of 1), and so much more than frames before it
MEMORY = 1 << 30  # of the frames of a segment
LONGEST = 300  # frames


@dataclasses.dataclass
class Segment:
    """number from 0; start: its first frame's number in the clip; frames (F, H, W, 3) uint8 RGB; ticks: of each."""

    number: int
    start: int
    frames: np.ndarray
    ticks: list[int]

    @property
    def stop(self) -> int:
        return self.start + len(self.frames)


def longest_for(width: int, height: int, frames: int | None = None) -> int:
    """Frames of the longest segment: memory allows, and equal ones where it is known how many frames there are."""
    most = max(1, min(LONGEST, MEMORY // (3 * width * height)))
    return most if not frames else -(-frames // -(-frames // most))


class Cuts:
    """Scene cuts: `is_cut(frame)` tells of each frame in order whether a new scene starts with it."""

    def __init__(self) -> None:
        self.last: np.ndarray | None = None
        self.before: list[float] = []

    def is_cut(self, frame: np.ndarray) -> bool:
        import cv2

        small = cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        change = 0.0 if self.last is None else float(np.abs(small - self.last).mean())
        usual = float(np.mean(self.before)) if self.before else 0.0
        self.last = small
        cut = change > max(CUT, TIMES * usual)
        self.before = [] if cut else [*self.before[-7:], change]
        return cut


def segments(frames: Iterable[tuple[np.ndarray, int]], longest: int) -> Iterator[Segment]:
    """frames: (picture, tick) in order. Only one segment's frames are held."""
    cuts, kept, ticks, start, number = Cuts(), [], [], 0, 0  # type: ignore[var-annotated]
    for frame, tick in frames:
        cut = cuts.is_cut(frame)
        if kept and (cut or len(kept) >= longest):
            yield Segment(number, start, np.stack(kept), ticks)
            start, number, kept, ticks = start + len(kept), number + 1, [], []
        kept.append(frame)
        ticks.append(tick)
    if kept:
        yield Segment(number, start, np.stack(kept), ticks)
