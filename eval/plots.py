"""Curves of accuracy and fidelity against rate, for paper (PNG, SVG) and for pages in light and dark.

    raw points: markers      line: what BD figures integrate (isotonic), else through the points      band: 95 %

Colours are told apart with every common colour blindness (after Okabe and Ito, darkened or lightened until they
stand out on white and on near-black alike), and every codec has a marker of its own besides. `STYLES` is the one
place of them: pages, plots and benchmarks ask `style`.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = {  # codec -> colour, marker
    "sa-icm-s": ("#d5480b", "o"),
    "lic-s": ("#c4659a", "s"),
    "x265": ("#2a7fc1", "^"),
    "svtav1": ("#0f9b76", "v"),
    "webp": ("#b98a00", "D"),
    "jpeg": ("#84878c", "P"),
    "x264": ("#46a6d8", "X"),
    "vvenc": ("#6b8f1a", "*"),
    "vtm": ("#8d6748", "d"),
}
OTHERS = [("#8a63c9", "<"), ("#3f8f9c", "p"), ("#b0593c", "h"), ("#5a7fc4", ">")]
THEMES = {  # ink, grid, paper
    "light": ("#1c2127", "#dfe3e8", "#ffffff"),
    "dark": ("#e4e7eb", "#353b44", "#15191e"),
}
RATE = "rate (bits per pixel)"
UNCOMPRESSED = "uncompressed (24 bpp)"
WIDE = 6.0  # a rate range of more than this factor is drawn on a logarithmic axis


@dataclass(frozen=True)
class Curve:
    """One codec's raw points (rate_bpp, value), in any order; where the panel has another `across`, of that."""

    name: str
    points: tuple[tuple[float, float], ...]
    line: tuple[tuple[float, float], ...] = ()  # drawn thin instead of a line through the points
    band: tuple[tuple[float, float, float], ...] = ()  # (rate_bpp, low, high)


@dataclass(frozen=True)
class Panel:
    """One pair of axes: what the vertical one measures, the curves, the value without any codec, the horizontal one."""

    title: str
    label: str
    curves: tuple[Curve, ...]
    ceiling: float | None = None
    across: str = RATE
    limits: tuple[float, float] | None = None  # of the vertical axis; None: where the points are


def style(name: str, names: Sequence[str]) -> tuple[str, str]:
    """(colour, marker) of a codec; those without one of their own take the others in the order of `names`."""
    if name in STYLES:
        return STYLES[name]
    number = [other for other in names if other not in STYLES].index(name)
    # after one round the same colours come with other markers: 16 codecs are told apart
    return OTHERS[number % len(OTHERS)][0], OTHERS[(number + number // len(OTHERS)) % len(OTHERS)][1]


def names_of(panels: Iterable[Panel]) -> list[str]:
    """The codecs of these panels, in order, each once."""
    return list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))


def draw(panels: Sequence[Panel], theme: str = "light", names: Sequence[str] = (), legend: bool = True) -> Figure:
    """A figure of panels side by side, with one legend above them, outside of the axes.

    names: every codec of the page or paper that the figure is for, so that each keeps its colour from figure to figure.
    """
    from matplotlib.figure import Figure

    ink, grid, paper = THEMES[theme]
    names = names or names_of(panels)
    rates = [rate for panel in panels if panel.across == RATE for curve in panel.curves for rate, _ in curve.points]
    logarithmic = bool(rates) and max(rates) > WIDE * min(rates)
    figure = Figure(figsize=(4.6 * len(panels), 3.9 if legend else 3.4), layout="constrained", facecolor=paper)
    handles: dict[str, Any] = {}
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        if panel.ceiling is not None:
            line = axes.axhline(panel.ceiling, color=ink, linestyle=(0, (5, 3)), linewidth=1.1, zorder=1)
            handles.setdefault(UNCOMPRESSED, line)
        for curve in panel.curves:
            handles.setdefault(curve.name, _curve(axes, curve, style(curve.name, names), paper))
        of_rate = panel.across == RATE
        _dress(axes, panel, ink, grid, paper, logarithmic and of_rate, rates if of_rate else [])
    if not legend:
        return figure
    inches = 0.75 + 0.085 * max(map(len, handles), default=1)  # of the longest entry
    rows = max(1, -(-len(handles) // max(1, int(4.6 * len(panels) / inches))))
    columns = max(1, -(-len(handles) // rows))
    # matplotlib fills columns first; the codecs are to be read in rows
    order = [name for column in range(columns) for name in list(handles)[column::columns]]
    figure.legend(
        [handles[name] for name in order], order, loc="outside upper left", ncols=columns, frameon=False,
        labelcolor=ink, fontsize=10, handlelength=2.2, columnspacing=1.4,
    )  # fmt: skip
    return figure


def svg(panels: Sequence[Panel], theme: str = "light", names: Sequence[str] = (), legend: bool = True) -> str:
    """The figure as one SVG element with its letters as outlines, the same bytes for the same curves."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "vcm", "svg.fonttype": "path"}):
        draw(panels, theme, names, legend).savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def recoloured(light: str, theme: str) -> str:
    """An SVG that was drawn for light paper as it looks in another theme, for a tenth of the time of drawing it."""
    inks = dict(zip(THEMES["light"], THEMES[theme], strict=True))
    return re.sub("|".join(inks), lambda found: inks[found[0]], light)


def marker_path(marker: str) -> str:
    """The outline of a marker as an SVG path within -1 … 1, for legends that are not drawn by matplotlib."""
    from matplotlib.markers import MarkerStyle
    from matplotlib.transforms import Affine2D

    shape = MarkerStyle(marker)
    path = shape.get_path().transformed(shape.get_transform())
    size = float(np.abs(path.vertices).max())
    path = path.transformed(Affine2D().scale(1 / size, -1 / size))  # down is positive in SVG
    letters = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # matplotlib.path.Path's codes
    return "".join(letters[int(code)] + ("" if code == 79 else " ".join(f"{value:.3g}" for value in points))
                   for points, code in path.iter_segments())  # fmt: skip


def save(panels: Sequence[Panel], path: str | Path, names: Sequence[str] = ()) -> None:
    """Write one file, PNG (200 dpi) or SVG by the suffix, on white."""
    path = Path(path)
    if path.suffix == ".svg":
        path.write_text('<?xml version="1.0" encoding="utf-8"?>\n' + svg(panels, names=names), encoding="utf-8")
    elif path.suffix == ".png":
        draw(panels, names=names).savefig(path, dpi=200)
    else:
        raise ValueError(f"{path}: plots are written as .png or .svg")


def _curve(axes: Any, curve: Curve, look: tuple[str, str], paper: str) -> Any:
    """Band, line and points of one codec; the handle for a legend."""
    colour, marker = look
    x, y = zip(*sorted(curve.points), strict=True)
    if curve.band:
        across, low, high = zip(*sorted(curve.band), strict=True)
        if len(across) > 1:
            axes.fill_between(across, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
        else:  # a band of one point is a bar
            axes.vlines(across, low, high, color=colour, alpha=0.35, linewidth=4, zorder=2)
    dots: dict[str, Any] = {"color": colour, "marker": marker, "markeredgecolor": paper, "markeredgewidth": 0.6,
                            "markersize": 9 if marker == "*" else 6.5}  # fmt: skip  # a star's arms are thin
    if curve.line:
        axes.plot(*zip(*sorted(curve.line), strict=True), color=colour, linewidth=1.1, zorder=3, label="_line")
    (line,) = axes.plot(x, y, linestyle="none" if curve.line else "-", linewidth=1.7, zorder=4, **dots)
    if not curve.line:
        return line
    from matplotlib.lines import Line2D

    return Line2D([], [], linewidth=1.1, **dots)


def _dress(axes: Any, panel: Panel, ink: str, grid: str, paper: str, logarithmic: bool, rates: list[float]) -> None:
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    axes.set_facecolor(paper)
    axes.set_title(panel.title, color=ink, fontsize=10.5, loc="left")
    axes.set_ylabel(panel.label, color=ink, fontsize=9.5)
    axes.set_xlabel(panel.across, color=ink, fontsize=9.5)
    axes.tick_params(colors=ink, labelsize=9, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)
        spine.set_linewidth(0.8)
    axes.grid(True, color=grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    if panel.limits is not None:
        axes.set_ylim(*panel.limits)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(min(rates) / 1.15, max(rates) * 1.15)
        ticks = _ticks(min(rates) / 1.15, max(rates) * 1.15)
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{tick:g}" for tick in ticks])
    elif rates:
        axes.set_xlim(0, max(rates) * 1.06)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten within the range: numbers that read as numbers, not as powers."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**decade for decade in decades for step in (1, 2, 5) if low <= step * 10.0**decade <= high]
