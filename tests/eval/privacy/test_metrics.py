"""Verification and re-identification on planted identities, whose figures are known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from eval.privacy import metrics
from eval.privacy.compare import FARS, Relations, compare, thresholds

RELATIONS = Relations.of(np.repeat(np.arange(4), 3))  # 4 persons, 3 faces each: 12 + 54 pairs


def planted(genuine: float, impostor: float) -> np.ndarray:
    return np.where(RELATIONS.same | np.eye(12, dtype=bool), genuine, impostor)


def test_persons_told_apart_perfectly():
    scores = planted(0.9, 0.1)
    found = compare(scores, RELATIONS, thresholds(scores, RELATIONS), symmetric=True)
    assert found["rank1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["eer"]["value"] == 0.0
    assert found["tar"]["0.1"]["value"] == 1.0
    assert (found["genuine"]["pairs"], found["impostor"]["pairs"]) == (12, 54)
    assert found["rank1_chance"] == pytest.approx(2 / 11)


def test_nobody_told_apart():
    scores = planted(0.5, 0.5)
    found = compare(scores, RELATIONS, thresholds(scores, RELATIONS), symmetric=True)
    assert found["rank1"]["value"] == pytest.approx(2 / 11)  # ties are drawn by lot
    assert found["eer"]["value"] == 0.5
    assert found["tar"]["0.1"]["value"] == 0.0


def test_worse_than_chance():
    scores = planted(0.1, 0.9)
    found = compare(scores, RELATIONS, thresholds(scores, RELATIONS), symmetric=True)
    assert found["rank1"]["value"] == 0.0
    assert found["eer"]["value"] == 1.0


def test_known_tar_eer_and_rank1():
    """Five of twenty genuine pairs below all impostors, and one of twenty impostors above all genuine ones."""
    genuine = np.array([0.8] * 15 + [0.1] * 5)
    impostor = np.array([0.9] + [0.5] * 19)
    limit = metrics.threshold(impostor, 0.05)
    assert limit == 0.5
    assert metrics.share_above(genuine, limit) == 0.75
    assert metrics.share_above(impostor, limit) == 0.05
    assert metrics.eer(genuine, impostor) == pytest.approx((0.25 + 0.05) / 2)
    weights = np.array([1.0] * 15 + [0.0] * 5)  # a person whose pairs are left out
    assert metrics.eer_of(genuine, impostor)(weights, np.ones(20)) == pytest.approx(0.025)
    same = np.array([[True, False, False], [False, True, False]])
    hits = metrics.rank1_hits(np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.1]]), same, ~same)
    assert hits.tolist() == [1.0, 0.0]


def test_a_rate_is_told_only_where_the_pairs_allow():
    limits = thresholds(planted(0.9, 0.1), RELATIONS)  # 54 pairs of different persons
    assert [limits[far] is not None for far in FARS] == [True, False, False]
    found = compare(planted(0.9, 0.1), RELATIONS, limits)
    assert found["tar"]["0.01"] == {"value": None, "low": None, "high": None}


def test_thresholds_are_those_of_the_originals():
    originals, decoded = planted(0.9, 0.1), planted(0.3, 0.25)
    found = compare(decoded, RELATIONS, thresholds(originals, RELATIONS))
    assert found["tar"]["0.1"]["value"] == 1.0
    assert found["far_actual"]["0.1"] == 1.0  # all different persons pass too, and the report must be able to say so


def test_unknown_pairs_are_in_no_figure():
    """Persons 0 and 1 may be one; only 2 is known to be somebody else."""
    apart = np.array([[False, False, True], [False, False, True], [True, True, False]])
    relations = Relations.of(np.array([0, 0, 1, 1, 2, 2]), apart)
    scores = np.full((6, 6), 0.1)
    scores[:4, :4] = 0.95  # 0 and 1 look alike: neither a hit nor a miss
    scores[relations.same] = 0.9
    found = compare(scores, relations, thresholds(scores, relations), symmetric=True)
    assert (found["genuine"]["pairs"], found["impostor"]["pairs"]) == (3, 8)
    assert (found["rank1"]["value"], found["eer"]["value"]) == (1.0, 0.0)


def test_no_pairs_no_figure():
    alone = Relations.of(np.array([0, 1, 2]))
    found = compare(np.eye(3), alone, thresholds(np.eye(3), alone))
    assert found["rank1"]["value"] is None
    assert found["eer"]["value"] is None
    assert found["genuine"] == {"pairs": 0, "mean": None, "quantiles": {}}


def test_intervals_cover_the_truth():
    """Persons found with probability 0.7, five pictures each that stand or fall together: 40 of them, 60 times."""
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(60):
        person = np.repeat(np.arange(40), 5)
        hits = np.repeat((rng.random(40) < 0.7).astype(float), 5)
        low, high = metrics.interval(lambda w, h=hits, p=person: metrics.weighted_mean(h, w[p]), 40, draws=200)
        inside += low <= 0.7 <= high
    assert inside >= 52  # an interval over pictures instead of persons covers about 60 %
    assert metrics.interval(lambda w: 1.0, 1) is None


def test_landmark_error():
    true = np.array([[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]], float)
    assert metrics.landmark_error(true + [0, 2], true) == pytest.approx(10.0)  # 2 of 20 pixels
