"""The only reader of .vcm files: the header first, then any section by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType

import numpy as np

from .errors import Damaged, NotVcm, StreamError, Truncated, Unsupported
from .fields import MAX_VARINT_BYTES, Cursor, crc32c
from .header import MAGIC, VERSION, parse
from .limits import Limits
from .source import CHUNK, Source

CRC_BYTES = 4
CHECKED_ON_OPENING = ("picture", "groups")  # they are read whole; of a clip, one frame may be wanted


def read(
    source: bytes | bytearray | memoryview | str | os.PathLike[str],
    limits: Limits | None = None,
    partial: bool = False,
) -> Stream:
    """Open a file (a path, or its bytes). Raises StreamError with one line, or OSError.

    The header must be intact. Unless `partial`, so must be the length of the file, and the trailer of a picture.
    """
    opened = Source(source)
    try:
        return Stream(opened, limits or Limits(), partial)
    except StreamError as error:
        opened.close()
        raise type(error)(f"{opened.where}{error}") from None
    except BaseException:
        opened.close()
        raise


class Stream:
    """An open file: `header`, `len()` sections, each readable alone and checked when it is read. A context manager.

    The sections' lengths and checksums are in the header, so damage to one never hides another, and the place of each
    is known without reading those before it. Made by `read`.
    """

    def __init__(self, source: Source, limits: Limits, partial: bool) -> None:
        self._source = source
        start, version = _start(source, limits)
        cursor = Cursor(start, len(MAGIC) + 1)
        cursor.varint()
        cursor.mark("length of the header")
        self.header, count = parse(cursor, version, limits)
        if count * (1 + CRC_BYTES) > cursor.left:
            raise Damaged(f"damaged: {count} sections do not fit the header")
        self._lengths = cursor.varints(count)
        cursor.mark("lengths of the sections")
        self._crcs = np.frombuffer(cursor.take(count * CRC_BYTES), "<u4")
        cursor.mark("CRC32C of each section")
        if cursor.left and version <= VERSION:
            raise Damaged(f"damaged: {cursor.left} bytes of the header are not accounted for")
        if cursor.left:
            cursor.take(cursor.left)
            cursor.mark(f"fields of version {version[0]}.{version[1]}")
        if self._lengths.max() >> 40:
            raise Damaged(f"damaged: a section of {self._lengths.max()} bytes is longer than any")
        self._marks = [("magic", 0, len(MAGIC)), ("version", len(MAGIC), 1), *cursor.marks]
        self._first = len(start) + CRC_BYTES
        self._ends = self._first + np.cumsum(self._lengths)
        self.size, self.stored = int(self._ends[-1]) + CRC_BYTES, source.size  # bytes: that it should have, that it has
        if not partial:
            self._check_whole()

    def _check_whole(self) -> None:
        problem = self.length_problem()
        if problem:
            raise (Truncated if self.stored < self.size else Damaged)(problem)
        if self.header.kind in CHECKED_ON_OPENING and (problem := self._trailer_problem()):
            raise Damaged(problem)

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def lengths(self) -> list[int]:
        """Bytes of each section."""
        return self._lengths.tolist()

    def section(self, i: int) -> bytes:
        """Section `i` (0 to len - 1), checked. Raises Damaged, Truncated (naming it), or IndexError."""
        if not 0 <= i < len(self):
            raise IndexError(f"{self._source.where}there is no section {i}: the file has {len(self)}")
        length = int(self._lengths[i])
        offset = int(self._ends[i]) - length
        if offset + length > self.stored:
            missing = min(length, offset + length - self.stored)
            raise Truncated(f"{self._source.where}truncated: section {i} lacks {missing} of {length} bytes")
        data = self._source.read(offset, length)
        if crc32c(data) != self._crcs[i]:
            raise Damaged(f"{self._source.where}damaged: section {i} of {len(self)} does not match its CRC32C")
        return data

    def sections(self) -> Iterator[bytes]:
        """Every section in order, each checked."""
        return (self.section(i) for i in range(len(self)))

    def damaged(self) -> dict[int, str]:
        """Section number to what is wrong with it; reads the whole file."""
        found = {}
        for i in range(len(self)):
            try:
                self.section(i)
            except StreamError as error:
                found[i] = str(error).removeprefix(self._source.where)
        return found

    def verify(self) -> list[str]:
        """Everything that is wrong, a line each; empty for an intact file. Reads the whole file."""
        found = list(self.damaged().values())
        problem = self.length_problem() or self._trailer_problem()
        return [*found, problem] if problem else found

    def layout(self) -> list[tuple[str, int, int]]:
        """(name, offset, length) of every part, in order, without gaps, covering the file as it should be."""
        parts = [*self._marks, ("CRC32C of the header", self._first - CRC_BYTES, CRC_BYTES)]
        ends = self._ends.tolist()
        parts += [(f"section {i}", e - n, n) for i, (e, n) in enumerate(zip(ends, self.lengths, strict=True))]
        return [*parts, ("CRC32C of the file", self.size - CRC_BYTES, CRC_BYTES)]

    def length_problem(self) -> str | None:
        """What is wrong with the number of bytes, if anything; reads nothing."""
        if self.stored < self.size:
            return f"truncated: {self.stored} of {self.size} bytes are here"
        more = self.stored - self.size
        return f"damaged: {more} bytes follow the end of the file" if more else None

    def _trailer_problem(self) -> str | None:
        crc, end = 0, self.size - CRC_BYTES
        for offset in range(0, end, CHUNK):
            crc = crc32c(self._source.read(offset, min(CHUNK, end - offset)), crc)
        if self._source.read(end, CRC_BYTES) == crc.to_bytes(CRC_BYTES, "little"):
            return None
        return "damaged: the file does not match its CRC32C"

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _start(source: Source, limits: Limits) -> tuple[bytes, tuple[int, int]]:
    """Everything up to the header's CRC32C, which matches, and the version. Reads nothing behind it."""
    fixed = len(MAGIC) + 1
    head = source.read(0, fixed + MAX_VARINT_BYTES)
    if not head:
        raise NotVcm("not a .vcm file: it is empty")
    if head[: len(MAGIC)] != MAGIC:
        cut = " (it is cut short)" if MAGIC.startswith(head) else ""
        raise NotVcm(f"not a .vcm file: it does not begin with VCM{cut}")
    if len(head) == len(MAGIC):
        raise Truncated("truncated: the file ends after its first three bytes")
    version = head[len(MAGIC)] >> 4, head[len(MAGIC)] & 15
    if version[0] != VERSION[0]:
        raise Unsupported(f"unsupported: version {version[0]}.{version[1]}; this reader knows {VERSION[0]}: update vcm")
    cursor = Cursor(head, fixed)
    try:
        length = cursor.varint()
    except Truncated:
        raise Truncated("truncated: the file ends within its header") from None
    limits.check("header_bytes", length, "a header in bytes of")
    if cursor.at + length + CRC_BYTES > source.size:
        raise Truncated(f"truncated: the header of {length} bytes is not all here")
    data = source.read(0, cursor.at + length + CRC_BYTES)
    start, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if crc32c(start).to_bytes(CRC_BYTES, "little") != crc:
        raise Damaged("damaged: the header does not match its CRC32C")
    return start, version
