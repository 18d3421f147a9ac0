"""`vcm conformance`: do the frozen streams decode on this machine to what they were frozen as?

FOLDER/frozen.json, *.vcm, *.safetensors ─▶ pipelines/conformance_check.py ─▶ a line a stream that differs, a summary
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pipelines import conformance_check as checks
from pipelines.run.batch import one_line
from pipelines.run.progress import progress

NAME = "conformance"
HELP = "decode the frozen streams on this machine and compare"
EPILOG = """\
The streams are of every codec and kind, and of every kind of damage, with tiny weights beside them. Symbols must be
equal; pixels may differ by 1/255 in the mean of a cell; damaged streams must be refused with the named error. Streams
whose prior is in floats (same-build) may be refused on another build, which is counted. Exit code 1 where one differs.

examples:
  vcm conformance
  vcm conformance --json
  vcm conformance --streams vcm-source/tests/conformance
"""
BESIDE = Path(__file__).resolve().parents[1] / "tests" / "conformance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vcm conformance`."""
    parser.add_argument("--streams", metavar="DIR", type=Path,
                        help="their folder (default: tests/conformance beside the packages)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """0 when all are as frozen, else 1. ValueError, FileNotFoundError: there are no streams."""
    folder = arguments.streams or BESIDE
    if not (folder / checks.LIST).is_file():
        given = "--streams names the folder" if arguments.streams is None else "choose another folder with --streams"
        raise FileNotFoundError(
            f"{folder}: no frozen streams here: installed packages leave them out; they are the folder "
            f"tests/conformance of this version's source; {given}"
        )
    rows = checks.expected(folder)
    results = []
    for name, row in progress(rows.items(), len(rows), "conformance"):
        results.append(result := _one(folder / name, row))
        if result["differs"] and not arguments.json:
            print(f"NOT AS FROZEN  {folder / name}: {result['differs']}")
    known = set(rows)
    for path in sorted(folder.glob("*.vcm")):
        if path.name not in known:
            results.append({"stream": path.name, "differs": "is not in the list", "skipped": "", "refused": ""})
            if not arguments.json:
                print(f"NOT AS FROZEN  {path}: is not in {checks.LIST}")
    counts = {
        "streams": len(results), "as_frozen": sum(not (r["differs"] or r["skipped"]) for r in results),
        "differ": sum(bool(r["differs"]) for r in results), "skipped": sum(bool(r["skipped"]) for r in results),
        "refused_as_frozen": sum("error" in row for row in rows.values()),
        "same_build_refused": sum(bool(r["refused"]) for r in results),
    }  # fmt: skip
    if arguments.json:
        print(json.dumps({**counts, "results": results}, indent=1))
    else:
        print(_summary(counts, results))
    return 1 if counts["differ"] else 0


def _one(path: Path, row: checks.Row) -> dict[str, Any]:
    result = {"stream": path.name, "differs": "", "skipped": "", "refused": ""}
    try:
        result["differs"], found = checks.check(path, row)
    except ImportError as error:  # of what opens locks
        return result | {"skipped": one_line(error)}
    except OSError as error:
        return result | {"differs": one_line(error)}
    refused = "error" in found and "error" not in row and not result["differs"]
    return result | {"refused": found["message"] if refused else ""}


def _summary(counts: dict[str, int], results: list[dict[str, Any]]) -> str:
    lines = [f"{counts['streams']} streams: {counts['as_frozen']} as frozen "
             f"({counts['refused_as_frozen']} are to be refused), {counts['differ']} not"]  # fmt: skip
    if counts["same_build_refused"]:
        lines.append(f"{counts['same_build_refused']} same-build streams refused: this build rounds otherwise than the "
                     "one that made them")  # fmt: skip
    lines += [f"not checked: {r['stream']}: {r['skipped']}" for r in results if r["skipped"]]
    return "\n".join(lines)
