"""What `vcm edges CLIP --reuse LEVELS` saves and costs: frames reused, and how the edges differ from their own.

    python benchmarks/edge_reuse.py [CLIP] [--frames 60] [--step 5] [--levels 2 4 8 16] [--segmenter felzenszwalb]

Edge IoU of a reused frame is that of the edge map it takes with the one it would have had. The last column is the same
between each frame and the one before, whatever moved: how far this segmenter's edges flicker by themselves.
"""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path

import numpy as np


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def main() -> None:
    """Print a row a level."""
    from icm.edges.boundaries import edge_map
    from icm.edges.segmenters import build
    from pipelines.clips import read_clip
    from pipelines.edges_clip import block_means, moved

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("clip", nargs="?", type=Path, default=shared / "data/clips/person.mp4")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--step", type=int, default=5, help="take every so manieth frame (default 5)")
    parser.add_argument("--levels", type=float, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--segmenter", default="felzenszwalb")
    parser.add_argument("--sam-checkpoint")
    parser.add_argument("--alpha", type=float, default=0.93, help="of Segment Anything (default 0.93)")
    parser.add_argument("--option", nargs="+", default=[])
    arguments = parser.parse_args()
    options = dict(word.split("=", 1) for word in arguments.option)
    segmenter = build(arguments.segmenter, arguments.sam_checkpoint, options=options)
    segmenter.prepare()
    alpha = arguments.alpha if segmenter.scored else None
    edges, means = [], []
    for picture, _ in itertools.islice(read_clip(arguments.clip), 0, arguments.frames * arguments.step, arguments.step):
        edges.append(edge_map(segmenter.label_maps(picture, "frame", [alpha])[0]))
        means.append(block_means(picture))
    flicker = np.mean([iou(a, b) for a, b in itertools.pairwise(edges)])
    print(f"{arguments.clip.name}, every {arguments.step}th frame, {len(edges)} of them, {segmenter.name}")
    for levels in arguments.levels:
        key, found = 0, []
        for i in range(1, len(edges)):
            if moved(means[i], means[key], levels):
                key = i
            else:
                found.append(iou(edges[i], edges[key]))
        quality = f"edge IoU mean {np.mean(found):.3f}, least {min(found):.3f}" if found else "none"
        share = f"{len(found)} ({len(found) / len(edges):.1%})"
        print(f"--reuse {levels:<4g} reused {share:<12} {quality}; flicker {flicker:.3f}")


if __name__ == "__main__":
    main()
