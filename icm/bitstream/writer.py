"""The only writer of .vcm files."""

from __future__ import annotations

from collections.abc import Iterable

from .fields import crc32c, varint, varints
from .header import MAGIC, VERSION, Header
from .limits import Limits


def write(header: Header, sections: Iterable[bytes], limits: Limits | None = None) -> bytes:
    """The bytes of a file: `header` and at least one section (a tile, frame, segment or group; it may be empty).

    Raises ValueError on what a reader with the same limits would refuse.
    """
    limits = limits or Limits()
    payloads = [bytes(section) for section in sections]
    if not payloads:
        raise ValueError("a file needs at least one section")
    header.check(limits)
    limits.check("sections", len(payloads), "the number of sections,")
    table = varints(len(p) for p in payloads) + b"".join(crc32c(p).to_bytes(4, "little") for p in payloads)
    body = header.to_bytes(len(payloads)) + table
    limits.check("header_bytes", len(body), "a header in bytes of")
    start = MAGIC + bytes([VERSION[0] << 4 | VERSION[1]]) + varint(len(body)) + body
    data = b"".join([start, crc32c(start).to_bytes(4, "little"), *payloads])
    return data + crc32c(data).to_bytes(4, "little")
