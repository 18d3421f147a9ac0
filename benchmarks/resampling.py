"""What intervals cost: seconds to match, and for resamples of AP and BD-rates, beside pycocotools on as many pictures.

    python benchmarks/resampling.py [--resamples 1000] [--codecs 5] [--rates 7] [--large 5000]

The pictures are coco128 val (VCM_SHARED) with detections made of its labels, moved, missed and invented; the large set
is 5,000 such pictures with COCO val's number of objects. One pycocotools evaluation of each resample is what the
bootstrap replaces; a few are timed and multiplied. Seconds are of the processor.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def detections(truth: Any, ids: list[int], seed: int, keep: float) -> list[dict[str, Any]]:
    """COCO result rows: labels found with probability `keep` and noise, and false alarms to about 40 a picture."""
    rng, rows = np.random.default_rng(seed), list[tuple[Any, ...]]()
    categories = truth.getCatIds()
    for picture in ids:
        for label in truth.imgToAnns[picture]:
            if rng.random() < keep:
                x, y, w, h = np.array(label["bbox"]) * (1 + rng.normal(0, 0.04, 4))
                rows.append((picture, label["category_id"], [x, y, w, h], rng.beta(4, 2)))
        for _ in range(30):
            rows.append((picture, rng.choice(categories), rng.uniform(1, 200, 4), rng.beta(1, 4)))
    return [{"image_id": picture, "category_id": int(category), "bbox": [round(float(v), 3) for v in box],
             "score": round(float(score), 6)} for picture, category, box, score in rows]  # fmt: skip


def scores_of(dataset: Any, rows: list[dict[str, Any]]) -> Any:
    from eval.evaluators import build

    evaluator = build("detection", dataset)
    by_picture: dict[int, list[dict[str, Any]]] = {item.id: [] for item in dataset.items}
    for row in rows:
        by_picture[row["image_id"]].append(row)
    for item in dataset.items:
        evaluator.process(item, None, None, {"rows": by_picture[item.id]})
    return evaluator.evaluate()


def reference(truth: Any, rows: list[dict[str, Any]]) -> None:
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes([dict(row) for row in rows]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()


def times(of: Any, factor: int) -> Any:
    """The scores of `factor` copies of the set, as one larger set."""
    from eval.metrics.ap_scores import ApScores
    from eval.metrics.scores import join

    count = len(of.picture_ids)
    return join([ApScores("detection", np.arange(count) + i * count, of.class_names, of.arrays) for i in range(factor)])


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main() -> None:
    from eval.datasets import DATASETS
    from eval.metrics.bootstrap import Point, bootstrap, draw

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--codecs", type=int, default=5)
    parser.add_argument("--rates", type=int, default=7)
    parser.add_argument("--large", type=int, default=5000, metavar="PICTURES")
    options = parser.parse_args()
    folder = Path(os.environ.get("VCM_SHARED", "../shared")) / "data" / "coco128"
    dataset = DATASETS["coco"](folder / "images" / "val", folder / "annotations" / "instances_val.json")
    ids = [item.id for item in dataset.items]
    rng, points = np.random.default_rng(0), dict[Any, Any]()
    made = {(c, r): detections(dataset.truth, ids, c * 100 + r, 0.3 + 0.08 * r)
            for c in range(options.codecs) for r in range(options.rates)}  # fmt: skip
    best = made[0, options.rates - 1]
    spent, _ = seconds(lambda: [reference(dataset.truth, best) for _ in range(3)])  # type: ignore[func-returns-value]
    print(f"{len(ids)} pictures, {len(best)} detections, {len(dataset.truth.anns)} objects")
    print(f"pycocotools, one evaluation             {spent / 3:8.2f} s   x {options.resamples} resamples: "
          f"{spent / 3 * options.resamples:,.0f} s a point")  # fmt: skip
    spent, scores = seconds(lambda: scores_of(dataset, best))
    print(f"matching a point once                   {spent:8.2f} s")
    spent, _ = seconds(lambda: scores.resample(draw(len(ids), options.resamples, 0), ["ap"]))
    print(f"{options.resamples} resamples of AP, a point           {spent:8.2f} s")
    for (c, r), rows in made.items():
        sizes, pixels = rng.integers(3000, 6000, len(ids)) * 2**r, np.full(len(ids), 300_000)
        points.setdefault(f"codec {c}", []).append(Point(r, sizes, pixels, scores_of(dataset, rows)))
    spent, _ = seconds(lambda: bootstrap(points, "codec 0", resamples=options.resamples))
    print(f"bootstrap of {options.codecs} codecs at {options.rates} rates          {spent:8.2f} s")
    large = times(scores, -(-options.large // len(ids)))
    spent, _ = seconds(lambda: large.resample(draw(len(large.picture_ids), options.resamples, 0), ["ap"]))
    print(f"{len(large.picture_ids)} pictures, {len(large.arrays['scores'])} detections: "
          f"{options.resamples} resamples  {spent:8.2f} s a point")  # fmt: skip


if __name__ == "__main__":
    main()
