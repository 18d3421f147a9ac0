"""What a dataset is: pictures with ids and sizes, and labels where there are any."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Item:
    """One picture. Width and height in pixels, as the labels count them; 0 where nothing states them."""

    id: int
    file_name: str  # relative to the folder of pictures
    path: Path
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Dataset:
    """Pictures in a fixed order; `truth` is a pycocotools COCO, or None without labels."""

    name: str
    items: tuple[Item, ...]
    truth: Any = None
    categories: dict[int, str] = field(default_factory=dict)  # id -> name

    def __len__(self) -> int:
        return len(self.items)

    def take(self, count: int) -> Dataset:
        """The first `count` pictures; the labels of the others are left out of every figure."""
        if count < 1:
            raise ValueError(f"{count} pictures asked for: at least one is needed")
        return dataclasses.replace(self, items=self.items[:count])

    def spread(self, count: int) -> Dataset:
        """`count` pictures spread evenly over the set (all of them where there are fewer)."""
        count = min(count, len(self.items))
        chosen = [self.items[i * len(self.items) // count] for i in range(count)]
        return dataclasses.replace(self, items=tuple(chosen))
