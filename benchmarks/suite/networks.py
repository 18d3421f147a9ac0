"""A clip fitted by `sa-nerv` and by `hnerv` for as many seconds and bytes, and their decoders; for `make bench`."""

from __future__ import annotations

import itertools
import math
import os
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suite.commands import vcm

FRAMES, WIDTH, HEIGHT, BYTES, MINUTES = 32, 640, 320, 120_000, 1.5
CODECS = ("hnerv", "sa-nerv")


def frames() -> list[np.ndarray]:
    """The middle of the first frames of a film, or drawn ones."""
    source = Path(os.environ.get("VCM_SHARED", "../shared")) / "data/clips/bunny-360p.mkv"
    if source.is_file():
        from pipelines.clips import read_clip

        found = [frame for frame, _ in itertools.islice(read_clip(source), FRAMES)]
    else:
        from benchmarks.suite.clip import frames as drawn

        found = list(itertools.islice(drawn(), FRAMES))
    top, left = (found[0].shape[0] - HEIGHT) // 2, (found[0].shape[1] - WIDTH) // 2
    return [frame[top : top + HEIGHT, left : left + WIDTH] for frame in found]


def measure(folder: Path, theirs: Path | None) -> dict[str, Any]:
    """A row a network."""
    from nerv.codec import NetworkDecoder
    from pipelines.clips_out import writing

    originals, rows = frames(), []
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "clip.mkv"
        with writing(clip, Fraction(24)) as writer:
            for i, frame in enumerate(originals):
                writer.add(frame, Fraction(i, 24), i)
        for codec in CODECS:
            file = Path(name) / f"{codec}.vcm"
            vcm("encode", str(clip), "-o", str(file), "--codec", codec, "--bytes", str(BYTES),
                "--minutes", str(MINUTES))  # fmt: skip
            with NetworkDecoder(file) as decoder:
                decoder.frame(0)
                start = time.perf_counter()
                shown = [decoder.frame(i) for i in range(FRAMES)]
                all_s = time.perf_counter() - start
                start = time.perf_counter()
                decoder.frame(FRAMES // 2)
                one_s = time.perf_counter() - start
            errors = [np.square(a.astype(np.float64) - b).mean() for a, b in zip(originals, shown, strict=True)]
            rows.append({"network": codec, "bytes": f"{file.stat().st_size:,}",
                         "dB": f"{np.mean([10 * math.log10(255**2 / max(e, 1e-10)) for e in errors]):.2f}",
                         "decode, frames/s": f"{FRAMES / all_s:.1f}",
                         "a frame alone, ms": f"{1000 * one_s:.1f}"})  # fmt: skip
    notes = [f"{FRAMES} frames of {WIDTH}×{HEIGHT}, {MINUTES:g} minutes of fitting each, quantisation and coding "
             f"within them, at most {BYTES:,} bytes. `hnerv` is our reading of HNeRV; beside its authors' own code: "
             "`benchmarks/networks.py`, `benchmarks/network_decode.py`."]  # fmt: skip
    return {"title": "A video as a network", "rows": rows, "notes": notes}
