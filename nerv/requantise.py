"""A network's 8-bit tensors again with fewer bits, chosen for the frames that they make.

    tensors ─▶ decoder ─▶ statistics of some frames ─▶ noise a weight may add ─▶ steps, symbols ─▶ PSNR against before
                                                            ▲                                        │
                                                            ╰──────────── until the aim is met ──────╯
Weights of convolutions change; biases and embeddings, a hundredth of the bytes, stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from nerv.codec import SegmentDecoder
from nerv.coding.tensors import Tensor
from nerv.models.architecture import Architecture
from nerv.quantise import moments, round_layer

STATISTICS, CHECKS = 12, 8  # frames
TRIALS = 6
NEAR_DB = 0.06  # above the aim is near enough


def requantise(
    architecture: Architecture, tensors: Mapping[str, Tensor], frames: int, psnr_db: float,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, Tensor], float]:  # fmt: skip
    """(tensors, PSNR in dB over some frames): the coarsest found whose frames keep at least `psnr_db` to those of
    `tensors`, both rounded to 8 bits. ValueError where no trial reaches it."""
    original = SegmentDecoder(architecture, dict(tensors), frames)
    spread = [torch.arange(count) * frames // count for count in (min(n, frames) for n in (STATISTICS, CHECKS))]
    say("statistics of the layers")
    of = moments(original.decoder, original.embeddings[spread[0]])
    before = [_rounded(original, int(i)) for i in spread[1]]
    noise = 10 ** (-psnr_db / 10) / architecture.parameters / 1.5  # a weight's share; errors more than add up
    best: tuple[dict[str, Tensor], float] | None = None
    for _ in range(TRIALS):
        found = dict(tensors)
        for name, (seen, gram) in of.items():
            key = f"{name}.weight"
            found[key] = round_layer(tensors[key].values(), gram, seen, noise)
        decoder = SegmentDecoder(architecture, found, frames)
        after = [_rounded(decoder, int(i)) for i in spread[1]]
        reached = sum(_psnr_db(x, y) for x, y in zip(before, after, strict=True)) / len(after)
        say(f"noise {noise:.3g}: {reached:.2f} dB")
        if reached >= psnr_db and (best is None or reached < best[1]):
            best = found, reached
        if 0 <= reached - psnr_db <= NEAR_DB:
            break
        # a little more than it lacks: near the aim a trial's own scatter is as large as the step
        noise *= 10 ** ((reached - psnr_db - (NEAR_DB if reached < psnr_db else 0)) / 10)
    if best is None:
        raise ValueError(f"no quantisation tried keeps {psnr_db} dB; ask for less with --psnr")
    return best


def _rounded(decoder: SegmentDecoder, index: int) -> torch.Tensor:
    return decoder.output(index).mul(255).round()


def _psnr_db(x: torch.Tensor, y: torch.Tensor) -> float:
    mse = float((x - y).double().square().mean())
    return 100.0 if mse == 0 else 10 * math.log10(255**2 / mse)
