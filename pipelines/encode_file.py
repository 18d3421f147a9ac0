"""One picture or clip into one file: what was asked for, the codec, the best quality within a size.

    IMAGE|CLIP ─read─▶ frames ─codec, or the best quality for a size─▶ bytes ─▶ OUT

A codec that codes clips has `encode_clip(frames_with_ticks, base, colour) -> bytes`, given an iterable of ((H, W, 3)
uint8 RGB frame, increasing whole tick), the seconds a tick, a Fraction, and where the samples come from ("bt709").
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import groups, regions, roi
from pipelines.run.batch import telling_memory

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Request:
    """What to code with. quality: None for the default, or where bpp (bits a pixel) or bytes decide. roi, roi_options:
    of pipelines/roi.py. refresh: of clips, frames from one whole frame to the next."""

    name: str
    quality: float | None = None
    weights: str | None = None
    bpp: float | None = None
    bytes: int | None = None
    roi: str | None = None
    roi_options: tuple[str, ...] = ()
    groups: groups.GroupRequest | None = None
    regions: regions.RegionRequest | None = None
    refresh: int | None = None

    @property
    def sized(self) -> bool:
        return self.bpp is not None or self.bytes is not None

    def codec(self, quality: float | None = None) -> Any:
        """The codec at a quality (default: the requested one)."""
        return codec_of(self.name, self.quality if quality is None else quality, self.weights, self.refresh)

    def settings(self) -> dict[str, Any]:
        """What decides the files, beside the weights."""
        known = {key: value for key, value in dataclasses.asdict(self).items() if not key.startswith("roi")
                 and (key, value) not in (("groups", None), ("regions", None), ("refresh", None))}  # fmt: skip
        return known | roi.settings(self.roi, self.roi_options)


@functools.lru_cache(maxsize=4)
def codec_of(
    name: str, quality: float | None = None, weights: str | None = None, refresh: int | None = None
) -> Any:
    """A codec, built once in this process; ValueError or OSError, one line, for a bad name, quality or weights."""
    from pipelines import codecs

    return codecs.build(name, quality, weights=weights or None, refresh=refresh)


def encode_file(job: tuple[Path, Path], request: Request) -> dict[str, Any]:
    """Code (source, out); the row for the manifest. ValueError or OSError, one line."""
    from pipelines.clips import CLIPS
    from pipelines.run.atomic import write_bytes
    from pipelines.run.provenance import sha256_file

    source, out = job
    encode = _encode_clip if source.suffix.lower() in CLIPS else _encode_picture
    with telling_memory():
        data, quality, width, height, frames = encode(source, request)
    write_bytes(out, data)
    return {
        "file": str(out), "source": str(source), "source_sha256": sha256_file(source), "codec": request.name,
        "quality": quality, "width": width, "height": height, "frames": frames, "bytes": len(data),
        "rate_bpp": 8 * len(data) / (width * height * frames),
    }  # fmt: skip


def _encode_picture(source: Path, request: Request) -> tuple[bytes, float, int, int, int]:
    from pipelines.media import read_picture

    picture = read_picture(source)
    height, width = picture.shape[:2]
    options = {}
    if request.roi is not None:
        options["roi"] = roi.regions_of(request.roi, request.roi_options).map_of(source, picture)
    if request.groups is not None:
        options |= request.groups.keywords(source, picture)
    if request.regions is not None:
        options |= request.regions.keywords(source, picture)
    if not request.sized:
        codec = request.codec()
        return codec.encode(picture, **options), codec.quality, width, height, 1
    data, quality = _fitted(source, request, lambda codec: codec.encode(picture, **options), width * height)
    return data, quality, width, height, 1


def _encode_clip(source: Path, request: Request) -> tuple[bytes, float, int, int, int]:
    from pipelines import codecs
    from pipelines.clips import probe_clip, with_ticks
    from pipelines.run.progress import progress

    info = probe_clip(source)
    codec = request.codec()
    if codecs.is_anchor(request.name) or not hasattr(codec, "encode_clip"):  # anchors' streams hold no times
        raise ValueError(f"{source}: {request.name} codes pictures, not clips; choose one of ours (`vcm models`)")
    if request.roi is not None:
        raise ValueError(f"{source}: --roi is for pictures; code the clip without it")
    if request.regions is not None:
        raise ValueError(f"{source}: --regions is for pictures; code the clip without it")
    count = 0

    def frames() -> Iterator[tuple[np.ndarray, int]]:
        nonlocal count
        for number, pair in enumerate(progress(with_ticks(source, info), info.frames, source.name)):
            count = number + 1
            yield pair

    def coded(at: Any) -> bytes:
        options = request.groups.clip_keywords(source) if request.groups is not None else {}
        data: bytes = at.encode_clip(frames(), info.time_base, info.colour, **options)
        return data

    if not request.sized:
        return coded(codec), codec.quality, info.width, info.height, count
    total = sum(1 for _ in frames()) if request.bpp is not None else 1
    pixels = info.width * info.height * total
    data, quality = _fitted(source, request, coded, pixels)
    return data, quality, info.width, info.height, count


def _fitted(source: Path, request: Request, encode: Any, pixels: int) -> tuple[bytes, float]:
    """The best quality within the requested size; pixels: of all frames together."""
    from pipelines import codecs
    from pipelines.rate import fit

    target = request.bytes if request.bytes is not None else math.floor((request.bpp or 0) * pixels / 8)
    codec = request.codec()
    low, high, step = (*codec.qualities, 1) if codecs.is_anchor(request.name) else codec.quality_range
    return fit(lambda quality: encode(request.codec(quality)), target, low, high, step, str(source))
