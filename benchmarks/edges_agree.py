"""`vcm edges`, three ways to the same files: one pass of three alphas beside three runs, kept masks, Ray beside local.

    python -m benchmarks.edges_agree -o runs/agree [PICTURES] [--count 20] [--checkpoint FILE]

Alphas are quantiles (25, 50 and 75 %) of the predicted IoU of what survives. Without --checkpoint (weights of vit_b,
and then all of its thresholds) a tiny model with random weights stands in for Segment Anything; Ray, whose workers
would not know that one, then draws by colour. Printed: whether files are the same byte for byte, the edge fraction at
each alpha, and what a picture costs where its masks are kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.edges_killed import ROOT, RUN
from benchmarks.kill_stages import files as content

TINY = ["points_per_side=6", "stability_score_thresh=0.3", "stability_score_offset=0.3", "box_nms_thresh=0.9"]


def survivors_iou(images: list[Path], weights: Path, options: list[str], tiny: bool) -> np.ndarray:
    """Predicted IoU of every mask that survives at alpha 0.01, of all pictures."""
    import segment_anything

    from icm.edges.segmenters.sam import build
    from pipelines.edges import _options
    from pipelines.media import read_picture
    from tests.icm.edges.tiny_sam import tiny_sam

    if tiny:
        segment_anything.sam_model_registry["vit_b"] = tiny_sam
    sam = build("vit_b", str(weights), "cpu", _options(options))
    return np.concatenate([sam.survivors([read_picture(path)], 0.01)[0].iou.numpy() for path in images])


def vcm(tiny: bool, *words: str) -> float:
    """Run `vcm edges` in a process of its own; seconds of it that loading Python and torch did not take."""
    command = [sys.executable, "-c", RUN] if tiny else [sys.executable, "-W", "ignore", "-m", "pipelines"]
    start = time.monotonic()
    done = subprocess.run([*command, "edges", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - start


def kept_ms(images: list[Path], masks: Path, alphas: list[float]) -> float:
    """Milliseconds a picture and alpha, from the file of kept masks to the edge map."""
    from icm.edges.boundaries import edge_map
    from icm.edges.segmenters.kept import load
    from pipelines.media import read_picture

    pictures = [(path, read_picture(path)) for path in images]
    start = time.perf_counter()
    for path, picture in pictures:
        found = load(masks / f"{path.name}.npz", picture)
        assert found is not None
        for alpha in alphas:
            edge_map(found.select(alpha).label_map())
    return 1000 * (time.perf_counter() - start) / len(pictures) / len(alphas)


def main() -> int:
    """Exit code 0 if all files agree and edges become fewer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared")) / "data"
    parser.add_argument("pictures", nargs="?", type=Path, default=shared / "coco128/images/val")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="a folder that is made, and made anew")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--checkpoint", type=Path, help="weights of vit_b")
    parser.add_argument("--option", nargs="+", default=[], help="of the segmenter, with --checkpoint")
    arguments = parser.parse_args()

    import torch

    from pipelines.media import list_pictures
    from tests.icm.edges.tiny_sam import tiny_sam

    out, tiny = arguments.output.resolve(), arguments.checkpoint is None
    shutil.rmtree(out, ignore_errors=True)
    (out / "images").mkdir(parents=True)
    for path in list_pictures(arguments.pictures)[: arguments.count]:
        (out / "images" / path.name).symlink_to(path.resolve())
    images, weights = sorted((out / "images").iterdir()), arguments.checkpoint or out / "tiny.pth"
    if tiny:
        torch.save(tiny_sam().state_dict(), weights)
    options = TINY if tiny else arguments.option
    iou = survivors_iou(images, weights, options, tiny)
    alphas = [float(f"{np.quantile(iou, q):.4f}") for q in (0.25, 0.5, 0.75)]
    words = [str(out / "images"), "--segmenter", "sam:vit_b", "--sam-checkpoint", str(weights), "--device", "cpu"]
    words += ["--option", *options] if options else []
    text = [f"{alpha:g}" for alpha in alphas]
    vcm(tiny, *words, "-o", str(out / "one"), "--alpha", ",".join(text), "--keep-masks", str(out / "masks"))
    fractions, equal = [], True
    for alpha in text:
        vcm(tiny, *words, "-o", str(out / alpha), "--alpha", alpha)
        edges = {name: digest for name, digest in content(out / alpha).items() if name.endswith(".png")}
        equal &= edges == content(out / "one" / f"alpha-{alpha}")
        fractions.append(np.mean([_fraction(out / alpha / name) for name in edges]))
    shown = ", ".join(f"{alpha}: {fraction:.4f}" for alpha, fraction in zip(text, fractions, strict=True))
    falling = fractions[0] > fractions[1] > fractions[2]
    print(f"{len(images)} pictures, {len(iou)} masks; one pass of three alphas equals three runs: {equal}")
    print(f"edge fraction at alpha {shown}; falling: {falling}")

    vcm(tiny, *words, "-o", str(out / "again"), "--alpha", ",".join(text), "--keep-masks", str(out / "masks"))
    again = content(out / "again") == content(out / "one")
    milliseconds, size = kept_ms(images, out / "masks", alphas), _size(out / "masks") / len(images)
    print(f"from kept masks ({size / 1024:.0f} KiB a picture) the same: {again}; {milliseconds:.1f} ms an edge map")

    if tiny:
        words = [str(out / "images"), "--segmenter", "felzenszwalb"]
    for engine in ("local", "ray"):
        more = ["--alpha", text[0]] if not tiny else []
        vcm(False, *words, *more, "-o", str(out / engine), "--engine", engine, "--workers", "2", "--batch", "2")
    ray = content(out / "ray") == content(out / "local")
    print(f"Ray and local, 2 workers each, byte for byte the same: {ray}")
    return 0 if equal and falling and again and ray else 1


def _fraction(path: Path) -> float:
    from pipelines.media import read_picture

    return float((read_picture(path)[..., 0] > 0).mean())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.npz"))


if __name__ == "__main__":
    sys.exit(main())
