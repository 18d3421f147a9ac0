"""SegPIC's .vcm files: those of icm/codecs/same_build.py, with the grid, or with a label map that the file pays for."""

from __future__ import annotations

from typing import Any

import numpy as np

from icm.bitstream import Stream, write
from icm.codecs.picture import check
from icm.codecs.same_build import SameBuildCodec, tiles
from icm.codecs.segpic.coding import Section
from icm.codecs.segpic.regions import FINE


class SegpicCodec(SameBuildCodec):
    """encode(picture) uses the grid; encode(picture, labels) sends the regions too. Decoding takes either."""

    def encode(self, picture: np.ndarray, labels: np.ndarray | None = None, scale: int = FINE) -> bytes:
        """(H, W, 3) uint8 RGB → a whole .vcm file.

        labels: (H, W) of any integers, a region for each pixel: kept without loss at 1/4 (scale 4) or 1/16 (scale 16)
        of the size, which is what the network looks at. ValueError: labels that do not fit the picture.
        """
        if labels is None:
            return super().encode(picture)
        check(picture)
        labels = np.asarray(labels)
        if labels.shape != picture.shape[:2]:
            raise ValueError(f"labels of {labels.shape} do not fit a picture of {picture.shape[:2]}")
        height, width = picture.shape[0], picture.shape[1]
        sections = [
            self.coder.encode_tile(
                np.ascontiguousarray(picture[top:bottom, left:right]), self.guard, labels[top:bottom, left:right], scale
            )
            for top, bottom, left, right in tiles(height, width, self.tile)
        ]
        return write(self._header("picture", (height, width)), sections)

    @staticmethod
    def parts(stream: Stream) -> dict[str, int]:
        """Bytes of an open stream: {"labels", "symbols", "container"}; together the file."""
        sections = [Section.parse(payload) for payload in stream.sections()]
        told, symbols = sum(len(s.labels or b"") for s in sections), sum(len(s.symbols) for s in sections)
        return {"labels": told, "symbols": symbols, "container": stream.stored - told - symbols}


def build(name: str, quality: float | None = None, **options: Any) -> SegpicCodec:
    """The codec called `name`; options: weights (path), tile (pixels), guard (bits)."""
    return SegpicCodec(name, quality, **options)
