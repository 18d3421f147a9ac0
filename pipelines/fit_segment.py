"""One segment of a clip: fitted, rounded, written as a .vcm file of its own.

    frames ─Trainer─▶ model.safetensors ─finish─▶ segment.vcm, plot.png      (checkpoint, log, previews beside them)
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from nerv.models.architecture import Architecture
    from pipelines.fit import Plan, Request
    from pipelines.segments import Segment

STEPS = 20_000  # where neither --steps nor --minutes is given
OVERHEAD = 300  # bytes of a file beside its sections, at most
FINISH_S, FINISH_MOST = 30.0, 0.25  # seconds for a million parameters to be rounded and coded; of the time, at most
PRESETS: dict[str, dict[str, Any]] = {  # by codec: how its paper fits it, and ours
    "nerv": {"loss": "nerv", "optimizer": "adam", "learning_rate": 5e-4, "batch": 1, "warmup": 0.2},
    "hnerv": {"loss": "l2", "optimizer": "adam", "learning_rate": 1e-3, "batch": 2, "warmup": 0.1},
    "sa-nerv": {},
}


def fit_segment(
    segment: Segment, found: Plan, architecture: Architecture, most: int | None, request: Request, file: Path,
    neighbour: Path | None,
) -> None:  # fmt: skip
    """Train or go on training, then write `file`, a whole .vcm of this segment alone."""
    import torch
    from safetensors.torch import load_file

    import icm
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
    behind = None if found.background is None else icm.decode(found.background)
    if behind is not None and architecture.output != "linear":
        raise ValueError(f"{request.name}: has no background; leave --background out, or take sa-nerv")
    task = VideoNetworkTask(settings, request.seed, architecture, frames, edges, encoder, start_from(start), behind)
    steps, minutes = request.steps, request.minutes
    if minutes is not None:
        minutes *= share
        minutes -= min(FINISH_MOST * minutes, FINISH_S / 60 * architecture.parameters / 1e6)
    elif steps is None:
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

    import icm
    from icm.bitstream import Times
    from nerv.codec import SegmentDecoder
    from nerv.file import write_networks
    from nerv.finish import Finisher

    finisher = Finisher(architecture, load_file(model), len(segment.frames))
    if most is None:
        tensors = finisher.rounded(finisher.usual_noise())
    else:
        budget = int((most - OVERHEAD - len(found.background or b"")) * found.share(len(segment.frames)))
        tensors = finisher.fit(budget, lambda line: print(line, file=sys.stderr, flush=True))
    times = Times.of(segment.ticks, found.base)
    data = write_networks(name, architecture, [(len(segment.frames), tensors)], times, found.colour,
                          (found.width, found.height), found.background)  # fmt: skip
    behind = None if found.background is None else icm.decode(found.background)
    decoder, errors = SegmentDecoder(architecture, dict(tensors), len(segment.frames), behind), []
    for i, frame in enumerate(segment.frames):
        error = decoder.frame(i, (found.width, found.height)).astype(np.float32) - frame
        errors.append(10 * math.log10(255**2 / max(float(np.square(error).mean()), 1e-4)))
    return data, sum(errors) / len(errors)
