"""Maps within a section: the label map of `segpic`, and the map of qualities of `sa-icm-s` and `lic-s`.

    input: kind (0 labels, 1 qualities) │ rows │ columns │ log2 of a cell, step │ payload
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from icm.bitstream import Decoder, Encoder
from icm.codecs.segpic import labels as label_maps
from icm.codecs.segpic.coding import Section
from icm.quality_map import Roi, walk_cells
from tests.fuzz.formats.base import Case, Format, Wrong
from tests.fuzz.mutations import mutated

LABELS, QUALITIES = 0, 1
HEAD = 5
MOST = 12  # cells a side


class Maps(Format):
    name = "maps"

    @functools.cached_property
    def seeds(self) -> list[tuple[bytes, Any]]:
        random = np.random.default_rng(8)
        made = [self._labels(random, *size) for size in ((1, 1, 1), (4, 5, 3), (3, 3, 9), (6, 4, 2), (4, 4, 12))]
        made += [self._qualities(random, *size) for size in ((1, 1), (3, 4), (6, 5), (2, 9))]
        return [(data, self.decode(data)) for data in made]

    @staticmethod
    def _labels(random: np.random.Generator, rows: int, cols: int, kinds: int) -> bytes:
        encoder = Encoder()
        label_maps.code(encoder, (rows, cols), label_maps.canonical(random.integers(0, kinds, (rows, cols))))
        section = Section(encoder.finish(), 4 if rows % 2 else 16, b"symbols")
        return bytes([LABELS, rows, cols, 0, 0]) + section.to_bytes()

    @staticmethod
    def _qualities(random: np.random.Generator, rows: int, cols: int) -> bytes:
        encoder = Encoder()
        walk_cells(encoder, rows, cols, random.integers(0, 8, (rows, cols)) * (random.random((rows, cols)) < 0.6))
        return bytes([QUALITIES, rows, cols, 4 + rows % 3, 1 + cols]) + encoder.finish()

    def case(self, random: np.random.Generator) -> Case:
        which, spare = (int(i) for i in random.integers(len(self.seeds), size=2))
        (data, truth), other = self.seeds[which], self.seeds[spare][0]
        kind = ("labels", "qualities")[data[0]]
        if random.random() < 0.2:
            return Case(f"{kind}, size", mutated(random, data[:HEAD], other[:HEAD]) + data[HEAD:], truth)
        payload = mutated(random, data[HEAD:], other[HEAD:], [0, 1, 2])
        return Case(f"{kind}, payload", data[:HEAD] + payload, truth, coded=data[0] == QUALITIES
                    and payload != data[HEAD:])  # fmt: skip

    def decode(self, data: bytes) -> Any:
        """(kind, size, what the map says)."""
        head = data[:HEAD].ljust(HEAD, b"\0")
        rows, cols = (1 + (side - 1) % MOST for side in head[1:3])
        if head[0] % 2 == LABELS:
            return self._read_labels(data[HEAD:], rows, cols)
        roi, decoder = Roi.from_bytes(head[3:5]), Decoder(data[HEAD:])
        depths = roi.walk(decoder, rows * roi.cell // 16, cols * roi.cell // 16)
        decoder.finish()
        encoder = Encoder()
        walk_cells(encoder, rows, cols, depths[:: roi.cell // 16, :: roi.cell // 16])
        if encoder.finish() != data[HEAD:] or roi.to_bytes() != head[3:5]:
            raise Wrong("a map of qualities, coded again, has other bytes")
        return QUALITIES, roi, depths.tobytes(), roi.codes(480)

    @staticmethod
    def _read_labels(payload: bytes, rows: int, cols: int) -> Any:
        section = Section.parse(payload)
        if section.to_bytes() != payload:
            raise Wrong("a section, written again, has other bytes")
        if section.labels is None:
            return LABELS, None, section.symbols
        decoder, encoder = Decoder(section.labels), Encoder()
        labels = label_maps.code(decoder, (rows, cols))
        decoder.finish()
        if not np.array_equal(label_maps.canonical(labels), labels):
            raise Wrong("labels that are not numbered as the waves meet them")
        label_maps.code(encoder, (rows, cols), labels)
        if encoder.finish() != section.labels:
            raise Wrong("a label map, coded again, has other bytes")
        return LABELS, section.scale, labels.tobytes(), section.symbols
