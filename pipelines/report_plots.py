"""Plots as files, in a folder that is named after the page they belong to: pages in one folder keep theirs apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eval.plots import Panel
from pipelines.run.atomic import replacing, sweep_beside


def plots_folder(page: Path) -> Path:
    """report.html -> report-plots, beside it."""
    return page.with_name(f"{page.stem}-plots")


def save_plots(plots: Mapping[str, Sequence[Panel]], page: Path, codecs: Sequence[str] = ()) -> None:
    """Every plot as PNG and SVG; `codecs`: all of the page, for their colours."""
    from eval.plots import save

    for name, panels in plots.items():
        for suffix in (".png", ".svg"):
            path = plots_folder(page) / f"{name}{suffix}"
            sweep_beside(path)
            with replacing(path) as temporary:
                save(panels, temporary, codecs)
