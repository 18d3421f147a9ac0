"""What group masks cost: ours and the paper's coding (arXiv 2305.02586), on panoptic labels, every segment a group.

    python -m benchmarks.group_masks [--annotations panoptic_val.json ...] [--grid 16] [--refit]

The paper's: a fixed half-normal distribution of sigma 16 for the group's number, no context; here through the same
entropy coder, and with the numbers that suit it best (the largest group is 0). Bytes are those of the payloads.
--refit prints the starting counts of the contexts from these labels instead (icm/groups/mask_prior.py has those of
coco128's training labels, so the validation labels are the honest figure).
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from icm.bitstream import Encoder, Tables
from icm.bitstream.build_tables import from_pmfs
from icm.groups import GroupMask, coding, from_labels, mask_prior

SIGMA = 16.0
MOST = 40  # observations that a starting count stands for at most


def masks(path: Path, grid: int, every: int = 1) -> Iterator[GroupMask]:
    """One mask a labelled picture (or every so many), every segment a group."""
    import json

    from icm.edges.segmenters.files import read_label_png

    table = json.loads(path.read_bytes())
    names = {row["id"]: row["name"] for row in table["categories"]}
    for row in table["annotations"][::every]:
        labels = read_label_png(path.with_suffix("") / row["file_name"])
        segments = {segment["id"]: names[segment["category_id"]] for segment in row["segments_info"]}
        yield from_labels(labels, segments, grid)


def half_normal() -> Tables:
    """One table of 64 numbers."""
    edges = [math.erf(k / (SIGMA * math.sqrt(2))) for k in range(65)]
    mass = np.diff(edges)
    return from_pmfs([mass / mass.sum()], [0])


def paper_bytes(mask: GroupMask, tables: Tables) -> int:
    """The payload of the same mask, group numbers by area."""
    _, dense, counts = np.unique(mask.ids, return_inverse=True, return_counts=True)
    number = np.empty(len(counts), np.int64)
    number[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    encoder = Encoder()
    encoder.code(tables, np.zeros(mask.ids.size, np.uint8), number[dense.ravel()])
    return len(encoder.finish())


def measure(found: list[GroupMask]) -> dict[str, Any]:
    """Bytes of both, summed, every mask read back."""
    tables, ours, paper, seconds = half_normal(), 0, 0, 0.0
    for mask in found:
        payload = coding.encode_mask(mask.ids, mask.count)
        started = time.process_time()
        if not np.array_equal(coding.decode_mask(payload, mask.ids.shape[0], mask.ids.shape[1], mask.count), mask.ids):
            raise SystemExit("a mask came back as another")
        seconds += time.process_time() - started
        ours, paper = ours + len(payload), paper + paper_bytes(mask, tables)
    cells = sum(mask.ids.size for mask in found)
    return {"masks": len(found), "groups": sum(mask.count for mask in found) / len(found), "cells": cells,
            "ours": ours, "paper": paper, "decode_ms": 1000 * seconds / len(found)}  # fmt: skip


def refit(found: list[GroupMask]) -> None:
    """Print counts (yes, no) of every context, scaled down to at most MOST, as mask_prior.py has them."""
    total, new = np.zeros((4 * coding.CONTEXTS, 2)), np.zeros((1, 2))

    class Counting(coding._Answers):
        def ask(self, coder: Any, context: np.ndarray, given: np.ndarray | None) -> np.ndarray:
            assert given is not None
            np.add.at(total if len(self.all) > 1 else new, (context, 1 - given.astype(int)), 1)
            return super().ask(coder, context, given)

    plain, coding._Answers = coding._Answers, Counting  # type: ignore[misc]
    for mask in found:
        coding.encode_mask(mask.ids, mask.count)
    coding._Answers = plain  # type: ignore[misc]
    for name, counts in (("PRIOR", total), ("NEW", new)):
        smooth = counts + 0.4
        scale = np.minimum(1, MOST / smooth.sum(1, keepdims=True))
        data = np.clip(np.rint(smooth * scale * mask_prior.STEP), 1, 255).astype(np.uint8).tobytes().hex()
        print(name, *[data[i : i + 112] for i in range(0, len(data), 112)], sep="\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(os.environ.get("VCM_SHARED", "../shared")) / "data/coco128/annotations"
    parser.add_argument("--annotations", nargs="+", type=Path,
                        default=[folder / "panoptic_val.json", folder / "panoptic_train.json"])  # fmt: skip
    parser.add_argument("--grid", type=int, default=16, help="pixels of a cell (16, 32, 64, 128)")
    parser.add_argument("--refit", action="store_true", help="print starting counts instead")
    arguments = parser.parse_args()
    for path in arguments.annotations:
        found = list(masks(path, arguments.grid))
        if arguments.refit:
            refit(found)
            continue
        row = measure(found)
        print(f"{path.name}: {row['masks']} masks, {row['groups']:.1f} groups each, {row['cells']} cells of "
              f"{arguments.grid} px: ours {row['ours']} bytes ({8 * row['ours'] / row['cells']:.3f} bit a cell), "
              f"paper's coding {row['paper']} ({8 * row['paper'] / row['cells']:.3f}): "
              f"{row['ours'] / row['paper']:.1%}; {row['decode_ms']:.0f} ms to decode one")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
