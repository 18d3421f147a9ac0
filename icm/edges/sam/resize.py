"""Low-resolution logits to the size of the crop, as upstream resizes them: to the encoder's input, cut, to the crop.

Both steps are bilinear, so linear, and separate in rows and columns: together they are one matrix on either side. A row
of it has at most three neighbours that are not zero, so a block of output rows needs a narrow block of input rows (five
times as fast as the two steps on a CPU, and the same but for the last bits).

Shapes: logits (n, r, c), out (n, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from icm.edges.sam.survivors import extents

BLOCK = 128
"""Output rows, or columns, in a block."""


class Resize:
    """From logits of a square of `low` pixels, standing for `side` pixels of the encoder's input, whose first `used`
    (h', w') pixels show a crop of `size` (h, w). rows, columns: how many low-resolution ones matter."""

    def __init__(self, low: int, side: int, used: tuple[int, int], size: tuple[int, int], device: torch.device) -> None:
        self.size = size
        vertical, horizontal = (_matrix(low, side, used[axis], size[axis]).to(device) for axis in (0, 1))
        self.rows, self.columns = (int(m.any(0).nonzero().max()) + 1 for m in (vertical, horizontal))
        self.tokens = -(-self.rows // 4), -(-self.columns // 4)  # rows and columns of image tokens that matter
        self._vertical, self._horizontal = _blocks(vertical), _blocks(horizontal)

    def __call__(self, logits: Tensor) -> Tensor:
        """(n, r, c) float32 to (n, h, w); r and c at least `rows` and `columns`."""
        wide = logits.new_empty(len(logits), self.rows, self.size[1])
        for matrix, low, start in self._horizontal:
            wide[:, :, start : start + len(matrix)] = logits[:, : self.rows, low : low + matrix.shape[1]] @ matrix.T
        out = logits.new_empty(len(logits), *self.size)
        for matrix, low, start in self._vertical:
            out[:, start : start + len(matrix)] = matrix @ wide[:, low : low + matrix.shape[1]]
        return out

    def inside(self, logits: Tensor) -> Tensor:
        """The part of the logits (n, r, c) that shows the crop, at their own resolution."""
        return logits[:, : self.rows, : self.columns]

    def boxes(self, logits: Tensor, threshold: float) -> Tensor:
        """About the boxes (n, 4) of the masks of logits (n, r, c) at full size, from their largest in each column and
        each row alone: at most a little too large."""
        columns, rows = (
            torch.cat([line[:, low : low + matrix.shape[1]] @ matrix.T for matrix, low, _ in blocks], dim=1) > threshold
            for line, blocks in ((logits.amax(1), self._horizontal), (logits.amax(2), self._vertical))
        )
        return extents(columns, rows)


def _matrix(low: int, side: int, used: int, size: int) -> Tensor:
    """(size, low): one axis of the resizing, found by resizing the unit vectors."""
    inside = F.interpolate(torch.eye(low)[None], side, mode="linear", align_corners=False)[..., :used]
    return F.interpolate(inside, size, mode="linear", align_corners=False)[0].T.contiguous()


def _blocks(matrix: Tensor) -> list[tuple[Tensor, int, int]]:
    """Row blocks without their zero columns: (rows, columns that are not zero), first column, first row."""
    found = []
    for start in range(0, len(matrix), BLOCK):
        block = matrix[start : start + BLOCK]
        columns = block.any(0).nonzero()
        low, high = int(columns.min()), int(columns.max()) + 1
        found.append((block[:, low:high].contiguous(), low, start))
    return found
