"""A fit that is killed again and again writes the bytes of one that nothing stopped.

    python -m benchmarks.networks_killed CLIP -o runs/networks_killed [--kills 10] [--steps 60] [--segments 4]

CLIP is read to --frames frames at --size, kept without loss, and fitted in segments by `vcm encode --codec sa-nerv`
with --steps: once whole, then with `kill -9` at random moments, each time gone on with --resume. On the processor.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def shrunk(source: Path, count: int, size: tuple[int, int], path: Path) -> Path:
    """The first frames, shrunk, lossless."""
    import cv2

    from pipelines.clips import probe_clip, read_clip
    from pipelines.clips_out import writing

    rate = probe_clip(source).rate
    with writing(path, rate) as writer:
        for i, (frame, _) in zip(range(count), read_clip(source), strict=False):
            writer.add(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), i / rate, i)
    return path


def main() -> None:
    """Whole, killed, compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared")).resolve()
    parser.add_argument("clip", nargs="?", type=Path, default=shared / "data/clips/bunny-360p.mkv")
    parser.add_argument("-o", dest="output", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60, help="a segment")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--segments", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=2, default=[160, 90])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.output, ignore_errors=True)
    arguments.output.mkdir(parents=True)
    clip = shrunk(arguments.clip, arguments.frames, tuple(arguments.size), arguments.output / "clip.mkv")
    longest = -(-arguments.frames // arguments.segments)
    words = [sys.executable, "-W", "ignore", "-m", "pipelines", "encode", str(clip), "--codec", "sa-nerv:60k",
             "--steps", str(arguments.steps), "--segment", str(longest), "--threads", "1",
             "--device", "cpu", "--checkpoint-minutes", "0.01", "-o"]  # fmt: skip
    whole, broken = arguments.output / "whole.vcm", arguments.output / "killed.vcm"
    started = time.monotonic()
    subprocess.run([*words, str(whole)], check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    rng, kills, moments = np.random.default_rng(arguments.seed), 0, []
    while kills < arguments.kills:
        process = subprocess.Popen([*words, str(broken), "--resume"], stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=float(rng.uniform(0.15, 0.6)) * seconds)
            if broken.exists():  # it ended first: once more from nothing
                broken.unlink()
                shutil.rmtree(broken.with_name("killed.vcm.fit"))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            moments.append(sum(1 for _ in broken.with_name("killed.vcm.fit").glob("*/segment.vcm")))
    subprocess.run([*words, str(broken), "--resume"], check=True, stderr=subprocess.DEVNULL)
    same = whole.read_bytes() == broken.read_bytes()
    verdict = "the same" if same else "OTHERS"
    print(f"{arguments.segments} segments, {arguments.steps} steps each, killed {kills} times (segments finished then: "
          f"{moments}): {broken.stat().st_size:,} bytes, {verdict} as uninterrupted")  # fmt: skip
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    main()
