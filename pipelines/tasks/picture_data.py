"""Crops of pictures, with their edge or object maps, for training: a pure function of (seed, step, process).

Pictures are read once and kept as bytes of pixels while they fit the budget; crops of equal size are cut, mirrored, and
sometimes shrunk, so that small networks see objects of many sizes.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipelines.media import list_pictures, read_picture

cv2.setNumThreads(0)  # threads of its own would fight the network's for the cores


@dataclasses.dataclass
class Pair:
    picture: Path
    mask: Path | None


def mask_of(picture: Path, pictures: Path, masks: Path | None) -> Path | None:
    """Folders below `pictures` are kept below `masks`."""
    return None if masks is None else masks / picture.relative_to(pictures).with_suffix(".png")


class Pictures:
    """sources: folders of pictures, each with an optional folder of masks as `vcm edges` lays it out (PNG, 255 counts).

    Where a folder of masks is named, pictures without one are left out, needed or not: so twins see the same pictures.
    """

    def __init__(
        self, sources: list[tuple[Path, Path | None]], crop: int, need_masks: bool, cache_bytes: int = 2**31
    ) -> None:
        self.crop, self.need_masks, self.cache_bytes = crop, need_masks, cache_bytes
        self.pairs: list[Pair] = []
        for pictures, masks in sources:
            if need_masks and masks is None:
                raise ValueError(
                    f"{pictures}: this distortion needs a folder of masks beside it; make one with `vcm edges`"
                )
            listed = [Pair(path, mask_of(path, pictures, masks)) for path in list_pictures(pictures)]
            found = [pair for pair in listed if pair.mask is None or pair.mask.exists()]
            if not found:
                raise ValueError(f"{pictures}: no picture has a mask in {masks}; check the folder")
            if len(found) < len(listed):
                print(f"{pictures}: {len(listed) - len(found)} pictures without a mask are left out", file=sys.stderr)
            self.pairs += found
        self._cache: OrderedDict[int, tuple[np.ndarray, np.ndarray | None]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """(H, W, 3) uint8 RGB and (H, W) uint8 mask (255 = counts) or None. ValueError where the two differ in size."""
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        pair = self.pairs[index]
        picture = read_picture(pair.picture)
        mask = None
        if self.need_masks and pair.mask is not None:
            mask = np.ascontiguousarray(read_picture(pair.mask)[..., 0])
            if mask.shape != picture.shape[:2]:
                raise ValueError(
                    f"{pair.mask}: {mask.shape[1]}x{mask.shape[0]} for a picture of another size; make the masks anew"
                )
        with self._lock:
            if index in self._cache:  # another thread was as fast
                return self._cache[index]
            self._cache[index] = picture, mask
            self._bytes += picture.nbytes
            while self._bytes > self.cache_bytes and len(self._cache) > 1:
                self._bytes -= self._cache.popitem(last=False)[1][0].nbytes
        return picture, mask

    def mean_fraction(self) -> float:
        """Share of the pixels that the masks cover, over at most 200 pictures spread evenly."""
        chosen = np.linspace(0, len(self) - 1, min(len(self), 200)).round().astype(int)
        masks = [mask for index in chosen if (mask := self.load(int(index))[1]) is not None]
        return float(np.mean([(mask > 127).mean() for mask in masks]))

    def batch(self, key: list[int], size: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        """(size, crop, crop, 3) uint8, (size, crop, crop) uint8 masks (255 where there are none), the generator."""
        rng = np.random.default_rng(key)
        crops = [self._crop(rng) for _ in range(size)]
        return np.stack([x for x, _ in crops]), np.stack([m for _, m in crops]), rng

    def _crop(self, rng: np.random.Generator) -> tuple[Any, Any]:
        picture, mask = self.load(int(rng.integers(len(self))))
        if mask is None:
            mask = np.full(picture.shape[:2], 255, np.uint8)
        short = min(picture.shape[:2])
        scale = max(self.crop / short, float(rng.choice([1.0, 1.0, rng.uniform(0.6, 1.0)])))
        if scale != 1.0:
            size = tuple(max(self.crop, round(side * scale)) for side in picture.shape[1::-1])
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        top = int(rng.integers(picture.shape[0] - self.crop + 1))
        left = int(rng.integers(picture.shape[1] - self.crop + 1))
        window = slice(top, top + self.crop), slice(left, left + self.crop)
        picture, mask = picture[window], mask[window]
        if rng.random() < 0.5:
            picture, mask = picture[:, ::-1], mask[:, ::-1]
        return picture, np.where(mask > 127, 255, 0).astype(np.uint8)
