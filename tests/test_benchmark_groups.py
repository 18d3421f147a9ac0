"""The figures of benchmarks/groups.py: what groups lose at equal rate, the table, the plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.groups import draw, lost_db, report, summary


class NoDetector:
    """AP50 by what was found, without a detector."""

    def ap50(self, rows: list[dict[str, object]]) -> float:
        return float(np.mean([len(row["found"]) for row in rows]))  # type: ignore[arg-type]


def rows() -> list[dict[str, object]]:
    """Two pictures; panoptic takes 10 % more bytes than one group for the same error."""
    made: list[dict[str, object]] = []
    for picture in ("1", "2"):
        made.append({"picture": picture, "kind": "uncompressed", "quality": 0, "pixels": 8000, "found": [1, 2]})
        for quality, size in ((10, 1000), (30, 2000), (50, 4000)):
            error = 3 * 8000 * 65025 / 10 ** ((20 + np.log2(size / 1000)) / 10)  # 1 dB for each doubling
            for kind, share in (("one", 1.0), ("panoptic", 1.1)):
                row = {"picture": picture, "kind": kind, "quality": quality, "pixels": 8000,
                       "bytes": round(share * size), "sent": round(share * size), "squared_error": error}  # fmt: skip
                made.append(row | ({"found": [1]} if kind == "one" else {}))
    return made


def test_loss_at_equal_rate() -> None:
    lines = summary(NoDetector(), rows())  # type: ignore[arg-type]
    lost = lost_db(lines, "panoptic")
    assert len(lost) == 2  # the highest rate is beyond those of one group
    for _, db in lost:
        assert db == pytest.approx(np.log2(1.1), abs=1e-3)
    assert lost_db(lines[:1], "panoptic") == []


def test_table_and_plot(tmp_path: Path) -> None:
    lines = summary(NoDetector(), rows())  # type: ignore[arg-type]
    text = report(lines)
    assert "| uncompressed | 0 |  |  |  | 2.0 |" in text
    assert "| whole picture, one group | 10 | 2,000 | 1.000 | 20.00 | 1.0 |" in text
    assert "lose against one group at equal bpp: +0.14 dB on average" in text
    draw(lines, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
