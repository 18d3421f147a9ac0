"""Damage to bytes: small faults that know how these formats are built, and a mixture of them.

Each takes (random, data, other, at) → bytes. `other` is a second intact input, to splice from; `at` is where. A
place is one of the marks (where fields begin) as often as anywhere else, so that fields are hit as often as payloads.
All randomness comes from the generator that is given: the same generator state makes the same fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from icm.bitstream.fields import varint

Mutation = Callable[[np.random.Generator, bytes, bytes, int], bytes]

EXTREMES = (0, 1, 127, 128, 255, 256, 32768, 65535, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 10**9, 1 << 40,
            1 << 62, (1 << 63) - 1)  # fmt: skip
# Not what any writer makes of a number: needless zeros, ten bytes, no end.
MISSPELT = (b"\x80\x00", b"\xff\x80\x00", b"\x80" * 9 + b"\x01", b"\xff" * 10, b"\x80" * 40)


def flip(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """One bit."""
    return data[:at] + bytes([data[at] ^ 1 << int(random.integers(8))]) + data[at + 1 :]


def set_byte(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """A byte to one that ends or begins something."""
    return data[:at] + bytes([(0, 1, 127, 128, 254, 255)[int(random.integers(6))]]) + data[at + 1 :]


def step_byte(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """A byte by a little: a length by one, a kind to its neighbour."""
    return data[:at] + bytes([(data[at] + (1, -1, 2, -2, 8, 16)[int(random.integers(6))]) % 256]) + data[at + 1 :]


def cut(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """Nothing from here on."""
    return data[:at]


def delete(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """A few bytes less."""
    return data[:at] + data[at + int(random.integers(1, 9)) :]


def repeat(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """A few bytes twice."""
    return data[: at + int(random.integers(1, 9))] + data[at:]


def splice(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """A piece of another input over this one, or the rest of it from here on."""
    start = int(random.integers(len(other) + 1))
    if random.random() < 0.3:
        return data[:at] + other[start:]
    length = int(random.integers(1, 33))
    return data[:at] + other[start : start + length] + data[at + length :]


def ones(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """A run of 0xFF."""
    length = int(random.integers(1, 17))
    return data[:at] + b"\xff" * length + data[at + length :]


def number(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """A varint over the one that may be here: an extreme, or one more or less."""
    end = at
    while end < len(data) - 1 and data[end] >= 128 and end < at + 9:
        end += 1
    value = sum((byte & 127) << 7 * i for i, byte in enumerate(data[at : end + 1]))
    if random.random() < 0.4:
        value = max(0, value + (1, -1, value, 64, -64)[int(random.integers(5))])
    else:
        value = EXTREMES[int(random.integers(len(EXTREMES)))]
    return data[:at] + varint(min(value, (1 << 63) - 1)) + data[end + 1 :]


def misspell(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """A varint that no writer spells so."""
    return data[:at] + MISSPELT[int(random.integers(len(MISSPELT)))] + data[at + 1 :]


def fixed(random: np.random.Generator, data: bytes, other: bytes, at: int) -> bytes:
    """A little-endian number of 2, 4 or 8 bytes to an extreme."""
    size = (2, 4, 8)[int(random.integers(3))]
    value = EXTREMES[int(random.integers(len(EXTREMES)))] % (1 << 8 * size)
    return data[:at] + value.to_bytes(size, "little") + data[at + size :]


MUTATIONS: tuple[Mutation, ...] = (
    flip, flip, flip, set_byte, step_byte, step_byte, cut, delete, repeat, splice, ones, number, number, misspell, fixed
)  # fmt: skip


def mutated(
    random: np.random.Generator, data: bytes, other: bytes, marks: Sequence[int] = (), most: int = 3,
    among: Sequence[Mutation] = MUTATIONS,
) -> bytes:  # fmt: skip
    """`data` with one to `most` faults. marks: where fields begin."""
    for _ in range(int(random.integers(1, most + 1))):
        if not data:
            return data
        at = int(random.integers(len(data)))
        if len(marks) and random.random() < 0.5:
            at = min(int(marks[int(random.integers(len(marks)))]), len(data) - 1)
        data = among[int(random.integers(len(among)))](random, data, other, at)
    return data
