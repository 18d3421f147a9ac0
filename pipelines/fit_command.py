"""What `vcm encode` adds for video networks: its options, and the request made of them."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

OPTIONS = ("steps", "minutes", "edges", "background", "segment", "fit", "checkpoint_minutes", "seed", "device",
           "threads")  # fmt: skip

ADDRESSES = ("rtsp://", "rtsps://", "rtmp://", "srt://", "udp://", "tcp://", "http://", "https://")


def is_live(source: str) -> bool:
    """Whether a source is standard input ("-") or an address."""
    return source == "-" or source.startswith(ADDRESSES)


def source(text: str) -> str | Path:
    """What a command line names: an address as it stands (a path would lose a slash), else a path."""
    return text if is_live(text) else Path(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of fitting, a group of their own."""
    group = parser.add_argument_group("networks (--codec nerv, hnerv, sa-nerv; a size: :0.75M parameters, :64kbps)")
    length = group.add_mutually_exclusive_group()
    length.add_argument("--steps", metavar="N", type=int, help="fit each segment for so many steps (repeatable)")
    length.add_argument("--minutes", metavar="M", type=float, help="fit for so long in all")
    group.add_argument("--edges", metavar="DIR", type=Path, help="what `vcm edges CLIP` wrote: fit to edges too")
    group.add_argument("--background", metavar="CODEC", nargs="?", const="sa-icm-s:40",
                       help="of a static camera: its background once, as a picture (default sa-icm-s:40)")  # fmt: skip
    group.add_argument("--segment", metavar="N", type=int, help="frames of a segment at most (default 300)")
    group.add_argument("--fit", metavar="KEY=VALUE", action="append", default=None,
                       help="settings of the fit, e.g. loss=nerv, edges=only, batch=4, learning_rate=2e-3")  # fmt: skip
    group.add_argument("--checkpoint-minutes", metavar="M", type=float, help="between checkpoints (default 2)")
    group.add_argument("--seed", metavar="N", type=int, help="of everything random (default 0)")
    group.add_argument("--device", metavar="D", help="cpu, cuda or cuda:1 (default: a GPU where there is one)")
    group.add_argument("--threads", metavar="N", type=int, help="of the processor (default: torch's)")


def refuse(arguments: argparse.Namespace) -> None:
    """ValueError where an option of fitting is given to a codec that fits nothing."""
    given = [name for name in OPTIONS if getattr(arguments, name) is not None]
    if given:
        raise ValueError(f"--{given[0]}: is for networks (nerv, hnerv, sa-nerv); {arguments.codec} takes none")


def run(arguments: argparse.Namespace) -> int:
    """0, or ValueError, OSError with one line."""
    from pipelines import fit
    from pipelines.clips import CLIPS

    source, out = arguments.input, Path(arguments.output)
    if not is_live(str(source)):
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such file or folder")
        if source.is_dir() or source.suffix.lower() not in CLIPS:
            raise ValueError(f"{source}: is no clip; a network is fitted to one clip at a time")
    elif out.suffix != ".vcm":
        raise ValueError(f"{out}: name the file of a live source, NAME.vcm")
    if out.is_dir() or not out.suffix or arguments.output.endswith(os.sep):
        out = out / (source.stem + ".vcm")
    if out.suffix != ".vcm":
        raise ValueError(f"{out}: a network is a .vcm file; name it {out.with_suffix('.vcm').name}")
    others = ("weights", "refresh", "roi", "regions", "groups_from", "lock")
    wrong = [name for name in others if getattr(arguments, name, None)] + ["workers"] * (arguments.workers != 1)
    if wrong:
        option = wrong[0].replace("_", "-")
        raise ValueError(f"--{option}: is not for networks, which learn their weights from the clip; leave it out")
    name, _, size = arguments.codec.partition(":")
    sizes = fit.size_of(size) if size else {}
    given = {"bytes_most": arguments.bytes, "bits_a_pixel": arguments.bpp}
    sizes |= {key: value for key, value in given.items() if value is not None}
    for label in ("steps", "minutes", "segment", "bytes"):
        value = getattr(arguments, label)
        if value is not None and value <= 0:
            raise ValueError(f"--{label} {value}: must be above 0")
    request = fit.Request(
        name, **sizes, steps=arguments.steps, minutes=arguments.minutes, longest=arguments.segment,
        edges=arguments.edges, settings=tuple(arguments.fit or ()), seed=arguments.seed or 0,
        device=arguments.device or "auto", threads=arguments.threads or 0, resume=arguments.resume,
        background=arguments.background,
        checkpoint_minutes=2.0 if arguments.checkpoint_minutes is None else arguments.checkpoint_minutes,
    )  # fmt: skip
    if arguments.dry_run:
        if is_live(str(source)):
            raise ValueError(f"{source}: --dry-run reads the clip, and this one can be read only once")
        found, _ = fit.plan(str(source), request.longest)
        architecture, _ = fit.sized(found, request)
        print(f"would fit {len(found.sizes)} networks of {architecture.parameters:,} parameters, and write {out}")
        return 0
    row = fit.encode(str(source), out, request)
    print(json.dumps(row) if arguments.json else
          f"{out}: {row['frames']} frames, {row['bytes']:,} bytes, {row['rate_bpp']:.4f} bpp, {row['segments']} "
          f"segments, {row['parameters']:,} parameters each")  # fmt: skip
    return 0
