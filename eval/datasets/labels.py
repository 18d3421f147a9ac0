"""What the loaders share: COCO's classes, and a pycocotools COCO made of rows of other formats."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eval.datasets.base import Item

# COCO 2017's 80 classes of things in the order of their ids, which have gaps (the list of COCO's paper has 91)
_NAMES = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign parking_meter "
    "bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee "
    "skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket bottle wine_glass "
    "cup fork knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch "
    "potted_plant bed dining_table toilet tv laptop mouse remote keyboard cell_phone microwave oven toaster sink "
    "refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
)
_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_IDS = tuple(number for number in range(1, 91) if number not in _GAPS)  # YOLO's class k is COCO_IDS[k]
COCO_CLASSES = dict(zip(COCO_IDS, (name.replace("_", " ") for name in _NAMES.split()), strict=True))


def truth_of(items: Iterable[Item], rows: list[dict[str, Any]], categories: Iterable[dict[str, Any]]) -> Any:
    """A pycocotools COCO of `rows`, each with image_id, category_id and bbox (x, y, w, h in pixels).

    Ids, areas and iscrowd = 0 are added where they are missing; `rows` themselves become the annotations.
    """
    images = [{"id": item.id, "file_name": item.file_name, "width": item.width, "height": item.height}
              for item in items]  # fmt: skip
    for number, row in enumerate(rows, 1):
        row.setdefault("id", number)
    return index({"images": images, "annotations": rows, "categories": list(categories)})


def index(read: dict[str, Any]) -> Any:
    """A pycocotools COCO of a dictionary in its format."""
    from pycocotools.coco import COCO

    for row in read["annotations"]:
        row.setdefault("iscrowd", 0)
        row.setdefault("area", float(row["bbox"][2]) * float(row["bbox"][3]))
    truth = COCO()
    truth.dataset = read
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def read_json(path: Path, what: str) -> Any:
    """The file's JSON; ValueError or FileNotFoundError, naming what was wanted, where it is none."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give {what}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON ({error}); give {what}") from None


def read_csv(path: Path, columns: Iterable[str], what: str) -> list[dict[str, str]]:
    """Rows of a CSV with a head; ValueError where the head lacks one of `columns`, or a row is short."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path}: has no column {missing[0]!r}; expected {what}")
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: is not a CSV of text ({error}); expected {what}") from None
    for number, row in enumerate(rows, 2):
        if any(row[name] is None for name in columns):
            raise ValueError(f"{path}: row {number} is short; expected {what}")
    return rows


def read_numbers(path: Path, least: int, separator: str | None, what: str) -> list[list[float]]:
    """Lines of at least `least` numbers; blank lines are left out. ValueError names the line that is none."""
    lines = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not text; expected {what}") from None
    for number, line in enumerate(text.splitlines(), 1):
        words = [word for word in line.strip().rstrip(",").split(separator) if word.strip()]
        if not words:
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = []
        if len(values) < least or not all(abs(value) < 2**31 for value in values):
            raise ValueError(f"{path}: line {number} is not {what}")
        lines.append(values)
    return lines


def folder_of(path: str | Path, what: str) -> Path:
    """`path`, a folder; ValueError, naming what it should hold, where it is none."""
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder; give --images {what}")
    return path


def crop(box: tuple[float, float, float, float], width: int, height: int) -> list[float] | None:
    """(x, y, w, h) within a picture of width x height pixels; None where nothing of it is inside."""
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(float(width), box[0] + box[2]), min(float(height), box[1] + box[3])
    return [left, top, right - left, bottom - top] if right > left and bottom > top else None
