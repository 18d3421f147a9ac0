"""`vcm encode CLIP --codec sa-nerv|hnerv|nerv`: a network fitted to each segment, then one file of them all.

    CLIP ─read─▶ frames ─cut─▶ segments ─fit_segment─▶ OUT.vcm.fit/0000/segment.vcm, 0001/… ─join─▶ OUT.vcm

A segment that is finished is a .vcm file of its own, so a killed run goes on where it was, and what a live source has
sent so far can be decoded before it ends.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from nerv.models.architecture import Architecture

BACKGROUND = "background.vcm"
MEDIAN_FRAMES = 64  # of the clip, about, that make its background
BITS = 4.2  # a number, about, where a size in bytes has to tell how many numbers

@dataclasses.dataclass(frozen=True)
class Request:
    """parameters, bytes_most, bits_a_second: what was asked for of the size; None: not. settings: of the task, as
    key=value words. edges: the folder that `vcm edges CLIP` wrote."""

    name: str
    parameters: int | None = None
    bytes_most: int | None = None
    bits_a_second: float | None = None
    bits_a_pixel: float | None = None
    steps: int | None = None
    minutes: float | None = None
    longest: int | None = None
    edges: Path | None = None
    settings: tuple[str, ...] = ()
    seed: int = 0
    device: str = "auto"
    threads: int = 0
    resume: bool = False
    checkpoint_minutes: float = 2.0
    background: str | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is known of the clip before anything is fitted. seconds: that it lasts."""

    frames: int
    width: int
    height: int
    base: Fraction
    colour: str
    seconds: float
    longest: int
    sizes: list[int]
    background: bytes | None = None

    def share(self, frames: int) -> float:
        return frames / self.frames


def size_of(text: str) -> dict[str, Any]:
    """ "0.75M" or "350k" parameters, "64kbps": fields of a Request. ValueError for anything else."""
    units = {"kbps": ("bits_a_second", 1e3), "Mbps": ("bits_a_second", 1e6), "k": ("parameters", 1e3),
             "M": ("parameters", 1e6)}  # fmt: skip
    for unit, (field, factor) in units.items():
        if text.endswith(unit):
            try:
                value = float(text[: -len(unit)]) * factor
            except ValueError:
                break
            if 0 < value < math.inf:
                return {field: int(value) if field == "parameters" else value}
    raise ValueError(f"{text}: is no size of a network; write 0.75M (parameters) or 64kbps, or give --bytes")


def plan(source: str, longest: int | None) -> tuple[Plan, Iterator[tuple[np.ndarray, int]]]:
    """(what reading the clip once tells: frames, duration, where segments begin; its frames with their ticks)."""
    from pipelines.clips import probe_clip, with_ticks
    from pipelines.run.progress import progress
    from pipelines.segments import longest_for, segments

    path = Path(source)
    info = probe_clip(path)
    count = info.frames or sum(1 for _ in with_ticks(path, info))
    most = longest or longest_for(info.width, info.height, count)
    sizes, ticks = [], []
    for segment in segments(progress(with_ticks(path, info), info.frames, f"read {path.name}"), most):
        sizes.append(len(segment.frames))
        ticks += segment.ticks
    step = float(info.time_base) * (ticks[-1] - ticks[0]) / (len(ticks) - 1) if len(ticks) > 1 else 1 / float(info.rate)
    seconds = step * len(ticks)
    found = Plan(sum(sizes), info.width, info.height, info.time_base, info.colour, seconds, most, sizes)
    return found, with_ticks(path, info)


def live_plan(source: str, request: Request) -> tuple[Plan, Iterator[tuple[np.ndarray, int]]]:
    """As `plan`, for what can be read once: sizes and minutes are then those of one segment. ValueError where a total
    is asked for, which nobody knows."""
    from pipelines.live import live_clip
    from pipelines.segments import longest_for

    if request.bytes_most is not None or request.resume or request.background:
        raise ValueError(f"{source}: --bytes, --resume and --background need a file; give :64kbps or :0.75M")
    info, frames = live_clip(source)
    longest = request.longest or longest_for(info.width, info.height)
    return Plan(longest, info.width, info.height, info.time_base, info.colour, float(longest / info.rate), longest,
                [longest]), frames  # fmt: skip


def encode(source: str, out: Path, request: Request) -> dict[str, Any]:
    """Fit, write, and tell: the row that `vcm encode` prints. ValueError or OSError, one line."""
    from pipelines.fit_command import is_live
    from pipelines.fit_segment import fit_segment
    from pipelines.run.atomic import make_folder, sweep_beside, write_bytes, write_text
    from pipelines.run.lock import Lock
    from pipelines.run.provenance import sha256_file
    from pipelines.segments import segments

    work = out.with_name(out.name + ".fit")
    digest = "" if is_live(source) else sha256_file(Path(source))
    asked = {**dataclasses.asdict(request), "source_sha256": digest}
    for free in ("resume", "device", "threads", "checkpoint_minutes"):
        asked.pop(free)
    asked = json.loads(json.dumps(asked, default=str))
    make_folder(work)
    with Lock(work):
        told = work / "request.json"
        if told.exists() and not request.resume:
            raise ValueError(f"{work}: holds a fit already; add --resume to go on with it, or remove it")
        if told.exists() and json.loads(told.read_text()) != asked:
            raise ValueError(f"{work}: is of another clip or other settings; remove it, or choose another -o")
        fresh = not told.exists()
        write_text(told, json.dumps(asked, indent=1) + "\n")
        try:
            found, frames = plan(source, request.longest) if not is_live(source) else live_plan(source, request)
            if request.background is not None:
                found = dataclasses.replace(found, background=background(source, found, request.background, work))
            architecture, most = sized(found, request)
        except (ValueError, OSError):
            for path in (told, work / BACKGROUND) if fresh else ():  # the corrected command must find no fit here
                path.unlink(missing_ok=True)
            raise
        done: list[Path] = []
        for segment in segments(frames, found.longest):
            file = work / f"{segment.number:04d}" / "segment.vcm"
            if not file.exists():
                fit_segment(segment, found, architecture, most, request, file, done[-1].parent if done else None)
            done.append(file)
        data, count = join(request.name, done, found)
    sweep_beside(out)
    write_bytes(out, data)
    for folder in (file.parent for file in done):
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return {"file": str(out), "source": source, "source_sha256": digest, "codec": request.name, "quality": None,
            "width": found.width, "height": found.height, "frames": count, "bytes": len(data),
            "segments": len(done), "parameters": architecture.parameters,
            "rate_bpp": 8 * len(data) / (found.width * found.height * count)}  # fmt: skip


def sized(found: Plan, request: Request) -> tuple[Architecture, int | None]:
    """(architecture of every segment, bytes of the whole file or None)."""
    from nerv.sizes import sized as architecture_of

    most = request.bytes_most
    if request.bits_a_second is not None:
        most = math.floor(request.bits_a_second * found.seconds / 8)
    if request.bits_a_pixel is not None:
        most = math.floor(request.bits_a_pixel * found.width * found.height * found.frames / 8)
    longest = max(found.sizes)
    parameters = request.parameters
    if parameters is None:
        if most is None:
            name = request.name
            raise ValueError(f"{name}: say how large: {name}:0.75M (parameters), {name}:64kbps, or --bytes N")
        parameters = int(max(0, most - len(found.background or b"")) * found.share(longest) * 8 / BITS)
    return architecture_of(request.name, found.height, found.width, longest, parameters), most


def background(source: str, found: Plan, codec: str, work: Path) -> bytes:
    """The median over time of frames all over the clip, as a picture of `codec`; kept beside the segments."""
    import icm
    from pipelines.clips import probe_clip, with_ticks
    from pipelines.run.atomic import write_bytes

    path = work / BACKGROUND
    if path.exists():
        return path.read_bytes()
    every = max(1, found.frames // MEDIAN_FRAMES)
    pairs = with_ticks(Path(source), probe_clip(Path(source)))
    kept = np.stack([frame for i, (frame, _) in enumerate(pairs) if i % every == 0])
    rows = (np.median(kept[:, row], axis=0) for row in range(kept.shape[1]))  # by rows: a median copies what it sorts
    data = icm.encode(np.stack([row.astype(np.uint8) for row in rows]), codec=codec)
    write_bytes(path, data)
    return data


def join(name: str, files: list[Path], found: Plan) -> tuple[bytes, int]:
    """(the segments' files as one, its frames)."""
    from icm.bitstream import Times
    from nerv.file import NetworkFile, write_networks

    parts, ticks = [], []
    for path in files:
        with NetworkFile(path) as file:
            assert file.header.times is not None
            ticks += file.header.times.ticks.tolist()
            parts.append((file.counts[0], file.tensors(0)))
            architecture = file.architecture
    data = write_networks(name, architecture, parts, Times.of(ticks, found.base), found.colour,
                          (found.width, found.height), found.background)  # fmt: skip
    return data, len(ticks)
