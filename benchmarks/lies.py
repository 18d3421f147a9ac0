"""Headers that claim what is not there: how soon they are refused, and in how much memory, by readers without torch.

    python -m benchmarks.lies [--json]

Every checksum is right, so only the claims give them away. Read in this process, which imports no torch: each lie five
times for its time (of the processor, the median), once more for its memory (the peak of what Python and NumPy
allocate). Below, headers whose bytes are all there and whose lie comes last: they cost what their bytes cost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from icm.bitstream import CHANGED_TILES, Header, StreamError, Times, read, write
from icm.bitstream.fields import crc32c, varint, varints
from icm.codecs.clip_index import ClipIndex
from icm.groups import stream as streams
from icm.groups.header import GroupsHeader
from nerv.coding.bells import digest
from nerv.file import NetworkFile
from nerv.models.architecture import Architecture

HUGE = varint((1 << 63) - 1)
WEIGHTS = b"weights!"
MAP_CLAIM = 2_600_000  # frames, the most that a file may have


def sealed(body: bytes, payload: bytes = b"") -> bytes:
    """A file with these bytes as the body of its header, and right checksums."""
    start = b"VCM\x10" + varint(len(body)) + body
    data = start + crc32c(start).to_bytes(4, "little") + payload
    return data + crc32c(data).to_bytes(4, "little")


def containers() -> dict[str, bytes]:
    """For `read` alone."""
    own = varints([0, 0]) + b"\x01a" + WEIGHTS + b"\x00"  # size, model, weights, memory
    picture, clip = b"\x00" + own + b"\x00", b"\x31" + own + b"\x00"  # and no parameters; a clip with a section count
    steady = varints([2_600_000, 1, 30, 0, 1, 1, 2_599_999])
    good = write(Header("picture", 16, 16, "a", WEIGHTS), [b"abc"])
    three = b"\x10" + own + b"\x00\x03"
    return {
        "2^31 pixels wide": sealed(b"\x00" + varints([1 << 31, 0]) + own[2:] + b"\x00\x00" + bytes(4)),
        "2^63 pixels high": sealed(b"\x00" + varint(0) + HUGE + own[2:] + b"\x00\x00" + bytes(4)),
        "2^32 pixels within the sides": sealed(b"\x00" + varints([32767, 32767]) + own[2:] + b"\x00\x00" + bytes(4)),
        "a name of 2^63 bytes": sealed(b"\x00" + varints([0, 0]) + HUGE),
        "parameters of 2^40 bytes": sealed(b"\x00" + own + varint(1 << 40)),
        "2^46 bytes to decode": sealed(b"\x00" + own[:-1] + b"\xff\x00\x00" + bytes(4)),
        "a header of 100 MB": b"VCM\x10" + varint(100_000_000) + bytes(100),
        "a header of 2^63 bytes": b"VCM\x10" + HUGE + bytes(100),
        "10^9 frames": sealed(clip + varints([10**9, 1, 30, 0, 1, 1, 10**9 - 1])),
        "10^9 runs of timestamps": sealed(clip + varints([2_600_000, 1, 30, 0, 10**9]) + bytes(100)),
        "ticks beyond 2^62": sealed(clip + varints([2_600_000, 1, 30, 0, 1, 1 << 62, 2_599_999, 2])),
        "runs that do not add up": sealed(clip + varints([100, 1, 30, 0, 1, 1, 98, 2, 0, 0]) + bytes(8)),
        "10^9 sections": sealed(clip + steady + varint(10**9)),
        "2^22 sections": sealed(clip + steady + varint(1 << 22)),
        "a section of 2^40 bytes": sealed(picture + varint(1 << 40) + bytes(4)),
        "a section of 2^39 bytes": sealed(picture + varint(1 << 39) + bytes(4)),
        "sections that overlap": sealed(three + varints([60, 60, 60]) + bytes(12), bytes(60)),
        "sections that wrap around 2^64": sealed(three + varints([1 << 62] * 3) + bytes(12)),
        "trailing bytes": good + b"more",
        "trailing bytes in the header": sealed(picture + varint(0) + bytes(4) + b"more"),
        "a varint of 10 bytes": sealed(b"\x00" + b"\xff" * 9 + b"\x01"),
        "a varint without an end": sealed(b"\x00" + b"\x80" * 10_000),
        "needless zeros": sealed(b"\x00" + b"\x80\x00" + own),
    }


def network(segments: bytes, architecture: bytes, frames: int = 5, memory: int = 1 << 36) -> bytes:
    header = Header("network", 16, 16, "nerv", digest()[:8], varint(1) + segments + architecture, memory,
                    Times.constant(frames, 25))  # fmt: skip
    return write(header, [b"x"])


def networks() -> dict[str, bytes]:
    """For `NetworkFile`."""
    small = Architecture((4, 4, 4), (8, 6), (4,), (3,))
    rows = list(small.to_bytes())  # every number below 128: a byte each

    def changed(**places: int) -> bytes:
        return b"".join(varint(places.get(f"at{i}", value)) for i, value in enumerate(rows))

    one = varint(1) + varint(5)
    return {
        "10^9 tensors": network(varint(10**9) + varint(1) * 50, b"", 2_600_000),
        "10^6 tensors in one section": network(varint(100_000) + varint(26) * 100_000, small.to_bytes(), 2_600_000),
        "a segment of 2^63 frames": network(varint(2) + HUGE + varint(1), small.to_bytes()),
        "2^62 channels": network(one, changed(at1=1 << 62)),
        "2^28 parameters declared small": network(one, changed(at11=1 << 13, at12=1 << 13), memory=1 << 27),
        "10^9 blocks": network(one, changed(at10=10**9)),
        "an embedding of 2^20 cells": network(one, changed(at2=1 << 10, at3=1 << 10), memory=1 << 27),
    }


def structured() -> dict[str, bytes]:
    """For the groups' own reader, as `vcm info` uses it."""

    def file(count: int, mask: bytes) -> bytes:
        about = GroupsHeader(tuple(f"o{i}" for i in range(count)), (480,) * count, (False,) * count, 16, 1024)
        header = Header("groups", 32768, 8192, "groups", WEIGHTS, about.to_bytes(), 1 << 30)
        return write(header, [mask] + [b"x"] * count)

    return {"a mask of 2^20 cells, 64 groups": file(64, b"garbage"), "2^28 pixels of 2 groups": file(2, b"\1")}


def clips() -> dict[str, bytes]:
    """For the index of a clip of changed tiles."""

    def file(groups: bytes) -> bytes:
        parameters = (480).to_bytes(2, "little") + bytes([10, 6, 0]) + groups
        header = Header("clip", 32768, 8192, "sa-icm-s", WEIGHTS, parameters, 1 << 30, Times.constant(MAP_CLAIM, 30),
                        features=CHANGED_TILES)  # fmt: skip
        return write(header, [b""])

    return {
        "maps of 2,600,000 frames of 65,536 tiles": file(varint(MAP_CLAIM) + varint(7) + b"garbage"),
        "the same without a payload": file(varint(MAP_CLAIM) + varint(0)),
        "a map of 2^62 bytes": file(varint(MAP_CLAIM) + varint(1 << 62)),
        "a group of 2^63 frames": file(HUGE + varint(0)),
    }


def read_groups(data: bytes) -> None:
    with read(data) as stream:
        found = streams.check(stream)
        streams.listing(stream)
        streams.read_mask(stream, found)


def read_clip(data: bytes) -> None:
    with read(data) as stream:
        ClipIndex.parse(stream.header).maps(0)


def large() -> dict[str, bytes]:
    """A lie behind megabytes that are there: the header's last byte, or the sum of its runs."""
    own = b"\x31" + varints([0, 0]) + b"\x01a" + WEIGHTS + b"\x00\x00"
    runs = varints([1_000_000, 1, 30, 0, 999_998]) + varints([1, 1, 2, 1]) * 499_999 + varint(2)
    steady = varints([1 << 21, 1, 30, 0, 1, 1, (1 << 21) - 1]) + varint(1 << 21)
    return {"a million runs that do not add up": sealed(own + runs),
            "two million sections and a byte": sealed(own + steady + bytes(5 << 21) + b"x"),
            "parameters of 64 MB and a byte": sealed(own[:-1] + varint(1 << 26) + bytes(1 << 26) + b"\0" * 4),
            }  # fmt: skip


READERS: dict[str, tuple[Callable[[], dict[str, bytes]], Callable[[bytes], Any]]] = {
    "container": (containers, read), "network": (networks, NetworkFile), "groups": (structured, read_groups),
    "clip": (clips, read_clip), "large": (large, read),
}  # fmt: skip


def outcome(reader: Callable[[bytes], Any], data: bytes) -> str:
    try:
        reader(data)
    except StreamError as error:
        return f"{type(error).__name__}: {error}"
    return "ACCEPTED"


def measured(kind: str, name: str, data: bytes, reader: Callable[[bytes], Any]) -> dict[str, Any]:
    seconds = []
    for _ in range(5):
        start = time.process_time()
        said = outcome(reader, data)
        seconds.append(time.process_time() - start)
    tracemalloc.start()
    try:
        outcome(reader, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return {"kind": kind, "lie": name, "bytes": len(data), "ms": 1e3 * statistics.median(seconds),
            "peak_mib": peak / (1 << 20), "said": said}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="rows for a machine")
    arguments = parser.parse_args()
    digest()  # the tables' hash is made once a process
    rows = [measured(kind, name, data, reader) for kind, (lies, reader) in READERS.items()
            for name, data in lies().items()]  # fmt: skip
    torch = "torch" in sys.modules
    if arguments.json:
        print(json.dumps({"torch": torch, "rows": rows}))
        return
    for row in rows:
        print(f"{row['kind']:<10} {row['lie']:<44} {row['bytes']:>9} bytes {row['ms']:>8.2f} ms "
              f"{row['peak_mib']:>7.2f} MiB  {row['said'][:90]}")  # fmt: skip
    small = [row for row in rows if row["kind"] != "large"]
    print(f"{len(small)} lies: {sum(row['said'] != 'ACCEPTED' for row in small)} refused, the slowest "
          f"{max(row['ms'] for row in small):.1f} ms, the largest {max(row['peak_mib'] for row in small):.1f} MiB; "
          f"torch imported: {'yes' if torch else 'no'}")  # fmt: skip


if __name__ == "__main__":
    main()
