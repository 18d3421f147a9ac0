"""Open Images by its CSVs, as MPEG's VCM conditions and CompressAI-Vision read them.

    --images IMAGES (IMAGEID.jpg)    --annotations detection_validation_5k_bbox.csv[,detection_validation_labels_5k.csv]
                                                   [,class-descriptions.csv][,segmentation_validation_masks_5k.csv]

| file | head | what becomes of it |
|---|---|---|
| boxes | ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf, in any order; more are ignored | boxes; groups are crowds |
| verified labels | ImageID,LabelName,Confidence | what is found of a class that nobody looked for is not counted |
| class names | none: /m/01g317,Person | names of the LabelNames that are /m/ ids |
| masks | the boxes' and ImageWidth,ImageHeight,Mask (base64 of zlib of COCO's run lengths) | boxes with masks |

Classes with a name of COCO's (case and _ aside) have COCO's id, so that COCO models fit; others count from 1001 in the
order of their names. AP is COCO's; the benchmark's own mAP at IoU 0.5 is `ap50` with groups and unverified classes left
out as above. Pictures are those that a CSV names, numbered from 1 in the order of their names.
"""

from __future__ import annotations

import base64
import binascii
import csv
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from eval.datasets.base import Dataset, Item
from eval.datasets.coco import split_annotations
from eval.datasets.labels import COCO_CLASSES, crop, folder_of, read_csv, truth_of
from eval.datasets.reading import picture_size

BOXES = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax", "IsGroupOf")
VERIFIED = ("ImageID", "LabelName", "Confidence")
EXPECTED = f"Open Images' CSV with {','.join(BOXES)}"
FIRST_OTHER = 1001


def open_images(images: str | Path, annotations: str | Path | None) -> Dataset:
    """Boxes, and masks where given, of Open Images; ValueError, one line, where a CSV or a picture is missing."""
    folder = folder_of(images, "the folder of IMAGEID.jpg")
    files: dict[str, Path] = {}
    for path in map(Path, split_annotations(annotations)):
        kind = _kind(path)
        if kind in files:
            raise ValueError(f"{path}: is a second CSV of {kind}, after {files[kind]}; name one")
        files[kind] = path
    source = files.get("masks", files.get("boxes"))
    if source is None:
        raise ValueError(f"{images}: give --annotations the CSV of boxes, {EXPECTED}")
    rows = read_csv(source, BOXES, EXPECTED)
    verified = read_csv(files["labels"], VERIFIED, ",".join(VERIFIED)) if "labels" in files else []
    described = _descriptions(files["names"]) if "names" in files else {}
    items = _items(folder, source, sorted({row["ImageID"] for row in rows + verified}))
    categories = _categories([row["LabelName"] for row in rows + verified], described)
    ids = {name: number for number, name in categories.items()}
    by_name = {Path(item.file_name).stem: item for item in items}
    found = [_annotation(source, line, by_name, ids[_name(row["LabelName"], described)], row)
             for line, row in enumerate(rows, 2)]  # fmt: skip
    truth = [row for row in found if row is not None]
    if verified:
        seen = {(row["ImageID"], ids[_name(row["LabelName"], described)]) for row in rows + verified}
        truth += _unverified(items, ids.values(), seen)
    kinds = [{"id": number, "name": name} for number, name in categories.items()]
    return Dataset(source.stem, items, truth_of(items, truth, kinds), categories)


def _kind(path: Path) -> str:
    """What a CSV is by its first line."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give {EXPECTED}")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            head = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error):
        head = []
    if set(BOXES) <= set(head):
        return "masks" if "Mask" in head else "boxes"
    if set(VERIFIED) <= set(head):
        return "labels"
    if len(head) == 2 and head[0].startswith("/m/"):
        return "names"
    raise ValueError(f"{path}: is not {EXPECTED}, nor its verified labels, class names or masks")


def _descriptions(path: Path) -> dict[str, str]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        return {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}


def _name(label: str, described: dict[str, str]) -> str:
    """The class's name; COCO's spelling where COCO has it."""
    name = described.get(label, label)
    plain = name.lower().replace("_", " ").strip()
    return plain if plain in COCO_CLASSES.values() else name


def _categories(labels: list[str], described: dict[str, str]) -> dict[int, str]:
    coco_ids = {name: number for number, name in COCO_CLASSES.items()}
    names = sorted({_name(label, described) for label in labels})
    ours = {coco_ids[name]: name for name in names if name in coco_ids}
    others = enumerate((name for name in names if name not in coco_ids), FIRST_OTHER)
    return dict(sorted(ours.items())) | dict(others)


def _items(folder: Path, source: Path, names: list[str]) -> tuple[Item, ...]:
    items = []
    for number, name in enumerate(names, 1):
        files = [folder / f"{name}{suffix}" for suffix in (".jpg", ".png", ".jpeg")]
        path = next((file for file in files if file.is_file()), None)
        if path is None or not name or Path(name).name != name:
            raise ValueError(f"{folder}: picture {name}.jpg of {source} is not here; give --images its folder")
        height, width = picture_size(path)
        items.append(Item(number, path.name, path, width, height))
    if not items:
        raise ValueError(f"{source}: lists no pictures")
    return tuple(items)


def _annotation(
    source: Path, line: int, items: dict[str, Item], kind: int, row: dict[str, str]
) -> dict[str, Any] | None:
    """One row, coordinates being shares of width and height; None where the box has no area."""
    item = items[row["ImageID"]]
    try:
        left, right, top, bottom = (float(row[name]) for name in ("XMin", "XMax", "YMin", "YMax"))
        group = int(float(row["IsGroupOf"])) == 1
    except ValueError:
        raise ValueError(f"{source}: row {line} has no numbers in XMin,XMax,YMin,YMax,IsGroupOf") from None
    if not (-0.01 <= left <= right <= 1.01 and -0.01 <= top <= bottom <= 1.01):
        raise ValueError(f"{source}: row {line} has a box beyond 0 to 1; XMin,XMax,YMin,YMax are shares of the picture")
    wide, high = item.width, item.height
    box = crop((left * wide, top * high, (right - left) * wide, (bottom - top) * high), wide, high)
    if box is None:
        return None
    found: dict[str, Any] = {"image_id": item.id, "category_id": kind, "bbox": box, "iscrowd": int(group)}
    return found | _mask(source, line, item, row) if "Mask" in row else found


def _mask(source: Path, line: int, item: Item, row: dict[str, str]) -> dict[str, Any]:
    """COCO's segmentation and area from one row. Masks of another size of the same shape are scaled to the picture's.

    Open Images drew masks on larger copies of its pictures. ValueError where the row is damaged or of another shape.
    """
    from pycocotools import mask

    try:
        size = [int(row["ImageHeight"]), int(row["ImageWidth"])]
        drawn = mask.decode({"size": size, "counts": zlib.decompress(base64.b64decode(row["Mask"], validate=True))})
    except (KeyError, TypeError, ValueError, binascii.Error, zlib.error):
        raise ValueError(f"{source}: row {line} has no mask of base64, zlib and run lengths with its ImageWidth and "
                         "ImageHeight") from None  # fmt: skip
    if abs(size[0] * item.width - size[1] * item.height) > max(item.width, item.height) + max(size):
        raise ValueError(f"{source}: row {line} has a mask of {size[1]}x{size[0]}, and {item.file_name} is "
                         f"{item.width}x{item.height}")  # fmt: skip
    if size != [item.height, item.width]:
        rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int)
                         for new, old in zip((item.height, item.width), size, strict=True))  # fmt: skip
        drawn = drawn[rows][:, columns]
    coded = mask.encode(np.asfortranarray(drawn))
    return {"segmentation": coded | {"counts": coded["counts"].decode("ascii")}, "area": float(mask.area(coded))}


def _unverified(items: tuple[Item, ...], kinds: Any, seen: set[tuple[str, int]]) -> list[dict[str, Any]]:
    """A crowd as large as the picture for each class that nobody looked for: what is found there does not count."""
    return [{"image_id": item.id, "category_id": kind, "bbox": [0.0, 0.0, float(item.width), float(item.height)],
             "iscrowd": 1} for item in items for kind in kinds
            if (Path(item.file_name).stem, kind) not in seen]  # fmt: skip
