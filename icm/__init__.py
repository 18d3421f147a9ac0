"""Image coding for machines: codecs that keep what a detector needs, their losses, their edge maps, their bitstream.

icm.encode(picture, codec="sa-icm-s:25") -> bytes        picture (H, W, 3) uint8 RGB
icm.decode(data) -> picture
icm.build("sa-icm", weights=PATH_OR_NAME_OR_NONE) -> a module with CompressAI's interface
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

ARCHITECTURES = ("sa-icm-s",)


def _picture_codec(name: str) -> Callable[..., Any]:
    def builder(quality: float | None = None, **options: Any) -> Any:
        from icm.codecs import picture  # here, so that naming the codecs costs no import of torch

        return picture.build(name, quality, **options)

    return builder


CODECS: dict[str, Callable[..., Any]] = {name: _picture_codec(name) for name in ("sa-icm-s", "lic-s")}


def encode(picture: np.ndarray, codec: str = "sa-icm-s", **options: Any) -> bytes:
    """(H, W, 3) uint8 RGB → the bytes of a .vcm file. codec: NAME or NAME:QUALITY."""
    name, _, quality = codec.partition(":")
    if name not in CODECS:
        raise ValueError(f"unknown codec {name}; known: {', '.join(CODECS)}")
    return CODECS[name](float(quality) if quality else None, **options).encode(picture)


def decode(data: Any, **options: Any) -> np.ndarray:
    """The bytes (or the path) of a .vcm picture → (H, W, 3) uint8 RGB, with the weights that its header names."""
    from icm.bitstream import StreamError, read

    with read(data) as stream:
        name = stream.header.model
    if name not in CODECS:
        raise StreamError(f"unsupported: made by {name}, which this version does not know; known: {', '.join(CODECS)}")
    return CODECS[name](**options).decode(data)


def build(arch: str, weights: Any = None, **settings: Any) -> Any:
    """A network, with weights by name, by path, or (None) at random. ValueError: unknown name, misfitting weights."""
    if arch not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {arch}; known: {', '.join(ARCHITECTURES)}")
    from icm.codecs.release import Release
    from icm.codecs.sa_icm_s import SaIcmS

    return SaIcmS(**settings) if weights is None else Release.load(weights).model(**settings)


def describe(header: Any) -> dict[str, Any]:
    """What the codec's own bytes of a header say, without loading a network. {} where the codec is not ours."""
    if header.model not in CODECS or len(header.parameters) != 3:
        return {}
    return {
        "quality": int.from_bytes(header.parameters[:2], "little") / 16,
        "tile_px": 1 << min(header.parameters[2], 15),
    }
