"""Bjøntegaard's differences against SciPy's interpolators and curves whose difference is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from eval.metrics.bd import BDs, bd, bd_many, bd_rate
from eval.metrics.monotone import pchip_area, pooled

RATES = np.array([0.05, 0.08, 0.13, 0.21, 0.4, 0.7, 1.1])
RISING = 40 - 6 / (RATES + 0.15)


def curve(rates, accuracies):
    return list(zip(np.asarray(rates).tolist(), np.asarray(accuracies).tolist(), strict=True))


def pool(values):
    """Pool adjacent violators as it is written in books: the slow way."""
    blocks = [[v, 1] for v in values]
    i = 0
    while i < len(blocks) - 1:
        if blocks[i][0] > blocks[i + 1][0]:
            (a, n), (b, m) = blocks[i], blocks[i + 1]
            blocks[i : i + 2] = [[(a * n + b * m) / (n + m), n + m]]
            i = max(i - 1, 0)
        else:
            i += 1
    return [value for value, count in blocks for _ in range(count)]


def test_isotonic_regression_equals_pooling():
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(0, 1, (300, 7)).cumsum(axis=1) + np.arange(7) * rng.normal(0, 1, (300, 1)), 1)
    found = pooled(values)
    np.testing.assert_allclose(found, [pool(row) for row in values], atol=1e-12)
    assert (np.diff(found, axis=1) >= 0).all()
    steps = np.diff(found, axis=1)
    assert ((steps == 0) | (steps > 1e-6)).all()  # pooled neighbours are equal, not nearly
    np.testing.assert_array_equal(pooled(RISING[None])[0], RISING)
    assert pooled(np.array([[3.0, 2.0, 1.0]])).tolist() == [[2.0, 2.0, 2.0]]
    assert pooled(np.array([[1.0, 3.0, 2.0, 4.0]])).tolist() == [[1.0, 2.5, 2.5, 4.0]]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_areas_equal_scipy(count):
    rng = np.random.default_rng(count)
    x = np.sort(rng.uniform(0, 5, (50, count)), axis=1)
    y = rng.normal(0, 1, (50, count)).round(1)
    y[:25] = np.sort(y[:25], axis=1)
    low = x[:, 0] + 0.2 * np.ptp(x, axis=1)
    high = x[:, 0] + rng.uniform(0.3, 1, 50) * np.ptp(x, axis=1)
    expected = [PchipInterpolator(*row[:2]).integrate(*row[2:]) for row in zip(x, y, low, high, strict=True)]
    np.testing.assert_allclose(pchip_area(x, y, low, high), expected, atol=1e-12)


def test_a_jump_splits_the_curve():
    x, y = np.array([[0.0, 1.0, 2.5, 2.5, 3.0, 4.0]]), np.array([[0.0, 1.0, 1.5, 4.0, 6.0, 6.5]])
    left, right = PchipInterpolator(x[0, :3], y[0, :3]), PchipInterpolator(x[0, 3:], y[0, 3:])
    found = pchip_area(x, y, np.array([0.5]), np.array([3.5]))
    assert found[0] == pytest.approx(left.integrate(0.5, 2.5) + right.integrate(2.5, 3.5), abs=1e-12)


@pytest.mark.parametrize("interpolation", ["pchip", "akima"])
@pytest.mark.parametrize("factor", [0.25, 0.9, 1.0, 1.37, 3.0])
def test_a_curve_shifted_in_rate_gives_exactly_that(factor, interpolation):
    anchor, tested = curve(RATES, RISING), curve(RATES * factor, RISING)
    found = bd(anchor, tested, interpolation=interpolation)
    assert found.rate_percent == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert found.raw_rate_percent == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert (found.reason, found.raw_reason) == ("", "")
    # with a dent the raw figure is withheld and the primary one is still exact
    dented = RISING.copy()
    dented[3] = dented[1]
    found = bd(curve(RATES, dented), curve(RATES[::-1] * factor, dented[::-1]), interpolation=interpolation)
    assert found.rate_percent == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert found.raw_rate_percent is None
    assert "the anchor is not monotone: no gain from 0.13 to 0.21 bpp" in found.raw_reason


@pytest.mark.parametrize("interpolation", ["pchip", "akima"])
@pytest.mark.parametrize("offset", [-2.5, 0.0, 4.0])
def test_a_curve_shifted_in_accuracy_gives_exactly_that(offset, interpolation):
    dented = RISING.copy()
    dented[4] -= 3
    for values in (RISING, dented):
        found = bd(curve(RATES, values), curve(RATES, values + offset), interpolation=interpolation)
        assert found.accuracy_points == pytest.approx(offset, abs=1e-9)
        assert found.raw_accuracy_points == pytest.approx(offset, abs=1e-9)
        assert found.rate_percent is None or math.copysign(1, found.rate_percent) == -math.copysign(1, offset) or (
            offset == 0)  # fmt: skip


def test_a_straight_line_in_log_rate_by_hand():
    """accuracy = 10 log2(rate): twice the rate everywhere is 10 points; the other needs 10 % less and has 1 more."""
    rates = 2.0 ** np.arange(7) / 16
    anchor = curve(rates, 10 * np.log2(rates))
    assert bd(anchor, curve(rates, 10 * np.log2(rates) + 10)).rate_percent == pytest.approx(-50)
    assert bd(anchor, curve(rates / 4, 10 * np.log2(rates))).accuracy_points == pytest.approx(20)


def test_raw_figures_are_those_of_practice():
    rng = np.random.default_rng(3)
    a, b = np.sort(rng.uniform(0, 30, 6)), np.sort(rng.uniform(5, 35, 6))
    x, z = np.log(np.sort(rng.uniform(0.05, 2, 6))), np.log(np.sort(rng.uniform(0.05, 2, 6)))
    for name, kind in (("pchip", PchipInterpolator), ("akima", Akima1DInterpolator)):
        found = bd(curve(np.exp(x), a), curve(np.exp(z), b), interpolation=name)
        low, high = max(a[0], b[0]), min(a[-1], b[-1])
        mean = (kind(b, z).integrate(low, high) - kind(a, x).integrate(low, high)) / (high - low)
        assert found.raw_rate_percent == pytest.approx(100 * (math.exp(mean) - 1), rel=1e-9)
        assert found.rate_percent == found.raw_rate_percent  # rising already: isotonic regression changes nothing
        low, high = max(x[0], z[0]), min(x[-1], z[-1])
        mean = (kind(z, b).integrate(low, high) - kind(x, a).integrate(low, high)) / (high - low)
        assert found.raw_accuracy_points == pytest.approx(mean, rel=1e-9)


def test_points_on_a_plateau_do_not_move_the_rate():
    anchor = curve(RATES, RISING)
    top = [*RISING[:5], 33.0, 33.0]
    short, long = curve(RATES, top), curve([*RATES, 2.0, 5.0], [*top, 33.0, 33.0])
    assert bd(anchor, long).rate_percent == pytest.approx(bd(anchor, short).rate_percent, abs=1e-12)
    # noise around the plateau pools to it, wherever it lies
    noisy = curve([*RATES, 2.0, 5.0], [*RISING[:5], 33.5, 32.5, 33.2, 32.8])
    assert bd(anchor, noisy).rate_percent == pytest.approx(bd(anchor, long).rate_percent, abs=1e-9)


def test_a_plateau_in_the_middle_is_a_jump():
    """Log rate over accuracy: a line to (1, 0), a jump to (1, 1), a line on. The anchor: no jump."""
    e = math.e
    anchor = curve([e**-1, e**-0.75, e**-0.5, e**-0.25, e**0.5, e], [0, 0.25, 0.5, 0.75, 1.5, 2])
    tested = curve([e**-1, e**-0.5, 1, e, e**1.5, e**2], [0, 0.5, 1, 1, 1.5, 2])
    # log rates: the anchor accuracy − 1; the codec accuracy − 1 below 1 and accuracy above: half of the range 1 more
    assert bd(anchor, tested).rate_percent == pytest.approx(100 * (math.exp(0.5) - 1))


CASES = [  # the codec's points, reason
    (curve(RATES[:5], RISING[:5]), "the codec has 5 rates, 6 are needed"),
    (curve([*RATES[:5], RATES[4]], RISING[:6]), "the codec has 5 rates, 6 are needed"),
    (curve(RATES, RISING - 100), "the curves do not overlap in quality"),
    (curve(RATES, RISING[::-1]), "the codec does not rise with rate"),
    (curve(RATES, [None, *RISING[1:]]), "the codec has a point without a figure"),
    (curve([0, *RATES[1:]], RISING), "the codec has a point without a figure"),
    ([], "the codec has 0 rates"),
]  # fmt: skip


@pytest.mark.parametrize(("tested", "reason"), CASES)
def test_why_there_is_no_figure(tested, reason):
    found = bd(curve(RATES, RISING), tested)
    assert found.rate_percent is None
    assert reason in found.reason
    assert str(found) == f"n/a ({found.reason})"
    assert "\n" not in found.reason
    swapped = bd(tested, curve(RATES, RISING))
    assert swapped.reason == found.reason.replace("the codec", "the anchor")


def test_rate_and_accuracy_fail_apart():
    found = bd(curve(RATES, RISING), curve(RATES, RISING - 100))
    assert (found.rate_percent, found.accuracy_points) == (None, pytest.approx(-100))
    found = bd(curve(RATES, RISING), curve(RATES * 1000, RISING))
    assert (found.rate_percent, found.accuracy_points) == (pytest.approx(99900), None)
    assert found.accuracy_reason == "the curves do not overlap in rate"
    with pytest.raises(ValueError, match="choose one of pchip, akima"):
        bd(curve(RATES, RISING), curve(RATES, RISING), interpolation="cubic")
    raw = bd(curve(RATES, RISING), curve(RATES * 2, RISING), isotonic=False)
    assert raw == BDs(*[pytest.approx(v) for v in (raw.raw_rate_percent, raw.raw_accuracy_points)], "", "",
                      raw.raw_rate_percent, raw.raw_accuracy_points)  # fmt: skip


def test_an_overlap_by_rounding_is_none():
    low, high = np.linspace(10, 20, 6), np.linspace(20, 30, 6)
    high[0] = np.nextafter(20, 0)
    assert bd(curve(RATES[:6], low), curve(RATES[:6], high)).reason == "the curves do not overlap in quality"
    high[0] = 19
    assert bd(curve(RATES[:6], low), curve(RATES[:6], high)).rate_percent < -80


def test_many_at_once_are_each_alone():
    rng = np.random.default_rng(1)
    rates = np.tile(RATES, (40, 1)) * rng.uniform(0.8, 1.25, (40, 7))
    a, b = (RISING + rng.normal(0, 2, (40, 7)) for _ in range(2))
    rate, accuracy = bd_many((rates, a), (rates[::-1], b))
    for i in range(40):
        alone = bd(curve(rates[i], a[i]), curve(rates[39 - i], b[i]))
        assert rate[i] == pytest.approx(alone.rate_percent, abs=1e-9)
        assert accuracy[i] == pytest.approx(alone.accuracy_points, abs=1e-9)
    b[3, 2] = np.nan
    assert np.isnan(bd_many((rates, a), (rates, b))[0]).nonzero()[0].tolist() == [3]


def test_raw_still_needs_four_points():
    assert bd_rate(curve(RATES[:4], RISING[:4]), curve(RATES[:4] / 2, RISING[:4])).percent == pytest.approx(-50)
    assert "3 rates, 4 are needed" in bd_rate(curve(RATES[:3], RISING[:3]), curve(RATES, RISING)).reason
