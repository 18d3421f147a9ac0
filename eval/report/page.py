"""One self-contained HTML page: curves, BD figures, bars, pictures with what was found in them, and how it was made.

Report ─render─▶ text of one file; it asks nothing of any network, needs no script, and is right in light and dark.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.plots import Panel, names_of, recoloured, svg
from eval.records import Record
from eval.report.bars import Bars, charts
from eval.report.markup import data, escape, legend, marker_line
from eval.report.tables import BySequence, Comparison, Front, bd_table, front_table, points_table, sequence_table
from eval.report.viewer import Viewer, viewer

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Picture:
    """One drawn picture: WebP bytes, a bold title, a line below it."""

    webp: bytes
    title: str
    note: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures under a heading, in rows that wrap."""

    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Section:
    """Everything of one data set under one task model and one protocol."""

    title: str
    lead: str  # how many pictures, which model, which protocol
    records: tuple[Record, ...]
    plots: dict[str, tuple[Panel, ...]]  # name (of files too) -> panels
    headings: dict[str, str] = field(default_factory=dict)  # name of plots -> heading above them
    anchor: str = ""
    bd: tuple[Comparison, ...] = ()
    sequences: tuple[BySequence, ...] = ()
    fronts: tuple[Front, ...] = ()
    bars: tuple[Bars, ...] = ()
    viewer: Viewer | None = None


@dataclass(frozen=True)
class Report:
    """The page. `origins`: provenance of each run, as `run.json` holds it; `more`: HTML of sections of other kinds."""

    title: str
    sections: tuple[Section, ...]
    origins: tuple[dict[str, Any], ...]
    more: tuple[str, ...] = ()


def codecs_of(sections: Sequence[Section]) -> list[str]:
    """Every codec of the page, in order: what decides the colours of those without one of their own."""
    names = dict.fromkeys(record.codec for section in sections for record in section.records)
    return [name for name in names if name != "uncompressed"]


def render(report: Report) -> str:
    """The page's HTML."""
    style = (HERE / "style.css").read_text(encoding="utf-8")
    codecs = codecs_of(report.sections)
    body = [f"<h1>{escape(report.title)}</h1>"]
    for number, section in enumerate(report.sections):
        body += _section(section, codecs, number)
    body += report.more
    body += ["<h2>How this was made</h2>"]
    for origin in report.origins:
        body += _origin(origin)
    if any(section.viewer and section.viewer.scenes for section in report.sections):
        body.append(f"<script>\n{(HERE / 'viewer.js').read_text(encoding='utf-8')}</script>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'  # browsers ask for one beside the page otherwise
        f"<title>{escape(report.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _section(section: Section, codecs: Sequence[str], number: int) -> list[str]:
    out = [f"<h2>{escape(section.title)}</h2>", f"<p>{escape(section.lead)}</p>"]
    out += figures(section.plots, codecs, section.headings)
    out += bd_table(section.bd, section.anchor, codecs)
    if section.viewer:
        out += viewer(section.viewer, codecs, number)
    if section.bars:
        out += ["<h3>Classes and sizes of objects, at comparable rates</h3>", *charts(section.bars, codecs)]
    out += sequence_table(section.sequences, section.anchor, codecs)
    return [*out, *front_table(section.fronts, codecs), *points_table(section.records, codecs)]


def figures(
    plots: Mapping[str, Sequence[Panel]], codecs: Sequence[str] = (), headings: Mapping[str, str] | None = None
) -> list[str]:
    """The plots as HTML, each in light and in dark, with legends that wrap; `codecs`: all of the page."""
    out = []
    for name, panels in plots.items():
        if headings and name in headings:
            out.append(f"<h3>{escape(headings[name])}</h3>")
        more = [f"{marker_line(dashed=True)} uncompressed"] if any(p.ceiling is not None for p in panels) else []
        if any(curve.band for panel in panels for curve in panel.curves):
            more.append('<span class="swatch"></span> 95 % of the resamples')
        out += [legend(names_of(panels), codecs or names_of(panels), more), f'<div class="plots" id="{escape(name)}">']
        out += [_panel(panel, codecs or names_of(panels)) for panel in panels]
        out.append("</div>")
    return out


def _panel(panel: Panel, codecs: Sequence[str]) -> str:
    light = svg([panel], names=codecs, legend=False)
    dark = data("image/svg+xml", recoloured(light, "dark").encode())
    across = panel.across.replace("rate (bits per pixel)", "rate in bits per pixel")
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{data("image/svg+xml", light.encode())}" alt="{escape(f"{panel.title} against {across}")}">'
        "</picture></figure>"
    )


def strip_html(strip: Strip) -> str:
    """Pictures in rows."""
    shown = "".join(
        f'<figure><img loading="lazy" src="{data("image/webp", p.webp)}" alt="{escape(p.title)}">'
        f"<figcaption><b>{escape(p.title)}</b> {escape(p.note)}</figcaption></figure>"
        for p in strip.pictures
    )
    heading = f'<p class="soft">{escape(strip.title)}</p>' if strip.title else ""
    return f'{heading}<div class="strip">{shown}</div>'


def _origin(origin: dict[str, Any]) -> list[str]:
    hardware = origin.get("hardware") or {}
    machine = [hardware.get("processor") or hardware.get("machine"), f"{hardware.get('cores')} cores",
               f"{hardware['torch_threads']} threads of torch" if "torch_threads" in hardware else "",
               f"{(hardware.get('memory_bytes') or 0) / 2**30:.0f} GiB", *hardware.get("accelerators", [])]  # fmt: skip
    versions = ", ".join(f"{name} {version}" for name, version in (origin.get("versions") or {}).items())
    facts = {
        "run": origin.get("run"),
        "date (UTC)": origin.get("date_utc"),
        "commit": origin.get("commit") or "not in a git checkout",
        "hardware": ", ".join(str(part) for part in machine if part),
        "Python": origin.get("python"),
        "packages": versions,
        "task models": "; ".join(map(_model, origin.get("models") or [])) or None,
        "other programs": "; ".join(map(": ".join, (origin.get("commands") or {}).items())) or None,
        "seed": (origin.get("settings") or {}).get("seed"),
        "refused": "; ".join(": ".join(item) for item in origin.get("refused") or []) or None,
    }
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items() if v not in (None, ""))
    return [f"<pre>{escape(shlex.join(origin.get('command') or []))}</pre>", f"<dl>{rows}</dl>"]


def _model(model: dict[str, Any]) -> str:
    """What run.json says of a task model, in one line."""
    weights = model.get("weights_sha256")
    return f"{model.get('name')} ({model.get('protocol')}{f', weights {weights[:16]}…' if weights else ''})"
