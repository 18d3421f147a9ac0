"""Felzenszwalb and Huttenlocher's graph segmentation (IJCV 2004): the fallback that needs no weights and no network.

Its regions follow colour alone, so its edges are not SAM's: it announces itself on stderr and in the manifest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from icm.edges.segmenters.base import Segmenter, read_options


@dataclasses.dataclass(frozen=True)
class Options:
    """scale: larger gives larger regions. sigma: blur before it, in pixels. min_size: smallest region, in pixels."""

    scale: float = 200.0
    sigma: float = 0.8
    min_size: int = 100


class Felzenszwalb(Segmenter):
    name = "felzenszwalb"
    notice = (
        "segmenter felzenszwalb is the offline fallback: regions of like colour, not Segment Anything's masks; "
        "use --segmenter sam:vit_h for the edges of the paper"
    )

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()

    def settings(self) -> dict[str, Any]:
        from importlib.metadata import version

        return {
            "segmenter": self.name,
            "offline_fallback": True,
            "scikit_image": version("scikit-image"),
            **dataclasses.asdict(self.options),
        }

    def label_maps(self, picture: np.ndarray, name: str, alphas: Sequence[float | None]) -> list[np.ndarray]:
        from skimage.segmentation import felzenszwalb

        labels = felzenszwalb(
            picture, scale=self.options.scale, sigma=self.options.sigma, min_size=self.options.min_size, channel_axis=-1
        )
        return [labels.astype(np.int32) + 1 for _ in alphas]


def build(
    target: str, checkpoint: str | None = None, device: str = "auto", options: dict[str, str] | None = None
) -> Felzenszwalb:
    """`felzenszwalb`; it takes no target, and has no checkpoint or device."""
    if target:
        raise ValueError(f"segmenter felzenszwalb takes nothing after a colon, not {target!r}: use --option KEY=VALUE")
    return Felzenszwalb(read_options(Options, options or {}, "felzenszwalb"))
