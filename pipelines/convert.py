"""`vcm convert`: weights that others published, into files of ours.

    HNeRV's quantised checkpoint ─restricted loader─▶ tensors ─▶ exactly, or with fewer bits ─▶ .vcm, kind "network"
"""

from __future__ import annotations

import argparse
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

NAME = "convert"
HELP = "turn a published checkpoint into a file of ours"
EPILOG = """\
Published checkpoints are pickles, which can run code when they are loaded: --trust is needed, and even then only a
restricted loader reads them, which knows tensors and plain containers. For --arch hnerv the result is a video that
`vcm decode` plays: every 8-bit value, min and scale is kept exactly, or, with --requantise, the weights get the fewest
bits that keep --psnr to the frames of the unmodified checkpoint. Activation and output function are not in the
checkpoint; the defaults are those of the authors' command.

examples:
  vcm convert hnerv-bunny-1.5M-quant.pth -o bunny.vcm --arch hnerv --trust
  vcm convert hnerv-bunny-1.5M-quant.pth -o small.vcm --arch hnerv --trust --requantise
"""
ARCHITECTURES = ("hnerv",)
PSNR_DB = 46.8  # costs a network that has 35.2 dB 0.3 dB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vcm convert`."""
    parser.add_argument("checkpoint", metavar="FILE", type=Path, help="the published checkpoint")
    parser.add_argument("-o", dest="output", metavar="OUT", type=Path, required=True, help="file to write (.vcm)")
    parser.add_argument("--arch", required=True, choices=ARCHITECTURES, help="whose checkpoint it is")
    parser.add_argument("--trust", action="store_true", help="load a pickle, with the restricted loader")
    parser.add_argument("--activation", default="gelu", metavar="A", help="gelu (default), relu, leaky or sine")
    parser.add_argument("--output-function", default="tanh", metavar="F", help="tanh (default), sigmoid or linear")
    parser.add_argument("--fps", type=Fraction, default=Fraction(24), metavar="R",
                        help="frames a second, which the checkpoint does not tell (default 24)")  # fmt: skip
    parser.add_argument("--requantise", action="store_true", help="fewer bits for the weights, see --psnr")
    parser.add_argument("--psnr", type=float, default=PSNR_DB, metavar="DB",
                        help=f"that --requantise keeps to the checkpoint's own frames (default {PSNR_DB})")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """0; ValueError, OSError, one line, for what is no checkpoint of that architecture."""
    from pipelines.run.atomic import write_bytes

    source, out = arguments.checkpoint, arguments.output
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such checkpoint")
    if not arguments.trust:
        raise ValueError(f"{source}: is a pickle; add --trust to read its tensors with the restricted loader")
    if out.suffix != ".vcm":
        raise ValueError(f"{out}: give it a name that ends in .vcm")
    if arguments.fps <= 0 or not 20 <= arguments.psnr <= 70:
        raise ValueError("--fps must be positive, and --psnr from 20 to 70 dB")
    data, facts = _hnerv(arguments)
    write_bytes(out, data)
    facts = {"file": str(out), "bytes": len(data), **facts}
    if arguments.json:
        print(json.dumps(facts))
    else:
        how = f"requantised, {facts['psnr_db']:.2f} dB to the checkpoint" if arguments.requantise else "exact"
        print(f"{out}: {len(data):,} bytes, {facts['frames']} frames, {facts['width']}x{facts['height']}, {how}")
    return 0


def _hnerv(arguments: argparse.Namespace) -> tuple[bytes, dict[str, Any]]:
    from icm.bitstream import Times
    from nerv.file import write_networks
    from nerv.published import read_hnerv

    architecture, frames, published = read_hnerv(arguments.checkpoint, arguments.activation, arguments.output_function)
    tensors: dict[str, Any] = dict(published)
    facts: dict[str, Any] = {"frames": frames, "width": architecture.width, "height": architecture.height,
             "parameters": architecture.parameters}  # fmt: skip
    if arguments.requantise:
        from nerv.requantise import requantise

        tensors, facts["psnr_db"] = requantise(
            architecture, published, frames, arguments.psnr, lambda line: print(line, file=sys.stderr, flush=True)
        )
    return write_networks("hnerv", architecture, [(frames, tensors)], Times.constant(frames, arguments.fps)), facts
