"""Image coding for machines: codecs that keep what a detector needs, their losses, their edge maps, their bitstream.

icm.encode(picture, codec="sa-icm-s:25") -> bytes        picture (H, W, 3) uint8 RGB
icm.decode(data) -> picture
icm.build("sa-icm", weights=PATH_OR_NAME_OR_NONE) -> a module with CompressAI's interface
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from icm.quality_map import QualityMap


def _codec(name: str, module: str) -> Callable[..., Any]:
    def builder(quality: float | None = None, **options: Any) -> Any:
        # here, so that naming the codecs costs no import of torch
        return importlib.import_module(f"icm.codecs.{module}").build(name, quality, **options)

    return builder


CODECS: dict[str, Callable[..., Any]] = {
    "sa-icm-s": _codec("sa-icm-s", "picture"),
    "lic-s": _codec("lic-s", "picture"),
    "sa-icm": _codec("sa-icm", "same_build"),
    "segpic": _codec("segpic", "segpic.codec"),
    "groups": _codec("groups", "groups.codec"),
}


def encode(picture: np.ndarray, codec: str = "sa-icm-s", roi: QualityMap | None = None, **options: Any) -> bytes:
    """(H, W, 3) uint8 RGB → the bytes of a .vcm file. codec: NAME or NAME:QUALITY. roi: qualities of cells, below that
    one (icm/quality_map.py), for codecs that have `takes_roi`."""
    name, _, quality = codec.partition(":")
    if name not in CODECS:
        raise ValueError(f"unknown codec {name}; known: {', '.join(CODECS)}")
    coder = CODECS[name](float(quality) if quality else None, **options)
    if roi is None:
        return coder.encode(picture)
    if not getattr(coder, "takes_roi", False):
        raise ValueError(f"{name} has one quality a picture; sa-icm-s and lic-s have maps of it")
    return coder.encode(picture, roi=roi)


def decode(data: Any, **options: Any) -> np.ndarray:
    """The bytes (or the path) of a .vcm picture → (H, W, 3) uint8 RGB, with the weights that its header names."""
    from icm.bitstream import StreamError, read

    with read(data) as stream:
        name = stream.header.model
    if name not in CODECS:
        raise StreamError(f"unsupported: made by {name}, which this version does not know; known: {', '.join(CODECS)}")
    return CODECS[name](**options).decode(data)


def build(arch: str, weights: Any = None, **settings: Any) -> Any:
    """A network, with weights by name, by path, or (None) at random. ValueError: unknown name, misfitting weights.

    arch: of icm.codecs.networks.ARCHITECTURES ("sa-icm-s", "tcm" …), or the name of a codec made of it.
    """
    from icm.codecs.networks import architecture, load

    places = architecture(arch)
    if weights is None:
        return load(places.network)(**settings)
    from icm.codecs.release import Release

    release = Release.load(weights)
    if architecture(release.arch) != places:
        raise ValueError(f"{weights}: are weights of {release.arch}, not of {arch}")
    return release.model(**settings)


def describe(header: Any) -> dict[str, Any]:
    """What the codec's own bytes of a header say, without loading a network. {} where the codec is not ours."""
    from icm.bitstream import CHANGED_TILES, GROUPS_OF_FRAMES, QUALITY_MAP

    if header.kind == "groups":
        from icm.groups import stream

        return stream.facts(header)
    if header.kind == "clip" and header.features & GROUPS_OF_FRAMES:
        from icm.groups import clips

        return clips.facts(header) if clips.is_clip(header) else {}
    if header.model in CODECS and header.features & CHANGED_TILES:
        from icm.codecs import clip_index

        return clip_index.describe(header)
    if header.model in CODECS and header.same_build and len(header.parameters) >= 2:
        return {"tile_px": 1 << min(header.parameters[0], 15), "guard_bits": header.parameters[1]}
    mapped = bool(header.features & QUALITY_MAP)
    if header.model not in CODECS or len(header.parameters) != 3 + 2 * mapped:
        return {}
    facts = {
        "quality": int.from_bytes(header.parameters[:2], "little") / 16,
        "tile_px": 1 << min(header.parameters[2], 15),
    }
    if mapped:
        facts |= {"roi_cell_px": 1 << min(header.parameters[3], 15), "roi_step": header.parameters[4]}
    return facts


def section_names(header: Any) -> list[str]:
    """What each section of a clip of changed tiles, or of a structured stream, holds; [] where they need no names."""
    from icm.bitstream import GROUPS_OF_FRAMES

    if header.kind == "groups":
        from icm.groups import stream

        return stream.section_names(header)
    if header.kind == "clip" and header.features & GROUPS_OF_FRAMES:
        from icm.groups import clips

        return clips.section_names(header) if clips.is_clip(header) else []
    facts = describe(header)
    tiles, keys = facts.get("tiles_a_frame"), set(facts.get("key_frames", []))
    sent = enumerate(facts.get("tiles_sent", []))
    return [f"frame {i}: {'key frame' if i in keys else f'{count} of {tiles} tiles'}" for i, count in sent]
