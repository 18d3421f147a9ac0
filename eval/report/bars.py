"""Bars: one figure per class or per object size, codec beside codec at comparable rates, the uncompressed one marked.

Plain HTML and CSS: right in both themes, and as narrow as the window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.plots import style
from eval.report.markup import escape, key, legend

MOST = 12  # rows shown at once; the rest is folded


@dataclass(frozen=True)
class Row:
    """A class or size: codec -> figure (None: n/a), and the figure without any codec."""

    name: str
    values: Mapping[str, float | None]
    ceiling: float | None = None
    note: str = ""  # how many objects


@dataclass(frozen=True)
class Bars:
    """A chart. `rates`: codec -> bits per pixel of the point that is shown."""

    title: str
    label: str  # what is measured, with its unit
    rows: tuple[Row, ...]
    rates: Mapping[str, float]
    note: str = ""


def comparable(rates: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """One rate a codec, as near to each other as they can be; where several are, those in the middle of the range.

    rates: codec -> rates in bits per pixel. How near: the largest ratio between two of the chosen ones; up to about
    1.28 counts as near.
    """
    known = {codec: sorted(values) for codec, values in rates.items() if values}
    if not known:
        return {}
    every = sorted(math.log(rate) for values in known.values() for rate in values)
    middle = (every[0] + every[-1]) / 2
    best: tuple[float, float] = (math.inf, math.inf)
    chosen: dict[str, float] = {}
    for target in every:
        pick = {codec: min(values, key=lambda rate: abs(math.log(rate) - target)) for codec, values in known.items()}
        logs = [math.log(rate) for rate in pick.values()]
        # within a quarter, rates are as comparable as rates of files get: then the middle of the curves says most
        cost = (max(0.0, max(logs) - min(logs) - 0.25), abs(target - middle))
        if cost < best:
            best, chosen = cost, pick
    return chosen


def charts(bars: Sequence[Bars], codecs: Sequence[str]) -> list[str]:
    """The HTML, a legend before the first chart and wherever the rates are others than before.

    codecs: all of the page, for their colours.
    """
    out: list[str] = []
    last = None
    for of in bars:
        body = _chart(of, codecs)
        if body and of.rates != last:
            last = of.rates
            entries = [f"{key(codec, codecs)} {escape(codec)} at {rate:.3f} bpp" for codec, rate in of.rates.items()]
            out.append(legend([], codecs, ['<span class="mark"></span> uncompressed', *entries]))
        out += body
    return out


def _chart(of: Bars, codecs: Sequence[str]) -> list[str]:
    """The first 12 rows at once, the others on request; nothing where there is no figure."""
    values = [value for row in of.rows for value in (*row.values.values(), row.ceiling) if value is not None]
    if not values:
        return []
    top = _round_up(max(values))
    said = f"{of.label}, from 0 to {top:g}. {of.note}"
    out = [f"<h4>{escape(of.title)}</h4>", f'<p class="soft">{escape(said)}</p>',
           _rows(of, of.rows[:MOST], top, codecs)]  # fmt: skip
    if len(of.rows) > MOST:
        rest = _rows(of, of.rows[MOST:], top, codecs)
        out.append(f"<details><summary>The other {len(of.rows) - MOST}</summary>{rest}</details>")
    return out


def _rows(of: Bars, rows: Sequence[Row], top: float, codecs: Sequence[str]) -> str:
    out = []
    for row in rows:
        bars = []
        for codec in of.rates:
            value = row.values.get(codec)
            said = "n/a" if value is None else f"{value:.1f}"
            share = 0.0 if value is None else max(0.0, value) / top
            bars.append(f'<div class="bar" title="{escape(codec)}: {said}"><i style="--v:{share:.4f};'
                        f'--c:{style(codec, codecs)[0]}"></i><span>{said}</span></div>')  # fmt: skip
        mark = "" if row.ceiling is None else f'<div class="ceiling" style="--v:{row.ceiling / top:.4f}"></div>'
        note = f" <small>{escape(row.note)}</small>" if row.note else ""
        out.append(f'<div class="bars-row"><div class="bars-name">{escape(row.name)}{note}</div>'
                   f'<div class="bars-box">{mark}{"".join(bars)}</div></div>')  # fmt: skip
    return f'<div class="bars">{"".join(out)}</div>'


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 4, 5, 8, 10 times a power of ten: where the scale ends."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 4, 5, 6, 8, 10) if value <= step * power * (1 + 1e-9))
