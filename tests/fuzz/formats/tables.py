"""Tables as weights store them: three arrays of integers. What is accepted must code any symbol, and give it back."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from icm.bitstream import Decoder, Encoder, Tables
from icm.bitstream.build_tables import gaussian
from icm.bitstream.tables import TOTAL
from tests.fuzz.formats.base import Case, Format, Wrong
from tests.fuzz.mutations import mutated

KEYS = ("frequencies", "sizes", "offsets")
TYPES = ("<i4", "<i4", "<i4", "<i8", "<u2", "<f4", "|b1")


def joined(arrays: list[bytes], kind: int = 0) -> bytes:
    """type (1 byte), then length and bytes of each array."""
    return bytes([kind]) + b"".join(len(part).to_bytes(4, "little") + part for part in arrays)


def parted(data: bytes) -> dict[str, np.ndarray]:
    """The inverse. Arrays that are cut are shorter."""
    kind, at, found = np.dtype(TYPES[sum(data[:1]) % len(TYPES)]), 1, {}
    for key in KEYS:
        length = int.from_bytes(data[at : at + 4], "little")
        part = data[at + 4 : at + 4 + length]
        found[key] = np.frombuffer(part[: len(part) // kind.itemsize * kind.itemsize], kind)
        at += 4 + length
    return found


class StoredTables(Format):
    name = "tables"
    errors = (ValueError,)

    @functools.cached_property
    def seeds(self) -> list[list[bytes]]:
        made = [gaussian([0.3, 1, 4]), gaussian([0, 2.5]), Tables([[TOTAL]], [7]), Tables([[1, 65535]], [-(1 << 31)]),
                Tables([[30000, 20000, 15535, 1], [65535, 1]], [-1, (1 << 31) - 1])]  # fmt: skip
        return [[tables.to_arrays()[key].astype("<i4").tobytes() for key in KEYS] for tables in made]

    @functools.cached_property
    def truths(self) -> list[Any]:
        return [self.decode(joined(arrays)) for arrays in self.seeds]

    def case(self, random: np.random.Generator) -> Case:
        which, spare = (int(i) for i in random.integers(len(self.seeds), size=2))
        arrays, other = list(self.seeds[which]), self.seeds[spare]
        truth = self.truths[which]
        hit = int(random.integers(3))
        arrays[hit] = mutated(random, arrays[hit], other[hit], range(0, len(arrays[hit]), 4))
        if random.random() < 0.1:
            return Case("type", joined(arrays, int(random.integers(len(TYPES)))), truth)
        if random.random() < 0.1:
            return Case("lengths", mutated(random, joined(arrays), joined(other), [0, 1]), truth)
        if hit != 2 and random.random() < 0.7:
            return Case("sums repaired", joined(with_sums(arrays)), truth)
        return Case(f"{KEYS[hit]}", joined(arrays), truth)

    def decode(self, data: bytes) -> Any:
        """(digest, the symbols that came back)."""
        tables = Tables.from_arrays(parted(data))
        random = np.random.default_rng(len(data))
        index = random.integers(0, len(tables), 40)
        symbols = random.integers(-40, 40, 40)
        symbols[:6] = [-(1 << 31), (1 << 31) - 1, 0, 1 << 16, -1, 255]
        try:
            encoder = Encoder()
            sent = encoder.code(tables, index, symbols)
            decoder = Decoder(encoder.finish())
            came = decoder.code(tables, index)
            decoder.finish()
            cost = tables.estimated_bits(index, sent)
            again = Tables.from_arrays(tables.to_arrays())
        except Exception as error:
            raise Wrong(f"accepted tables do not serve: {type(error).__name__}: {error}") from error
        if not np.array_equal(sent, came) or not np.isfinite(cost) or cost < 0 or again.digest != tables.digest:
            raise Wrong("what accepted tables code does not come back")
        return tables.digest, came.tobytes()


def with_sums(arrays: list[bytes]) -> list[bytes]:
    """The frequencies of each row scaled to sum to 2^16, as far as they are positive and the sizes make sense."""
    whole = [part[: len(part) // 4 * 4] for part in arrays]
    flat, sizes = (np.frombuffer(part, "<i4").astype(np.int64) for part in whole[:2])
    at = 0
    for size in sizes.tolist():
        row = flat[at : at + max(size, 0)]
        if len(row) and row.min() > 0:
            row[:] = np.maximum(1, row * TOTAL // row.sum())
            row[row.argmax()] += TOTAL - row.sum()
        at += max(size, 0)
    return [np.clip(flat, -(1 << 31), (1 << 31) - 1).astype("<i4").tobytes(), whole[1], whole[2]]
