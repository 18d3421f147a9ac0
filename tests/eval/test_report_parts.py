"""Parts of a report's page: tables say what is known and what is not, bars keep their scale, the gallery is whole."""

from __future__ import annotations

import re

import pytest

from eval.metrics.bd import BD, BDs
from eval.metrics.bootstrap import Interval
from eval.metrics.pareto import pareto
from eval.report.bars import Bars, Row, charts, comparable
from eval.report.markup import signed, table
from eval.report.tables import BySequence, Comparison, Front, bd_table, front_table, sequence_table
from eval.report.viewer import ORIGINAL, Scene, Shot, Viewer, viewer
from tests.pipelines.html import Outline


def words(parts: list[str]) -> str:
    """The text of HTML whose tags are closed."""
    outline = Outline("".join(parts))
    assert outline.open == []
    return " ".join(" ".join(outline.words).split())


def compared(codec, rate=None, interval=None, reason="", raw=None):
    """By 0.3 … points better; raw: BD-rate over raw points, else they fall somewhere."""
    why = "" if raw is not None else "the codec is not monotone"
    of = BDs(rate, None if reason else 1.2, reason, reason, raw, None, why, why)
    if interval is None:
        return Comparison(codec, "box AP", of, BD(4.5))
    return Comparison(codec, "box AP", of, BD(4.5), "points", Interval(*interval, 0.4), Interval(-0.3, 2.9, 0.0))


def test_bd_figures_come_with_their_intervals():
    rows = (compared("webp", -12.3, (-20.0, -4.0), raw=3.0), compared("jpeg", 5.0, (-9.0, 21.0)))
    text = words(bd_table(rows, "x265", ["jpeg", "webp", "x265"]))
    assert "Against x265" in text
    assert "webp −12.3 % −20.0 … −4.0 +1.2 points −0.3 … +2.9 0.4 % +3.0 % +4.5 %" in text
    assert "jpeg +5.0 % −9.0 … +21.0 +1.2 points −0.3 … +2.9 0.4 % n/a: the codec is not monotone +4.5 %" in text


def test_a_saving_is_marked_where_its_interval_excludes_none():
    for interval, marked in (((-20.0, -4.0), True), ((-20.0, 4.0), False), ((None, None), False), (None, False)):
        text = "".join(bd_table([compared("webp", -12.0, interval)], "x265", []))
        assert ('class="saves"' in text) == marked, interval


def test_a_reason_that_holds_for_all_is_said_once():
    rows = [compared(codec, reason="the anchor has 3 rates, 6 are needed") for codec in ("a", "b", "c")]
    text = words(bd_table(rows, "x265", ["a", "b", "c"]))
    assert text.count("the anchor has 3 rates") == 1
    assert "box AP all n/a" in text
    assert "95 %" not in text  # nothing was resampled
    rows[1] = compared("b", reason="the codec has 4 rates, 6 are needed")
    text = words(bd_table(rows, "x265", ["a", "b", "c"]))
    assert (text.count("the anchor has 3 rates"), text.count("the codec has 4 rates")) == (2, 1)
    assert bd_table([], "x265", []) == []


def test_fronts_say_which_points_are_beaten():
    rows = pareto({"a": [(10, 0.1, 20.0), (20, 0.2, 19.0)], "b": [(1, 0.15, 30.0)]}, ceiling=40.0)
    text = words(front_table([Front("box AP", "AP", tuple(rows))], ["a", "b"]))
    assert "box AP: 2 of 3 points are on the front of all codecs (1 of a, 1 of b)" in text
    assert "a R1 20 0.2000 19.0 48 % beaten beaten a R2 10 0.1000 20.0 50 % yes yes" in text
    assert "b R1 1 0.1500 30.0 75 % yes yes" in text
    assert front_table([], []) == []


def test_sequences_have_their_mean():
    def figure(percent):
        return BDs(percent, None, "" if percent is not None else "no overlap")

    of = BySequence("box AP", ("a", "b"), {"one": (figure(-10.0), figure(4.0)), "two": (figure(-20.0), figure(None))})
    text = words(sequence_table([of], "x265", ["a", "b"]))
    assert "box AP: 2 sequences" in text
    assert "one −10.0 % +4.0 % two −20.0 % n/a: no overlap mean −15.0 % +4.0 % (of 1)" in text


def test_tables_escape_and_rule_off():
    text = table(["a", "b"], [["x", "1"], ["x", "2"], ["y", '<td class="why">3</td>']])
    assert text.count('<tr class="first">') == 1
    assert '<tr class="first"><td>y</td><td class="why">3</td></tr>' in text
    assert signed(-1.25, 2) == "−1.25"


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        # one rate each is what there is
        ({"a": [0.1], "b": [0.9]}, {"a": 0.1, "b": 0.9}),
        # several equal ones: the one in the middle of the curves
        ({"a": [0.1, 0.3, 0.9], "b": [0.1, 0.3, 0.9]}, {"a": 0.3, "b": 0.3}),
        # only the ends meet
        ({"a": [0.01, 0.1], "b": [0.1, 1.0]}, {"a": 0.1, "b": 0.1}),
        ({"a": [], "b": [0.1]}, {"b": 0.1}),
        ({}, {}),
    ],
)
def test_rates_that_compare(rates, chosen):
    assert comparable(rates) == chosen


def test_bars_keep_one_scale_and_fold_the_rest():
    rows = tuple(Row(f"class {i}", {"a": 10.0 + i, "b": None if i else 3.0}, 37.0, str(100 - i)) for i in range(15))
    parts = charts([Bars("t", "AP (%)", rows, {"a": 0.11, "b": 0.12})], ["a", "b"])
    text = words(parts)
    assert "from 0 to 40" in text
    assert "a at 0.110 bpp" in text
    assert text.count("n/a") == 14
    assert text.index("class 11") < text.index("The other 3") < text.index("class 12")
    shares = [float(share) for share in re.findall(r'<i style="--v:([\d.]+)', "".join(parts))]
    assert shares[:3] == [0.25, 0.075, 0.275]
    assert {float(share) for share in re.findall(r'"ceiling" style="--v:([\d.]+)', "".join(parts))} == {0.925}
    assert charts([Bars("t", "AP", (Row("x", {"a": None}),), {"a": 0.1})], ["a"]) == []


def test_legends_of_bars_come_once_for_the_same_rates():
    row = (Row("x", {"a": 1.0}),)
    bars = [Bars("one", "", row, {"a": 0.1}), Bars("two", "", row, {"a": 0.1}), Bars("three", "", row, {"a": 0.2})]
    assert "".join(charts(bars, ["a"])).count('class="legend"') == 2


def shots(*codecs):
    original = Shot(b"o", ORIGINAL, ORIGINAL, layers={"objects": "<p>o</p>", "labels": "<p>l</p>"})
    return original, *(Shot(b"d", name, f"{name}:1", "0.1 bpp", 0.1, {"objects": "<p>d</p>"}) for name in codecs)


def test_the_gallery_needs_no_script():
    html = "".join(viewer(Viewer((Scene("Picture <1>", 40, 30, shots("jpeg", "x265")),)), ["jpeg", "x265"]))
    outline = Outline(html)
    assert outline.open == []
    assert outline.tags.count("img") == 3
    assert '<details class="gallery" open>' in html
    assert '<div class="controls" hidden>' in html
    assert "Picture &lt;1&gt;" in html
    assert html.count('data-layer="objects">') == 3 + 1  # each picture's, and the viewer's own
    assert html.count('data-layer="labels" hidden>') == 1


def test_the_viewer_offers_codecs_that_every_picture_has():
    both = Viewer((Scene("1", 4, 3, shots("jpeg", "x265")), Scene("2", 4, 3, shots("jpeg"))))
    html = "".join(viewer(both, ["jpeg", "x265"], 3))
    assert re.findall(r'name="codec-3" value="(\w+)"', html) == ["jpeg"]
    assert html.count('<figure data-codec="x265"') == 1  # the gallery has it all the same
    assert viewer(Viewer(()), []) == []
