"""Latent to payload and back: the one symbol walk of `sa-icm-s`, a tile at a time.

    z ──(factorised tables)──▶ features ──▶ step 1 ──(scale tables)──▶ y_hat of step 1 ──▶ step 2 ──▶ y_hat

Encoder and decoder run the same lines; the encoder alone knows the latent. Between them, only integers decide.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from icm.bitstream import Decoder, Encoder
from icm.bitstream.precision import on_its_own
from icm.codecs.layers import STRIDE
from icm.codecs.release import Release
from icm.prior.dual import BITS, step_mask
from icm.quality import INVERSE_BITS, SCALE_COUNT, STEPS, interpolate, to_code
from icm.quality_map import QualityMap, Roi

GREY = 128  # of pixels that are lost
Window = tuple[int, int, int, int]  # top, bottom, left, right; ends exclusive


class Coder(Protocol):
    """icm.bitstream's Encoder or Decoder."""

    def code(self, tables: Any, index: Any, *symbols: Any) -> np.ndarray: ...


class Held(NamedTuple):
    """What frames leave for the next ones: z (Nz, ceil(h/4), ceil(w/4)) int64, y_hat (M, h, w) float32."""

    z: Tensor
    y_hat: Tensor

    def clear(self) -> None:
        """As before a first frame."""
        self.z.zero_()
        self.y_hat.zero_()


class PictureCoder:
    """Weights ready for coding. It keeps no state between calls."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.model = release.transforms().to(memory_format=torch.channels_last)
        self.prior = self.model.prior.coding()
        self.hyper_tables, self.scale_tables = release.tables("hyper"), release.tables("scales")
        self.inverse, self.offset = release.tensors["quality.inverse"], release.tensors["quality.offset"]
        self.medians = release.tensors["entropy_bottleneck.quantiles"][:, 0, 1].float()
        depths = self.model.settings["depths"]
        # Receptive field beyond a latent's own 16×16 pixels: k//2 a block at each stride, and the 3×3 stem or head.
        self.margin = int(np.ceil((1 + 2 * depths[0]) / 4 + 2 * depths[1] / 2 + depths[2])) + 1

    # --- transforms -------------------------------------------------------------------------------------------------
    @on_its_own
    def analyse(self, picture: np.ndarray, code: int, region: int = 1024) -> Tensor:
        """(H, W, 3) uint8 → y (M, ceil(H/16), ceil(W/16)) float32, in overlapping regions: memory stays bounded."""
        height, width = picture.shape[:2]
        padded = np.pad(picture, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
        rows, cols = padded.shape[0] // STRIDE, padded.shape[1] // STRIDE
        y = torch.empty(self.model.settings["latent"], rows, cols)
        quality = torch.tensor([code / STEPS])
        for (r0, r1, c0, c1), (a0, a1, b0, b1) in self.regions(rows, cols, region):
            part = torch.from_numpy(padded[a0 * STRIDE : a1 * STRIDE, b0 * STRIDE : b1 * STRIDE])
            x = (part.permute(2, 0, 1)[None].float() / 255).contiguous(memory_format=torch.channels_last)
            y[:, r0:r1, c0:c1] = self.model.g_a(x, quality)[0, :, r0 - a0 : r1 - a0, c0 - b0 : c1 - b0].float()
        return y

    @on_its_own
    def synthesise(self, y_hat: Tensor, height: int, width: int, code: int, region: int = 1024) -> np.ndarray:
        """y_hat (M, h, w) → (height, width, 3) uint8."""
        out = np.empty((height, width, 3), np.uint8)
        quality = torch.tensor([code / STEPS])
        for (r0, r1, c0, c1), (a0, a1, b0, b1) in self.regions(y_hat.shape[1], y_hat.shape[2], region):
            part = y_hat[None, :, a0:a1, b0:b1].contiguous(memory_format=torch.channels_last)
            x_hat = self.model.g_s(part, quality)[
                0, :, (r0 - a0) * STRIDE : (r1 - a0) * STRIDE, (c0 - b0) * STRIDE : (c1 - b0) * STRIDE
            ]
            pixels = (x_hat.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
            window = out[r0 * STRIDE : r1 * STRIDE, c0 * STRIDE : c1 * STRIDE]
            window[:] = pixels[: window.shape[0], : window.shape[1]]
        return out

    def regions(
        self, rows: int, cols: int, region: int
    ) -> list[tuple[Window, Window]]:
        """(kept, computed) windows in latents; what is computed reaches past what is kept by the receptive field."""
        size, m = max(1, region // STRIDE), self.margin
        # A strip shorter than a quarter region joins its neighbour: small pictures are one region.
        starts = [[s for s in range(0, n, size) if s == 0 or n - s > size // 4] for n in (rows, cols)]
        ends = [[*s[1:], n] for s, n in zip(starts, (rows, cols), strict=True)]
        return [
            ((r0, r1, c0, c1), (max(0, r0 - m), min(rows, r1 + m), max(0, c0 - m), min(cols, c1 + m)))
            for r0, r1 in zip(starts[0], ends[0], strict=True) for c0, c1 in zip(starts[1], ends[1], strict=True)
        ]  # fmt: skip

    # --- symbols ----------------------------------------------------------------------------------------------------
    @on_its_own
    def walk(
        self, coder: Coder, height: int, width: int, code: int, y: Tensor | None = None,
        held: Held | None = None, sent: Tensor | None = None, roi: Roi | QualityMap | None = None,
    ) -> Tensor:  # fmt: skip
        """The symbols of one tile → y_hat (M, height, width) float32. y: the latent, which the encoder alone knows.

        roi: where cells have qualities of their own, how their map is read; at the encoder, the map of the tile.
        held, sent: of a frame that sends only some of its positions of z, what is known of the others: `held` is
        changed in place where `sent`, bool (ceil(h/4), ceil(w/4)), is True, and is context elsewhere.
        """
        inverse, offset = self._gains(coder, height, width, code, roi)
        gain = 2.0**INVERSE_BITS / inverse.float()
        if held is None or sent is None:
            held = self.nothing_held(height, width)
            sent = torch.ones(held.z.shape[1:], dtype=torch.bool)
        self._hyper_symbols(coder, held.z, sent, None if y is None else y * gain)
        mask = step_mask(len(inverse), height, width)
        here = sent.repeat_interleave(4, 0).repeat_interleave(4, 1)[:height, :width].expand(mask.shape)
        # y_hat is a whole number of 2^-12 wherever it is small enough for the prior to see it unclamped: exact
        context = torch.floor(held.y_hat * 2.0**BITS + 0.5).long().masked_fill_(here | ~mask, 0)[None]
        for step, (mean, index) in self._steps(held.z[None], context, mask, sent):
            chosen = step & here
            index = index.long()[chosen] + offset.expand(mask.shape)[chosen]
            table = ((index + STEPS // 2) >> 4).clamp(0, SCALE_COUNT - 1)
            mean, scale = mean.long()[chosen], inverse.expand(mask.shape)[chosen]
            given = () if y is None else (whole((y[chosen] - mean / 2**BITS) * gain.expand(mask.shape)[chosen]),)
            symbols = torch.from_numpy(coder.code(self.scale_tables, table.numpy().astype(np.uint8), *given)).long()
            product = symbols * scale
            context[0][chosen] = mean + ((product + (1 << (INVERSE_BITS - BITS - 1))) >> (INVERSE_BITS - BITS))
            held.y_hat[chosen] = (mean.double() / 2**BITS + product.double() / 2**INVERSE_BITS).float()
        return held.y_hat

    def nothing_held(self, height: int, width: int) -> Held:
        """What is known before a first frame of (height, width) latents: zeros."""
        z = torch.zeros(len(self.medians), -(-height // 4), -(-width // 4), dtype=torch.int64)
        return Held(z, torch.zeros(len(self.inverse[0]), height, width))

    def _hyper_symbols(self, coder: Coder, z: Tensor, sent: Tensor, scaled: Tensor | None) -> None:
        """Code z (Nz, h, w), where `sent`, into z."""
        where = sent.numpy()
        index = np.broadcast_to(np.arange(len(z), dtype=np.uint16)[:, None, None], z.shape)[:, where]
        given = ()
        if scaled is not None:
            height, width = scaled.shape[1:]
            padded = F.pad(scaled, (0, -width % 4, 0, -height % 4))[None].contiguous(memory_format=torch.channels_last)
            symbols = whole(self.model.h_a(padded)[0].float() - self.medians[:, None, None])
            given = (symbols[:, where],)  # type: ignore[assignment]
        z[:, sent] = torch.from_numpy(coder.code(self.hyper_tables, index, *given)).long()

    def _gains(self, coder: Coder, height: int, width: int, code: int, roi: Roi | QualityMap | None) -> Any:
        """(inverse, offset) of each latent, int64 (M, 1, 1); with a map, coded first, (M, height, width)."""
        if roi is None:
            return [interpolate(table, code)[:, None, None] for table in (self.inverse, self.offset)]
        depths = torch.from_numpy(roi.walk(coder, height, width))
        return [torch.stack([interpolate(table, at) for at in roi.codes(code)], 1)[:, depths]
                for table in (self.inverse, self.offset)]  # fmt: skip

    def _steps(self, z: Tensor, context: Tensor, mask: Tensor, sent: Tensor) -> Any:
        """(mask of the step, (mean, index)), each (M, h, w): where few positions of z are sent, right there alone."""
        height, width = mask.shape[1:]
        if 2 * int(sent.sum()) > sent.numel():
            features = self.prior.features(z, height, width)
            mean, index = self.prior.step_1(features)
            yield mask, (mean[0], index[0])
            mean, index = self.prior.step_2(features, context)
            yield ~mask, (mean[0], index[0])
            return
        features = self.prior.features_of(z, sent)
        yield mask, tuple(spread(part, sent, height, width) for part in self.prior.step_1(features))
        found = self.prior.step_2_of(features, context, sent)
        yield ~mask, tuple(spread(part, sent, height, width) for part in found)

    def encode_tile(self, y: Tensor, code: int, roi: QualityMap | None = None) -> tuple[bytes, Tensor]:
        """(payload, y_hat) of one tile's latent (M, h, w), its map of qualities in the payload. ValueError where the
        latent is not finite or beyond int32."""
        encoder = Encoder()
        y_hat = self.walk(encoder, y.shape[1], y.shape[2], code, y, roi=roi)
        return encoder.finish(), y_hat

    def decode_tile(self, payload: bytes, height: int, width: int, code: int, roi: Roi | None = None) -> Tensor:
        """y_hat; StreamError (Desynchronised) where the payload is not what an encoder with these weights wrote."""
        decoder = Decoder(payload)
        y_hat = self.walk(decoder, height, width, code, roi=roi)
        decoder.finish()
        return y_hat

    # --- CompressAI's interface: a picture is one tile, without container -------------------------------------------
    def compress(self, x: Tensor, quality: float) -> bytes:
        """x (3, H, W) in [0, 1] → the payload of one tile as large as the picture."""
        picture = (x.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        return self.encode_tile(self.analyse(picture, to_code(quality)), to_code(quality))[0]

    def decompress(self, payload: bytes, height: int, width: int, quality: float) -> Tensor:
        """The inverse → (3, H, W) in [0, 1]."""
        y_hat = self.decode_tile(payload, -(-height // STRIDE), -(-width // STRIDE), to_code(quality))
        return torch.from_numpy(self.synthesise(y_hat, height, width, to_code(quality))).permute(2, 0, 1).float() / 255


def spread(parts: Tensor, where: Tensor, height: int, width: int) -> Tensor:
    """(1, M, 4 N, 4) of the N positions of z that are True → (M, height, width), zeros elsewhere."""
    out = parts.new_zeros(parts.shape[1], where.shape[0], 4, where.shape[1], 4)
    rows, columns = torch.nonzero(where, as_tuple=True)
    out[:, rows, :, columns] = parts.reshape(parts.shape[1], -1, 4, 4).transpose(0, 1)
    return out.reshape(parts.shape[1], 4 * where.shape[0], 4 * where.shape[1])[:, :height, :width]


def whole(values: Tensor) -> np.ndarray:
    """Nearest integers as the coder takes them; NaN, infinities and what int32 cannot hold are refused there."""
    array = torch.floor(values.double() + 0.5).numpy()
    if not np.isfinite(array).all():
        raise ValueError("sa-icm-s: the analysis gave a value that is not finite; the weights do not suit this picture")
    return array
