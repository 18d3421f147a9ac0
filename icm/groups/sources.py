"""Where group masks come from: `--groups-from`, one explicit table from what a path holds to its reader.

    PATH ─reader─▶ labels (H, W), names ─classes, by class, boxes─▶ labels ─grid─▶ GroupMask

| PATH | |
|---|---|
| FILE.json | COCO: panoptic (its PNGs beside it), instances, boxes, results (a list); or {picture: [{bbox, name}]} |
| FILE.png, DIR of .png | a label map, DIR/names.json may name labels: {"1": "person"} |
| DIR with masks.json | masks that `vcm edges --keep-masks DIR` kept of Segment Anything |
| saliency:FILE.png or DIR | grey, 128 and above is salient |
| segment:NAME | a segmenter of `vcm edges`: sam:vit_b, felzenszwalb |
| motion | of clips: what moves before a static camera (motion.py) |

Frames of a clip are called 000000, 000001 and so on, as `vcm edges CLIP` calls them: DIR/000000.png, {"000000": boxes},
"image_id": 0.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from icm.edges.labels import label_map
from icm.edges.segmenters.base import NotLabelled
from icm.edges.segmenters.coco import Instances, Panoptic
from icm.edges.segmenters.files import Index, read_label_png
from icm.groups.mask import BACKGROUND, GroupMask, from_labels

MOTION = "motion"
Labels = tuple[np.ndarray, dict[int, str]]  # (H, W) int, 0 where nothing is; names of labels
Reader = Callable[[str, np.ndarray], Labels]  # (picture's relative path, (H, W, 3) uint8) → labels


@dataclasses.dataclass(frozen=True)
class Options:
    """grid: pixels of a cell. classes: only these are objects (none: all). by: a group an object, or a class. shape:
    the objects' own, or the rectangles around them. score: of detections, the least. first: classes that give no cell
    away, such as those that will be locked."""

    grid: int = 16
    classes: tuple[str, ...] = ()
    by: Literal["object", "class"] = "object"
    shape: Literal["irregular", "boxes"] = "irregular"
    score: float = 0.3
    first: tuple[str, ...] = ()


class Source:
    """Masks of pictures. `mask(name, picture)`, name: the picture's path below the input folder, `/` between."""

    def __init__(self, spec: str, options: Options | None = None) -> None:
        """Raises ValueError or OSError, one line, for a path that holds no labels."""
        self.spec, self.options = spec, options or Options()
        self._read = reader(spec, self.options)

    def mask(self, name: str, picture: np.ndarray) -> GroupMask:
        """ValueError (NotLabelled where the picture is unknown) or OSError."""
        return self.grouped(*self.labels(name, picture))

    def labels(self, name: str, picture: np.ndarray) -> Labels:
        """What there is before the options choose from it."""
        labels, names = self._read(name, picture)
        if labels.shape != picture.shape[:2]:
            raise ValueError(f"{self.spec}: labels of {labels.shape[1]}x{labels.shape[0]} for a picture of "
                             f"{picture.shape[1]}x{picture.shape[0]}")  # fmt: skip
        return labels, names

    def grouped(self, labels: np.ndarray, names: dict[int, str]) -> GroupMask:
        """What the options make of labels."""
        o = self.options
        present = [int(v) for v in np.unique(labels) if v]
        called = {v: names.get(v) or f"object {v}" for v in present}
        kept = [v for v in present if not o.classes or called[v] in o.classes or called[v] in o.first]
        new = {v: i for i, v in enumerate(kept, 1)}
        if o.by == "class":
            kinds = {name: i for i, name in enumerate(dict.fromkeys(called[v] for v in kept), 1)}
            new = {v: kinds[called[v]] for v in kept}
        table = np.zeros(len(present) + 1, np.int64)
        table[1:] = [new.get(v, 0) for v in present]
        labels = table[np.searchsorted([0, *present], labels)] if present else np.zeros(labels.shape, np.int64)
        if o.shape == "boxes":
            labels = boxed(labels)
        titles = {0: BACKGROUND, **{new[v]: called[v] for v in kept}}
        first = [i for i, name in titles.items() if name in o.first]
        return from_labels(labels, titles, o.grid, first)


def boxed(labels: np.ndarray) -> np.ndarray:
    """Every label but 0 as the rectangle around it, the larger ones below."""
    values = [int(v) for v in np.unique(labels) if v]
    extents = {v: [(int(i.min()), int(i.max()) + 1) for i in np.nonzero(labels == v)] for v in values}
    out = np.zeros(labels.shape, np.int64)
    for v in sorted(values, key=lambda v: (-np.prod([b - a for a, b in extents[v]]), v)):
        (top, bottom), (left, right) = extents[v]
        out[top:bottom, left:right] = v
    return out


def reader(spec: str, options: Options) -> Reader:
    """The reader of what a path holds."""
    kind, sign, rest = spec.partition(":")
    if sign and kind == "segment":
        return _segmenter(rest)
    if spec == MOTION:
        from icm.groups.motion import Motion

        return Motion()
    path = Path(rest if sign and kind == "saliency" else spec)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder of groups")
    if sign and kind == "saliency":
        return _saliency(path)
    if path.suffix.lower() == ".json":
        return _json(path, options)
    if (path / "masks.json").is_file():
        return _sam(path)
    if path.is_dir() or path.suffix.lower() == ".png":
        return _label_maps(path)
    raise ValueError(f"{path}: groups come from .json (COCO), .png (labels) or a folder; see `vcm encode --help`")


def _json(path: Path, options: Options) -> Reader:
    try:
        table = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON ({error})") from None
    try:
        if isinstance(table, dict) and "annotations" in table:
            return _coco(path, table)
        return _detections(path, table, options.score)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: is no COCO file of annotations or results ({error!r})") from None


def _coco(path: Path, table: dict[str, Any]) -> Reader:
    names = {row["id"]: str(row["name"]) for row in table.get("categories", [])}
    rows = table["annotations"]
    if rows and "segments_info" in rows[0]:
        panoptic = Panoptic(path, table)
        segments = {row["image_id"]: {s["id"]: names[s["category_id"]] for s in row["segments_info"]} for row in rows}
        return lambda name, _: (panoptic.label_map(name), segments[panoptic.images.find(name)["id"]])
    if all("segmentation" in row for row in rows):
        instances = Instances(path, table)

        def of_instances(name: str, _: np.ndarray) -> Labels:
            found = instances.annotations.get(instances.images.find(name)["id"], [])
            called = {i: names.get(row["category_id"], f"class {row['category_id']}") for i, row in enumerate(found, 1)}
            return instances.label_map(name), called

        return of_instances
    images = Index({str(PurePosixPath(i["file_name"]).with_suffix("")): i["id"] for i in table["images"]}, str(path))
    boxes: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        boxes.setdefault(row["image_id"], []).append(row)
    return lambda name, picture: _painted(boxes.get(images.find(name), []), names, picture, path)


def _detections(path: Path, table: Any, score: float) -> Reader:
    """COCO results (pictures by their number), or {picture: boxes}."""
    if isinstance(table, dict):
        index = Index({str(PurePosixPath(key).with_suffix("")): rows for key, rows in table.items()}, str(path))
        return lambda name, picture: _painted(_sure(index.find(name), score), {}, picture, path)
    found: dict[int, list[dict[str, Any]]] = {}
    for row in table:
        found.setdefault(int(row["image_id"]), []).append(row)

    def of_results(name: str, picture: np.ndarray) -> Labels:
        stem = PurePosixPath(name).stem
        if not stem.isdecimal():
            raise NotLabelled(f"{path}: results name pictures by number, and {name} is none; give {{picture: boxes}}")
        return _painted(_sure(found.get(int(stem), []), score), {}, picture, path)

    return of_results


def _sure(rows: list[dict[str, Any]], score: float) -> list[dict[str, Any]]:
    return [row for row in rows if row.get("score", 1.0) >= score]


def _painted(rows: list[dict[str, Any]], names: dict[Any, str], picture: np.ndarray, path: Path) -> Labels:
    """Boxes (x, y, width, height in pixels) as labels 1, 2, …, painted as `icm.edges.labels` paints masks."""
    height, width = picture.shape[:2]
    masks, called = [], {}
    for i, row in enumerate(rows, 1):
        try:
            x, y, w, h = (float(v) for v in row["bbox"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path}: a detection has no bbox of four numbers") from None
        mask = np.zeros((height, width), bool)
        mask[max(0, int(np.floor(y))) : max(0, int(np.ceil(y + h))), max(0, int(np.floor(x))) : max(0, int(np.ceil(x + w)))] = True  # noqa: E501
        masks.append(mask)
        category = row.get("category_id")
        called[i] = str(row.get("name") or row.get("category") or names.get(category) or f"class {category}")
    return label_map(masks, [float(row.get("score", 0.0)) for row in rows], (height, width)), called


def _label_maps(path: Path) -> Reader:
    beside = (path if path.is_dir() else path.parent) / "names.json"
    try:
        names = {int(k): str(v) for k, v in json.loads(beside.read_bytes()).items()} if beside.exists() else {}
    except (ValueError, AttributeError):
        raise ValueError(f'{beside}: names labels as {{"1": "person"}}') from None
    return lambda name, _: (read_label_png(_file(path, name, ".png")), names)


def _saliency(path: Path) -> Reader:
    def of_saliency(name: str, _: np.ndarray) -> Labels:
        grey = read_label_png(_file(path, name, ".png"))
        if grey.max() > 255:
            raise ValueError(f"{path}: a saliency map is grey, 8 bits a pixel")
        return (grey >= 128).astype(np.int32), {1: "salient"}

    return of_saliency


def _sam(path: Path) -> Reader:
    def of_kept(name: str, picture: np.ndarray) -> Labels:
        from icm.edges.segmenters.kept import load

        masks = load(path / f"{name}.npz", picture)
        if masks is None:
            raise NotLabelled(f"{path}: keeps no masks of {name}")
        return masks.select(0.0).label_map(), {}

    return of_kept


def _segmenter(name: str) -> Reader:
    from icm.edges.segmenters import build

    segmenter = build(name)
    segmenter.prepare()
    alpha = 0.88 if segmenter.scored else None
    return lambda picture_name, picture: (segmenter.label_maps(picture, picture_name, [alpha])[0], {})


def _file(path: Path, name: str, suffix: str) -> Path:
    return path / PurePosixPath(name).with_suffix(suffix) if path.is_dir() else path
