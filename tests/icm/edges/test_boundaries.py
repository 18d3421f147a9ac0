"""Label maps to edges: every change of labels appears, nothing else does."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from icm.edges.boundaries import METHODS, _canny, changes, colour_graph, edge_map, regions_coloured, thicken

IDS = st.sampled_from([0, 1, 2, 3, 255, 256, 257, 513, 65537, 2**24 - 1])
MAPS = arrays(np.int32, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=IDS)


def promise_kept(labels: np.ndarray, edges: np.ndarray) -> bool:
    """Of any two 4-neighbours with different labels at least one is an edge pixel."""
    right, down = changes(labels)
    return bool((edges[:, 1:] | edges[:, :-1])[right].all() and (edges[1:] | edges[:-1])[down].all())


def near_a_change(labels: np.ndarray) -> np.ndarray:
    """Pixels whose 3x3 neighbourhood holds more than one label."""
    padded = np.pad(labels, 1, mode="edge")
    shape = labels.shape
    return np.any([padded[y : y + shape[0], x : x + shape[1]] != labels for y in range(3) for x in range(3)], axis=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pair", [(1, 2), (1, 257), (0, 1), (0, 256), (5, 65541)])
def test_ids_that_canny_alone_does_not_see(method, pair):
    labels = np.full((20, 30), pair[0], dtype=np.int32)
    labels[5:15, 8:20] = pair[1]
    assert not cv2.Canny(labels.astype(np.uint8), 100, 200).any(), "these are the ids that the colouring is for"
    edges = edge_map(labels, method)
    assert promise_kept(labels, edges)
    assert not (edges & ~near_a_change(labels)).any()


@pytest.mark.parametrize("method", METHODS)
@given(a=st.integers(0, 2**24 - 1), b=st.integers(0, 2**24 - 1), upright=st.booleans())
def test_any_two_neighbours(method, a, b, upright):
    labels = np.full((8, 8), a, dtype=np.int32)
    labels[:, 4:] = b
    labels = labels if upright else labels.T.copy()
    edges = edge_map(labels, method)
    lines = edges.any(axis=0) if upright else edges.any(axis=1)
    assert lines.sum() == (a != b), "one line, a pixel wide, where they differ, and none where they do not"
    assert edges.sum() == (8 if a != b else 0)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=300)
@given(labels=MAPS, thresholds=st.sampled_from([(0, 0), (100, 200), (50, 50), (10, 6000)]))
def test_every_change_appears_and_nothing_else(method, labels, thresholds):
    edges = edge_map(labels, method, thresholds)
    assert edges.shape == labels.shape
    assert edges.dtype == bool
    assert promise_kept(labels, edges)
    assert not (edges & ~near_a_change(labels)).any()


@given(labels=MAPS)
def test_edges_do_not_depend_on_the_ids(labels):
    other = np.unique(labels, return_inverse=True)[1].reshape(labels.shape) * 7 + 3
    for method in METHODS:
        assert np.array_equal(edge_map(labels, method), edge_map(other.astype(np.uint16), method))


@settings(max_examples=200)
@given(labels=MAPS)
def test_six_colours_and_neighbours_differ(labels):
    colours = regions_coloured(labels)
    assert colours.max() <= 5
    right, down = changes(labels)
    assert np.array_equal(colours[:, 1:] != colours[:, :-1], right)
    assert np.array_equal(colours[1:] != colours[:-1], down)


def test_a_graph_that_is_not_planar_is_coloured_too():
    pairs = np.array([(a, b) for a in range(9) for b in range(a)])  # nine that all touch need nine
    assert sorted(colour_graph(9, pairs)) == list(range(9))


def test_canny_draws_the_lines_of_ordinary_regions_itself():
    ys, xs = np.mgrid[:120, :160]
    labels = np.select([(ys - 50) ** 2 + (xs - 60) ** 2 < 900, ys > xs, xs > 120], [1, 2, 257], 258)
    drawn = _canny(regions_coloured(labels), (100, 200))
    right, down = changes(labels)
    missed = (right & ~(drawn[:, 1:] | drawn[:, :-1])).sum() + (down & ~(drawn[1:] | drawn[:-1])).sum()
    assert missed <= 0.02 * (right.sum() + down.sum()), "the completion is for junctions, not for lines"


@pytest.mark.parametrize("width", [1, 3, 5, 9])
def test_dilation_is_a_square_brush(width):
    generator = np.random.default_rng(width)
    edges = generator.random((25, 31)) < 0.02
    padded = np.pad(edges, width // 2)
    wanted = np.lib.stride_tricks.sliding_window_view(padded, (width, width)).any(axis=(2, 3))
    assert np.array_equal(thicken(edges, width), wanted)
    line = np.zeros((20, 20), dtype=np.int32)
    line[:, 10:] = 1
    assert (edge_map(line, dilate=width).sum(axis=1) == width).all(), "a straight boundary is `width` pixels wide"


def test_one_label_has_no_edges_and_one_pixel_is_a_picture():
    for method in METHODS:
        assert not edge_map(np.full((7, 9), 300), method).any()
        assert edge_map(np.array([[7]]), method).tolist() == [[False]]
        assert promise_kept(np.array([[1, 2]]), edge_map(np.array([[1, 2]]), method))


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.zeros((2, 2)), {}, "integers"),
        (np.zeros((2, 2, 1), int), {}, "integers"),
        (np.zeros((0, 2), int), {}, "integers"),
        (np.zeros((2, 2), int), {"method": "sobel"}, "unknown edge method 'sobel'"),
        (np.zeros((2, 2), int), {"dilate": 2}, "odd"),
        (np.zeros((2, 2), int), {"dilate": -1}, "odd"),
        (np.zeros((2, 2), int), {"canny": (200, 100)}, "LO <= HI"),
        (np.zeros((2, 2), int), {"canny": (0, 9999)}, "6000"),
    ],
)
def test_bad_requests_are_told(labels, options, message):
    with pytest.raises(ValueError, match=message):
        edge_map(labels, **options)
