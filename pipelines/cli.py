"""The `vcm` command: finds the stage, gives it its arguments, turns errors into one line and an exit code.

Exit codes: 0 done; 1 done, with items refused and listed; 2 bad request; 130 interrupted.
VCM_TRACEBACK=1 shows where an error came from instead of the one line.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import NoReturn

from pipelines.run.batch import EXPECTED, one_line

STAGES = {  # in the order of the flow; only the chosen one is imported
    "demo": "pipelines.demo",
    "edges": "pipelines.edges",
    "train": "pipelines.train",
    "encode": "pipelines.encode",
    "decode": "pipelines.decode",
    "convert": "pipelines.convert",
    "extract": "pipelines.extract",
    "info": "pipelines.info",
    "verify": "pipelines.verify",
    "conformance": "pipelines.conformance",
    "finetune": "pipelines.finetune",
    "evaluate": "pipelines.evaluate",
    "privacy": "pipelines.privacy",
    "report": "pipelines.report",
    "models": "pipelines.models",
}
ABOUT = "Video coding for machines: from pictures to accuracy-versus-bitrate curves."
EPILOG = """\
Every stage reads and writes files, so each can be run again, replaced, or run elsewhere:

  pictures -edges-> edge maps -train-> codec -encode-> .vcm -decode-> frames -evaluate-> records -report-> report.html

`vcm STAGE --help` explains a stage.   Exit codes: 0 done; 1 done, some items refused and listed; 2 bad request;
130 interrupted.   VCM_TRACEBACK=1 shows tracebacks.
"""


class Parser(argparse.ArgumentParser):
    """argparse, with a mistake told in one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"vcm: {message}; see `{self.prog} --help`\n")


def stage_parser(name: str, module: ModuleType) -> Parser:
    """The parser of one stage, from its HELP, EPILOG and add_arguments."""
    parser = Parser(
        prog=f"vcm {name}",
        description=module.HELP,
        epilog=module.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # an abbreviation that works today is ambiguous after the next option
    )
    module.add_arguments(parser)
    return parser


def overview() -> str:
    """The text of `vcm --help`: the stages with their one line each."""
    lines = ["usage: vcm STAGE ...", "", ABOUT, "", "stages:"]
    for name, module in STAGES.items():
        try:
            lines.append(f"  {name:<11} {importlib.import_module(module).HELP}")
        except ImportError as error:  # one broken stage must not hide the others
            lines.append(f"  {name:<11} (cannot be loaded: {one_line(error)})")
    return "\n".join([*lines, "", EPILOG])


def main(argv: Sequence[str] | None = None) -> int:
    """Run `vcm` with these words (default: the command line's); returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)  # so that half-written files are removed on the way out
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        print("vcm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `vcm info … | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except EXPECTED as error:
        if os.environ.get("VCM_TRACEBACK") == "1":
            raise
        print(f"vcm: {one_line(error)}", file=sys.stderr)
        return 2


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview(), end="")
        return 0 if words else 2
    if words[0] == "--version":
        from pipelines.run.provenance import version

        print(f"vcm {version()}")
        return 0
    name = words[0]
    if name not in STAGES:
        raise ValueError(f"{name}: no such stage; choose one of {', '.join(STAGES)}")
    module = importlib.import_module(STAGES[name])
    arguments = stage_parser(name, module).parse_intermixed_args(words[1:])
    code: int = module.run(arguments)
    sys.stdout.flush()
    return code


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
