"""COCO-format folders: a folder of pictures and one JSON of instances (boxes; polygons or RLE for masks)."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from eval.datasets.base import Dataset, Item


def coco(images: str | Path, annotations: str | Path | None) -> Dataset:
    """The pictures that `annotations` lists, in its order of ids; pictures without objects count too.

    Raises ValueError, one line, where the JSON is not COCO instances or a listed picture is missing.
    """
    if annotations is None:
        raise ValueError(f"{images}: a COCO dataset needs its JSON; give --annotations, or --dataset folder without")
    images, annotations = Path(images), Path(annotations)
    if not images.is_dir():
        raise ValueError(f"{images}: no such folder of pictures; give --images the folder the JSON's names are in")
    read = _read(annotations)
    items = []
    for row in sorted(read["images"], key=lambda row: row["id"]):
        name = str(row["file_name"])
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{annotations}: picture name {name!r} leaves its folder; make it relative")
        items.append(Item(row["id"], name, images / name, int(row["width"]), int(row["height"])))
    missing = [item for item in items if not item.path.is_file()]
    if missing:
        raise ValueError(
            f"{images}: {len(missing)} of {len(items)} pictures of {annotations} are not here, "
            f"{missing[0].file_name} first; give --images their folder"
        )
    if not items:
        raise ValueError(f"{annotations}: lists no pictures")
    return Dataset(
        name=annotations.stem,
        items=tuple(items),
        truth=_truth(read),
        categories={row["id"]: str(row["name"]) for row in read["categories"]},
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error}); give the instances JSON") from None
    needed = {
        "images": ("id", "file_name", "width", "height"),
        "annotations": ("id", "image_id", "category_id", "bbox"),
        "categories": ("id", "name"),
    }
    for key, fields in needed.items():
        rows = read.get(key) if isinstance(read, dict) else None
        if not isinstance(rows, list):
            raise ValueError(f"{path}: has no list {key!r}; give COCO instances, not panoptic labels or results")
        for row in rows:
            if not isinstance(row, dict) or any(field not in row for field in fields):
                raise ValueError(f"{path}: an entry of {key!r} lacks one of {', '.join(fields)}")
    return read


def _truth(read: dict[str, Any]) -> Any:
    from pycocotools.coco import COCO

    for row in read["annotations"]:
        row.setdefault("iscrowd", 0)
        row.setdefault("area", float(row["bbox"][2]) * float(row["bbox"][3]))
    truth = COCO()
    truth.dataset = read
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth
