"""What is made of a run's records, when the run was killed before it came to that."""

from __future__ import annotations

from pathlib import Path

from eval.records import Record, append_jsonl
from pipelines.results import Records


def test_a_run_killed_behind_its_last_record_is_made_whole(tmp_path: Path) -> None:
    points = [Record("jpeg", quality, "street", "fidelity", "", 1, 100, 50, rate, psnr_db=30.0, content="c")
              for quality, rate in ((20.0, 0.5), (60.0, 0.9))]  # fmt: skip
    whole = Records(tmp_path / "whole", resume=True)
    for point in points:
        whole.add([point])
    killed = Records(tmp_path / "killed", resume=True)
    killed.add(points[:1])
    append_jsonl(killed.jsonl, points[1:])  # where it was killed
    Records(tmp_path / "killed", resume=True).check("c", 1)
    for name in ("records.jsonl", "records.csv", "results/jpeg.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
