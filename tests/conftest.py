"""What every test can ask for. Tests that need the data folder skip, with the reason, where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WANT = "needs the data folder (VCM_SHARED, default ../shared)"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data folder: VCM_SHARED, or ../shared beside the project."""
    folder = (ROOT / (os.environ.get("VCM_SHARED") or "../shared")).resolve()  # a test may have changed directory
    if not (folder / "data").is_dir():
        pytest.skip(f"{WANT}: {folder} has no data/")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.getreports("skipped") if WANT in str(report.longrepr)]
    terminalreporter.write_line(f"{len(skipped)} tests skipped for want of VCM_SHARED")
