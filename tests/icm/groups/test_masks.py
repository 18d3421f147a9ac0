"""Group masks: from labels to cells, numbered as the coder meets them, coded and read back, and what that costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.bitstream import StreamError
from icm.groups import GroupMask, coding, from_labels, one_group
from icm.groups.mask import canonical, coding_order, is_canonical


def labels_of(seed: int, height: int, width: int, kinds: int, blocky: bool) -> np.ndarray:
    """(H, W) int: rectangles, or noise of cells."""
    rng = np.random.default_rng(seed)
    if not blocky:
        cells = rng.integers(0, kinds + 1, (-(-height // 16), -(-width // 16)))
        return cells.repeat(16, 0).repeat(16, 1)[:height, :width]
    labels = np.zeros((height, width), np.int64)
    for label in range(1, kinds + 1):
        top, left = rng.integers(0, height), rng.integers(0, width)
        labels[top : top + rng.integers(1, 150), left : left + rng.integers(1, 150)] = label
    return labels


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 300), st.integers(0, 70), st.booleans())
def test_every_mask_comes_back(seed: int, height: int, width: int, kinds: int, blocky: bool) -> None:
    mask = from_labels(labels_of(seed, height, width, kinds, blocky))
    payload = coding.encode_mask(mask.ids, mask.count)
    assert np.array_equal(coding.decode_mask(payload, *mask.ids.shape, mask.count), mask.ids)
    assert (mask.count == 1) == (payload == b"")


def test_literal_payload() -> None:
    """The counts, the tables and the order of the cells are part of the format."""
    rows = ["0000111", "0022211", "0322211", "3322000", "3333004"]
    ids = np.array([[int(c) for c in row] for row in rows], np.uint8)
    ids, _ = canonical(ids)
    assert coding.encode_mask(ids, 5).hex() == "e8786fa66532abba9501"


def test_a_damaged_mask_is_refused() -> None:
    mask = from_labels(labels_of(7, 150, 200, 9, True))
    payload, rng = coding.encode_mask(mask.ids, mask.count), np.random.default_rng(0)
    for i in range(120):
        broken = bytearray(payload)
        if i % 2:
            broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
        else:
            broken = broken[: rng.integers(len(broken))]
        with pytest.raises(StreamError):
            coding.decode_mask(bytes(broken), *mask.ids.shape, mask.count)
    with pytest.raises(StreamError):
        coding.decode_mask(payload, *mask.ids.shape, mask.count + 1)


def test_numbering() -> None:
    ids = np.random.default_rng(0).integers(5, 50, (7, 9))
    numbered, old = canonical(ids)
    assert np.array_equal(old[numbered], ids)
    assert is_canonical(numbered, len(old))
    assert not is_canonical(numbered[::-1], len(old))
    assert coding_order(2, 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert coding_order(3, 2).tolist() == [0, 1, 2, 3, 4, 5]
    assert coding_order(2, 4).tolist() == [0, 1, 2, 4, 3, 5, 6, 7]


def test_no_pixel_of_an_object_is_in_the_background() -> None:
    rng = np.random.default_rng(3)
    labels = np.zeros((100, 130), np.int32)
    labels[rng.random(labels.shape) < 0.002] = 1
    labels[40:60, 33:90] = 2
    mask = from_labels(labels, {0: "background", 1: "dust", 2: "face"})
    of = np.array(mask.names)[mask.pixels()]
    assert (of[labels > 0] != "background").all()
    assert {"background", "dust", "face"} == set(mask.names)
    locked = from_labels(labels, {1: "dust", 2: "face"}, first=[1])
    assert (np.array(locked.names)[locked.pixels()][labels == 1] == "dust").all()


def test_boxes_and_latents() -> None:
    labels = np.zeros((70, 100), np.int32)
    labels[40:50, 70:80] = 4
    mask = from_labels(labels, {4: "car"}, 32)
    assert mask.names == ("background", "car")
    assert mask.box(1) == (64, 32, 96, 64)
    assert mask.box(0) == (0, 0, 100, 70)
    assert mask.latent().shape == (5, 7)
    assert np.array_equal(mask.latent().repeat(16, 0).repeat(16, 1)[:70, :100], mask.pixels())


def test_at_most_64_groups() -> None:
    labels = np.arange(16 * 16).reshape(16, 16).repeat(16, 0).repeat(16, 1)
    labels[:48] = 1
    mask = from_labels(labels, {1: "sky"})
    assert mask.count == 64
    assert "others" in mask.names
    assert (np.array(mask.names)[mask.pixels()][:48] == "sky").all()


def test_bad_masks_are_told_in_one_line() -> None:
    for call in (
        lambda: GroupMask(np.ones((2, 2), np.uint8), ("a",), 32, 32),
        lambda: GroupMask(np.zeros((2, 2), np.uint8), ("a",), 33, 32),
        lambda: GroupMask(np.zeros((2, 2), np.uint8), ("a,b",), 32, 32),
        lambda: GroupMask(np.zeros((2, 2), np.uint8), ("12",), 32, 32),
        lambda: GroupMask(np.zeros((2, 2), np.uint8), ("a\nb",), 32, 32),
        lambda: GroupMask(np.zeros((2, 2), np.uint8), ("a",), 32, 32, 20),
        lambda: from_labels(np.zeros((2, 2))),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert one_group(5, 700).count == 1


def test_half_of_the_papers_coding(shared: Path) -> None:
    """coco128's panoptic validation labels, some of them: at most half of a fixed half-normal without context."""
    from benchmarks.group_masks import masks, measure

    found = list(masks(shared / "data/coco128/annotations/panoptic_val.json", 16, every=16))
    row = measure(found)
    assert row["ours"] <= row["paper"] / 5
    row = measure([from_labels(mask.pixels(), None, 32) for mask in found])
    assert row["ours"] <= row["paper"] / 2
