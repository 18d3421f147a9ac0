"""Detections linked to tracks, on boxes that are moved here."""

from __future__ import annotations

import numpy as np
import pytest

from eval.models.tracker import Tracker, overlaps


def box(x: float, y: float, width: float = 20, height: float = 40) -> list[float]:
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def run(frames: list[list[tuple[list[float], float, int]]], **settings: float) -> list[list[int]]:
    """Frames of (box, score, label) -> ids."""
    tracker = Tracker(**settings)  # type: ignore[arg-type]
    found = []
    for frame in frames:
        boxes, scores, labels = zip(*frame, strict=True) if frame else ((), (), ())
        found.append(tracker.update(np.array(boxes), np.array(scores), np.array(labels)).tolist())
    return found


def test_two_that_pass_each_other_keep_their_ids() -> None:
    """They overlap on the way, and the nearer box of the last frame is the other's: velocity decides."""
    frames = [[(box(20 + 9 * t, 100), 0.9, 1), (box(200 - 9 * t, 110), 0.8, 1)] for t in range(20)]
    assert run(frames) == [[1, 2]] * 20


def test_one_hidden_for_a_while_comes_back_as_itself_where_it_would_be() -> None:
    seen = [[(box(20 + 6 * t, 100), 0.9, 1)] for t in range(40)]
    hidden = [[] if 10 <= t < 20 else frame for t, frame in enumerate(seen)]
    assert run(hidden) == [[] if 10 <= t < 20 else [1] for t in range(40)]
    # after its patience it is another; not confirmed by one sight
    late = run(hidden, patience=5)
    assert late[19:22] == [[], [-1], [2]]


def test_weak_detections_continue_a_track_and_start_none() -> None:
    frames = [[(box(20 + 2 * t, 100), 0.9 if t < 5 else 0.2, 1), (box(150, 50), 0.3, 1)] for t in range(12)]
    assert run(frames) == [[1, -1]] * 12
    nothing = [[(box(20 + 2 * t, 100), 0.9 if t < 5 else 0.05, 1)] for t in range(12)]
    assert run(nothing) == [[1]] * 5 + [[-1]] * 7


def test_a_single_false_alarm_is_no_track() -> None:
    frames = [[(box(20, 100), 0.9, 1)] for _ in range(6)]
    frames[3] = [*frames[3], (box(150, 50), 0.9, 1)]
    assert run(frames) == [[1], [1], [1], [1, -1], [1], [1]]


def test_classes_are_apart() -> None:
    frames = [[(box(50, 100), 0.9, 1)], [(box(50, 100), 0.9, 3)], [(box(50, 100), 0.9, 3)], [(box(50, 100), 0.9, 1)]]
    assert run(frames) == [[1], [-1], [2], [1]]


def test_order_of_detections_changes_no_track() -> None:
    rng = np.random.default_rng(0)
    frames = [[(box(40 * k + 3 * t, 60 + 8 * k), 0.6 + 0.03 * k, 1) for k in range(8)] for t in range(15)]
    ids = np.array(run(frames))
    assert (ids == np.arange(1, 9)).all()
    tracker, shuffled = Tracker(), []
    for frame in frames:
        order = rng.permutation(8)
        boxes, scores, labels = zip(*[frame[i] for i in order], strict=True)
        row = np.zeros(8, int)
        row[order] = tracker.update(np.array(boxes), np.array(scores), np.array(labels))
        shuffled.append(row)
    assert (np.array(shuffled) == shuffled[0]).all()
    assert sorted(shuffled[0]) == list(range(1, 9))


def test_nothing_and_empty_boxes_do_no_harm() -> None:
    assert run([[], [], [([5, 5, 5, 5], 0.9, 1)], [([5, 5, 5, 5], 0.9, 1)], []]) == [[], [], [-1], [-1], []]
    assert Tracker().update(np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0)).shape == (0,)


def test_overlap_of_boxes() -> None:
    a, b = np.array([[0, 0, 10, 10], [5, 5, 5, 5]], float), np.array([[5, 0, 15, 10], [0, 0, 10, 10], [5, 5, 5, 5]])
    assert overlaps(a, b) == pytest.approx(np.array([[1 / 3, 1, 0], [0, 0, 0]]))
