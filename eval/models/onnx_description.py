"""What stands in FILE.onnx.yaml or FILE.onnx.json beside an ONNX detector."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from eval.models.layouts import LAYOUTS

KINDS: dict[str, tuple[type, ...]] = {
    "divide": (int, float), "score": (int, float), "iou": (int, float), "most": (int,), "several": (bool,),
    "output": (str,), "note": (str,),
}  # fmt: skip


@dataclass(frozen=True)
class Description:
    """What FILE.onnx.yaml may say. None: what goes with the layout, or what the file itself says."""

    layout: str | None = None  # a name of LAYOUTS
    categories: dict[int, str] | None = None
    size: list[int] | None = None  # [width, height] of the input where the file leaves it open; else 640, 640
    resize: str | None = None  # letterbox or stretch
    colour: str | None = None  # rgb or bgr
    divide: float = 255.0  # 0 … 255 by this, then (x − mean) / std
    mean: list[float] = dataclasses.field(default_factory=lambda: [0.0, 0.0, 0.0])  # in the order of `colour`
    std: list[float] = dataclasses.field(default_factory=lambda: [1.0, 1.0, 1.0])
    score: float | None = None  # least score
    iou: float | None = None  # most overlap within a class
    most: int = 300  # boxes a picture
    several: bool = True  # a box counts for every class above the least score, as in the YOLOs' own evaluation
    output: str | None = None  # its name, where the file has several
    note: str = ""  # what it was trained on


def read_description(path: Path) -> Description:
    """The file read; ValueError, one line, for what it may not say."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: is not YAML ({' '.join(str(error).split())[:120]})") from None
    known = {field.name for field in dataclasses.fields(Description)}
    if not isinstance(values, dict) or set(values) - known:
        strange = min(map(str, set(values) - known)) if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"{path}: says {strange!r}, which is none of {', '.join(sorted(known))}")
    for key, allowed in (("layout", tuple(LAYOUTS)), ("resize", ("letterbox", "stretch")), ("colour", ("rgb", "bgr"))):
        if values.get(key) is not None and values[key] not in allowed:
            raise ValueError(f"{path}: {key} {values[key]!r} is none of {', '.join(allowed)}")
    if values.get("categories") is not None:
        try:
            values["categories"] = {int(i): str(name) for i, name in values["categories"].items()}
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"{path}: categories must be a mapping of ids to names, as in {{1: person}}") from None
    for key, count in (("size", 2), ("mean", 3), ("std", 3)):
        row = values.get(key)
        if row is not None and not (isinstance(row, list) and len(row) == count
                                    and all(isinstance(x, int | float) for x in row)):  # fmt: skip
            raise ValueError(f"{path}: {key} must be a list of {count} numbers")
        if key == "size" and row is not None and not all(isinstance(side, int) and side > 0 for side in row):
            raise ValueError(f"{path}: size must be [width, height] in pixels, not {row}")
    for key, kind in KINDS.items():
        value = values.get(key)
        # bool is an int for Python, and no number here
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind)):
            raise ValueError(f"{path}: {key} must be {kind[-1].__name__}, not {value!r}")
    for key in ("divide", "most"):
        if values.get(key) is not None and values[key] <= 0:
            raise ValueError(f"{path}: {key} must be above 0, not {values[key]!r}")
    if 0 in (values.get("std") or ()):
        raise ValueError(f"{path}: std holds a 0, by which nothing can be divided")
    return Description(**{key: value for key, value in values.items() if value is not None})
