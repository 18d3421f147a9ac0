"""The bookkeeping of benchmarks/ways.py; its figures are read by people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks import ways
from icm.losses import DISTORTIONS
from pipelines.media import read_picture

ROOT = Path(__file__).resolve().parents[1]


def rows(gain: float) -> list[ways.Row]:
    """Two ways of two seeds, straight lines in log bpp; the second is `gain` better."""
    made = []
    for way, better in (("plain", 0.0), ("edges", gain)):
        for seed in (0, 1):
            for quality, rate in ((10.0, 0.05), (30.0, 0.1), (50.0, 0.2)):
                value = 30 + 10 * np.log2(rate / 0.05) + better + seed
                made.append({"way": way, "seed": seed, "quality": quality, "rate_bpp": rate * (1 + 0.01 * seed),
                             "ap50": value, "ap50_kept_percent": 2 * value, "agreement_ap50": value})  # fmt: skip
    return made


def test_interpolated_in_log_bpp_and_nowhere_else() -> None:
    points = [(0.2, 50.0), (0.05, 30.0)]
    assert ways.at_rate(points, 0.1) == pytest.approx(40)
    assert ways.at_rate(points, 0.05) == 30
    assert ways.at_rate(points, 0.21) is None
    assert ways.at_rate(points, 0.04) is None


def test_matched_rates() -> None:
    found = ways.matched(rows(3.0), [0.1, 0.5])
    edges = next(row for row in found if (row["way"], row["rate_bpp"]) == ("edges", 0.1))
    assert edges["agreement_ap50_gain"] == pytest.approx(3)
    assert edges["ap50_half_range"] == pytest.approx(0.5, abs=0.1)
    beyond = [row for row in found if row["rate_bpp"] == 0.5]
    assert all(row["ap50"] is None and row["ap50_gain"] is None for row in beyond)


def test_common_rates_lie_in_every_curve() -> None:
    data = rows(1.0)
    rates = ways.common_rates(data)
    assert len(rates) == 3
    assert rates[0] == pytest.approx(0.0505)
    assert rates[-1] == pytest.approx(0.2)
    assert all(row["ap50"] is not None for row in ways.matched(data, rates))
    apart = [{**row, "rate_bpp": row["rate_bpp"] * (10 if row["way"] == "edges" else 1)} for row in data]
    assert ways.common_rates(apart) == []


def test_a_folder_keeps_its_settings(tmp_path: Path) -> None:
    ways.same_settings(tmp_path, {"steps": 5, "set": ["a=1"]})
    ways.same_settings(tmp_path, {"steps": 5, "set": ["a=1"]})
    with pytest.raises(SystemExit, match="steps was 5, not 6; give the same"):
        ways.same_settings(tmp_path, {"steps": 6, "set": ["a=1"]})


def test_page_and_plot(tmp_path: Path) -> None:
    data = rows(1.0)
    text = ways.page(data, ways.matched(data, [0.1, 0.5]))
    assert text.count("| edges |") == 6 + 2
    assert "| +1.0 |" in text
    assert "n/a" in text
    ways.draw(data, tmp_path / "plot.png")
    assert read_picture(tmp_path / "plot.png").std() > 10


def test_every_way_is_a_distortion_and_a_source_of_its_configuration() -> None:
    assert {ways.DISTORTION.get(way, way) for way in ways.WAYS} <= set(DISTORTIONS)
    assert set(ways.ROI) | set(ways.SHIFT) <= set(ways.WAYS)
    settings = yaml.safe_load((ROOT / "pipelines/configs/ways.yaml").read_text())["settings"]
    folders = [Path(source["pictures"]).parts[-3:] for source in settings["data"]]
    assert folders == [Path(pictures).parts for pictures, _, _ in ways.EDGES.values()]


def test_the_judge_knows_its_own_boxes(shared: Path, tmp_path: Path) -> None:
    """On two labelled pictures: uncompressed, it agrees with itself; grey, it finds nothing."""
    import shutil

    from pipelines.media import write_picture

    pictures = tmp_path / "originals"
    pictures.mkdir()
    for path in sorted((shared / "data/coco128/images/val").iterdir())[:2]:
        shutil.copy(path, pictures / path.name)
        write_picture(tmp_path / "grey" / f"{path.stem}.png", np.full_like(read_picture(path), 128))
    judge = ways.Judge(shared, pictures)
    same = judge(pictures)
    assert same["ap50_kept_percent"] == pytest.approx(100)
    assert same["agreement_ap50"] > 99
    assert judge(tmp_path / "grey")["agreement_ap50"] < 5
