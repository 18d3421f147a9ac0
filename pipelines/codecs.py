"""The one table of codec names: ours, video networks, anchors. `x265:37` is a codec at a quality.

    icm.CODECS ─┐
    nerv.CODECS ┼─▶ names ─▶ parse("sa-icm-s:25") ─▶ object with name, quality, suffix, encode, decode
    ANCHORS ────┘

A table's value is a builder (quality, **options) or the name of a module with build(name, quality, **options),
so that a name can be looked up without importing torch.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import icm
import nerv
from eval.anchors import ANCHORS


def table() -> dict[str, Any]:
    """name -> builder or module name, ours first."""
    return {**icm.CODECS, **nerv.CODECS, **ANCHORS}


def is_anchor(name: str) -> bool:
    """Whether the codec is a classic one, which has no weights."""
    return name in ANCHORS


def split(spec: str) -> tuple[str, list[float]]:
    """("x265", [32, 37]) from "x265:32,37"; no qualities from "x265". ValueError names what is known."""
    name, sign, text = spec.partition(":")
    known = table()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"{spec}: unknown codec {name!r}{hint}; known codecs: {', '.join(known)}")
    qualities = []
    for word in text.split(",") if sign else []:
        try:
            qualities.append(float(word))
        except ValueError:
            raise ValueError(f"{spec}: quality {word!r} is not a number; write {name}:30 or {name}:30,40") from None
    return name, qualities


def build(name: str, quality: float | None = None, **options: Any) -> Any:
    """The codec `name`; options (weights) reach ours alone. ValueError for an unknown name or impossible quality."""
    builder: str | Callable[..., Any] = table()[split(name)[0]]
    given: Mapping[str, Any] = {} if is_anchor(name) else {k: v for k, v in options.items() if v is not None}
    if isinstance(builder, str):
        return importlib.import_module(builder).build(name, quality, **given)
    return builder(quality, **given)


def parse(spec: str, **options: Any) -> Any:
    """The codec of "NAME" (its default quality) or "NAME:QUALITY"."""
    name, qualities = split(spec)
    if len(qualities) > 1:
        raise ValueError(f"{spec}: one quality is needed here, not {len(qualities)}")
    return build(name, qualities[0] if qualities else None, **options)


def label(name: str, quality: float) -> str:
    """The codec's spec, as `parse` reads it: "x265:37"; without a quality where the codec has none."""
    return name if name == "uncompressed" else f"{name}:{quality:g}"


def weights_hash(codec: Any) -> str:
    """SHA-256 of the codec's weights and tables in hexadecimal; "" for a classic one."""
    release = getattr(getattr(codec, "coder", None), "release", None)
    return release.hash.hex() if release is not None else ""
