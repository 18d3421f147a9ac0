"""COCO annotations: panoptic (JSON + PNG) and instances (RLE, polygons) to label maps. Formats: cocodataset.org."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from icm.edges.labels import label_map
from icm.edges.segmenters.base import NotLabelled
from icm.edges.segmenters.files import Index, read_label_png


def _images(table: dict[str, Any], path: Path) -> Index[dict[str, Any]]:
    images = {str(PurePosixPath(image["file_name"]).with_suffix("")): image for image in table["images"]}
    return Index(images, str(path))


class Panoptic:
    """Segment ids as COCO codes them in PNG colours; 0 is what no annotator labelled."""

    def __init__(self, path: Path, table: dict[str, Any]) -> None:
        self.path = path
        self.folder = path.with_suffix("")
        if not self.folder.is_dir():
            raise ValueError(f"{path} is COCO panoptic, but its folder of PNGs {self.folder} is missing: put it there")
        self.images = _images(table, path)
        self.files = {annotation["image_id"]: annotation["file_name"] for annotation in table["annotations"]}

    def has(self, name: str) -> bool:
        """Whether there are labels. Raises NotLabelled where the picture is not listed."""
        return self.images.find(name)["id"] in self.files

    def label_map(self, name: str) -> np.ndarray:
        """(H, W) int32. Raises NotLabelled, ValueError, OSError."""
        image = self.images.find(name)
        if image["id"] not in self.files:
            raise NotLabelled(f"no labels for it in {self.path}")
        return read_label_png(self.folder / PurePosixPath(self.files[image["id"]]).name)


class Instances:
    """Objects only, painted by `icm.edges.labels`; a listed picture without objects has an empty label map."""

    def __init__(self, path: Path, table: dict[str, Any]) -> None:
        self.path = path
        self.images = _images(table, path)
        self.annotations: dict[Any, list[dict[str, Any]]] = {}
        for annotation in table["annotations"]:
            if "segmentation" not in annotation:
                raise ValueError(f"{path} has annotations without segmentation: boxes alone have no boundaries")
            self.annotations.setdefault(annotation["image_id"], []).append(annotation)

    def has(self, name: str) -> bool:
        """Whether the picture is listed, with objects or without. Raises NotLabelled where it is not."""
        return bool(self.images.find(name))

    def label_map(self, name: str) -> np.ndarray:
        """(H, W) int32, label = position among the picture's annotations + 1. Raises NotLabelled, ValueError."""
        image = self.images.find(name)
        shape = (int(image["height"]), int(image["width"]))
        found = self.annotations.get(image["id"], [])
        masks = [_mask(annotation, shape, self.path) for annotation in found]
        return label_map(masks, [annotation.get("score", 0.0) for annotation in found], shape)


def _mask(annotation: dict[str, Any], shape: tuple[int, int], path: Path) -> np.ndarray:
    from pycocotools import mask as coder

    segmentation = annotation["segmentation"]
    try:
        if isinstance(segmentation, list):  # polygons: one object, perhaps in several pieces
            if not segmentation:
                return np.zeros(shape, dtype=bool)
            encoded = coder.merge(coder.frPyObjects(segmentation, *shape))
        elif isinstance(segmentation["counts"], list):
            encoded = coder.frPyObjects(segmentation, *segmentation["size"])
        else:
            encoded = segmentation
        mask = coder.decode(encoded).astype(bool)
    except Exception as error:  # pycocotools raises whatever its C code met
        raise ValueError(f"annotation {annotation.get('id')} in {path} is damaged: {error}") from None
    if mask.shape != shape:
        raise ValueError(
            f"annotation {annotation.get('id')} in {path} is {mask.shape[1]}x{mask.shape[0]}, its picture "
            f"{shape[1]}x{shape[0]}"
        )
    return mask
