"""SFU-HW-Objects v1: objects in the test sequences of HEVC's conditions, one text file a frame.

    ROOT/ClassB/Annotations/BasketballDrive/BasketballDrive_000.txt     class x y w h, as YOLO writes them
    ROOT/ClassB/BasketballDrive_1920x1080_50Hz_8bit_P420.yuv            or a folder BasketballDrive*/ of frames as PNG

x, y is the middle of the box; all four are shares of the picture. Class k is COCO's (k+1)-th. The frames that are
measured are those with a text file, whose number counts from 0; a frame without objects has an empty one.
CompressAI-Vision's copy of MPEG's frames is read too: ROOT/SEQUENCE/{images/*.png, annotations/SEQUENCE.json}.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from eval.datasets.base import Dataset, Item
from eval.datasets.coco import coco
from eval.datasets.folder import SUFFIXES
from eval.datasets.labels import COCO_CLASSES, COCO_IDS, crop, folder_of, read_numbers, truth_of
from eval.datasets.reading import CLIPS, frames, nominal_rate

LINE = "a line of SFU-HW-Objects: class x y w h, shares of the picture"
RATE = Fraction(30)  # where the name tells none
_FRAME = re.compile(r"(?:.*\D)?(\d+)")


def sfu(images: str | Path, annotations: str | Path | None = None) -> Dataset:
    """Every sequence whose labels lie below `annotations` (by default `images`), in the order of their folders.

    ValueError, one line, where a sequence has labels and no frames, or a line is not of the format.
    """
    root = folder_of(images, "SFU-HW-Objects' folder, with ClassA/ ... in it")
    labels = folder_of(annotations, "SFU-HW-Objects' folder") if annotations is not None else root
    jsons = sorted(labels.glob("*/annotations/*.json"))
    if jsons:
        return _of_jsons(root, jsons)
    folders = sorted({path.parent for path in labels.rglob("*.txt") if _FRAME.fullmatch(path.stem)})
    if not folders:
        raise ValueError(f"{labels}: holds no ClassX/Annotations/SEQUENCE/*_000.txt, nor SEQUENCE/annotations/*.json")
    items: list[Item] = []
    rows: list[dict[str, Any]] = []
    rates: dict[str, Fraction] = {}
    for folder in folders:
        name = "/".join(part for part in folder.relative_to(labels).parts if part.lower() != "annotations")
        texts = sorted((int(found[1]), path) for path in folder.glob("*.txt")
                       if (found := _FRAME.fullmatch(path.stem)))  # fmt: skip
        source = _frames(root, name, folder)
        rates[name] = Fraction(str(nominal_rate(source) or RATE))
        taken = _items(root, name, source, texts, len(items))
        items += taken
        for item, (_, text) in zip(taken, texts, strict=True):
            rows += [row for values in read_numbers(text, 5, None, LINE) if (row := _row(text, item, values))]
    return Dataset(root.resolve().name, tuple(items), truth_of(items, rows, _categories()), dict(COCO_CLASSES),
                   rate=rates)  # fmt: skip


def _frames(root: Path, name: str, folder: Path) -> Path:
    """The clip, or the folder of pictures, of sequence CLASS/NAME: a name that is NAME or NAME_WIDTHxHEIGHT..."""
    stem = Path(name).name
    near = root.joinpath(*Path(name).parts[:-1])
    places = sorted(near.iterdir()) if near.is_dir() else []
    name_like = re.compile(rf"{re.escape(stem)}[A-D\d]?(_.*)?")  # the clips are called Kimono1_... and RaceHorsesC_...
    found = [path for path in places if name_like.fullmatch(path.stem)]
    clips = [path for path in found if path.suffix.lower() in CLIPS and path.is_file()]
    pictures = [path for path in [*found, folder] if path.is_dir() and any(_pictures(path))]
    if len(clips + pictures) != 1:
        listed = ", ".join(path.name for path in clips + pictures) or "no source"
        raise ValueError(f"{near}: sequence {stem} has {listed} of frames; one is needed: {stem}_WIDTHxHEIGHT_RATE.yuv "
                         f"or a folder {stem} of PNGs")  # fmt: skip
    return (clips + pictures)[0]


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _items(root: Path, name: str, source: Path, texts: list[tuple[int, Path]], before: int) -> list[Item]:
    """An item a text; pictures in a folder are frames 0, 1, ... in the order of their names."""
    stills = _pictures(source) if source.is_dir() else []
    if stills and texts[-1][0] >= len(stills):
        raise ValueError(f"{source}: holds {len(stills)} frames, and {texts[-1][1]} labels number {texts[-1][0]}")
    first = Item(0, "", stills[0] if stills else source)
    height, width = next(frames([first])).shape[:2]
    names = [stills[index].relative_to(root).as_posix() if stills else f"{name}/{index:06d}" for index, _ in texts]
    return [Item(before + i, file_name, stills[index] if stills else source, width, height, name, index)
            for i, (file_name, (index, _)) in enumerate(zip(names, texts, strict=True), 1)]  # fmt: skip


def _row(text: Path, item: Item, values: list[float]) -> dict[str, Any] | None:
    kind, x, y, wide, high = values[:5]
    if kind != int(kind) or not 0 <= kind < len(COCO_IDS) or not all(0 <= value <= 1 for value in (x, y, wide, high)):
        raise ValueError(f"{text}: {' '.join(f'{value:g}' for value in values)} is not {LINE}")
    left, top = (x - wide / 2) * item.width, (y - high / 2) * item.height
    box = crop((left, top, wide * item.width, high * item.height), item.width, item.height)
    if box is None:
        return None
    return {"image_id": item.id, "category_id": COCO_IDS[int(kind)], "bbox": box}


def _categories() -> list[dict[str, Any]]:
    return [{"id": number, "name": name} for number, name in COCO_CLASSES.items()]


def _of_jsons(root: Path, paths: list[Path]) -> Dataset:
    """Sequences with COCO-format labels each, whose category ids count from 0 without COCO's gaps."""
    items: list[Item] = []
    rows: list[dict[str, Any]] = []
    rates: dict[str, Fraction] = {}
    for path in paths:
        name = path.parent.parent.name
        if name in rates:
            raise ValueError(f"{path}: {path.parent} holds more than one JSON; leave the one of this set")
        rates[name] = Fraction(str(nominal_rate(Path(name)) or RATE))
        one = coco(root / name / "images", path)
        before = len(items) + 1
        new = {old.id: Item(before + i, f"{name}/images/{old.file_name}", old.path, old.width, old.height, name, i)
               for i, old in enumerate(one.items)}  # fmt: skip
        items += new.values()
        from_zero = 0 in one.categories
        for row in one.truth.dataset["annotations"]:
            kind = row["category_id"]
            if from_zero and not 0 <= kind < len(COCO_IDS):
                raise ValueError(f"{path}: category {kind} is not one of COCO's 80 counted from 0")
            rows.append({"image_id": new[row["image_id"]].id, "category_id": COCO_IDS[kind] if from_zero else kind,
                         "bbox": row["bbox"], "iscrowd": row["iscrowd"], "area": row["area"]})  # fmt: skip
    return Dataset(root.resolve().name, tuple(items), truth_of(items, rows, _categories()), dict(COCO_CLASSES),
                   rate=rates)  # fmt: skip
