"""`vcm encode CLIP --codec sa-nerv|hnerv|nerv`: a network fitted to each segment, then one file of them all.

    CLIP ─read─▶ frames ─cut─▶ segments ─Trainer─▶ networks ─finish─▶ segment files ─▶ OUT.vcm
                                             ╰─ OUT.fit/000: checkpoint, log, previews, plot.png, segment.vcm ─╯

A segment that is finished is a .vcm file of its own below OUT.fit, so a killed run goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from nerv.models.architecture import Architecture
    from pipelines.segments import Segment

STEPS = 20_000  # where neither --steps nor --minutes is given
BITS = 5.0  # a number, about, where a size in bytes has to tell how many numbers
OVERHEAD = 300  # bytes of a file beside its sections, at most
RESERVED = 0.06  # of the minutes: statistics, rounding, coding
PRESETS: dict[str, dict[str, Any]] = {  # by codec: how its paper fits it, and ours
    "nerv": {"loss": "nerv", "optimizer": "adam", "learning_rate": 5e-4, "batch": 1, "warmup": 0.2},
    "hnerv": {"loss": "l2", "optimizer": "adam", "learning_rate": 1e-3, "batch": 2, "warmup": 0.1},
    "sa-nerv": {},
}


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


def plan(source: Path, longest: int | None) -> Plan:
    """Read the clip once: frames, duration, where segments begin."""
    from pipelines.clips import probe_clip
    from pipelines.run.progress import progress
    from pipelines.segments import longest_for, segments

    info = probe_clip(source)
    count = info.frames or sum(1 for _ in read(source, info))
    most = longest or longest_for(info.width, info.height, count)
    sizes, ticks = [], []
    for segment in segments(progress(read(source, info), info.frames, f"read {source.name}"), most):
        sizes.append(len(segment.frames))
        ticks += segment.ticks
    step = float(info.time_base) * (ticks[-1] - ticks[0]) / (len(ticks) - 1) if len(ticks) > 1 else 1 / float(info.rate)
    seconds = step * len(ticks)
    return Plan(sum(sizes), info.width, info.height, info.time_base, info.colour, seconds, most, sizes)


def read(source: Path, info: Any) -> Iterator[tuple[np.ndarray, int]]:
    """(frame, tick). ValueError where a time is no whole number of ticks."""
    from pipelines.clips import read_clip

    for number, (frame, time_s) in enumerate(read_clip(source)):
        tick = time_s / info.time_base
        if tick.denominator != 1:
            raise ValueError(f"{source}: frame {number} has a time of its own kind; write the clip anew (remux it)")
        yield frame, tick.numerator


def encode(source: Path, out: Path, request: Request) -> dict[str, Any]:
    """Fit, write, and tell: the row that `vcm encode` prints. ValueError or OSError, one line."""
    from nerv.file import NetworkFile
    from pipelines.clips import probe_clip
    from pipelines.run.atomic import make_folder, write_bytes, write_text
    from pipelines.run.lock import Lock
    from pipelines.run.provenance import sha256_file
    from pipelines.segments import segments

    work = out.with_name(out.name + ".fit")
    digest = sha256_file(source)
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
        write_text(told, json.dumps(asked, indent=1) + "\n")
        found = plan(source, request.longest)
        architecture, most = sized(found, request)
        info = probe_clip(source)
        done: list[Path] = []
        for segment in segments(read(source, info), found.longest):
            file = work / f"{segment.number:04d}" / "segment.vcm"
            if not file.exists():
                fit_segment(segment, found, architecture, most, request, file, done[-1].parent if done else None)
            done.append(file)
        data = join(request.name, done, found)
    write_bytes(out, data)
    for folder in (file.parent for file in done):
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    with NetworkFile(out) as file_:
        counts = file_.counts
    return {"file": str(out), "source": str(source), "source_sha256": digest, "codec": request.name, "quality": 0.0,
            "width": found.width, "height": found.height, "frames": found.frames, "bytes": len(data),
            "segments": len(counts), "parameters": architecture.parameters,
            "rate_bpp": 8 * len(data) / (found.width * found.height * found.frames)}  # fmt: skip


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
        parameters = int(most * found.share(longest) * 8 / BITS)
    return architecture_of(request.name, found.height, found.width, longest, parameters), most


def fit_segment(
    segment: Segment, found: Plan, architecture: Architecture, most: int | None, request: Request, file: Path,
    neighbour: Path | None,
) -> None:  # fmt: skip
    """Train or go on training, then write `file`, a whole .vcm of this segment alone."""
    import torch
    from safetensors.torch import load_file

    from pipelines.fit_plot import draw
    from pipelines.run import settings as reading
    from pipelines.run.atomic import write_bytes
    from pipelines.tasks.video_network import Settings, VideoNetworkTask
    from pipelines.trainer import Trainer, TrainerSettings

    values: dict[str, Any] = dict(PRESETS[request.name])
    if request.edges is not None:
        values |= {"loss": "nerv", "edges": "pair"} if request.name != "hnerv" else {"edges": "pair"}
    for word in request.settings:
        values = reading.override(values, word)
    settings = reading.build(Settings, values, "--fit")
    share = found.share(len(segment.frames))
    frames = torch.from_numpy(segment.frames).permute(0, 3, 1, 2)
    edges = None if request.edges is None else read_edges(request.edges, segment)
    start = load_file(neighbour / "model.safetensors") if neighbour is not None else None
    encoder = architecture.strides if request.name == "hnerv" else None
    task = VideoNetworkTask(settings, request.seed, architecture, frames, edges, encoder, start_from(start))
    steps, minutes = request.steps, None if request.minutes is None else request.minutes * share * (1 - RESERVED)
    if steps is None and minutes is None:
        steps = STEPS
    trainer = Trainer(
        task, TrainerSettings(steps=steps, minutes=minutes, seed=request.seed, device=request.device,
                              threads=request.threads, checkpoint_minutes=request.checkpoint_minutes), file.parent,
        {"settings": dataclasses.asdict(settings)},
    )  # fmt: skip
    trainer.run(resume=True)
    started = time.monotonic()
    data, psnr_db = finished(segment, found, architecture, most, request.name, file.parent / "model.safetensors")
    write_bytes(file, data)
    draw(file.parent, len(data), psnr_db)
    print(f"{file}: frames {segment.start} to {segment.stop - 1}, {len(data):,} bytes, {psnr_db:.2f} dB, coded in "
          f"{time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)  # fmt: skip


def start_from(state: Any) -> Any:
    """A neighbour's tensors as the state of a network in training: the decoder's alone, as frames are others."""
    if state is None:
        return None
    return {f"decoder.{name}": value for name, value in state.items()}


def read_edges(folder: Path, segment: Segment) -> Any:
    """(F, 1, h, w) uint8. ValueError or OSError where a map is missing or of another size."""
    import torch

    from pipelines.edges_clip import name_of
    from pipelines.media import read_picture

    found = []
    for number in range(segment.start, segment.stop):
        path = folder / f"{name_of(number)}.png"
        edge = read_picture(path)[..., 0]
        if edge.shape != segment.frames.shape[1:3]:
            raise ValueError(f"{path}: is {edge.shape[1]}x{edge.shape[0]}, the clip is not; make it anew: vcm edges")
        found.append(edge)
    return torch.from_numpy(np.stack(found))[:, None]


def finished(
    segment: Segment, found: Plan, architecture: Architecture, most: int | None, name: str, model: Path
) -> tuple[bytes, float]:
    """(a whole file of this segment, PSNR in dB of its decoded frames)."""
    from safetensors.torch import load_file

    from icm.bitstream import Times
    from nerv.codec import SegmentDecoder
    from nerv.file import write_networks
    from nerv.finish import Finisher

    finisher = Finisher(architecture, load_file(model), len(segment.frames))
    if most is None:
        tensors = finisher.rounded(finisher.usual_noise())
    else:
        budget = int((most - OVERHEAD) * found.share(len(segment.frames)))
        tensors = finisher.fit(budget, lambda line: print(line, file=sys.stderr, flush=True))
    times = Times.of(segment.ticks, found.base)
    data = write_networks(name, architecture, [(len(segment.frames), tensors)], times, found.colour,
                          (found.width, found.height))  # fmt: skip
    decoder, errors = SegmentDecoder(architecture, dict(tensors), len(segment.frames)), []
    for i, frame in enumerate(segment.frames):
        error = decoder.frame(i, (found.width, found.height)).astype(np.float32) - frame
        errors.append(10 * math.log10(255**2 / max(float(np.square(error).mean()), 1e-4)))
    return data, sum(errors) / len(errors)


def join(name: str, files: list[Path], found: Plan) -> bytes:
    """The segments' files as one."""
    from icm.bitstream import Times
    from nerv.file import NetworkFile, write_networks

    parts, ticks = [], []
    for path in files:
        with NetworkFile(path) as file:
            assert file.header.times is not None
            ticks += file.header.times.ticks.tolist()
            parts.append((file.counts[0], file.tensors(0)))
            architecture = file.architecture
    return write_networks(name, architecture, parts, Times.of(ticks, found.base), found.colour,
                          (found.width, found.height))  # fmt: skip


def clean(out: Path) -> None:
    """Remove what fitting left beside the file."""
    shutil.rmtree(out.with_name(out.name + ".fit"), ignore_errors=True)
