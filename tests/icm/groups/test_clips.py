"""Clips of groups: what is sent, what is held, any frame by itself, refresh, and the index in the header."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

import icm
from icm.bitstream import StreamError, read, write
from icm.bitstream.header import FEATURES, GROUPS_OF_FRAMES
from icm.codecs.groups.clip_encoder import ClipEncoder
from icm.codecs.groups.codec import GroupsCodec
from icm.groups import clips, from_labels
from icm.groups.clip_index import ClipIndex, Record, Sent, decode_tiles, encode_tiles, expand, parse_records, reduce
from icm.groups.clip_index import record_bytes as to_bytes
from icm.groups.header import GroupsHeader
from icm.groups.mask import BACKGROUND
from tests.icm.groups.moving import Clip, coded, moving, of_name


@pytest.fixture(scope="module")
def clip() -> Clip:
    return moving()


@pytest.fixture(scope="module")
def data(codec: GroupsCodec, clip: Clip) -> bytes:
    return coded(codec, clip)


@pytest.fixture(scope="module")
def frames(codec: GroupsCodec, data: bytes) -> list[np.ndarray]:
    return [frame for frame, _ in codec.decode_clip(data)]


def test_what_is_sent(data: bytes) -> None:
    """The background once, then what changed; a person each frame; a car until it stops."""
    with read(data) as stream:
        rows = {row["name"]: row for row in clips.listing(stream)}
        sent = [(frame, one) for _, frame, one in clips.check(stream).sent()]
        lengths = stream.lengths
        assert stream.header.features == GROUPS_OF_FRAMES
        assert len(clips.section_names(stream.header)) == len(stream)
    numbers = {name: row["group"] for name, row in rows.items()}
    of = {name: [(frame, one) for frame, one in sent if one.group == number] for name, number in numbers.items()}
    assert [one.whole for _, one in of[BACKGROUND]] == [True] + [False] * (len(of[BACKGROUND]) - 1)
    assert any(frame == 3 for frame, _ in of[BACKGROUND])  # the lamp, and what the person uncovered
    assert [frame for frame, one in of["person"] if one.whole] == list(range(6))
    assert [frame for frame, one in of["car"] if one.whole] == [2]
    assert [rows[name]["frames"] for name in (BACKGROUND, "person", "car")] == [6, 6, 4]
    assert sum(row["bytes"] for row in rows.values()) == sum(lengths)
    whole = sum(n for n, (_, one) in zip(lengths, sent, strict=True) if one.group == numbers[BACKGROUND] and one.whole)
    assert rows[BACKGROUND]["bytes"] < 3 * whole  # not six times


def test_any_frame_by_itself(codec: GroupsCodec, data: bytes, frames: list[np.ndarray]) -> None:
    """Whatever was decoded before it."""
    assert all(np.array_equal(next(codec.decode_clip(data, i))[0], frame) for i, frame in enumerate(frames))
    with read(data) as stream:
        for i in (4, 1, 1, 5, 0):
            assert np.array_equal(codec.decode_partial(stream, i)[0], frames[i])
    assert [tick for _, tick in codec.decode_clip(data, 2, 5)] == [2, 3, 4]


def test_chapters_and_tiles(codec: GroupsCodec, clip: Clip) -> None:
    """Several of both: any frame by itself still; a chapter knows nothing of the one before."""
    small = GroupsCodec("groups", 30, weights=codec.weights, tile=128, refresh=4)
    data = coded(small, clip)
    frames = [frame for frame, _ in small.decode_clip(data)]
    for i in (5, 3, 4, 0):
        assert np.array_equal(next(small.decode_clip(data, i))[0], frames[i])
    with read(data) as stream:
        index, sections = clips.check(stream), list(stream.sections())
        assert index.starts.tolist() == [0, 4, 6]
        first = int(index.firsts[1])
        assert {sent.group for _, frame, sent in index.sent() if frame == 4 and sent.whole} == {0, 1, 2}
        later = write(stream.header, [b""] * first + sections[first:])
    assert all(np.array_equal(f, frames[4 + i]) for i, (f, _) in enumerate(small.decode_clip(later, 4)))
    assert (next(small.decode_clip(later))[0] == 128).all()


def test_a_frame_sent_whole_is_a_picture_of_groups(codec: GroupsCodec, clip: Clip, frames: list[np.ndarray]) -> None:
    """Same symbols and pixels as the picture's codec gives; and with refresh 1 each frame is so."""
    pictures, masks = clip
    picture = codec.decode(codec.encode(pictures[0], masks[0]))
    assert np.array_equal(frames[0], picture)
    often = GroupsCodec("groups", 30, weights=codec.weights, refresh=1)
    data = coded(often, clip)
    for i, (frame, _) in enumerate(often.decode_clip(data)):
        assert np.array_equal(frame, codec.decode(codec.encode(pictures[i], masks[i])))
    with read(data) as stream:
        assert icm.describe(stream.header)["chapters"] == list(range(6))


def test_what_a_person_uncovered(codec: GroupsCodec, clip: Clip) -> None:
    """Background that nobody saw before is sent when it is seen; what was seen is held and not sent again."""
    pictures, masks = clip
    empty = from_labels(np.zeros(pictures[0].shape[:2], np.int64))
    before = coded(codec, ([pictures[0], *pictures], [masks[0], *masks]))
    seen = coded(codec, ([pictures[5], *pictures], [empty, *masks]))
    for data, never in ((before, True), (seen, False)):
        with read(data) as stream:
            index = clips.check(stream)
            first = next(i for i, name in enumerate(index.about.names) if name == BACKGROUND)
            again = [(frame, one) for _, frame, one in index.sent() if one.group == first and not one.whole]
            held = np.zeros(index.shape, bool)
            new = 0
            for _, frame, one in index.sent():
                if one.group == first:
                    cells = index.cells(frame, one)
                    new += int((cells & ~held).sum()) if frame else 0
                    held |= cells
        assert (new > 0) is never
        assert again  # the lamp
        grounds = [of_name(mask, BACKGROUND) for mask in ([masks[0] if never else empty, *masks])]
        for (frame, _), ground in zip(codec.decode_clip(data, groups=[BACKGROUND]), grounds, strict=True):
            assert (frame[ground] != 128).any(-1).mean() > 0.99  # all of it is there


def test_one_group_and_bad_frames(codec: GroupsCodec, clip: Clip) -> None:
    pictures, masks = clip
    still = codec.encode_clip([(pictures[0], 3), (pictures[0], 4), (pictures[0], 9)], Fraction(1, 10))
    with read(still) as stream:
        assert len(stream) == 1
        assert stream.header.times is not None
        assert stream.header.times.ticks.tolist() == [3, 4, 9]
    assert len(list(codec.decode_clip(still))) == 3
    with pytest.raises(ValueError, match="frame 1 is 100x134, the first was 200x134"):
        codec.encode_clip([(pictures[0], 0), (pictures[0][:, :100], 1)], Fraction(1, 10))
    with pytest.raises(ValueError, match="no frames"):
        codec.encode_clip([], Fraction(1, 10))
    with pytest.raises(ValueError, match="has a mask of 200x134, and 150x134 pixels"):
        codec.encode_clip([(pictures[0][:, :150], 0)], Fraction(1, 10), masks=lambda *_: masks[0])
    with pytest.raises(StreamError, match="use decode_clip"):
        icm.decode(still, weights=codec.weights)


def test_more_groups_than_there_may_be(codec: GroupsCodec) -> None:
    """What comes after 62 classes is called others; classes to be locked are never among them."""
    for first in (frozenset(), frozenset({"kind 62"})):
        encoder = ClipEncoder(codec.coder, {}, codec.code, codec.tile, 100, first)
        for number in range(66):
            if first and number == 62:
                with pytest.raises(ValueError, match="more than 62 groups before kind 62, which is to be locked"):
                    encoder._number(f"kind {number}", 0)
                break
            encoder._number(f"kind {number}", 0)
        else:
            assert encoder._number(BACKGROUND, 0) == 63
            assert encoder.names[61:] == ["kind 61", "others", BACKGROUND]
            assert encoder._number("kind 70", 3) == 62


@pytest.mark.parametrize("count", [1, 8, 9, 64])
def test_records_come_back(count: int) -> None:
    last = count - 1
    records = [Record(0, tuple(range(count)), b"mask", (Sent(0, True), *([Sent(last, False, b"ab")] if last else []))),
               Record(5, (last,), b"", ()), Record(9, (), b"", (Sent(last, False),))]  # fmt: skip
    data = to_bytes(records, count)
    assert parse_records(data, count, 10) == records
    for broken in (data[:-1], data + b"\0", b"\1" + data[1:]):
        with pytest.raises(StreamError):
            parse_records(broken, count, 10)
    for wrong in (
        [Record(0, (), b"", (Sent(0, True),))], [Record(0, (0, 0), b"", ())], [records[0], Record(10, (0,), b"", ())],
        [Record(0, (last,), b"", (Sent(last, True),)), Record(2, (), b"", ())], [Record(0, (count,), b"", ())],
    ):  # fmt: skip
        with pytest.raises(StreamError, match="damaged"):
            parse_records(to_bytes(wrong, count), count, 10)


def test_records_by_the_page() -> None:
    """Literal bytes: two groups, all of them; three frames of nothing; all of one added; some tiles of the other."""
    data = b"\0\2\0\1\3abc\3\0\0" + b"\3\0\1\1" + b"\0\0\2\3\1x"
    records = [Record(0, (0, 1), b"abc", (Sent(0, True), Sent(1, True))), Record(4, (), b"", (Sent(0, False),)),
               Record(5, (), b"", (Sent(1, False, b"\1x"),))]  # fmt: skip
    assert parse_records(data, 2, 6) == records
    assert to_bytes(records, 2) == data


def test_maps_of_tiles() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        shape = int(rng.integers(1, 9)), int(rng.integers(2, 9))
        tiles = rng.random(shape) < 0.5
        if tiles.any() and not tiles.all():
            assert np.array_equal(decode_tiles(encode_tiles(tiles), shape), tiles)
        cells = rng.random((4 * shape[0] - 1, 4 * shape[1] - 2)) < 0.1
        assert (expand(reduce(cells, 64), 64, cells.shape) >= cells).all()
        assert reduce(cells, 64).sum() <= cells.sum()
    assert encode_tiles(np.ones((2, 3), bool)) == b""
    with pytest.raises(StreamError):
        decode_tiles(b"\2", (2, 3))


def test_an_index_that_contradicts(data: bytes, codec: GroupsCodec) -> None:
    with read(data) as stream:
        header, sections, index = stream.header, list(stream.sections()), clips.check(stream)
    (frames, count, coded_records), names = index.coded[0], index.about
    based = dataclasses.replace(names, base=(4, 160))
    for about, chapters, said in (
        (names, [(frames + 1, count, coded_records)], "does not hold its 6 frames"),
        (names, [(frames, count, coded_records), (0, 0, b"")], "does not hold its 6 frames"),
        (names, [(frames, count - 1, coded_records)], "sections where the index"),
        (names, [(1, 0, coded_records), (frames - 1, count, coded_records)], "damaged"),
        (names, [(frames, count, coded_records[:-1])], "damaged"),
        (based, [(frames, count, coded_records)], "with a base"),
        (GroupsHeader(("a",), (480,), (False,), 16, 1024), [(frames, count, coded_records)], "no encoder writes"),
    ):
        parameters = ClipIndex(header.height, header.width, about, chapters).to_bytes()
        file = write(dataclasses.replace(header, parameters=parameters), sections)
        with pytest.raises(StreamError, match=said):
            list(codec.decode_clip(file))
    small = write(dataclasses.replace(header, memory=0), sections)
    with pytest.raises(StreamError, match="declares 32768 bytes of decode memory"):
        list(codec.decode_clip(small))
    cut = dataclasses.replace(header, parameters=header.parameters[: len(header.parameters) // 2])
    assert "index" in icm.describe(cut)
    assert icm.section_names(cut) == []


def test_the_feature_is_required(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that does not know it says so in one line."""
    monkeypatch.delitem(FEATURES, 6)
    with pytest.raises(StreamError, match="needs feature 6, which this version does not know: update vcm"):
        read(data)


def test_qualities(codec: GroupsCodec, clip: Clip) -> None:
    """A finer background costs bytes there alone."""
    with read(coded(codec, clip)) as a, read(coded(codec, clip, qualities={BACKGROUND: 80})) as b:
        plain, finer = ({row["name"]: row for row in clips.listing(s)} for s in (a, b))
    assert finer[BACKGROUND]["quality"] == 80
    assert finer[BACKGROUND]["bytes"] > plain[BACKGROUND]["bytes"]
    assert finer["person"]["bytes"] == plain["person"]["bytes"]


def test_fills(codec: GroupsCodec, clip: Clip, data: bytes, frames: list[np.ndarray]) -> None:
    """Missing persons: grey, transparent, or what the background holds there."""
    masks = clip[1]
    asked = [BACKGROUND, "car"]
    ways = ([f for f, _ in codec.decode_clip(data, groups=asked, fill=fill)]
            for fill in ("grey", "transparent", "background"))  # fmt: skip
    uncovered = 0
    for grey, clear, filled, whole, mask in zip(*ways, frames, masks, strict=True):
        person = of_name(mask, "person")
        for shown in (grey, clear[..., :3], filled):
            assert np.array_equal(shown[~person], whole[~person])
        assert (grey[person] == 128).all()
        assert ((clear[..., 3] == 0) == person).all()
        held = (filled[person] != 128).any(-1)
        uncovered += int(held.sum())
        assert np.array_equal(filled[~person], grey[~person])
    assert uncovered > 2000  # where the person had not been in the first frame
    for options, said in (({"groups": ["bike"]}, "no group 'bike'"), ({"fill": "blue"}, "not 'blue'")):
        with pytest.raises(ValueError, match=said):
            next(codec.decode_clip(data, **options))
    with read(data) as stream:
        persons = clips.extract(stream, ["person"])
    with pytest.raises(ValueError, match="no background to fill missing groups with"):
        next(codec.decode_clip(persons, fill="background"))
