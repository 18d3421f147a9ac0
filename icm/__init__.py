"""Image coding for machines: codecs that keep what a detector needs, their losses, their edge maps, their bitstream.

    icm.encode(picture, codec="sa-icm-s:25") -> bytes        picture (H, W, 3) uint8 RGB
    icm.decode(data) -> picture
    icm.build("sa-icm-s", weights=PATH_OR_NAME_OR_NONE) -> a module with CompressAI's interface
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

ARCHITECTURES = ("sa-icm-s",)
CODECS = {name: "icm.codecs.picture" for name in ("sa-icm-s", "lic-s")}  # name → module with build(name, quality, …)


def build(arch: str, weights: Any = None, **settings: Any) -> Any:
    """A network, with weights by name, by path, or (None) at random. ValueError: unknown name, weights that do not fit."""
    from icm.codecs.sa_icm_s import SaIcmS

    if arch not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {arch}; known: {', '.join(ARCHITECTURES)}")
    if weights is None:
        return SaIcmS(**settings)
    from icm.codecs.release import Release

    return Release.load(weights).model(**settings)
