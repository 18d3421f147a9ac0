"""Small pieces of HTML that every part of the page is made of: escaping, data, tables, a codec's colour and marker."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

from eval.plots import marker_path, style


def escape(value: Any) -> str:
    """Text as HTML."""
    return html.escape(str(value))


def data(kind: str, content: bytes) -> str:
    """A data: address, so that the page asks no network."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def key(codec: str, codecs: Sequence[str]) -> str:
    """The codec's marker in its colour, as in the curves."""
    colour, marker = style(codec, codecs)
    return (f'<svg class="key" viewBox="-1.15 -1.15 2.3 2.3" aria-hidden="true"><path d="{marker_path(marker)}" '
            f'fill="{colour}"/></svg>')  # fmt: skip


def marker_line(dashed: bool = False) -> str:
    """A short line in the colour of the letters."""
    dashes = ' stroke-dasharray="5 3"' if dashed else ""
    return ('<svg class="key line" viewBox="0 0 24 8" aria-hidden="true"><path d="M0 4H24" stroke="currentColor" '
            f'stroke-width="1.8"{dashes}/></svg>')  # fmt: skip


def legend(shown: Sequence[str], codecs: Sequence[str], more: Sequence[str] = ()) -> str:
    """Markers and names in one line that wraps; `more`: HTML of further entries."""
    entries = [f"<li>{key(codec, codecs)} {escape(codec)}</li>" for codec in shown]
    return f'<ul class="legend">{"".join([*(f"<li>{entry}</li>" for entry in more), *entries])}</ul>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table that scrolls by itself where the window is narrow; cells are HTML, a `<td …>` of their own where needed.

    A line is drawn where the first cell changes.
    """
    body, last = [], None
    for row in rows:
        first = ' class="first"' if last not in (None, row[0]) else ""
        cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row)
        body.append(f"<tr{first}>{cells}</tr>")
        last = row[0]
    named = {i for row in rows for i, cell in enumerate(row) if cell.startswith('<td class="name"')}
    top = "".join(f'<th class="name">{cell}</th>' if i in named else f"<th>{cell}</th>" for i, cell in enumerate(head))
    said = f"<caption>{caption}</caption>" if caption else ""
    return (f'<div class="scroll" tabindex="0"><table>{said}<thead><tr>{top}</tr></thead>'
            f"<tbody>{''.join(body)}</tbody></table></div>")  # fmt: skip


def signed(value: float, digits: int = 1) -> str:
    """+1.2 or −3.4, with a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")
