"""Architectures by name: the network that trains, and what codes pictures with its weights. Imported when used."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Places as "module:Class".

    network: built with the settings as keywords; CompressAI's interface, `.settings`, and `export(path)` or what
    Release.from_model takes. transforms: the part that coding needs, built alike. coder: built with a Release.
    published: (path of the authors' checkpoint, quality) → such a network, with release(); "" where there are none.
    """

    network: str
    transforms: str
    coder: str
    published: str = ""


ARCHITECTURES = {
    "sa-icm-s": Architecture(
        "icm.codecs.sa_icm_s:SaIcmS", "icm.codecs.transforms:Transforms", "icm.codecs.coding:PictureCoder"
    ),
    "tcm": Architecture(
        "icm.codecs.tcm.network:Tcm", "icm.codecs.tcm.transforms:Transforms", "icm.codecs.tcm.coding:TcmCoder",
        "icm.codecs.tcm.published:read_tcm",
    ),
    "segpic": Architecture(
        "icm.codecs.segpic.model:SegPIC", "icm.codecs.segpic.network:Transforms",
        "icm.codecs.segpic.coding:SegpicCoder", "icm.codecs.segpic.published:read_segpic",
    ),
    "groups": Architecture(
        "icm.codecs.groups.network:GroupsNet", "icm.codecs.groups.transforms:Transforms",
        "icm.codecs.groups.coding:PartCoder",
    ),
}
ALIASES = {"sa-icm": "tcm", "lic-s": "sa-icm-s"}  # names of codecs


def architecture(name: str) -> Architecture:
    """By its name or that of a codec made of it. ValueError: unknown."""
    name = ALIASES.get(name, name)
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name}; known: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def load(place: str) -> Any:
    """The class at "module:Class"."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
