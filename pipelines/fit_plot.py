"""What a fit did: PSNR over time from its log, and the file at its end, as a picture beside them."""

from __future__ import annotations

from pathlib import Path

from pipelines.run.training_log import parsed


def draw(folder: Path, size: int, psnr_db: float) -> Path:
    """FOLDER/plot.png from FOLDER/log.jsonl; size, psnr_db: of the finished file. Returns its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from pipelines.run.atomic import replacing

    rows = [row for line in (folder / "log.jsonl").read_text().splitlines() if (row := parsed(line))]
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    minutes = [row["seconds"] / 60 for row in rows]
    axes.plot(minutes, [row["psnr_db"] for row in rows], color="#2a6fbb", lw=1.6, label="while fitting, in floats")
    end = minutes[-1] if minutes else 0.0
    axes.plot([end], [psnr_db], "o", color="#c8452d", label=f"the file: {size:,} bytes, {psnr_db:.2f} dB")
    axes.set_xlabel("minutes")
    axes.set_ylabel("PSNR of frames (dB)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    path = folder / "plot.png"
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
    return path
