"""What the container's parts refuse or hand on where no damaged file leads: wrong arguments, the system's errors."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icm.bitstream import Decoder, Encoder, Header, StreamError, Tables, Times, Unsupported, read, write
from icm.bitstream.build_tables import from_pmfs
from icm.bitstream.coder import _translated
from icm.bitstream.fields import crc32c, varint
from icm.bitstream.source import Source
from icm.bitstream.tables import TOTAL

HEADER = Header("picture", 3, 2, "a", b"weights!")
DATA = write(HEADER, [b"one", b"two"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Times(Fraction(1, 25), 0, [2, 2], [1, 1]), "same step must be one"),
        (lambda: Times.constant(0, 25), "make no clip"),
        (lambda: Times.constant(5, Fraction(-1)), "make no clip"),
        (lambda: Tables.padded([1, 2], [1], [0]), "are a matrix"),
        (lambda: Tables.padded([[TOTAL]], [2], [0]), "as many sizes"),
        (lambda: Tables.from_arrays({"sizes": [1]}), "lack frequencies, offsets"),
        (lambda: from_pmfs([np.full(2 * TOTAL, 0.5 / TOTAL)], [0]), "longer than 65536"),
        (lambda: from_pmfs([np.array([0.5, np.nan])], [0]), "sum to at most 1"),
        (lambda: write(HEADER, []), "at least one section"),
    ],
)
def test_what_cannot_be_written_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_times_say_what_they_are() -> None:
    one, two = Times.constant(1, 25), Times.constant(2, 25)
    assert one.rate is None
    assert len({one, two, Times.constant(2, 25)}) == 2
    assert repr(two) == "Times(2 frames, base=1/25, first=0, 1 runs)"


def colour_of(number: int) -> bytes:
    """A picture whose header says this colour, checksums right."""
    body = b"\x40" + bytes(2) + b"\x01a" + bytes(8) + b"\0\0" + bytes([number]) + b"\0" + bytes(4)
    start = b"VCM\x10" + varint(len(body)) + body
    data = start + crc32c(start).to_bytes(4, "little")
    return data + crc32c(data).to_bytes(4, "little")


def test_colours_of_a_later_version_are_named() -> None:
    assert read(colour_of(2)).header.colour == "bt709"
    with pytest.raises(Unsupported, match="colour 9 is newer"):
        read(colour_of(9))
    with pytest.raises(StreamError, match="repeats its default"):
        read(colour_of(0))


# --- the system's own errors ----------------------------------------------------------------------------------------
def test_what_cannot_be_measured_is_the_systems_error() -> None:
    readable, writable = os.pipe()
    try:
        with pytest.raises(OSError, match=r"[Ss]eek"):
            Source(f"/dev/fd/{readable}")
    finally:
        os.close(readable)
        os.close(writable)


def test_a_failing_disk_is_the_systems_error_and_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, closed = tmp_path / "a.vcm", []
    path.write_bytes(DATA)

    def fail(self: Source, offset: int, length: int) -> bytes:
        raise OSError("the disk is gone")

    close = Source.close
    monkeypatch.setattr(Source, "read", fail)
    monkeypatch.setattr(Source, "close", lambda self: (closed.append(self), close(self)))
    with pytest.raises(OSError, match="disk is gone"):
        read(path)
    assert len(closed) == 1


def test_files_are_read_alike_without_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.vcm"
    path.write_bytes(DATA)
    with Source(path) as source:
        expected = source.read(2, 9), source.read(len(DATA) - 1, 9)
    monkeypatch.delattr(os, "pread", raising=False)
    with Source(path) as source, read(path) as stream:
        assert (source.read(2, 9), source.read(len(DATA) - 1, 9)) == expected == (DATA[2:11], DATA[-1:])
        assert list(stream.sections()) == [b"one", b"two"]
        assert stream.verify() == []


def test_an_interruption_stays_one() -> None:
    """Not a word of damage where somebody pressed Ctrl-C within the coder."""
    with pytest.raises(KeyboardInterrupt), _translated():
        raise KeyboardInterrupt
    with pytest.raises(StreamError, match="refuses the payload"), _translated():
        raise RuntimeError("of the coder")


def test_a_payload_that_has_run_out_ends_at_once() -> None:
    """However many symbols it should hold: here a billion, in calls of a thousand."""
    tables, index = Tables([[60000, 5535, 1]], [0]), np.zeros(1000, np.uint8)
    decoder, calls = Decoder(b"\x01\x02\x03\x04\x05"), []

    def many() -> None:
        for _ in range(1_000_000):
            calls.append(decoder.code(tables, index))

    with pytest.raises(StreamError, match="desynchronised: the final state is"):
        many()
    assert len(calls) < 10
    encoder = Encoder()  # and an intact one never does, wherever its calls end
    symbols = (np.random.default_rng(0).random(3000) < 0.05).astype(np.int32)
    for part in symbols.reshape(-1, 3):
        encoder.code(tables, np.zeros(3, np.uint8), part)
    decoder = Decoder(encoder.finish())
    assert np.array_equal(np.concatenate([decoder.code(tables, np.zeros(3, np.uint8)) for _ in range(1000)]), symbols)
    decoder.finish()
