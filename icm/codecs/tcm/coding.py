"""A tile to bytes and back through LIC-TCM: the one symbol walk of `sa-icm`.

    z ──(factorised tables)──▶ h_mean_s, h_scale_s ──▶ slice after slice (icm/codecs/charm.py) ──▶ y_hat

The prior is computed in floats, so encoder and decoder run it in the same way: one tile at a time, without gradients,
autocast or reduced precision, whatever the caller has set.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from icm.bitstream import Decoder, Encoder
from icm.bitstream.precision import on_its_own
from icm.codecs.charm import whole
from icm.codecs.guard import Coder
from icm.codecs.release import Release
from icm.codecs.same_build import GUARD
from icm.codecs.tcm.layers import pad
from icm.codecs.tcm.transforms import MULTIPLE

Reader = Callable[[bytes], Decoder]


class TcmCoder:
    """Weights ready for coding. It keeps no state between calls."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.net = release.transforms().requires_grad_(False).to(memory_format=torch.channels_last)
        self.hyper_tables, self.scale_tables = release.tables("hyper"), release.tables("scales")
        self.medians = release.tensors["entropy_bottleneck.quantiles"][:, 0, 1].float()

    def encode_tile(self, picture: np.ndarray, guard: int) -> bytes:
        """(h, w, 3) uint8 → payload. ValueError where the analysis is not finite."""
        return self.compress(torch.tensor(picture).permute(2, 0, 1).float() / 255, guard)

    def decode_tile(self, payload: bytes, height: int, width: int, guard: int) -> np.ndarray:
        """(height, width, 3) uint8. StreamError where the payload is not what an encoder with these weights wrote."""
        x_hat = self.decompress(payload, height, width, guard)
        return (x_hat * 255).round().byte().permute(1, 2, 0).numpy()

    @on_its_own
    def compress(self, x: Tensor, guard: int = GUARD) -> bytes:
        """x (3, H, W) in [0, 1] → the payload of one tile as large as the picture."""
        encoder = Encoder()
        y = self.net.g_a(pad(x[None], MULTIPLE).contiguous(memory_format=torch.channels_last))
        self.walk(encoder, y.shape[2], y.shape[3], guard, y)
        return encoder.finish()

    @on_its_own
    def decompress(
        self, payload: bytes, height: int, width: int, guard: int = GUARD, reader: Reader = Decoder
    ) -> Tensor:
        """The inverse → (3, height, width) in [0, 1]. reader: payload → what decodes it."""
        decoder = reader(payload)
        rows, cols = (-(-side // MULTIPLE) * MULTIPLE // 16 for side in (height, width))
        y_hat = self.walk(decoder, rows, cols, guard)
        decoder.finish()
        return self.net.g_s(y_hat)[0, :, :height, :width].clamp(0, 1)

    def walk(self, coder: Coder, rows: int, cols: int, guard: int, y: Tensor | None = None) -> Tensor:
        """The symbols of one tile → y_hat (1, M, rows, cols). y: the latent, which the encoder alone knows."""
        shape = (len(self.medians), rows // 4, cols // 4)
        index = np.broadcast_to(np.arange(shape[0], dtype=np.uint16)[:, None, None], shape)
        medians = self.medians[:, None, None]
        given = () if y is None else (whole(self.net.h_a(y)[0] - medians),)
        z_hat = torch.from_numpy(coder.code(self.hyper_tables, index, *given)) + medians
        z_hat = z_hat[None].contiguous(memory_format=torch.channels_last)
        means, scales = self.net.h_mean_s(z_hat), self.net.h_scale_s(z_hat)
        return self.net.charm.walk(coder, self.scale_tables, means, scales, guard, y)

    def memory(self, height: int, width: int) -> int:
        """The widest stage of g_s, at half the size, and the latents. 24 N floats a position of that stage: 13 N were
        measured in use at once (N = 64, 512x512), and 21 N taken by an allocator that leaves gaps."""
        rows, cols = (-(-side // MULTIPLE) * MULTIPLE for side in (height, width))
        n, latent = self.net.settings["width"], self.net.settings["latent"]
        return 4 * rows * cols * (24 * n // 4 + 8 * latent // 256) + 3 * height * width
