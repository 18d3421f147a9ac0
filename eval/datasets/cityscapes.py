"""Cityscapes: panoptic and semantic labels of its fine annotations, in the layout of its own scripts.

    ROOT/leftImg8bit/val/CITY/CITY_000000_000294_leftImg8bit.png
    ROOT/gtFine/cityscapes_panoptic_val.json and gtFine/cityscapes_panoptic_val/CITY_000000_000294_gtFine_panoptic.png
    ROOT/gtFine/val/CITY/CITY_000000_000294_gtFine_labelIds.png (or _labelTrainIds.png)

The panoptic files are those that cityscapesscripts' createPanopticImgs writes, by ids or by train ids: the ids of the
classes are what the JSON says. Pictures are numbered from 1 in the order of their names.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.datasets.base import VOID, Dataset, Item, SemanticOf
from eval.datasets.coco import panoptic_of
from eval.datasets.labels import folder_of, read_json

LAYOUT = "Cityscapes' root, which holds leftImg8bit/ and gtFine/"
# label id and name of the 19 classes that are evaluated, in the order of their train ids
LABELS = ((7, "road"), (8, "sidewalk"), (11, "building"), (12, "wall"), (13, "fence"), (17, "pole"),
          (19, "traffic light"), (20, "traffic sign"), (21, "vegetation"), (22, "terrain"), (23, "sky"), (24, "person"),
          (25, "rider"), (26, "car"), (27, "truck"), (28, "bus"), (31, "train"), (32, "motorcycle"),
          (33, "bicycle"))  # fmt: skip


def cityscapes(images: str | Path, annotations: str | Path | None = None) -> Dataset:
    """Panoptic and semantic labels from a panoptic JSON, semantic ones alone from a folder such as gtFine/val.

    Without `annotations`, ROOT/gtFine/cityscapes_panoptic_val.json. ValueError, one line, where the layout is another.
    """
    images = folder_of(images, LAYOUT)
    path = Path(annotations) if annotations is not None else images / "gtFine" / "cityscapes_panoptic_val.json"
    if path.is_dir():
        return _semantic_only(images, path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give --annotations cityscapes_panoptic_val.json (cityscapesscripts' "
                         "createPanopticImgs writes it), or a folder of label maps such as gtFine/val")  # fmt: skip
    read = _read(path)
    split = path.stem.removeprefix("cityscapes_panoptic_").removesuffix("_trainId")
    pictures = _pictures(images, split)
    sizes = {str(row["id"]): row for row in read["images"]}
    rows = {str(row["image_id"]): row for row in read["annotations"]}
    missing = sorted(set(rows) - set(pictures))
    if missing:
        raise ValueError(f"{images}: {len(missing)} of {len(rows)} pictures of {path} are not here, "
                         f"{missing[0]}_leftImg8bit.png first; give --images {LAYOUT}")  # fmt: skip
    items = []
    for number, name in enumerate(sorted(rows), 1):
        if name not in sizes:
            raise ValueError(f"{path}: has labels of {name}, which is not in its list of images")
        width, height = int(sizes[name]["width"]), int(sizes[name]["height"])
        items.append(Item(number, _relative(pictures[name], images), pictures[name], width, height))
        rows[name]["image_id"] = number
    panoptic = panoptic_of(path, read, tuple(items))
    names = {number: row["name"] for number, row in panoptic.categories.items()}
    return Dataset(path.stem, tuple(items), panoptic=panoptic, semantic=SemanticOf(panoptic),
                   semantic_categories=names)  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    read = read_json(path, "cityscapes_panoptic_val.json")
    wanted = {"images": ("id", "width", "height"), "annotations": ("image_id", "file_name", "segments_info"),
              "categories": ("id", "name", "isthing")}  # fmt: skip
    for key, fields in wanted.items():
        rows = read.get(key) if isinstance(read, dict) else None
        if not isinstance(rows, list) or not rows:
            raise ValueError(f"{path}: has no list {key!r}; expected Cityscapes' panoptic JSON")
        if any(not isinstance(row, dict) or any(field not in row for field in fields) for row in rows):
            raise ValueError(f"{path}: an entry of {key!r} lacks one of {', '.join(fields)}")
    return read


def _pictures(images: Path, split: str) -> dict[str, Path]:
    """Name as in the labels (CITY_000000_000294) -> picture, of a root, a split, or any folder above cities."""
    for folder in (images / "leftImg8bit" / split, images / split, images):
        found = sorted(folder.glob("*/*_leftImg8bit.png")) if folder.is_dir() else []
        if found:
            return {path.name.removesuffix("_leftImg8bit.png"): path for path in found}
    raise ValueError(f"{images}: holds no leftImg8bit/{split}/CITY/*_leftImg8bit.png; give --images {LAYOUT}")


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


@dataclass(frozen=True)
class LabelMaps:
    """Semantic maps from Cityscapes' PNGs of label ids or train ids; what is not evaluated becomes VOID."""

    files: dict[int, Path]
    known: tuple[int, ...]

    def __call__(self, item_id: int) -> np.ndarray:
        """(H, W) int32 ids as the PNG has them; ValueError where it is no map of one byte a pixel."""
        from PIL import Image, UnidentifiedImageError

        file = self.files[item_id]
        try:
            with Image.open(file) as image:
                values = np.array(image)
        except (UnidentifiedImageError, SyntaxError, OSError) as error:
            raise ValueError(f"{file}: damaged label map ({error})") from None
        if values.ndim != 2 or values.dtype != np.uint8:
            raise ValueError(f"{file}: is no label map of one byte a pixel")
        return np.where(np.isin(values, self.known), values.astype(np.int32), VOID).astype(np.int32)


def _semantic_only(images: Path, labels: Path) -> Dataset:
    from eval.datasets.reading import picture_size

    pictures = _pictures(images, labels.name)
    ids = [label for label, _ in LABELS]
    for kind in ("labelIds", "labelTrainIds"):
        suffix = f"_gtFine_{kind}.png"
        files = {path.name.removesuffix(suffix): path for path in sorted(labels.glob(f"*/*{suffix}"))}
        if files:
            break
        ids = list(range(len(LABELS)))
    else:
        raise ValueError(f"{labels}: holds no CITY/*_gtFine_labelIds.png or *_gtFine_labelTrainIds.png")
    missing = sorted(set(files) - set(pictures))
    if missing:
        raise ValueError(f"{images}: {len(missing)} of {len(files)} pictures of {labels} are not here, "
                         f"{missing[0]}_leftImg8bit.png first")  # fmt: skip
    items = []
    for number, name in enumerate(sorted(files), 1):
        height, width = picture_size(pictures[name])
        items.append(Item(number, _relative(pictures[name], images), pictures[name], width, height))
    maps = LabelMaps(dict(enumerate((files[name] for name in sorted(files)), 1)), tuple(ids))
    names = dict(zip(ids, (name for _, name in LABELS), strict=True))
    return dataclasses.replace(Dataset(f"cityscapes_{labels.name}", tuple(items)), semantic=maps,
                               semantic_categories=names)  # fmt: skip
