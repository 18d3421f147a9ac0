"""What the header says of a clip of groups: the mask of each frame, and what each sends of which group.

    parameters   length │ names, qualities, locks (header.py) │ chapter │ chapter │ …            normative: clips.md
    chapter      frames │ sections │ length │ records of the frames that have a new mask or send something

A chapter forgets all that is held, so decoding starts at its first frame. A section is there for everything that was
sent and for nothing else: one that is empty was cut away, one that never was means that what is held is still right.
In the header, masks survive damage to any section. No torch here: `vcm info` and `vcm extract` read this.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from icm.bitstream import StreamError
from icm.bitstream.fields import Cursor, varint
from icm.groups.coding import decode_mask, encode_mask
from icm.groups.header import GroupsHeader
from icm.groups.mask import grid_shape

CELL = 16  # pixels: a position of the latent
TILE = 64  # pixels: a position of the hyper-latent, the least that is sent again of a group; one of the grid, if larger


class Sent(NamedTuple):
    """A section. whole: it replaces all that is held of its group; else it adds. tiles: which ones, coded; empty: all
    in which the group has cells."""

    group: int
    whole: bool
    tiles: bytes = b""


class Record(NamedTuple):
    """frame: from the first of the chapter. groups: numbers of those in the new mask, in the order of its ids; none
    where the mask is that of the frame before. mask: coded."""

    frame: int
    groups: tuple[int, ...]
    mask: bytes
    sent: tuple[Sent, ...]


class Chapter(NamedTuple):
    """start: its first frame. section: number of its first section."""

    start: int
    frames: int
    section: int
    records: tuple[Record, ...]

    def sections(self) -> Iterator[tuple[int, int, Sent]]:
        """(section, frame, what it is) in order."""
        section = self.section
        for record in self.records:
            for sent in record.sent:
                yield section, self.start + record.frame, sent
                section += 1


class ClipIndex:
    """Parsed parameters. chapters: (frames, sections, coded records) of each. Raises StreamError where they
    contradict, or do not fit `sections`."""

    def __init__(
        self, height: int, width: int, about: GroupsHeader, chapters: Sequence[tuple[int, int, bytes]]
    ) -> None:
        self.height, self.width, self.about, self.coded = height, width, about, list(chapters)
        self.starts = np.cumsum([0, *(frames for frames, _, _ in chapters)])
        self.firsts = np.cumsum([0, *(sections for _, sections, _ in chapters)])
        self.frames, self.sections = int(self.starts[-1]), int(self.firsts[-1])
        self.shape = grid_shape(height, width, CELL)
        self.side = max(TILE, about.grid)
        self.chapter = functools.lru_cache(maxsize=2)(self._chapter)
        self._decoded = functools.lru_cache(maxsize=4)(self._mask)

    def to_bytes(self) -> bytes:
        """The header's parameters."""
        about = self.about.to_bytes()
        parts = (varint(n) + varint(m) + varint(len(records)) + records for n, m, records in self.coded)
        return varint(len(about)) + about + b"".join(parts)

    @classmethod
    def parse(cls, header: Any, sections: int | None = None) -> ClipIndex:
        """Of a stream's header, and its number of sections where that is known; records are read when asked for."""
        cursor, chapters, total = Cursor(header.parameters, 0, "the index of the clip"), [], 0
        about = GroupsHeader.parse(cursor.take(cursor.varint()))
        if about.base:
            raise StreamError("damaged: a clip of groups with a base is none that there is")
        while cursor.left:
            chapters.append((cursor.varint(), cursor.varint(), cursor.take(cursor.varint())))
            total += chapters[-1][0]
            if not chapters[-1][0] or total > header.frames:
                break
        found = sum(count for _, count, _ in chapters)
        if total != header.frames or cursor.left or not chapters[-1][0]:
            raise StreamError(f"damaged: the index of the clip does not hold its {header.frames} frames")
        if sections is not None and found != sections:
            raise StreamError(f"damaged: {sections} sections where the index of the clip has {found}")
        return cls(header.height, header.width, about, chapters)

    def chapter_of(self, frame: int) -> Chapter:
        """That which holds a frame."""
        found: Chapter = self.chapter(int(np.searchsorted(self.starts, frame, "right")) - 1)
        return found

    def _chapter(self, number: int) -> Chapter:
        frames, sections, coded = self.coded[number]
        records = parse_records(coded, len(self.about.names), frames)
        if sum(len(record.sent) for record in records) != sections:
            raise StreamError(f"damaged: chapter {number} of the clip's index does not hold its {sections} sections")
        return Chapter(int(self.starts[number]), frames, int(self.firsts[number]), tuple(records))

    def sent(self) -> Iterator[tuple[int, int, Sent]]:
        """(section, frame, what it is) of all sections, in order."""
        for number in range(len(self.coded)):
            yield from self.chapter(number).sections()

    def mask(self, frame: int) -> np.ndarray:
        """(ceil(H/16), ceil(W/16)) uint8: the number of the group of each cell of a frame."""
        chapter = self.chapter_of(frame)
        last = next(r for r in reversed(chapter.records) if r.groups and chapter.start + r.frame <= frame)
        found: np.ndarray = self._decoded(last.groups, last.mask)
        return found

    def _mask(self, groups: tuple[int, ...], payload: bytes) -> np.ndarray:
        rows, cols = grid_shape(self.height, self.width, self.about.grid)
        try:
            ids = decode_mask(payload, rows, cols, len(groups))
        except ValueError as error:
            raise (type(error) if isinstance(error, StreamError) else StreamError)(f"the mask: {error}") from None
        each = self.about.grid // CELL
        wide: np.ndarray = np.array(groups, np.uint8)[ids].repeat(each, 0).repeat(each, 1)
        return wide[: self.shape[0], : self.shape[1]]

    def cells(self, frame: int, sent: Sent) -> np.ndarray:
        """(ceil(H/16), ceil(W/16)) bool: the cells that a section of a frame brings."""
        own = self.mask(frame) == sent.group
        if sent.tiles:
            tiles = decode_tiles(sent.tiles, grid_shape(self.height, self.width, self.side))
            own &= expand(tiles, self.side, self.shape)
        if not own.any():
            raise StreamError(f"damaged: frame {frame} sends {self.about.titled(sent.group)}, which has no cells there")
        return own


def parse_records(data: bytes, count: int, frames: int) -> list[Record]:
    """Of one chapter, with `count` groups in the file."""
    cursor, found, at = Cursor(data, 0, "the index of the clip"), list[Record](), -1
    here: tuple[int, ...] = ()
    while cursor.left:
        at += 1 + cursor.varint()
        groups = tuple(cursor.take(cursor.byte()))
        mask = cursor.take(cursor.varint()) if groups else b""
        here = groups or here
        bits = int.from_bytes(cursor.take(-(-count // 8)), "little")
        sent = []
        for group in (i for i in range(8 * -(-count // 8)) if bits >> i & 1):
            kind = cursor.varint()
            sent.append(Sent(group, kind == 0, cursor.take(max(0, kind - 1))))
        known = len(set(groups)) == len(groups) and all(group < count for group in groups)
        if not known or at >= frames or not (groups or sent) or not {s.group for s in sent} <= set(here):
            raise StreamError("damaged: the index of the clip holds what no encoder writes")
        found.append(Record(at, groups, mask, tuple(sent)))
    if not found or found[0].frame or not found[0].groups:
        raise StreamError("damaged: a chapter of the clip's index begins without a mask")
    return found


def record_bytes(records: Sequence[Record], count: int) -> bytes:
    """The inverse of `parse_records`."""
    parts, before = [], -1
    for record in records:
        bits = sum(1 << sent.group for sent in record.sent)
        parts += [varint(record.frame - before - 1), bytes([len(record.groups), *record.groups])]
        parts.append(varint(len(record.mask)) + record.mask if record.groups else b"")
        parts.append(bits.to_bytes(-(-count // 8), "little"))
        parts += [varint(0 if sent.whole else 1 + len(sent.tiles)) + sent.tiles for sent in record.sent]
        before = record.frame
    return b"".join(parts)


def encode_tiles(tiles: np.ndarray) -> bytes:
    """(rows, columns) bool → the value of the first tile, and the others as a mask of two groups; empty: all."""
    if tiles.all():
        return b""
    return bytes([int(tiles[0, 0])]) + encode_mask((tiles != tiles[0, 0]).astype(np.uint8), 2)


def decode_tiles(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """The inverse, of a map that is not empty."""
    if data[0] > 1:
        raise StreamError("damaged: a map of tiles begins with neither 0 nor 1")
    return (decode_mask(data[1:], *shape, 2) ^ data[0]).astype(bool)


def expand(tiles: np.ndarray, side: int, shape: tuple[int, int]) -> np.ndarray:
    """Tiles → cells."""
    wide: np.ndarray = tiles.repeat(side // CELL, 0).repeat(side // CELL, 1)
    return wide[: shape[0], : shape[1]]


def reduce(cells: np.ndarray, side: int) -> np.ndarray:
    """Cells → the tiles that have one."""
    each = side // CELL
    padded = np.pad(cells, ((0, -cells.shape[0] % each), (0, -cells.shape[1] % each)))
    found: np.ndarray = padded.reshape(padded.shape[0] // each, each, -1, each).any((1, 3))
    return found
