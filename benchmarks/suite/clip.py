"""A 768×432 clip through `vcm encode` and `vcm decode`: frames a second, memory by length; for `make bench`."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suite.commands import Used, vcm

SHORT, LONG, WIDTH, HEIGHT, RATE = 60, 240, 768, 432, 25
WAYS = {"sa-icm-s:25, changed tiles": ("sa-icm-s:25",),
        "sa-icm-s:25, every frame whole": ("sa-icm-s:25", "--refresh", "1")}  # fmt: skip


def frames() -> Iterator[np.ndarray]:
    """Without end: a street with persons, or a texture over which a square moves."""
    source = Path(os.environ.get("VCM_SHARED", "../shared")) / "data/clips/person.mp4"
    if source.is_file():
        from pipelines.clips import read_clip

        while True:
            for frame, _ in read_clip(source):
                yield frame[:HEIGHT, :WIDTH]
    from benchmarks.__main__ import texture

    still = texture(HEIGHT, WIDTH)
    for i in itertools.count():
        frame, x = still.copy(), 5 * i % (WIDTH - 96)
        frame[150:300, x : x + 96] = 255 - frame[150:300, x : x + 96]
        yield frame


def x265(clip: Path) -> dict[str, Any]:
    """The row of x265, by the library that `vcm evaluate` uses."""
    from eval.anchors import ANCHORS
    from pipelines.clips import read_clip

    codec, start = ANCHORS["x265"](37), time.perf_counter()
    data = codec.encode_clip((frame for frame, _ in read_clip(clip)), Fraction(RATE))
    coded = time.perf_counter()
    count = sum(1 for _ in codec.decode_clip(data))
    end = time.perf_counter()
    return {"codec": "x265:37", "kbit/s": f"{len(data) * 8 * RATE / count / 1000:.1f}",
            "encode, without its start": f"{count / (coded - start):.1f}",
            "decode, without its start": f"{count / (end - coded):.1f}"}  # fmt: skip


def measure(folder: Path, theirs: Path | None) -> dict[str, Any]:
    """A row a codec and length."""
    from pipelines.clips_out import writing

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for count in (SHORT, LONG):
            with writing(scratch / f"{count}.mkv", Fraction(RATE)) as writer:
                for i, frame in enumerate(itertools.islice(frames(), count)):
                    writer.add(frame, Fraction(i, RATE), i)
        for way, (spec, *more) in WAYS.items():
            used: dict[tuple[str, int], Used] = {}
            for count in (SHORT, LONG):
                coded, source = scratch / f"{count}-{len(rows)}.vcm", scratch / f"{count}.mkv"
                used["encode", count] = vcm("encode", str(source), "-o", str(coded), "--codec", spec, *more)
                used["decode", count] = vcm("decode", str(coded), "-o", str(scratch / "decoded.mkv"))
            row: dict[str, Any] = {"codec": way, "kbit/s": f"{coded.stat().st_size * 8 * RATE / LONG / 1000:.1f}"}
            for what in ("encode", "decode"):
                short, long = used[what, SHORT], used[what, LONG]
                row |= {f"{what}, frames/s": f"{LONG / long.s:.1f}",
                        f"{what}, without its start": f"{(LONG - SHORT) / max(long.s - short.s, 1e-9):.1f}",
                        f"{what}, MiB at {SHORT}": f"{short.mib:.0f}", f"{what}, MiB at {LONG}": f"{long.mib:.0f}"}
            rows.append(row)
        rows.append(x265(scratch / f"{LONG}.mkv"))
    notes = [f"{LONG} frames of {WIDTH}×{HEIGHT}, lossless on disk before and after, reading and writing included; "
             f"without its start: the {LONG - SHORT} frames by which the longer clip is longer. x265 (medium, its own "
             "groups of pictures) within a process that runs already, its frames not written."]  # fmt: skip
    return {"title": "A clip", "rows": rows, "notes": notes}
