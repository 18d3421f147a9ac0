"""What decoding groups gives: a picture, and which groups it shows, lacks, or lost."""

from __future__ import annotations

import dataclasses

import numpy as np

from icm.groups import GroupMask

Window = tuple[int, int, int, int]  # top, bottom, left, right; ends exclusive
CUT_AWAY = "not in this file, it was cut away"
LOCKED = "locked; --key-file names its key"
OTHER_KEY = "locked with another key"


@dataclasses.dataclass
class Decoded:
    """picture: (H, W, 3) uint8, or (H, W, 4) where missing groups are transparent. shown: numbers of groups. missing:
    {number: why}, of groups that are cut away, locked or not asked for. lost: {number: what is wrong}, of damaged ones;
    all where the mask is. mask: None where it is damaged."""

    picture: np.ndarray
    shown: list[int]
    missing: dict[int, str]
    lost: dict[int, str]
    mask: GroupMask | None


def lost_windows(found: Decoded) -> dict[Window, str]:
    """{window of cells of a damaged group: reason}; the whole picture where the mask is damaged."""
    if found.mask is None:
        height, width = found.picture.shape[:2]
        return {(0, height, 0, width): found.lost[0]}
    return {window: reason for i, reason in found.lost.items() for window in windows(found.mask, i)}


def windows(mask: GroupMask, group: int) -> list[Window]:
    """The cells of a group as runs of a row, in pixels."""
    return runs(mask.ids == group, mask.grid, mask.height, mask.width)


def runs(where: np.ndarray, side: int, height: int, width: int) -> list[Window]:
    """Cells (rows, columns) bool of a side in pixels, as runs of a row."""
    found = []
    for r in np.flatnonzero(where.any(1)):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], where[r], [False]]).astype(np.int8))).reshape(-1, 2)
        top, bottom = int(r) * side, min(height, (int(r) + 1) * side)
        found += [(top, bottom, int(a) * side, min(width, int(b) * side)) for a, b in edges]
    return found
