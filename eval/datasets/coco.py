"""COCO-format folders: pictures, and JSONs of instances, person keypoints, panoptic segments, or several of them.

    instances.json[,person_keypoints.json][,panoptic.json]      the PNGs of panoptic.json are in a folder panoptic/

Layout of COCO 2017: --images val2017 --annotations annotations/instances_val2017.json,annotations/panoptic_val2017.json
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.datasets.base import Category, Dataset, Item, Panoptic, SemanticOf
from eval.datasets.labels import index, read_json

INSTANCES = ("id", "image_id", "category_id", "bbox")
PANOPTIC = ("image_id", "file_name", "segments_info")
IMAGES = ("id", "file_name", "width", "height")


def split_annotations(annotations: str | Path | None) -> list[str]:
    """The files that one value of --annotations names, joined by commas; a file with a comma in its name is one."""
    if annotations is None:
        return []
    text = os.fspath(annotations)
    if "," not in text or Path(text).exists():
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def coco(images: str | Path, annotations: str | Path | None) -> Dataset:
    """The pictures that the first JSON lists, in its order of ids; pictures without objects count too.

    Raises ValueError, one line, where a JSON is not COCO's, a listed picture is missing, or labels do not fit together.
    """
    if annotations is None:
        raise ValueError(f"{images}: a COCO dataset needs its JSON; give --annotations, or --dataset folder without")
    images, paths = Path(images), [Path(part) for part in split_annotations(annotations)]
    if not images.is_dir():
        raise ValueError(f"{images}: no such folder of pictures; give --images the folder the JSON's names are in")
    base: dict[str, Any] | None = None
    panoptic: Panoptic | None = None
    items: tuple[Item, ...] = ()
    for path in paths:
        read = _read(path)
        items = items or listed(images, path, read)
        if is_panoptic(read):
            if panoptic is not None:
                raise ValueError(f"{path}: is a second panoptic JSON; name one")
            panoptic = panoptic_of(path, read, items)
        else:
            base = read if base is None else _merge(path, base, read)
    names = {row["id"]: str(row["name"]) for row in base["categories"]} if base else {}
    semantic = {number: row["name"] for number, row in panoptic.categories.items()} if panoptic else {}
    return Dataset(
        name=paths[0].stem, items=items, truth=index(base) if base else None, categories=names, panoptic=panoptic,
        semantic=SemanticOf(panoptic) if panoptic else None, semantic_categories=semantic,
    )  # fmt: skip


def listed(images: Path, path: Path, read: dict[str, Any]) -> tuple[Item, ...]:
    """The items of the JSON's list of pictures; ValueError where one has no file, or a name that leaves the folder."""
    items = []
    for row in sorted(read["images"], key=lambda row: row["id"]):
        name = str(row["file_name"])
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{path}: picture name {name!r} leaves its folder; make it relative")
        items.append(Item(row["id"], name, images / name, int(row["width"]), int(row["height"])))
    missing = [item for item in items if not item.path.is_file()]
    if missing:
        raise ValueError(f"{images}: {len(missing)} of {len(items)} pictures of {path} are not here, "
                         f"{missing[0].file_name} first; give --images their folder")  # fmt: skip
    if not items:
        raise ValueError(f"{path}: lists no pictures")
    if len({item.id for item in items}) < len(items):
        raise ValueError(f"{path}: lists a picture id twice")
    return tuple(items)


def is_panoptic(read: dict[str, Any]) -> bool:
    """Whether these are panoptic labels rather than instances."""
    return bool(read["annotations"]) and "segments_info" in read["annotations"][0]


def panoptic_of(path: Path, read: dict[str, Any], items: tuple[Item, ...]) -> Panoptic:
    """The panoptic labels of `items`; ValueError where one has none, or the folder of PNGs is not beside the JSON."""
    folder = path.with_suffix("")
    if not folder.is_dir():
        raise ValueError(f"{path}: its PNGs should be in {folder}, and no such folder is there")
    rows = {row["image_id"]: row for row in read["annotations"]}
    without = [item for item in items if item.id not in rows]
    if without:
        raise ValueError(f"{path}: {len(without)} of {len(items)} pictures have no panoptic labels, "
                         f"{without[0].file_name} first")  # fmt: skip
    categories: dict[int, Category] = {
        row["id"]: {"name": str(row["name"]), "isthing": bool(row.get("isthing", 1))} for row in read["categories"]
    }
    files: dict[int, Path] = {}
    for item in items:
        row, name = rows[item.id], str(rows[item.id]["file_name"])
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{path}: PNG name {name!r} leaves its folder; make it relative")
        files[item.id] = folder / name
        for segment in row["segments_info"]:
            segment.setdefault("iscrowd", 0)
            if segment["category_id"] not in categories:
                raise ValueError(f"{path}: segment {segment['id']} of picture {item.id} has category "
                                 f"{segment['category_id']}, which is not listed")  # fmt: skip
    missing = [file for file in files.values() if not file.is_file()]
    if missing:
        raise ValueError(f"{folder}: {len(missing)} of {len(files)} PNGs of {path} are not here, "
                         f"{missing[0].name} first")  # fmt: skip
    segments = {item.id: rows[item.id]["segments_info"] for item in items}
    sizes = {item.id: (item.height, item.width) for item in items}
    return Panoptic(categories, segments, PngMaps(files, segments, sizes))


@dataclass(frozen=True)
class PngMaps:
    """Panoptic PNGs: a segment's id is R + 256 G + 65536 B, and black is void."""

    files: dict[int, Path]
    segments: dict[int, list[dict[str, Any]]]
    sizes: dict[int, tuple[int, int]]  # (height, width)

    def __call__(self, item_id: int) -> np.ndarray:
        """(H, W) int32 ids; ValueError, one line, where the PNG is damaged or does not fit its JSON."""
        from eval.datasets.reading import read_picture

        file = self.files[item_id]
        rgb = read_picture(file).astype(np.int32)
        if rgb.shape[:2] != self.sizes[item_id]:
            height, width = self.sizes[item_id]
            raise ValueError(f"{file}: is {rgb.shape[1]}x{rgb.shape[0]}, and its picture {width}x{height}")
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        unknown = set(np.unique(ids).tolist()) - {row["id"] for row in self.segments[item_id]} - {0}
        if unknown:
            raise ValueError(f"{file}: has segment {min(unknown)}, which its JSON does not list")
        return ids


def _read(path: Path) -> dict[str, Any]:
    read = read_json(path, "the instances JSON")
    rows = read.get("annotations") if isinstance(read, dict) else None
    segments = isinstance(rows, list) and rows and isinstance(rows[0], dict) and "segments_info" in rows[0]
    needed = {"images": IMAGES, "annotations": PANOPTIC if segments else INSTANCES, "categories": ("id", "name")}
    for key, fields in needed.items():
        rows = read.get(key) if isinstance(read, dict) else None
        if not isinstance(rows, list):
            raise ValueError(f"{path}: has no list {key!r}; give COCO instances, keypoints or panoptic, not results")
        for row in rows:
            if not isinstance(row, dict) or any(field not in row for field in fields):
                raise ValueError(f"{path}: an entry of {key!r} lacks one of {', '.join(fields)}")
            for field in ("id", "image_id"):  # SFU-HW's JSONs of MPEG count pictures in floats
                if isinstance(row.get(field), float) and row[field].is_integer():
                    row[field] = int(row[field])
    if segments:
        for row in read["annotations"]:
            if any("id" not in part or "category_id" not in part for part in row["segments_info"]):
                raise ValueError(f"{path}: a segment of picture {row['image_id']} lacks id or category_id")
    return read


def _merge(path: Path, base: dict[str, Any], read: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keypoints that `read` has for annotations of the same id, as COCO's person_keypoints does."""
    rows = {row["id"]: row for row in base["annotations"]}
    for row in read["annotations"]:
        if "keypoints" not in row:
            raise ValueError(f"{path}: is a second JSON of instances; name one, and person keypoints beside it")
        same = rows.get(row["id"])
        if same is None or (same["image_id"], same["category_id"]) != (row["image_id"], row["category_id"]):
            raise ValueError(f"{path}: annotation {row['id']} is not in the JSON of instances named before it")
        same |= {"keypoints": row["keypoints"], "num_keypoints": row.get("num_keypoints", 0)}
    kinds = {row["id"]: row for row in read["categories"]}
    for row in base["categories"]:
        row |= {key: value for key, value in kinds.get(row["id"], {}).items() if key in ("keypoints", "skeleton")}
    return base
