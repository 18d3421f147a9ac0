"""Structured streams: the names and qualities in the header, the mask, and cutting groups out. No pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

import icm
from icm.bitstream import Header, read, write
from icm.groups import GroupMask
from icm.groups import stream as streams
from icm.groups.coding import encode_mask
from icm.groups.header import GroupsHeader
from icm.groups.mask import canonical
from tests.fuzz.formats.base import LIMITS, ContainerFormat, Wrong, container_is_its_writers
from tests.fuzz.seal import Parts


class Groups(ContainerFormat):
    name = "groups"
    shares = (0.15, 0.15, 0.1, 0.25, 0.35)

    def seeds(self) -> list[bytes]:
        random = np.random.default_rng(3)
        return [
            self._file(random, (50, 61), 16, ("person", "background"), (480, 480), 1024),
            self._file(random, (40, 70), 16, ("person", "a name of its own", "person", "car"), (480, 160, 480, 1600),
                       128, lock=2, base=(4, 160)),
            self._file(random, (130, 100), 32, ("öde", "sky-other-merged", "2nd"), (16, 16, 16), 32768, lock=5),
            self._file(random, (40, 30), 128, ("all",), (480,), 1024, base=(16, 16)),
            self._file(random, (48, 75), 16, tuple(f"object {i}" for i in range(12)), (480,) * 12, 256),
        ]  # fmt: skip

    @staticmethod
    def _file(
        random: np.random.Generator, size: tuple[int, int], grid: int, names: tuple[str, ...],
        codes: tuple[int, ...], tile: int, lock: int = 0, base: tuple[int, int] | None = None,
    ) -> bytes:  # fmt: skip
        height, width = size
        count = len(names)
        labels = random.integers(0, count, (-(-height // grid), -(-width // grid)))
        labels.flat[:count] = range(count)
        labels[labels.shape[0] // 2 :] = np.sort(labels[labels.shape[0] // 2 :], axis=1)  # some of it is smooth
        ids = canonical(labels)[0]
        about = GroupsHeader(names, codes, tuple(bool(lock >> i & 1) for i in range(count)), grid, tile, base)
        header = Header("groups", width, height, "groups", b"weights!", about.to_bytes(), 1 << 25)
        payloads = [random.bytes(int(random.integers(1, 20))) for _ in range(about.sections - 1)]
        return write(header, [encode_mask(ids, count), *payloads])

    def decode(self, data: bytes) -> Any:
        """(what the header says, the mask, sizes of the groups)."""
        with read(data, LIMITS) as stream:
            about = streams.check(stream)
            mask = streams.read_mask(stream, about)
            rows = streams.listing(stream)
            if about.to_bytes() != stream.header.parameters:
                raise Wrong("the header of the groups, written again, has other bytes")
            if encode_mask(mask.ids, mask.count) != stream.section(0):
                raise Wrong("the mask, coded again, has other bytes")
            GroupMask(mask.ids, mask.names, mask.height, mask.width, mask.grid)  # numbered as the coder meets them
            assert abs(sum(row["share"] for row in rows[: mask.count]) - 1) < 1e-9, "shares that are not the picture's"
            assert len(icm.section_names(stream.header)) == len(stream), "a section without a name"
            icm.describe(stream.header)
            self._cut(stream, about)
            container_is_its_writers(data)
            sections = tuple(stream.sections())
            return about, stream.header.width, stream.header.height, stream.header.colour, mask.ids.tobytes(), sections

    @staticmethod
    def _cut(stream: Any, about: GroupsHeader) -> None:
        """One group cut out keeps its bytes, and its mask."""
        here = [i for i in range(len(about.names)) if stream.lengths[i + 1]]
        if not here:
            return
        with read(streams.extract(stream, [here[-1]]), LIMITS) as less:
            assert less.section(here[-1] + 1) == stream.section(here[-1] + 1), "a cut changed what it keeps"
            assert streams.check(less) == about, "a cut changed the header"

    def section_to_hit(self, random: np.random.Generator, parts: Parts) -> int:
        return 0 if parts.sections[0] else 1

    def is_coded(self, i: int) -> bool:
        return i == 0  # the bytes of a group are its codec's
