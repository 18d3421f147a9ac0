"""The entropy coder: round trips, literal bytes, a second implementation from README.md, and what damage does to it."""

from __future__ import annotations

import time
from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.bitstream import Decoder, Desynchronised, Encoder, StreamError, Tables
from icm.bitstream.build_tables import gaussian

SCALES = np.geomspace(0.15, 40, 20)
TABLES = gaussian([0, *SCALES])
INT32 = st.integers(-(2**31), 2**31 - 1)


def encoded(index, symbols, tables=TABLES) -> bytes:
    coder = Encoder()
    coder.code(tables, index, symbols)
    return coder.finish()


def decoded(payload, index, tables=TABLES) -> np.ndarray:
    coder = Decoder(payload)
    symbols = coder.code(tables, index)
    coder.finish()
    return symbols


def sample(rng, count):
    """Indices and the symbols that their Gaussians would give."""
    index = rng.integers(0, len(TABLES), count).astype(np.uint8)
    return index, np.rint(rng.normal(size=count) * np.concatenate([[0], SCALES])[index]).astype(np.int32)


# ---- a second implementation, from README.md alone ------------------------------------------------


def intervals(row):
    """Left ends of a table's 24-bit intervals, and 2^24."""
    total, left = 0, []
    for i, frequency in enumerate(row):
        left.append((total * ((1 << 24) - len(row)) >> 16) + i)
        total += int(frequency)
    return [*left, 1 << 24]


class Reference:
    """A decoder in plain integers."""

    def __init__(self, payload: bytes) -> None:
        payload = payload or b"\xff\xff\xff"
        payload += bytes(-len(payload) % 4)
        self.words = [int.from_bytes(payload[i : i + 4], "little") for i in range(0, len(payload), 4)]
        self.state = self.words.pop()
        self.refill()

    def refill(self):
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def pop(self, left):
        low = self.state & (1 << 24) - 1
        i = bisect_right(left, low) - 1
        self.state = (self.state >> 24) * (left[i + 1] - left[i]) + low - left[i]
        self.refill()
        return i

    def bits(self, count):
        group = 1 << 8 - count
        return self.pop(
            intervals([sum(range(128 + v * group, 128 + (v + 1) * group)) for v in range(1 << count)] + [128])
        )

    def code(self, rows, offsets, index):
        escapes = [(16384 >> k // 2) + 64 - k for k in range(64)]
        escapes = [65535 - sum(escapes[1:]), *escapes[1:], 1]
        out, found = [0] * len(index), []
        for at in sorted(range(len(index)), key=lambda at: index[at]):  # stable
            row, offset = rows[index[at]], offsets[index[at]]
            entry = self.pop(intervals(row)) if len(row) > 1 else 0
            out[at] = offset + entry
            if len(row) > 1 and entry == len(row) - 1:
                found.append((at, offset, offset + len(row) - 2))
        classes = [self.pop(intervals(escapes)) for _ in found]
        raw = [0] * len(found)
        for shift in (0, 8, 16, 24):
            widths = [min(c // 2 - shift, 8) for c in classes]
            for i in sorted((i for i, w in enumerate(widths) if w > 0), key=lambda i: widths[i]):
                raw[i] += self.bits(widths[i]) << shift
        for (at, first, last), c, value in zip(found, classes, raw, strict=True):
            distance = (1 << c // 2) + value
            out[at] = first - distance if c % 2 else last + distance
        return out

    def done(self):
        return self.state == 0xFFFFFF and not self.words


def test_a_second_implementation_reads_the_same_symbols():
    rng = np.random.default_rng(3)
    rows, offsets = [row.tolist() for row in TABLES.rows], TABLES.offsets.tolist()
    for count in (0, 1, 2, 50, 700):
        index, symbols = sample(rng, count)
        wild = rng.random(count) < 0.1
        symbols[wild & (index > 0)] = rng.integers(-(2**31), 2**31, count)[wild & (index > 0)]
        coder = Encoder()
        coder.code(TABLES, index, symbols)
        coder.code(TABLES, index[::-1], symbols[::-1])
        reference = Reference(coder.finish())
        assert reference.code(rows, offsets, index.tolist()) == symbols.tolist()
        assert reference.code(rows, offsets, index[::-1].tolist()) == symbols[::-1].tolist()
        assert reference.done()


# ---- literal bytes: these never change within major version 1 -------------------------------------

LITERAL = Tables([[65536], [2, 60000, 5000, 534], [10000, 20000, 30000, 5536]], [5, -1, -2])


@pytest.mark.parametrize(
    ("index", "symbols", "payload"),
    [
        ([], [], ""),
        ([0, 0], [5, 5], ""),
        ([1], [0], "01a21501"),
        ([1] * 40, [0] * 40, "cb116e14"),
        ([2, 1, 0, 2, 1, 2, 2], [-2, 1, 5, -1, -1, 0, -2], "fae8fc10f96c07"),
        ([1, 2, 1, 2], [2**31 - 1, -(2**31), 100, -3], "56edfe315e7b5a840d74ee72be6bfec0185d01"),
        ([2] * 60, [-2, -1, 0] * 20, "c0e202b12b686f568c5b34d6e989160697"),
    ],
)
def test_the_bytes_are_literally_these(index, symbols, payload):
    index = np.array(index, np.uint8)
    assert encoded(index, symbols, LITERAL).hex() == payload
    assert decoded(bytes.fromhex(payload), index, LITERAL).tolist() == symbols


# ---- round trips ----------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(1, 20), st.one_of(INT32, st.integers(-40, 40))), max_size=40), max_size=4)
)
def test_any_int32_comes_back(calls):
    encoder = Encoder()
    arrays = [np.array(call, np.int64).reshape(-1, 2) for call in calls]
    for pairs in arrays:
        out = encoder.code(TABLES, pairs[:, 0], pairs[:, 1])
        assert out.tolist() == pairs[:, 1].tolist()
    payload = encoder.finish()
    decoder = Decoder(payload)
    for pairs in arrays:
        assert decoder.code(TABLES, pairs[:, 0]).tolist() == pairs[:, 1].tolist()
    decoder.finish()
    assert not payload.endswith(b"\0")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_tables_work(data):
    rows, offsets = [], []
    for _ in range(data.draw(st.integers(1, 5))):
        cuts = data.draw(st.lists(st.integers(1, 65535), max_size=12, unique=True))
        rows.append(np.diff([0, *sorted(cuts), 65536]))
        offsets.append(data.draw(st.integers(-(2**31), 2**31 - 1 - 12)))
    tables = Tables(rows, offsets)
    index = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=60)), np.int64)
    symbols = np.array(
        [data.draw(st.one_of(INT32, st.integers(0, 11).map(offsets[i].__add__))) for i in index], np.int64
    )
    encoder = Encoder()
    out = encoder.code(tables, index, symbols)
    never = tables.sizes[index] == 1
    assert (out == np.where(never, tables.offsets[index], symbols)).all()
    assert (decoded(encoder.finish(), index, tables) == out).all()


def test_shapes_types_and_many_tables():
    tables = Tables([[i + 1, 65536 - i - 2, 1] for i in range(700)], range(700))
    index = np.arange(700).reshape(2, 350)[:, ::-1]
    for symbols in (index, index.astype(np.float32), index.astype(np.uint16)):
        payload = encoded(index, symbols, tables)
        assert (decoded(payload, index, tables) == index).all()
        assert decoded(payload, index, tables).dtype == np.int32
    assert decoded(encoded(np.int64(3), 3, tables), np.array(3), tables) == 3


@pytest.mark.parametrize(
    "symbols",
    [[0.5], [np.nan], [np.inf], [-np.inf], [2.0**31], [-(2.0**31) - 512], [2**31], [-(2**31) - 1], ["a"], [0, 1]],
)
def test_what_is_no_int32_raises(symbols):
    start = time.process_time()
    with pytest.raises(ValueError, match="symbols"):
        Encoder().code(TABLES, [3], np.array(symbols))
    assert time.process_time() - start < 1


@pytest.mark.parametrize("index", [[-1], [21], [0.5], [2**40]])
def test_indices_outside_the_tables_raise(index):
    with pytest.raises(ValueError, match="table indices"):
        Encoder().code(TABLES, index, [0])
    with pytest.raises(ValueError, match="table indices"):
        Decoder(b"").code(TABLES, index)


def test_extreme_symbols_are_fast():
    symbols = np.where(np.arange(200_000) % 2, 2**31 - 1, -(2**31))
    index = np.full(symbols.shape, 5)
    start = time.process_time()
    payload = encoded(index, symbols)
    assert (decoded(payload, index) == symbols).all()
    assert time.process_time() - start < 2
    assert len(payload) < 12 * len(symbols)


def test_200k_symbols_take_milliseconds():
    rng = np.random.default_rng(0)
    index, symbols = sample(rng, 200_000)
    best = [9.0, 9.0]
    for _ in range(5):
        start = time.process_time()
        payload = encoded(index, symbols)
        middle = time.process_time()
        assert (decoded(payload, index) == symbols).all()
        best = [min(best[0], middle - start), min(best[1], time.process_time() - middle)]
    print(f"\n200,000 symbols: encode {1e3 * best[0]:.1f} ms, decode {1e3 * best[1]:.1f} ms, {len(payload)} bytes")
    assert max(best) < 0.25  # a few milliseconds on a quiet machine


# ---- damage ---------------------------------------------------------------------------------------


def test_every_flipped_bit_is_noticed():
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(40):
        index, symbols = sample(rng, 400)
        payload = encoded(index, symbols)
        for bit in rng.choice(8 * len(payload), 50, replace=False).tolist():
            damaged = bytearray(payload)
            damaged[bit // 8] ^= 1 << bit % 8
            try:
                decoded(damaged, index)
                missed += 1
            except StreamError:
                pass
    assert missed == 0  # of 2,000


def test_every_flipped_index_is_noticed():
    rng = np.random.default_rng(6)
    missed = 0
    for _ in range(40):
        index, symbols = sample(rng, 400)
        index = np.maximum(index, 1)
        payload = encoded(index, symbols)
        for at in rng.choice(400, 50, replace=False).tolist():
            other = index.copy()
            other[at] = 1 + (other[at] + rng.integers(1, 19)) % 20
            try:
                missed += (decoded(payload, other) != symbols).any() or other[at] != index[at]
            except Desynchronised as error:
                assert "\n" not in str(error)
    assert missed == 0  # of 2,000


def test_other_tables_are_noticed():
    rng = np.random.default_rng(7)
    index, symbols = sample(rng, 3000)
    payload = encoded(index, symbols)
    with pytest.raises(Desynchronised, match="other tables or weights"):
        decoded(payload, index, gaussian([0, *SCALES * 1.01]))


@pytest.mark.parametrize(
    "payload", [b"\0", b"\1\0", b"\1", b"\xff\xff\xff", b"\xff" * 4, b"\xff" * 1000, bytes(range(1, 40))]
)
def test_no_payload_breaks_the_decoder(payload):
    for index in ([], [0] * 10, [1] * 50, list(range(21)) * 40):
        with pytest.raises(StreamError):
            decoded(payload, np.array(index, np.uint8))


def test_too_few_or_too_many_symbols_are_noticed():
    rng = np.random.default_rng(8)
    index, symbols = sample(rng, 500)
    payload = encoded(index, symbols)
    for other in (index[:-1], index[:-200], np.append(index, 5), index[1:]):
        with pytest.raises(StreamError):
            decoded(payload, other)
    assert (decoded(payload, index) == symbols).all()


def test_a_panic_of_the_coder_is_a_stream_error(monkeypatch):
    class PanicException(BaseException):  # what pyo3 raises; it is no Exception
        pass

    decoder = Decoder(encoded([1], [0]))

    class Broken:
        def decode(self, *arguments):
            raise PanicException("assertion failed:\n range > 1")

    monkeypatch.setattr(decoder, "_coder", Broken())
    with pytest.raises(StreamError, match=r"refuses the payload \(assertion failed: range > 1\)"):
        decoder.code(TABLES, [1])


def test_models_are_made_once():
    assert TABLES.models is TABLES.models
    assert TABLES.models[0] is None
