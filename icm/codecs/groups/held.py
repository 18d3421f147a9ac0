"""What a group of a clip holds from frame to frame: latents of cells, and the pixels that follow from them.

    section ─▶ y_hat of some cells ─put─▶ held ─g_s over all that is held─▶ pixels, made anew only where that changed

Both sides of the codec keep it the same way. Latents, not pixels: so old and new cells are synthesised together and
leave no seam, and the pixels of a frame follow from integers alone, however a decoder came to it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from icm.codecs.groups.coding import PartCoder, parts
from icm.codecs.groups.transforms import STRIDE


class HeldGroup:
    """shape: rows and columns of cells. code: quality·16. tile: pixels, as in the header. where: (rows, columns) bool,
    the cells that are held."""

    def __init__(self, coder: PartCoder, shape: tuple[int, int], code: int, tile: int) -> None:
        self.coder, self.code, self.tile = coder, code, tile
        self.where = np.zeros(shape, bool)
        self._stale = np.zeros(shape, bool)
        self._y_hat: Tensor | None = None  # (rows, columns, M)
        self._pixels = np.zeros((0, 0, STRIDE, STRIDE, 3), np.uint8)

    def clear(self) -> None:
        """Forget everything."""
        self._stale |= self.where
        self.where[:] = False

    def drop(self, cells: np.ndarray) -> None:
        """Forget some cells."""
        self._stale |= self.where & cells
        self.where &= ~cells

    def put(self, cells: np.ndarray, y_hat: list[Tensor]) -> None:
        """New latents of cells, those of each part in order."""
        if self._y_hat is None:
            self._y_hat = torch.zeros(*self.where.shape, y_hat[0].shape[1])
            self._pixels = np.zeros((*self.where.shape, STRIDE, STRIDE, 3), np.uint8)
        for (_, rows, cols), values in zip(parts(cells, self.tile), y_hat, strict=True):
            self._y_hat[rows, cols] = values
        self.where |= cells
        self._stale |= cells

    def pixels(self) -> np.ndarray:
        """(rows, columns, 16, 16, 3) uint8, right where cells are held."""
        if self._stale.any():
            side = self.tile // STRIDE
            for layout, rows, cols in parts(self.where, self.tile):
                top, left = int(rows[0]) // side * side, int(cols[0]) // side * side
                if self._stale[top : top + side, left : left + side].any():
                    assert self._y_hat is not None
                    self._pixels[rows, cols] = self.coder.synthesise(self._y_hat[rows, cols], layout, self.code)
            self._stale[:] = False
        return self._pixels
