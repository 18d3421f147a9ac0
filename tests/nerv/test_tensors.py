"""Tensors to bytes and back: exact whatever they are; damage is refused; the estimate of their size is met."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.bitstream import StreamError
from nerv.coding.halves import order, restore
from nerv.coding.tensors import Affine, Stepped, Tensor, pack, step_of, unpack
from tests.nerv.tiny import affine, stepped


def same(a: Tensor, b: Tensor) -> None:
    assert type(a) is type(b)
    for name, value in vars(a).items():
        other = getattr(b, name)
        assert (value.dtype, value.shape) == (other.dtype, other.shape), name
        assert (value == other).all(), name
    assert (a.values() == b.values()).all()
    assert a.values().dtype == np.float32


@pytest.mark.parametrize(
    "tensor",
    [
        affine((20, 7, 3, 3), 0),
        affine((20, 7, 3, 3), 1, kept=(0, 2, 3)),
        affine((20, 7, 3, 3), 2, kept=(1, 2, 3)),
        affine((6, 2, 4, 30), 3, kept=(0, 1, 2)),
        affine((40,), 4, kept=()),
        affine((40,), 5, half=False),
        affine((1,), 6, half=False),
        Affine(np.zeros((3, 4), np.uint8), np.zeros((1, 1), np.float16), np.zeros((1, 1), np.float16)),
        Affine(np.full((3, 4), 255, np.uint8), np.ones((3, 1), np.float16), np.full((3, 1), -1, np.float16)),
    ],
)
def test_affine_round_trip(tensor: Affine) -> None:
    same(tensor, unpack(pack(tensor), tensor.shape))


@pytest.mark.parametrize("along", [False, True])
@pytest.mark.parametrize("shape", [(20, 7, 3, 3), (1, 1), (5,), (3, 200)])
def test_stepped_round_trip(shape: tuple[int, ...], along: bool) -> None:
    tensor = stepped(shape, 0, along)
    same(tensor, unpack(pack(tensor, along), shape))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 30), st.integers(0, 31))
def test_any_symbols(seed: int, rows: int, columns: int, bits: int) -> None:
    random = np.random.default_rng(seed)
    q = random.integers(-(2**bits) + 1, 2**bits, (rows, columns)).astype(np.int32)
    tensor = Stepped(q, random.integers(-400, 400, rows).astype(np.int32), np.zeros(columns, np.int32))
    same(tensor, unpack(pack(tensor), q.shape))
    minimum, scale = (random.normal(0, spread, (rows, 1)).astype(np.float16) for spread in (9, 1))
    whole = Affine(random.integers(0, 256, (rows, columns)).astype(np.uint8), minimum, scale)
    same(whole, unpack(pack(whole), whole.shape))


def test_halves_are_ordered() -> None:
    values = np.sort(np.random.default_rng(0).normal(0, 3, 500).astype(np.float16))
    values = np.concatenate([values, np.array([-65504, -0.0, 0.0, 65504], np.float16)])
    assert (np.diff(order(values[:500])) >= 0).all()
    assert restore(order(values)).tobytes() == values.tobytes()
    with pytest.raises(ValueError, match="infinite"):
        order(np.array([np.inf], np.float16))
    with pytest.raises(StreamError, match="finite"):
        restore(np.array([0x7C00]))


def test_steps_are_exact_on_any_machine() -> None:
    assert step_of(np.array([0, 8, -16, 3])).tolist() == [1.0, 2.0, 0.25, 332 / 256]


def test_size_is_near_the_entropy() -> None:
    """Gaussian symbols of one width a column: within 1 % and 60 bytes of what they must cost."""
    random = np.random.default_rng(0)
    sigma = 2.0 ** random.uniform(1, 5, 64)
    q = np.rint(random.normal(0, 1, (300, 64)) * sigma).astype(np.int32)
    entropy = 300 / 8 * np.sum(np.log2(sigma * np.sqrt(2 * np.pi * np.e)))
    assert len(pack(Stepped(q, np.zeros(300, np.int32), np.zeros(64, np.int32)))) < 1.01 * entropy + 60


def test_frames_that_change_slowly_cost_less() -> None:
    q = np.cumsum(np.random.default_rng(0).integers(-2, 3, (16, 100)), axis=1).astype(np.int32)
    tensor = Stepped(q, np.zeros(16, np.int32), np.zeros(100, np.int32))
    assert len(pack(tensor, along=True)) < 0.6 * len(pack(tensor))


@pytest.mark.parametrize("tensor", [affine((6, 5, 3, 3), 0), stepped((6, 5, 3, 3), 0)])
def test_damage_is_an_error_or_told_by_the_coder(tensor: Tensor) -> None:
    """Without the container's checksums: nothing but a StreamError, ever; nearly all of it refused."""
    data, random, passed = pack(tensor), np.random.default_rng(1), 0
    for trial in range(300):
        broken = bytearray(data)
        if trial % 3:
            broken[random.integers(len(broken))] ^= 1 << random.integers(8)
        else:
            broken = broken[: random.integers(len(broken))]
        try:
            found = unpack(bytes(broken), tensor.shape)
            passed += found.values().shape == tensor.shape
        except StreamError:
            pass
    assert passed < 45  # flips in scales' own numbers make another, whole tensor: the checksum is there for them
