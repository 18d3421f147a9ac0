"""Anchors: other people's codecs with the interface of ours. To add one: a builder in a file here, a line in `ANCHORS`.

A codec has `name`, `quality`, `suffix`, `qualities` (lowest and highest whole quality), `threads` (that it uses: 1),
`encode(picture) -> bytes` and `decode(bytes) -> picture`, pictures being (H, W, 3) uint8 RGB.
Decoding needs the bytes and nothing else. Those of video.py also have `encode_clip(frames, rate) -> bytes` and
`decode_clip(bytes) -> frames`; those of external.py `command`, which is to be recorded; those of CompressAI's zoo take
`weights`, the names in `WITH_WEIGHTS`. `weights_sha256`, where there is one, tells two builds of a codec apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eval.anchors import compressai_zoo
from eval.anchors.external import hm, vtm, vvenc
from eval.anchors.still import jpeg, uncompressed, webp
from eval.anchors.video import svtav1, x264, x265

ANCHORS: dict[str, Callable[..., Any]] = {
    "jpeg": jpeg,
    "webp": webp,
    "x264": x264,
    "x265": x265,
    "svtav1": svtav1,
    "uncompressed": uncompressed,
    "vvenc": vvenc,
    "vtm": vtm,
    "hm": hm,
    **{compressai_zoo.PREFIX + name: compressai_zoo.builder(name) for name in compressai_zoo.NAMES},
}
WITH_WEIGHTS = frozenset(compressai_zoo.PREFIX + name for name in compressai_zoo.NAMES)
