"""The pictures and labels of an evaluation: which can be used, and a hash of what they are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from eval.datasets import Dataset, Item, load
from eval.datasets.reading import CLIPS
from pipelines.evaluate_plan import Settings
from pipelines.media import read_picture
from pipelines.notes import fingerprint
from pipelines.run.atomic import write_text
from pipelines.run.batch import EXPECTED, Refusals
from pipelines.run.progress import progress
from pipelines.run.provenance import sha256_file


def dataset_of(settings: Settings) -> Dataset:
    """The data set that was asked for; ValueError, one line, where it is none."""
    kind = settings.dataset
    if kind is None:
        kind = "coco" if settings.annotations else "clip" if Path(settings.images).is_file() else "folder"
    dataset = load(kind, settings.images, settings.annotations)
    return dataset if settings.limit is None else dataset.take(settings.limit)


def readable(
    dataset: Dataset, refusals: Refusals, pseudo: float | None = None, known: Path | None = None
) -> tuple[Dataset, str]:
    """The usable pictures with their true sizes, and a hash of them and their labels; the rest is refused.

    known: a file where the sizes of pictures that were read before are kept, by their hashes; others are read whole
    now, so that a damaged one is told before hours of coding. Frames of clips are what the loader says of them.
    """
    sizes = _known(known)
    before = dict(sizes)
    items: list[Item] = []
    hashes: list[Any] = []
    clips: dict[Path, str] = {}
    for item in progress(dataset.items, len(dataset.items), "reading"):
        try:
            if item.width and item.path.suffix.lower() in CLIPS:
                clips[item.path] = clips.get(item.path) or sha256_file(item.path)
                digest, (height, width) = clips[item.path], (item.height, item.width)
            else:
                digest = sha256_file(item.path)
                if digest not in sizes:
                    sizes[digest] = read_picture(item.path).shape[:2]
                height, width = sizes[digest]
            if item.width and (item.width, item.height) != (width, height):
                raise ValueError(f"is {width}x{height}, and {item.width}x{item.height} in the annotations")
            place = [item.sequence, item.frame, str(dataset.rate.get(item.sequence))] if item.sequence else []
            hashes.append([item.id, item.file_name, digest, *place])
            items.append(dataclasses.replace(item, width=width, height=height))
        except EXPECTED as error:
            refusals.add(item.path, error)
    if not items:
        raise ValueError(f"{dataset.name}: none of its {len(dataset.items)} pictures can be read; "
                         f"first: {refusals.items[-1][1]}")  # fmt: skip
    if known is not None and sizes != before:
        write_text(known, json.dumps(sizes))
    dataset = dataclasses.replace(dataset, items=tuple(items))
    labels = _labels(dataset) if pseudo is None else ["pseudo-labels", pseudo]
    return dataset, fingerprint(items=hashes, labels=labels)


def _known(path: Path | None) -> dict[str, Any]:
    try:
        return {} if path is None else dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


def _labels(dataset: Dataset) -> list[Any]:
    """What the labels say of these pictures, and of what kinds they are."""
    ids = [item.id for item in dataset.items]
    found: list[Any] = []
    if dataset.truth is not None:
        rows = dataset.truth.loadAnns(dataset.truth.getAnnIds(imgIds=ids))
        found += [sorted(rows, key=lambda row: row["id"]), sorted(dataset.categories.items())]
    if dataset.panoptic is not None:
        # the segments' areas and boxes: reading every map would cost more than coding some pictures
        found += [[dataset.panoptic.segments(i) for i in ids], sorted(dataset.panoptic.categories.items())]
    elif dataset.semantic is not None:
        maps = [hashlib.sha256(np.ascontiguousarray(dataset.semantic(i)).tobytes()).hexdigest() for i in ids]
        found += [maps, sorted(dataset.semantic_categories.items())]
    return found


def categories_of(dataset: Dataset, task: str) -> dict[int, str]:
    """id -> name of the labels of a task."""
    if task == "panoptic" and dataset.panoptic is not None:
        return {number: row["name"] for number, row in dataset.panoptic.categories.items()}
    if task == "semantic":
        return dict(dataset.semantic_categories)
    return dict(dataset.categories)
