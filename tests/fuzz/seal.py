"""Checksums made right again, so that what they guard is reached: of whole files, and of headers that contradict."""

from __future__ import annotations

import dataclasses

from icm.bitstream import StreamError, read, write
from icm.bitstream.fields import Cursor, crc32c, varint

START = b"VCM\x10"


def sealed(body: bytes, payload: bytes, start: bytes = START) -> bytes:
    """A file with these bytes as its header's body (fields and table) and right checksums of header and file."""
    head = start + varint(len(body)) + body
    data = head + crc32c(head).to_bytes(4, "little") + payload
    return data + crc32c(data).to_bytes(4, "little")


def resealed(data: bytes) -> bytes:
    """A damaged file with every checksum repaired that can be found: the header's where its length can be read, the
    sections' where the header can, the file's always."""
    try:
        cursor = Cursor(data, len(START))
        length = cursor.varint()
    except StreamError:
        return data
    end = cursor.at + length
    if end + 8 > len(data):
        return data
    body = _with_checksums(data, cursor.at, end)
    head = data[: cursor.at] + body
    whole = head + crc32c(head).to_bytes(4, "little") + data[end + 4 : -4]
    return whole + crc32c(whole).to_bytes(4, "little")


def _with_checksums(data: bytes, start: int, end: int) -> bytes:
    """The header's body with the right checksums of the sections, where the rest of it can be read."""
    head = data[:end] + crc32c(data[:end]).to_bytes(4, "little")
    try:
        with read(head + data[end + 4 :], partial=True) as stream:
            places = [(offset, length) for name, offset, length in stream.layout() if name.startswith("section ")]
    except StreamError:
        return data[start:end]
    crcs = b"".join(crc32c(data[at : at + length]).to_bytes(4, "little") for at, length in places)
    return data[start : end - len(crcs)] + crcs


@dataclasses.dataclass
class Parts:
    """An intact file taken apart. body: the header's fields and table. marks: where parts of the file begin."""

    data: bytes
    body: bytes
    sections: list[bytes]
    marks: list[int]
    body_marks: list[int]

    @classmethod
    def of(cls, data: bytes) -> Parts:
        with read(data) as stream:
            layout, sections = stream.layout(), list(stream.sections())
        places = {name: offset for name, offset, _ in layout}
        start, end = places["kind and flags"], places["CRC32C of the header"]
        marks = [offset for _, offset, _ in layout]
        return cls(data, data[start:end], sections, marks, [at - start for at in marks if start <= at < end])

    def with_section(self, i: int, payload: bytes) -> bytes:
        """The file with another section, everything else right."""
        with read(self.data) as stream:
            return write(stream.header, [*self.sections[:i], payload, *self.sections[i + 1 :]])

    def with_parameters(self, parameters: bytes) -> bytes:
        """The file with other parameters of the codec, everything else right."""
        with read(self.data) as stream:
            return write(dataclasses.replace(stream.header, parameters=parameters), self.sections)

    def with_body(self, body: bytes) -> bytes:
        """The file with another header's body, checksums of header and file right."""
        return sealed(body, b"".join(self.sections))
