"""SAM's edge maps, ours beside upstream's generator: agreement and seconds, from one run and one setting.

    python -m benchmarks.sam_edges -o runs/sam_edges [PICTURES] [--count 12] [--minutes 20] [--side 32]

ViT-B with random weights whose masks are regions around their points (`sam_random.py`), aimed on the first six.
Thresholds are quantiles of each picture: 25 % of its masks pass predicted IoU, half of these stability. Pictures take
turns: on each, upstream, exact, and each named setting of options, in this process with the same threads. Seconds are
wall-clock and of the processor (all threads: the figure to read on a busy machine). What is measured stays in the
folder, two files a picture: a run that was ended goes on, and a setting that was named since is measured beside exact,
whose seconds then and now say how fast the machine was.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

NAMED: dict[str, dict[str, Any]] = {
    "exact": {},
    "search_pool=2": {"search_pool": 2, "refine": 0.005, "refine_masks": 0.1},
    "search_pool=2 bfloat16": {
        "search_pool": 2, "refine": 0.01, "refine_masks": 0.1,
        "precision": "bfloat16", "precision_parts": "transformer+upscaling",
    },
    "bfloat16 search": {"precision": "bfloat16", "precision_parts": "transformer+upscaling", "refine": 0.02},
    "bfloat16": {"precision": "bfloat16"},
}


def quantiles(model: Any, picture: np.ndarray, side: int) -> dict[str, float]:
    """alpha and the stability threshold of a picture, from a coarse grid of points."""
    from icm.edges.sam.everything import Everything
    from icm.edges.sam.options import Options

    everything = Everything(model, Options(points_per_side=side, stability_score_thresh=0.0, box_nms_thresh=1.0))
    (found,) = everything([picture], 0.0)
    alpha = float(found.iou.quantile(0.75))
    return {"alpha": alpha, "stability": float(found.stability[found.iou > alpha].nanmedian())}


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    start = clocks()
    result = function()
    end = clocks()
    return result, {"s": end[0] - start[0], "cpu_s": end[1] - start[1]}


def generate(model: Any, picture: np.ndarray, options: Any, alpha: float) -> dict[str, Any]:
    """What upstream finds: `edges` (H, W) bool, `masks` (how many), seconds."""
    from segment_anything import SamAutomaticMaskGenerator

    from icm.edges.boundaries import edge_map
    from icm.edges.labels import label_map

    generator = SamAutomaticMaskGenerator(
        model,
        pred_iou_thresh=alpha,
        points_per_side=options.points_per_side,
        stability_score_thresh=options.stability_score_thresh,
        box_nms_thresh=options.box_nms_thresh,
    )

    def theirs() -> tuple[np.ndarray, int]:
        masks = generator.generate(picture)
        scores = [mask["predicted_iou"] for mask in masks]
        height, width = picture.shape[:2]
        return label_map([mask["segmentation"] for mask in masks], scores, (height, width)), len(masks)

    (labels, masks), seconds = timed(theirs)
    return {"edges": edge_map(labels), "masks": masks, **seconds}


def measure(
    model: Any, picture: np.ndarray, reference: np.ndarray, options: Any, alpha: float, names: list[str]
) -> dict[str, Any]:
    """Seconds of each of NAMED, and the IoU of its edges with `reference` (H, W)."""
    from icm.edges.boundaries import edge_map
    from icm.edges.sam.everything import Everything

    found: dict[str, Any] = {}
    for name in names:
        everything = Everything(model, dataclasses.replace(options, **NAMED[name]))
        # a picture is a first one only once: prompt embeddings of its size are there from the second on
        labels, found[name] = timed(lambda: everything([picture], alpha)[0].select(alpha).label_map())  # noqa: B023
        edges = edge_map(labels)
        union = int((edges | reference).sum())
        found[name]["edge_iou"] = int((edges & reference).sum()) / union if union else 1.0
    return found


def turn(model: Any, picture: np.ndarray, file: Path, side: int, coarse: int, names: Sequence[str]) -> None:
    """One picture: measure those of `names` that `file` lacks. Upstream's edges lie beside it."""
    from icm.edges.sam.options import Options
    from pipelines.edges_job import png
    from pipelines.media import read_picture
    from pipelines.run.atomic import write_bytes, write_text

    edges = file.with_suffix(".png")
    row: dict[str, Any]
    row = json.loads(file.read_text()) if file.exists() else {"thresholds": quantiles(model, picture, coarse)}
    alpha, stability = row["thresholds"]["alpha"], row["thresholds"]["stability"]
    options = Options(points_per_side=side, stability_score_thresh=stability)
    if file.exists():
        missing = [name for name in names if name not in row["settings"]]
        if not missing:
            return
        reference = read_picture(edges)[..., 0] > 0
        again = measure(model, picture, reference, options, alpha, ["exact", *missing])
        for name in missing:  # in the seconds of that time
            scale = {unit: row["settings"]["exact"][unit] / again["exact"][unit] for unit in ("s", "cpu_s")}
            row["settings"][name] = {**again[name], **{unit: again[name][unit] * scale[unit] for unit in scale}}
    else:
        theirs = generate(model, picture, options, alpha)
        reference = theirs.pop("edges")
        row |= {"shape": picture.shape[:2], "edge_fraction": float(reference.mean()), "upstream": theirs}
        row["settings"] = measure(model, picture, reference, options, alpha, list(names))
        write_bytes(edges, png(reference))
    write_text(file, json.dumps(row) + "\n")


def report(rows: list[dict[str, Any]]) -> None:
    """Means over pictures, ratios of summed seconds; whether the setting is as hard as it should be is for the reader:
    edge fraction of 2 to 20 %, at least 30 masks."""
    fractions, masks = [row["edge_fraction"] for row in rows], [row["upstream"]["masks"] for row in rows]
    print(f"{len(rows)} pictures; edge fraction {min(fractions):.3f} to {max(fractions):.3f}; ", end="")
    print(f"masks that survive {min(masks)} to {max(masks)}")
    total = {unit: sum(row["upstream"][unit] for row in rows) for unit in ("s", "cpu_s")}
    mean = {unit: total[unit] / len(rows) for unit in total}
    print(f"{'upstream':<32} {mean['s']:7.1f} s {mean['cpu_s']:7.1f} cpu s a picture")
    for name in NAMED:
        settings = [row["settings"][name] for row in rows if name in row["settings"]]
        if len(settings) < len(rows):
            continue
        own = {unit: sum(one[unit] for one in settings) for unit in total}
        iou = [one["edge_iou"] for one in settings]
        print(
            f"{name:<32} {own['s'] / len(rows):7.1f} s {own['cpu_s'] / len(rows):7.1f} cpu s   "
            f"{total['s'] / own['s']:5.2f}x ({total['cpu_s'] / own['cpu_s']:5.2f}x cpu)   "
            f"edge IoU mean {np.mean(iou):.4f}, least {min(iou):.4f}"
        )


def main() -> None:
    """Measure what is missing while the minutes last, then print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("pictures", nargs="?", type=Path, default=shared / "data/coco128/images/val")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="folder for what is measured")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--side", type=int, default=32, help="points a side (default 32, upstream's)")
    parser.add_argument("--coarse", type=int, default=8, help="points a side for the thresholds (default 8)")
    parser.add_argument("--minutes", type=float, default=60, help="start no picture after so many (default 60)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--settings", nargs="+", choices=NAMED, default=list(NAMED), help="which (default all)")
    arguments = parser.parse_args()
    names = ["exact", *(name for name in arguments.settings if name != "exact")]

    import torch

    from benchmarks.sam_random import random_vit_b
    from pipelines.media import list_pictures, read_picture

    torch.set_num_threads(arguments.threads)
    start, paths = time.monotonic(), list_pictures(arguments.pictures)[: arguments.count]
    drawn = arguments.output / "decoder.pt"  # aimed once: another version of the code would aim a bit differently
    model = random_vit_b([] if drawn.exists() else [read_picture(path) for path in paths[:6]])
    if drawn.exists():
        model.mask_decoder.load_state_dict(torch.load(drawn, weights_only=True))
    else:
        arguments.output.mkdir(parents=True, exist_ok=True)
        torch.save(model.mask_decoder.state_dict(), drawn)
    print(f"{arguments.threads} threads", flush=True)
    files = [arguments.output / f"{path.stem}.json" for path in paths]
    for path, file in zip(paths, files, strict=True):
        if time.monotonic() - start < 60 * arguments.minutes:
            turn(model, read_picture(path), file, arguments.side, arguments.coarse, names)
            print(f"{file.stem} after {time.monotonic() - start:.0f} s", flush=True)
    rows = [json.loads(file.read_text()) for file in files if file.exists()]
    if rows:
        report(rows)


if __name__ == "__main__":
    main()
