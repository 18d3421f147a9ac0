"""VisDrone: pictures (DET) and sequences with tracks (VID, MOT), in the layout of its archives.

    DET: ROOT/images/0000001_02999_d_0000005.jpg      ROOT/annotations/0000001_02999_d_0000005.txt
    VID: ROOT/sequences/uav0000086_00000_v/0000001.jpg      ROOT/annotations/uav0000086_00000_v.txt

A line of DET: left, top, width, height, score, category, truncation, occlusion; VID puts frame and target before it.
Score 0 means that the object is not counted; category 0 is an ignored region and 11 "others", of no class. As crowds of
COCO's format: a box that is not counted is one of its class, a region of categories 0 or 11 one of every class, so
that what a model finds there is neither right nor wrong.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from eval.datasets.base import Dataset, Item
from eval.datasets.folder import SUFFIXES
from eval.datasets.labels import crop, folder_of, read_numbers, truth_of
from eval.datasets.reading import picture_size

NAMES = ("pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor")
CATEGORIES = dict(enumerate(NAMES, 1))
IGNORED, OTHERS = 0, 11
DET = "left,top,width,height,score,category,truncation,occlusion"
RATE = Fraction(30)  # the archives tell none


def visdrone(images: str | Path, annotations: str | Path | None = None) -> Dataset:
    """DET or VID by what `images` holds: pictures, or folders of them; ROOT finds images/ or sequences/ in it.

    Without `annotations`, the folder annotations/ beside them. ValueError, one line, where the layout is another.
    """
    images = folder_of(images, "a VisDrone set, with images/ or sequences/, and annotations/")
    for name in ("images", "sequences"):
        if (images / name).is_dir():
            images = images / name
            break
    labels = Path(annotations) if annotations is not None else images.parent / "annotations"
    if not labels.is_dir():
        raise ValueError(f"{labels}: no such folder of *.txt; give --annotations VisDrone's folder annotations")
    pictures = sorted(path for path in images.iterdir() if path.suffix.lower() in SUFFIXES)
    folders = sorted(path for path in images.iterdir() if path.is_dir())
    if not pictures and not folders:
        raise ValueError(f"{images}: holds neither pictures (DET) nor folders of frames (VID, MOT)")
    name = f"visdrone-{images.parent.name}"
    return _det(name, pictures, labels) if pictures else _vid(name, folders, labels)


def _det(name: str, pictures: list[Path], labels: Path) -> Dataset:
    items: list[Item] = []
    rows: list[dict[str, Any]] = []
    for number, path in enumerate(pictures, 1):
        height, width = picture_size(path)
        items.append(Item(number, path.name, path, width, height))
        lines = labels / f"{path.stem}.txt"
        if not lines.is_file():
            raise ValueError(f"{lines}: no such file; VisDrone has one a picture, lines of {DET}")
        for values in read_numbers(lines, 8, ",", f"VisDrone's {DET}"):
            rows += _rows(lines, items[-1], values, None)
    return Dataset(name, tuple(items), truth_of(items, rows, _categories()), dict(CATEGORIES))


def _vid(name: str, folders: list[Path], labels: Path) -> Dataset:
    items: list[Item] = []
    rows: list[dict[str, Any]] = []
    for folder in folders:
        lines = labels / f"{folder.name}.txt"
        if not lines.is_file():
            raise ValueError(f"{lines}: no such file; VisDrone has one a sequence, lines of frame,target,{DET}")
        frames: dict[int, Item] = {}
        for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
            if not path.stem.isdigit():
                raise ValueError(f"{path}: frames of VisDrone are named by their number, as 0000001.jpg")
            height, width = picture_size(path)
            item = Item(len(items) + 1, f"{folder.name}/{path.name}", path, width, height, folder.name, int(path.stem))
            frames[item.frame] = item
            items.append(item)
        for values in read_numbers(lines, 10, ",", f"VisDrone's frame,target,{DET}"):
            number = int(values[0])
            if number not in frames:
                raise ValueError(f"{lines}: has frame {number}, which {folder} lacks")
            rows += _rows(lines, frames[number], values[2:], int(values[1]))
    if not items:
        raise ValueError(f"{folders[0].parent}: its folders hold no pictures")
    rates = {folder.name: RATE for folder in folders}
    return Dataset(name, tuple(items), truth_of(items, rows, _categories()), dict(CATEGORIES), rate=rates)


def _rows(path: Path, item: Item, values: list[float], track: int | None) -> list[dict[str, Any]]:
    """The annotations of one line: one box, or for a region a crowd in every class; none outside the picture."""
    left, top, wide, high, score, category = values[:6]
    if not IGNORED <= category <= OTHERS or category != int(category):
        raise ValueError(f"{path}: category {category:g} is not one of VisDrone's 0 to 11; lines are {DET}")
    box = crop((left, top, wide, high), item.width, item.height)
    if box is None:
        return []
    region = category in (IGNORED, OTHERS)
    extra = {} if track is None or region else {"track_id": track}
    return [{"image_id": item.id, "category_id": kind, "bbox": box, "iscrowd": int(region or score == 0), **extra}
            for kind in (CATEGORIES if region else [int(category)])]  # fmt: skip


def _categories() -> list[dict[str, Any]]:
    return [{"id": number, "name": name} for number, name in CATEGORIES.items()]
