"""What the labels of task models mean: COCO's things, Pascal VOC's classes among them, and where data sets differ.

COCO's ids have holes (12, 26, 29, 30, 45, 66, 68, 69, 71, 83 and 91 were never labelled): 80 things from 1 to 90.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = """person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant - stop_sign
parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe - backpack umbrella - - handbag tie
suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket bottle
- wine_glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair
couch potted_plant bed - dining_table - - toilet - tv laptop mouse remote keyboard cell_phone microwave oven toaster
sink refrigerator - book clock vase scissors teddy_bear hair_drier toothbrush"""

COCO_THINGS: dict[int, str] = {
    i: name.replace("_", " ") for i, name in enumerate(_NAMES.split(), 1) if name != "-"
}
"""category id -> name, as in COCO's instances JSON; sorted, so its order is that of contiguous class numbers 0 … 79"""

VOC_TO_COCO = (-1, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
"""Pascal VOC's 21 classes (background, aeroplane, bicycle, …, tvmonitor) -> COCO's ids; background -> -1, void. All 20
exist in COCO, some under another name (aeroplane: airplane, motorbike: motorcycle, sofa: couch, tvmonitor: tv)."""

VOC_CATEGORIES: dict[int, str] = {i: COCO_THINGS[i] for i in sorted(VOC_TO_COCO) if i > 0}
"""The 20 of COCO's categories that a model of VOC's classes knows."""

PERSON: dict[int, str] = {1: "person"}

ON_COCO = "trained on COCO train2017 (photographs, 80 categories)"


def mismatch(model: Any, categories: Mapping[int, str], task: str = "") -> list[str]:
    """One-line warnings where a model's labels and a data set's (id -> name) do not mean the same.

    task: for which they are compared; of semantic maps, classes that the model does not know are no part of the mean.
    Empty where they fit, and where the model does not say what it knows (no `.categories`).
    """
    known: Mapping[int, str] | None = getattr(model, "categories", None)
    if not known or not categories:
        return []
    warnings = []
    note = getattr(model, "note", "")
    note = f" ({note})" if note else ""
    missing = [name for i, name in sorted(categories.items()) if i not in known]
    if missing:
        listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        so = "they are left out of the mean" if task == "semantic" else "they count as never found"
        warnings.append(f"{model.name} knows {len(categories) - len(missing)} of the {len(categories)} categories of "
                        f"the labels, not {listed}: {so}{note}")  # fmt: skip
    other = [i for i in sorted(categories) if i in known and _plain(known[i]) != _plain(categories[i])]
    if other:
        i = other[0]
        warnings.append(f"{len(other)} category ids mean something else to {model.name}: {i} is {known[i]!r} there and "
                        f"{categories[i]!r} in the labels; accuracy of these is by chance")  # fmt: skip
    return warnings


def _plain(name: str) -> str:
    """Names compared without case, '-' and '_'; some files of COCO write 'tv-monitor' or 'tvmonitor'."""
    return "".join(c for c in name.casefold() if c.isalnum())
