"""Plots: nothing overlaps, every point is drawn, files are what their names say. Overlays: what is found is marked."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from eval.evaluators import ApEvaluator, FidelityEvaluator
from eval.plots import OTHERS, STYLES, THEMES, Curve, Panel, draw, save, style, svg
from eval.report.draw import colour, overlay
from tests.eval.tiny import tiny_dataset

CODECS = ["sa-icm-s", "lic-s", "x265", "svtav1", "webp", "jpeg", "other"]


def panels(low: float, high: float) -> tuple[Panel, Panel]:
    rates = np.geomspace(low, high, 5)
    curves = tuple(Curve(name, tuple((r, 30 + i + 5 * r) for r in rates)) for i, name in enumerate(CODECS))
    return Panel("Box AP", "AP (%)", curves, 44.0), Panel("Mask AP", "AP (%)", curves, 41.0)


@pytest.mark.parametrize(("rates", "scale"), [((0.03, 0.9), "log"), ((0.2, 0.6), "linear")])
def test_a_plot_shows_everything_and_the_legend_covers_nothing(rates, scale):
    figure = draw(panels(*rates))
    FigureCanvasAgg(figure).draw()
    legend = figure.legends[0].get_window_extent()
    assert legend.x1 <= figure.bbox.x1 + 1
    for axes, panel in zip(figure.axes, panels(*rates), strict=True):
        assert axes.get_xscale() == scale
        assert not legend.overlaps(axes.get_tightbbox())
        assert len(axes.lines) == len(CODECS) + 1  # and the ceiling
        for line, curve in zip(axes.lines[1:], panel.curves, strict=True):
            assert np.allclose(line.get_xydata(), sorted(curve.points))
        low, high = axes.get_xlim()
        assert low <= rates[0] < rates[1] <= high
    places = [(text.get_window_extent(), text.get_text()) for text in figure.legends[0].get_texts()]
    texts = [text for _, text in sorted(places, key=lambda place: (-round(place[0].y1 / 10), place[0].x0))]
    assert texts == ["uncompressed (24 bpp)", *CODECS]  # read in rows


def test_styles_differ_and_stand_out():
    pairs = [*STYLES.values(), *OTHERS]
    assert len({marker for _, marker in pairs}) == len(pairs)

    def luminance(text: str) -> float:
        channels = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for (one, _), (_, _, paper) in itertools.product(pairs, THEMES.values()):
        a, b = sorted((luminance(one), luminance(paper)))
        assert (b + 0.05) / (a + 0.05) > 2.6, (one, paper)
    assert style("x265", CODECS) == STYLES["x265"]
    assert style("other", CODECS) == OTHERS[0]


def test_files(tmp_path):
    save(panels(0.1, 0.5), tmp_path / "a.png")
    save(panels(0.1, 0.5), tmp_path / "a.svg")
    assert np.asarray(Image.open(tmp_path / "a.png")).shape[1] > 1500
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert svg(panels(0.1, 0.5), "dark") == svg(panels(0.1, 0.5), "dark")
    assert svg(panels(0.1, 0.5), "dark") != svg(panels(0.1, 0.5), "light")
    with pytest.raises(ValueError, match=r"\.png or \.svg"):
        save(panels(0.1, 0.5), tmp_path / "a.pdf")


def test_one_point_and_no_points_draw():
    figure = draw((Panel("t", "l", (Curve("jpeg", ((0.5, 20.0),)),)), Panel("t", "l", (), 3.0)))
    FigureCanvasAgg(figure).draw()


def test_overlay_marks_what_is_sure_enough():
    picture = np.full((60, 80, 3), 90, np.uint8)
    rows = [
        {"category_id": 1, "bbox": [10, 20, 30, 25], "score": 0.9},
        {"category_id": 2, "bbox": [50, 20, 20, 20], "score": 0.3},
    ]
    drawn = overlay(picture, rows, {1: "person"})
    assert drawn.shape == picture.shape
    assert tuple(drawn[45, 12]) == colour(1)
    assert (drawn[36:41, 50:71] == 90).all()  # score 0.3 is not drawn
    assert (picture == 90).all()
    assert overlay(np.zeros((1200, 1600, 3), np.uint8), rows, {}).shape == (360, 480, 3)
    assert overlay(np.zeros((1, 1, 3), np.uint8), rows, {}).shape == (1, 1, 3)


def test_evaluators_forget_on_reset(tmp_path):
    dataset = tiny_dataset(tmp_path)
    item = dataset.items[0]
    picture = np.asarray(Image.open(item.path))
    fidelity, precision = FidelityEvaluator(), ApEvaluator(dataset.truth, ("detection",))
    nothing = {"boxes": np.zeros((0, 4)), "scores": [], "labels": [], "masks": np.zeros((0, 48, 64), bool)}
    for _ in range(2):
        fidelity.reset()
        precision.reset()
        fidelity.process(item, picture, 255 - picture)
        precision.process(item, picture, picture, nothing)
        assert precision.evaluate()["detection"].ap == 0
        assert fidelity.evaluate()["psnr_db"] < 20
        assert len(precision.image_ids) == 1
    with pytest.raises(ValueError, match="decoded as 64x47, was 64x48"):
        fidelity.process(item, picture, picture[:-1])
    with pytest.raises(ValueError, match="no prediction"):
        precision.process(item, picture, picture, None)
