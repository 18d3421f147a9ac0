"""A point of `vcm evaluate` over a bare loop; for `make bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import evaluation

PICTURES, REPEATS = 16, 3


def measure(folder: Path, theirs: Path | None) -> dict[str, Any]:
    """A row a codec."""
    found = evaluation.main(["--pictures", str(PICTURES), "--repeats", str(REPEATS)])
    rows = [{"codec": row["codec"], "bare loop, s": f"{row['bare_s']:.2f}",
             "vcm evaluate, s": f"{row['evaluate_s']:.2f}",
             "more": f"{100 * (row['ratio'] - 1):+.0f} %",
             "more of the processor": f"{100 * (row['evaluate_processor_s'] / row['bare_processor_s'] - 1):+.0f} %"}
            for row in found]  # fmt: skip
    notes = [f"{PICTURES} pictures, torchvision's smallest detector (the worst case: a larger one hides more), "
             f"medians of {REPEATS}."]  # fmt: skip
    return {"title": "Evaluation", "rows": rows, "notes": notes}
