"""Which group each square of a picture belongs to: a label map of pixels made into a mask on a coarse grid.

    labels (H, W) int, names ──▶ cells of 16, 32, 64 or 128 px ──▶ GroupMask: ids (rows, cols) uint8, names

A cell that shows any object belongs to the object that has most of it; only cells without one are background (label 0).
So all pixels of an object are in its group or in another object's, never in the background, and labels that come first
in `first` (those that will be locked) never lose a pixel to the others.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Collection, Mapping

import numpy as np

GRIDS = (16, 32, 64, 128)  # pixels; 16 is the stride of the latent
MAX_GROUPS = 64
BACKGROUND = "background"
OTHERS = "others"  # what is left where there are more than MAX_GROUPS
LONGEST_NAME = 40  # bytes of UTF-8


@dataclasses.dataclass(frozen=True, eq=False)
class GroupMask:
    """ids: (ceil(height/grid), ceil(width/grid)) uint8, 0 … n − 1. names: n of them, which may repeat.

    Groups are numbered in the order in which the coder meets them (`coding_order`). ValueError where that is not so.
    """

    ids: np.ndarray
    names: tuple[str, ...]
    height: int
    width: int
    grid: int = 16

    def __post_init__(self) -> None:
        if self.grid not in GRIDS:
            raise ValueError(f"a grid of groups has cells of {', '.join(map(str, GRIDS))} pixels, not {self.grid}")
        if not 1 <= len(self.names) <= MAX_GROUPS:
            raise ValueError(f"a picture has 1 to {MAX_GROUPS} groups, not {len(self.names)}")
        for name in self.names:
            check_name(name)
        if self.ids.dtype != np.uint8 or self.ids.shape != grid_shape(self.height, self.width, self.grid):
            raise ValueError(f"a mask of {self.ids.shape} cells does not fit {self.width}x{self.height} pixels")
        if not is_canonical(self.ids, len(self.names)):
            raise ValueError("the groups of a mask are not numbered in the order in which they appear")

    @property
    def count(self) -> int:
        return len(self.names)

    def latent(self) -> np.ndarray:
        """(ceil(H/16), ceil(W/16)) uint8: the group of every position of the latent."""
        times = self.grid // 16
        rows, cols = grid_shape(self.height, self.width, 16)
        return self.ids.repeat(times, 0).repeat(times, 1)[:rows, :cols]

    def pixels(self) -> np.ndarray:
        """(H, W) uint8: the group of every pixel."""
        return self.ids.repeat(self.grid, 0).repeat(self.grid, 1)[: self.height, : self.width]

    def areas(self) -> np.ndarray:
        """(n,) int64: pixels of each group, counted by cells, so that a large frame costs no more than its mask."""
        sides = [np.minimum(self.grid, side - np.arange(0, side, self.grid)) for side in (self.height, self.width)]
        return np.bincount(self.ids.ravel(), np.multiply.outer(*sides).ravel(), self.count).astype(np.int64)

    def box(self, group: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels of the cells of a group, ends exclusive."""
        rows, cols = (np.flatnonzero((self.ids == group).any(axis)) * self.grid for axis in (1, 0))
        return (
            int(cols[0]), int(rows[0]),
            min(self.width, int(cols[-1]) + self.grid), min(self.height, int(rows[-1]) + self.grid),
        )  # fmt: skip


def check_name(name: str) -> None:
    """ValueError unless a group may be called so: text of one line that a list of names can hold."""
    if not name or len(name.encode("utf-8", "replace")) > LONGEST_NAME or name != name.strip():
        raise ValueError(f"{name[:50]!r}: a group's name has 1 to {LONGEST_NAME} bytes and no blanks around")
    if name.isdecimal() or any(c == "," or c == "=" or (unicodedata.category(c)[0] in "CZ" and c != " ") for c in name):
        raise ValueError(f"{name!r}: a group's name is no number, and has no comma, equals sign or control characters")


def one_group(height: int, width: int, name: str = "all") -> GroupMask:
    """The whole picture as one group."""
    return GroupMask(np.zeros(grid_shape(height, width, 128), np.uint8), (name,), height, width, 128)


def grid_shape(height: int, width: int, grid: int) -> tuple[int, int]:
    return -(-height // grid), -(-width // grid)


def coding_order(rows: int, cols: int) -> np.ndarray:
    """Positions r·cols + c of all cells, by c + 2r, then by r. (rows·cols,) int64."""
    r, c = np.divmod(np.arange(rows * cols), cols)
    return np.lexsort((r, c + 2 * r))


def canonical(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Any integers (rows, cols) → (ids in the order of coding, uint8; the old number of each new one)."""
    values, first, dense = np.unique(ids.ravel()[coding_order(*ids.shape)], return_index=True, return_inverse=True)
    order = np.argsort(first)
    if len(values) > MAX_GROUPS:
        raise ValueError(f"a picture has 1 to {MAX_GROUPS} groups, not {len(values)}")
    out = np.empty(ids.size, np.uint8)
    out[coding_order(*ids.shape)] = np.argsort(order)[dense.ravel()]
    return out.reshape(ids.shape), values[order]


def is_canonical(ids: np.ndarray, count: int) -> bool:
    """Whether 0 … count − 1 all appear, in this order."""
    scan = ids.ravel()[coding_order(*ids.shape)].astype(int)
    newest = np.maximum.accumulate(scan)
    return bool(scan[0] == 0 and newest[-1] == count - 1 and (np.diff(newest) <= 1).all())


def from_labels(
    labels: np.ndarray, names: Mapping[int, str] | None = None, grid: int = 16, first: Collection[int] = ()
) -> GroupMask:
    """labels: (H, W) of integers, 0 where there is no object. names: of labels (default: background, object N).

    first: labels that no other may take cells from. The smallest objects beyond 64 groups become one, "others".
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not labels.size or labels.dtype.kind not in "iub":
        raise ValueError(f"labels are an array (H, W) of integers, not {labels.dtype} of shape {labels.shape}")
    if grid not in GRIDS:
        raise ValueError(f"a grid of groups has cells of {', '.join(map(str, GRIDS))} pixels, not {grid}")
    values, dense = np.unique(labels, return_inverse=True)
    height, width = labels.shape
    shape = grid_shape(height, width, grid)
    counts = _pixels_by_cell(dense.reshape(labels.shape), len(values), shape, grid)
    weight = np.where(values == 0, 1, np.where(np.isin(values, list(first)), 1 << 40, 1 << 20))  # the kinds never mix
    cells = values[(counts * weight).argmax(1)].reshape(shape)
    named = {int(v): (names or {}).get(int(v)) or (BACKGROUND if v == 0 else f"object {v}") for v in values}
    cells, named = _at_most(cells, named, set(first))
    ids, old = canonical(cells)
    return GroupMask(ids, tuple(named[int(v)] for v in old), height, width, grid)


def _pixels_by_cell(dense: np.ndarray, kinds: int, shape: tuple[int, int], grid: int) -> np.ndarray:
    """(cells, kinds) int64: how many pixels of each label a cell has."""
    rows, cols = (np.arange(n) // grid for n in dense.shape)
    pairs, counts = np.unique((rows[:, None] * shape[1] + cols) * kinds + dense, return_counts=True)
    out = np.zeros(shape[0] * shape[1] * kinds, np.int64)
    out[pairs] = counts
    return out.reshape(-1, kinds)


def _at_most(cells: np.ndarray, names: dict[int, str], first: set[int]) -> tuple[np.ndarray, dict[int, str]]:
    """The same with the smallest labels made one where there are more than MAX_GROUPS; background and `first` stay."""
    values, areas = np.unique(cells, return_counts=True)
    if len(values) <= MAX_GROUPS:
        return cells, names
    stay = [v == 0 or int(v) in first for v in values]
    order = np.lexsort((values, -areas, np.logical_not(stay)))
    dropped = values[order[MAX_GROUPS - 1 :]]
    if any(int(v) in first for v in dropped):
        raise ValueError(f"more than {MAX_GROUPS - 1} groups are to be locked; lock classes, not objects")
    spare = int(values.max()) + 1
    return np.where(np.isin(cells, dropped), spare, cells), {**names, spare: OTHERS}
