"""Part of a group to payload and back: the symbol walk of `groups`. A part is the cells of one group in one tile.

    z of its blocks ──(factorised tables)──▶ features ──▶ slice 0 ──(scale tables)──▶ y_hat ──▶ slice 1 ──▶ …

What is computed for a part depends on its own cells, samples and symbols, in tensors whose shapes come from its own
cells: bytes and pixels of a group are the same whatever the other groups are, bit for bit. Only integers decide which
table codes a symbol.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from icm.bitstream import Decoder, Encoder
from icm.bitstream.precision import on_its_own
from icm.codecs.coding import Coder, whole
from icm.codecs.groups.layout import Layout
from icm.codecs.groups.transforms import STRIDE
from icm.codecs.release import Release
from icm.prior.dual import BITS
from icm.quality import INVERSE_BITS, SCALE_COUNT, STEPS, interpolate, to_code


class PartCoder:
    """Weights ready for coding. It keeps no state between calls."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.model = release.transforms()
        self.prior = self.model.prior.coding()
        self.hyper_tables, self.scale_tables = release.tables("hyper"), release.tables("scales")
        self.inverse, self.offset = release.tensors["quality.inverse"], release.tensors["quality.offset"]
        self.medians = release.tensors["entropy_bottleneck.quantiles"][:, 0, 1].float()

    @on_its_own
    def analyse(self, cells: np.ndarray, layout: Layout, code: int) -> Tensor:
        """(n, 16, 16, 3) uint8 → y (n, M) float32."""
        x = torch.from_numpy(cells).float() / 255
        return self.model.g_a(x, _qualities(len(x), code), layout).float()

    @on_its_own
    def synthesise(self, y_hat: Tensor, layout: Layout, code: int) -> np.ndarray:
        """y_hat (n, M) → cells (n, 16, 16, 3) uint8."""
        x_hat = self.model.g_s(y_hat, _qualities(len(y_hat), code), layout)
        return (x_hat.clamp(0, 1) * 255).round().byte().numpy()

    @on_its_own
    def walk(self, coder: Coder, layout: Layout, code: int, y: Tensor | None = None) -> Tensor:
        """The symbols of a part → y_hat (n, M) float32. y: the latent, which the encoder alone knows."""
        inverse, offset = interpolate(self.inverse, code)[:, None], interpolate(self.offset, code)[:, None]
        gain = 2.0**INVERSE_BITS / inverse.float()
        z = self._hyper_symbols(coder, layout, None if y is None else y * gain[:, 0])
        features = self.prior.features(z, layout)
        context: list[Tensor] = []
        y_hat = torch.empty(len(inverse), len(layout))
        for i in range(self.prior.slices):
            own = slice(i * self.prior.share, (i + 1) * self.prior.share)
            mean, index = self.prior.slice(i, features, context)
            table = ((index + offset[own] + STEPS // 2) >> 4).clamp(0, SCALE_COUNT - 1)
            given = () if y is None else (whole((y[:, own].t() - mean / 2**BITS) * gain[own]),)
            symbols = torch.from_numpy(coder.code(self.scale_tables, table.numpy().astype(np.uint8), *given)).long()
            product = symbols * inverse[own]
            context.append(mean + ((product + (1 << (INVERSE_BITS - BITS - 1))) >> (INVERSE_BITS - BITS)))
            y_hat[own] = (mean.double() / 2**BITS + product.double() / 2**INVERSE_BITS).float()
        return y_hat.t().contiguous()

    def _hyper_symbols(self, coder: Coder, layout: Layout, scaled: Tensor | None) -> Tensor:
        """z (blocks, Nz), relative to the medians."""
        shape = (len(self.medians), layout.blocks[2])
        index = np.broadcast_to(np.arange(shape[0], dtype=np.uint16)[:, None], shape)
        given = ()
        if scaled is not None:
            given = (whole(self.model.h_a(scaled, layout).float().t() - self.medians[:, None]),)  # type: ignore[assignment]
        return torch.from_numpy(coder.code(self.hyper_tables, index, *given)).t()

    # --- CompressAI's interface: a picture is one group -------------------------------------------------------------
    def compress(self, picture: np.ndarray, quality: float) -> bytes:
        """(H, W, 3) uint8 → the payload of one part as large as the picture."""
        cells = cut(picture)
        rows, cols = cells.shape[:2]
        layout, encoder, code = whole_layout(rows, cols), Encoder(), to_code(quality)
        self.walk(encoder, layout, code, self.analyse(cells.reshape(-1, STRIDE, STRIDE, 3), layout, code))
        return encoder.finish()

    def decompress(self, payload: bytes, height: int, width: int, quality: float) -> np.ndarray:
        """The inverse."""
        rows, cols = -(-height // STRIDE), -(-width // STRIDE)
        layout, decoder, code = whole_layout(rows, cols), Decoder(payload), to_code(quality)
        y_hat = self.walk(decoder, layout, code)
        decoder.finish()
        cells = self.synthesise(y_hat, layout, code).reshape(rows, cols, STRIDE, STRIDE, 3)
        return joined(cells)[:height, :width]


def _qualities(count: int, code: int) -> Tensor:
    return torch.full((count,), code / STEPS)


def whole_layout(rows: int, cols: int) -> Layout:
    """Every cell of a rectangle, one group."""
    row, col = (i.ravel() for i in np.indices((rows, cols)))
    return Layout(np.zeros(len(row), np.int64), row, col)


def cut(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) → cells (ceil(H/16), ceil(W/16), 16, 16, 3), the edges repeated."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
    rows, cols = padded.shape[0] // STRIDE, padded.shape[1] // STRIDE
    return np.ascontiguousarray(padded.reshape(rows, STRIDE, cols, STRIDE, 3).transpose(0, 2, 1, 3, 4))


def joined(cells: np.ndarray) -> np.ndarray:
    """The inverse of `cut` on a multiple of 16: (h, w, 16, 16, C) → (16·h, 16·w, C)."""
    rows, cols, _, _, channels = cells.shape
    return cells.transpose(0, 2, 1, 3, 4).reshape(rows * STRIDE, cols * STRIDE, channels)


def parts(where: np.ndarray, tile: int) -> Iterator[tuple[Layout, np.ndarray, np.ndarray]]:
    """(layout, rows, columns of cells) of a group in each tile that it has cells in, tile by tile, row by row.

    where: (h, w) bool. A layout counts from the origin of its tile.
    """
    side = tile // STRIDE
    for top in range(0, where.shape[0], side):
        for left in range(0, where.shape[1], side):
            row, col = np.nonzero(where[top : top + side, left : left + side])
            if len(row):
                yield Layout(np.zeros(len(row), np.int64), row, col), row + top, col + left
