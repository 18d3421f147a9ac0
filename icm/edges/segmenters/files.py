"""Finding a picture's labels by its name, and reading label maps from PNG."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Generic, TypeVar

import numpy as np

from icm.edges.segmenters.base import NotLabelled

Item = TypeVar("Item")


class Index(Generic[Item]):
    """Items by relative path without suffix (`train/100075`), found by that or, where unique, by the last part."""

    def __init__(self, items: dict[str, Item], owner: str) -> None:
        self.items = items
        self.owner = owner
        self.stems: dict[str, list[str]] = {}
        for key in items:
            self.stems.setdefault(PurePosixPath(key).name, []).append(key)

    def find(self, name: str) -> Item:
        """The item of picture `name` (with suffix). Raises NotLabelled, or ValueError where several would fit."""
        key = str(PurePosixPath(name).with_suffix(""))
        if key in self.items:
            return self.items[key]
        keys = self.stems.get(PurePosixPath(key).name, [])
        if not keys:
            raise NotLabelled(f"no labels for it in {self.owner}")
        if len(keys) > 1:
            raise ValueError(f"several labels have its name in {self.owner}: {', '.join(sorted(keys)[:3])}")
        return self.items[keys[0]]


def read_label_png(path: Path) -> np.ndarray:
    """Label map (H, W) int32 from a PNG: grey or palette indices as they are, RGB as id = R + 256 G + 65536 B.

    Raises ValueError for a file that is damaged or of another kind, OSError where it cannot be opened.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            file.load()
            mode, pixels = file.mode, np.asarray(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"its labels {path} do not exist") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"its labels {path} are not a whole PNG: {error}") from None
    if mode == "RGB":
        return pixels.astype(np.int32) @ np.array([1, 256, 65536], dtype=np.int32)
    if mode in ("1", "L", "P", "I", "I;16", "I;16B"):
        return pixels.astype(np.int32)
    raise ValueError(f"its labels {path} are {mode}: a label map is grey (8 or 16 bits), palette or RGB")
