"""Which tokens may see each other: cells of groups, their windows, their blocks of hyper-latent.

A cell is a position of the latent, 16×16 pixels, and belongs to one group. At stride 16/t it has t×t tokens (t = 8, 4,
2, 1). A window is keyed by the *triple* (group, row of windows, column of windows): tokens of two groups, or of two
sides of a shifted window that a cyclic shift would bring together, are never in one window. There is nothing to mask
but empty slots, and no sum of group and region that could alias.

Everything depends on the cells alone, so a group gives the same windows, in the same order, whatever lies around it.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
from torch import Tensor

WINDOW = 8  # tokens a side
BLOCK = 4  # cells a side of one hyper-latent


@dataclasses.dataclass(frozen=True)
class Windows:
    """slots: (windows, 64) int64, the token in each slot or −1. place: (tokens,) int64, window·64 + slot of each."""

    slots: Tensor
    place: Tensor

    @functools.cached_property
    def empty(self) -> Tensor | None:
        """(windows, 1, 1, 64) bool, True where a slot has no token; None where none is so."""
        empty = self.slots < 0
        return empty[:, None, None, :] if bool(empty.any()) else None


class Layout:
    """Cells of one or more groups. group: (n,) an integer for each group (of each picture of a batch); row, col: (n,)
    of the cell, from the origin of the picture or tile. device: of the index tensors."""

    def __init__(
        self, group: np.ndarray, row: np.ndarray, col: np.ndarray, device: torch.device | str | None = None
    ) -> None:
        self.group, self.row, self.col = (np.asarray(a, np.int64) for a in (group, row, col))
        self.device = device
        self._windows: dict[tuple[int, int], Windows] = {}

    def __len__(self) -> int:
        return len(self.group)

    def windows(self, tokens: int, shift: int) -> Windows:
        """tokens: a side of a cell, t; shift: in tokens, 0 or 4. Token (cell, y, x) is number (cell·t + y)·t + x."""
        if (tokens, shift) not in self._windows:
            self._windows[tokens, shift] = self._made(tokens, shift)
        return self._windows[tokens, shift]

    def _made(self, tokens: int, shift: int) -> Windows:
        t = np.arange(tokens)
        y = (self.row[:, None, None] * tokens + t[None, :, None] + shift + np.zeros_like(t)).ravel()
        x = (self.col[:, None, None] * tokens + t[None, None, :] + shift + np.zeros_like(t)[:, None]).ravel()
        rows, cols = int(y.max()) // WINDOW + 1, int(x.max()) // WINDOW + 1
        key = (self.group.repeat(tokens * tokens) * rows + y // WINDOW) * cols + x // WINDOW
        _, window = np.unique(key, return_inverse=True)
        place = window.ravel() * WINDOW * WINDOW + y % WINDOW * WINDOW + x % WINDOW
        slots = np.full((int(window.max()) + 1) * WINDOW * WINDOW, -1, np.int64)
        slots[place] = np.arange(len(place))
        return Windows(self._tensor(slots.reshape(-1, WINDOW * WINDOW)), self._tensor(place))

    @functools.cached_property
    def blocks(self) -> tuple[np.ndarray, Tensor, int]:
        """Blocks of 4×4 cells of one group: (group of each block, place of each cell: block·16 + slot, their number).

        In the order of group, row, column.
        """
        rows, cols = int(self.row.max()) // BLOCK + 1, int(self.col.max()) // BLOCK + 1
        key = (self.group * rows + self.row // BLOCK) * cols + self.col // BLOCK
        keys, block = np.unique(key, return_inverse=True)
        place = block.ravel() * BLOCK * BLOCK + self.row % BLOCK * BLOCK + self.col % BLOCK
        return keys // (rows * cols), self._tensor(place), len(keys)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device)


def of_maps(groups: np.ndarray, device: torch.device | str | None = None) -> tuple[Layout, np.ndarray]:
    """(B, h, w) groups of a batch, each below 2^16 → (layout, picture of each cell), cells picture by picture, row by
    row."""
    picture, row, col = (i.ravel() for i in np.indices(groups.shape))
    return Layout(picture * (1 << 16) + groups.ravel(), row, col, device), picture
