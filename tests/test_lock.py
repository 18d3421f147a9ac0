"""requirements.lock, constraints.txt and pyproject.toml say the same; the lock holds versions and hashes alone."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = {canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)==([^ ;\\]+)", LOCK, flags=re.MULTILINE)}  # fmt: skip
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def constraints(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    assert len(PINS) > 90
    assert constraints(ROOT / "constraints.txt") == PINS


def test_every_line_of_the_lock_is_a_version_or_a_hash() -> None:
    """No index, no address, no path: it is for whatever registry a machine is set up with, and the hashes decide."""
    entries = LOCK.split("\n", 1)[1].replace("\\\n", " ").splitlines()
    assert len(entries) == len(PINS)
    for entry in entries:
        assert re.fullmatch(r"[\w.-]+==\S+ (; [^#/]+? )?( *--hash=sha256:[0-9a-f]{64})+", entry), entry[:100]
    assert "://" not in LOCK


@pytest.mark.parametrize("wanted", [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"],
                                    *PROJECT["project"]["optional-dependencies"]["dev"]])  # fmt: skip
def test_what_the_project_asks_for_is_locked(wanted: str) -> None:
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_setup_installs_by_the_lock_alone() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in made.splitlines() if "$(PIP) install" in line]
    assert len(installs) == 2
    assert all("--no-deps" in line for line in installs)
    assert all(option in installs[0] for option in ("--require-hashes", "--only-binary :all:", "requirements.lock"))
    assert all(option in installs[1] for option in ("--no-build-isolation", "--no-index", "--editable ."))
