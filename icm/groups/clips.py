"""Clips of groups without their pixels: what they hold, and a clip with fewer groups. No torch. Normative: clips.md."""

from __future__ import annotations

import itertools
from typing import Any

from icm.bitstream import GROUPS_OF_FRAMES, Header, Stream, StreamError, write
from icm.groups.clip_index import ClipIndex
from icm.groups.header import CODEC, chosen


def is_clip(header: Header) -> bool:
    """Whether a file is a clip of groups."""
    return header.kind == "clip" and header.model == CODEC and bool(header.features & GROUPS_OF_FRAMES)


def check(stream: Stream) -> ClipIndex:
    """The index of an open stream, which has as many sections as it says."""
    if not is_clip(stream.header):
        raise StreamError(f"holds a {stream.header.kind} by {stream.header.model}, no clip of groups")
    return ClipIndex.parse(stream.header, len(stream))


def listing(stream: Stream) -> list[dict[str, Any]]:
    """A row a group: number, name, frames (that show any of it), sent (how often), whole (how often all of it), bytes,
    quality, locked, here."""
    index = check(stream)
    about, lengths = index.about, stream.lengths
    rows: list[dict[str, Any]] = [
        {"group": i, "name": name, "frames": 0, "sent": 0, "whole": 0, "bytes": 0, "quality": about.codes[i] / 16,
         "locked": about.locked[i], "here": False} for i, name in enumerate(about.names)
    ]  # fmt: skip
    for section, _, sent in index.sent():
        row = rows[sent.group]
        row["sent"] += 1
        row["whole"] += sent.whole
        row["bytes"] += lengths[section]
        row["here"] = row["here"] or lengths[section] > 0
    for number in range(len(index.coded)):
        chapter = index.chapter(number)
        masks = [(record.frame, record.groups) for record in chapter.records if record.groups]
        for (frame, groups), (end, _) in itertools.pairwise([*masks, (chapter.frames, ())]):
            for group in groups:
                rows[group]["frames"] += end - frame
    return rows


def facts(header: Header) -> dict[str, Any]:
    """What the header says, for `vcm info`. The error where it says nothing that can be read."""
    try:
        index = ClipIndex.parse(header)
        masks, coded = 0, 0
        for number in range(len(index.coded)):
            chapter = index.chapter(number)
            masks += sum(bool(record.groups) for record in chapter.records)
            coded += sum(len(record.mask) for record in chapter.records)
    except StreamError as error:
        return {"index": str(error)}
    codes = sorted({code / 16 for code in index.about.codes})
    return {
        "quality": codes[0] if len(codes) == 1 else f"{codes[0]:g} to {codes[-1]:g}", "groups": len(index.about.names),
        "grid_px": index.about.grid, "tile_px": index.about.tile, "chapters": index.starts[:-1].tolist(),
        "masks": masks, "mask_bytes": coded, "index_bytes": sum(len(records) for _, _, records in index.coded),
    }  # fmt: skip


def section_names(header: Header) -> list[str]:
    """What each section holds. Empty where the index is damaged."""
    try:
        index = ClipIndex.parse(header)
        return [f"frame {frame}: {index.about.titled(sent.group)}{'' if sent.whole else ', what changed'}"
                for _, frame, sent in index.sent()]  # fmt: skip
    except StreamError:
        return []


def extract(stream: Stream, words: Any) -> bytes:
    """The file with these groups (names or numbers), the sections of others empty; nothing is decoded."""
    index = check(stream)
    kept, lengths = set(chosen(index.about, words)), stream.lengths
    here = {sent.group for section, _, sent in index.sent() if lengths[section]}
    if gone := [index.about.titled(i) for i in sorted(kept - here)]:
        raise ValueError(f"{', '.join(gone)}: not in this file, it was cut away before")
    sections = (stream.section(section) if sent.group in kept else b"" for section, _, sent in index.sent())
    return write(stream.header, sections)
