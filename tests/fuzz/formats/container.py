"""The container around payloads of the coder, as `sa-icm-s` fills it: a section a tile, each some calls of symbols."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np

import icm
from icm.bitstream import QUALITY_MAP, SAME_BUILD, Decoder, Encoder, Header, StreamError, Times, read, write
from icm.bitstream.build_tables import gaussian
from icm.bitstream.reader import CHECKED_ON_OPENING
from tests.fuzz.formats.base import LIMITS, ContainerFormat, Wrong, container_is_its_writers

SCALES = np.array([0.2, 0.5, 1, 3, 9, 40])
TABLES = gaussian([0, *SCALES])
# Which table codes each symbol: of section i the row i mod 8, so that a section decodes wherever it stands.
INDEX = np.random.default_rng(5).integers(0, len(TABLES), (8, 2, 24)).astype(np.uint8)


def symbols(random: np.random.Generator, i: int) -> np.ndarray:
    index = INDEX[i % 8]
    drawn = np.rint(random.normal(size=index.shape) * np.append(0, SCALES)[index]).astype(np.int32)
    wild = (random.random(index.shape) < 0.02) & (index > 0)
    drawn[wild] = random.integers(-(2**31), 2**31, int(wild.sum()))
    return drawn


def coded(values: np.ndarray, i: int) -> bytes:
    encoder = Encoder()
    for index, part in zip(INDEX[i % 8], values, strict=True):
        encoder.code(TABLES, index, part)
    return encoder.finish()


def decoded(payload: bytes, i: int) -> bytes:
    """The symbols of a section, as bytes; an accepted payload is the one that an encoder makes of them."""
    decoder = Decoder(payload)
    values = np.stack([decoder.code(TABLES, index) for index in INDEX[i % 8]])
    decoder.finish()
    if coded(values, i) != payload:
        raise Wrong(f"section {i}: its symbols, coded again, are other bytes")
    return values.tobytes()


class Containers(ContainerFormat):
    name = "container"

    def seeds(self) -> list[bytes]:
        random = np.random.default_rng(11)
        uneven = Times.of(np.cumsum(random.integers(1, 4, 4)) - 9, Fraction(1, 30))
        picture = Header("picture", 97, 61, "sa-icm-s", b"weights!", b"\x19\x02\x06", 1 << 25)
        kinds = [
            (picture, 1),
            (dataclasses.replace(picture, features=QUALITY_MAP | SAME_BUILD, parameters=b"\x19\x02\x06\x04\x05"), 3),
            (dataclasses.replace(picture, kind="clip", times=Times.constant(3, 25), colour="bt709"), 3),
            (dataclasses.replace(picture, kind="clip", times=uneven, features=1 << 61), 4),
            (dataclasses.replace(picture, kind="network", times=Times.constant(3, 30), parameters=b""), 2),
            (dataclasses.replace(picture, kind="groups", colour="bt2020"), 3),
        ]
        return [write(header, [coded(symbols(random, i), i) for i in range(count)]) for header, count in kinds]

    def decode(self, data: bytes) -> Any:
        """(facts of the header, {section: symbols}); of a file that is only partly right, what is."""
        try:
            stream = read(data, LIMITS)
        except StreamError:
            return self._partly(data)
        facts = self._facts(stream)
        found = {i: decoded(stream.section(i), i) for i in range(len(stream))}
        if stream.verify() and stream.header.kind in CHECKED_ON_OPENING:
            raise Wrong("opened, every section read, and `verify` finds fault")
        container_is_its_writers(data)
        return facts, found

    def _partly(self, data: bytes) -> Any:
        stream = read(data, LIMITS, partial=True)
        facts, found = self._facts(stream), {}
        if not stream.verify():
            raise Wrong("refused when opened, and `verify` finds no fault")
        for i in range(len(stream)):
            try:
                found[i] = decoded(stream.section(i), i)
            except StreamError:
                continue
        return Partly((facts, found))

    @staticmethod
    def _facts(stream: Any) -> Any:
        """What `vcm info` reads; parts that cover the file without gaps."""
        header, at = stream.header, 0
        for _, offset, length in stream.layout():
            assert offset == at, "a gap between parts of the file"
            at += length
        assert at == stream.size
        ticks = header.times.ticks.tobytes() if header.times else b""
        icm.describe(header), icm.section_names(header)
        return header, ticks, stream.lengths


class Partly(tuple):  # type: ignore[type-arg]
    """What is intact of a damaged file: it agrees with the truth where it says anything."""

    def __eq__(self, other: object) -> bool:
        facts, found = self
        return isinstance(other, tuple) and facts == other[0] and found.items() <= other[1].items()

    __hash__ = tuple.__hash__
