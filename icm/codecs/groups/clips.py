"""Clips of groups to .vcm bytes and back: the file around ClipEncoder and ClipDecoder. Format: icm/groups/clips.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from icm.bitstream import GROUPS_OF_FRAMES, Header, Stream, Times, write
from icm.codecs.groups.clip_decoder import ClipDecoder
from icm.codecs.groups.clip_encoder import ClipEncoder
from icm.codecs.groups.memory import decode_memory, enough, held_memory
from icm.codecs.picture import check
from icm.groups import GroupMask, clips, lock
from icm.groups.clip_index import CELL, ClipIndex
from icm.groups.header import GroupsHeader
from icm.groups.mask import grid_shape
from icm.quality import to_code

if TYPE_CHECKING:
    from icm.codecs.groups.codec import GroupsCodec

REFRESH = 512  # frames of a chapter: what decoding in the middle may have to go through, and damage may last


def encode_clip(
    codec: GroupsCodec, frames: Iterable[tuple[np.ndarray, int]], base: Fraction, colour: str,
    masks: Callable[[int, np.ndarray], GroupMask] | None, qualities: Mapping[str, float],
    locks: Sequence[tuple[Sequence[str], bytes]],
) -> bytes:  # fmt: skip
    """See GroupsCodec.encode_clip."""
    keys: dict[str, bytes] = {}
    for names, key in locks:
        lock.cipher(key)  # before any work
        for name in names:
            if name in keys:
                raise ValueError(f"{name}: is to be locked twice")
            keys[name] = key
    codes = {name: to_code(quality) for name, quality in qualities.items()}
    encoder = ClipEncoder(codec.coder, codes, codec.code, codec.tile, codec.refresh, frozenset(keys))
    ticks, size = list[int](), (0, 0)
    for number, (frame, tick) in enumerate(frames):
        check(frame)
        size = size if number else (frame.shape[0], frame.shape[1])
        if frame.shape[:2] != size:
            raise ValueError(f"frame {number} is {frame.shape[1]}x{frame.shape[0]}, the first was {size[1]}x{size[0]}; "
                             "cut the clip there")  # fmt: skip
        mask = masks(number, frame) if masks else _one_group(*size)
        if (mask.height, mask.width) != size:
            raise ValueError(f"frame {number} has a mask of {mask.width}x{mask.height}, and {size[1]}x{size[0]} pixels")
        encoder.add(frame, mask)
        ticks.append(int(tick))
    if not ticks:
        raise ValueError("the clip has no frames")
    names = tuple(encoder.names)
    about = GroupsHeader(names, tuple(codes.get(name, codec.code) for name in names),
                         tuple(name in keys for name in names), encoder.grid, codec.tile)  # fmt: skip
    settings = codec.coder.model.settings
    memory = decode_memory(*size, codec.tile, settings) + held_memory(*size, len(names), settings)
    header = Header("clip", size[1], size[0], "groups", codec.coder.release.short_hash,
                    ClipIndex(*size, about, encoder.coded_chapters()).to_bytes(), memory, Times.of(ticks, base), colour,
                    GROUPS_OF_FRAMES)  # fmt: skip
    return write(header, _locked(header, encoder.payloads, names, keys))


def _one_group(height: int, width: int) -> GroupMask:
    """Cells as small as there are, so that tiles of what changed are, too."""
    return GroupMask(np.zeros(grid_shape(height, width, CELL), np.uint8), ("all",), height, width)


def _locked(
    header: Header, payloads: list[tuple[int, bytes]], names: Sequence[str], keys: Mapping[str, bytes]
) -> list[bytes]:
    """The sections. Only now is there a header for locks to be bound to."""
    head, sections = lock.head_of(header, len(payloads)), []
    for number, (group, payload) in enumerate(payloads):
        if names[group] in keys:
            payload = lock.lock(payload, keys[names[group]], lock.associated_of_clip(head, number))
        sections.append(payload)
    return sections


def open_clip(
    codec: GroupsCodec, stream: Stream, groups: Sequence[str | int] | None, fill: str, keys: Sequence[bytes]
) -> ClipDecoder:
    """A decoder for an open stream. StreamError, or ValueError for what cannot be had."""
    index, header = clips.check(stream), stream.header
    coder = codec.coder_for(header)
    settings: dict[str, Any] = coder.model.settings
    needed = decode_memory(header.height, header.width, index.about.tile, settings)
    enough(header, needed + held_memory(header.height, header.width, len(index.about.names), settings))
    return ClipDecoder(stream, coder, index, groups, fill, keys)


def clip_problems(codec: GroupsCodec, stream: Stream, keys: Sequence[bytes]) -> list[str]:
    """Everything that is wrong with a clip, found without making pictures."""
    if problems := stream.verify():
        return problems
    return list(open_clip(codec, stream, None, "grey", keys).problems(stream))
