"""A thousand pictures through `vcm edges` with a tiny random SAM: killed often, with bad files among them; memory.

    python -m benchmarks.edges_killed -o runs/killed [--pictures 1000] [--kills 20] [--bad 50] [--scale 0.25]

Pictures are bsds500 and coco128 of $VCM_SHARED, repeated with small changes. Three checks: a run killed with kill -9 at
random moments and run again has the manifest of an uninterrupted one; exactly the planted bad files are refused; peak
memory of 1,000 pictures is that of 100.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.kill_stages import files
from benchmarks.killing import Timeline, kill_often, warm_up

ROOT = Path(__file__).resolve().parents[1]
RUN = """
import resource, sys, warnings
warnings.simplefilter("ignore")
import segment_anything, torch
from tests.icm.edges.tiny_sam import tiny_sam
torch.set_num_threads(1)
segment_anything.sam_model_registry["vit_b"] = tiny_sam
from pipelines.cli import main
code = main(sys.argv[1:])
print("peak_kib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def pictures(folder: Path, count: int, bad: int, scale: float, rng: random.Random) -> set[str]:
    """Write `count` pictures and `bad` files that are none; the names of the bad."""
    from PIL import Image

    from pipelines.media import list_pictures, read_picture

    shared = Path(os.environ.get("VCM_SHARED", "../shared")) / "data"
    sources = list_pictures(shared / "bsds500/images") + list_pictures(shared / "coco128/images")
    noise = np.random.default_rng(0)
    (folder / "deep").mkdir(parents=True)
    for i in range(count):
        picture = read_picture(sources[i % len(sources)])
        size = (max(8, round(picture.shape[1] * scale)), max(8, round(picture.shape[0] * scale)))
        small = np.asarray(Image.fromarray(picture).resize(size)).astype(int)
        small += noise.integers(-3, 4, small.shape)
        name = f"{'deep/' if i % 3 == 0 else ''}{i:05d}.jpg"
        Image.fromarray(np.clip(small, 0, 255).astype(np.uint8)).save(folder / name, quality=90)
    whole, names = (folder / "00001.jpg").read_bytes(), set()
    for i in range(bad):
        path = folder / f"{rng.randrange(count):05d}-bad{i}.jpg"
        if i % 5 == 4:
            path.symlink_to(folder / "nowhere.jpg")  # it vanished
        else:
            path.write_bytes([b"", b"<!doctype html><html>", whole[: len(whole) // 2], bytes(500)][i % 5])
        names.add(path.name)
    return names


def command(images: Path, out: Path, weights: Path, batch: int) -> list[str]:
    options = ["points_per_side=4", "stability_score_thresh=0.3", "stability_score_offset=0.3"]
    words = ["edges", str(images), "-o", str(out), "--segmenter", "sam:vit_b", "--sam-checkpoint", str(weights),
             "--device", "cpu", "--alpha", "0.4,0.5", "--batch", str(batch), "--option", *options]  # fmt: skip
    return [sys.executable, "-c", RUN, *words]


def run(words: list[str]) -> int:
    """Run to the end; peak memory in KiB."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return int(done.stdout.rsplit("peak_kib", 1)[1])


def with_tiny_sam(words: list[str]) -> int:
    """As `RUN` does, in this process; 1 is what bad files are told with."""
    import segment_anything

    from pipelines.cli import main as vcm
    from tests.icm.edges.tiny_sam import tiny_sam

    segment_anything.sam_model_registry["vit_b"] = tiny_sam
    code = vcm(words)
    return 0 if code == 1 else code


def main() -> int:
    """Exit code 0 if all three checks hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="output", type=Path, required=True, help="a folder that is made, and made anew")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--bad", type=int, default=50)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--scale", type=float, default=0.25, help="of the pictures' sides (default 0.25)")
    arguments = parser.parse_args()

    import torch

    from tests.icm.edges.tiny_sam import tiny_sam

    out, rng = arguments.output.resolve(), random.Random(0)
    shutil.rmtree(out, ignore_errors=True)
    bad = pictures(out / "images", arguments.pictures, arguments.bad, arguments.scale, rng)
    torch.save(tiny_sam().state_dict(), out / "tiny.pth")
    few = out / "few"
    few.mkdir()
    for path in sorted((out / "images").glob("*.jpg"))[: arguments.pictures // 10]:
        (few / path.name).symlink_to(path)

    start = time.monotonic()
    peak = run(command(out / "images", out / "whole", out / "tiny.pth", arguments.batch))
    whole_s = time.monotonic() - start
    small = run(command(few, out / "tenth", out / "tiny.pth", arguments.batch))
    refused = {json.loads(line)["picture"] for line in (out / "whole/refused.jsonl").read_text().splitlines()}
    count, tenth = arguments.pictures, arguments.pictures // 10
    print(f"{count} pictures, {whole_s:.0f} s; refused {len(refused)}, exactly the planted: {refused == bad}")
    print(f"peak memory {small / 1024:.0f} MiB at {tenth}, {peak / 1024:.0f} at {count}", flush=True)

    torch.set_num_threads(1)
    again, words = out / "killed", command(out / "images", out / "killed", out / "tiny.pth", arguments.batch)[3:]

    def work() -> int:
        return with_tiny_sam(words)

    warm_up(lambda: with_tiny_sam(["edges", str(few), *words[2:3], str(out / "warm"), *words[4:]]))
    timeline = Timeline(whole_s / 10, whole_s, whole_s)
    found = kill_often(work, again, lambda: sum(1 for _ in again.rglob("[!.]*.png")), 2 * count,
                       lambda: files(again), files(out / "whole"), timeline, arguments.kills)  # fmt: skip
    same = not found.differing
    print(f"killed {found.kills} times ({found.before} before a run's first edge map, {found.middle} between, "
          f"{found.after} after the last): manifest and files of the uninterrupted run: {same}")  # fmt: skip
    return 0 if same and refused == bad and peak < 1.05 * small else 1


if __name__ == "__main__":
    sys.exit(main())
