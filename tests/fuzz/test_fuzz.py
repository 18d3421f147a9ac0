"""20,000 damaged inputs of each format, and 500 files decoded to pixels: refused in one line, or what a writer writes.

What counts as a failure stands in run.py. `make fuzz` goes on from here with other seeds.
"""

from __future__ import annotations

import collections
import os
from typing import Any

import numpy as np
import pytest

from icm.bitstream import StreamError
from tests.fuzz import run
from tests.fuzz.formats import FORMATS, format_called
from tests.fuzz.formats.base import Case, ContainerFormat, Format
from tests.fuzz.seal import Parts, resealed

SEED = 1
ROUNDS = int(os.environ.get("VCM_FUZZ_ROUNDS", "20000"))
DECODES = 500
# Settings of damaged weights may make layers of no channels.
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


def checked(name: str, rounds: int) -> run.Report:
    """No failure; nothing that the coder's state should have told; every layer reached and at least once refused."""
    report = run.fuzz(name, SEED, 0, rounds)
    print("\n" + report.text(name))
    assert not report.failures, report.failures[0][2]
    assert not [what for what in report.counts if "UNNOTICED" in what]
    assert report.slowest[0] < run.HANG_S
    return report


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "decodes"])
def test_damaged_inputs_through_parser_and_coder(name: str) -> None:
    report = checked(name, ROUNDS)
    by_end: collections.Counter[str] = collections.Counter()
    for what, count in report.counts.items():
        by_end[what.partition(": ")[2]] += count
    assert by_end["as it was"] > 0
    assert by_end["another, well-formed"] > 0
    if name not in ("tables", "weights"):  # these have no payload
        assert by_end["refused, Desynchronised"] > ROUNDS // 100  # so the coder was reached


def test_damaged_files_through_whole_codecs() -> None:
    report = checked("decodes", DECODES)
    codecs = {what.partition(",")[0] for what in report.counts}
    assert codecs == set(type(format_called("decodes")).CODECS)  # type: ignore[attr-defined]
    refused = sum(count for what, count in report.counts.items() if "refused" in what)
    assert DECODES // 2 < refused < DECODES


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("decodes", "tables", "maps", "weights")])
def test_a_cut_at_every_byte(name: str) -> None:
    """Of the file as it is: refused, or in parts the truth. With checksums repaired, of the codec's parameters, and of
    each section: no failure."""
    form = format_called(name)
    assert isinstance(form, ContainerFormat)
    for parts, truth in zip(form.parts, form.truths, strict=True):
        for end in range(len(parts.data)):
            data = parts.data[:end]
            assert run.outcome(form, Case("cut", data, truth, guarded=True)).startswith(("refused", "as it was"))
            run.outcome(form, Case("cut, repaired", resealed(data), truth))
        for data in cuts(parts):
            run.outcome(form, Case("cut inside", data, truth))


def cuts(parts: Parts) -> list[bytes]:
    """The file with its parameters, and each of the first sections, cut at every byte; everything else right."""
    from icm.bitstream import read

    with read(parts.data) as stream:
        own = stream.header.parameters
    found = [parts.with_parameters(own[:end]) for end in range(len(own))]
    for i, section in enumerate(parts.sections[:4]):
        found += [parts.with_section(i, section[:end]) for end in range(0, len(section), 1 + len(section) // 100)]
    return found


def test_weights_cut_anywhere_are_refused() -> None:
    form: Any = format_called("weights")
    for end in [*range(0, 8 + form.length, 7), *range(8 + form.length, len(form.data), 97)]:
        what = run.outcome(form, Case("cut", form.data[:end], form.truth, guarded=True))
        assert what == "refused, ValueError", end


# --- the harness itself ---------------------------------------------------------------------------------------------
def test_an_input_is_known_by_format_seed_and_number() -> None:
    first, again, other = (run.case_of("container", seed, 77) for seed in (5, 5, 6))
    assert first.data == again.data
    assert first.data != other.data


class Faulty(Format):
    """A reader that does with an input what is asked of it."""

    name = "container"

    def __init__(self, act: Any, guarded: bool = False, coded: bool = False) -> None:
        self.act, self.guarded, self.coded = act, guarded, coded

    def case(self, random: np.random.Generator) -> Case:
        return Case("layer", b"damaged", "truth", self.guarded, self.coded)

    def decode(self, data: bytes) -> Any:
        return self.act()


def refuse(message: str) -> Any:
    raise StreamError(message)


@pytest.mark.parametrize(
    ("faulty", "what"),
    [
        (Faulty(lambda: "other", guarded=True), "FAILED, AssertionError"),
        (Faulty(lambda: [][0]), "FAILED, IndexError"),
        (Faulty(lambda: refuse("two\nlines")), "FAILED, AssertionError"),
        (Faulty(lambda: refuse("")), "FAILED, AssertionError"),
        (Faulty(lambda: int("x")), "FAILED, ValueError"),  # a ValueError that is no StreamError
        (Faulty(lambda: np.ones(run.MEMORY + (64 << 20), np.uint8).sum()), "FAILED, MemoryError"),
        (Faulty(lambda: refuse("damaged: this and that")), "refused, StreamError"),
        (Faulty(lambda: "truth", guarded=True), "as it was"),
        (Faulty(lambda: "other"), "another, well-formed"),
        (Faulty(lambda: "other", coded=True), "UNNOTICED by the coder's state"),
    ],
)
def test_what_counts_as_a_failure(monkeypatch: pytest.MonkeyPatch, faulty: Faulty, what: str) -> None:
    monkeypatch.setattr(run, "format_called", lambda name: faulty)
    if "MemoryError" in what and not os.path.exists("/proc/self/status"):
        pytest.skip("memory is bounded on Linux alone")
    report = run.fuzz("container", 1, 0, 2)
    assert report.counts == {f"layer: {what}": 2}
    assert len(report.failures) == 2 * what.startswith("FAILED")


def test_the_long_run_saves_what_fails_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "format_called", lambda name: Faulty(lambda: [][0]))
    monkeypatch.setattr("sys.argv", ["fuzz", "container", "--minutes", "0.001", "--save", str(tmp_path)])
    assert run.main() == 1
    assert "IndexError" in capsys.readouterr().out
    saved = next(tmp_path.glob("container-*.bin"))
    assert saved.read_bytes() == b"damaged"
    assert "IndexError" in saved.with_suffix(".txt").read_text()
