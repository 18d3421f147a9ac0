"""`vcm encode`: pictures and clips to files, each whole or absent.

    IMAGE|CLIP ─encode_file─▶ OUT
    CLIP with a network ─fit─▶ OUT
    DIR: every picture and clip below it, the same way; manifest.jsonl and run.json beside them
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from pipelines import fit_command, groups, regions, roi
from pipelines.encode_file import Request, codec_of, encode_file
from pipelines.run.batch import EXPECTED, Refusals, about, each

NAME = "encode"
HELP = "code pictures and clips into files"
EPILOG = """\
OUT is a file for one IMAGE or CLIP (or a folder, when it is one or has no suffix), and a folder for DIR.
--bpp and --bytes find the best quality whose file is no larger, on real bytes; the codec is then named without quality.
Of a clip, sa-icm-s and lic-s send a whole frame every --refresh frames, and between them only the tiles that changed;
groups sends what moves, and of the background what changed.
--roi keeps the named quality where it matters and takes some elsewhere; the file says where, in a few bytes. WHAT is
saliency, edges, a .json of boxes ({"street.jpg": [[x, y, width, height], ...]}, or COCO's), a mask .png or a folder.

examples:
  vcm encode street.jpg -o street.vcm --codec sa-icm-s:25
  vcm encode street.jpg -o street.vcm --codec sa-icm-s --bpp 0.15
  vcm encode photos -o coded --codec sa-icm-s:25 --workers 2
  vcm encode photos -o coded --codec sa-icm-s:25 --resume       go on where a run was stopped
  vcm encode camera.mp4 -o camera.vcm --codec sa-icm-s:25
  vcm encode photos -o coded --codec sa-icm-s:45 --roi saliency --roi-option step=30 cell=16 share=0.3
  vcm encode street.jpg -o street.vcm --codec segpic --weights segpic.safetensors --regions felzenszwalb
  vcm encode street.jpg -o street.vcm --codec groups:30 --groups-from instances.json --lock person --key-file K
  vcm encode camera.mp4 -o camera.vcm --codec groups:30 --groups-from motion --groups-quality background=50
  vcm encode photos -o jpegs --codec jpeg:30                     an anchor
  vcm encode camera.mp4 -o camera.vcm --codec sa-nerv:64kbps --minutes 20 --edges edges
                                                                 a network is fitted to the clip (edges: vcm edges)
`vcm models` lists the codecs.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vcm encode`."""
    parser.add_argument("input", metavar="IMAGE|DIR|CLIP", type=fit_command.source,
                        help="what to code; for networks also - (standard input) or rtsp://…")  # fmt: skip
    parser.add_argument("-o", dest="output", metavar="OUT", required=True, help="file or folder to write")
    parser.add_argument("--codec", metavar="NAME[:QUALITY]", required=True, help="what to code with, e.g. sa-icm-s:25")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--bpp", metavar="R", type=float, help="at most R bits a pixel (a clip: a pixel of a frame)")
    size.add_argument("--bytes", metavar="N", type=int, help="at most N bytes a file")
    parser.add_argument("--weights", metavar="FILE", help="weights other than the shipped ones (safetensors)")
    roi.add_arguments(parser)
    parser.add_argument("--refresh", metavar="K", type=int, help="of a clip, a whole frame every K frames at least, "
                        "what changed between (128; groups: 512); 1: every frame whole")  # fmt: skip
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="processes for a folder (default 1)")
    parser.add_argument("--resume", action="store_true", help="skip what an earlier run with these settings finished")
    fit_command.add_arguments(parser)
    groups.add_encode_arguments(parser)
    regions.add_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, write nothing")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0, or 1 with refused files listed. ValueError, OSError, ImportError for a bad request."""
    import nerv
    from pipelines import codecs

    if arguments.codec.partition(":")[0] in nerv.CODECS:
        return fit_command.run(arguments)
    fit_command.refuse(arguments)
    if isinstance(arguments.input, str):
        raise ValueError(f"{arguments.input}: a live source is for networks (--codec sa-nerv:64kbps); save it first")
    name, qualities = codecs.split(arguments.codec)
    if len(qualities) > 1:
        raise ValueError(f"{arguments.codec}: one quality is needed here, not {len(qualities)}")
    request = Request(name, qualities[0] if qualities else None, arguments.weights, arguments.bpp, arguments.bytes,
                      arguments.roi, tuple(arguments.roi_option), groups.request(arguments, name),
                      regions.request(arguments, name), arguments.refresh)  # fmt: skip
    _check(request, arguments)
    suffix: str = request.codec().suffix
    if arguments.input.is_dir():
        return _run_folder(arguments, request, suffix)
    return _run_file(arguments, request, suffix)


def _check(request: Request, arguments: argparse.Namespace) -> None:
    if request.sized and request.quality is not None:
        size = "--bpp" if request.bpp is not None else "--bytes"
        raise ValueError(f"{arguments.codec}: {size} finds the quality; write --codec {request.name}")
    if request.bpp is not None and not 0 < request.bpp < math.inf:
        raise ValueError(f"--bpp {request.bpp:g}: must be above 0")
    if request.bytes is not None and request.bytes < 1:
        raise ValueError(f"--bytes {request.bytes}: must be at least 1")
    if arguments.workers < 1:
        raise ValueError(f"--workers {arguments.workers}: must be at least 1")
    if not arguments.input.exists():
        raise FileNotFoundError(f"{arguments.input}: no such file or folder")
    if request.refresh is not None and not hasattr(codec_of(request.name, None, request.weights), "refresh"):
        raise ValueError(f"--refresh: {request.name} knows no frames of changed tiles; leave it out")
    roi.check(request.roi, request.roi_options, request.codec())


def _run_file(arguments: argparse.Namespace, request: Request, suffix: str) -> int:
    from pipelines.clips import CLIPS
    from pipelines.media import PICTURES
    from pipelines.run.atomic import sweep_beside

    if arguments.resume:
        raise ValueError("--resume: is for a folder; one file is simply coded again")
    source, out = arguments.input, Path(arguments.output)
    if out.is_dir() or not out.suffix or arguments.output.endswith(os.sep):
        out = out / (source.stem + suffix)
    elif suffix == ".vcm" and out.suffix.lower() in PICTURES | CLIPS:
        raise ValueError(f"{out}: {request.name} writes .vcm files; name it {out.with_suffix('.vcm').name}")
    if out.exists() and out.samefile(source):
        raise ValueError(f"{out}: is the input; choose another -o")
    try:
        if arguments.dry_run:
            _check_head(source)
            print(f"would write {out}")
            return 0
        sweep_beside(out)
        row = encode_file((source, out), request)
    except (ValueError, MemoryError) as error:
        raise about(source, error) from error
    print(json.dumps({**row, "file": str(out)}) if arguments.json else f"{out}: {_described(row)}")
    return 0


def _run_folder(arguments: argparse.Namespace, request: Request, suffix: str) -> int:
    from pipelines import codecs
    from pipelines.run.atomic import make_folder
    from pipelines.run.ledger import Ledger
    from pipelines.run.lock import Lock
    from pipelines.run.provenance import version

    source_folder, out_folder = arguments.input, Path(arguments.output)
    refusals = Refusals()
    jobs = _jobs(source_folder, out_folder, suffix, refusals)
    if arguments.dry_run:
        for source, out in jobs:
            try:
                _check_head(source)
                print(f"would write {out}")
            except EXPECTED as error:
                refusals.add(source, error)
        refusals.report()
        return refusals.exit_code
    weights = codecs.weights_hash(request.codec())  # of the shipped ones too: a new release codes otherwise
    settings = {**request.settings(), "version": version(), "weights_sha256": weights}
    make_folder(out_folder)
    rows = []
    with Lock(out_folder), Ledger(out_folder, settings, arguments.resume) as ledger:
        finished = {job: ledger.done(job[1].relative_to(out_folder).as_posix(), job[0]) for job in jobs}
        todo = [job for job in jobs if finished[job] is None]
        work = functools.partial(encode_file, request=request)
        for row in each(todo, work, refusals, _source, "encode", workers=arguments.workers):
            row["file"] = Path(row["file"]).relative_to(out_folder).as_posix()
            ledger.add(row)
            rows.append(row)
        skipped = [row for row in finished.values() if row is not None]
    _summarise(arguments, rows, skipped, refusals)
    return refusals.exit_code


def _source(job: tuple[Path, Path]) -> Path:
    return job[0]


def _jobs(source_folder: Path, out_folder: Path, suffix: str, refusals: Refusals) -> list[tuple[Path, Path]]:
    """(source, file to write) of everything below a folder that can be written."""
    from pipelines.clips import CLIPS
    from pipelines.media import PICTURES, list_files
    from pipelines.run.targets import distinct

    sources = list_files(source_folder, PICTURES | CLIPS, "pictures or clips")
    if out_folder.resolve() != source_folder.resolve():  # what an earlier run wrote below the input is no input
        sources = [path for path in sources if not path.resolve().is_relative_to(out_folder.resolve())]
    outs = [out_folder / path.relative_to(source_folder).with_suffix(suffix) for path in sources]
    return distinct(zip(sources, outs, strict=True), refusals)


def _check_head(source: Path) -> None:
    from pipelines.clips import CLIPS, probe_clip
    from pipelines.media import picture_size

    if source.suffix.lower() in CLIPS:
        probe_clip(source)
    else:
        picture_size(source)


def _described(row: dict[str, Any]) -> str:
    frames = f"{row['frames']} frames, " if row["frames"] > 1 else ""
    return f"{frames}{row['bytes']} bytes, {row['rate_bpp']:.4f} bpp, quality {row['quality']:g}"


def _summarise(
    arguments: argparse.Namespace, rows: list[dict[str, Any]], skipped: list[dict[str, Any]], refusals: Refusals
) -> None:
    every = rows + skipped
    total = sum(row["bytes"] for row in every)
    pixels = sum(row["width"] * row["height"] * row["frames"] for row in every)
    rate = 8 * total / pixels if pixels else None
    if arguments.json:
        refused = [{"file": name, "reason": reason} for name, reason in refusals.items]
        print(json.dumps({"files": sorted(every, key=lambda row: row["file"]), "refused": refused, "bytes": total,
                          "rate_bpp": rate}))  # fmt: skip
    else:
        already = f", {len(skipped)} of them already there" if skipped else ""
        at = "" if rate is None else f": {total} bytes, {rate:.4f} bpp"
        print(f"{arguments.output}: {len(every)} files{already}{at}")
    sys.stdout.flush()
    refusals.report()
