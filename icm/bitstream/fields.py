"""The smallest pieces of a header: a cursor that cannot run past the end, varints, the memory byte, CRC32C.

Every value has exactly one spelling; another spelling of it is damage. README.md ("Notation") is normative.
"""

from __future__ import annotations

from collections.abc import Iterable

import google_crc32c
import numpy as np

from .errors import Damaged, Truncated

MAX_VARINT_BYTES = 9  # 63 bits
MEMORY_UNIT = 4096  # bytes
AT_ONCE = 1 << 15  # numbers of a list that are read together


def crc32c(data: bytes | memoryview, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, continuing from `crc`."""
    return google_crc32c.extend(crc, bytes(data))


def varint(value: int) -> bytes:
    """0 to 2^63 - 1: seven bits a byte, the low ones first, bit 7 set in every byte but the last."""
    if not 0 <= value < 1 << 63:
        raise ValueError(f"{value} is not a number from 0 to 2^63 - 1")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def varints(values: Iterable[int]) -> bytes:
    return b"".join(map(varint, values))


def zigzag(value: int) -> int:
    """0, -1, 1, -2, ... to 0, 1, 2, 3, ..."""
    return 2 * value if value >= 0 else -2 * value - 1


def unzigzag(value: int) -> int:
    return -(value + 1) // 2 if value & 1 else value // 2


def memory_byte(size: int) -> int:
    """The smallest code whose `memory_bytes` is at least `size` bytes (at most 12.5 % more, above 32 KiB)."""
    for code in range(256):
        if memory_bytes(code) >= size:
            return code
    raise ValueError(f"a decode memory of {size} bytes cannot be declared")


def memory_bytes(code: int) -> int:
    """A tiny float: three bits of mantissa, five of exponent, 32 KiB to 2^46 bytes."""
    return (8 + code % 8 << code // 8) * MEMORY_UNIT


class Cursor:
    """Reads `data` from `start` and remembers what was where: `marks` are (name, offset, length) without gaps.

    what: the name of `data` in messages.
    """

    def __init__(self, data: bytes, start: int, what: str = "the header") -> None:
        self.data, self.at, self.what = data, start, what
        self.marks: list[tuple[str, int, int]] = []
        self._marked = start

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def mark(self, name: str) -> None:
        """Name everything read since the last mark."""
        self.marks.append((name, self._marked, self.at - self._marked))
        self._marked = self.at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise Truncated(f"damaged: {self.what} ends {count - self.left} bytes early")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        value = 0
        for i in range(MAX_VARINT_BYTES):
            byte = self.byte()
            value |= (byte & 127) << 7 * i
            if byte < 128:
                if byte == 0 and i:
                    raise Damaged(f"damaged: a number in {self.what} is spelt with needless zeros")
                return value
        raise Damaged(f"damaged: a number in {self.what} is longer than {MAX_VARINT_BYTES} bytes")

    def varints(self, count: int) -> np.ndarray:
        """`count` numbers at once, (count,) int64; as strict as `varint`, without a Python step for each."""
        if count > self.left:
            raise Truncated(f"damaged: a list of numbers in {self.what} is cut or has one that is too long")
        out = np.empty(count, np.int64)
        for start in range(0, count, AT_ONCE):
            out[start : start + AT_ONCE] = self._some_varints(min(AT_ONCE, count - start))
        return out

    def _some_varints(self, count: int) -> np.ndarray:
        """As `varints`, of 1 or more; what it takes is a few hundred bytes a number."""
        data = np.frombuffer(self.data, np.uint8, min(self.left, count * MAX_VARINT_BYTES), self.at)
        ends = np.flatnonzero(data < 128)[:count]
        if len(ends) < count:
            raise Truncated(f"damaged: a list of numbers in {self.what} is cut or has one that is too long")
        starts = np.concatenate([[0], ends[:-1] + 1])
        lengths = ends - starts + 1
        if lengths.max() > MAX_VARINT_BYTES:
            raise Damaged(f"damaged: a number in {self.what} is longer than {MAX_VARINT_BYTES} bytes")
        if ((data[ends] == 0) & (lengths > 1)).any():
            raise Damaged(f"damaged: a number in {self.what} is spelt with needless zeros")
        used = int(ends[-1]) + 1
        shifts = (np.arange(used) - np.repeat(starts, lengths)) * 7
        bits = (data[:used] & 127).astype(np.int64) << shifts
        self.at += used
        return np.add.reduceat(bits, starts)
