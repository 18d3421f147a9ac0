"""The one table of codec names: ours, video networks, anchors. `x265:37` is a codec at a quality, and so is
`compressai:mbt2018-mean:4`: names may hold a colon, and the quality comes after the last one.

    icm.CODECS ─┐
    nerv.CODECS ┼─▶ names ─▶ parse("sa-icm-s:25") ─▶ object with name, quality, suffix, encode, decode
    ANCHORS ────┘

A table's value is a builder (quality, **options) or the name of a module with build(name, quality, **options),
so that a name can be looked up without importing torch.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable
from typing import Any

import icm
import nerv
from eval.anchors import ANCHORS, WITH_WEIGHTS


def table() -> dict[str, Any]:
    """name -> builder or module name, ours first."""
    return {**icm.CODECS, **nerv.CODECS, **ANCHORS}


def is_anchor(name: str) -> bool:
    """Whether the codec is somebody else's: no .vcm files, no training."""
    return name in ANCHORS


def takes_weights(name: str) -> bool:
    """Whether --weights can be given to the codec: ours, and CompressAI's models."""
    return name not in ANCHORS or name in WITH_WEIGHTS


def split(spec: str) -> tuple[str, list[float]]:
    """("x265", [32, 37]) from "x265:32,37"; no qualities from "x265". ValueError names what is known."""
    known = table()
    name, sign, text = (spec, "", "") if spec in known else spec.rpartition(":")
    if name not in known:
        first, sign, text = spec.partition(":")
        name = first if first in known or first not in _families(known) else spec.rpartition(":")[0] or spec
    if name not in known:
        models = [model for model in known if model.startswith(f"{name}:")]
        near = models[:1] or difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]}{':4' if models else ''}?)" if near else ""
        raise ValueError(f"{spec}: unknown codec {name!r}{hint}; known codecs: {', '.join(_shown(known))}")
    qualities = []
    for word in text.split(",") if sign else []:
        try:
            qualities.append(float(word))
        except ValueError:
            raise ValueError(f"{spec}: quality {word!r} is not a number; write {name}:30 or {name}:30,40") from None
    return name, qualities


def _families(known: Iterable[str]) -> set[str]:
    """What stands before the colon of names that have one."""
    return {name.partition(":")[0] for name in known if ":" in name}


def _shown(known: Iterable[str]) -> list[str]:
    """The names, those of a family as one."""
    return [name for name in known if ":" not in name] + [f"{family}:MODEL" for family in sorted(_families(known))]


def build(name: str, quality: float | None = None, **options: Any) -> Any:
    """The codec `name`; weights reach those that take them, other options ours alone. ValueError, OSError or
    ImportError, one line, for an unknown name, an impossible quality, or a program that is not installed."""
    builder: str | Callable[..., Any] = table()[split(name)[0]]
    given = {k: v for k, v in options.items() if v is not None}
    if is_anchor(name):
        given = {k: v for k, v in given.items() if k == "weights" and takes_weights(name)}
    if split(name)[0] in nerv.CODECS:
        given["pictures"] = icm.decode  # of a background
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
    """SHA-256 in hexadecimal of what decides a codec's streams beside its name: weights and tables, or the programs and
    configuration of an external encoder; "" for the classic ones inside."""
    release = getattr(getattr(codec, "coder", None), "release", None)
    return release.hash.hex() if release is not None else getattr(codec, "weights_sha256", "")
