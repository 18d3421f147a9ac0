"""Streams of released versions keep decoding: frozen files, what they hold, the errors that they raise.

The check is that of `vcm conformance` (pipelines/conformance_check.py says what is compared); making.py says how the
streams were made, and how new ones are frozen.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icm import bitstream
from icm.bitstream import StreamError
from pipelines.conformance_check import check, expected

HERE = Path(__file__).parent

if os.environ.get("VCM_REFREEZE"):
    from tests.conformance.making import freeze

    freeze(os.environ["VCM_REFREEZE"] == "all")
ROWS = expected(HERE)


@pytest.mark.parametrize("name", ROWS)
def test_frozen_streams(name: str) -> None:
    differs, found = check(HERE / name, ROWS[name])
    assert not differs
    if ROWS[name].get("same_build") and "error" in found:
        pytest.skip(f"same-build: {found['message']}")


def test_every_stream_is_listed() -> None:
    assert {path.name for path in HERE.glob("*.vcm")} == set(ROWS)


def test_every_error_has_a_stream() -> None:
    """Of all that `icm.bitstream` can say, each at least once."""
    kinds = {name for name in bitstream.__all__ if isinstance(kind := getattr(bitstream, name), type)
             and issubclass(kind, StreamError)}  # fmt: skip
    assert kinds == {row["error"] for row in ROWS.values() if "error" in row}


def test_it_stays_small() -> None:
    assert len(ROWS) >= 40
    assert sum(path.stat().st_size for path in HERE.iterdir() if path.is_file()) < 1_100_000
    assert max(path.stat().st_size for path in HERE.glob("*.safetensors")) < 300_000
