"""Categories of the scenes, under COCO's own ids: models trained on COCO can be evaluated on them as they are."""

from __future__ import annotations

from typing import Any

PERSON, BICYCLE, CAR = 1, 2, 3
ROAD, VEGETATION, SKY, PAVEMENT, BUILDING = 149, 184, 187, 191, 197

CATEGORIES: tuple[dict[str, Any], ...] = (
    {"id": PERSON, "name": "person", "supercategory": "person", "isthing": 1, "color": [220, 20, 60]},
    {"id": BICYCLE, "name": "bicycle", "supercategory": "vehicle", "isthing": 1, "color": [119, 11, 32]},
    {"id": CAR, "name": "car", "supercategory": "vehicle", "isthing": 1, "color": [0, 0, 142]},
    {"id": ROAD, "name": "road", "supercategory": "ground", "isthing": 0, "color": [128, 64, 128]},
    {"id": VEGETATION, "name": "vegetation", "supercategory": "plant", "isthing": 0, "color": [107, 142, 35]},
    {"id": SKY, "name": "sky", "supercategory": "sky", "isthing": 0, "color": [70, 130, 180]},
    {"id": PAVEMENT, "name": "pavement", "supercategory": "ground", "isthing": 0, "color": [244, 35, 232]},
    {"id": BUILDING, "name": "building", "supercategory": "building", "isthing": 0, "color": [70, 70, 70]},
)
"""Posts, benches and other street furniture count as building."""

THINGS: tuple[int, ...] = tuple(c["id"] for c in CATEGORIES if c["isthing"])
