"""Runs of `vcm privacy` on a page: for `vcm privacy` itself, and for `vcm report` beside other runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.privacy.conclusion import CONTROL, conclusion
from eval.report import Picture, Report, Strip, render
from eval.report.draw import webp
from eval.report.privacy import plots, section
from pipelines.media import read_picture
from pipelines.report_plots import save_plots
from pipelines.run.atomic import write_text

FILE = "privacy.json"


def read(folder: Path) -> dict[str, Any]:
    """A run's figures; ValueError, one line, where there are none."""
    path = folder / FILE
    try:
        run = json.loads(path.read_bytes())
        if run["points"]:
            return run
    except FileNotFoundError:
        raise ValueError(f"{folder}: holds no {FILE}; run `vcm privacy ... -o {folder}` first") from None
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError(f"{path}: holds no points; run `vcm privacy` again")


def sections(folders: Sequence[Path], output: Path) -> list[str]:
    """The HTML of each run, its plots written beside the page."""
    parts = []
    for folder in folders:
        run = read(folder)
        prefix = f"{run['dataset']}-" if len(folders) > 1 else ""
        save_plots(plots(run, prefix), output)
        parts.append(section(run, _strips(folder, run), prefix))
    return parts


def write(folders: Sequence[Path], output: Path) -> list[str]:
    """Write the page of these runs; returns the first one's conclusion, sentence by sentence."""
    origins = tuple({**json.loads((folder / "run.json").read_bytes()), "run": str(folder)} for folder in folders)
    write_text(output, render(Report("What codecs leave of faces", (), origins, tuple(sections(folders, output)))))
    return conclusion(read(folders[0]))


def _strips(folder: Path, run: dict[str, Any]) -> list[Strip]:
    """A row a point, of faces that the run kept because it was asked to."""
    strips = []
    for point in run["points"]:
        for suffix, note in (("", ""), ("-restored", " after the restoration network")):
            place = folder / "faces" / point["codec"] / f"{point['quality']:g}{suffix}"
            files = sorted(place.glob("*.png")) if place.is_dir() else []
            name = "originals" if point["codec"] == CONTROL else f"{point['codec']}:{point['quality']:g}"
            pictures = tuple(Picture(webp(read_picture(path)), path.stem) for path in files)
            if pictures:
                strips.append(Strip(f"{name}{note}, {point['rate_bpp']:.3f} bpp", pictures))
    return strips
