"""Bytes at an offset, from memory or from a file, without reading what is not asked for."""

from __future__ import annotations

import os
from types import TracebackType

CHUNK = 1 << 20


class Source:
    """Bytes in memory, or an open file. `where` prefixes messages with the path. Raises OSError as the system does."""

    def __init__(self, source: bytes | bytearray | memoryview | str | os.PathLike[str]) -> None:
        self.path: str | None = None
        if isinstance(source, (bytes, bytearray, memoryview)):
            self._data: memoryview | None = memoryview(source).cast("B")
            self.size = len(self._data)
        else:
            self.path = os.fspath(source)
            self._data = None
            self._file = open(source, "rb")  # noqa: SIM115 - closed by close(), __exit__ or the garbage collector
            try:
                self.size = self._file.seek(0, os.SEEK_END)
            except BaseException:
                self._file.close()
                raise

    @property
    def where(self) -> str:
        return f"{self.path}: " if self.path else ""

    def read(self, offset: int, length: int) -> bytes:
        """What there is of these bytes: fewer at the end."""
        if self._data is not None:
            return bytes(self._data[offset : offset + length])
        if hasattr(os, "pread"):  # several threads may read frames of one clip
            parts = []
            while length and (part := os.pread(self._file.fileno(), min(length, 1 << 30), offset)):
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
            return b"".join(parts)
        self._file.seek(offset)
        return self._file.read(length)

    def close(self) -> None:
        if self._data is None:
            self._file.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
