"""`vcm encode --roi`: what matters in a picture, and the map of qualities made of it (icm/quality_map.py).

| --roi | what matters |
|---|---|
| saliency | colours unlike those around them: from the picture alone |
| edges | cells with many boundaries of regions (felzenszwalb): from the picture alone |
| FILE.json | boxes: {"street.jpg": [[x, y, width, height], …], …}, or COCO annotations, whose boxes are taken |
| FILE.png, FOLDER | masks or label maps of the pictures' sizes, found by name: what is not 0 |
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from icm.quality_map import QualityMap

OPTIONS = {"cell": 32, "step": 20, "share": 0.4}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--roi and its options."""
    parser.add_argument("--roi", metavar="WHAT", help="what matters: saliency, edges, boxes (.json), masks (.png, DIR)")
    parser.add_argument(
        "--roi-option", metavar="KEY=VALUE", nargs="+", action="extend", default=[],
        help="cell=32 (16, 32 or 64 pixels), step=20 (how much lower the quality elsewhere), share=0.4 (of the cells "
        "that saliency and edges keep)",
    )  # fmt: skip


def check(what: str | None, options: tuple[str, ...], codec: Any) -> None:
    """ValueError or OSError, one line, for what cannot be used, before any picture is read."""
    if what is None:
        if options:
            raise ValueError("--roi-option: says how --roi is meant; say what matters with --roi")
        return
    if not getattr(codec, "takes_roi", False):
        raise ValueError(f"--roi: {codec.name} has one quality a picture; sa-icm-s and lic-s have maps of it")
    regions_of(what, options)


def settings(what: str | None, options: tuple[str, ...]) -> dict[str, Any]:
    """What a run that goes on must have in common with this one; {} without a map."""
    if what is None:
        return {}
    path = Path(what)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return {"roi": what, "roi_options": list(options), "roi_sha256": sha256}


class Regions:
    """what: as above. options: KEY=VALUE words: cell (16, 32 or 64 pixels), step (how much lower the quality of the
    rest is), share (of the cells that saliency and edges keep at the full quality). ValueError or OSError, one line."""

    def __init__(self, what: str, options: tuple[str, ...] = ()) -> None:
        from icm.quality_map import Roi

        self.what, chosen = what, dict(OPTIONS)
        for word in options:
            key, _, text = word.partition("=")
            if key not in OPTIONS:
                raise ValueError(f"--roi-option {word}: is not one of cell=16|32|64, step=1..99, share=0..1")
            try:
                chosen[key] = type(OPTIONS[key])(text)
            except ValueError:
                raise ValueError(f"--roi-option {word}: {text!r} is not a number") from None
        self.roi, self.share = Roi(int(chosen["cell"]), int(chosen["step"])), float(chosen["share"])
        if not 0 < self.share <= 1:
            raise ValueError(f"--roi-option share={self.share:g}: must be above 0 and at most 1")
        self._given: Callable[..., np.ndarray] | None = None
        if what not in ("saliency", "edges"):
            self._given = _boxes(Path(what)) if what.endswith(".json") else _masks(Path(what))

    def map_of(self, source: Path, picture: np.ndarray) -> QualityMap:
        """The map of the picture (H, W, 3) that was read from `source`. ValueError where nothing is known of it."""
        from icm.quality_map import from_importance, from_mask, saliency

        if self._given is None:
            importance = saliency(picture) if self.what == "saliency" else _edges(picture)
            return from_importance(importance, self.roi, self.share)
        mask = self._given(source, *picture.shape[:2])
        if mask.shape != picture.shape[:2]:
            raise ValueError(f"its mask in {self.what} is {mask.shape[1]}x{mask.shape[0]}, the picture is "
                             f"{picture.shape[1]}x{picture.shape[0]}")  # fmt: skip
        return from_mask(mask, self.roi)


@functools.lru_cache(maxsize=2)
def regions_of(what: str, options: tuple[str, ...]) -> Regions:
    """Read once a process."""
    return Regions(what, options)


def _edges(picture: np.ndarray) -> np.ndarray:
    import numpy as np

    from icm.edges import edge_map
    from icm.edges.segmenters.felzenszwalb import Felzenszwalb

    (labels,) = Felzenszwalb().label_maps(picture, "", [None])
    return edge_map(labels, method="change").astype(np.float32)


def _boxes(path: Path) -> Callable[..., np.ndarray]:
    import numpy as np

    from icm.edges.segmenters.files import Index

    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if "annotations" in table:
            names = {image["id"]: image["file_name"] for image in table["images"]}
            boxes: dict[str, list[Any]] = {name: [] for name in names.values()}
            for annotation in table["annotations"]:
                boxes[names[annotation["image_id"]]].append(annotation["bbox"])
        else:
            boxes = table
        read = {str(Path(name).with_suffix("")): np.array(rows, float).reshape(-1, 4) for name, rows in boxes.items()}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; give boxes, masks, saliency or edges") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: neither boxes of pictures by name nor COCO annotations with bbox "
                         f"({type(error).__name__} {' '.join(str(error).split())})") from None  # fmt: skip
    index = Index(read, str(path))

    def mask(source: Path, height: int, width: int) -> np.ndarray:
        found = np.zeros((height, width), bool)
        for x, y, w, h in index.find(source.as_posix()):
            left, top = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
            found[top : max(0, int(np.ceil(y + h))), left : max(0, int(np.ceil(x + w)))] = True
        return found

    return mask


def _masks(path: Path) -> Callable[..., np.ndarray]:
    from icm.edges.segmenters.files import Index, read_label_png

    if path.is_file() and path.suffix.lower() == ".png":
        return lambda source, height, width: read_label_png(path)
    if not path.is_dir():
        raise ValueError(f"--roi {path}: neither saliency, edges, a .json of boxes, a .png nor a folder of them")
    files = {file.relative_to(path).with_suffix("").as_posix(): file for file in sorted(path.rglob("*.png"))}
    if not files:
        raise ValueError(f"--roi {path}: the folder holds no .png")
    index = Index(files, str(path))
    return lambda source, height, width: read_label_png(index.find(source.as_posix()))
