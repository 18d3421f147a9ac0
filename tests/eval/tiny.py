"""A data set of two small pictures with squares and discs, exact boxes and masks, for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from eval.datasets import DATASETS, Dataset

SIDE = 16  # of every object, pixels


def tiny_files(folder: Path, size: tuple[int, int] = (48, 64)) -> tuple[Path, Path]:
    """(folder of pictures, instances JSON), written below `folder`."""
    height, width = size
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(2):
        picture = np.full((height, width, 3), 90 + 10 * number, np.uint8)
        for category, (x, y) in ((1, (4, 6)), (2, (36, 20 + 4 * number))):
            rows, columns = np.mgrid[:height, :width]
            mask = (columns >= x) & (columns < x + SIDE) & (rows >= y) & (rows < y + SIDE)
            if category == 2:
                mask &= (columns - x - 7.5) ** 2 + (rows - y - 7.5) ** 2 <= 8.1**2
            picture[mask] = (220, 40, 40) if category == 1 else (40, 60, 230)
            annotations.append({
                "id": len(annotations) + 1, "image_id": 10 + number, "category_id": category, "iscrowd": 0,
                "bbox": [x, y, SIDE, SIDE], "area": int(mask.sum()), "segmentation": _rle(mask),
            })  # fmt: skip
        name = f"picture{number}.png"
        Image.fromarray(picture).save(folder / "images" / name)
        images.append({"id": 10 + number, "file_name": name, "width": width, "height": height})
    categories = [{"id": 1, "name": "square"}, {"id": 2, "name": "disc"}, {"id": 3, "name": "never"}]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return folder / "images", path


def tiny_dataset(folder: Path) -> Dataset:
    return DATASETS["coco"](*tiny_files(folder))


def _rle(mask: np.ndarray) -> dict:
    """COCO's uncompressed run lengths, column by column."""
    flat = np.concatenate([[0], mask.T.reshape(-1).astype(int), [-1]])
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], ends - 0])).tolist()
    counts[0] -= 1  # the leading zero that was put in front
    counts[-1] += 0
    return {"size": list(mask.shape), "counts": counts}
