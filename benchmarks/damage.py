"""Damaged files through the whole decoder: how many are refused, harmless, or silently wrong.

    python -m benchmarks.damage [PICTURES] [--codec sa-icm-s:30] [--files 2000] [--seed 0]

A third each: bits flipped (1 to 8), truncated, spliced with another picture's file. Half of the flips get their
checksums repaired, so that the entropy coder has to notice. Every decode runs in this process, so a crash would end
the run.
"""

from __future__ import annotations

import argparse
import collections
import os
import time
from pathlib import Path

import numpy as np


def main() -> None:
    from benchmarks.breakage import bits_flipped, spliced, truncated
    from icm.bitstream import StreamError, read, write
    from pipelines.codecs import parse
    from pipelines.media import list_pictures, read_picture

    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("pictures", nargs="?", type=Path, default=shared / "data/coco128/images/val")
    parser.add_argument("--codec", default="sa-icm-s:30")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    codec, rng = parse(arguments.codec, tile=128), np.random.default_rng(arguments.seed)
    files = [codec.encode(read_picture(p)[:192, :256]) for p in list_pictures(arguments.pictures)[:16]]
    right = [codec.decode(data) for data in files]
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    slowest = 0.0
    for i in range(arguments.files):
        which = int(rng.integers(len(files)))
        data, kind = files[which], ("flip", "truncation", "splice")[i % 3]
        if kind == "flip" and i % 2:
            kind = "flip, resealed"
            with read(data) as stream:
                header, sections = stream.header, list(stream.sections())
            hit = int(rng.integers(len(sections)))
            sections[hit] = bits_flipped(sections[hit], rng)
            broken = write(header, sections)
        elif kind == "flip":
            broken = bits_flipped(data, rng)
        elif kind == "truncation":
            broken = truncated(data, rng)
        else:
            broken = spliced(data, files[int(rng.integers(len(files)))], rng)
        started = time.perf_counter()
        try:
            shown = codec.decode(broken)
            outcome = "same picture" if broken == data or np.array_equal(shown, right[which]) else "SILENTLY WRONG"
        except StreamError:
            outcome = "refused"
        slowest = max(slowest, time.perf_counter() - started)
        counts[kind, outcome] += 1
    for (kind, outcome), count in sorted(counts.items()):
        print(f"{kind:<16} {outcome:<16} {count}")
    wrong = sum(count for (_, outcome), count in counts.items() if outcome == "SILENTLY WRONG")
    print(
        f"{arguments.files} damaged files, the process alive at the end: "
        f"{wrong} silently wrong, slowest {slowest:.2f} s"
    )


if __name__ == "__main__":
    main()
