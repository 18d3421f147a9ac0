"""Headers that claim what is not there: refused in little memory, without torch. Times are printed by the benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEMORY_MIB = 64
HANG_MS = 5000  # 50 are promised; a busy machine must not fail this
LARGE = 16.0  # bytes of memory that a byte of the header may cost where all of it is there


@pytest.fixture(scope="module")
def report() -> Any:
    """A fresh process, so that nothing was imported or allocated before."""
    command = [sys.executable, "-m", "benchmarks.lies", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout)


def test_readers_of_files_import_no_torch(report: Any) -> None:
    assert report["torch"] is False


def test_lies_are_refused_in_little_memory(report: Any) -> None:
    rows = [row for row in report["rows"] if row["kind"] != "large"]
    assert len(rows) >= 30
    for row in rows:
        assert row["said"] != "ACCEPTED", row
        assert "\n" not in row["said"], row
        assert row["peak_mib"] < MEMORY_MIB, row
        assert row["ms"] < HANG_MS, row


def test_large_headers_cost_what_they_bring(report: Any) -> None:
    for row in (row for row in report["rows"] if row["kind"] == "large"):
        assert row["said"].startswith(("Damaged", "Truncated")), row
        assert row["peak_mib"] < LARGE * row["bytes"] / (1 << 20), row


def test_a_frame_of_a_quarter_billion_pixels_is_listed_by_its_cells() -> None:
    """`vcm info` counts no pixels one by one: that took 2.3 GB for a file of 40 bytes."""
    code = (
        "import resource; from icm.bitstream import Header, read, write; from icm.groups import stream as s;"
        "from icm.groups.header import GroupsHeader;"
        "own = GroupsHeader(('all',), (480,), (False,), 16, 1024).to_bytes();"
        "data = write(Header('groups', 32768, 8192, 'groups', b'weights!', own, 1 << 30), [b'', b'x']);"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = peak();"
        "rows = s.listing(read(data)); print(rows[0]['share'], peak() - before)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    share, more = done.stdout.split()
    assert float(share) == 1.0
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    assert int(more) * unit < MEMORY_MIB << 20
