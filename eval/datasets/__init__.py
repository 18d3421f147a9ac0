"""Datasets: to add one, a function (images, annotations) -> Dataset in a file here, and a line in `DATASETS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from eval.datasets.base import VOID, Category, Dataset, Item, Panoptic, SemanticOf
from eval.datasets.coco import coco
from eval.datasets.folder import folder
from eval.datasets.reading import frames, read

DATASETS: dict[str, Callable[[str | Path, str | Path | None], Dataset]] = {"coco": coco, "folder": folder}

__all__ = ["DATASETS", "VOID", "Category", "Dataset", "Item", "Panoptic", "SemanticOf", "frames", "read"]
