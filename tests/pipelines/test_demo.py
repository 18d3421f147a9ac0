"""The demo, small: every command of it runs, the curves are measured, and other scenes start it anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines import cli, demo
from pipelines.clips import read_clip


@pytest.mark.slow
def test_the_whole_flow(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    assert cli.main(["demo", "-o", str(out), "--pictures", "2", "--train", "3", "--steps", "1"]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "http" not in page.split("<body", 1)[1].replace("http://www.w3.org", "").split("<svg", 1)[0]
    rows = [json.loads(line) for line in (out / "evaluation" / "records.jsonl").read_text().splitlines()]
    points = {(row["codec"], row["quality"], row["task"]) for row in rows}
    for task in ("detection", "instances", "panoptic"):
        assert sum(codec == "sa-icm-s" and of == task for codec, _, of in points) == len(demo.QUALITIES) >= 5
        assert {codec for codec, _, of in points if of == task} >= {"sa-icm-s", *demo.ANCHORS, "uncompressed"}
    ceiling = {row["task"]: row for row in rows if row["codec"] == "uncompressed"}
    assert ceiling["panoptic"]["metrics"]["pq"] > 25
    assert ceiling["detection"]["ap50"] > 50
    streams = list((out / "evaluation" / "streams" / "sa-icm-s").rglob("*.vcm"))
    total = {row["quality"]: row["bytes_total"] for row in rows if row["codec"] == "sa-icm-s"}
    assert sum(path.stat().st_size for path in streams) == sum(total.values())
    assert 20_000 < (out / "clip" / "clip.vcm").stat().st_size <= demo.CLIP_BYTES
    shown, drawn = (list(read_clip(out / "clip" / name)) for name in ("decoded.mkv", "clip.mkv"))
    error = np.mean([np.square(a.astype(float) - b).mean() for (a, _), (b, _) in zip(shown, drawn, strict=True)])
    assert 10 * np.log10(255**2 / error) > 22


def test_other_scenes_replace_what_was_made_of_the_old(tmp_path: Path) -> None:
    demo.draw(tmp_path, pictures=1, train=2, seed=0)
    (tmp_path / "edges").mkdir()
    (tmp_path / "codec").mkdir()
    demo.draw(tmp_path, pictures=1, train=2, seed=0)
    assert (tmp_path / "edges").exists()
    demo.draw(tmp_path, pictures=1, train=1, seed=0)
    assert not (tmp_path / "edges").exists()
    assert not (tmp_path / "codec").exists()
    assert len(list((tmp_path / "scenes" / "train" / "images").iterdir())) == 1
