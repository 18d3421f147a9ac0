"""When each frame of a clip is shown: exact ticks of a rational time base, stored as runs of equal steps."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from .errors import Damaged
from .fields import Cursor, unzigzag, varint, varints, zigzag
from .limits import Limits

MAX_TICK = 1 << 62


class Times:
    """Presentation times of `frames` >= 1 frames, strictly increasing: frame i is shown at `ticks[i] * base` seconds.

    base: seconds per tick, e.g. Fraction(1, 90000). first: tick of frame 0, may be negative. steps, counts: run r says
    that the next counts[r] frames follow steps[r] ticks apart. A constant rate is one run, however many frames.
    """

    def __init__(
        self, base: Fraction, first: int, steps: Sequence[int] | np.ndarray, counts: Sequence[int] | np.ndarray
    ) -> None:
        self.base, self.first = Fraction(base), int(first)
        self.steps, self.counts = np.asarray(steps, np.int64), np.asarray(counts, np.int64)
        if self.base <= 0 or max(self.base.numerator, self.base.denominator) >= 1 << 32:
            raise ValueError(f"a time base of {self.base} seconds is not a positive fraction of 32-bit numbers")
        if len(self.steps) != len(self.counts) or (self.counts < 1).any() or (self.steps < 1).any():
            raise ValueError("timestamps must increase from frame to frame")
        if (self.steps[1:] == self.steps[:-1]).any():
            raise ValueError("two runs of timestamps with the same step must be one")
        last = self.first + sum(map(operator.mul, self.steps.tolist(), self.counts.tolist()))
        if not -MAX_TICK < self.first <= last < MAX_TICK:
            raise ValueError(f"timestamps from {self.first} to {last} ticks do not fit 62 bits")

    @classmethod
    def of(cls, ticks: Sequence[int] | np.ndarray, base: Fraction) -> Times:
        """From a tick a frame, in order of presentation. Raises ValueError unless they increase."""
        array = np.asarray(ticks)
        if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
            raise ValueError("timestamps must be a row of whole ticks, one a frame")
        deltas = np.diff(array.astype(np.int64))
        starts = np.flatnonzero(np.concatenate([[True], deltas[1:] != deltas[:-1]])) if len(deltas) else deltas
        counts = np.diff(np.concatenate([starts, [len(deltas)]])) if len(deltas) else deltas
        return cls(base, int(array[0]), deltas[starts].tolist(), counts.tolist())

    @classmethod
    def constant(cls, frames: int, rate: Fraction | int) -> Times:
        """`frames` frames at `rate` frames per second, the first at zero."""
        if frames < 1 or rate <= 0:
            raise ValueError(f"{frames} frames at {rate} per second make no clip")
        return cls(1 / Fraction(rate), 0, [1] if frames > 1 else [], [frames - 1] if frames > 1 else [])

    @property
    def frames(self) -> int:
        return int(self.counts.sum()) + 1

    @functools.cached_property
    def ticks(self) -> np.ndarray:
        """(frames,) int64."""
        return self.first + np.concatenate([[0], np.cumsum(np.repeat(self.steps, self.counts))]).astype(np.int64)

    @property
    def seconds(self) -> np.ndarray:
        """(frames,) float64; for exactness multiply `ticks` by `base`."""
        return self.ticks * float(self.base)

    @property
    def rate(self) -> Fraction | None:
        """Frames per second on average, exact; None for one frame."""
        if not len(self.steps):
            return None
        return (self.frames - 1) / (int((self.steps * self.counts).sum()) * self.base)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Times) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return f"Times({self.frames} frames, base={self.base}, first={self.first}, {len(self.steps)} runs)"

    def to_bytes(self) -> bytes:
        """Frames, time base, first tick, runs."""
        head = varints([self.frames, self.base.numerator, self.base.denominator, zigzag(self.first), len(self.steps)])
        runs = np.stack([self.steps, self.counts], axis=1).ravel().tolist()
        return head + b"".join(map(varint, runs))

    @classmethod
    def parse(cls, cursor: Cursor, limits: Limits) -> Times:
        """Raises Damaged or LimitExceeded. Costs what the bytes present cost, whatever number of frames they claim."""
        frames = cursor.varint()
        limits.check("frames", frames, "the number of frames,")
        numerator, denominator = cursor.varint(), cursor.varint()
        first, runs = unzigzag(cursor.varint()), cursor.varint()
        if runs > frames or 2 * runs > cursor.left:
            raise Damaged(f"damaged: {runs} runs of timestamps do not fit the header")
        pairs = cursor.varints(2 * runs).reshape(runs, 2)
        if numerator == 0 or denominator == 0 or Fraction(numerator, denominator).denominator != denominator:
            raise Damaged(f"damaged: the time base {numerator}/{denominator} is no fraction in lowest terms")
        if (pairs[:, 1] > frames).any() or sum(pairs[:, 1].tolist()) + 1 != frames:
            raise Damaged(f"damaged: the runs of timestamps do not add up to {frames} frames")
        try:
            return cls(Fraction(numerator, denominator), first, pairs[:, 0], pairs[:, 1])
        except ValueError as error:
            raise Damaged(f"damaged: {error}") from None
