"""`vcm encode --codec segpic --regions SEGMENTER`: label maps that guide the codec, told in the file and paid for.

    picture ─▶ segmenter, as `vcm edges` names them ─▶ label map ─▶ SegpicCodec.encode(picture, labels, scale)
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

CODEC = "segpic"
SCALES = (4, 16)
ALPHA = 0.88  # SAM's own threshold of predicted IoU, where a segmenter scores its masks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--regions and --regions-at."""
    parser.add_argument(
        "--regions", metavar="SEGMENTER", help="of segpic: what tells regions, as `vcm edges` names it: felzenszwalb, "
        "labels:PATH, sam:vit_b (default: the 4x4 grid, which costs nothing)",
    )  # fmt: skip
    parser.add_argument(
        "--regions-at", metavar="N", type=int, choices=SCALES, default=SCALES[0],
        help="tell them at 1/N of the size: 4 (default), or 16, which is coarser and cheaper",
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RegionRequest:
    """segmenter: its name. scale: one of SCALES. root: the folder that names of pictures are below; "" for a file."""

    segmenter: str
    scale: int
    root: str = ""

    def keywords(self, source: Path, picture: np.ndarray) -> dict[str, Any]:
        """For SegpicCodec.encode of the picture that was read from `source`. ValueError or OSError, one line."""
        segmenter = _segmenter(self.segmenter)
        name = source.relative_to(self.root).as_posix() if self.root else source.name
        alpha = ALPHA if segmenter.scored else None
        return {"labels": segmenter.label_maps(picture, name, [alpha])[0], "scale": self.scale}


def request(arguments: argparse.Namespace, codec: str) -> RegionRequest | None:
    """What was asked for; None for the grid. ValueError or OSError for what cannot be used, before any picture."""
    if arguments.regions is None:
        return None
    if codec != CODEC:
        raise ValueError(f"--regions: {codec} knows no regions; {CODEC} does")
    _segmenter(arguments.regions)
    root = str(arguments.input) if arguments.input.is_dir() else ""
    return RegionRequest(arguments.regions, arguments.regions_at, root)


@functools.lru_cache(maxsize=2)
def _segmenter(name: str) -> Any:
    from icm.edges.segmenters import build

    return build(name)
