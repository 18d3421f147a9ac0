"""Our video network beside the public HNeRV: the same clip, bytes and minutes, and ours in a third of the minutes.

    python -m benchmarks.networks -o runs/networks --theirs HNERV [--minutes 20] [--sizes 0.35 0.75] [CLIP]

HNERV is a checkout of its repository. For each size, one after the other, each with all threads: theirs; ours
(`vcm encode --codec sa-nerv`) with the bytes that theirs come to; ours again in a third of the time. Bytes of theirs
are a bound (entropy of its symbols, and scales), ours a file, decoded for its PSNR. Each stays in the folder: a run
that was ended goes on. Nothing else may run beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

FRAME = 640, 320  # the middle of the clip
THIRD, RATE = 3, 24


def middle(source: Path, folder: Path) -> tuple[np.ndarray, Path]:
    """The clip's frames (F, H, W, 3) cut to FRAME, and a lossless file of them."""
    from pipelines.clips import read_clip
    from pipelines.clips_out import writing

    frames, clip = [], folder / "clip.mkv"
    for frame, _ in read_clip(source):
        top, left = (frame.shape[0] - FRAME[1]) // 2, (frame.shape[1] - FRAME[0]) // 2
        frames.append(frame[top : top + FRAME[1], left : left + FRAME[0]])
    if not clip.exists():
        with writing(clip, Fraction(RATE)) as writer:
            for i, frame in enumerate(frames):
                writer.add(frame, Fraction(i, RATE), i)
        np.save(folder / "frames.npy", np.stack(frames))
    return np.stack(frames), clip


def psnr_db(file: Path, frames: np.ndarray) -> float:
    """Mean over frames of the decoded file."""
    from nerv.codec import NetworkCodec

    found = []
    for frame, (shown, _) in zip(frames, NetworkCodec("sa-nerv").decode_clip(file), strict=True):
        error = float(np.square(shown.astype(np.float64) - frame).mean())
        found.append(10 * math.log10(255**2 / max(error, 1e-10)))
    return float(np.mean(found))


def ours(clip: Path, frames: np.ndarray, out: Path, most: int, minutes: float, threads: int) -> dict[str, Any]:
    """One fit by the command, in a process of its own."""
    if not out.exists():
        words = [sys.executable, "-m", "pipelines", "encode", str(clip), "-o", str(out), "--codec", "sa-nerv",
                 "--bytes", str(most), "--minutes", str(minutes), "--threads", str(threads), "--resume"]  # fmt: skip
        subprocess.run(words, check=True)
    log = out.with_name(out.name + ".fit") / "0000" / "log.jsonl"
    curve = [json.loads(line) for line in log.read_text().splitlines()]
    return {"minutes": minutes, "bytes": out.stat().st_size, "psnr_db": psnr_db(out, frames),
            "curve": [{"s": row["seconds"], "psnr_db": row["psnr_db"]} for row in curve]}  # fmt: skip


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """PSNR over minutes: theirs as measured, ours while fitting and the files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(rows), 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for i, row in enumerate(rows):
        axes = figure.add_subplot(1, len(rows), i + 1)
        theirs = row["theirs"]["curve"]
        axes.plot([p["s"] / 60 for p in theirs], [p["psnr_db"] for p in theirs], "s-", color="#8a8a8a", ms=4,
                  label="HNeRV, 8 bits")  # fmt: skip
        for key, colour in (("third", "#e08a3c"), ("whole", "#2a6fbb")):
            one = row[key]
            axes.plot([p["s"] / 60 for p in one["curve"]], [p["psnr_db"] for p in one["curve"]], color=colour, lw=1.2)
            axes.plot([one["minutes"]], [one["psnr_db"]], "o", color=colour,
                      label=f"sa-nerv, a file after {one['minutes']:.1f} min")  # fmt: skip
        axes.set(title=f"{row['bytes']:,} bytes", xlabel="minutes on this machine", ylabel="PSNR (dB)")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path)


def main() -> None:
    """Fit what is missing, then print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("clip", nargs="?", type=Path, default=shared / "data/clips/bunny-360p.mkv")
    parser.add_argument("-o", dest="output", type=Path, required=True)
    parser.add_argument("--theirs", type=Path, required=True, help="a checkout of HNeRV's repository")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.35, 0.75], help="million parameters of theirs")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", choices=("theirs",), help="stop when theirs are fitted")
    arguments = parser.parse_args()
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    frames, clip = middle(arguments.clip, folder)
    rows = []
    for size in arguments.sizes:
        measured = folder / f"hnerv-{size:g}.json"
        known = json.loads(measured.read_text())["curve"][-1]["s"] if measured.exists() else 0
        if known < 60 * arguments.minutes:
            subprocess.run(
                [sys.executable, "-m", "benchmarks.hnerv_public", str(folder / "frames.npy"), "-o", str(measured),
                 "--theirs", str(arguments.theirs), "--size", str(size), "--minutes", str(arguments.minutes),
                 "--threads", str(arguments.threads)], check=True,
            )  # fmt: skip
        theirs = json.loads(measured.read_text())
        if arguments.only:
            continue
        most = math.floor(theirs["curve"][-1]["bytes"])
        row: dict[str, Any] = {"size": size, "bytes": most, "theirs": theirs}
        for key, minutes in (("third", arguments.minutes / THIRD), ("whole", arguments.minutes)):
            row[key] = ours(clip, frames, folder / f"{key}-{size:g}.vcm", most, minutes, arguments.threads)
        rows.append(row)
        last = theirs["curve"][-1]
        print(f"{most:,} bytes: HNeRV {size:g} M {last['psnr_db']:.2f} dB after {last['s'] / 60:.1f} min "
              f"({last['step']} steps); " + "; ".join(
                  f"ours {row[key]['psnr_db']:.2f} dB after {row[key]['minutes']:.1f} min ({row[key]['bytes']:,} bytes)"
                  for key in ("third", "whole")), flush=True)  # fmt: skip
        draw(rows, folder / "networks.png")
        (folder / "networks.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
