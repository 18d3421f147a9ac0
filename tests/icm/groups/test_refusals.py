"""What the readers and writers of structured streams refuse, each in one line that says what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icm.bitstream import Header, StreamError, read, write
from icm.groups import GroupMask, from_labels
from icm.groups import stream as streams
from icm.groups.header import GroupsHeader, chosen
from icm.groups.lock import cipher
from icm.groups.mask import canonical

ABOUT = GroupsHeader(("car", "person"), (480, 480), (False, False), 16, 1024)
MASK = np.array([[0, 1]], np.uint8)


def file(about: GroupsHeader = ABOUT, sections: int | None = None, model: str = "groups") -> bytes:
    header = Header("groups", 32, 16, model, b"weights!", about.to_bytes(), 1 << 20)
    return write(header, [b""] * (about.sections if sections is None else sections))


def header(**changes: Any) -> GroupsHeader:
    own = {"names": ABOUT.names, "codes": ABOUT.codes, "locked": ABOUT.locked, "grid": 16, "tile": 1024, "base": None}
    return GroupsHeader(**{**own, **changes})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: header(codes=(480,)), "each with a name and a quality"),
        (lambda: header(codes=(480, 15)), "quality is from 1 to 100"),
        (lambda: header(grid=24), "grid of 24 px"),
        (lambda: header(tile=64), "tiles of 64 px"),
        (lambda: header(base=(3, 480)), "2, 4, 8 or 16 times, not 3"),
        (lambda: header(names=("car", "x" * 41)), "1 to 40 bytes"),
        (lambda: header(names=("car", "17")), "is no number"),
        (lambda: GroupMask(MASK, (), 16, 32), "1 to 64 groups, not 0"),
        (lambda: GroupMask(MASK, ("a", "b"), 16, 32, 24), "not 24"),
        (lambda: GroupMask(MASK, ("a", "b"), 16, 33), "does not fit"),
        (lambda: GroupMask(1 - MASK, ("a", "b"), 16, 32), "in the order"),
        (lambda: canonical(np.arange(65).reshape(5, 13)), "not 65"),
        (lambda: from_labels(np.zeros((4, 4)), grid=16), "integers"),
        (lambda: from_labels(np.zeros((4, 4), int), grid=20), "not 20"),
        (lambda: from_labels(np.arange(80).repeat(16)[None], first=range(80)), "lock classes"),
        (lambda: chosen(ABOUT, ["dog"]), "no group 'dog'.*car, person"),
        (lambda: chosen(ABOUT, [2]), "no group '2'"),
        (lambda: cipher(b"short"), "32 bytes, not 5"),
        (lambda: streams.extract(read(file()), ["car"]), "cut away before"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_files_of_something_else_have_no_groups() -> None:
    with read(file(sections=2)) as short, pytest.raises(StreamError, match="2 sections for 2 groups"):
        streams.check(short)
    with read(file(model="others")) as other:
        assert streams.facts(other.header) == {}
        assert streams.section_names(other.header) == []
        with pytest.raises(StreamError, match="no groups"):
            streams.check(other)


def test_a_listing_without_a_mask_says_what_it_can() -> None:
    with read(file()) as stream:  # two groups need a mask, and there is none
        rows = streams.listing(stream)
    assert [(row["name"], row["box"], row["share"], row["here"]) for row in rows] == [
        ("car", None, None, False), ("person", None, None, False)]  # fmt: skip


@pytest.mark.parametrize(("height", "width", "grid"), [(16, 32, 16), (45, 70, 16), (200, 130, 128), (1, 1, 64)])
def test_areas_are_the_pixels_counted(height: int, width: int, grid: int) -> None:
    labels = np.random.default_rng(height).integers(0, 3, (height, width))
    mask = from_labels(labels, grid=grid)
    assert mask.areas().tolist() == np.bincount(mask.pixels().ravel(), minlength=mask.count).tolist()
    assert mask.areas().sum() == height * width


def test_parameters_have_one_spelling() -> None:
    data = ABOUT.to_bytes()
    for wrong in (data + b"\0", data[:-1], bytes([data[0] | 8]) + data[1:], b"", data[:3] + b"\3car" + data[4:]):
        with pytest.raises(StreamError, match="no structured stream has"):
            GroupsHeader.parse(wrong)
