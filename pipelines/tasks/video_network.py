"""Fitting a network to a segment of a clip: every frame again and again, in a new order each time round.

    frames (F, 3, H, W) uint8 ─▶ Network (on the background) ─▶ loss, on edges too ─▶ float tensors by the file's names
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from nerv.codec import offset
from nerv.losses import LOSSES, Features, on_edges
from nerv.models.architecture import Architecture
from nerv.network import Network
from pipelines.run.muon import Muon, is_matrix
from pipelines.tasks.optimising import warm_cosine


@dataclasses.dataclass
class Settings:
    """loss: a name of nerv.losses. edges: what edge maps do: nothing; a second pair, masked (SA-NeRV); only that pair;
    or weigh pixels, 1 + edge_weight on edges. features: a torchvision backbone, its weights and nodes, and how much.

    learning_rate: of convolutions (0: by their number; small networks bear larger steps); stored_rate: of what is
    stored for each frame.
    """

    loss: Literal["l2", "l1", "nerv"] = "l2"
    edges: Literal["none", "pair", "only", "weighted"] = "none"
    edge_weight: float = 1.0
    backbone: str = ""
    backbone_weights: str = ""
    backbone_nodes: tuple[str, ...] = ()
    feature_weight: float = 0.0
    optimizer: Literal["adam", "muon"] = "muon"
    learning_rate: float = 0.0
    stored_rate: float = 1e-2
    batch: int = 2
    warmup: float = 0.02
    final_rate: float = 0.01


class VideoNetworkTask:
    """`Task` of pipelines/trainer.py. Batches: frame numbers (B,) int64. frames: (F, 3, h, w) uint8; edges:
    (F, 1, h, w) of 0 and 255, or None. start: a state dict of a neighbour's network, what fits of it is taken.
    background: (h, w, 3) uint8, what the network's output is added to."""

    name = "video-network"

    def __init__(
        self, settings: Settings, seed: int, architecture: Architecture, frames: Tensor, edges: Tensor | None = None,
        encoder: tuple[int, ...] | None = None, start: dict[str, Tensor] | None = None,
        background: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        if settings.edges != "none" and edges is None:
            raise ValueError(f"edges: {settings.edges} needs edge maps: make them with `vcm edges CLIP`, give --edges")
        self.settings, self.seed, self.architecture = settings, seed, architecture
        self.encoder, self.start = encoder, start or {}
        self.size = int(frames.shape[-2]), int(frames.shape[-1])
        self.frames, self.edges = padded(frames, architecture), edges
        self.offset = None if background is None else offset(background, architecture)
        self.on: dict[torch.device, tuple[Tensor, Tensor | None]] = {}
        self.features: Features | None = None

    def build(self) -> nn.Module:
        model = Network(self.architecture, self._residual(), self.encoder, self.seed)
        state = model.state_dict()
        state.update({k: v for k, v in self.start.items() if k in state and state[k].shape == v.shape})
        model.load_state_dict(state)
        return model

    def _residual(self) -> Tensor:
        """(F, 3, H, W) uint8: the frames, or what the background lacks of them about mid-grey, to start from."""
        if self.offset is None:
            return self.frames
        return torch.stack([(x.float() - 255 * self.offset).clamp(0, 255).round().to(torch.uint8) for x in self.frames])

    def optimizers(self, model: Any) -> dict[str, Optimizer]:
        s = self.settings
        rate = s.learning_rate or usual_rate(self.architecture.parameters)
        stored = list(model.stored.parameters())
        known = {id(p) for p in stored}
        rest = [p for p in model.parameters() if id(p) not in known]
        matrices = [p for p in rest if s.optimizer == "muon" and is_matrix(p)]
        chosen = {id(p) for p in matrices}
        groups = [{"params": [p for p in rest if id(p) not in chosen], "lr": rate}]
        if stored:
            groups.append({"params": stored, "lr": s.stored_rate})
        found: dict[str, Optimizer] = {"main": torch.optim.Adam(groups, rate, betas=(0.9, 0.99))}
        return {**found, "main-muon": Muon(matrices, rate)} if matrices else found

    def schedule(self, progress: float) -> float:
        return warm_cosine(progress, self.settings.warmup, self.settings.final_rate)

    def at(self, model: Any, progress: float) -> None:
        pass

    def batch(self, step: int, rank: int, world: int) -> Tensor:
        """Numbers of frames: rounds through the segment, each in an order of its own."""
        count, size = len(self.frames), self.settings.batch
        first = (step * world + rank) * size
        found = [self._order(place // count)[place % count] for place in range(first, first + size)]
        return torch.tensor(found)

    def _order(self, turn: int) -> np.ndarray:
        return np.random.default_rng([self.seed, turn]).permutation(len(self.frames))

    def loss(self, model: Any, batch: Tensor, step: int) -> dict[str, Tensor]:
        s = self.settings
        frames, edges = self._placed(batch.device)
        x = (frames[batch].float() / 255).contiguous(memory_format=torch.channels_last)
        out = cropped(self._whole(model(batch, x if self.encoder else None).float()), self.size)
        x = cropped(x, self.size)
        of = LOSSES[s.loss]
        error = (out.detach() - x).square().mean((1, 2, 3))
        logged = {"psnr_db": (-10 * error.clamp_min(1e-10).log10()).mean()}
        mask = None if edges is None else (edges[batch].float() / 255)
        if mask is None or s.edges == "none":
            main = of(x, out)
        elif s.edges == "weighted":
            weight = 1 + s.edge_weight * mask
            root = weight.sqrt() if s.loss == "l2" else weight
            main = of(x * root, out * root) / weight.mean()
        else:
            pair = on_edges(of, x, out, mask)
            main = pair if s.edges == "only" else of(x, out) + s.edge_weight * pair
            logged["edges"] = pair.detach()
        if s.feature_weight:
            far = self._features(x.device)(x, out.clamp(0, 1))
            main, logged["features"] = main + s.feature_weight * far, far.detach()
        return {"main": main, **logged}

    def _whole(self, out: Tensor) -> Tensor:
        """The network's output on its background."""
        return out if self.offset is None else out + self.offset.to(out.device)

    def _placed(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Frames and edge maps on the device, as uint8."""
        if device not in self.on:
            self.on[device] = self.frames.to(device), None if self.edges is None else self.edges.to(device)
        return self.on[device]

    def _features(self, device: torch.device) -> Features:
        if self.features is None:
            s = self.settings
            if not (s.backbone and s.backbone_weights and s.backbone_nodes):
                raise ValueError("feature_weight needs backbone, backbone_weights (a file) and backbone_nodes")
            self.features = Features(s.backbone, s.backbone_weights, tuple(s.backbone_nodes)).to(device)
        return self.features

    def preview(self, model: Any, folder: Path, step: int) -> None:
        """Three frames of the segment: originals above, what the network makes of them below."""
        from pipelines.media import write_picture

        count = len(self.frames)
        chosen = torch.tensor(sorted({0, count // 2, count - 1}))
        device = next(model.parameters()).device
        x = self.frames[chosen]
        out = model(chosen.to(device), x.to(device).float() / 255 if self.encoder else None).cpu().float()
        out = self._whole(out)
        rows = [x, out.clamp(0, 1).mul(255).round().byte()]
        sheet = torch.cat([torch.cat(list(cropped(row, self.size)), 2) for row in rows], 1)
        write_picture(folder / f"{step:07d}.png", np.ascontiguousarray(sheet.permute(1, 2, 0).numpy()))

    def export(self, model: Any, path: Path) -> None:
        from safetensors.torch import save_file

        from pipelines.run.atomic import replacing

        with replacing(path) as temporary:
            save_file(model.tensors(self.frames), temporary)


def usual_rate(parameters: int) -> float:
    """2e-3 where there are half a million, the square root of their number below and above it, within 1e-3 … 1e-2."""
    return min(1e-2, max(1e-3, 2e-3 * math.sqrt(5e5 / parameters)))


def padded(frames: Tensor, architecture: Architecture) -> Tensor:
    """(F, 3, h, w) uint8 → (F, 3, H, W) of the network's size, the edge repeated; the frame is its middle."""
    down, right = architecture.height - frames.shape[2], architecture.width - frames.shape[3]
    if not down and not right:
        return frames
    sides = (right // 2, right - right // 2, down // 2, down - down // 2)
    return torch.cat([F.pad(x[None].float(), sides, mode="replicate").to(torch.uint8) for x in frames])


def cropped(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle, (…, h, w)."""
    top, left = (x.shape[-2] - size[0]) // 2, (x.shape[-1] - size[1]) // 2
    return x[..., top : top + size[0], left : left + size[1]]
