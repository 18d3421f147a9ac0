"""How fast a video network decodes beside the public HNeRV's decoder of as many bytes, and one frame beside all.

    python -m benchmarks.network_decode FILE.vcm --theirs HNERV [--size 0.35] [--turns 3] [--threads 2]

In one process, models loaded, frames one by one as each program's user gets them: theirs in floats, before anything is
written; ours as pixels of 8 bits. Their weights are random, which changes no speed. Turns alternate; medians.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.hnerv_public import EMBEDDING, settings, theirs


def main() -> None:
    """Frames a second of both, and what a frame from the middle takes."""
    from nerv.codec import NetworkDecoder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--theirs", type=Path, required=True)
    parser.add_argument("--size", type=float, default=0.35, help="million parameters of theirs")
    parser.add_argument("--strides", type=int, nargs="+", default=[5, 4, 4, 2])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    models, _ = theirs(arguments.theirs)
    with NetworkDecoder(arguments.file) as decoder:
        header = decoder.file.header
        count, width, height = header.frames, header.width, header.height
        like = torch.empty(count, 3, height, width, device="meta")
        model = models.HNeRVDecoder(models.HNeRV(settings(arguments.size, arguments.strides, like))).eval()
        product = int(np.prod(arguments.strides))
        stored = torch.rand(count, EMBEDDING, height // product, width // product)
        decoder.frame(0)
        ours, other, alone = [], [], []
        for _ in range(arguments.turns):
            start = time.perf_counter()
            frames = [decoder.frame(i) for i in range(count)]
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            with torch.inference_mode():
                for e in stored:
                    model(e[None])
            other.append(time.perf_counter() - start)
            start = time.perf_counter()
            middle = decoder.frame(count // 2)
            alone.append(time.perf_counter() - start)
            assert (middle == frames[count // 2]).all()
    mine, their, one = (float(np.median(part)) for part in (ours, other, alone))
    size = arguments.file.stat().st_size
    print(f"{width}x{height}, {count} frames, {arguments.threads} threads: ours {count / mine:.1f} frames/s ({size:,} "
          f"bytes), HNeRV {arguments.size:g} M {count / their:.1f} frames/s: {their / mine:.2f} times as fast; the "
          f"middle frame alone, equal, takes 1/{mine / one:.0f} of all")  # fmt: skip


if __name__ == "__main__":
    main()
