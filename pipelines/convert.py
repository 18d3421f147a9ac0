"""`vcm convert`: weights that others published, into files of ours.

    HNeRV's quantised checkpoint ─restricted loader─▶ tensors ─▶ exactly, or with fewer bits ─▶ .vcm, kind "network"
    an image codec's checkpoint  ─restricted loader─▶ tensors ─▶ float32, integer tables ─▶ weights of ours, safetensors
"""

from __future__ import annotations

import argparse
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

from icm.codecs.networks import ARCHITECTURES, load

NAME = "convert"
HELP = "turn a published checkpoint into a file of ours"
EPILOG = """\
Published checkpoints are pickles, which can run code when they are loaded: --trust is needed, and even then only a
restricted loader reads them, which knows tensors and plain containers. For --arch hnerv the result is a video that
`vcm decode` plays: every 8-bit value, min and scale is kept exactly, or, with --requantise, the weights get the fewest
bits that keep --psnr to the frames of the unmodified checkpoint. Activation and output function are not in the
checkpoint; the defaults are those of the authors' command.

For image codecs (--arch tcm: LIC_TCM's and SA-ICM's checkpoints, any N) the result is a file of weights, to be named
with --weights. Such weights have one rate each; --quality gives it a number, by which tables and plots tell several of
them apart ("sa-icm:5"). Their prior is computed in floats: streams are marked same-build.

examples:
  vcm convert hnerv-bunny-1.5M-quant.pth -o bunny.vcm --arch hnerv --trust
  vcm convert hnerv-bunny-1.5M-quant.pth -o small.vcm --arch hnerv --trust --requantise
  vcm convert icm_93.pth.tar -o icm-93.safetensors --arch tcm --trust
  vcm encode street.jpg -o street.vcm --codec sa-icm --weights icm-93.safetensors
"""
IMAGE_CODECS = tuple(name for name, places in ARCHITECTURES.items() if places.published)
PSNR_DB = 46.8  # costs a network that has 35.2 dB 0.3 dB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vcm convert`."""
    parser.add_argument("checkpoint", metavar="FILE", type=Path, help="the published checkpoint")
    parser.add_argument("-o", dest="output", metavar="OUT", type=Path, required=True, help="file to write")
    parser.add_argument("--arch", required=True, choices=("hnerv", *IMAGE_CODECS), help="whose checkpoint it is")
    parser.add_argument("--trust", action="store_true", help="load a pickle, with the restricted loader")
    parser.add_argument("--activation", default="gelu", metavar="A", help="gelu (default), relu, leaky or sine")
    parser.add_argument("--output-function", default="tanh", metavar="F", help="tanh (default), sigmoid or linear")
    parser.add_argument("--fps", type=Fraction, default=Fraction(24), metavar="R",
                        help="frames a second, which the checkpoint does not tell (default 24)")  # fmt: skip
    parser.add_argument("--requantise", action="store_true", help="fewer bits for the weights, see --psnr")
    parser.add_argument("--psnr", type=float, default=PSNR_DB, metavar="DB",
                        help=f"that --requantise keeps to the checkpoint's own frames (default {PSNR_DB})")  # fmt: skip
    parser.add_argument("--quality", type=float, default=0.0, metavar="Q",
                        help="of an image codec: the number of this rate point (default 0: none)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """0; ValueError, OSError, one line, for what is no checkpoint of that architecture."""
    from pipelines.run.atomic import sweep_beside, write_bytes

    source, out = arguments.checkpoint, arguments.output
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such checkpoint")
    if not arguments.trust:
        raise ValueError(f"{source}: is a pickle; add --trust to read its tensors with the restricted loader")
    suffix = ".safetensors" if arguments.arch in IMAGE_CODECS else ".vcm"
    if out.suffix != suffix:
        raise ValueError(f"{out}: give it a name that ends in {suffix}")
    sweep_beside(out)
    if arguments.arch in IMAGE_CODECS:
        return _image_codec(arguments)
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


def _image_codec(arguments: argparse.Namespace) -> int:
    from pipelines.run.atomic import replacing

    if not 0 <= arguments.quality < 1e6:
        raise ValueError(f"--quality {arguments.quality:g}: is a number from 0 to a million")
    network = load(ARCHITECTURES[arguments.arch].published)(arguments.checkpoint, arguments.quality)
    release = network.release()
    with replacing(arguments.output) as temporary:
        release.save(temporary)
    count = sum(parameter.numel() for parameter in network.parameters())
    size, found = arguments.output.stat().st_size, release.hash.hex()
    facts = {"file": str(arguments.output), "bytes": size, "parameters": count, "quality": arguments.quality,
             "weights_sha256": found, "settings": release.settings}  # fmt: skip
    if arguments.json:
        print(json.dumps(facts))
    else:
        print(f"{arguments.output}: {size:,} bytes, {count:,} parameters, weights {found[:16]}")
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
