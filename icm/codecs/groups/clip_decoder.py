"""Frames of a clip of groups, in any order; going forward costs only what is new. Normative: icm/groups/clips.md.

    frame ─▶ its mask ─▶ of each group in it: sections since the chapter began, or since one that replaces all ─▶ held
    held cells that the mask gives to the group ─▶ picture; all other cells are filled

The states of groups never meet: what a group shows follows from the header and from its own sections.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from icm.bitstream import Decoder, Stream, StreamError
from icm.codecs.groups.coding import PartCoder, joined, parts
from icm.codecs.groups.held import HeldGroup
from icm.codecs.groups.shown import CUT_AWAY, LOCKED, OTHER_KEY, Window, runs
from icm.codecs.groups.transforms import STRIDE
from icm.groups import lock
from icm.groups.clip_index import ClipIndex, Sent
from icm.groups.fill import FILLS, GREY, filled
from icm.groups.header import chosen
from icm.groups.mask import BACKGROUND


@dataclasses.dataclass
class ClipFrame:
    """picture: (H, W, 3) uint8, or (H, W, 4). missing: {number: why}, of groups in this frame that were asked for.
    lost: {window: what is wrong}, of damaged sections. approximate: windows of groups that lack some cells."""

    picture: np.ndarray
    missing: dict[int, str]
    lost: dict[Window, str]
    approximate: list[Window]


class _State:
    """A group so far. at: the last frame taken in. lost: cells of damaged sections, whose error is the last; away: of
    those that are not here, or locked."""

    def __init__(self, held: HeldGroup) -> None:
        self.held, self.at = held, -1
        self.lost, self.away = np.zeros_like(held.where), np.zeros_like(held.where)
        self.error: StreamError | None = None

    def clear(self) -> None:
        self.held.clear()
        self.lost[:], self.away[:], self.error = False, False, None


class ClipDecoder:
    """groups: names and numbers (default: all that are here and open); fill: of missing ones; keys: of locked ones.

    It keeps no hold of the stream. ValueError for a group, fill or key that cannot be had."""

    def __init__(
        self, stream: Stream, coder: PartCoder, index: ClipIndex, groups: Sequence[str | int] | None = None,
        fill: str = "grey", keys: Sequence[bytes] = (),
    ) -> None:  # fmt: skip
        if fill not in FILLS:
            raise ValueError(f"missing groups are {', '.join(FILLS)}, not {fill!r}")
        self.coder, self.index, self.fill, about = coder, index, fill, index.about
        self.wanted = set(range(len(about.names)) if groups is None else chosen(about, groups))
        self.locks = Locks(stream, index, keys)
        self.missing = {i: why for i in sorted(self.wanted) if (why := self.locks.why_missing(i))}
        if groups is not None and self.missing:
            number, why = next(iter(self.missing.items()))
            raise ValueError(f"{about.titled(number)}: {why}")
        self.background = next((i for i, name in enumerate(about.names) if name == BACKGROUND), None)
        if fill == "background" and (self.background is None or self.locks.why_missing(self.background)):
            raise ValueError("no background to fill missing groups with; choose another --fill")
        self._states: dict[int, _State] = {}
        self._chapter, self._sent = -1, dict[int, list[tuple[int, int, Sent]]]()

    def frame(self, stream: Stream, frame: int, strict: bool = False) -> ClipFrame:
        """One frame as far as it is here, open, and intact. strict: StreamError where something of it is damaged."""
        index = self.index
        height, width = index.height, index.width
        cells = np.full((*index.shape, STRIDE, STRIDE, 3), GREY, np.uint8)
        out = ClipFrame(cells, {}, {}, [])
        try:
            mask, here = index.mask(frame), np.zeros(index.shape, bool)
            for group in sorted({int(i) for i in np.unique(mask)} & self.wanted):
                state, own = self._state(stream, group, frame), mask == group
                if strict and state.error is not None:
                    raise state.error
                seen = own & state.held.where
                if seen.any():
                    cells[seen] = state.held.pixels()[seen]
                    here |= seen
                if (own & ~seen & ~state.lost).any():
                    out.missing[group] = self.locks.why_missing(group) or CUT_AWAY
                if state.error is not None:
                    out.lost |= dict.fromkeys(runs(own & state.lost, STRIDE, height, width), str(state.error))
                if state.lost.any() or state.away.any():
                    out.approximate += runs(seen, STRIDE, height, width)
            if self.fill == "background" and not here.all():
                assert self.background is not None
                below = self._state(stream, self.background, frame)
                if strict and below.error is not None:
                    raise below.error
                out.lost |= dict.fromkeys(runs(~here & below.lost, STRIDE, height, width), str(below.error))
                seen = ~here & below.held.where
                if below.lost.any() or below.away.any():
                    out.approximate += runs(seen, STRIDE, height, width)
                if seen.any():
                    cells[seen] = below.held.pixels()[seen]
                    here |= seen
        except StreamError as error:
            if strict:
                raise
            grey = np.full((height, width, 3), GREY, np.uint8)
            return ClipFrame(grey, {}, {(0, height, 0, width): f"{error} (frame {frame})"}, [])
        absent = ~here.repeat(STRIDE, 0).repeat(STRIDE, 1)[:height, :width]
        fill = "grey" if self.fill == "background" else self.fill
        out.picture = filled(joined(cells)[:height, :width], absent, fill)
        return out

    def _state(self, stream: Stream, group: int, frame: int) -> _State:
        """A group as it is at a frame."""
        index = self.index
        chapter = index.chapter_of(frame)
        if chapter.start != self._chapter:
            self._chapter, self._sent = chapter.start, {}
            for section, at, sent in chapter.sections():
                self._sent.setdefault(sent.group, []).append((section, at, sent))
        if group not in self._states:
            about = index.about
            self._states[group] = _State(HeldGroup(self.coder, index.shape, about.codes[group], about.tile))
        state = self._states[group]
        steps = [step for step in self._sent.get(group, ()) if step[1] <= frame]
        start = max((i for i, step in enumerate(steps) if step[2].whole), default=0)
        known = chapter.start <= state.at <= frame
        if not known:
            state.clear()
        for section, at, sent in steps[start:]:
            if not known or at > state.at:
                self._take(stream, state, section, at, sent)
        state.at = frame
        return state

    def _take(self, stream: Stream, state: _State, section: int, frame: int, sent: Sent) -> None:
        """One section into the state of its group; nothing is changed by one with a wrong symbol but what it loses."""
        if sent.whole:
            state.clear()
        cells = self.index.cells(frame, sent)
        state.held.drop(cells)
        state.lost &= ~cells
        state.away &= ~cells
        try:
            payload = self.locks.payload(stream, section, sent.group)
            if payload is None:
                state.away |= cells
            else:
                decoder, y_hat = Decoder(payload), []
                for layout, _, _ in parts(cells, self.index.about.tile):
                    y_hat.append(self.coder.walk(decoder, layout, self.index.about.codes[sent.group]))
                decoder.finish()
                state.held.put(cells, y_hat)
        except StreamError as error:
            state.lost |= cells
            state.error = type(error)(f"{error} (frame {frame}, {self.index.about.titled(sent.group)})")
        if not state.lost.any():
            state.error = None

    def problems(self, stream: Stream) -> Iterator[str]:
        """Everything wrong with the symbols of the file; locked groups to which there is no key by checksum alone."""
        about = self.index.about
        for section, frame, sent in self.index.sent():
            try:
                payload = self.locks.payload(stream, section, sent.group)
                if payload is not None:
                    decoder = Decoder(payload)
                    for layout, _, _ in parts(self.index.cells(frame, sent), about.tile):
                        self.coder.walk(decoder, layout, about.codes[sent.group])
                    decoder.finish()
            except StreamError as error:
                yield f"frame {frame}, {about.titled(sent.group)}: {error}"


class Locks:
    """Which groups of a file can be had, by which key. ValueError where a key opens nothing while something stays
    locked."""

    def __init__(self, stream: Stream, index: ClipIndex, keys: Sequence[bytes]) -> None:
        self.about, self.head = index.about, lock.head_of(stream.header, len(stream))
        self.why: dict[int, str] = dict.fromkeys(range(len(index.about.names)), CUT_AWAY)
        self.key: dict[int, bytes] = {}
        lengths, opened, unread = stream.lengths, set[int](), set[int]()
        for section, _, sent in index.sent():
            if CUT_AWAY not in self.why.values():
                break  # most files need not be gone through
            if not lengths[section] or self.why.get(sent.group) != CUT_AWAY:
                continue
            if not self.about.locked[sent.group]:
                del self.why[sent.group]
                continue
            if not self._try(stream, section, sent.group, keys, opened):
                unread.add(sent.group)
        for group in unread:
            if self.why.get(group) == CUT_AWAY:
                del self.why[group]  # it is here, and all of it is damaged
        if OTHER_KEY in self.why.values() and len(opened) < len(keys):
            wrong = next(i for i in range(len(keys)) if i not in opened)
            raise ValueError(f"key {wrong + 1} opens none of the locked groups: it is a wrong key, or the file was "
                             "changed")  # fmt: skip

    def _try(self, stream: Stream, section: int, group: int, keys: Sequence[bytes], opened: set[int]) -> bool:
        """By its first section that is intact; False where this one is not."""
        try:
            data = stream.section(section)
        except StreamError:
            return False
        for number, key in enumerate(keys):
            try:
                lock.unlock(data, key, lock.associated_of_clip(self.head, section))
            except lock.WrongKey:
                continue
            self.key[group] = key
            opened.add(number)
            del self.why[group]
            return True
        self.why[group] = OTHER_KEY if keys else LOCKED
        return True

    def why_missing(self, group: int) -> str | None:
        """None where a group is here and open."""
        return self.why.get(group)

    def payload(self, stream: Stream, section: int, group: int) -> bytes | None:
        """What a section holds; None where it is not here, or locked. StreamError where it is damaged."""
        data = stream.section(section)
        if not data or group in self.why:
            return None
        if not self.about.locked[group]:
            return data
        try:
            return lock.unlock(data, self.key[group], lock.associated_of_clip(self.head, section))
        except lock.WrongKey as error:
            raise StreamError(f"damaged: {error}") from None
