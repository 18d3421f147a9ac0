"""Anchors: classic codecs with the interface of ours. To add one: a builder in a file here, and a line in `ANCHORS`.

A codec has `name`, `quality`, `suffix`, `qualities` (lowest and highest whole quality), `threads` (that it uses: 1),
`encode(picture) -> bytes` and `decode(bytes) -> picture`, pictures being (H, W, 3) uint8 RGB.
Decoding needs the bytes and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eval.anchors.still import jpeg, uncompressed, webp
from eval.anchors.video import svtav1, x264, x265

ANCHORS: dict[str, Callable[..., Any]] = {
    "jpeg": jpeg,
    "webp": webp,
    "x264": x264,
    "x265": x265,
    "svtav1": svtav1,
    "uncompressed": uncompressed,
}
