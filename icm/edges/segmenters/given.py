"""Label maps that exist already: `labels:PATH`, what annotators drew or another program segmented.

| PATH | what it is |
|---|---|
| a .json with `segments_info` | COCO panoptic; the PNGs lie in the folder of the same name without `.json` |
| a .json with `segmentation` | COCO instances: compressed or plain RLE, polygons; crowds count as one mask |
| a folder of .mat | BSDS500 ground truth, several annotators a picture |
| a folder of .png | label maps: 8 or 16 bits grey, palette (its indices), or RGB as id = R + 256 G + 65536 B |

A picture finds its labels by its path below the input folder without suffix, or by its name alone where that is unique.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icm.edges.segmenters.base import NotLabelled, Segmenter, read_options
from icm.edges.segmenters.bsds import BSDS
from icm.edges.segmenters.coco import Instances, Panoptic
from icm.edges.segmenters.files import Index, read_label_png

ADVICE = "give COCO's .json, BSDS's groundTruth folder or a folder of label PNGs"


@dataclasses.dataclass(frozen=True)
class Options:
    """annotators: which of BSDS's drawings: all (their boundaries united), finest, coarsest, or a number from 1."""

    annotators: str = "all"


class LabelFolder:
    """A folder of label maps as PNG files."""

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self.index = Index({path.relative_to(folder).with_suffix("").as_posix(): path for path in files}, str(folder))

    def label_map(self, name: str) -> np.ndarray:
        return read_label_png(self.index.find(name))

    def has(self, name: str) -> bool:
        """Whether there is a file. Raises NotLabelled where there is none."""
        return bool(self.index.find(name))


class Labels(Segmenter):
    """Reads the label map of each picture from PATH. Raises as `build` does."""

    def __init__(self, path: Path, options: Options | None = None) -> None:
        self.name = f"labels:{path.name}"
        options = options or Options()
        self._settings: dict[str, Any] = {"segmenter": "labels", "labels": path.name}
        self.source: Panoptic | Instances | BSDS | LabelFolder
        if path.is_file() and path.suffix.lower() == ".json":
            content = path.read_bytes()
            self._settings["sha256"] = hashlib.sha256(content).hexdigest()
            self.source = _coco(path, content)
            if isinstance(self.source, Panoptic):
                self._settings["listing_sha256"] = _listing(path.with_suffix(""), _files(path.with_suffix(""), ".png"))
        elif path.is_dir():
            drawings, maps = _files(path, ".mat"), _files(path, ".png")
            if not drawings and not maps:
                raise ValueError(f"{path} holds no .mat and no .png: {ADVICE}")
            if drawings and maps:
                raise ValueError(f"{path} holds both .mat and .png files: give a folder with one kind of labels")
            self._settings["listing_sha256"] = _listing(path, drawings or maps)
            self.source = BSDS(path, drawings, options.annotators) if drawings else LabelFolder(path, maps)
        elif not path.exists():
            raise FileNotFoundError(f"labels {path} do not exist: {ADVICE}")
        else:
            raise ValueError(f"labels {path} are neither a .json nor a folder: {ADVICE}")
        if isinstance(self.source, BSDS):
            self._settings["annotators"] = options.annotators
        elif options != Options():
            raise ValueError(f"option annotators is for BSDS's .mat files, not for {path}")

    def settings(self) -> dict[str, Any]:
        return dict(self._settings)

    def knows(self, name: str) -> bool:
        """Whether the picture called `name` has labels, as far as listings tell: nothing is read."""
        try:
            return self.source.has(name)
        except NotLabelled:
            return False

    def label_maps(self, picture: np.ndarray, name: str, alphas: Sequence[float | None]) -> list[np.ndarray]:
        labels = self.source.label_map(name)
        if labels.shape != picture.shape[:2]:
            raise ValueError(
                f"its labels are {labels.shape[1]}x{labels.shape[0]}, the picture is "
                f"{picture.shape[1]}x{picture.shape[0]}"
            )
        return [labels for _ in alphas]


def build(
    target: str, checkpoint: str | None = None, device: str = "auto", options: dict[str, str] | None = None
) -> Labels:
    """`labels:PATH`. Raises ValueError or OSError when PATH holds no labels that are understood."""
    if not target:
        raise ValueError("segmenter labels needs a path: --segmenter labels:PATH")
    return Labels(Path(target), read_options(Options, options or {}, "labels"))


def _coco(path: Path, content: bytes) -> Panoptic | Instances:
    try:
        table = json.loads(content)
        annotations = table["annotations"]
        if annotations and "segments_info" in annotations[0]:
            return Panoptic(path, table)
        return Instances(path, table)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        if type(error) is ValueError:  # ours, already a sentence (json's is a subclass)
            raise
        raise ValueError(
            f"{path} is not COCO annotations (panoptic or instances): {type(error).__name__} {error}"
        ) from None


def _files(folder: Path, suffix: str) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == suffix and path.is_file())


def _listing(folder: Path, files: list[Path]) -> str:
    """SHA-256 of names and sizes: notices labels that came or went without reading gigabytes of them."""
    lines = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
