"""Structured streams without their pixels: what groups there are, and a stream with fewer of them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icm.bitstream import Header, Stream, StreamError, write
from icm.groups import clips
from icm.groups.coding import decode_mask
from icm.groups.header import CODEC, GroupsHeader, chosen
from icm.groups.mask import GroupMask, grid_shape


def groups_header(header: Header) -> GroupsHeader:
    """StreamError where a file holds no groups that this version knows."""
    if clips.is_clip(header):
        raise StreamError("holds a clip of groups, not a picture; use decode_clip, or `vcm decode`")
    if header.kind != "groups" or header.model != CODEC:
        raise StreamError(f"holds a {header.kind} by {header.model}, no groups")
    return GroupsHeader.parse(header.parameters)


def check(stream: Stream) -> GroupsHeader:
    """The header of an open stream, which has as many sections as it says."""
    found = groups_header(stream.header)
    if len(stream) != found.sections:
        raise StreamError(f"damaged: {len(stream)} sections for {len(found.names)} groups")
    return found


def read_mask(stream: Stream, found: GroupsHeader) -> GroupMask:
    """The mask of an open stream. StreamError, saying that it is the mask."""
    header = stream.header
    rows, cols = grid_shape(header.height, header.width, found.grid)
    try:
        ids = decode_mask(stream.section(0), rows, cols, len(found.names))
        return GroupMask(ids, found.names, header.height, header.width, found.grid)
    except ValueError as error:
        kind = type(error) if isinstance(error, StreamError) else StreamError
        raise kind(f"the mask of the groups: {error}") from None


def listing(stream: Stream) -> list[dict[str, Any]]:
    """A row a group: number, name, box (left, top, right, bottom in pixels), its share of the picture, bytes, quality,
    locked, here. box and share are None where the mask is damaged. The base, if there is one, is the last row."""
    found = check(stream)
    try:
        mask: GroupMask | None = read_mask(stream, found)
    except StreamError:
        mask = None
    pixels = mask.areas() if mask else None
    rows = []
    for i, name in enumerate(found.names):
        rows.append({
            "group": i, "name": name, "box": list(mask.box(i)) if mask else None,
            "share": float(pixels[i] / pixels.sum()) if pixels is not None else None, "bytes": stream.lengths[i + 1],
            "quality": found.codes[i] / 16, "locked": found.locked[i], "here": stream.lengths[i + 1] > 0,
        })  # fmt: skip
    if found.base:
        size = stream.lengths[-1]
        rows.append({"group": None, "name": f"base, 1/{found.base[0]} of the size", "box": None, "share": 1.0,
                     "bytes": size, "quality": found.base[1] / 16, "locked": False, "here": size > 0})  # fmt: skip
    return rows


def facts(header: Header) -> dict[str, Any]:
    """What the header says of the groups, without their mask. {} where it is none that this version knows."""
    try:
        found = groups_header(header)
    except StreamError:
        return {}
    codes = sorted({code / 16 for code in found.codes})
    quality = codes[0] if len(codes) == 1 else f"{codes[0]:g} to {codes[-1]:g}"
    return {"quality": quality, "groups": len(found.names), "grid_px": found.grid, "tile_px": found.tile}


def section_names(header: Header) -> list[str]:
    """What each section of a structured stream holds. Empty where it is none that this version knows."""
    try:
        found = groups_header(header)
    except StreamError:
        return []
    return ["mask", *(found.titled(i) for i in range(found.sections - 1))]


def extract(stream: Stream, words: Sequence[str | int], base: bool = False) -> bytes:
    """The file with these groups (names or numbers), the others' sections empty; nothing is decoded, so that locked
    groups stay locked. base: keep the picture that fills missing groups (it shows all open ones, coarsely)."""
    if clips.is_clip(stream.header):
        if base:
            raise ValueError("a clip has no base, its background is a group; leave --with-base out")
        return clips.extract(stream, words)
    found = check(stream)
    kept = {0} | {i + 1 for i in chosen(found, words)} | ({found.sections - 1} if found.base and base else set())
    gone = [found.titled(i - 1) for i in sorted(kept) if i and not stream.lengths[i]]
    if gone:
        raise ValueError(f"{', '.join(gone)}: not in this file, it was cut away before")
    sections = [stream.section(i) if i in kept else b"" for i in range(len(stream))]
    return write(stream.header, sections)
