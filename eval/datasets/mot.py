"""MOTChallenge (MOT15 to MOT20) and what copies its layout, such as MPEG's TVD: sequences of pictures with tracks.

    SEQUENCE/seqinfo.ini    [Sequence] name, imDir, frameRate, seqLength, imWidth, imHeight, imExt
    SEQUENCE/img1/000001.jpg ...
    SEQUENCE/gt/gt.txt      frame, id, left, top, width, height, considered[, class, visibility]

Persons alone are scored: class 1 that is considered. What the benchmark neither rewards nor punishes (persons on
vehicles, static persons, distractors, reflections, and persons not considered: classes 2, 7, 8, 12, and 1 with a 0)
become crowds; other classes are left out. Boxes reach beyond the picture where the benchmark's do. MOT15 has no classes
(-1): all are persons. Persons have COCO's id, 1.
"""

from __future__ import annotations

import configparser
from fractions import Fraction
from pathlib import Path
from typing import Any

from eval.datasets.base import Dataset, Item
from eval.datasets.labels import crop, folder_of, read_numbers, truth_of

PERSON, NEUTRAL = 1, (2, 7, 8, 12)
LINE = "frame,id,left,top,width,height,considered,class,visibility"


def mot(images: str | Path, annotations: str | Path | None = None) -> Dataset:
    """One sequence's folder, or a folder of such folders, in the order of their names; labels are in gt/gt.txt there.

    ValueError, one line, where seqinfo.ini, frames or labels are missing or are not of this layout.
    """
    root = folder_of(images, "a sequence's folder with seqinfo.ini, or a folder of such")
    if annotations is not None:
        raise ValueError(f"{annotations}: MOTChallenge's labels are found as gt/gt.txt; leave --annotations away")
    folders = [root] if (root / "seqinfo.ini").is_file() else sorted(path.parent for path in root.glob("*/seqinfo.ini"))
    if not folders:
        raise ValueError(f"{root}: holds neither seqinfo.ini nor folders with one; give --images a MOTChallenge split")
    items: list[Item] = []
    rows: list[dict[str, Any]] = []
    rates: dict[str, Fraction] = {}
    for folder in folders:
        frames, rates[folder.name] = _sequence(folder, root, len(items))
        items += frames
        rows += _labels(folder, {item.frame: item for item in frames})
    categories = {PERSON: "person"}
    truth = truth_of(items, rows, [{"id": PERSON, "name": "person"}])
    return Dataset(root.name, tuple(items), truth, categories, rate=rates)


def _sequence(folder: Path, root: Path, before: int) -> tuple[list[Item], Fraction]:
    path = folder / "seqinfo.ini"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8-sig")
        about = parser["Sequence"]
        width, height, count = (int(about[key]) for key in ("imWidth", "imHeight", "seqLength"))
        rate = Fraction(about["frameRate"])
        place, suffix = about.get("imDir", "img1"), about.get("imExt", ".jpg")
    except (configparser.Error, KeyError, ValueError, ZeroDivisionError, UnicodeDecodeError):
        raise ValueError(f"{path}: is not [Sequence] with frameRate, seqLength, imWidth, imHeight in numbers") from None
    if Path(place).is_absolute() or ".." in Path(place).parts or count < 1 or rate <= 0:
        raise ValueError(f"{path}: imDir leaves its folder, or seqLength or frameRate is not positive")
    found = sorted(path for path in (folder / place).glob(f"*{suffix}") if path.stem.isdigit())
    if len(found) != count:
        raise ValueError(f"{folder / place}: holds {len(found)} frames 000001{suffix} ..., seqinfo.ini says {count}")
    names = [file.relative_to(root).as_posix() for file in found]
    return [Item(before + i, name, file, width, height, folder.name, int(file.stem))
            for i, (name, file) in enumerate(zip(names, found, strict=True), 1)], rate  # fmt: skip


def _labels(folder: Path, frames: dict[int, Item]) -> list[dict[str, Any]]:
    path = folder / "gt" / "gt.txt"
    if not path.is_file():
        raise ValueError(f"{path}: no such file (test splits have none); for pictures alone use --dataset folder")
    rows = []
    for values in read_numbers(path, 7, ",", f"MOTChallenge's {LINE}"):
        frame, track, considered = int(values[0]), int(values[1]), values[6]
        kind = int(values[7]) if len(values) > 7 else -1
        if frame not in frames:
            raise ValueError(f"{path}: has frame {frame}, which {folder.name} lacks")
        item = frames[frame]
        box = (values[2] - 1, values[3] - 1, values[4], values[5])  # they count pixels from 1
        person = kind in (PERSON, -1)
        if crop(box, item.width, item.height) is None or not (person or kind in NEUTRAL):
            continue
        scored = person and considered != 0
        rows.append({"image_id": item.id, "category_id": PERSON, "bbox": list(box), "iscrowd": int(not scored),
                     **({"track_id": track} if scored else {})})  # fmt: skip
    return rows
