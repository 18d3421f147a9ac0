"""`vcm extract`: a structured stream with fewer groups, cut without decoding it: no weights, no keys, no torch."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

NAME = "extract"
HELP = "cut groups out of a structured stream without decoding it"
EPILOG = """\
The groups that are not named lose their bytes; those that are keep theirs, to the last bit, locked ones stay locked.
The mask stays whole, so the shapes and names of the others can still be seen. The base (`vcm encode --base`) shows all
open groups coarsely: it is cut away, too, unless --with-base.

examples:
  vcm extract street.vcm --groups person -o persons.vcm
  vcm extract street.vcm --groups 1,3 -o two.vcm --with-base
  vcm extract camera.vcm --groups person -o persons.vcm         of a clip, all frames
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vcm extract`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a structured stream")
    parser.add_argument("--groups", metavar="A,3", required=True, help="by name or number (`vcm info` lists them)")
    parser.add_argument("-o", dest="output", metavar="OUT", type=Path, required=True, help="file to write")
    parser.add_argument("--with-base", action="store_true", help="keep the picture that fills missing groups")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0. StreamError, ValueError or OSError, one line, for a file or group that cannot be had."""
    from icm.bitstream import read
    from icm.groups.stream import extract
    from pipelines.groups import words
    from pipelines.run.atomic import sweep_beside, write_bytes
    from pipelines.run.batch import about

    source, out = arguments.file, arguments.output
    if out.is_dir():
        out = out / source.name
    if out.suffix != ".vcm":
        raise ValueError(f"{out}: a cut stream is a .vcm file; name it {out.stem}.vcm")
    if out.exists() and source.exists() and out.samefile(source):
        raise ValueError(f"{out}: is the input; choose another -o")
    try:
        with read(os.fspath(source)) as stream:
            data, before = extract(stream, words(arguments.groups), arguments.with_base), stream.size
    except ValueError as error:
        raise about(source, error) from error
    sweep_beside(out)
    write_bytes(out, data)
    row = {"file": str(out), "source": str(source), "bytes": len(data), "bytes_before": before}
    print(json.dumps(row) if arguments.json else f"{out}: {len(data)} of {before} bytes")
    return 0
