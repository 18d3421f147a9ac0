"""The page of `make bench`, and its commands; its figures are read by people."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.suite import __main__ as suite
from benchmarks.suite import commands, growth
from pipelines.run.provenance import provenance


def test_a_page_has_a_table_a_part() -> None:
    parts = [{"title": "Speed", "rows": [{"codec": "a", "s": "1.0"}, {"codec": "b", "s": "2.0"}], "notes": ["So."],
              "seconds": 90.0}]  # fmt: skip
    text = suite.page(parts, provenance())
    assert "## Speed\n\n| codec | s |\n|---|---|\n| a | 1.0 |\n| b | 2.0 |\n\nSo.\n" in text
    assert "1.5 minutes" in text
    assert text.endswith("So.\n")


def test_growth_measures_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(growth, "SIZES", [(64, 64)])
    monkeypatch.setattr(growth, "COUNTS", ())
    (row,) = growth.measure(tmp_path, None)["rows"]
    assert row["pictures"] == "1 of 64×64"
    assert float(row["MiB"]) > 100  # torch is in it


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such file"):
        commands.vcm("decode", str(tmp_path / "none.vcm"), "-o", str(tmp_path / "out.png"))


def test_a_part_that_is_there_is_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = {"title": "Clip", "rows": [{"codec": "a"}], "notes": [], "seconds": 1.0}
    (tmp_path / "clip.json").write_text(json.dumps(part))
    monkeypatch.setattr(sys, "argv", ["suite", "-o", str(tmp_path), "--only", "clip", "--page", str(tmp_path / "p.md")])
    assert suite.main() == 0
    assert "## Clip" in capsys.readouterr().out
    assert (tmp_path / "p.md").read_text() == (tmp_path / "performance.md").read_text()
