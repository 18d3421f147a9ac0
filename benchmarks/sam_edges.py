"""SAM's edge maps, ours beside upstream's generator: agreement and seconds, from one run and one setting.

    python benchmarks/sam_edges.py -o runs/sam_edges [PICTURES] [--count 12] [--minutes 20] [--side 32]

Random-weight ViT-B, its decoder drawn wider so that points give different masks. Thresholds are quantiles of this run:
25 % of the masks pass predicted IoU, half of these stability. Pictures take turns: on each, upstream, exact, and each
named setting of options, in this process with the same threads. Seconds are wall-clock and of the processor (all
threads: the figure to read on a busy machine). What is measured stays in the folder, a file a picture: a run that was
ended goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NAMED: dict[str, dict[str, Any]] = {
    "exact": {},
    "low_res_margin=0.02": {"low_res_margin": 0.02},
    "bfloat16 encoder+upscaling": {"precision": "bfloat16", "precision_parts": "encoder+upscaling"},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, low_res_margin=0.02": {"precision": "bfloat16", "low_res_margin": 0.02},
}


def wide_vit_b(gain: float, detail: float) -> Any:
    """ViT-B, random, so that points have different masks and these are no dust.

    gain: of the decoder's matrices (at their usual size every point has the same mask). detail: how much the four
    subpixels of each upscaling differ (1: as drawn, which gives a chequerboard).
    """
    import torch
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    model = sam_model_registry["vit_b"](checkpoint=None).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and name.startswith("mask_decoder"):
                weight.mul_(gain)
            if "point_embeddings" in name:
                weight.mul_(3)
        for layer in (model.mask_decoder.output_upscaling[0], model.mask_decoder.output_upscaling[3]):
            mean = layer.weight.mean((2, 3), keepdim=True)
            layer.weight.copy_(2 * mean + detail * (layer.weight - mean))
        last = model.mask_decoder.iou_prediction_head.layers[-1]
        last.weight.mul_(0.02)
        last.bias.fill_(0.6)  # upstream filters by positive IoU only
    return model


def quantiles(model: Any, pictures: list[np.ndarray], side: int) -> dict[str, float]:
    """alpha and the stability threshold, from a coarse grid of points on every picture."""
    import torch

    from icm.edges.sam.everything import Everything
    from icm.edges.sam.options import Options

    everything = Everything(model, Options(points_per_side=side, stability_score_thresh=0.0, box_nms_thresh=1.0))
    found, embeddings = [], []
    with torch.inference_mode():
        for picture in pictures:
            embeddings.append(everything.encode([picture])[0])
            shared, prompts = everything.decoder.share(embeddings[-1]), everything._prompts(0, picture.shape[:2])
            for start in range(0, side * side, 4):
                state = everything.decoder.transform(shared, prompts.part(start, start + 4))
                found.append(everything.decoder.predicted_iou(state).flatten())
        alpha = float(torch.cat(found).quantile(0.75))
        stability = []
        for picture, embedding in zip(pictures, embeddings, strict=True):
            height, width = picture.shape[:2]
            kept = everything._crop(embedding, [0, 0, width, height], 0, (height, width), alpha)
            stability.append(kept.stability)
    return {"alpha": alpha, "stability": float(torch.cat(stability).nanmedian())}


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    start = clocks()
    result = function()
    end = clocks()
    return result, {"s": end[0] - start[0], "cpu_s": end[1] - start[1]}


def measure(model: Any, picture: np.ndarray, thresholds: dict[str, float], side: int, nms: float) -> dict[str, Any]:
    """One picture: seconds of each, edge IoU with upstream's, its edge fraction and masks."""
    from segment_anything import SamAutomaticMaskGenerator

    from icm.edges.boundaries import edge_map
    from icm.edges.labels import label_map
    from icm.edges.sam.everything import Everything
    from icm.edges.sam.options import Options

    alpha = thresholds["alpha"]
    options = Options(points_per_side=side, stability_score_thresh=thresholds["stability"], box_nms_thresh=nms)
    ours = {name: Everything(model, dataclasses.replace(options, **more)) for name, more in NAMED.items()}
    generator = SamAutomaticMaskGenerator(
        model, pred_iou_thresh=alpha, points_per_side=side,
        stability_score_thresh=options.stability_score_thresh, box_nms_thresh=nms,
    )  # fmt: skip

    def theirs() -> np.ndarray:
        masks = generator.generate(picture)
        row["masks"] = len(masks)
        return label_map([m["segmentation"] for m in masks], [m["predicted_iou"] for m in masks], picture.shape[:2])

    row: dict[str, Any] = {"shape": picture.shape[:2]}
    labels, row["upstream"] = timed(theirs)
    reference = edge_map(labels)
    row["edge_fraction"] = float(reference.mean())
    for name, everything in ours.items():
        # a picture is a first one only once: prompt embeddings of its size are there from the second on
        def mine(everything: Any = everything) -> np.ndarray:
            return everything([picture], alpha)[0].select(alpha).label_map()

        found, row[name] = timed(mine)
        edges = edge_map(found)
        union = int((edges | reference).sum())
        row[name]["edge_iou"] = int((edges & reference).sum()) / union if union else 1.0
    return row


def report(rows: list[dict[str, Any]]) -> None:
    """Means over pictures, ratios of summed seconds; whether the setting is as hard as it should be is for the reader:
    edge fraction of 2 to 20 %, at least 30 masks."""
    fractions, masks = [row["edge_fraction"] for row in rows], [row["masks"] for row in rows]
    print(f"{len(rows)} pictures; edge fraction {min(fractions):.3f} to {max(fractions):.3f}; ", end="")
    print(f"masks that survive {min(masks)} to {max(masks)}")
    total = {unit: sum(row["upstream"][unit] for row in rows) for unit in ("s", "cpu_s")}
    mean = {unit: total[unit] / len(rows) for unit in total}
    print(f"{'upstream':<32} {mean['s']:7.1f} s {mean['cpu_s']:7.1f} cpu s a picture")
    for name in NAMED:
        own = {unit: sum(row[name][unit] for row in rows) for unit in total}
        iou = [row[name]["edge_iou"] for row in rows]
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
    parser.add_argument("--gain", type=float, default=3.0, help="of the decoder's random weights (default 3)")
    parser.add_argument("--detail", type=float, default=0.3, help="of the upscaling's random weights (default 0.3)")
    parser.add_argument(
        "--nms", type=float, default=0.95, help="box_nms_thresh of both (default 0.95: 30 must survive)"
    )
    parser.add_argument("--minutes", type=float, default=60, help="start no picture after so many (default 60)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    import torch

    from pipelines.media import list_pictures, read_picture
    from pipelines.run.atomic import write_text

    torch.set_num_threads(arguments.threads)
    start, paths = time.monotonic(), list_pictures(arguments.pictures)[: arguments.count]
    model = wide_vit_b(arguments.gain, arguments.detail)
    record = arguments.output / "thresholds.json"
    if not record.exists():
        found = quantiles(model, [read_picture(path) for path in paths], arguments.coarse)
        write_text(record, json.dumps(found) + "\n")
    thresholds = json.loads(record.read_text())
    print(f"{arguments.threads} threads, alpha {thresholds['alpha']:.5f}, stability {thresholds['stability']:.4f}")
    for path in paths:
        file = arguments.output / f"{path.stem}.json"
        if not file.exists() and time.monotonic() - start < 60 * arguments.minutes:
            row = measure(model, read_picture(path), thresholds, arguments.side, arguments.nms)
            write_text(file, json.dumps(row) + "\n")
    files = [arguments.output / f"{path.stem}.json" for path in paths]
    rows = [json.loads(file.read_text()) for file in files if file.exists()]
    if rows:
        report(rows)


if __name__ == "__main__":
    main()
