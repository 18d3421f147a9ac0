"""What task models found in the sample pictures of a run, and the truth of these, as layers for the viewer.

    RUN/predictions/CODEC/QUALITY/MODEL.json, MODEL.panoptic.json, MODEL.panoptic/, MODEL.semantic/ ─┐
    labels of the data set ──────────────────────────────────────────────────────────────────────────┴▶ layers
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.datasets import Dataset
from eval.datasets.base import VOID
from eval.report.draw import Size, objects, regions
from pipelines.report_points import Point, file_name, json_of

SEMANTIC_VOID = 65535  # in the 16-bit maps of a run
Layers = dict[str, str]  # name -> HTML


class Finder:
    """What models found in the sample pictures, and the truth of these, as layers. Every file is read once."""

    def __init__(self, dataset: Dataset | None, items: Sequence[int], models: Sequence[str]) -> None:
        self.dataset, self.items = dataset, frozenset(items)
        self.prefix = {model: f"{model}: " if len(models) > 1 else "" for model in models}
        self._called: dict[str, dict[int, str]] = {}
        self._rows: dict[Path, dict[int, list[dict[str, Any]]]] = {}

    def found(self, of: dict[str, Point], item: int, size: Size) -> Layers:
        """A layer a kind and model, of one picture at one point of each model."""
        return {self.prefix[model] + kind: layer for model, point in of.items() if model in self.prefix
                for kind, layer in self._found(point, item, size).items()}  # fmt: skip

    def labels(self, item: int, size: Size) -> Layers:
        """The truth of a picture."""
        layers: Layers = {}
        dataset = self.dataset
        if dataset is not None and dataset.truth is not None:
            truth = dataset.truth
            rows = [{**row, "segmentation": truth.annToRLE(row)} if row.get("segmentation") else row
                    for row in truth.loadAnns(truth.getAnnIds(item)) if not row.get("iscrowd")]  # fmt: skip
            layers["labels"] = objects(rows, dataset.categories, size)
        if dataset is not None and dataset.panoptic is not None:
            kinds = {int(row["id"]): int(row["category_id"]) for row in dataset.panoptic.segments(item)}
            layers["labels, panoptic"] = regions(dataset.panoptic.map(item), kinds, self._segment_names())
        elif dataset is not None and dataset.semantic is not None:
            layers["labels, semantic"] = _semantic(dataset.semantic(item), VOID, self._segment_names())
        return layers

    def _found(self, point: Point, item: int, size: Size) -> Layers:
        folder, model = point.folder / "predictions" / point.below, file_name(point.record.model)
        names = self._names(point)
        layers: Layers = {}
        if (path := folder / f"{model}.json").is_file():
            layers["objects"] = objects(self._read(path).get(item, []), names, size)
        rows, path = self._read(folder / f"{model}.panoptic.json"), folder / f"{model}.panoptic" / f"{item}.png"
        if item in rows and path.is_file():
            kinds = {int(row["id"]): int(row["category_id"]) for row in rows[item][0]["segments_info"]}
            layers["panoptic"] = regions(_map(path), kinds, names | self._segment_names())
        if (path := folder / f"{model}.semantic" / f"{item}.png").is_file():
            layers["semantic"] = _semantic(_map(path), SEMANTIC_VOID, names | self._segment_names())
        return layers

    def _read(self, path: Path) -> dict[int, list[dict[str, Any]]]:
        """The rows of the sample pictures, by picture."""
        if path not in self._rows:
            read = json_of(path)
            found: dict[int, list[dict[str, Any]]] = {}
            for row in read.get("annotations", []) if isinstance(read, dict) else read:
                if row["image_id"] in self.items:
                    found.setdefault(row["image_id"], []).append(row)
            self._rows[path] = found
        return self._rows[path]

    def _names(self, point: Point) -> dict[int, str]:
        """Categories as the run noted them; without labels, as the model calls what it finds."""
        if point.record.model not in self._called:
            origin = point.origin
            known = {**(origin.get("categories") or {}), **(origin.get("panoptic_categories") or {})}
            called = {int(key): str(of["name"] if isinstance(of, dict) else of) for key, of in known.items()}
            self._called[point.record.model] = called or _categories(point.record.model)
        return self._called[point.record.model]

    def _segment_names(self) -> dict[int, str]:
        if self.dataset is None:
            return {}
        panoptic = self.dataset.panoptic.categories if self.dataset.panoptic is not None else {}
        return {**self.dataset.semantic_categories, **{key: str(of["name"]) for key, of in panoptic.items()}}


def _categories(model: str) -> dict[int, str]:
    """What a task model that is known here says of its classes; {} where it says nothing, or is not installed."""
    from eval.models import build

    try:
        return dict(getattr(build(model), "categories", None) or {})
    except (ValueError, OSError, ImportError):
        return {}


def _semantic(kinds: np.ndarray, void: int, names: dict[int, str]) -> str:
    return regions(kinds, {int(kind): int(kind) for kind in np.unique(kinds) if kind != void}, names, void)


def _map(path: Path) -> np.ndarray:
    """(H, W) int of a PNG: ids of a panoptic one's colours, or the values of a grey one."""
    from PIL import Image

    with Image.open(path) as picture:
        pixels = np.asarray(picture).astype(np.int64)
    return pixels if pixels.ndim == 2 else pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
