"""Inputs that once crashed a reader, or cost more than they may: each now ends in the error that stands beside it.

regressions/FORMAT-WHAT.bin, and expected.json: its name → "Class: message", a pattern.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.fuzz.formats import format_called

FOLDER = Path(__file__).parent / "regressions"
EXPECTED: dict[str, str] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_refused(name: str) -> None:
    form = format_called(name.partition("-")[0])
    with pytest.raises(form.errors) as caught:
        form.decode((FOLDER / name).read_bytes())
    assert re.match(EXPECTED[name], f"{type(caught.value).__name__}: {caught.value}")
    assert "\n" not in str(caught.value)


def test_every_input_has_its_error() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.bin")) == sorted(EXPECTED)
