"""From a fitted network to the tensors of its file, as fine as the bytes allow.

    float tensors ─▶ statistics over frames ─▶ noise that each number may add ─▶ steps, symbols ─▶ bytes
                                                        ▲                                          │
                                                        ╰──────────── until the file fits ─────────╯
Every number of the file adds about the same noise to the clip: no byte could then be spent better elsewhere (reverse
water-filling). Convolutions by `round_layer`; what is stored for each frame by its channels' effect on the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from nerv.coding.tensors import Stepped, pack, step_of
from nerv.models.architecture import Architecture
from nerv.models.decoder import Decoder, positional
from nerv.quantise import moments, round_layer

STATISTICS = 12  # frames
TRIALS = 8
NEAR = 0.004  # of the bytes, below them, is near enough
QUIET = 10 ** (-48 / 10)  # noise of all numbers together where no size is asked for: 48 dB
FIRST = 10 ** (-40 / 10)  # the same, to begin the search with
BIAS_BITS = 8  # below a bias's own size
SECTION_BYTES = 8  # of a section beside its content: length and CRC32C


class Finisher:
    """tensors: float, by the names of the file, those stored for each frame (C, h, w, F). Statistics are taken once."""

    def __init__(self, architecture: Architecture, tensors: Mapping[str, Tensor], frames: int) -> None:
        self.architecture, self.tensors, self.frames = architecture, dict(tensors), frames
        self.decoder = Decoder(architecture)
        self.decoder.load_state_dict({name: self.tensors[name] for name in architecture.shapes()})
        self.decoder.eval().requires_grad_(False)
        chosen = torch.arange(min(STATISTICS, frames)) * frames // min(STATISTICS, frames)
        self.moments = moments(self.decoder, *self.inputs(chosen))
        self.effects = self._effects(chosen)

    def inputs(self, chosen: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """(embedding, details by block) of these frames."""
        a = self.architecture
        if a.positional:
            base, levels = a.positional
            embedding = positional(chosen / self.frames, base / 1000, levels)
        else:
            embedding = self.tensors["embedding"][..., chosen].permute(3, 0, 1, 2)
        details = {i: self.tensors[f"details.{i}"][..., chosen].permute(3, 0, 1, 2)
                   for i, channels in enumerate(a.details) if channels}  # fmt: skip
        return embedding, details

    def _effects(self, chosen: Tensor) -> dict[str, np.ndarray]:
        """Of what is stored, by name: (C,), the mean square that a unit of error in one number adds to the clip."""
        generator = torch.Generator().manual_seed(1)
        found: dict[str, np.ndarray] = {}
        for place in chosen:
            embedding, details = self.inputs(place[None])
            given = {"embedding": embedding, **{f"details.{i}": v for i, v in details.items()}}
            given = {name: given[name].detach().requires_grad_(True) for name in self.architecture.embeddings()}
            if not given:
                return {}
            at = {i: given[f"details.{i}"] for i in details}
            with torch.enable_grad():
                picture = self.decoder(given.get("embedding", embedding), at)
                (picture * torch.randn(picture.shape, generator=generator)).sum().backward()
            for name, value in given.items():
                assert value.grad is not None
                square = value.grad[0].double().square().mean((1, 2)).numpy()
                found[name] = found.get(name, 0) + square / (picture.numel() * self.frames * len(chosen))
        return found

    def usual_noise(self) -> float:
        """What suits a network whose bytes nobody asked for: about as fine as 8 bits a number."""
        numbers = sum(t.numel() for t in self.tensors.values())
        return QUIET / numbers

    def rounded(self, noise: float) -> dict[str, Stepped]:
        """Every tensor, each number adding about `noise` to the mean square error of the clip."""
        found: dict[str, Stepped] = {}
        for name, (seen, gram) in self.moments.items():
            found[f"{name}.weight"] = round_layer(self.tensors[f"{name}.weight"].numpy(), gram, seen, noise)
            found[f"{name}.bias"] = rounded_bias(self.tensors[f"{name}.bias"].numpy())
        for name, effect in self.effects.items():
            found[name] = rounded_stored(self.tensors[name].numpy(), effect, noise)
        return found

    def bytes(self, tensors: Mapping[str, Stepped]) -> int:
        """Of the sections of a file."""
        stored = self.architecture.embeddings()
        return sum(len(pack(tensor, along=name in stored)) + SECTION_BYTES for name, tensor in tensors.items())

    def fit(self, most: int, say: Callable[[str], None] = lambda line: None) -> dict[str, Stepped]:
        """The finest whose sections have at most so many bytes. ValueError where no coarseness tried has so few."""
        numbers = sum(t.numel() for t in self.tensors.values())
        low, high, best = -math.inf, math.inf, None  # octaves: too large below, fits above
        place = math.log2(FIRST / numbers)
        for _ in range(TRIALS):
            found = self.rounded(2.0**place)
            size = self.bytes(found)
            say(f"noise 2^{place:.2f}: {size:,} bytes")
            if size <= most:
                high, best = place, found
                if size >= most * (1 - NEAR):
                    break
            else:
                low = place
            # half a bit a number and octave; a bit less than it takes, as numbers that are nought cost less and less
            step = (size - most * (1 - NEAR / 2)) * 8 / (0.5 * numbers)
            place += max(-12.0, min(12.0, step))
            if not low < place < high:
                place = (low + high) / 2
        if best is None:
            raise ValueError(f"{most:,} bytes are too few for this network; ask for more, or for fewer parameters")
        return best


def rounded_bias(bias: np.ndarray) -> Stepped:
    """(R,) with one step for all, fine: they are few."""
    size = float(np.sqrt(np.mean(np.square(bias.astype(np.float64))))) or 1.0
    exponent = round(8 * (math.log2(size) - BIAS_BITS))
    q = np.rint(bias.astype(np.float64) / step_of(exponent)).astype(np.int32)
    return Stepped(q, np.full(len(bias), exponent, np.int32), np.zeros(1, np.int32))


def rounded_stored(values: np.ndarray, effect: np.ndarray, noise: float) -> Stepped:
    """(C, h, w, F), a step a channel: step² / 12 · effect is the noise."""
    exponents = np.rint(4 * np.log2(12 * noise / np.maximum(effect, 1e-300)))
    rows = np.repeat(np.clip(exponents, -390, 390), values.shape[1] * values.shape[2]).astype(np.int32)
    q = np.rint(values.reshape(len(rows), -1).astype(np.float64) / step_of(rows)[:, None])
    return Stepped(q.reshape(values.shape).astype(np.int32), rows, np.zeros(values.shape[-1], np.int32))
