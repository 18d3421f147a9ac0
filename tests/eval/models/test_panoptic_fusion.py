"""Fusion of instances and semantic classes: order, overlap, area and void, on maps small enough to see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.models.panoptic_fusion import VOID, fuse

CAR, PERSON, ROAD, SKY = 3, 1, 149, 187
THINGS = (PERSON, CAR)


def row(*spans: tuple[int, int], width: int = 10) -> np.ndarray:
    """Masks (N, 1, width), true from start to stop."""
    masks = np.zeros((len(spans), 1, width), bool)
    for mask, (start, stop) in zip(masks, spans, strict=True):
        mask[0, start:stop] = True
    return masks


def run(masks: np.ndarray, scores: list[float], labels: list[int], semantic: list[int], **rules):
    panoptic, segments = fuse(masks, np.array(scores, np.float32), np.array(labels), np.array([semantic], np.int32),
                              THINGS, **{"stuff_area": 1, **rules})  # fmt: skip
    assert panoptic.dtype == np.int32
    return panoptic[0].tolist(), [(s["id"], s["category_id"], s["isthing"]) for s in segments]


def test_the_surer_mask_lies_on_top_whatever_the_order() -> None:
    expected = [2, 2, 2, 1, 1, 1, 1, 3, 3, 3], [(1, CAR, True), (2, PERSON, True), (3, ROAD, False)]
    masks = row((0, 5), (3, 7))
    assert run(masks, [0.7, 0.9], [PERSON, CAR], [ROAD] * 10) == expected
    assert run(masks[::-1], [0.9, 0.7], [CAR, PERSON], [ROAD] * 10) == expected


def test_equal_scores_keep_their_order() -> None:
    assert run(row((0, 6), (4, 10)), [0.8, 0.8], [CAR, CAR], [ROAD] * 10)[0] == [1] * 6 + [2] * 4


def test_a_mask_is_left_out_when_more_than_the_share_is_taken() -> None:
    """Of four pixels, two taken are just allowed at a half; three are not, and a quarter forbids two."""
    for stop, share, pasted in ((8, 0.5, True), (7, 0.5, False), (8, 0.25, False), (6, 0.99, False), (7, 0.99, True)):
        line, segments = run(row((0, 6), (stop - 4, stop)), [0.9, 0.8], [CAR, PERSON], [ROAD] * 10, overlap=share)
        assert ((2, PERSON, True) in segments) == pasted, (stop, share)
        assert line[:6] == [1] * 6


def test_masks_below_the_score_and_empty_ones_are_left_out() -> None:
    line, segments = run(row((0, 3), (3, 6), (2, 2)), [0.5, 0.49, 0.9], [CAR] * 3, [ROAD] * 10)
    assert segments == [(1, CAR, True), (2, ROAD, False)]
    assert line == [1] * 3 + [2] * 7


def test_small_stuff_is_void_and_counts_what_is_left_of_it() -> None:
    semantic = [ROAD] * 6 + [SKY] * 4
    assert run(row((0, 0)), [0.9], [CAR], semantic, stuff_area=5)[0] == [1] * 6 + [VOID] * 4
    line, segments = run(row((0, 2)), [0.9], [CAR], semantic, stuff_area=5)  # four pixels of road are left
    assert (line, segments) == ([1, 1] + [VOID] * 8, [(1, CAR, True)])
    assert run(row((0, 2)), [0.9], [CAR], semantic, stuff_area=4)[1][1:] == [(2, ROAD, False), (3, SKY, False)]


def test_things_without_a_mask_and_void_stay_void() -> None:
    line, segments = run(row((0, 2)), [0.9], [CAR], [CAR] * 4 + [-1] * 2 + [SKY] * 4)
    assert line == [1, 1, VOID, VOID, VOID, VOID, 2, 2, 2, 2]
    assert segments == [(1, CAR, True), (2, SKY, False)]


def test_nothing_found() -> None:
    assert run(np.zeros((0, 1, 3), bool), [], [], [-1, CAR, -1]) == ([VOID] * 3, [])


def test_shapes_that_do_not_belong_together() -> None:
    for masks, scores in ((row((0, 2)), []), (row((0, 2), width=9), [0.9])):
        with pytest.raises(ValueError, match="do not belong together") as caught:
            run(masks, scores, [CAR], [ROAD] * 10)
        assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.floats(0, 1), st.integers(0, 30))
def test_ids_areas_and_masks_hold_for_anything(seed: int, count: int, overlap: float, least: int) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.random((count, 8, 9)) < rng.random((count, 1, 1))
    scores, labels = rng.random(count), rng.choice(THINGS, count)
    semantic = rng.choice([-1, CAR, ROAD, SKY], (8, 9)).astype(np.int32)
    before = masks.copy(), semantic.copy()
    panoptic, segments = fuse(masks, scores, labels, semantic, THINGS, overlap=overlap, stuff_area=least)
    assert (masks == before[0]).all()
    assert (semantic == before[1]).all()
    assert [s["id"] for s in segments] == list(range(1, len(segments) + 1))
    assert set(np.unique(panoptic)) - {VOID} == {s["id"] for s in segments}
    stuff = [s["category_id"] for s in segments if not s["isthing"]]
    assert len(set(stuff)) == len(stuff)
    for s in segments:
        where = panoptic == s["id"]
        if s["isthing"]:
            assert any((where <= mask).all() for mask, label in zip(masks, labels, strict=True)
                       if label == s["category_id"])  # fmt: skip
        else:
            assert (semantic[where] == s["category_id"]).all()
            assert where.sum() >= least
