"""Clips of changed tiles: the index in the header, groups of frames, maps of the tiles that each frame sends."""

from __future__ import annotations

import zlib
from fractions import Fraction
from typing import Any

import numpy as np

import icm
from icm.bitstream import CHANGED_TILES, Header, StreamError, Times, read, write
from icm.bitstream.fields import varint
from icm.codecs.clip_index import ClipIndex, encode_maps
from tests.fuzz.formats.base import LIMITS, Case, ContainerFormat, Wrong, container_is_its_writers
from tests.fuzz.mutations import mutated


class Clips(ContainerFormat):
    name = "clips"
    shares = (0.15, 0.15, 0.1, 0.6, 0.0)

    def seeds(self) -> list[bytes]:
        random = np.random.default_rng(4)
        return [
            self._file(random, (130, 120), [4, 3, 2], 64, 64, 30),
            self._file(random, (64, 64), [1], 64, 64, 0),
            self._file(random, (150, 70), [7], 256, 128, 5),
            self._file(random, (110, 130), [2, 1, 4], 1024, 64, 0),
        ]

    @staticmethod
    def _file(
        random: np.random.Generator, size: tuple[int, int], lengths: list[int], area: int, tile: int, finer: int
    ) -> bytes:
        shape, frames, maps = (-(-size[0] // tile), -(-size[1] // tile)), sum(lengths), []
        for count in lengths:
            one = random.random((count, *shape)) < 0.25
            one[0] = True
            maps.append(one)
        index = ClipIndex(*size, 480, area, tile, finer, lengths, [encode_maps(one) for one in maps])
        sent = np.concatenate(maps).any((1, 2))
        times = Times.of(np.cumsum(random.integers(1, 3, frames)), Fraction(1, 30))
        header = Header("clip", size[1], size[0], "sa-icm-s", b"weights!", index.to_bytes(), 1 << 25, times,
                        features=CHANGED_TILES)  # fmt: skip
        return write(header, [random.bytes(6) if some else b"" for some in sent])

    def case(self, random: np.random.Generator) -> Any:
        """As of any container; of the damaged parameters half are maps whose lengths are right."""
        if random.random() < 0.7:
            return super().case(random)
        which = int(random.integers(len(self.parts)))
        with read(self.parts[which].data) as stream:
            index = ClipIndex.parse(stream.header)
        hit, payloads = int(random.integers(len(index.payloads))), list(index.payloads)
        payloads[hit] = mutated(random, payloads[hit] or varint(9), payloads[0], [0])
        own = ClipIndex(1, 1, index.code, index.area, index.tile, index.finer, index.lengths.tolist(), payloads)
        changed = payloads[hit] != index.payloads[hit]
        return Case("maps", self.parts[which].with_parameters(own.to_bytes()), self.truths[which], coded=changed)

    def decode(self, data: bytes) -> Any:
        """(the index, every map, the bytes of every section)."""
        with read(data, LIMITS) as stream:
            if zlib.crc32(data) % 4 == 0:  # it decodes every map once more, and says what is wrong instead of raising
                icm.describe(stream.header)
            known = stream.header.kind == "clip" and stream.header.model in icm.CODECS
            if not known or not stream.header.features & CHANGED_TILES:
                raise StreamError("no clip of changed tiles")
            index = ClipIndex.parse(stream.header)
            maps = [index.maps(group) for group in range(len(index.keys))]
            if index.to_bytes() != stream.header.parameters:
                raise Wrong("the index of the clip, written again, has other bytes")
            for one, payload in zip(maps, index.payloads, strict=True):
                if encode_maps(one) != payload:
                    raise Wrong("a map, coded again, has other bytes")
            last = index.frames - 1
            assert index.key_of(last) <= last <= index.affected(last) < index.frames, "frames out of their group"
            assert len(icm.section_names(stream.header)) == index.frames, "a frame without a name"
            container_is_its_writers(data)
            sections = tuple(stream.sections())
            return stream.header.times, index.to_bytes(), [one.tobytes() for one in maps], sections
