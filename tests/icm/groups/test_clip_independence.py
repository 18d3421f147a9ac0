"""Over a whole clip, no byte and no pixel of a group depends on another: dropped, garbled, replaced, or locked."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest

from icm.bitstream import StreamError, read, write
from icm.codecs.groups.codec import GroupsCodec
from icm.groups import clips
from icm.groups.mask import BACKGROUND
from tests.icm.groups.moving import Clip, coded, moving, of_name

NAMES = (BACKGROUND, "person", "car")


@pytest.fixture(scope="module")
def clip() -> Clip:
    return moving(1)


@pytest.fixture(scope="module")
def data(codec: GroupsCodec, clip: Clip) -> bytes:
    return coded(codec, clip)


@pytest.fixture(scope="module")
def frames(codec: GroupsCodec, data: bytes) -> list[np.ndarray]:
    return [frame for frame, _ in codec.decode_clip(data)]


def changed(data: bytes, hit: Callable[[str, int], bool], rng: np.random.Generator, sealed: bool) -> bytes:
    """The file with noise in the sections of which (group, frame) is hit. sealed: with checksums that fit the noise."""
    with read(data) as stream:
        index = clips.check(stream)
        names = [(index.about.names[sent.group], frame) for _, frame, sent in index.sent()]
        if sealed:
            sections = [rng.bytes(len(s)) if hit(*n) else s for s, n in zip(stream.sections(), names, strict=True)]
            return write(stream.header, sections)
        out = bytearray(data)
        for name, offset, length in stream.layout():
            number = name.removeprefix("section ")
            if number.isdecimal() and hit(*names[int(number)]):
                out[offset : offset + length] = rng.bytes(length)
        return bytes(out)


@pytest.mark.parametrize("kept", NAMES)
def test_every_other_group_dropped_or_garbled(
    codec: GroupsCodec, clip: Clip, data: bytes, frames: list[np.ndarray], kept: str
) -> None:
    rng = np.random.default_rng(2)
    with read(data) as stream:
        dropped = clips.extract(stream, [kept])
    assert not codec.verify(dropped)
    assert len(dropped) < len(data)
    garbled, replaced = (changed(data, lambda name, _: name != kept, rng, sealed) for sealed in (False, True))
    for file in (dropped, garbled, replaced):
        with read(file, partial=True) as stream:
            for i, (mask, whole) in enumerate(zip(clip[1], frames, strict=True)):
                own = of_name(mask, kept)
                shown, lost, approximate = codec.decode_partial(stream, i)
                assert np.array_equal(shown[own], whole[own])
                gone = np.zeros(own.shape, bool)
                for top, bottom, left, right in lost:
                    gone[top:bottom, left:right] = True
                assert not (gone & own).any()
                assert not approximate
                if file is not dropped:
                    assert (gone | own).all()
                    assert all(f"({name})" in " ".join(lost.values()) for name in set(mask.names) - {kept})
    alone = [frame for frame, _ in codec.decode_clip(dropped, groups=[kept] if kept == BACKGROUND else None)]
    for frame, whole, mask in zip(alone, frames, clip[1], strict=True):
        own = of_name(mask, kept)
        assert np.array_equal(frame[own], whole[own])
        assert (frame[~own] == 128).all()


def test_bytes_do_not_depend_on_other_groups_pixels(codec: GroupsCodec, clip: Clip, data: bytes) -> None:
    """Nor which of its tiles are sent, and when."""
    rng = np.random.default_rng(3)
    for kept in NAMES:
        pictures = [np.where(of_name(mask, kept)[..., None], picture, rng.integers(0, 256, picture.shape, np.uint8))
                    for picture, mask in zip(*clip, strict=True)]  # fmt: skip
        found = []
        for file in (data, coded(codec, (pictures, clip[1]))):
            with read(file) as stream:
                index = clips.check(stream)
                found.append([(frame, sent, stream.section(i)) for i, frame, sent in index.sent()
                              if index.about.names[sent.group] == kept])  # fmt: skip
        assert found[0] == found[1]


def test_locked(codec: GroupsCodec, clip: Clip, frames: list[np.ndarray]) -> None:
    pytest.importorskip("cryptography")
    rng, one, two = np.random.default_rng(4), os.urandom(32), os.urandom(32)
    data = coded(codec, clip, locks=[(["person", "bike"], one), (["car"], two)])
    for keys, shown in (([], [BACKGROUND]), ([one], [BACKGROUND, "person"]), ([two, one], list(NAMES))):
        assert not codec.verify(data, keys)
        assert len(codec.missing(data, keys=keys)) == 3 - len(shown)
        for (frame, _), whole, mask in zip(codec.decode_clip(data, keys=keys), frames, clip[1], strict=True):
            own = np.logical_or.reduce([of_name(mask, name) for name in shown])
            assert np.array_equal(frame[own], whole[own])
            assert (frame[~own] == 128).all()
    with pytest.raises(ValueError, match="key 1 opens none of the locked groups"):
        next(codec.decode_clip(data, keys=[os.urandom(32)]))
    with pytest.raises(ValueError, match=r"\(person\): locked; --key-file names its key"):
        next(codec.decode_clip(data, groups=["person"]))
    broken = changed(data, lambda name, _: name != "person", rng, sealed=False)
    with read(broken, partial=True) as stream:
        for i, (mask, whole) in enumerate(zip(clip[1], frames, strict=True)):
            own = of_name(mask, "person")
            assert np.array_equal(codec.decode_partial(stream, i, groups=["person"], keys=[one])[0][own], whole[own])
    with pytest.raises(ValueError, match="car: is to be locked twice"):
        coded(codec, clip, locks=[(["car"], one), (["car"], two)])


def test_a_locked_section_is_bound_to_its_place(codec: GroupsCodec, clip: Clip) -> None:
    """Moved to another number, or under other masks, it does not open."""
    pytest.importorskip("cryptography")
    key = os.urandom(32)
    data = coded(codec, clip, locks=[(["person"], key)])
    with read(data) as stream:
        index, sections = clips.check(stream), list(stream.sections())
        number = {name: i for i, name in enumerate(index.about.names)}["person"]
        own = [i for i, _, sent in index.sent() if sent.group == number]
        swapped = list(sections)
        swapped[own[1]], swapped[own[2]] = sections[own[2]], sections[own[1]]
        moved = write(stream.header, swapped)
    assert len(codec.verify(moved, [key])) == 2
    with pytest.raises(StreamError, match=r"the bytes were changed \(frame 1, group \d \(person\)\)"):
        list(codec.decode_clip(moved, keys=[key]))


def test_a_lost_section_is_lost_until_it_is_sent_again(
    codec: GroupsCodec, clip: Clip, data: bytes, frames: list[np.ndarray]
) -> None:
    rng = np.random.default_rng(5)
    hit = ("person", 2), ("car", 2), (BACKGROUND, 3)
    broken = changed(data, lambda *which: which in hit, rng, sealed=False)
    with pytest.raises(StreamError, match=r"does not match its CRC32C \(frame 2, group \d \((car|person)\)\)"):
        list(codec.decode_clip(broken))
    assert len(list(codec.decode_clip(broken, 0, 2))) == 2
    with read(broken, partial=True) as stream:
        assert len(codec.verify(broken)) == 4  # three sections and the file
        for i, (mask, whole) in enumerate(zip(clip[1], frames, strict=True)):
            shown, lost, approximate = codec.decode_partial(stream, i)
            where = np.zeros((2, *whole.shape[:2]), bool)
            for kind, windows in enumerate((lost, approximate)):
                for top, bottom, left, right in windows:
                    where[kind, top:bottom, left:right] = True
            exact = ~where.any(0)
            assert np.array_equal(shown[exact], whole[exact])  # nothing else differs
            assert (shown[where[0]] == 128).all()
            assert bool((where[0] & of_name(mask, "person")).any()) == (i == 2)
            assert bool((where[0] & of_name(mask, "car")).any()) == (i >= 2)
            assert bool((where[0] & of_name(mask, BACKGROUND)).any()) == (i >= 3)
            assert bool(exact.all()) == (i < 2)
            for name in ("car", "person"):
                whole_again = not where[0][of_name(mask, name)].any()
                assert whole_again == exact[of_name(mask, name)].all()


def test_damaged_files(codec: GroupsCodec, data: bytes, frames: list[np.ndarray]) -> None:
    """Bits flipped anywhere, truncation, flips under checksums that fit: refused, or what is shown is right."""
    rng = np.random.default_rng(6)
    refused = 0
    for i in range(45):
        if i % 3 == 0:
            broken = data[: int(rng.integers(len(data)))]
        elif i % 3 == 1:
            out = bytearray(data)
            out[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
            broken = bytes(out)
        else:
            with read(data) as stream:
                sections = list(stream.sections())
                hit = int(rng.integers(len(sections)))
                flipped = bytearray(sections[hit])
                flipped[int(rng.integers(len(flipped)))] ^= 1 << int(rng.integers(8))
                broken = write(stream.header, [*sections[:hit], bytes(flipped), *sections[hit + 1 :]])
        try:
            with read(broken, partial=True) as stream:
                frame = int(rng.integers(6))
                shown, lost, approximate = codec.decode_partial(stream, frame)
        except StreamError:
            refused += 1
            continue
        right = np.ones(shown.shape[:2], bool)
        for top, bottom, left, right_edge in [*lost, *approximate]:
            right[top:bottom, left:right_edge] = False
        assert np.array_equal(shown[right], frames[frame][right])
    assert 0 < refused < 45
