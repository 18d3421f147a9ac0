"""What the packer of tensors and the reader of network files refuse, each in one line that says what."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from icm.bitstream import Encoder, Header, StreamError, Times, read, write
from icm.bitstream.fields import Cursor, varint, zigzag
from nerv.coding import halves
from nerv.coding.bells import centred
from nerv.coding.grid import Plan, walk_centred
from nerv.coding.tensors import Affine, Stepped, pack, unpack
from nerv.file import NetworkFile, layout, symbols_of, write_networks
from nerv.models.architecture import Architecture
from tests.nerv.tiny import FRAMES, TINY, affine, stepped, tensors

TIMES = Times.constant(FRAMES, 25)


def architecture(**changes: Any) -> Architecture:
    return dataclasses.replace(TINY, **changes)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: pack(Affine(np.zeros((2, 3), np.uint8), np.zeros(4, np.float16), np.ones(4, np.float16))), "fit"),
        (lambda: pack(dataclasses.replace(affine((4, 3), 0), scale=np.full((4, 1), np.inf, np.float16))), "finite"),
        (lambda: pack(Affine(np.zeros((2, 3), np.uint8), np.zeros((2, 1), np.float32), np.ones((2, 1), np.float32))),
         "one to a tensor"),
        (lambda: pack(dataclasses.replace(stepped((4, 3), 0), rows=np.zeros(3, np.int32))), "do not fit"),
        (lambda: pack(dataclasses.replace(stepped((4, 3), 0), rows=np.full(4, 401, np.int32))), "2.±50"),
        (lambda: write_networks("hnerv", TINY, [(FRAMES, tensors(frames=3))], TIMES), "in this architecture"),
        (lambda: write_networks("hnerv", TINY, [(FRAMES, tensors())], Times.constant(9, 25)), "9 timestamps"),
        (lambda: NetworkFile(write_networks("hnerv", TINY, [(FRAMES, tensors())], TIMES)).segment_of(FRAMES), "not 5"),
        (lambda: architecture(details=(1, 0)), "no.* residual|there is none"),
        (lambda: architecture(residuals=(17, 0)), "0 to 16 residual"),
        (lambda: architecture(residuals=(1,)), "0 to 16 residual"),
        (lambda: architecture(kernels=(1, 2)), "kernels odd"),
        (lambda: architecture(strides=()), "1 to 12 blocks"),
        (lambda: architecture(positional=(1250, 3)), "2 L channels"),
        (lambda: architecture(activation="step"), "activations are"),
        (lambda: architecture(strides=(200, 200)), "beyond the limits"),
        (lambda: architecture(widths=(16384, 16384, 5)), "parameters are beyond"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


def section(head: list[int], walk: Any) -> bytes:
    """Numbers, then what `walk` codes."""
    encoder = Encoder()
    walk(encoder)
    return b"".join(map(varint, head)) + encoder.finish()


PLAN = [0, 0, zigzag(8)]  # shape, flags, base width
HUGE = np.array([[1 << 30, 1 << 30]])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda: varint(2), "kind 2 is newer"),
        (lambda: section([0, 2, 0], lambda coder: None), "quantiser beyond"),
        (lambda: section([0, 0, 1], lambda coder: None), "single-precision quantisers a row"),
        (lambda: section([0, 0, 0], lambda c: None) + np.array([np.nan, 1], "<f4").tobytes() + bytes(PLAN), "finite"),
        (lambda: section([0, 1, 0, 9, 0, 0, 0, 0, *PLAN], lambda coder: None), "quantisers beyond"),
        (lambda: section([1, 2, 0, 0, 0, 0, *PLAN], lambda coder: None), "steps beyond"),
        (lambda: section([1, 0, zigzag(401), 0, 0, 0, *PLAN], lambda coder: None), "step is beyond"),
        (lambda: section([1, 0, 0, 0, 0, 0, 0, 4, zigzag(8)], lambda c: c.code(centred((8,), 0), np.zeros((1, 2), int),
                                                                               HUGE)), "beyond 32 bits"),
        (lambda: section([1, 0, 0, 0, 0, 0, 9, 0, 0], lambda coder: None), "tables beyond"),
    ],
)  # fmt: skip
def test_sections_that_no_encoder_writes_are_refused(data: Any, said: str) -> None:
    with pytest.raises(StreamError, match=said):
        unpack(data(), (1, 2))


def test_centred_symbols_beyond_a_byte_are_refused() -> None:
    """An affine tensor whose symbols were coded about a centre: 0 to 255 come back, 300 does not."""

    def coded(symbols: list[list[int]]) -> bytes:
        plan = Plan(0, 40, 4)
        encoder = Encoder()
        centre = 0  # of min 0 and scale 1
        walk_centred(encoder, plan, (1, 2), np.array(symbols) - centre)
        quantiser = np.array([0, 1], "<f4").tobytes()
        return varint(0) + varint(0) + varint(0) + quantiser + plan.to_bytes() + encoder.finish()

    assert unpack(coded([[0, 255]]), (1, 2)).q.tolist() == [[0, 255]]
    with pytest.raises(StreamError, match="outside of its range"):
        unpack(coded([[0, 300]]), (1, 2))


def test_a_half_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="infinite or not a number"):
        halves.order(np.array([np.inf], np.float16))
    with pytest.raises(StreamError, match="no finite half"):
        halves.restore(np.array([0x7C00]))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (varint(3), "newer format"),
        (varint(1) + varint(0), "0 segments"),
        (varint(1) + varint(9), "9 segments"),
        (varint(1) + varint(1) + varint(4) + TINY.to_bytes(), "do not add up"),
        (varint(1) + varint(1) + varint(5) + TINY.to_bytes() + b"\0", "do not add up"),
        (varint(1) + varint(1) + varint(5) + b"\x03", "network of format 3"),
        (varint(1) + varint(1) + varint(5) + TINY.to_bytes()[:8] + b"\x09" + TINY.to_bytes()[9:], "no network that"),
        (varint(1) + varint(1) + varint(5) + b"\x01\x00" + TINY.to_bytes()[2:], "widths, strides"),
    ],
)
def test_descriptions_that_contradict_are_refused(parameters: bytes, said: str) -> None:
    header = Header("network", 17, 10, "hnerv", b"weights!", parameters, 1 << 30, TIMES)
    with pytest.raises(StreamError, match=said):
        layout(header)


def test_what_is_stored_for_each_frame_comes_back() -> None:
    """With details, so that every kind of tensor has been there; and what `vcm info` says of it."""
    full = Architecture((2, 1, 1), (4, 3), (2,), (1,), stem=3, head=2, residuals=(1,), details=(2,))
    data = write_networks("sa-nerv", full, [(3, tensors(full, 3))], Times.of([0, 1, 5], Fraction(1, 9)))
    with NetworkFile(read(data)) as file:
        assert file.architecture == full == Architecture.parse(Cursor(full.to_bytes(), 0))
        assert symbols_of(full, 3) == sum(tensor.q.size for tensor in file.tensors(0).values())
        assert file.architecture.facts()["details"] == "(2,)"
    with read(data) as stream:
        assert write(stream.header, stream.sections()) == data


def test_values_are_products_of_steps() -> None:
    tensor = Stepped(np.array([[3, -2]], np.int32), np.array([8], np.int32), np.array([0, -16], np.int32))
    assert tensor.values().tolist() == [[6.0, -1.0]]
