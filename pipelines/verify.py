"""`vcm verify`: is every byte of these files as it was written? Checks without making pictures.

FILE ─▶ container: lengths, checksums ─▶ codec's `verify(path) -> [problems]`: every entropy-coded symbol
"""

from __future__ import annotations

import argparse
import functools
import json
import re
from pathlib import Path
from typing import Any

from icm.bitstream import OtherWeights, Stream, read
from pipelines.run.batch import EXPECTED, one_line, telling_memory
from pipelines.run.progress import progress

NAME = "verify"
HELP = "check the integrity of .vcm files without writing pictures"
EPILOG = """\
Two layers: the container (lengths, CRC32C of header, sections and file) and the entropy-coded symbols, for which the
codec and its weights must be here; where they are not, the line says "container only". Exit code 1 when a file is not
intact.

examples:
  vcm verify street.vcm
  vcm verify archive --json
  vcm verify archive --container                        checksums alone: faster, needs no weights
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vcm verify`."""
    parser.add_argument("input", metavar="FILE|DIR", type=Path, help="a .vcm file, or a folder with some in it")
    parser.add_argument("--container", action="store_true", help="check the container alone, not the coded symbols")
    parser.add_argument("--weights", metavar="FILE", help="weights other than the shipped ones (safetensors)")
    parser.add_argument("--key-file", metavar="K", action="append", help="the key of locked groups, to check these too")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0 when all are intact, else 1. FileNotFoundError, ValueError for a bad request."""
    files = list_files(arguments.input)
    results = []
    keys = _keys(arguments.key_file or [])
    for path in progress(files, len(files), "verify"):
        results.append(result := check(path, not arguments.container, arguments.weights, keys))
        if not arguments.json:
            print(line(result))
    bad = sum(not result["intact"] for result in results)
    if arguments.json:
        print(json.dumps({"files": results, "intact": len(results) - bad, "damaged": bad}, indent=2))
    elif len(results) > 1:
        print(f"{len(results)} files: {len(results) - bad} intact, {bad} not")
    return 1 if bad else 0


def list_files(given: Path) -> list[Path]:
    """The file itself, or every .vcm file in the folder and those below, sorted."""
    if not given.exists():
        raise FileNotFoundError(f"{given}: no such file or folder")
    if not given.is_dir():
        return [given]
    files = sorted(path for path in given.rglob("*.vcm") if path.is_file())
    if not files:
        raise ValueError(f"{given}: there is no .vcm file in this folder")
    return files


def _keys(paths: list[str]) -> tuple[bytes, ...]:
    from icm.groups.lock import read_key

    return tuple(read_key(path) for path in paths)


def check(
    path: Path, symbols: bool = True, weights: str | None = None, keys: tuple[bytes, ...] = ()
) -> dict[str, Any]:
    """One file: what was checked ("nothing", "container", "symbols"), the problems, and a note on what was not.

    Raises only when the codec cannot be had with the `weights` asked for: that is no fault of the file.
    """
    result: dict[str, Any] = {"file": str(path), "intact": False, "checked": "nothing", "problems": [], "note": ""}
    try:
        with read(path, partial=True) as stream:
            result |= {"model": stream.header.model, "sections": len(stream), "bytes": stream.stored}
            problems = _named(stream)
            result["checked"] = "container"
    except EXPECTED as error:
        problems = [one_line(error)]
    if not problems and symbols:
        codec, result["note"] = _codec(result["model"], weights)
        if codec is not None:
            try:
                problems = _symbol_problems(codec, path, keys if result["model"] == "groups" else ())
                result["checked"] = "symbols"
            except OtherWeights as error:  # nothing is wrong with the file as far as can be told
                result["note"] = one_line(error).removeprefix(f"{path}: ")
    result["problems"] = [problem.removeprefix(f"{path}: ") for problem in problems]
    return result | {"intact": not problems}


def _named(stream: Stream) -> list[str]:
    """What the container can tell, sections with the names of what they hold."""
    import icm

    names = icm.section_names(stream.header)
    return [re.sub(r"section (\d+)", lambda m: f"{m[0]} ({names[int(m[1])]})" if int(m[1]) < len(names) else m[0], line)
            for line in stream.verify()]  # fmt: skip


def _symbol_problems(codec: Any, path: Path, keys: tuple[bytes, ...]) -> list[str]:
    try:
        with telling_memory():
            return list(codec.verify(path, **({"keys": keys} if keys else {})))
    except OtherWeights:
        raise
    except EXPECTED as error:
        return [one_line(error)]


@functools.lru_cache(maxsize=8)
def _codec(model: str, weights: str | None) -> tuple[Any, str]:
    """The codec that can check symbols, or None and why there is none; built once for many files."""
    from pipelines.codecs import build, is_anchor, table

    if model not in table() or is_anchor(model):
        return None, f"this version knows no codec {model}"
    try:
        codec = build(model, weights=weights)
    except EXPECTED as error:
        if weights:  # asked for, so it is a bad request
            raise
        return None, one_line(error)
    return (codec, "") if hasattr(codec, "verify") else (None, f"{model} cannot check its symbols")


def line(result: dict[str, Any]) -> str:
    """For people: one line a file, more only where there are more problems."""
    if not result["intact"]:
        return "\n".join(f"NOT INTACT  {result['file']}: {problem}" for problem in result["problems"])
    checked = "container and symbols" if result["checked"] == "symbols" else "container only"
    note = f" ({result['note']})" if result["note"] else ""
    many = "section" if result["sections"] == 1 else "sections"
    return f"intact      {result['file']}: {result['bytes']:,} bytes, {result['sections']} {many}; {checked}{note}"
