"""What a dataset is: pictures with ids and sizes, the sequences that they are frames of, and labels of any kind.

    files ─loader─▶ Dataset ─▶ items ─read / frames─▶ (H, W, 3) uint8 RGB
                       └────▶ truth (boxes, masks, keypoints, tracks), panoptic, semantic

H, W: height and width of one picture, in pixels. Everything here can be pickled, so that shards travel to workers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

VOID = -1  # of semantic maps


@dataclass(frozen=True)
class Item:
    """One picture. Width and height in pixels, as the labels count them; 0 where nothing states them.

    A frame of a clip file has the clip as its path and its place in it as `frame`, from 0, in order of showing; a
    picture of a sequence kept as pictures has its own path, and `frame` is the number that the labels give it.
    """

    id: int
    file_name: str  # relative to the folder of pictures; CLIP/000012 for a frame of a clip
    path: Path
    width: int = 0
    height: int = 0
    sequence: str = ""  # "" for a still
    frame: int = 0


class Category(TypedDict):
    """A class of panoptic labels."""

    name: str
    isthing: bool


@dataclass(frozen=True)
class Panoptic:
    """Panoptic labels, by item id. `read(item_id)` gives (H, W) int32 segment ids, 0 being void."""

    categories: dict[int, Category]
    rows: dict[int, list[dict[str, Any]]]
    read: Callable[[int], np.ndarray]

    def segments(self, item_id: int) -> list[dict[str, Any]]:
        """COCO's segments_info: {"id", "category_id", "iscrowd", "area", "bbox"} of every segment. KeyError: no id."""
        return self.rows[item_id]

    def map(self, item_id: int) -> np.ndarray:
        """(H, W) int32 segment ids, 0 being void. ValueError, one line, where the file is damaged or lacks a label."""
        return self.read(item_id)


@dataclass(frozen=True)
class SemanticOf:
    """The semantic maps that panoptic labels imply: the category of each segment, crowds too; VOID elsewhere."""

    panoptic: Panoptic

    def __call__(self, item_id: int) -> np.ndarray:
        """(H, W) int32 category ids."""
        segments = self.panoptic.map(item_id)
        ids, places = np.unique(segments, return_inverse=True)
        known = {row["id"]: row["category_id"] for row in self.panoptic.segments(item_id)}
        values = np.array([known.get(int(value), VOID) for value in ids], np.int32)
        return values[places.reshape(segments.shape)]


@dataclass(frozen=True)
class Dataset:
    """Pictures in a fixed order, those of a sequence together and in order of time.

    `truth` is a pycocotools COCO (annotations may hold `segmentation`, `keypoints`, `track_id`), or None.
    """

    name: str
    items: tuple[Item, ...]
    truth: Any = None
    categories: dict[int, str] = field(default_factory=dict)  # id -> name, of `truth`
    panoptic: Panoptic | None = None
    semantic: Callable[[int], np.ndarray] | None = None  # item id -> (H, W) int32 category ids, VOID = -1
    semantic_categories: dict[int, str] = field(default_factory=dict)
    rate: dict[str, Fraction] = field(default_factory=dict)  # sequence -> frames a second
    pseudo: bool = False  # whether the labels are a model's own, from the uncompressed pictures

    def __len__(self) -> int:
        return len(self.items)

    @property
    def sequences(self) -> dict[str, tuple[int, ...]]:
        """Name -> item ids in order; empty for stills. Follows `items`, whatever part of the set they are."""
        found: dict[str, list[int]] = {}
        for item in self.items:
            if item.sequence:
                found.setdefault(item.sequence, []).append(item.id)
        return {name: tuple(ids) for name, ids in found.items()}

    @property
    def tasks(self) -> tuple[str, ...]:
        """What these labels can score; "fidelity" needs none."""
        found = []
        if self.truth is not None:
            rows = list(self.truth.anns.values())
            found = ["detection"]
            found += ["instances"] if rows and all("segmentation" in row for row in rows) else []
            found += ["keypoints"] if any("keypoints" in row for row in rows) else []
            found += ["tracking"] if self.sequences and any("track_id" in row for row in rows) else []
        found += ["panoptic"] if self.panoptic is not None else []
        found += ["semantic"] if self.semantic is not None else []
        return (*found, "fidelity")

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
