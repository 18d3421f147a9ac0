"""BSDS500 ground truth (Arbelaez et al., PAMI 2011): `groundTruth` .mat files, 4 to 9 annotators a picture.

Annotators see different detail. `all` unites their boundaries: the picture's label map is the common refinement of
theirs, which is what lies nearest to SAM's masks of parts, and also shows each boundary as often as hands differ (by a
pixel or two). `finest` and `coarsest` take the annotator with most and fewest segments (the first among equals), and a
number takes that one, where there is one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from icm.edges.labels import refine
from icm.edges.segmenters.files import Index


class BSDS:
    """Label maps of a folder of .mat files, of the annotators chosen."""

    def __init__(self, folder: Path, files: list[Path], annotators: str = "all") -> None:
        if annotators not in ("all", "finest", "coarsest") and not (annotators.isdecimal() and int(annotators) > 0):
            raise ValueError(f"annotators={annotators} is not all, finest, coarsest or a number from 1")
        self.annotators = annotators
        self.index = Index({path.relative_to(folder).with_suffix("").as_posix(): path for path in files}, str(folder))

    def has(self, name: str) -> bool:
        """Whether there is a drawing. Raises NotLabelled where there is none, ValueError where several would fit."""
        return bool(self.index.find(name))

    def label_map(self, name: str) -> np.ndarray:
        """(H, W) int32. Raises NotLabelled, ValueError."""
        path = self.index.find(name)
        maps = read_mat(path)
        if self.annotators == "all":
            return refine(maps)
        if self.annotators.isdecimal():
            if int(self.annotators) > len(maps):
                raise ValueError(f"{path} has {len(maps)} annotators, not {self.annotators}")
            return maps[int(self.annotators) - 1]
        segments = [len(np.unique(labels)) for labels in maps]
        best = max(segments) if self.annotators == "finest" else min(segments)
        return maps[segments.index(best)]


def read_mat(path: Path) -> list[np.ndarray]:
    """Each annotator's segmentation, (H, W) int32. Raises ValueError for a file of another kind."""
    from scipy.io import loadmat

    try:
        cells = loadmat(path)["groundTruth"].ravel()
        maps = [np.asarray(cell["Segmentation"][0, 0], dtype=np.int32) for cell in cells]
    except FileNotFoundError:
        raise
    except Exception as error:  # the parser of a foreign binary format: whatever it met, the file is at fault
        raise ValueError(f"{path} is not a whole BSDS .mat file: {type(error).__name__} {error}") from None
    if not maps or any(labels.ndim != 2 or labels.shape != maps[0].shape for labels in maps):
        raise ValueError(f"{path} holds no segmentations of one size")
    return maps
