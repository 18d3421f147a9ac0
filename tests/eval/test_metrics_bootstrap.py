"""The bootstrap against plain loops and against theory; the Pareto table."""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.bd import bd
from eval.metrics.bootstrap import Point, bootstrap, draw, interval
from eval.metrics.fidelity import FidelityScores
from eval.metrics.pareto import bd_rate_pareto, pareto, undominated
from tests.eval.test_metrics_ap import only, score, wild

PICTURES = 40
FACTORS = 2.0 ** np.arange(6)


def curves(seed=0, noise=1.0, cheaper=0.8, pictures=PICTURES):
    """Two codecs of six points; pictures differ in difficulty, which both share. The second needs `cheaper` bytes."""
    rng = np.random.default_rng(seed)
    hard, size = rng.normal(0, 4, pictures), rng.uniform(0.5, 2, pictures)
    pixels = rng.integers(1000, 3000, pictures)
    found = {}
    for codec, factor in (("x265", 1.0), ("ours", cheaper)):
        found[codec] = []
        for step, rate in enumerate(FACTORS):
            psnr = 30 + 3 * step + hard + rng.normal(0, noise, pictures)
            bytes_ = np.round(pixels * rate * size * factor / 8).astype(int)
            found[codec].append(Point(step, bytes_, pixels, FidelityScores(range(pictures), psnr, psnr / 100)))
    return found


def test_intervals_equal_a_plain_loop():
    """Pictures picked one by one, figures by mean, BD by the function for one pair of curves."""
    given = curves()
    result = bootstrap(given, "x265", resamples=60, seed=5)
    assert (result.figure, result.resamples, result.units) == ("psnr_db", 60, PICTURES)
    rates, values, differences = [], [], []
    for counts in draw(PICTURES, 60, 5):
        drawn = np.repeat(np.arange(PICTURES), counts)
        assert len(drawn) == PICTURES
        both = {codec: [(8 * point.bytes[drawn].sum() / point.pixels[drawn].sum(),
                         point.scores.values["psnr_db"][drawn].mean()) for point in points]
                for codec, points in given.items()}  # fmt: skip
        rates.append(both["ours"][2][0])
        values.append(both["ours"][2][1])
        one = bd(both["x265"], both["ours"])
        differences.append((one.rate_percent, one.accuracy_points))
    band = result.bands["ours"][2]
    assert (band.rate.low, band.rate.high) == pytest.approx(np.percentile(rates, [2.5, 97.5]))
    assert (band.spread.low, band.spread.high) == pytest.approx(np.percentile(values, [2.5, 97.5]))
    compared = result.compared["ours"]
    rate, accuracy = np.percentile(differences, [2.5, 97.5], axis=0).T
    assert (compared.rate_percent.low, compared.rate_percent.high) == pytest.approx(rate)
    assert (compared.accuracy_points.low, compared.accuracy_points.high) == pytest.approx(accuracy)
    assert compared.rate_percent.undefined_percent == 0
    assert list(result.compared) == ["ours"]


def test_bands_hold_the_figures_of_the_whole_set():
    given = curves()
    result = bootstrap(given, "x265", resamples=300)
    for codec, points in given.items():
        assert [band.quality for band in result.bands[codec]] == [0, 1, 2, 3, 4, 5]
        for band, point in zip(result.bands[codec], points, strict=True):
            assert band.accuracy == point.scores.figures()["psnr_db"]
            assert band.rate_bpp == pytest.approx(8 * point.bytes.sum() / point.pixels.sum())
            assert band.rate.low < band.rate_bpp < band.rate.high
            assert band.spread.low < band.accuracy < band.spread.high
    figures = result.compared["ours"].figures
    assert result.compared["ours"].rate_percent.low < figures.rate_percent < result.compared["ours"].rate_percent.high


def test_the_spread_of_a_mean_is_its_standard_error():
    point = curves(pictures=400)["x265"][0]
    band = bootstrap({"x265": [point]}, resamples=4000).bands["x265"][0]
    psnr = point.scores.values["psnr_db"]
    assert band.spread.high - band.spread.low == pytest.approx(2 * 1.96 * psnr.std() / 20, rel=0.05)


def test_pairing_cancels_what_pictures_share():
    """Codecs that differ by a factor of rate alone: exactly so in every resample, however hard the pictures are."""
    given = curves(noise=0.0, cheaper=0.5)
    for points in given.values():
        for point in points:
            point.bytes[:] = point.bytes // 8 * 8
    given["ours"] = [Point(p.quality, p.bytes // 2, p.pixels, p.scores) for p in given["x265"]]
    result = bootstrap(given, "x265", resamples=200)
    compared = result.compared["ours"].rate_percent
    assert (compared.low, compared.high) == (pytest.approx(-50), pytest.approx(-50))
    band = result.bands["ours"][0]
    assert band.spread.high - band.spread.low > 1


def test_the_same_seed_gives_the_same():
    assert bootstrap(curves(), "x265", resamples=50, seed=3) == bootstrap(curves(), "x265", resamples=50, seed=3)
    assert bootstrap(curves(), "x265", resamples=50, seed=3) != bootstrap(curves(), "x265", resamples=50, seed=4)


def test_average_precision_is_resampled_with_its_rate():
    dataset, rows = wild(2)
    rows = only(rows, "bbox")
    rng = np.random.default_rng(0)
    points = []
    for step in range(6):
        noisy = [{**row, "bbox": [v + rng.normal(0, 6 - step) for v in row["bbox"][:2]] + row["bbox"][2:]}
                 for row in rows]  # fmt: skip
        points.append(Point(step, np.arange(1, 8) * 2**step, np.full(7, 4000), score(dataset, noisy, "detection")))
    cheaper = [Point(p.quality, p.bytes * 0.5, p.pixels, p.scores) for p in points]
    result = bootstrap({"a": points, "b": cheaper}, "a", resamples=100)
    assert result.figure == "ap"
    assert result.compared["b"].figures.rate_percent == pytest.approx(-50)
    assert result.compared["b"].rate_percent.low == pytest.approx(-50)
    assert bootstrap({"a": points}, figure="ap50", resamples=10).figure == "ap50"
    with pytest.raises(ValueError, match="pq: no figure of detection; there are ap, ap50"):
        bootstrap({"a": points}, figure="pq")


def test_sequences_are_drawn_whole():
    """Frames of a sequence alike: by frames the mean would look sure, by sequences it is not."""
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(8), 50)
    psnr = 30 + rng.normal(0, 3, 8)[units] + rng.normal(0, 0.1, 400)
    scores = FidelityScores(range(400), psnr, psnr / 100)
    clips = bootstrap({"a": [Point(1, np.full(8, 1000), np.full(8, 10000), scores, units)]}, resamples=500)
    frames = bootstrap({"a": [Point(1, np.full(400, 20), np.full(400, 200), scores)]}, resamples=500)
    wide, narrow = (b.bands["a"][0].spread.high - b.bands["a"][0].spread.low for b in (clips, frames))
    assert wide > 4 * narrow
    assert clips.units == 8


def test_what_is_undefined_is_counted():
    values = np.r_[np.arange(60.0), np.full(40, np.nan)]
    assert interval(values).undefined_percent == pytest.approx(40)
    assert interval(values).low == pytest.approx(np.percentile(np.arange(60), 2.5))
    assert (interval(values[30:]).low, interval(values[30:]).undefined_percent) == (None, pytest.approx(400 / 7))
    # curves that overlap in some resamples only: single pictures carry the overlap
    given = curves(noise=0.0)
    apart = [Point(p.quality, p.bytes, p.pixels, FidelityScores(range(PICTURES), p.scores.values["psnr_db"] + 15
             - 30 * (np.arange(PICTURES) == 0), p.scores.values["ms_ssim"])) for p in given["x265"]]  # fmt: skip
    result = bootstrap({"x265": given["x265"], "ours": apart}, "x265", resamples=400).compared["ours"]
    assert result.accuracy_points.undefined_percent == 0
    assert result.figures.rate_percent is not None
    assert 20 < result.rate_percent.undefined_percent < 50
    assert result.rate_percent.low < result.figures.rate_percent < result.rate_percent.high


def test_too_few_rates_have_bands_and_no_figure():
    given = {codec: points[:5] for codec, points in curves().items()}
    result = bootstrap(given, "x265", resamples=20)
    compared = result.compared["ours"]
    assert "5 rates, 6 are needed" in compared.figures.reason
    assert (compared.rate_percent.low, compared.rate_percent.undefined_percent) == (None, 100)
    assert len(result.bands["ours"]) == 5


def test_points_that_do_not_belong_together():
    given = curves()
    with pytest.raises(ValueError, match="no such curve; there are x265, ours"):
        bootstrap(given, "av1")
    with pytest.raises(ValueError, match="no points"):
        bootstrap({"x265": []})
    other = curves(pictures=41)["ours"]
    with pytest.raises(ValueError, match="ours:0: scored on other pictures"):
        bootstrap({"x265": given["x265"], "ours": other})
    first = given["x265"][0]
    with pytest.raises(ValueError, match="39 units do not fit its 40 pictures"):
        bootstrap({"a": [Point(1, first.bytes[1:], first.pixels[1:], first.scores)]})
    dataset, rows = wild(2)
    with pytest.raises(ValueError, match="detection beside those of fidelity"):
        bootstrap({"a": [first, Point(2, np.ones(7), np.ones(7), score(dataset, only(rows, "bbox"), "detection"))]})


def test_the_pareto_table():
    found = pareto({"a": [(1, 0.1, 10.0), (2, 0.2, 30.0), (3, 0.4, 25.0), (4, 0.8, None)],
                    "b": [(5, 0.2, 20.0), (6, 0.05, 10.0)]}, ceiling=40.0)  # fmt: skip
    assert [(r.codec, r.quality, r.number, r.in_codec, r.overall) for r in found] == [
        ("a", 4, 1, False, False), ("a", 3, 2, False, False), ("a", 2, 3, True, True), ("a", 1, 4, True, False),
        ("b", 5, 1, True, False), ("b", 6, 2, True, True)]  # fmt: skip
    assert [r.kept_percent for r in found] == [None, 62.5, 75.0, 25.0, 50.0, 25.0]
    assert undominated([(0.1, 1.0), (0.1, 1.0), (0.1, 0.5)]) == [True, True, False]
    assert pareto({"a": [(1, 0.1, 10.0)]})[0].kept_percent is None


def test_bd_rate_over_pareto_points():
    anchor = [(0.1, 10.0), (0.2, 20.0), (0.4, 30.0), (0.8, 40.0)]
    dented = [(0.05, 10.0), (0.1, 20.0), (0.15, 15.0), (0.2, 30.0), (0.4, 40.0), (0.6, None)]
    assert bd_rate_pareto(anchor, dented).percent == pytest.approx(-50)
    assert "3 rates" in bd_rate_pareto(anchor, [(0.05, 10.0), (0.1, 20.0), (0.15, 15.0), (0.2, 30.0)]).reason
