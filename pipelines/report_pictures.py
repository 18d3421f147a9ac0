"""Pictures of a report: sample pictures as each codec leaves them, with what the task models found, for the viewer.

    RUN/samples/CODEC/QUALITY/ID.png ──▶ Shot ◀── report_found
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.datasets import Dataset, load
from eval.metrics import psnr_db
from eval.report.draw import LEAST_SCORE, shrunk, webp
from eval.report.viewer import ORIGINAL, Scene, Shot, Viewer
from pipelines.media import read_picture
from pipelines.report_found import Finder
from pipelines.report_points import CEILING, Point, file_name, json_of

WIDEST = 800  # pixels; larger pictures are shown smaller
BUDGET = 36e6  # pixels in one page: at a quarter of a byte each, some 9 MB, in base64 12 MB


def viewer(points: Sequence[Point], dataset: Dataset | None) -> Viewer | None:
    """The sample pictures of one data set, whatever models looked at them; None where no run kept any.

    dataset: for labels and names; None where there are no labels, or they have moved since.
    """
    models = list(dict.fromkeys(point.record.model for point in points if point.record.model))
    coded: dict[tuple[str, float], dict[str, Point]] = {}  # codec, quality -> model -> the point
    for point in sorted(points, key=lambda p: p.record.rate_bpp):
        coded.setdefault((point.name, point.record.quality), {})[point.record.model] = point
    ceilings = next((of for (name, _), of in coded.items() if name == CEILING), {})
    first = next(iter(ceilings.values()), None)
    if first is None:
        return None
    files = sorted((first.folder / "samples" / first.below).glob("*.png"), key=lambda path: int(path.stem))
    finder = Finder(dataset, [int(path.stem) for path in files], models)
    widest = _widest(files, len(coded))
    scenes = []
    for file in files:
        original, item = read_picture(file), int(file.stem)
        height, width = original.shape[:2]
        layers = finder.found(ceilings, item, (width, height)) | finder.labels(item, (width, height))
        shots = [Shot(webp(shrunk(original, widest)), ORIGINAL, ORIGINAL, "uncompressed", 0.0, layers)]
        for (codec, quality), of in sorted(coded.items(), key=lambda entry: _order(points, entry[0][0])):
            shot = _shot(f"{codec}:{quality:g}", of, finder, item, original, widest) if codec != CEILING else None
            shots += [shot] if shot is not None else []
        scenes.append(Scene(f"Picture {item}", width, height, tuple(shots)))
    note = "The page holds them" + (f" at most {widest} pixels wide," if width > widest else "") + " as WebP."
    if models:
        note = f"Objects drawn have a score of at least {LEAST_SCORE}; figures count all. " + note
    return Viewer(tuple(scenes), note)


def _order(points: Sequence[Point], codec: str) -> int:
    return [point.name for point in points].index(codec)


def _shot(
    title: str, of: dict[str, Point], finder: Finder, item: int, original: np.ndarray, widest: int
) -> Shot | None:
    """One picture of a point, of any of the runs that kept it."""
    paths = [(point, point.folder / "samples" / point.below / f"{item}.png") for point in of.values()]
    kept = next(((point, path) for point, path in paths if path.is_file()), None)
    if kept is None:
        return None
    point, picture = kept[0], read_picture(kept[1])
    height, width = picture.shape[:2]
    size = _bytes(point, item)
    rate = point.record.rate_bpp if size is None else 8 * size / (height * width)
    note = f"{rate:.3f} bpp over all pictures" if size is None else f"{rate:.3f} bpp, {size:,} bytes"
    if picture.shape == original.shape:
        note += f", PSNR {psnr_db(original, picture):.1f} dB"
    layers = finder.found(of, item, (width, height))
    return Shot(webp(shrunk(picture, widest)), point.name, title, note, rate, layers)


def _widest(files: Sequence[Path], count: int) -> int:
    """Pixels of width that let this many codings of these pictures into a page of reasonable size."""
    from PIL import Image

    if not files:
        return WIDEST
    with Image.open(files[0]) as picture:
        width, height = picture.size
    return int(min(WIDEST, max(320.0, math.sqrt(BUDGET / (len(files) * max(1, count)) * width / height))))


def _bytes(point: Point, item: int) -> int | None:
    """Bytes of the picture's own file; None where it is a part of a clip's."""
    noted = json_of(point.folder / "streams" / point.below / "point.json").get("bytes") or {}
    model = file_name(point.record.model) or "none"
    older = json_of(point.folder / "predictions" / point.below / f"{model}.figures.json").get("sample_bytes") or {}
    return noted.get(str(item), older.get(str(item)))


def dataset_of(origin: dict[str, Any]) -> Dataset | None:
    """The data set of a run, for labels and names; None where there are no labels, or they have moved since."""
    settings = origin.get("settings") or {}
    kind = settings.get("dataset") or ("coco" if settings.get("annotations") else "")
    if not kind or "images" not in settings:
        return None
    try:
        dataset = load(kind, settings["images"], settings.get("annotations"))
        return dataset.take(settings["limit"]) if settings.get("limit") else dataset
    except (ValueError, OSError, KeyError):
        return None  # the page goes without
