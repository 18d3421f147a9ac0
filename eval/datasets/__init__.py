"""Datasets: to add one, a function (images, annotations) -> Dataset in a file here, and a line in `DATASETS`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from eval.datasets.base import VOID, Category, Dataset, Item, Panoptic, SemanticOf
from eval.datasets.cityscapes import cityscapes
from eval.datasets.clip import clip
from eval.datasets.coco import coco, split_annotations
from eval.datasets.folder import folder
from eval.datasets.mot import mot
from eval.datasets.open_images import open_images
from eval.datasets.reading import frames, read
from eval.datasets.sfu import sfu
from eval.datasets.visdrone import visdrone

DATASETS: dict[str, Callable[[str | Path, str | Path | None], Dataset]] = {
    "coco": coco,
    "cityscapes": cityscapes,
    "visdrone": visdrone,
    "sfu": sfu,
    "open-images": open_images,
    "mot": mot,
    "folder": folder,
    "clip": clip,
}
CLIP_OPTIONS = {"every": "every", "max": "limit"}


def load(kind: str, images: str | Path, annotations: str | Path | None = None) -> Dataset:
    """The data set of --dataset KIND; `clip` takes options: "clip:every=10,max=100". ValueError: no such kind."""
    name, _, text = kind.partition(":")
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"--dataset {kind}: unknown{hint}; known: {', '.join(DATASETS)}")
    if not text:
        return DATASETS[name](images, annotations)
    options = {}
    for word in text.split(","):
        key, _, value = word.partition("=")
        if name != "clip" or key not in CLIP_OPTIONS or not value.isdigit():
            raise ValueError(f"--dataset {kind}: only clip takes options, as in clip:every=10,max=100")
        options[CLIP_OPTIONS[key]] = int(value)
    return clip(images, annotations, **options)


__all__ = ["DATASETS", "VOID", "Category", "Dataset", "Item", "Panoptic", "SemanticOf", "frames", "load", "read",
           "split_annotations"]  # fmt: skip
