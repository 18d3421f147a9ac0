"""How much memory decoding a structured stream may take."""

from __future__ import annotations

from typing import Any

from icm.bitstream import Header, StreamError
from icm.codecs.groups.transforms import CHUNK, STRIDE


def decode_memory(height: int, width: int, tile: int, settings: dict[str, Any]) -> int:
    """Bytes beyond interpreter and weights, at most, whatever the groups: picture, latent, the widest stage of a tile.

    A group has no more cells in a tile than the tile; what it computes is sized by them. A reader refuses a stream that
    declares less, so what `icm.bitstream.Limits` allows is what a decoder may take.
    """
    cells = (-(-height // STRIDE)) * (-(-width // STRIDE))
    part = min(cells, (tile // STRIDE) ** 2)
    widest = max(
        64 // 4**i * part * (4 * c * (8 + 2 * settings["expansion"]) + 64) for i, c in enumerate(settings["widths"])
    )
    # A group of scattered cells has few tokens a window: at most as many windows as tokens, and 64 slots in each.
    windows = min(CHUNK, 64 * part)
    slot = max(3 * 64 * h + 8 * c for h, c in zip(settings["heads"], settings["widths"], strict=True))
    scores = windows * 64 * 4 * slot
    prior = 8 * part * 8 * (settings["latent"] + 4 * settings["prior_width"])
    return 8 * 256 * cells + 8 * settings["latent"] * cells + widest + scores + prior


def held_memory(height: int, width: int, groups: int, settings: dict[str, Any]) -> int:
    """What a clip needs beyond that: latents and pixels of all that each group holds."""
    cells = (-(-height // STRIDE)) * (-(-width // STRIDE))
    return groups * cells * (4 * settings["latent"] + 3 * STRIDE**2 + 16)


def enough(header: Header, needed: int) -> None:
    """StreamError where a header declares less."""
    if needed > header.memory:
        raise StreamError(f"damaged: declares {header.memory} bytes of decode memory where {needed} are needed")
