"""One picture through SAM's "segment everything": upstream's generator and ours; for `make bench`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

SIDE, COARSE = 16, 8
NAMES = ("exact", "search_pool=2 bfloat16")


def measure(folder: Path, theirs: Path | None) -> dict[str, Any]:
    """Upstream, exact, and the fastest of the named settings."""
    import torch

    from benchmarks import sam_edges
    from benchmarks.__main__ import texture
    from benchmarks.sam_random import random_vit_b
    from icm.edges.sam.options import Options
    from pipelines.media import list_pictures, read_picture

    torch.set_num_threads(os.cpu_count() or 1)
    val = Path(os.environ.get("VCM_SHARED", "../shared")) / "data/coco128/images/val"
    picture = read_picture(list_pictures(val)[0]) if val.is_dir() else texture(480, 640)
    model = random_vit_b([picture])
    thresholds = sam_edges.quantiles(model, picture, COARSE)
    options = Options(points_per_side=SIDE, stability_score_thresh=thresholds["stability"])
    upstream = sam_edges.generate(model, picture, options, thresholds["alpha"])
    edges = upstream.pop("edges")
    found = sam_edges.measure(model, picture, edges, dataclasses.replace(options), thresholds["alpha"], list(NAMES))
    rows = [{"generator": "upstream's", "s": f"{upstream['s']:.1f}", "processor s": f"{upstream['cpu_s']:.1f}",
             "as fast": "", "edge IoU": ""}]  # fmt: skip
    rows += [{"generator": f"ours, {name}", "s": f"{row['s']:.1f}", "processor s": f"{row['cpu_s']:.1f}",
              "as fast": f"{upstream['s'] / row['s']:.2f}×", "edge IoU": f"{row['edge_iou']:.4f}"}
             for name, row in found.items()]  # fmt: skip
    notes = [f"ViT-B with random weights, one picture of {picture.shape[1]}×{picture.shape[0]}, {SIDE}×{SIDE} points; "
             f"{upstream['masks']} masks survive, {edges.mean():.1%} of the pixels are edges. Twelve pictures with the "
             "usual 32×32 points, where the encoder's 8 s weigh less: `benchmarks/README.md`."]  # fmt: skip
    return {"title": "Edge maps by Segment Anything", "rows": rows, "notes": notes}
