"""The benchmark of SAM's edge maps, its arithmetic, on a tiny model: agreement is measured against upstream."""

from __future__ import annotations

import numpy as np

from benchmarks.sam_edges import NAMED, measure, quantiles, report
from tests.icm.edges.test_everything import scene
from tests.icm.edges.tiny_sam import tiny_sam


def test_thresholds_are_quantiles_and_exact_agrees(capsys):
    model, pictures = tiny_sam(depth=2), [scene(), scene(33, 61, 2)]
    thresholds = quantiles(model, pictures, 6)
    assert 0 < thresholds["alpha"] < 1
    assert 0 <= thresholds["stability"] < 1
    rows = [measure(model, picture, thresholds, side=6, nms=0.95) for picture in pictures]
    for row in rows:
        assert row["masks"] > 0
        assert 0 < row["edge_fraction"] < 1
        assert row["exact"]["edge_iou"] == 1
        assert all(0 <= row[name]["edge_iou"] <= 1 and row[name]["cpu_s"] > 0 for name in NAMED)
    report(rows)
    text = capsys.readouterr().out
    assert "2 pictures" in text
    assert "edge IoU mean 1.0000, least 1.0000" in next(line for line in text.splitlines() if line.startswith("exact"))
    assert np.isfinite([row["upstream"]["s"] for row in rows]).all()
