"""A static camera as networks: SA-NeRV, the same network with NeRV's loss, and x265, at x265's bytes.

    python -m benchmarks.person_networks -o runs/person [CLIP] [--quality 28 36] [--minutes 30] [--jobs 2]

The clip is shrunk to 384×216 first and kept without loss: that is the original of every figure. x265 is medium with its
usual groups of pictures; a network gets as many bytes and so many minutes of its share of the threads. Edge maps are
those of `vcm edges CLIP`. Two more networks have the background sent once, one of them with L2 that looks most at
what moves (as in `--groups-from motion`). Person AP50 as in `clips.py`: FastestDet on decoded frames against
FastestDet on the original ones. Every row stays in the folder, and a fit that was ended goes on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import Bench, draw

SIZE = 384, 216
KINDS = {"x265": "x265 medium", "nerv": "NeRV's loss", "sa-nerv": "SA-NeRV's loss",
         "background": "SA-NeRV's, background once", "moving": "L2, more of what moves, background once"}  # fmt: skip
MOVING = 10.0  # pixels that move count 1 and so many times more


def shrunk(source: Path, count: int, size: tuple[int, int], path: Path) -> Path:
    """The first frames, shrunk to (width, height), without further loss."""
    import cv2

    from pipelines.clips import probe_clip, read_clip
    from pipelines.clips_out import writing

    rate = probe_clip(source).rate
    with writing(path, rate) as writer:
        for i, (frame, _) in zip(range(count), read_clip(source), strict=False):
            writer.add(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), i / rate, i)
    return path


def moving_masks(clip: Path, folder: Path) -> Path:
    """A mask a frame of what moves, where edge maps would lie."""
    from icm.groups.motion import Motion
    from pipelines.clips import read_clip
    from pipelines.edges_clip import name_of
    from pipelines.media import write_picture

    motion = Motion()
    for i, (frame, _) in enumerate(read_clip(clip)):
        labels, _ = motion(clip.name, frame)
        mask = np.where(labels > 0, 255, 0).astype(np.uint8)
        write_picture(folder / f"{name_of(i)}.png", np.repeat(mask[..., None], 3, 2))
    return folder


def vcm(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "pipelines", *map(str, words)], check=True)


def fitted(clip: Path, out: Path, most: int, minutes: float, threads: int, more: list[object]) -> Path:
    """One network of at most so many bytes."""
    if not out.exists():
        size: list[object] = ["--codec", "sa-nerv", "--bytes", most, "--minutes", minutes, "--threads", threads]
        vcm("encode", clip, "-o", out, *size, "--resume", *more)
    return out


class Rows(Bench):
    """`Bench` that also takes files which a command made."""

    def of_file(self, kind: str, quality: float, path: Path, minutes: float) -> dict[str, Any]:
        import icm
        from nerv.codec import NetworkCodec

        known = {"kind": kind, "asked": quality, "minutes": minutes}
        for row in self.rows:
            if known.items() <= row.items():
                return row
        figures = self.score(NetworkCodec("sa-nerv", pictures=icm.decode), path)
        row = {**self.settings, **known, "bytes": path.stat().st_size, **figures, "file": path.name}
        self.keep(row)
        return row


def main() -> None:
    """x265's rows, then two networks for each, then the plot."""
    from eval.anchors import ANCHORS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared")).resolve()
    parser.add_argument("clip", nargs="?", type=Path, default=shared / "data/clips/person.mp4")
    parser.add_argument("-o", dest="output", type=Path, default=Path("runs/person"))
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--quality", type=float, nargs="+", default=[28, 36], help="x265's quantisers")
    parser.add_argument("--minutes", type=float, default=30, help="a fit")
    parser.add_argument("--segmenter", default="felzenszwalb", help="of the edge maps")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--jobs", type=int, default=1, help="fits side by side, which share the threads")
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS][1:], default=[*KINDS][1:])
    parser.add_argument("--detector", type=Path, default=shared / "weights/FastestDet.onnx")
    arguments = parser.parse_args()
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    clip = folder / "clip.mkv"
    if not clip.exists():
        shrunk(arguments.clip, arguments.frames, SIZE, clip)
    edges = folder / "edges"
    vcm("edges", clip, "-o", edges, "--segmenter", arguments.segmenter)
    moving = moving_masks(clip, folder / "moving")
    bench = Rows(clip, arguments.detector, folder, arguments.frames, 1)
    options: dict[str, list[object]] = {
        "nerv": ["--fit", "loss=nerv"],
        "sa-nerv": ["--edges", edges],
        "background": ["--edges", edges, "--background"],
        "moving": ["--edges", moving, "--background", "--fit", "loss=l2", "--fit", "edges=weighted", "--fit",
                   f"edge_weight={MOVING}"],
    }  # fmt: skip
    anchors = {quality: bench.row("x265", ANCHORS["x265"](quality), quality) for quality in arguments.quality}
    minutes, threads = arguments.minutes, max(1, arguments.threads // arguments.jobs)
    fits = [(quality, kind) for quality in anchors for kind in arguments.kinds]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        files = list(pool.map(lambda fit: fitted(clip, folder / f"{fit[1]}-{fit[0]:g}.vcm", anchors[fit[0]]["bytes"],
                                                 minutes, threads, options[fit[1]]), fits))  # fmt: skip
    rows = [*anchors.values()]
    rows += [bench.of_file(kind, quality, path, minutes) for (quality, kind), path in zip(fits, files, strict=True)]
    for row in sorted(rows, key=lambda row: row["asked"]):
        print(f"{KINDS[row['kind']]:<38} {row['bytes']:>9,} bytes  PSNR {row['psnr_db']:5.2f} dB  person AP50 "
              f"{row['ap50']:6.2f}  AP {row['ap']:6.2f}", flush=True)  # fmt: skip
    draw(rows, folder / "plot.png", bench.rate, KINDS)


if __name__ == "__main__":
    main()
