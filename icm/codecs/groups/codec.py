"""Pictures of groups to .vcm bytes and back: mask, then every group by itself. Format: icm/groups/README.md.

    picture, GroupMask ─▶ cells of each group ─▶ parts (1024-px tiles) ─▶ one coder a group ─▶ one section a group
    file ─▶ mask ─▶ the groups that are asked for, here, and open ─▶ picture; the others are filled
"""

from __future__ import annotations

import dataclasses
import functools
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from icm.bitstream import Decoder, Encoder, Header, OtherWeights, Stream, StreamError, read, write
from icm.codecs.groups.clip_decoder import ClipDecoder
from icm.codecs.groups.clips import REFRESH, clip_problems, encode_clip, open_clip
from icm.codecs.groups.coding import PartCoder, cut, joined, parts
from icm.codecs.groups.memory import decode_memory, enough
from icm.codecs.groups.shown import CUT_AWAY, LOCKED, OTHER_KEY, Decoded, Window, lost_windows
from icm.codecs.groups.transforms import STRIDE
from icm.codecs.picture import check
from icm.codecs.release import Release, find, shipped_with
from icm.groups import GroupMask, lock, one_group
from icm.groups import stream as streams
from icm.groups.clips import is_clip
from icm.groups.coding import encode_mask
from icm.groups.fill import FILLS, base_picture, filled
from icm.groups.header import GroupsHeader, chosen
from icm.quality import HIGHEST, LOWEST, STEPS, to_code

TILE = 1024
DEFAULT_QUALITY = 30.0
BASE_FACTOR = 4
_open_clips: weakref.WeakKeyDictionary[Stream, tuple[Any, Any, ClipDecoder]] = weakref.WeakKeyDictionary()


@functools.lru_cache(maxsize=4)
def coder_of(weights: str) -> PartCoder:
    """Weights by name or path, loaded once a process."""
    try:
        path = find(weights)
    except ValueError as error:
        if weights != "groups":
            raise
        raise ValueError(f"{error}; `vcm train pipelines/configs/groups-small.yaml` makes them, --weights names them"
                         ) from None  # fmt: skip
    release = Release.load(path)
    if release.arch != "groups":
        raise ValueError(f"{weights}: are weights of {release.arch}, not of groups")
    coder: PartCoder = release.picture_coder()
    return coder


class GroupsCodec:
    """`groups`: quality 1…100 in sixteenths; weights: a name or a path; tile: pixels, 2^n from 128. refresh: of clips,
    everything is sent at least every so many frames; 1: every frame whole."""

    suffix = ".vcm"
    quality_range = (LOWEST, HIGHEST, 1 / STEPS)

    def __init__(
        self, name: str, quality: float | None = None, weights: str | os.PathLike[str] | None = None, tile: int = TILE,
        refresh: int = REFRESH,
    ) -> None:  # fmt: skip
        self.name = name
        self.code = to_code(DEFAULT_QUALITY if quality is None else float(quality))
        self.quality = self.code / STEPS  # what the stream will say
        if refresh < 1:
            raise ValueError(f"a clip is refreshed every 1 or more frames, not {refresh}")
        self.refresh = refresh
        self.tile, self.weights, self.named = tile, str(weights or name), weights is not None
        self.coder = coder_of(self.weights)

    # --- encoding ---------------------------------------------------------------------------------------------------
    def encode(
        self,
        picture: np.ndarray,
        groups: GroupMask | None = None,
        qualities: Mapping[str, float] | None = None,
        locks: Sequence[tuple[Sequence[str], bytes]] = (),
        base: float | None = None,
    ) -> bytes:
        """(H, W, 3) uint8 RGB → a whole .vcm file.

        groups: the mask (default: one group). qualities: of groups by name, instead of the codec's. locks: (names or
        numbers of groups, 32-byte key), each group at most once. base: the quality of a picture of a quarter of the
        size that fills missing groups; locked groups are blank in it.
        """
        check(picture)
        height, width = picture.shape[:2]
        mask = groups or one_group(height, width)
        if (mask.height, mask.width) != (height, width):
            raise ValueError(f"a mask of {mask.width}x{mask.height} is of another picture than one of {width}x{height}")
        given = {name: to_code(quality) for name, quality in (qualities or {}).items()}
        codes = tuple(given.get(name, self.code) for name in mask.names)
        based = (BASE_FACTOR, to_code(base)) if base is not None else None
        plain = GroupsHeader(mask.names, codes, (False,) * mask.count, mask.grid, self.tile, based)
        keys = _keys(plain, locks)
        about = dataclasses.replace(plain, locked=tuple(i in keys for i in range(mask.count)))
        header = Header("groups", width, height, "groups", self.coder.release.short_hash, about.to_bytes(),
                        decode_memory(height, width, self.tile, self.coder.model.settings))  # fmt: skip
        cells, latent = cut(picture), mask.latent()
        sections = [encode_mask(mask.ids, mask.count)]
        for i in range(mask.count):
            payload = self._encode_group(cells, latent == i, codes[i])
            if i in keys:
                payload = lock.lock(payload, keys[i], lock.associated(header, about.sections, sections[0], i + 1))
            sections.append(payload)
        if based:
            small = base_picture(picture, np.isin(mask.pixels(), list(keys)), BASE_FACTOR)
            cells = cut(small)
            sections.append(self._encode_group(cells, np.ones(cells.shape[:2], bool), based[1]))
        return write(header, sections)

    def _encode_group(self, cells: np.ndarray, where: np.ndarray, code: int) -> bytes:
        encoder = Encoder()
        for layout, rows, cols in parts(where, self.tile):
            y = self.coder.analyse(cells[rows, cols], layout, code)
            self.coder.walk(encoder, layout, code, y)
        return encoder.finish()

    def encode_clip(
        self,
        frames: Iterable[tuple[np.ndarray, int]],
        base: Fraction,
        colour: str = "srgb",
        masks: Callable[[int, np.ndarray], GroupMask] | None = None,
        qualities: Mapping[str, float] | None = None,
        locks: Sequence[tuple[Sequence[str], bytes]] = (),
    ) -> bytes:
        """(frame, presentation tick) in order, all of one size; base: seconds a tick. Only payloads stay in memory.

        masks: (number of the frame, frame) → its groups (default: one group). qualities, locks: by name, as `encode`
        has them. The background is kept where others cover it, and of what stays only what changed is sent.
        """
        return encode_clip(self, frames, base, colour, masks, qualities or {}, locks)

    # --- decoding ---------------------------------------------------------------------------------------------------
    def decode(
        self, data: Any, groups: Sequence[str | int] | None = None, fill: str = "grey", keys: Sequence[bytes] = ()
    ) -> np.ndarray:
        """A structured stream (bytes or path) → (H, W, 3) uint8 RGB, (H, W, 4) RGBA with fill "transparent"; else as
        `decode_whole`."""
        return self.decode_whole(data, groups, fill, keys).picture

    def decode_whole(
        self, data: Any, groups: Sequence[str | int] | None = None, fill: str = "grey", keys: Sequence[bytes] = ()
    ) -> Decoded:
        """A structured stream (bytes or path), every byte of which must be right.

        groups: names and numbers (default: all that are here and open). fill: what missing groups are. keys: of locked
        ones. StreamError where a byte is wrong, naming the group; ValueError for a group that cannot be had.
        """
        with read(data, partial=True) as stream:
            if problems := self._container_problems(stream):
                raise StreamError(problems[0])
            return self.decode_groups(stream, groups, fill, keys, strict=True)

    def decode_partial(
        self, stream: Stream, frame: int = 0, groups: Sequence[str | int] | None = None, fill: str = "grey",
        keys: Sequence[bytes] = (),
    ) -> tuple[np.ndarray, dict[Window, str], list[Window]]:  # fmt: skip
        """The groups that are intact → (picture, lost, approximate): {window of cells of a damaged group: reason}.

        Groups are independent, so of a picture nothing is approximate; of a clip, what is left of a group that lost
        some of its cells.
        """
        if is_clip(stream.header):
            shown = self._clip(stream, groups, fill, keys).frame(stream, frame)
            return shown.picture, shown.lost, shown.approximate
        found = self.decode_groups(stream, groups, fill, keys)
        return found.picture, lost_windows(found), []

    def decode_clip(
        self, data: Any, start: int = 0, stop: int | None = None, groups: Sequence[str | int] | None = None,
        fill: str = "grey", keys: Sequence[bytes] = (),
    ) -> Iterator[tuple[np.ndarray, int]]:  # fmt: skip
        """Frames [start, stop) of a clip with their ticks, as `decode` has pictures; only their bytes are read."""
        with read(data) as stream:
            clip, header = self._clip(stream, groups, fill, keys), stream.header
            ticks = header.times.ticks if header.times else [0]
            for frame in range(start, header.frames if stop is None else min(stop, header.frames)):
                yield clip.frame(stream, frame, strict=True).picture, int(ticks[frame])

    def missing(
        self, data: Any, groups: Sequence[str | int] | None = None, keys: Sequence[bytes] = ()
    ) -> dict[str, str]:
        """{group of a clip: why it cannot be had}, of those that are asked for (default: all)."""
        with read(data, partial=True) as stream:
            clip = self._clip(stream, groups, "grey", keys)
            return {clip.index.about.titled(i): why for i, why in clip.missing.items()}

    def _clip(
        self, stream: Stream, groups: Sequence[str | int] | None, fill: str, keys: Sequence[bytes]
    ) -> ClipDecoder:
        """What stands where it was left in this stream."""
        asked, known = (tuple(groups) if groups is not None else None, fill, tuple(keys)), _open_clips.get(stream)
        if known is None or known[0] != asked or known[1] is not self:
            known = _open_clips[stream] = (asked, self, open_clip(self, stream, groups, fill, keys))
        return known[2]

    def decode_groups(
        self, stream: Stream, groups: Sequence[str | int] | None = None, fill: str = "grey",
        keys: Sequence[bytes] = (), strict: bool = False,
    ) -> Decoded:  # fmt: skip
        """An open stream as far as it is intact, here, and open. strict: damage is an error (StreamError)."""
        if fill not in FILLS:
            raise ValueError(f"missing groups are {', '.join(FILLS)}, not {fill!r}")
        coder, about = self._parameters(stream)
        wanted = set(range(len(about.names)) if groups is None else chosen(about, groups))
        header = stream.header
        cells = np.full((-(-header.height // STRIDE), -(-header.width // STRIDE), STRIDE, STRIDE, 3), 128, np.uint8)
        try:
            mask = streams.read_mask(stream, about)
        except StreamError as error:
            if strict:
                raise
            grey = np.full((header.height, header.width, 3), 128, np.uint8)
            return Decoded(grey, [], {}, dict.fromkeys(range(len(about.names)), str(error)), None)
        latent, opened = mask.latent(), set[int]()
        out = Decoded(cells, [], {}, {}, mask)
        for i in range(len(about.names)):
            if i not in wanted:
                out.missing[i] = "not asked for"
                continue
            try:
                payload = stream.section(i + 1)
                why = self._why_missing(stream, about, i, payload, keys, opened)
                if isinstance(why, str):
                    out.missing[i] = why
                    if groups is not None:
                        raise ValueError(f"{about.titled(i)}: {why}")
                    continue
                self._decode_group(coder, cells, latent == i, about.codes[i], about.tile, why)
                out.shown.append(i)
            except StreamError as error:
                if strict:
                    raise type(error)(f"{about.titled(i)}: {error}; --partial decodes the others") from None
                out.lost[i] = f"{about.titled(i)}: {error}"
        _all_fit(keys, opened, list(out.missing.values()))
        absent = ~np.isin(latent, out.shown)
        base = None
        if fill == "background" and (out.missing or out.lost):
            base = self._base(stream, about, coder)
        out.picture = filled(joined(cells)[: header.height, : header.width],
                             absent.repeat(STRIDE, 0).repeat(STRIDE, 1)[: header.height, : header.width], fill, base)
        return out

    def _why_missing(
        self, stream: Stream, about: GroupsHeader, i: int, section: bytes, keys: Sequence[bytes], opened: set[int]
    ) -> str | bytes:
        """The payload of a group, or why it cannot be had."""
        if not section:
            return CUT_AWAY
        if not about.locked[i]:
            return section
        data = lock.associated(stream.header, len(stream), stream.section(0), i + 1)
        for number, key in enumerate(keys):
            try:
                payload = lock.unlock(section, key, data)
            except lock.WrongKey:
                continue
            opened.add(number)
            return payload
        return OTHER_KEY if keys else LOCKED

    @staticmethod
    def _decode_group(
        coder: PartCoder, cells: np.ndarray, where: np.ndarray, code: int, tile: int, payload: bytes
    ) -> None:
        """Pixels of a group into its cells; nothing is written unless every symbol is right."""
        decoder = Decoder(payload)
        found = [(layout, rows, cols, coder.walk(decoder, layout, code)) for layout, rows, cols in parts(where, tile)]
        decoder.finish()
        for layout, rows, cols, y_hat in found:
            cells[rows, cols] = coder.synthesise(y_hat, layout, code)

    def _base(self, stream: Stream, about: GroupsHeader, coder: PartCoder) -> np.ndarray | None:
        """The base, reduced, or None where there is none."""
        if about.base is None or not stream.lengths[-1]:
            return None
        factor, code = about.base
        height, width = (-(-side // factor) for side in (stream.header.height, stream.header.width))
        cells = np.zeros((-(-height // STRIDE), -(-width // STRIDE), STRIDE, STRIDE, 3), np.uint8)
        try:
            section = stream.section(len(stream) - 1)
            self._decode_group(coder, cells, np.ones(cells.shape[:2], bool), code, about.tile, section)
        except StreamError as error:
            raise type(error)(f"the base: {error}; choose another --fill") from None
        return joined(cells)[:height, :width]

    def verify(self, data: Any, keys: Sequence[bytes] = ()) -> list[str]:
        """Everything wrong with a file, without making pictures; locked groups to which there is no key by checksum."""
        with read(data, partial=True) as stream:
            if is_clip(stream.header):
                return clip_problems(self, stream, keys)
            if problems := self._container_problems(stream):
                return problems
            coder, about = self._parameters(stream)
            try:
                latent = streams.read_mask(stream, about).latent()
            except StreamError as error:
                return [str(error)]
            opened, why = set[int](), []
            for i in range(len(about.names)):
                payload = self._why_missing(stream, about, i, stream.section(i + 1), keys, opened)
                if isinstance(payload, str):
                    why.append(payload)
                else:
                    problems += self._symbol_problems(coder, about, i, latent == i, about.codes[i], payload)
            _all_fit(keys, opened, why)
            if about.base and stream.lengths[-1]:
                factor = about.base[0] * STRIDE
                where = np.ones((-(-stream.header.height // factor), -(-stream.header.width // factor)), bool)
                i = len(about.names)
                problems += self._symbol_problems(coder, about, i, where, about.base[1], stream.section(i + 1))
            return problems

    @staticmethod
    def _symbol_problems(
        coder: PartCoder, about: GroupsHeader, i: int, where: np.ndarray, code: int, payload: bytes
    ) -> list[str]:
        try:
            decoder = Decoder(payload)
            for layout, _, _ in parts(where, about.tile):
                coder.walk(decoder, layout, code)
            decoder.finish()
        except StreamError as error:
            return [f"{about.titled(i)}: {error}"]
        return []

    def _container_problems(self, stream: Stream) -> list[str]:
        """What the container alone can tell, sections by the names of their groups."""
        about = streams.check(stream)
        found = [f"{'the mask' if i == 0 else about.titled(i - 1)}: {why}" for i, why in stream.damaged().items()]
        more = [why for why in stream.verify() if not any(text.endswith(why) for text in found)]
        return [*found, *more]

    def _parameters(self, stream: Stream) -> tuple[PartCoder, GroupsHeader]:
        """(coder, header) of a stream of one picture."""
        about, header, coder = streams.check(stream), stream.header, self.coder_for(stream.header)
        enough(header, decode_memory(header.height, header.width, about.tile, coder.model.settings))
        return coder, about

    def coder_for(self, header: Header) -> PartCoder:
        """Unless weights were named, any shipped ones may serve. OtherWeights."""
        coder = self.coder
        if header.weights != coder.release.short_hash and not self.named and (path := shipped_with(header.weights)):
            coder = coder_of(str(path))
        if header.weights != coder.release.short_hash:
            raise OtherWeights(
                f"made with weights {header.weights.hex()} of {header.model}, "
                f"but {self.weights} is {coder.release.short_hash.hex()}; name the right weights with --weights"
            )
        return coder


def _keys(about: GroupsHeader, locks: Sequence[tuple[Sequence[str], bytes]]) -> dict[int, bytes]:
    """{group: key}. A name that no group of this picture has locks nothing."""
    keys: dict[int, bytes] = {}
    for words, key in locks:
        for i in chosen(about, [word for word in words if word.isdecimal() or word in about.names]):
            if i in keys:
                raise ValueError(f"{about.titled(i)}: is to be locked twice")
            keys[i] = key
    return keys


def _all_fit(keys: Sequence[bytes], opened: set[int], missing: Sequence[str]) -> None:
    """ValueError where a key opens nothing though something stays locked."""
    for number in range(len(keys)):
        if number not in opened and OTHER_KEY in missing:
            raise ValueError(f"key {number + 1} opens none of the locked groups: it is a wrong key, or "
                             "the file was changed")  # fmt: skip


def build(name: str, quality: float | None = None, **options: Any) -> GroupsCodec:
    """The codec; options: weights (name or path), tile (pixels)."""
    return GroupsCodec(name, quality, **options)
