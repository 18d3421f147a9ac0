"""COCO's layout on disk: pictures, instances (RLE, track_id) and panoptic labels (JSON and PNG).

    FOLDER/images/000000.png                 FOLDER/annotations/instances.json
    FOLDER/annotations/panoptic/000000.png   FOLDER/annotations/panoptic.json
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from eval.scenes.labels import CATEGORIES
from eval.scenes.render import Picture


def rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask (H, W): column-major runs, differences to the run before last, in
    groups of five bits with a continuation bit, from character 48 on. `counts` is a str."""
    flat = np.asfortranarray(mask, np.uint8).ravel("F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    if flat.size and flat[0]:
        runs = [0, *runs]
    text = []
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        while True:
            group = value & 31
            value >>= 5
            more = value != (-1 if group & 16 else 0)
            text.append(chr(48 + (group | (32 if more else 0))))
            if not more:
                break
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": "".join(text)}


def _whole(path: Path, data: bytes) -> None:
    """A file appears complete or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"{path}: {len(data)} bytes not written ({reason}); make room or choose another place") from None
    finally:
        temporary.unlink(missing_ok=True)


def _png(array: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", array[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise ValueError(f"no PNG of a picture of shape {array.shape}")
    return data.tobytes()


def instance_rows(picture: Picture, image_id: int, first: int) -> list[dict[str, Any]]:
    """The picture's instances; ids count up from `first`. An ignored object is a crowd of one."""
    return [{"id": first + i, "image_id": image_id, "category_id": o.category_id, "bbox": list(o.box), "area": o.area,
             "iscrowd": int(o.ignored), "segmentation": rle(o.mask), "track_id": o.track_id}
            for i, o in enumerate(picture.instances)]


def panoptic_segments(picture: Picture) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """(H, W) int32 ids, and COCO's segments_info. The ignored objects of a category are one crowd, under the first's
    id: COCO has at most one a category and picture, and panopticapi looks at no more."""
    ids, crowds = picture.segments, dict[int, int]()
    for o in picture.instances:
        if o.ignored and crowds.setdefault(o.category_id, o.segment_id) != o.segment_id:
            ids = np.where(o.mask, np.int32(crowds[o.category_id]), ids)
    info = []
    for number in np.unique(ids).tolist():
        mask = ids == number
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        info.append({"id": number, "category_id": picture.categories[number], "area": int(mask.sum()),
                     "iscrowd": int(number in crowds.values()),
                     "bbox": [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]})
    return ids, info


def write_pictures(folder: str | os.PathLike, pictures: Iterable[Picture], info: dict[str, Any]) -> dict[str, str]:
    """Writes them one by one; the annotations come last, so that a folder that has them is complete."""
    root = Path(folder)
    try:
        for name in ("images", "annotations/panoptic"):
            (root / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{root}: not a folder that can be written ({error.strerror}); choose another place") from None
    images: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    panoptic: list[dict[str, Any]] = []
    for picture in pictures:
        name, image_id = f"{picture.index:06d}.png", picture.index + 1
        height, width = picture.segments.shape
        ids, segments = panoptic_segments(picture)
        colours = np.stack([ids >> shift & 255 for shift in (0, 8, 16)], -1).astype(np.uint8)
        _whole(root / "images" / name, _png(picture.image))
        _whole(root / "annotations" / "panoptic" / name, _png(colours))
        images.append({"id": image_id, "file_name": name, "width": width, "height": height,
                       "frame": picture.index, "time_s": picture.time_s})
        instances += instance_rows(picture, image_id, len(instances) + 1)
        panoptic.append({"image_id": image_id, "file_name": name, "segments_info": segments})
    things = [c for c in CATEGORIES if c["isthing"]]
    paths = {"images": root / "images", "panoptic_root": root / "annotations" / "panoptic",
             "panoptic": root / "annotations" / "panoptic.json", "instances": root / "annotations" / "instances.json"}
    shared = {"info": info, "licenses": [], "images": images}
    _whole(paths["panoptic"], json.dumps({**shared, "annotations": panoptic, "categories": CATEGORIES}).encode())
    _whole(paths["instances"], json.dumps({**shared, "annotations": instances, "categories": things}).encode())
    return {name: str(path) for name, path in paths.items()}
