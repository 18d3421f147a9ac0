"""Damage to small files, all of it: every cut, every bit, sections exchanged. Random damage is tests/fuzz's."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from icm.bitstream import Decoder, Encoder, Header, StreamError, Times, read, write
from icm.bitstream.build_tables import gaussian
from icm.bitstream.fields import crc32c

SCALES = np.array([0.2, 0.5, 1, 3, 9, 40])
TABLES = gaussian([0, *SCALES])


class Sample:
    """A file and the symbols in it: `calls` of Encoder.code a section."""

    def __init__(self, rng: np.random.Generator, kind: str, sections: int) -> None:
        self.index = rng.integers(0, len(TABLES), (sections, 2, 60)).astype(np.uint8)
        self.symbols = np.rint(rng.normal(size=self.index.shape) * np.append(0, SCALES)[self.index]).astype(np.int32)
        wild = (rng.random(self.index.shape) < 0.02) & (self.index > 0)
        self.symbols[wild] = rng.integers(-(2**31), 2**31, int(wild.sum()))
        times = Times.of(np.cumsum(rng.integers(1, 4, sections)), Fraction(1, 30)) if kind != "picture" else None
        self.header = Header(kind, 97, 61, "sa-icm-s", b"weights!", b"\x19\x02", 1 << 26, times)
        self.payloads = [self._encode(i) for i in range(sections)]
        self.data = write(self.header, self.payloads)

    def _encode(self, i: int) -> bytes:
        coder = Encoder()
        for index, symbols in zip(self.index[i], self.symbols[i], strict=True):
            coder.code(TABLES, index, symbols)
        return coder.finish()

    def outcome(self, data: bytes, partial: bool) -> str:
        """What a decoder makes of `data`: refused, partly refused, or right. Asserts that it is never wrong."""
        try:
            stream = read(data, partial=partial)
        except StreamError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 300
            return "refused when opened"
        lost = 0
        for i in range(min(len(stream), len(self.payloads))):
            try:
                coder = Decoder(stream.section(i))
                symbols = np.stack([coder.code(TABLES, index) for index in self.index[i]])
                coder.finish()
            except StreamError as error:
                assert "\n" not in str(error)
                lost += 1
            else:
                assert (symbols == self.symbols[i]).all(), "wrong symbols, silently"
        return "section refused" if lost else "right"


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = np.random.default_rng(11)
    return [Sample(rng, "picture", 1), Sample(rng, "picture", 3), Sample(rng, "clip", 5), Sample(rng, "network", 2)]


def test_undamaged_files_are_right(samples):
    assert [sample.outcome(sample.data, False) for sample in samples] == ["right"] * 4


def test_a_cut_at_every_byte_is_refused(samples):
    for sample in samples:
        for end in range(len(sample.data)):
            assert sample.outcome(sample.data[:end], False) == "refused when opened"
            assert sample.outcome(sample.data[:end], True) != "right" or end >= len(sample.data) - 4


def test_every_flipped_bit_is_refused(samples):
    for sample in samples[:2]:
        for bit in range(8 * len(sample.data)):
            data = bytearray(sample.data)
            data[bit // 8] ^= 1 << bit % 8
            assert sample.outcome(bytes(data), False) == "refused when opened"


def test_a_swapped_section_is_refused(samples):
    """A section of another picture has a right checksum of its own, but not the one in the header."""
    one, two = samples[1], Sample(np.random.default_rng(13), "picture", 3)
    end = len(one.data) - 4 - sum(map(len, one.payloads))
    data = one.data[:end] + two.payloads[0] + b"".join(one.payloads[1:])
    data += crc32c(data).to_bytes(4, "little")
    assert one.outcome(data, True) == "section refused" or len(two.payloads[0]) != len(one.payloads[0])
    swapped = write(dataclasses.replace(one.header), [one.payloads[1], one.payloads[0], one.payloads[2]])
    assert one.outcome(swapped, False) == "section refused"  # the coder notices: it has other indices
