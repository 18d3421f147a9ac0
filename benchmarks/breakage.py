"""The ways in which benchmarks damage files: bits flipped, truncated, spliced with another file."""

from __future__ import annotations

import numpy as np


def bits_flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """1 to 8 of them."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    """Anywhere, nothing left among it."""
    return data[: int(rng.integers(len(data)))]


def spliced(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of one and the end of another."""
    return data[: int(rng.integers(1, len(data)))] + other[int(rng.integers(1, len(other))) :]
