"""The few bytes around a coded picture that matter to its rate: units dropped, and the crop that odd sizes need.

4:2:0 encoders take even sizes and have a smallest one, so a picture is padded (edge pixels
repeated) and its padding is recorded in a unit that every decoder skips: a NAL unit of an
unspecified type (H.264: 24, HEVC: 48, VVC: 28) or an AV1 padding OBU. It is written only where there is
padding, and it counts: 5 to 6 bytes. The file stays a plain elementary stream that any player opens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_START = re.compile(rb"\x00\x00\x01")
_CROP_NAL = {"h264": b"\x00\x00\x01\x18", "hevc": b"\x00\x00\x01\x60\x01", "vvc": b"\x00\x00\x01\x00\xe1"}
_CROP_OBU = b"\x7a\x03"  # obu_type 15 with a size field; payload: columns, rows, trailing bit


def nal_units(data: bytes) -> Iterator[bytes]:
    """The NAL units of an Annex B stream, without start codes or zeros around them."""
    starts = [match.end() for match in _START.finditer(data)]
    ends = [start - 3 for start in starts[1:]] + [len(data)]
    for start, end in zip(starts, ends, strict=True):
        yield data[start:end].rstrip(b"\x00")


def is_option_sei(syntax: str, unit: bytes) -> bool:
    """Whether a NAL unit is supplemental information (x264 writes its version and all its options into one)."""
    if not unit:
        return True
    if syntax == "h264":
        return unit[0] & 0x1F == 6
    if syntax == "hevc":
        return (unit[0] >> 1) & 0x3F in (39, 40)
    return len(unit) > 1 and unit[1] >> 3 in (23, 24)  # VVC: the type is in the second byte


def strip_sei(syntax: str, data: bytes) -> bytes:
    """One coded picture without supplemental information, with the shortest start codes that are legal."""
    units = [unit for unit in nal_units(data) if not is_option_sei(syntax, unit)]
    # Parameter sets and the first unit of an access unit need the leading zero byte (H.264 and HEVC, B.2); so does a
    # slice where nothing stands before it, as in most pictures of a clip.
    short = len(units) - 1 if len(units) > 1 else -1
    return b"".join((b"\x00\x00\x01" if i == short else b"\x00\x00\x00\x01") + u for i, u in enumerate(units))


def add_crop(syntax: str, data: bytes, columns: int, rows: int) -> bytes:
    """`data` with the padding recorded (0 to 63 columns and rows); unchanged where there is none."""
    if columns == rows == 0:
        return data
    # +1 keeps zero bytes, and so start codes, out of the unit
    if syntax == "av1":
        return data + _CROP_OBU + bytes([columns + 1, rows + 1, 0x80])
    return data + _CROP_NAL[syntax] + bytes([columns + 1, rows + 1])


def read_crop(syntax: str, data: bytes) -> tuple[bytes, int, int]:
    """The stream without its crop unit, and the padded columns and rows (0, 0 where none is recorded)."""
    if syntax == "av1":
        start = last_obu(data)
        tail = data[start:]
        if len(tail) == 5 and tail[:2] == _CROP_OBU and tail[4] == 0x80 and 1 <= tail[2] <= 64 and 1 <= tail[3] <= 64:
            return data[:start], tail[2] - 1, tail[3] - 1
        return data, 0, 0
    mark = _CROP_NAL[syntax]
    if data[-2 - len(mark) : -2] == mark:
        return data[: -2 - len(mark)], data[-2] - 1, data[-1] - 1
    return data, 0, 0


def last_obu(data: bytes) -> int:
    """Where the last open bitstream unit starts (AV1 5.3; every unit of a low-overhead stream here has a size field).

    Raises ValueError where the sizes do not add up to the stream.
    """
    start = at = 0
    while at < len(data):
        start, header = at, data[at]
        at += 2 if header & 4 else 1  # extension byte
        if not header & 2:
            raise ValueError("damaged AV1 stream: a unit without its size")
        size = shift = 0
        while at < len(data) and shift < 56:  # leb128
            byte = data[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80:
                break
        at += size
    if at != len(data):
        raise ValueError("damaged AV1 stream: its units do not end where the file does")
    return start
