"""Plots: nothing overlaps, every point is drawn, files are what their names say. Layers: what is found is marked."""

from __future__ import annotations

import base64
import io
import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from eval.plots import (
    OTHERS,
    STYLES,
    THEMES,
    Curve,
    Panel,
    draw,
    marker_path,
    recoloured,
    save,
    style,
    svg,
)
from eval.report.draw import colour, hexadecimal, objects, regions

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
    many = [f"new {i}" for i in range(16)]
    assert len({style(name, many) for name in many}) == 16


def test_files(tmp_path):
    save(panels(0.1, 0.5), tmp_path / "a.png")
    save(panels(0.1, 0.5), tmp_path / "a.svg")
    assert np.asarray(Image.open(tmp_path / "a.png")).shape[1] > 1500
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert svg(panels(0.1, 0.5)) in (tmp_path / "a.svg").read_text()  # the same bytes again
    with pytest.raises(ValueError, match=r"\.png or \.svg"):
        save(panels(0.1, 0.5), tmp_path / "a.pdf")


def test_one_point_and_no_points_draw():
    figure = draw((Panel("t", "l", (Curve("jpeg", ((0.5, 20.0),)),)), Panel("t", "l", (), 3.0)))
    FigureCanvasAgg(figure).draw()


def test_points_stay_raw_where_a_line_is_given():
    points, line = ((0.1, 20.0), (0.2, 19.0), (0.4, 30.0)), ((0.1, 19.5), (0.2, 19.5), (0.4, 30.0))
    band = tuple((x, y - 2, y + 3) for x, y in points)
    figure = draw((Panel("t", "l", (Curve("jpeg", points, line, band),)),))
    FigureCanvasAgg(figure).draw()
    thin, markers = figure.axes[0].lines
    assert np.allclose(thin.get_xydata(), line)
    assert np.allclose(markers.get_xydata(), points)
    assert (thin.get_linestyle(), markers.get_linestyle(), markers.get_marker()) == ("-", "None", "P")
    (area,) = figure.axes[0].collections
    corners = {tuple(corner) for corner in area.get_paths()[0].vertices.round(6)}
    assert {(x, end) for x, low, high in band for end in (low, high)} <= corners


def test_the_band_of_one_point_is_seen():
    figure = draw((Panel("t", "l", (Curve("jpeg", ((0.1, 20.0),), (), ((0.1, 15.0, 22.0),)),)),))
    FigureCanvasAgg(figure).draw()
    (bar,) = figure.axes[0].collections
    assert bar.get_segments()[0].tolist() == [[0.1, 15.0], [0.1, 22.0]]


def test_a_codec_keeps_its_colour_from_figure_to_figure():
    names = ["new", "newer", "newest"]
    panel = Panel("t", "l", (Curve("newest", ((0.1, 1.0), (0.2, 2.0))),))
    figure = draw((panel,), names=names)
    assert figure.axes[0].lines[0].get_color() == style("newest", names)[0] == OTHERS[2][0]


def test_dark_is_light_with_other_inks():
    def bare(text: str) -> str:
        return re.sub(r'"#?[mpc][0-9a-f]{10}"|url\(#[^)]*\)', "", text)  # ids are hashes of what they name, colours too

    one = (Panel("t", "l", (Curve("jpeg", ((0.1, 1.0), (0.2, 2.0))),), 3.0),)
    light, dark = (svg(one, theme) for theme in ("light", "dark"))
    assert bare(recoloured(light, "dark")) == bare(dark)


def test_marker_paths_stay_in_their_square():
    for _, marker in [*STYLES.values(), *OTHERS]:
        numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e-\d+)?", marker_path(marker))]
        assert 0.99 < max(map(abs, numbers)) <= 1.01, marker
        assert marker_path(marker).startswith("M")


def test_objects_are_drawn_where_they_are():
    rows = [
        {"category_id": 1, "bbox": [10, 20, 30, 25], "score": 0.9},
        {"category_id": 2, "bbox": [50, 20, 20, 20], "score": 0.3},
    ]
    layer = ET.fromstring(objects(rows, {1: "a <b>"}, (80, 60)))
    box, plate = layer.findall("rect")
    assert [float(box.get(side)) for side in ("x", "y", "width", "height")] == [10, 20, 30, 25]
    assert box.get("stroke") == plate.get("fill") == hexadecimal(colour(1))
    assert [text.text for text in layer.findall("text")] == ["a <b> 0.90"]  # a score of 0.3 is not drawn
    assert layer.get("viewBox") == "0 0 80 60"
    assert ET.fromstring(objects([], {}, (1, 1))).findall("rect") == []


def test_masks_and_keypoints_are_drawn():
    from pycocotools import mask as coder

    mask = np.zeros((60, 80), np.uint8, order="F")
    mask[10:30, 20:60] = 1
    mask[15:25, 30:50] = 0  # a hole
    seen = [value for i in range(17) for value in (i, 2 * i, 0.9 if i != 3 else 0.0)]
    rows = [{"category_id": 1, "bbox": [20, 10, 40, 20], "segmentation": coder.encode(mask), "keypoints": seen}]
    layer = ET.fromstring(objects(rows, {1: "person"}, (80, 60)))
    shape = next(path for path in layer.findall("path") if path.get("fill"))
    assert shape.get("fill-rule") == "evenodd"
    drawn = np.zeros((60, 80), np.uint8)
    import cv2

    outlines = [np.array([pair.split() for pair in part.rstrip("Z").split("L")], int)
                for part in shape.get("d").split("M")[1:]]  # fmt: skip
    cv2.drawContours(drawn, outlines, -1, 1, cv2.FILLED)  # holes stay holes
    assert (drawn != mask).mean() < 0.02
    assert len(layer.findall("circle")) == 16
    assert len([path for path in layer.findall("path") if path.get("stroke")]) == 19 - 2  # limbs of point 3 are not


def test_labels_do_not_meet():
    rows = [{"category_id": i, "bbox": [40 + i, 40, 30, 30], "score": 0.9} for i in range(6)]
    layer = ET.fromstring(objects(rows, dict.fromkeys(range(6), "something"), (160, 120)))
    plates = [[float(rect.get(side)) for side in ("x", "y", "width", "height")] for rect in layer.findall("rect")
              if rect.get("fill") != "none"]  # fmt: skip
    assert len(plates) >= 3
    for (ax, ay, aw, ah), (bx, by, bw, bh) in itertools.combinations(plates, 2):
        assert ax + aw <= bx or bx + bw <= ax or ay + ah <= by + 0.11 or by + bh <= ay + 0.11


def test_regions_are_tinted_and_named():
    ids = np.zeros((40, 60), np.int64)
    ids[:, :30], ids[:20, 30:], ids[39, 59] = 7, 300_000, 12
    layer = ET.fromstring(f"<div>{regions(ids, {7: 1, 300_000: 2, 12: 3}, {1: 'person', 2: 'sky', 3: 'bird'})}</div>"
                          .replace('"><svg', '"/><svg'))  # fmt: skip
    (image,) = layer.findall("img")
    kind, _, content = image.get("src").partition(",")
    assert kind == "data:image/webp;base64"
    tint = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))
    assert tint.shape == (40, 60, 4)
    assert tuple(tint[20, 10, :3]) == colour(1, shade=7 % 3)
    assert tuple(tint[10, 45, :3]) == colour(2, shade=300_000 % 3)
    assert tint[30, 45, 3] == 0  # void
    assert [text.text for text in layer.iter("text")] == ["person", "sky"]  # one pixel has no name
