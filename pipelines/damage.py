"""Damage maps: what of a decoded picture is lost, what is approximate, and the picture that says so.

    (windows lost, windows approximate) ─▶ map (H, W) uint8 ─▶ a.damage.png beside a.png, shares of the picture
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

LOST, APPROXIMATE = 255, 128  # in a damage map; 0: exact


def of_windows(shape: tuple[int, ...], lost: Iterable[Any], approximate: Iterable[Any]) -> np.ndarray:
    """(H, W) uint8 of a picture of this shape; windows are (top, bottom, left, right), ends exclusive."""
    found = np.zeros(shape[:2], np.uint8)
    for value, windows in ((APPROXIMATE, approximate), (LOST, lost)):  # lost last: it is inside the other
        for top, bottom, left, right in windows:
            found[top:bottom, left:right] = value
    return found


def place(out: Path) -> Path:
    """Where the damage map of a picture is: a.damage.png beside a.png."""
    return out.with_suffix(".damage.png")


def beside(out: Path) -> list[Path]:
    """What may lie beside a decoded picture."""
    return [place(out)] if out.suffix == ".png" else []


def remove(path: Path) -> None:
    """Remove a damage map that an earlier run left; a picture that only has its name stays."""
    from pipelines.media import read_picture

    try:
        values = np.unique(read_picture(path).reshape(-1, 3), axis=0)
    except (ValueError, OSError):
        return
    if LOST in values and (values == values[:, :1]).all() and set(values[:, 0].tolist()) <= {0, APPROXIMATE, LOST}:
        path.unlink(missing_ok=True)


def shares(found: np.ndarray | None) -> dict[str, float]:
    """Of a damage map: the shares that are lost and that are approximate, 0 to 1."""
    if found is None:
        return {"damaged": 0.0, "approximate": 0.0}
    return {"damaged": float((found == LOST).mean()), "approximate": float((found == APPROXIMATE).mean())}


def shown(found: Any) -> np.ndarray:
    """A damage map (H, W) as a picture."""
    return np.repeat(found[:, :, None], 3, axis=2)
