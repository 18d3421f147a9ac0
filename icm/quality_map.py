"""ROI: each cell of a picture has a quality of its own, chosen by the encoder and told to the decoder.

    boxes, masks, edges, saliency ─▶ depths, a small integer a cell ─▶ gains of each latent ─▶ symbols
                                        └▶ coded first in the payload of each tile ─▶ the same gains, 1/g in integers

A cell of depth d is coded at quality `base − step·d`, at least 1. Any encoder-side rule may choose depths; a decoder
reads them, looks the gains up in the shipped tables of icm/quality.py, and undoes them. A picture without a map has no
byte about it.

Shapes: importance (H, W) float, depths (ceil(H/cell), ceil(W/cell)) of 0 … 7. cell: 16, 32 or 64 pixels, so that cells
never straddle tiles.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from icm.bitstream import Desynchronised, StreamError, Tables

CELLS = (16, 32, 64)
DEEPEST = 7
STEP_HIGHEST = 99  # whole units of quality
STRIDE = 16  # pixels a latent


@dataclass(frozen=True)
class Roi:
    """How a map is to be read: the side of its cells in pixels, and the quality that a unit of depth takes away."""

    cell: int
    step: int

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ValueError(f"a map of qualities has cells of {', '.join(map(str, CELLS))} pixels, not {self.cell}")
        if not 1 <= self.step <= STEP_HIGHEST:
            raise ValueError(f"a step of {self.step} in quality is outside 1 to {STEP_HIGHEST}")

    def to_bytes(self) -> bytes:
        """Two bytes of a header's parameters: log2 of the cell, the step."""
        return bytes([self.cell.bit_length() - 1, self.step])

    @classmethod
    def from_bytes(cls, data: bytes) -> Roi:
        """The inverse; StreamError where no encoder writes these bytes."""
        try:
            return cls(1 << min(data[0], 15), data[1])
        except ValueError as error:
            raise StreamError(f"damaged: {error}") from None

    def codes(self, code: int) -> list[int]:
        """Quality in sixteenths of the depths 0 … 7 below a base quality in sixteenths."""
        return [max(16, code - 16 * self.step * depth) for depth in range(DEEPEST + 1)]

    def walk(self, coder: Any, height: int, width: int, depths: np.ndarray | None = None) -> np.ndarray:
        """Code the cells of a tile of height × width latents (depths: known to the encoder alone).

        Returns the depth of every latent, (height, width) int64. Raises Desynchronised on a depth that does not exist.
        """
        side = self.cell // STRIDE
        found = walk_cells(coder, -(-height // side), -(-width // side), depths)
        return found.repeat(side, 0).repeat(side, 1)[:height, :width]


@dataclass(frozen=True)
class QualityMap:
    """A map that an encoder knows: how it is read, and the depths of its cells. ValueError for depths outside 0 … 7."""

    roi: Roi
    depths: np.ndarray

    def __post_init__(self) -> None:
        if self.depths.ndim != 2 or self.depths.dtype.kind not in "iu" or not self.depths.size:
            raise ValueError(f"depths are a grid of integers, not {self.depths.dtype} of shape {self.depths.shape}")
        if self.depths.min() < 0 or self.depths.max() > DEEPEST:
            raise ValueError(f"depths go from 0 to {DEEPEST}, not {self.depths.min()} to {self.depths.max()}")

    @property
    def flat(self) -> bool:
        """Whether it changes nothing, so that it need not be told."""
        return not self.depths.any()

    def fits(self, height: int, width: int) -> bool:
        """Whether it has the cells of a picture of this size."""
        return self.depths.shape == grid(height, width, self.roi.cell)

    def window(self, top: int, bottom: int, left: int, right: int) -> QualityMap:
        """The map of a tile, whose window is given in latents and begins at a multiple of the cell."""
        side = self.roi.cell // STRIDE
        return QualityMap(self.roi, self.depths[top // side : -(-bottom // side), left // side : -(-right // side)])

    def codes(self, code: int) -> list[int]:
        """As those of `roi`."""
        return self.roi.codes(code)

    def walk(self, coder: Any, height: int, width: int) -> np.ndarray:
        """As that of `roi`, which decodes what this codes."""
        return self.roi.walk(coder, height, width, self.depths)


def grid(height: int, width: int, cell: int) -> tuple[int, int]:
    """Rows and columns of cells of a picture."""
    return -(-height // cell), -(-width // cell)


# --- coding ---------------------------------------------------------------------------------------------------------
@functools.cache
def tables() -> Tables:
    """One for each difference −2 … 2 between the neighbours above and to the left, then that of the first cell.

    Entries are differences from the neighbour to the left: −7 … 7 (the first cell: depths 0 … 7), then the escape,
    which is never written. Frequencies were set by hand: eight or nine cells of ten are as both their neighbours are,
    and where these differ, a cell is as one of the two. No two entries of a table are equal (icm/bitstream/README.md).
    """
    total, span, rows = 1 << 16, 2 * DEEPEST + 1, []
    for ahead in range(-2, 3):
        row = [8 * (DEEPEST + 1 - abs(d)) + (d > 0) + 1 for d in range(-DEEPEST, DEEPEST + 1)]
        if ahead:
            row[DEEPEST + ahead] = 27_000  # as above
        row[DEEPEST + (1 if ahead >= 0 else -1)] += 2_500
        row[DEEPEST + (-1 if ahead >= 0 else 1)] += 1_700
        row[DEEPEST] = 0
        row[DEEPEST] = total - 1 - sum(row)  # as to the left
        assert len(row) == span
        rows.append([*row, 1])
    first = [26_000, 22_000, *(900 - 90 * i for i in range(2, DEEPEST + 1))]
    rows.append([total - 1 - sum(first[1:]), *first[1:], 1])
    return Tables(rows, [-DEEPEST] * 5 + [0])


def walk_cells(coder: Any, rows: int, cols: int, depths: np.ndarray | None = None) -> np.ndarray:
    """Code a grid of depths, (rows, cols) int64, one diagonal after the other: neighbours above and left are known."""
    if depths is not None and depths.shape != (rows, cols):
        raise ValueError(f"a map of {depths.shape[0]}x{depths.shape[1]} cells for a tile of {rows}x{cols}")
    known = np.zeros((rows + 1, cols + 1), np.int64)
    for diagonal in range(rows + cols - 1):
        r = np.arange(max(0, diagonal - cols + 1), min(rows, diagonal + 1))
        c = diagonal - r
        left, above = known[r + 1, c], known[r, c + 1]
        left = np.where(c == 0, above, left)
        above = np.where(r == 0, left, above)
        index = np.clip(above - left, -2, 2) + 2 if diagonal else np.array([5])
        given = () if depths is None else (depths[r, c].astype(np.int64) - left,)
        value = left + coder.code(tables(), index.astype(np.uint8), *given)
        if value.min() < 0 or value.max() > DEEPEST:
            raise Desynchronised("damaged: a map of qualities has a depth that does not exist")
        known[r + 1, c + 1] = value
    return known[1:, 1:]


# --- choosing, at the encoder ---------------------------------------------------------------------------------------
def from_importance(importance: np.ndarray, roi: Roi, share: float = 0.4) -> QualityMap:
    """Depth 0 for that share of the cells which matter most (by their mean), 1 for the others. Ties count as more."""
    means = cell_means(importance, roi.cell)
    least = np.sort(means, axis=None)[::-1][min(means.size, max(1, round(share * means.size))) - 1]
    return QualityMap(roi, (means < least).astype(np.uint8))


def from_mask(mask: np.ndarray, roi: Roi) -> QualityMap:
    """Depth 0 for every cell in which the mask (H, W) has a pixel, 1 for the others."""
    return QualityMap(roi, (cell_means(mask != 0, roi.cell) == 0).astype(np.uint8))


def cell_means(values: np.ndarray, cell: int) -> np.ndarray:
    """(H, W) → mean of each cell, (ceil(H/cell), ceil(W/cell)); cells at the border have fewer pixels."""
    starts = [np.arange(0, side, cell) for side in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values.astype(np.float64), starts[0], 0), starts[1], 1)
    counts = [np.diff([*start, side]) for start, side in zip(starts, values.shape, strict=True)]
    return sums / np.multiply.outer(*counts)


def saliency(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 → (H, W) float32, 0 … 1: colours unlike those around them, weighed down towards the borders.

    Differences from four blurs in CIELAB (centre and surround, after Itti, Koch and Niebur, PAMI 1998) at 160 pixels a
    side: a few milliseconds. It knows no objects: on the 100 labelled training pictures of coco128, of a cell of 32
    pixels on an object and one off it, it rates the first higher in 77 % (the position alone does in 73 %, the spectral
    residual in 71 %).
    """
    import cv2

    height, width = picture.shape[:2]
    scale = min(1.0, 160 / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    contrast = np.zeros(lab.shape[:2], np.float32)
    for sigma in (4, 8, 16, 32):
        contrast += np.linalg.norm(lab - cv2.GaussianBlur(lab, (0, 0), sigma), axis=2)
    y, x = (np.linspace(-0.5, 0.5, side, dtype=np.float32) / 0.3 for side in contrast.shape)
    centre = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / 2)
    found = cv2.resize(contrast * (0.3 + centre), (width, height), interpolation=cv2.INTER_LINEAR)
    return found / max(float(found.max()), 1e-6)
