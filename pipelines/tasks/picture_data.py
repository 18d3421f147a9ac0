"""Crops of pictures, with masks and label maps, for training: a pure function of (seed, step, place in the batch).

Pictures are read once and kept as bytes of pixels while they fit the budget; crops of equal size are cut, mirrored, and
sometimes shrunk, so that small networks see objects of many sizes. A crop depends on its place in the whole batch and
not on the process that cuts it: processes share a batch as one would have it alone.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from pipelines.media import list_pictures, picture_size, read_picture

cv2.setNumThreads(0)  # threads of its own would fight the network's for the cores

MaskFrom = Literal["none", "masks", "labels"]


@dataclasses.dataclass
class Source:
    """A folder of pictures; beside it, where a distortion or a network wants them: a folder of masks as `vcm edges`
    lays it out (PNG, what is above 127 counts), and label maps as `vcm edges --segmenter labels:PATH` takes them."""

    pictures: Path
    masks: Path | None = None
    labels: Path | None = None


class Loaded(NamedTuple):
    """picture (H, W, 3) uint8 RGB; mask (H, W) uint8, 255 = counts; labels (H, W) int32, 0 = none."""

    picture: np.ndarray
    mask: np.ndarray | None
    labels: np.ndarray | None


class Crops(NamedTuple):
    """x (N, side, side, 3) uint8; mask (N, side, side) uint8, 255 where there is none; labels the same, int32, or 0."""

    x: np.ndarray
    mask: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass
class _Entry:
    picture: Path
    name: str  # below the folder of pictures
    mask: Path | None
    labels: Any  # icm.edges.segmenters.given.Labels or None


class Pictures:
    """mask_from: where masks come from: files, or labels (what has one counts; a folder without labels counts in full).
    with_labels: whether crops carry label maps.

    Where a folder of masks, or labels, are named, pictures without one are left out, needed or not: so twins see the
    same pictures.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        crop: int,
        mask_from: MaskFrom = "none",
        with_labels: bool = False,
        cache_bytes: int = 2**31,
    ) -> None:
        self.crop, self.mask_from, self.with_labels, self.cache_bytes = crop, mask_from, with_labels, cache_bytes
        self.entries: list[_Entry] = []
        for source in sources:
            self.entries += self._listed(source)
        self._cache: OrderedDict[int, Loaded] = OrderedDict()
        self.cached_bytes = 0
        self._lock = threading.Lock()

    def _listed(self, source: Source) -> list[_Entry]:
        folder, masks = source.pictures, source.masks
        if self.mask_from == "masks" and masks is None:
            raise ValueError(f"{folder}: this distortion needs a folder of masks beside it; make one with `vcm edges`")
        labels = None
        if source.labels is not None:
            from icm.edges.segmenters.given import Labels

            labels = Labels(source.labels)
        listed = []
        for path in list_pictures(folder):
            name = path.relative_to(folder)
            mask = None if masks is None else masks / name.with_suffix(".png")
            listed.append(_Entry(path, name.as_posix(), mask, labels))
        with_mask = [e for e in listed if e.mask is None or e.mask.exists()]
        found = [e for e in with_mask if e.labels is None or e.labels.knows(e.name)]
        if not found:
            lacking = f"a mask in {masks}" if not with_mask else f"labels in {source.labels}"
            raise ValueError(f"{folder}: no picture has {lacking}; check the folder")
        if len(found) < len(listed):
            without = "masks" if len(with_mask) < len(listed) else "labels"
            print(f"{folder}: {len(listed) - len(found)} pictures without {without} are left out", file=sys.stderr)
        return found

    def __len__(self) -> int:
        return len(self.entries)

    def load(self, index: int) -> Loaded:
        """ValueError where a mask or labels are of another size than the picture."""
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        loaded = self._read(self.entries[index])
        with self._lock:
            if index in self._cache:  # another thread was as fast
                return self._cache[index]
            self._cache[index] = loaded
            self.cached_bytes += _size(loaded)
            while self.cached_bytes > self.cache_bytes and len(self._cache) > 1:
                self.cached_bytes -= _size(self._cache.popitem(last=False)[1])
        return loaded

    def _read(self, entry: _Entry) -> Loaded:
        picture = read_picture(entry.picture)
        mask = labels = None
        if self.mask_from == "masks" and entry.mask is not None:
            mask = np.ascontiguousarray(read_picture(entry.mask)[..., 0])
            if mask.shape != picture.shape[:2]:
                raise _other_size(entry.mask, mask.shape[1], mask.shape[0])
        if entry.labels is not None and (self.with_labels or self.mask_from == "labels"):
            try:
                (labels,) = entry.labels.label_maps(picture, entry.name, [None])
            except ValueError as error:
                raise ValueError(f"{entry.picture}: {error}") from None
            if self.mask_from == "labels":
                mask = np.where(labels > 0, 255, 0).astype(np.uint8)
        return Loaded(picture, mask, labels if self.with_labels else None)

    def check(self) -> tuple[int, int]:
        """(pictures, bytes of all their pixels), from the files' heads; ValueError for a mask of another size."""
        total = 0
        for entry in self.entries:
            width, height = picture_size(entry.picture)
            total += 3 * width * height
            if self.mask_from == "masks" and entry.mask is not None and picture_size(entry.mask) != (width, height):
                raise _other_size(entry.mask, *picture_size(entry.mask))
        return len(self), total

    def mean_fraction(self) -> float:
        """Share of the pixels that the masks cover, over at most 200 pictures spread evenly; 1 where there are none."""
        chosen = np.linspace(0, len(self) - 1, min(len(self), 200)).round().astype(int)
        masks = [self.load(int(index)).mask for index in chosen]
        return float(np.mean([1.0 if mask is None else (mask > 127).mean() for mask in masks]))

    def batch(self, key: Sequence[int], places: Iterable[int]) -> Crops:
        """Crops of the places of a batch that the key (seed, step) names."""
        crops = [self._crop(np.random.default_rng([*key, place])) for place in places]
        return Crops(*(np.stack(parts) for parts in zip(*crops, strict=True)))

    def _crop(self, rng: np.random.Generator) -> tuple[Any, Any, Any]:
        picture, mask, labels = self.load(int(rng.integers(len(self))))
        short = min(picture.shape[:2])
        scale = max(self.crop / short, float(rng.choice([1.0, 1.0, rng.uniform(0.6, 1.0)])))
        width, height = (max(self.crop, round(side * scale)) for side in picture.shape[1::-1])
        if scale != 1.0:
            size, kind = (width, height), cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            picture = cv2.resize(picture, size, interpolation=kind)
            mask = None if mask is None else cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
            labels = None if labels is None else cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        top = int(rng.integers(picture.shape[0] - self.crop + 1))
        left = int(rng.integers(picture.shape[1] - self.crop + 1))
        mirrored = rng.random() < 0.5

        def cut(plane: np.ndarray) -> np.ndarray:
            window = plane[top : top + self.crop, left : left + self.crop]
            return window[:, ::-1] if mirrored else window

        side = (self.crop, self.crop)
        return (
            cut(picture),
            np.full(side, 255, np.uint8) if mask is None else np.where(cut(mask) > 127, 255, 0).astype(np.uint8),
            np.zeros(side, np.int32) if labels is None else cut(labels).astype(np.int32),
        )


def _size(loaded: Loaded) -> int:
    return sum(plane.nbytes for plane in loaded if plane is not None)


def _other_size(path: Path, width: int, height: int) -> ValueError:
    return ValueError(f"{path}: {width}x{height} for a picture of another size; make the masks anew")
