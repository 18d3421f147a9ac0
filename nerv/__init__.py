"""Video as a network: one small network fitted to one clip, its weights coded into a .vcm file.

    clip (T, H, W, 3) uint8 RGB ─▶ network ─▶ quantised tensors ─▶ .vcm, kind "network" ─▶ any frame

with nerv.open(path) as video: video[10:20]     frames (10, H, W, 3); a file with a background needs pictures=icm.decode
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _codec(name: str) -> Callable[..., Any]:
    def builder(quality: float | None = None, **options: Any) -> Any:
        from nerv import codec  # here, so that naming the codecs costs no import of torch

        return codec.build(name, quality, **options)

    return builder


CODECS: dict[str, Callable[..., Any]] = {name: _codec(name) for name in ("nerv", "hnerv", "sa-nerv")}


def open(source: Any, pictures: Callable[[bytes], Any] | None = None) -> Any:
    """A network's file (path or bytes) as a sequence of frames; close it, or use it in a `with`."""
    from nerv.codec import NetworkDecoder

    return NetworkDecoder(source, pictures)


def describe(header: Any) -> dict[str, str]:
    """What a network's header says beyond the container. {} where it is none that this version knows."""
    found = _layout(header)
    if found is None:
        return {}
    counts, architecture, _ = found
    return {"segments": str(len(counts)), "network": f"{architecture.parameters:,} parameters", **architecture.facts()}


def section_names(header: Any) -> list[str]:
    """Of a network's file: what each section holds. Empty where it is none that this version knows."""
    found = _layout(header)
    if found is None:
        return []
    from nerv.file import names

    counts, architecture, shared = found
    tensors, first = names(architecture), ["background"][:shared]
    if len(counts) == 1:
        return first + tensors
    return first + [f"segment {segment}, {name}" for segment in range(len(counts)) for name in tensors]


def _layout(header: Any) -> Any:
    from icm.bitstream import StreamError
    from nerv.file import layout

    try:
        return layout(header) if header.kind == "network" else None
    except StreamError:
        return None
