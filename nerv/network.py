"""A network while it is fitted to a segment of a clip, and what becomes of it: float tensors by the file's names.

    frame numbers ─▶ embedding (positional, free, or the encoder's of the frame), details ─▶ Decoder ─▶ frames

B: frames of a batch; F: of the segment.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nerv.models.architecture import EMBEDDING, Architecture
from nerv.models.decoder import Decoder, positional
from nerv.models.encoder import Encoder, components
from nerv.quantise import layers

DETAIL_STD = 0.1  # of details before anything is learned
RESIDUAL_GAIN, HEAD_GAIN = 0.3, 0.1  # so that a fresh network starts near the mean colour


class Network(nn.Module):
    """frames: (F, 3, H, W) uint8, H × W the decoder's; they are read here for the encoder and for what to start from,
    and not kept. encoder: strides of HNeRV's, or None: embeddings are free."""

    def __init__(self, architecture: Architecture, frames: Tensor, encoder: tuple[int, ...] | None, seed: int) -> None:
        super().__init__()
        self.architecture, self.count = architecture, len(frames)
        self.decoder = Decoder(architecture)
        self.encoder = Encoder(encoder, architecture.embedding[0]) if encoder else None
        self.stored = nn.ParameterDict()
        if architecture.positional:
            base, levels = architecture.positional
            fixed = positional(torch.arange(self.count) / self.count, base / 1000, levels)
            self.register_buffer("phases", fixed, persistent=False)
        elif self.encoder is None:
            self.stored[EMBEDDING] = nn.Parameter(components(frames, architecture.embedding, seed))
        generator = torch.Generator().manual_seed(seed)
        for i, channels in enumerate(architecture.details):
            if channels:
                shape = (self.count, *architecture.embeddings()[f"details.{i}"])
                self.stored[f"details_{i}"] = nn.Parameter(DETAIL_STD * torch.randn(shape, generator=generator))
        if encoder is None:
            self._start(frames)

    @torch.no_grad()
    def _start(self, frames: Tensor) -> None:
        """Weights that keep the variance of their input; residuals and head small; the head's bias the mean colour."""
        for layer in layers(self.decoder).values():
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for name, layer in layers(self.decoder).items():
            if name.startswith("residuals"):
                layer.weight.mul_(RESIDUAL_GAIN)
        head = self.decoder.head
        head.weight.mul_(HEAD_GAIN)
        if self.architecture.output == "linear":
            mean = torch.stack([x.float().mean((1, 2)) for x in frames]).mean(0) / 255 - 0.5
            head.bias.copy_(mean.repeat_interleave(self.architecture.head**2))  # type: ignore[union-attr]

    def forward(self, indices: Tensor, pictures: Tensor | None = None) -> Tensor:
        """indices (B,) int64, pictures (B, 3, H, W) in [0, 1] for an encoder → (B, 3, H, W), not clamped."""
        return self.decoder(self.embedding(indices, pictures), self.details(indices))

    def embedding(self, indices: Tensor, pictures: Tensor | None = None) -> Tensor:
        """(B, C, h, w) of these frames."""
        if self.architecture.positional:
            return self.phases[indices]  # type: ignore[index]
        if self.encoder is None:
            return self.stored[EMBEDDING][indices]
        if pictures is None:
            raise ValueError("an encoder needs the frames")
        return self.encoder(pictures)

    def details(self, indices: Tensor) -> dict[int, Tensor]:
        """By block, (B, C', h', w')."""
        chosen = [i for i, channels in enumerate(self.architecture.details) if channels]
        return {i: self.stored[f"details_{i}"][indices] for i in chosen}

    @torch.no_grad()
    def tensors(self, frames: Tensor) -> dict[str, Tensor]:
        """Float tensors by the names of the file: decoder's as they are, stored ones (C, h, w, F)."""
        found = {name: self.decoder.state_dict()[name].float() for name in self.architecture.shapes()}
        device = next(self.parameters()).device
        for name in self.architecture.embeddings():
            if name == EMBEDDING and self.encoder is not None:
                parts = [self.encoder(x[None].to(device).float() / 255) for x in frames]
                values = torch.cat(parts)
            else:
                values = self.stored[name.replace(".", "_")]
            found[name] = values.float().permute(1, 2, 3, 0)
        return {name: value.detach().cpu().contiguous() for name, value in found.items()}
