"""The formats by name. Each is made when it is asked for: some build tiny networks."""

from __future__ import annotations

import functools
import importlib

from tests.fuzz.formats.base import Format

FORMATS = {
    "container": "container.Containers",
    "tables": "tables.StoredTables",
    "networks": "networks.Networks",
    "groups": "groups.Groups",
    "clips": "clips.Clips",
    "maps": "maps.Maps",
    "weights": "weights.Weights",
    "decodes": "decodes.Decodes",
}


@functools.cache
def format_called(name: str) -> Format:
    module, _, kind = FORMATS[name].partition(".")
    made: Format = getattr(importlib.import_module(f"tests.fuzz.formats.{module}"), kind)()
    return made
