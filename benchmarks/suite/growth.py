"""Larger pictures and more of them through `vcm encode` and `vcm decode`: seconds and peak memory; for `make bench`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.suite.commands import photograph, vcm

SIZES = [(256, 256), (512, 768), (1080, 1920), (2160, 3840)]
COUNTS = (4, 16, 64)
CODEC = "sa-icm-s:25"


def measure(folder: Path, theirs: Path | None) -> dict[str, Any]:
    """A row a size, then a row a number of pictures."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for height, width in SIZES:
            source = photograph(scratch, height, width)
            rows.append(_row(f"1 of {width}×{height}", source, scratch / "one.vcm", scratch / "one.png",
                             height * width / 1e6))  # fmt: skip
        source = photograph(scratch, 256, 384)
        for count in COUNTS:
            many = scratch / f"many-{count}"
            many.mkdir()
            for i in range(count):
                shutil.copy(source, many / f"{i:03d}.png")
            rows.append(_row(f"{count} of 384×256", many, scratch / f"coded-{count}", scratch / f"decoded-{count}",
                             count * 256 * 384 / 1e6))  # fmt: skip
    notes = [f"`vcm encode` and `vcm decode` with `{CODEC}`, a process each, start of Python and torch included (some "
             "seconds); memory is the peak of the resident set of the whole process, torch included."]  # fmt: skip
    return {"title": "Growth with size and number of pictures", "rows": rows, "notes": notes}


def _row(name: str, source: Path, coded: Path, decoded: Path, megapixels: float) -> dict[str, Any]:
    encode = vcm("encode", str(source), "-o", str(coded), "--codec", CODEC)
    decode = vcm("decode", str(coded), "-o", str(decoded))
    return {"pictures": name, "megapixels": f"{megapixels:.2f}",
            "encode, s": f"{encode.s:.2f}", "MiB": f"{encode.mib:.0f}",
            "decode, s": f"{decode.s:.2f}", "MiB to decode": f"{decode.mib:.0f}"}  # fmt: skip
