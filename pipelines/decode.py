"""`vcm decode`: files back to pictures and frames, each file, or a clip's frames together, whole or absent.

    FILE ─header─▶ kind, model ─codec─▶ picture ─▶ PNG
                                      ╰▶ frames ─▶ folder of PNGs with frames.jsonl, or a video file

A codec that codes clips has `decode_clip(source, start, stop) -> iterator of (frame, tick)`, source: path or bytes. One
that can show the intact part of a damaged file has `decode_partial(stream, frame) -> (picture, lost, approximate)`:
lost is {(top, bottom, left, right) in pixels: reason} of what was left grey, approximate a list of such windows, in
which pixels may differ from those of the intact file; elsewhere none does.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import damage, groups
from pipelines.run.batch import Refusals, about, each, telling_memory

if TYPE_CHECKING:
    import numpy as np

NAME = "decode"
HELP = "turn coded files back into pictures and frames"
EPILOG = """\
OUT is a picture (.png, .bmp, .ppm, .tif) or a folder for a coded picture; a folder of PNGs named by index, or a video
(.mkv exact, .mp4, .y4m) for a coded clip; a folder for DIR. A damaged file gives no picture, unless --partial: then
what is intact, grey where it is lost, a damage map beside it (a.damage.png: 255 lost, 128 approximate, because what
is lost reaches there, 0 exact), and exit code 1. A folder of frames is replaced as a whole; one that holds anything
but a decoded clip is refused.

examples:
  vcm decode street.vcm -o street.png
  vcm decode coded -o decoded --workers 2
  vcm decode camera.vcm -o frames --frames 10:20
  vcm decode camera.vcm -o camera.mkv
  vcm decode damaged.vcm -o rescued --partial
  vcm decode street.vcm -o persons.png --groups person,3 --fill transparent
  vcm decode camera.vcm -o persons --groups person --frames 10:20 --fill transparent
  vcm decode street.vcm -o street.png --key-file K               with the groups that this key locked
  vcm decode jpegs -o decoded --codec jpeg                      an anchor: its files do not tell what they are
"""

Frame = tuple["np.ndarray", "np.ndarray | None"]  # (H, W, 3) uint8, damage map (H, W) uint8 or None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vcm decode`."""
    parser.add_argument("input", metavar="FILE|DIR", type=Path, help="what to decode")
    parser.add_argument("-o", dest="output", metavar="OUT", required=True, help="file or folder to write")
    parser.add_argument("--frames", metavar="A:B", help="of a clip, only frames A to B-1 (10:20, :20, 10:, or 10)")
    parser.add_argument("--partial", action="store_true", help="of a damaged file, write what is intact; exit code 1")
    parser.add_argument("--codec", metavar="NAME", help="for files other than .vcm: the anchor that wrote them")
    parser.add_argument("--weights", metavar="FILE", help="weights other than the shipped ones (safetensors)")
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="processes for a folder (default 1)")
    groups.add_decode_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="skip what an earlier run with these settings finished")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, write nothing")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0, or 1 with refused or damaged files listed. ValueError, OSError, ImportError for a bad request."""
    if not arguments.input.exists():
        raise FileNotFoundError(f"{arguments.input}: no such file or folder")
    if arguments.workers < 1:
        raise ValueError(f"--workers {arguments.workers}: must be at least 1")
    codec = _anchor(arguments.codec, arguments.weights) if arguments.codec else None
    settings = {"frames": frame_range(arguments.frames), "partial": arguments.partial, "codec": arguments.codec,
                "weights": arguments.weights, **groups.settings(arguments)}  # fmt: skip
    if arguments.input.is_dir():
        return _run_folder(arguments, settings, codec.suffix if codec else ".vcm")
    return _run_file(arguments, settings)


def frame_range(text: str | None) -> tuple[int, int | None] | None:
    """(start, stop) of "10:20", ":20", "10:" or "10"; stop None: to the end. ValueError for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d*)(:?)(\d*)", text)
    if not found or not text.strip(":"):
        raise ValueError(f"--frames {text}: write it as 10:20 (frames 10 to 19), :20, 10: or 10")
    start = int(found[1] or 0)
    stop = int(found[3]) if found[3] else None if found[2] else start + 1
    if stop is not None and stop <= start:
        raise ValueError(f"--frames {text}: holds no frame; the end must be above the start")
    return start, stop


def _anchor(name: str, weights: str | None) -> Any:
    from pipelines import codecs

    if not codecs.is_anchor(codecs.split(name)[0]):
        raise ValueError(f"--codec {name}: is for anchors; a .vcm file tells its codec itself")
    return codecs.parse(name, weights=weights)


def _run_file(arguments: argparse.Namespace, settings: dict[str, Any]) -> int:
    from pipelines.clips_out import VIDEOS
    from pipelines.media import LOSSLESS
    from pipelines.run.atomic import sweep_beside

    if arguments.resume:
        raise ValueError("--resume: is for a folder; one file is simply decoded again")
    source, out = arguments.input, Path(arguments.output)
    try:
        kind = file_kind(source, settings)
        if kind == "picture" and (out.is_dir() or not out.suffix or arguments.output.endswith(os.sep)):
            out = out / f"{source.stem}.png"
        elif kind == "picture" and out.suffix.lower() not in LOSSLESS:
            raise ValueError(f"{out}: pictures are written losslessly; choose a name ending in {', '.join(LOSSLESS)}")
        elif kind == "clip" and out.suffix and out.suffix.lower() not in VIDEOS and not out.is_dir():
            raise ValueError(f"{out}: clips are written to a folder, or to {', '.join(sorted(VIDEOS))}")
        if out.exists() and out.samefile(source):
            raise ValueError(f"{out}: is the input; choose another -o")
        if arguments.dry_run:
            print(f"would write {out}")
            return 0
        sweep_beside(out)
        row = decode_file((source, out), settings)
    except (ValueError, MemoryError) as error:
        raise (error if str(error).startswith(str(out)) else about(source, error)) from error
    print(json.dumps({**row, "file": str(out)}) if arguments.json else f"{out}: {_described(row)}")
    return 1 if row["damaged"] else 0


def _run_folder(arguments: argparse.Namespace, settings: dict[str, Any], suffix: str) -> int:
    from pipelines.media import list_files
    from pipelines.run.atomic import make_folder
    from pipelines.run.ledger import Ledger
    from pipelines.run.lock import Lock
    from pipelines.run.targets import distinct

    source_folder, out_folder = arguments.input, Path(arguments.output)
    refusals = Refusals()
    jobs = []
    for source in list_files(source_folder, {suffix}, f"{suffix} files"):
        try:
            ending = ".png" if file_kind(source, settings) == "picture" else ""
        except (ValueError, OSError) as error:
            refusals.add(source, error)
            continue
        jobs.append((source, out_folder / source.relative_to(source_folder).with_suffix(ending)))
    jobs = distinct(jobs, refusals, None if settings["codec"] else damage.beside)
    if arguments.dry_run:
        print("".join(f"would write {out}\n" for _, out in jobs), end="")
        refusals.report()
        return refusals.exit_code
    make_folder(out_folder)
    rows = []
    with Lock(out_folder), Ledger(out_folder, settings, arguments.resume) as ledger:
        finished = {job: ledger.done(job[1].relative_to(out_folder).as_posix(), job[0]) for job in jobs}
        todo = [job for job in jobs if finished[job] is None]
        work = functools.partial(decode_file, settings=settings)
        for row in each(todo, work, refusals, _source, "decode", workers=arguments.workers):
            row["file"] = Path(row["file"]).relative_to(out_folder).as_posix()
            ledger.add(row)
            rows.append(row)
        skipped = [row for row in finished.values() if row is not None]
    every = sorted(rows + skipped, key=lambda row: row["file"])
    for row in every:
        if row["damaged"]:
            refusals.add(row["source"], f"damaged: {_described(row)}")
    if arguments.json:
        refused = [{"file": name, "reason": reason} for name, reason in refusals.items]
        print(json.dumps({"files": every, "refused": refused}))
    else:
        print(f"{out_folder}: {len(every)} files{f', {len(skipped)} of them already there' if skipped else ''}")
    sys.stdout.flush()
    refusals.report()
    return refusals.exit_code


def _source(job: tuple[Path, Path]) -> Path:
    return job[0]


def file_kind(source: Path, settings: dict[str, Any]) -> str:
    """"picture" or "clip", as which a network counts too, from the head of the file.

    ValueError, one line, for others and for impossible requests.
    """
    if settings["codec"]:
        if settings["frames"] or settings["partial"]:
            raise ValueError(f"{source}: --frames and --partial are for .vcm files")
        groups.check(source, None, settings)
        return "picture"
    from icm.bitstream import NotVcm, read

    try:
        with read(source, partial=True) as stream:
            header = stream.header
    except NotVcm as error:
        raise ValueError(f"{error}; name the anchor that wrote it with --codec") from None
    if header.kind not in ("picture", "clip", "network", "groups"):
        raise ValueError(f"{source}: holds a {header.kind}, which this version does not decode")
    groups.check(source, header, settings)
    if settings["frames"]:
        start, stop = settings["frames"]
        if header.times is None:
            raise ValueError(f"{source}: is a picture; --frames is for clips")
        if start >= header.frames or (stop or 0) > header.frames:
            raise ValueError(f"{source}: has frames 0 to {header.frames - 1}; --frames goes beyond")
    return "picture" if header.kind in ("picture", "groups") else "clip"


def decode_file(job: tuple[Path, Path], settings: dict[str, Any]) -> dict[str, Any]:
    """Decode (source, out); the row for the manifest. ValueError (damage, wrong weights) or OSError, one line."""
    from pipelines.run.provenance import sha256_file

    source, out = job
    with telling_memory():
        decode = _decode_picture if file_kind(source, settings) == "picture" else _decode_clip
        made = decode(source, out, settings)
    return {"file": str(out), "source": str(source), "source_sha256": sha256_file(source), **made}


def _codec(source: Path, settings: dict[str, Any], *needed: str) -> Any:
    from icm.bitstream import read
    from pipelines import codecs
    from pipelines.encode_file import codec_of

    if settings["codec"]:
        return _anchor(settings["codec"], settings["weights"])
    with read(source, partial=True) as stream:
        name = stream.header.model
    if name not in codecs.table() or codecs.is_anchor(name):
        raise ValueError(f"{source}: was written by {name!r}, a codec that this version does not know; update vcm")
    codec = codec_of(name, None, settings["weights"])
    for method in needed:
        if not hasattr(codec, method):
            raise ValueError(f"{source}: {name} has no {method.replace('_', ' ')}; decode it without this option")
    return codec


def _decode_picture(source: Path, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    from pipelines.media import write_picture

    found, said = None, dict[str, Any]()
    if not settings["codec"] and groups.is_structured(source):
        picture, found, said = groups.decode(_codec(source, settings), source, settings)
    elif settings["partial"]:
        picture, found = next(_partial(source, settings, 0, 1))
    else:
        picture = _codec(source, settings).decode(source.read_bytes())
    shares = damage.shares(found)
    if shares["damaged"]:  # before the picture: whenever the run ends, no damaged picture is without its map
        write_picture(damage.place(out), damage.shown(found))
    write_picture(out, picture)
    if not shares["damaged"] and not settings["codec"]:
        damage.remove(damage.place(out))
    return {"width": picture.shape[1], "height": picture.shape[0], "frames": 1, **shares, **said}


def _partial(
    source: Path, settings: dict[str, Any], start: int, stop: int, options: dict[str, Any] | None = None,
    reasons: dict[str, None] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Frames as far as they are intact, with their damage maps. reasons: takes what is wrong, each once."""
    from icm.bitstream import read

    codec = _codec(source, settings, "decode_partial")
    with read(source, partial=True) as stream:
        for index in range(start, stop):
            frame, lost, approximate = codec.decode_partial(stream, index, **(options or {}))
            if reasons is not None:
                reasons |= dict.fromkeys(lost.values())
            yield frame, damage.of_windows(frame.shape, lost, approximate)


def _decode_clip(source: Path, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    from icm.bitstream import read
    from pipelines.clips_out import INDEX, VIDEOS, check_folder, writing
    from pipelines.media import write_picture
    from pipelines.run import manifest
    from pipelines.run.atomic import replacing_folder
    from pipelines.run.progress import progress

    codec = _codec(source, settings, "decode_partial" if settings["partial"] else "decode_clip")
    options, said = groups.clip_options(codec, source, settings)
    with read(source, partial=True) as stream:
        header = stream.header
    start, stop = settings["frames"] or (0, None)
    stop = header.frames if stop is None else stop
    assert header.times is not None  # every clip has them
    times = [int(tick) * header.times.base for tick in header.times.ticks[start:stop]]
    rate = header.times.rate or Fraction(25)  # one frame has no rate
    shares: list[dict[str, float]] = []
    reasons: dict[str, None] = {}
    rows = []

    def frames() -> Iterator[Frame]:
        if settings["partial"]:
            yield from _partial(source, settings, start, stop, options, reasons)
        else:
            for frame, _ in codec.decode_clip(source, start, stop, **options):
                yield frame, None

    def write_all(place: Path) -> None:
        with writing(place, rate) as writer:
            decoded = zip(progress(frames(), stop - start, source.name), times, strict=True)
            for index, ((frame, found), time_s) in enumerate(decoded, start):
                writer.add(frame, time_s, index)
                shares.append(damage.shares(found))
                name = f"frame_{index:06d}.png"
                rows.append({"file": name, "index": index, "time_s": str(time_s), **shares[-1]})
                if shares[-1]["damaged"] and not video:
                    write_picture(damage.place(place / name), damage.shown(found))
            if not video:
                manifest.write(place / INDEX, rows)

    video = out.suffix.lower() in VIDEOS
    if video and options.get("fill") == "transparent":
        raise ValueError(f"{out}: a video has no transparency here; decode to a folder, or choose another --fill")
    if video:
        write_all(out)
    else:
        check_folder(out)
        with replacing_folder(out) as temporary:
            write_all(temporary)
    means = {key: sum(share[key] for share in shares) / len(shares) for key in shares[0]}
    return {"width": header.width, "height": header.height, "frames": len(shares), **means, **said,
            **({"groups_lost": list(reasons)} if reasons and options else {})}  # fmt: skip


def _described(row: dict[str, Any]) -> str:
    frames = f"{row['frames']} frames, " if row["frames"] > 1 else ""
    said = ""
    if row["damaged"]:
        said = f", {row['damaged']:.1%} of it lost and left grey, {row['approximate']:.1%} around that approximate"
    return f"{frames}{row['width']}x{row['height']}{said}{groups.described(row)}"
