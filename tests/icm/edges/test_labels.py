"""Masks to label maps: what is seen where masks overlap, and the refinement of several maps."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from icm.edges.boundaries import changes
from icm.edges.labels import count_labels, label_map, painting_order, refine


def box(x0: int, x1: int, width: int = 8) -> np.ndarray:
    mask = np.zeros((4, width), dtype=bool)
    mask[:, x0:x1] = True
    return mask


def test_a_part_is_seen_on_its_whole_whatever_the_order():
    whole, part = box(0, 6), box(2, 4)
    assert label_map([whole, part])[0].tolist() == [1, 1, 2, 2, 1, 1, 0, 0]
    assert label_map([part, whole], scores=[0.1, 0.9])[0].tolist() == [2, 2, 1, 1, 2, 2, 0, 0]


def test_of_two_of_one_area_the_surer_is_seen_then_the_earlier():
    left, right = box(0, 4), box(2, 6)
    assert label_map([left, right], [0.9, 0.8])[0].tolist() == [1, 1, 1, 1, 2, 2, 0, 0]
    assert label_map([left, right], [0.8, 0.9])[0].tolist() == [1, 1, 2, 2, 2, 2, 0, 0]
    assert label_map([left, right], [0.8, 0.8])[0].tolist() == [1, 1, 1, 1, 2, 2, 0, 0]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.1, 0.5, 0.9])), max_size=12))
def test_the_order_is_total(pairs):
    areas, scores = [area for area, _ in pairs], [score for _, score in pairs]
    order = painting_order(areas, scores)
    assert sorted(order) == list(range(len(pairs)))
    for low, high in itertools.pairwise(order):
        assert (-areas[low], scores[low], -low) < (-areas[high], scores[high], -high)


def test_no_mask_is_an_empty_map_and_sizes_must_agree():
    assert not label_map([], shape=(3, 5)).any()
    assert label_map([], shape=(3, 5)).shape == (3, 5)
    with pytest.raises(ValueError, match="no shape"):
        label_map([])
    with pytest.raises(ValueError, match="does not fit"):
        label_map([box(0, 2), box(0, 2, width=9)])
    with pytest.raises(ValueError, match="scores"):
        label_map([box(0, 2)], [0.5, 0.6])


@pytest.mark.parametrize("wide", [False, True])
def test_refinement_has_the_union_of_the_changes(wide):
    generator = np.random.default_rng(3)
    maps = [generator.integers(0, 4, (9, 7)) for _ in range(5)]
    if wide:  # ids that no product of counts can hold, and negative ones
        maps = [ids * (2**40 + 7) - 5 for ids in maps]
    joint = refine(maps)
    for found, *wanted in zip(changes(joint), *(changes(ids) for ids in maps), strict=True):
        assert np.array_equal(found, np.any(wanted, axis=0))
    # the coarsest: as many ids as there are different columns of ids
    assert len(np.unique(joint)) == len(np.unique(np.stack(maps).reshape(5, -1), axis=1).T)
    assert joint.min() == 1


@given(arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 9)))
def test_labels_are_counted(labels):
    assert count_labels(labels) == len(set(labels.ravel().tolist()) - {0})


def test_refinement_refuses_nothing_and_different_sizes():
    with pytest.raises(ValueError, match="no label maps"):
        refine([])
    with pytest.raises(ValueError, match="size"):
        refine([np.zeros((2, 2), int), np.zeros((2, 3), int)])
