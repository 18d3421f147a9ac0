"""Structured files: what they hold, what can be had of them, and that damage is told by the group's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icm.bitstream import Header, OtherWeights, StreamError, read, write
from icm.codecs.groups.codec import GroupsCodec
from icm.groups import GroupMask, one_group
from icm.groups.header import GroupsHeader, chosen
from icm.groups.stream import extract, listing, section_names
from tests.icm.conftest import tiny_network as other_network
from tests.icm.groups.conftest import random_mask, random_picture


@pytest.fixture(scope="module")
def street() -> tuple[np.ndarray, GroupMask]:
    ids = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 0, 2], [0, 1, 1, 0, 2], [3, 1, 0, 0, 0]], np.uint8)
    mask = GroupMask(ids, ("background", "person", "car", "person"), 60, 77)
    return random_picture(np.random.default_rng(0), 60, 77), mask


@pytest.fixture(scope="module")
def data(codec: GroupsCodec, street: tuple[np.ndarray, GroupMask]) -> bytes:
    return codec.encode(street[0], street[1], {"background": 5}, base=10)


def test_round_trip_of_sizes(codec: GroupsCodec) -> None:
    rng = np.random.default_rng(1)
    for height, width in ((1, 1), (5, 40), (16, 16), (130, 140)):
        picture = random_picture(rng, height, width)
        assert codec.decode(codec.encode(picture)).shape == picture.shape
        mask = random_mask(rng, height, width)
        assert codec.decode(codec.encode(picture, mask)).shape == picture.shape


def test_tiles_bound_what_is_computed_at_once(tiny_weights: Path) -> None:
    codec = GroupsCodec("groups", 30, weights=tiny_weights, tile=128)
    rng = np.random.default_rng(2)
    picture, mask = random_picture(rng, 150, 270), random_mask(rng, 150, 270)
    data = codec.encode(picture, mask)
    shown, of = codec.decode(data), mask.pixels()
    assert np.abs(shown.astype(int) - codec.decode(codec.encode(picture, mask))).max() == 0
    for group in range(mask.count):
        assert np.array_equal(codec.decode(data, [group])[of == group], shown[of == group])
    assert not codec.verify(data)
    with read(data) as stream:
        assert GroupsHeader.parse(stream.header.parameters).tile == 128


def test_what_can_be_asked_for(codec: GroupsCodec, street: tuple[np.ndarray, GroupMask], data: bytes) -> None:
    of, whole = street[1].pixels(), codec.decode(data)
    persons = np.isin(of, (1, 3))
    shown = codec.decode(data, ["person"])
    assert np.array_equal(shown[persons], whole[persons])
    assert (shown[~persons] == 128).all()
    assert np.array_equal(codec.decode(data, ["person", "2", 0]), whole)
    clear = codec.decode(data, ["car"], fill="transparent")
    assert clear.shape == (60, 77, 4)
    assert np.array_equal(clear[..., 3] == 255, of == 2)
    assert np.array_equal(clear[of == 2, :3], whole[of == 2])
    based = codec.decode(data, ["car"], fill="background")
    assert np.array_equal(based[of == 2], whole[of == 2])
    assert based[of != 2].std() > 1
    for words in (["bike"], [4], ["person", "64"]):
        with pytest.raises(ValueError, match="the groups are 0 to 3, called background, person, car"):
            codec.decode(data, words)
    with pytest.raises(ValueError, match="grey, background, transparent"):
        codec.decode(data, fill="pink")


def test_the_list(street: tuple[np.ndarray, GroupMask], data: bytes) -> None:
    with read(data) as stream:
        rows, names, lengths = listing(stream), section_names(stream.header), stream.lengths
    assert [row["name"] for row in rows] == ["background", "person", "car", "person", "base, 1/4 of the size"]
    assert rows[1]["box"] == [16, 16, 48, 60]
    assert rows[3]["box"] == [0, 48, 16, 60]
    assert [row["quality"] for row in rows] == [5, 30, 30, 30, 10]
    assert [row["bytes"] for row in rows] == lengths[1:]
    assert names[:3] == ["mask", "group 0 (background)", "group 1 (person)"]
    assert names[3:] == ["group 2 (car)", "group 3 (person)", "the base"]
    assert section_names(Header("picture", 1, 1, "lic-s", bytes(8))) == []


def test_cut(codec: GroupsCodec, street: tuple[np.ndarray, GroupMask], data: bytes) -> None:
    of, whole = street[1].pixels(), codec.decode(data)
    with read(data) as stream:
        small, based = extract(stream, ["person"]), extract(stream, ["person"], base=True)
        lengths = stream.lengths
    assert len(small) < len(based) < len(data)
    with read(small) as stream:
        assert [a == b for a, b in zip(stream.lengths, lengths, strict=True)] == [True, False, True, False, True, False]
        assert [row["here"] for row in listing(stream)] == [False, True, False, True, False]
        with pytest.raises(ValueError, match=r"group 2 \(car\): not in this file"):
            extract(stream, [1, 2])
        again = extract(stream, ["person"])
    assert again == small
    assert np.array_equal(codec.decode(small), np.where(np.isin(of, (1, 3))[..., None], whole, 128))
    assert np.array_equal(codec.decode(based, fill="background"), codec.decode(data, ["person"], fill="background"))
    assert not codec.verify(small)
    with pytest.raises(ValueError, match=r"group 2 \(car\): not in this file"):
        codec.decode(small, ["car"])
    with pytest.raises(ValueError, match="no base"):
        codec.decode(small, fill="background")


def test_a_quality_a_group(codec: GroupsCodec, street: tuple[np.ndarray, GroupMask]) -> None:
    low, high = (codec.encode(*street, {"person": q}) for q in (2, 90))
    with read(low) as a, read(high) as b:
        assert [x == y for x, y in zip(a.sections(), b.sections(), strict=True)] == [True, True, False, True, False]
        assert a.lengths[2] < b.lengths[2]


def test_parameters_literal() -> None:
    plain = GroupsHeader(("all",), (480,), (False,), 128, 1024)
    assert plain.to_bytes().hex() == "003a00c7e001"
    known = GroupsHeader(("person", "salient"), (480, 480), (False, False), 16, 1024)
    assert known.to_bytes().hex() == "000a0140c8e001"
    full = GroupsHeader(("a", "é"), (16, 1600), (False, True), 16, 128, (4, 32))
    assert full.to_bytes().hex() == "070701016102c3a9100040060200000000000000022000"
    for header in (plain, known, full):
        assert GroupsHeader.parse(header.to_bytes()) == header
        for i in range(len(header.to_bytes())):
            with pytest.raises(StreamError):
                GroupsHeader.parse(header.to_bytes()[:i])
        with pytest.raises(StreamError):
            GroupsHeader.parse(header.to_bytes() + b"\0")
    assert chosen(full, ["é", "0"]) == [0, 1]


def test_parameters_of_strangers() -> None:
    rng = np.random.default_rng(5)
    start = GroupsHeader(("a", "person"), (16, 1600), (False, True), 16, 128, (4, 32)).to_bytes()
    for _ in range(2000):
        broken = bytearray(start)
        broken[rng.integers(len(broken))] = int(rng.integers(256))
        try:
            assert GroupsHeader.parse(bytes(broken)).to_bytes() == broken
        except StreamError as error:
            assert "\n" not in str(error)


def test_a_damaged_group_is_named(codec: GroupsCodec, street: tuple[np.ndarray, GroupMask], data: bytes) -> None:
    of, whole = street[1].pixels(), codec.decode(data)
    with read(data) as stream:
        places = {name: (offset, length) for name, offset, length in stream.layout()}
    for number in range(1, 5):
        broken = bytearray(data)
        broken[places[f"section {number}"][0]] ^= 1
        title = f"group {number - 1} ({street[1].names[number - 1]})"
        with pytest.raises(StreamError) as caught:
            codec.decode(bytes(broken))
        assert str(caught.value).startswith(f"{title}: damaged")
        assert codec.verify(bytes(broken))[0].startswith(f"{title}: damaged")
        with read(bytes(broken), partial=True) as stream:
            shown, lost, approximate = codec.decode_partial(stream)
        assert not approximate
        assert all(reason.startswith(title) for reason in lost.values())
        hidden = np.zeros(of.shape, bool)
        for top, bottom, left, right in lost:
            hidden[top:bottom, left:right] = True
        assert np.array_equal(hidden, of == number - 1)
        assert np.array_equal(shown[~hidden], whole[~hidden])
        assert (shown[hidden] == 128).all()
    broken = bytearray(data)
    broken[places["section 0"][0]] ^= 1
    with pytest.raises(StreamError, match=r"^the mask: damaged"):
        codec.decode(bytes(broken))
    with read(bytes(broken), partial=True) as stream:
        shown, lost, _ = codec.decode_partial(stream)
    assert (shown == 128).all()
    assert list(lost) == [(0, 60, 0, 77)]


def test_damaged_files(codec: GroupsCodec) -> None:
    """A small run of benchmarks/group_damage.py: nothing shown that is not so."""
    from benchmarks.group_damage import run

    counts = run(codec, [random_picture(np.random.default_rng(i), 50, 60) for i in range(3)], files=150, seed=1)
    assert sum(counts.values()) == 150
    assert not [outcome for _, outcome in counts if "WRONG" in outcome]


def test_what_is_not_such_a_file(codec: GroupsCodec, street: tuple[np.ndarray, GroupMask], data: bytes,
                                 tmp_path: Path) -> None:  # fmt: skip
    from icm.codecs.release import Release

    with read(data) as stream:
        header, sections = stream.header, list(stream.sections())
    with pytest.raises(StreamError, match="5 sections for 4 groups"):
        codec.decode(write(header, sections[:-1]))
    with pytest.raises(StreamError, match="holds a picture by lic-s, no groups"):
        codec.decode(write(Header("picture", 8, 8, "lic-s", bytes(8)), [b"x"]))
    with pytest.raises(OtherWeights):
        codec.decode(write(Header("groups", 77, 60, "groups", bytes(8), header.parameters), sections))
    with pytest.raises(StreamError, match="bytes of decode memory"):
        codec.decode(write(Header("groups", 77, 60, "groups", header.weights, header.parameters), sections))
    with pytest.raises(ValueError, match="a mask of 16x16"):
        codec.encode(street[0], one_group(16, 16))
    model = other_network()
    model.use_integers()
    Release.from_model(model).save(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"are weights of sa-icm-s, not of groups"):
        GroupsCodec("groups", weights=tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"groups-small\.yaml"):
        GroupsCodec("groups")
