"""One self-contained HTML page: curves, BD-rates, points, pictures with detections, and how it was made.

Report ─render─▶ text of one file; it asks nothing of any network, and is right in light and dark.
"""

from __future__ import annotations

import base64
import html
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.metrics import BD
from eval.plots import Panel, svg
from eval.records import Record


@dataclass(frozen=True)
class Picture:
    """One drawn picture: WebP bytes, a bold title, a line below it."""

    webp: bytes
    title: str
    note: str = ""


@dataclass(frozen=True)
class Strip:
    """A row of pictures under a heading: one codec at its rates."""

    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Section:
    """Everything of one data set under one task model."""

    title: str
    lead: str  # one sentence: how many pictures, which model, which protocol
    records: tuple[Record, ...]
    plots: dict[str, tuple[Panel, ...]]  # name (of files too) -> panels
    anchor: str = ""
    bd: dict[str, dict[str, BD]] = field(default_factory=dict)  # codec -> measure -> figure
    strips: dict[str, tuple[Strip, ...]] = field(default_factory=dict)  # picture's name -> strips


@dataclass(frozen=True)
class Report:
    """The page. `origins`: provenance of each run, as `run.json` holds it; `more`: HTML of sections of other kinds."""

    title: str
    sections: tuple[Section, ...]
    origins: tuple[dict[str, Any], ...]
    more: tuple[str, ...] = ()


def render(report: Report) -> str:
    """The page's HTML."""
    style = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
    body = [f"<h1>{_e(report.title)}</h1>"]
    for section in report.sections:
        body += _section(section)
    body += report.more
    body += ["<h2>How this was made</h2>"]
    for origin in report.origins:
        body += _origin(origin)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_e(report.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _section(section: Section) -> list[str]:
    out = [f"<h2>{_e(section.title)}</h2>", f"<p>{_e(section.lead)}</p>", *figures(section.plots)]
    if section.bd:
        out += _bd_table(section)
    out += _points_table(section.records)
    for name, strips in section.strips.items():
        out += [f"<h3>{_e(name)}</h3>", *(strip_html(strip) for strip in strips)]
    return out


def figures(plots: Mapping[str, Sequence[Panel]]) -> list[str]:
    """The plots as HTML, each in light and in dark."""
    out = ['<div class="plots">']
    for name, panels in plots.items():
        dark, light = (_data("image/svg+xml", svg(panels, theme).encode()) for theme in ("dark", "light"))
        across = panels[0].across.replace("rate (bits per pixel)", "rate in bits per pixel")
        alt = f"{', '.join(panel.title for panel in panels)} against {across}"
        out.append(
            f'<figure id="{_e(name)}"><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
            f'<img src="{light}" alt="{_e(alt)}"></picture></figure>'
        )
    return [*out, "</div>"]


def strip_html(strip: Strip) -> str:
    """A row of pictures."""
    shown = "".join(
        f'<figure><img loading="lazy" src="{_data("image/webp", p.webp)}" alt="{_e(p.title)}">'
        f"<figcaption><b>{_e(p.title)}</b> {_e(p.note)}</figcaption></figure>"
        for p in strip.pictures
    )
    heading = f'<p class="soft">{_e(strip.title)}</p>' if strip.title else ""
    return f'{heading}<div class="strip">{shown}</div>'


def _bd_table(section: Section) -> list[str]:
    measures = list(dict.fromkeys(measure for row in section.bd.values() for measure in row))
    head = "".join(f'<th class="measure">{_e(measure)}</th>' for measure in measures)
    rows: list[str] = []
    for codec, figures in section.bd.items():
        cells = []
        for measure in measures:
            bd = figures[measure]
            if all(row[measure] == bd and bd.percent is None for row in section.bd.values()):  # once says it
                if not rows:
                    cells.append(f'<td class="why" rowspan="{len(section.bd)}">n/a: {_e(bd.reason)}</td>')
            elif bd.percent is None:
                cells.append(f'<td class="why">n/a: {_e(bd.reason)}</td>')
            else:
                kind = "saves" if bd.percent < 0 else "costs"
                cells.append(f'<td class="{kind}">{bd.percent:+.1f} %</td>'.replace("-", "−"))
        rows.append(f"<tr><td>{_e(codec)}</td>{''.join(cells)}</tr>")
    return [
        f"<h3>BD-rate against {_e(section.anchor)}</h3>",
        '<p class="soft">Mean difference of rate at equal quality, pchip over the raw points; negative saves rate. '
        "A curve that is not monotone, or does not overlap the anchor’s, has no BD-rate.</p>",
        f'<div class="scroll"><table><tr><th>codec</th>{head}</tr>{"".join(rows)}</table></div>',
    ]


def _points_table(records: Sequence[Record]) -> list[str]:
    tasks = list(dict.fromkeys(record.task for record in records if record.model))
    points: dict[tuple[str, float], list[Record]] = {}
    for record in sorted(records, key=lambda record: record.rate_bpp):
        points.setdefault((record.codec, record.quality), []).append(record)
    order = {name: i for i, name in enumerate(dict.fromkeys(record.codec for record in records))}
    head = "".join(f"<th>{_e(task)}<br>AP</th><th>{_e(task)}<br>AP50</th>" for task in tasks)
    rows, last = [], None
    for (codec, quality), same in sorted(points.items(), key=lambda entry: (order[entry[0][0]], entry[1][0].rate_bpp)):
        one, of = same[0], {record.task: record for record in same}
        cells = [
            codec,
            "" if codec == "uncompressed" else f"{quality:g}",
            f"{one.rate_bpp:.4f}",
            f"{one.bytes_total:,}",
        ]
        for task in tasks:
            cells += [_number(ap, 1) or "n/a" for ap in (of[task].ap, of[task].ap50)] if task in of else ["", ""]
        cells += ["∞" if one.psnr_db == 100.0 else _number(one.psnr_db, 2), _number(one.ms_ssim, 4),
                  _per_picture(one.encode_s, one.pictures), _per_picture(one.decode_s, one.pictures),
                  _threads(one)]  # fmt: skip
        first = ' class="first"' if last not in (None, codec) else ""
        rows.append(f"<tr{first}>" + "".join(f"<td>{_e(cell)}</td>" for cell in cells) + "</tr>")
        last = codec
    return [
        "<h3>Points</h3>",
        '<p class="soft">Times are of coding and decoding in memory, one picture after the other, each codec on the '
        "threads that the last column says: they compare only where these are equal. Anchors use one.</p>",
        '<div class="scroll"><table><tr><th>codec</th><th>quality</th><th>rate<br>(bpp)</th><th>bytes<br>on disk</th>'
        f"{head}<th>PSNR<br>(dB)</th><th>MS-SSIM</th><th>encode<br>(ms/picture)</th><th>decode<br>(ms/picture)</th>"
        "<th>threads<br>(of both)</th></tr>"
        f"{''.join(rows)}</table></div>",
    ]


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
        "seed": (origin.get("settings") or {}).get("seed"),
        "refused": "; ".join(": ".join(item) for item in origin.get("refused") or []) or None,
    }
    rows = "".join(f"<dt>{_e(k)}</dt><dd>{_e(v)}</dd>" for k, v in facts.items() if v not in (None, ""))
    return [f"<pre>{_e(shlex.join(origin.get('command') or []))}</pre>", f"<dl>{rows}</dl>"]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _per_picture(seconds: float | None, pictures: int) -> str:
    return "" if seconds is None else f"{1000 * seconds / pictures:.3g}"


def _threads(record: Record) -> str:
    """Of encoding and decoding: "8", or "8, 1" where they differ; "" where nobody counted."""
    counts = [count for count in (record.encode_threads, record.decode_threads) if count is not None]
    return ", ".join(map(str, dict.fromkeys(counts)))


def _data(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _e(value: Any) -> str:
    return html.escape(str(value))
