"""Frames and their masks to the sections of a clip of groups: what is sent of each group, and when. Encoder alone.

    frame, mask ─▶ cells of each group ─▶ all new? what costs more than its bits? ─▶ a section, or nothing

Nothing that is chosen for a group looks at another's pixels, so its bytes do not depend on them. Why so: clips.md.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from icm.bitstream import Encoder
from icm.codecs.clip_choice import CUT, Choice
from icm.codecs.groups.coding import PartCoder, cut, joined, parts
from icm.codecs.groups.held import HeldGroup
from icm.codecs.groups.transforms import STRIDE
from icm.groups.clip_index import TILE, Record, Sent, encode_tiles, expand, record_bytes, reduce
from icm.groups.coding import encode_mask
from icm.groups.mask import BACKGROUND, MAX_GROUPS, OTHERS, GroupMask, grid_shape

FAR = 8  # cells around what is sent that the analysis sees, if they are of the group: a window at its coarsest
SPECIAL = ((BACKGROUND, 0), (OTHERS, 0))  # there is always a place for these


class ClipEncoder:
    """Frames in; sections, names, and coded chapters out. Memory grows by what is sent alone.

    code_of: quality·16 of a group by its name. refresh: frames of a chapter. first: names that are to be locked, which
    therefore never end in "others", where what is beyond 64 groups goes.
    """

    def __init__(
        self, coder: PartCoder, code_of: dict[str, int], code: int, tile: int, refresh: int, first: frozenset[str]
    ) -> None:
        self.coder, self.code_of, self.code, self.tile, self.refresh = coder, code_of, code, tile, refresh
        self.first = first
        self.names: list[str] = []
        self.payloads: list[tuple[int, bytes]] = []  # group, bytes
        self.chapters: list[tuple[int, list[Record]]] = []  # frames, records
        self._numbers: dict[tuple[str, int], int] = {}
        self._groups: dict[int, GroupSender] = {}
        self._mask: tuple[tuple[int, ...], bytes] | None = None
        self.grid = 0

    def add(self, frame: np.ndarray, mask: GroupMask) -> None:
        """Code the next frame, (H, W, 3) uint8."""
        if self.grid not in (0, mask.grid):
            raise ValueError(f"frame has a grid of {mask.grid} px, those before {self.grid}: a clip has one")
        self.grid = mask.grid
        if not self.chapters or self.chapters[-1][0] >= self.refresh:
            self.chapters.append((0, []))
            self._groups, self._mask = {}, None
        at, records = self.chapters[-1]
        ids, groups = self._numbered(mask)
        now = groups, encode_mask(ids, len(groups))
        latent, cells = self._latent(mask, ids, groups), cut(frame)
        for gone in set(self._groups) - set(groups):
            if not self._groups[gone].keeps:
                del self._groups[gone]  # it will be sent whole where it comes back
        sent = []
        for group in sorted(groups):
            if group not in self._groups:
                name = self.names[group]
                shape = frame.shape[0], frame.shape[1]
                self._groups[group] = GroupSender(self.coder, shape, self.code_of.get(name, self.code), self.tile,
                                                  max(TILE, self.grid), name == BACKGROUND)  # fmt: skip
            if (made := self._groups[group].send(frame, cells, latent == group)) is not None:
                whole, tiles, payload = made
                sent.append(Sent(group, whole, tiles))
                self.payloads.append((group, payload))
        new = now != self._mask
        if new or sent:
            records.append(Record(at, groups if new else (), now[1] if new else b"", tuple(sent)))
        self.chapters[-1], self._mask = (at + 1, records), now

    def coded_chapters(self) -> list[tuple[int, int, bytes]]:
        """As ClipIndex has them."""
        return [(frames, sum(len(r.sent) for r in records), record_bytes(records, len(self.names)))
                for frames, records in self.chapters]  # fmt: skip

    def _numbered(self, mask: GroupMask) -> tuple[np.ndarray, tuple[int, ...]]:
        """(ids, number in the clip of each). A group is that of its name; the second of a name in a frame is that which
        was second of it before."""
        found, seen = list[int](), dict[str, int]()
        for name in mask.names:
            nth = seen[name] = seen.get(name, -1) + 1
            found.append(self._number(name, nth))
        groups = tuple(dict.fromkeys(found))  # those that became "others" are one; in the order of the ids still
        return np.array([groups.index(group) for group in found], np.uint8)[mask.ids], groups

    def _number(self, name: str, nth: int) -> int:
        special = name == OTHERS or (name, nth) == (BACKGROUND, 0)
        key = (name, 0 if special else nth)
        if key not in self._numbers:
            if not special and len(self._numbers) >= MAX_GROUPS - 2 + sum(k in self._numbers for k in SPECIAL):
                if name in self.first:
                    raise ValueError(f"more than {MAX_GROUPS - 2} groups before {name}, which is to be locked; make "
                                     "groups by class")  # fmt: skip
                return self._number(OTHERS, 0)
            self._numbers[key] = len(self.names)
            self.names.append(name)
        return self._numbers[key]

    @staticmethod
    def _latent(mask: GroupMask, ids: np.ndarray, groups: tuple[int, ...]) -> np.ndarray:
        """(h, w) uint8: the number in the clip of the group of each cell."""
        each, (rows, cols) = mask.grid // STRIDE, grid_shape(mask.height, mask.width, STRIDE)
        wide: np.ndarray = np.array(groups, np.uint8)[ids].repeat(each, 0).repeat(each, 1)
        return wide[:rows, :cols]


class GroupSender:
    """One group. keeps: what its cells held before others covered them is kept for when they are its own again."""

    def __init__(
        self, coder: PartCoder, size: tuple[int, int], code: int, tile: int, side: int, keeps: bool
    ) -> None:
        self.coder, self.size, self.code, self.tile, self.side, self.keeps = coder, size, code, tile, side, keeps
        self.held = HeldGroup(coder, grid_shape(*size, STRIDE), code, tile)
        self.choice = Choice(*size, side, code)

    def send(self, frame: np.ndarray, cells: np.ndarray, own: np.ndarray) -> tuple[bool, bytes, bytes] | None:
        """(whether it replaces what is held, coded tiles, payload), or None: what is held is good enough.

        own: (h, w) bool, its cells in this frame."""
        mine = reduce(own, self.side)
        whole = not self.held.where.any() or (not self.keeps and bool((own != self.held.where).any()))
        tiles = mine
        if not whole:
            tiles = self.choice.wanted(frame, self._shown(cells, own & self.held.where)) & mine
            tiles |= reduce(own & ~self.held.where, self.side)
            if not tiles.any():
                return None
            whole = bool(tiles.sum() > CUT * mine.sum())
            tiles = mine if whole else tiles
        sent = own & expand(tiles, self.side, (own.shape[0], own.shape[1]))
        payload = self._code(cells, own, sent, whole)
        self.choice.sent(tiles, frame, self._shown(cells, own & self.held.where), len(payload))
        if whole:
            self.choice.bits = 8 * len(payload) / int(tiles.sum())
        return whole, b"" if whole or (sent == own).all() else encode_tiles(tiles), payload

    def _shown(self, cells: np.ndarray, where: np.ndarray) -> np.ndarray:
        """What is shown of the group; elsewhere the frame itself, which costs nothing."""
        out = cells.copy()
        if where.any():
            out[where] = self.held.pixels()[where]
        return joined(out)[: self.size[0], : self.size[1]]

    def _code(self, cells: np.ndarray, own: np.ndarray, sent: np.ndarray, whole: bool) -> bytes:
        """The payload of the cells, and these into what is held."""
        near = own & cv2.dilate(sent.astype(np.uint8), np.ones((2 * FAR + 1, 2 * FAR + 1), np.uint8)).astype(bool)
        y = np.zeros((*own.shape, self.coder.model.settings["latent"]), np.float32)
        for layout, rows, cols in parts(near, self.tile):
            y[rows, cols] = self.coder.analyse(cells[rows, cols], layout, self.code).numpy()
        encoder, y_hat = Encoder(), []
        for layout, rows, cols in parts(sent, self.tile):
            y_hat.append(self.coder.walk(encoder, layout, self.code, torch.from_numpy(y[rows, cols])))
        if whole:
            self.held.clear()
        self.held.put(sent, y_hat)
        return encoder.finish()
