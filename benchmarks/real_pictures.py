"""Real pictures, by the command line alone: bpp of the files and AP50 of an outside detector, codec beside codec.

    python benchmarks/real_pictures.py -o runs/real [--codec sa-icm-s:5,20,35,50 x265:37,42,47 webp:1,5]

Each point is `vcm encode`, then `vcm decode` in a process of its own; the outside detector is FastestDet, run by
$VCM_SHARED/eval/coco_ap.py, which knows nothing of this project. On 64 pictures a difference below about 3 points of
AP50 is noise.
Writes table.jsonl and plot.png; a point that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

DEFAULT = ["sa-icm-s:5,20,35,50", "lic-s:5,20,35,50", "x265:51,49,47,42,37", "svtav1:63,58,52,44", "webp:1,5,15"]


def vcm(*words: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-m", "pipelines", *words], check=True, stdout=subprocess.DEVNULL)


def point(spec: str, pictures: Path, out: Path, weights: dict[str, str], options: Sequence[str] = ()) -> float:
    """Encode (with these options) and decode the folder; bits per pixel of the files."""
    from PIL import Image

    name = spec.partition(":")[0]
    more = ["--weights", weights[name]] if name in weights else []
    streams, decoded = out / "streams" / spec, out / "decoded" / spec
    vcm("encode", str(pictures), "-o", str(streams), "--codec", spec, *more, *options)
    codec = ["--codec", name] if name not in ("sa-icm-s", "lic-s") else []
    vcm("decode", str(streams), "-o", str(decoded), *codec, *more)
    sources = sorted(pictures.iterdir())
    stems = {path.stem for path in sources}
    files = [p for p in streams.iterdir() if p.stem in stems]  # the streams alone, not the folder's manifest
    if len(files) != len(sources):
        raise SystemExit(f"{streams}: {len(files)} files for {len(sources)} pictures")
    pixels = 0
    for path in sources:
        with Image.open(path) as picture:
            pixels += picture.width * picture.height
    return 8 * sum(p.stat().st_size for p in files) / pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="output", type=Path, default=Path("runs/real"))
    parser.add_argument("--codec", nargs="+", default=DEFAULT)
    parser.add_argument("--weights", nargs="*", default=[], metavar="C=FILE")
    arguments = parser.parse_args()
    shared = Path(os.environ.get("VCM_SHARED", "../shared")).resolve()
    pictures = shared / "data/coco128/images/val"
    if not pictures.is_dir():
        raise SystemExit(f"{pictures}: no such folder; name the data folder in VCM_SHARED")
    weights = dict(word.split("=", 1) for word in arguments.weights)
    arguments.output.mkdir(parents=True, exist_ok=True)
    table = arguments.output / "table.jsonl"
    rows = [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []
    for group in arguments.codec:
        name, _, qualities = group.partition(":")
        for quality in qualities.split(","):
            spec = f"{name}:{quality}"
            if any(row["codec"] == spec for row in rows):
                continue
            rate = point(spec, pictures, arguments.output, weights)
            command = [sys.executable, str(shared / "eval/coco_ap.py"), str(arguments.output / "decoded" / spec)]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            ap50, ap = (float(value) for value in re.findall(r"AP50 +([\d.]+) +AP +([\d.]+)", lines[-1])[0])
            ceiling = float(re.findall(r"AP50 +([\d.]+)", lines[0])[0])
            rows.append(
                {"codec": spec, "rate_bpp": round(rate, 4), "ap50": ap50, "ap": ap, "ap50_uncompressed": ceiling}
            )
            table.write_text("".join(json.dumps(row) + "\n" for row in rows))
            print(
                f"{spec:<14} {rate:.4f} bpp   AP50 {ap50:5.2f} ({ap50 / ceiling:.0%} kept)   AP {ap:5.2f}", flush=True
            )
    draw(rows, arguments.output / "plot.png")


def draw(rows: list[dict[str, float | str]], path: Path) -> None:
    """Share of the uncompressed AP50 against bits per pixel."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from eval.plots import style  # a codec has one colour, here and in reports

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    names = list(dict.fromkeys(str(row["codec"]).split(":")[0] for row in rows))
    for name in names:
        colour, mark = style(name, names)
        points = sorted(
            (float(r["rate_bpp"]), 100 * float(r["ap50"]) / float(r["ap50_uncompressed"]))
            for r in rows
            if str(r["codec"]).startswith(name + ":")
        )
        axes.plot(*zip(*points, strict=True), color=colour, marker=mark, label=name)
    axes.axhline(100, color="grey", linewidth=1, linestyle="--")
    axes.text(0.99, 100.5, "uncompressed", ha="right", va="bottom", color="grey", transform=axes.get_yaxis_transform())
    axes.set(xlabel="bits per pixel, bytes on disk", ylabel="AP50 kept, % (FastestDet, frozen)", ylim=(None, 106))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.set_xticks([0.03, 0.05, 0.1, 0.2, 0.5])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
