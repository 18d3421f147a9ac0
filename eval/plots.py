"""Curves of accuracy and fidelity against rate, for paper (PNG, SVG) and for pages in light and dark.

Colours are told apart with every common colour blindness (after Okabe and Ito, darkened or lightened until they
stand out on white and on near-black alike), and every codec has a marker of its own besides.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
}
OTHERS = [("#8a63c9", "<"), ("#6b8f1a", ">"), ("#b0593c", "h"), ("#3f8f9c", "p")]
THEMES = {  # ink, grid, paper
    "light": ("#1c2127", "#dfe3e8", "#ffffff"),
    "dark": ("#e4e7eb", "#353b44", "#15191e"),
}
RATE = "rate (bits per pixel)"
WIDE = 6.0  # a rate range of more than this factor is drawn on a logarithmic axis


@dataclass(frozen=True)
class Curve:
    """One codec's points (rate_bpp, value), in any order; where the panel has another `across`, of that."""

    name: str
    points: tuple[tuple[float, float], ...]


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
    unknown = [other for other in names if other not in STYLES]
    return OTHERS[unknown.index(name) % len(OTHERS)]


def draw(panels: Sequence[Panel], theme: str = "light") -> Figure:
    """A figure of panels side by side, with one legend above them, outside of the axes."""
    from matplotlib.figure import Figure

    ink, grid, paper = THEMES[theme]
    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))
    rates = [rate for panel in panels if panel.across == RATE for curve in panel.curves for rate, _ in curve.points]
    logarithmic = bool(rates) and max(rates) > WIDE * min(rates)
    figure = Figure(figsize=(4.6 * len(panels), 3.9), layout="constrained", facecolor=paper)
    handles: dict[str, Any] = {}
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        if panel.ceiling is not None:
            line = axes.axhline(panel.ceiling, color=ink, linestyle=(0, (5, 3)), linewidth=1.1, zorder=1)
            handles.setdefault("uncompressed (24 bpp)", line)
        for curve in panel.curves:
            colour, marker = style(curve.name, names)
            x, y = zip(*sorted(curve.points), strict=True)
            (line,) = axes.plot(x, y, color=colour, marker=marker, markersize=6.5, linewidth=1.7, zorder=3,
                                markeredgecolor=paper, markeredgewidth=0.6)  # fmt: skip
            handles.setdefault(curve.name, line)
        of_rate = panel.across == RATE
        _dress(axes, panel, ink, grid, paper, logarithmic and of_rate, rates if of_rate else [])
    rows = max(1, -(-len(handles) // (3 * len(panels) + 1)))
    columns = max(1, -(-len(handles) // rows))
    # matplotlib fills columns first; the codecs are to be read in rows
    order = [name for column in range(columns) for name in list(handles)[column::columns]]
    figure.legend(
        [handles[name] for name in order], order, loc="outside upper left", ncols=columns, frameon=False,
        labelcolor=ink, fontsize=10, handlelength=2.2, columnspacing=1.4,
    )  # fmt: skip
    return figure


def svg(panels: Sequence[Panel], theme: str = "light") -> str:
    """The figure as one SVG element with its letters as outlines, the same bytes for the same curves."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "vcm", "svg.fonttype": "path"}):
        draw(panels, theme).savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def save(panels: Sequence[Panel], path: str | Path) -> None:
    """Write one file, PNG (200 dpi) or SVG by the suffix, on white."""
    path = Path(path)
    if path.suffix == ".svg":
        path.write_text('<?xml version="1.0" encoding="utf-8"?>\n' + svg(panels), encoding="utf-8")
    elif path.suffix == ".png":
        draw(panels).savefig(path, dpi=200)
    else:
        raise ValueError(f"{path}: plots are written as .png or .svg")


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
