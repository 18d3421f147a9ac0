"""A tile to bytes and back through SegPIC: its one symbol walk.

    section = varint r, label map, symbols
              r = 0: the 4×4 grid, no map; 1 + 2·n + c: a map of n bytes, at 1/4 (c = 0) or at 1/16 of the size (c = 1,
              each label then holds for 4×4 positions at 1/4)
    symbols   p4 ─▶ p16 ─▶ z (factorised tables) ─▶ y, slice after slice (icm/codecs/charm.py); one coder state

Of regions without a position at 1/16 no p16 is coded. The prior is computed in floats, as in the other codecs with
ChARM: see icm/codecs/guard.py.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from icm.bitstream import Decoder, Encoder, StreamError
from icm.bitstream.fields import Cursor, varint
from icm.bitstream.precision import on_its_own
from icm.codecs.charm import whole
from icm.codecs.guard import Coder
from icm.codecs.release import Release
from icm.codecs.same_build import GUARD
from icm.codecs.segpic import labels as label_maps
from icm.codecs.segpic.layers import STRIDE, pad
from icm.codecs.segpic.regions import COARSE, FINE, Regions
from icm.codecs.tcm.coding import Reader

SIDES = {"p4": "p4", "p16": "p16", "z": "hyper"}  # name → table


@dataclasses.dataclass(frozen=True)
class Section:
    """The parts of one: bytes of the label map (None: the grid), its scale (FINE or COARSE), the symbols."""

    labels: bytes | None
    scale: int
    symbols: bytes

    @classmethod
    def parse(cls, payload: bytes) -> Section:
        """StreamError where it is cut short."""
        cursor = Cursor(payload, 0, "the section")
        word = cursor.varint()
        if not word:
            return cls(None, FINE, cursor.take(cursor.left))
        count, coarse = divmod(word - 1, 2)
        return cls(cursor.take(count), COARSE if coarse else FINE, cursor.take(cursor.left))

    def to_bytes(self) -> bytes:
        if self.labels is None:
            return varint(0) + self.symbols
        return varint(1 + 2 * len(self.labels) + (self.scale == COARSE)) + self.labels + self.symbols


class SegpicCoder:
    """Weights ready for coding. It keeps no state between calls."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.net = release.transforms().requires_grad_(False).to(memory_format=torch.channels_last).net
        self.sides = [name for name in SIDES if self.net.settings["rat"] or name == "z"]
        self.tables = {name: release.tables(SIDES[name]) for name in self.sides}
        self.scale_tables = release.tables("scales")
        bottlenecks = {name: "entropy_bottleneck" + ("" if name == "z" else f"_{name}") for name in self.sides}
        self.medians = {n: release.tensors[f"{b}.quantiles"][:, 0, 1].float() for n, b in bottlenecks.items()}

    def encode_tile(
        self, picture: np.ndarray, guard: int, labels: np.ndarray | None = None, scale: int = FINE
    ) -> bytes:
        """(h, w, 3) uint8 → payload. labels: (h, w) of any integers, the regions, which the payload then tells at 1/4
        or (scale 16) at 1/16; None, or 0 everywhere: the grid. ValueError: not finite, or labels that do not fit."""
        return self.compress(torch.tensor(picture).permute(2, 0, 1).float() / 255, guard, labels, scale)

    def decode_tile(self, payload: bytes, height: int, width: int, guard: int) -> np.ndarray:
        """(height, width, 3) uint8. StreamError where the payload is not what an encoder with these weights wrote."""
        x_hat = self.decompress(payload, height, width, guard)
        return (x_hat * 255).round().byte().permute(1, 2, 0).numpy()

    @on_its_own
    def compress(self, x: Tensor, guard: int = GUARD, labels: np.ndarray | None = None, scale: int = FINE) -> bytes:
        """x (3, H, W) in [0, 1] → the payload of one tile as large as the picture."""
        told, regions = None, self._regions(None, FINE)
        if labels is not None and np.any(np.asarray(labels)[::FINE, ::FINE]):
            told, regions = self._tell(np.asarray(labels), tuple(x.shape[-2:]), scale)
        encoder = Encoder()
        padded = pad(x[None], STRIDE).contiguous(memory_format=torch.channels_last)
        y, known = self.net.analyse(
            padded, regions, lambda name, value: self._side(encoder, name, regions, value=value)
        )
        self.net.charm.walk(encoder, self.scale_tables, *self.net.hyper(known, regions), guard, y)
        return Section(told, scale, encoder.finish()).to_bytes()

    @on_its_own
    def decompress(
        self, payload: bytes, height: int, width: int, guard: int = GUARD, reader: Reader = Decoder
    ) -> Tensor:
        """The inverse → (3, height, width) in [0, 1]. reader: payload → what decodes it."""
        section = Section.parse(payload)
        regions = self._told(section, height, width, reader)
        below = -(-height // STRIDE), -(-width // STRIDE)
        decoder = reader(section.symbols)
        known = {name: self._side(decoder, name, regions, size=below) for name in self.sides}
        y_hat = self.net.charm.walk(decoder, self.scale_tables, *self.net.hyper(known, regions), guard)
        decoder.finish()
        return self.net.synthesise(y_hat, known, regions)[0, :, :height, :width].clamp(0, 1)

    # --- regions ----------------------------------------------------------------------------------------------------
    def _tell(self, labels: np.ndarray, shape: tuple[int, ...], scale: int) -> tuple[bytes, Regions]:
        if not self.net.settings["rat"]:
            raise ValueError("segpic: these weights have no region-adaptive transforms; labels would tell them nothing")
        if labels.shape != shape or labels.dtype.kind not in "iu" or scale not in (FINE, COARSE):
            raise ValueError(f"labels are integers of the picture's shape {shape} at scale {FINE} or {COARSE}, not "
                             f"{labels.dtype} of {labels.shape} at {scale}")  # fmt: skip
        coarse = label_maps.canonical(labels[::scale, ::scale])
        encoder = Encoder()
        label_maps.code(encoder, (coarse.shape[0], coarse.shape[1]), coarse)
        return encoder.finish(), self._regions(coarse, scale)

    def _told(self, section: Section, height: int, width: int, reader: Reader) -> Regions:
        if section.labels is None:
            return self._regions(None, FINE)
        if not self.net.settings["rat"]:
            raise StreamError("damaged: a label map for weights without region-adaptive transforms")
        decoder = reader(section.labels)
        coarse = label_maps.code(decoder, (-(-height // section.scale), -(-width // section.scale)))
        decoder.finish()
        return self._regions(coarse, section.scale)

    def _regions(self, coarse: np.ndarray | None, scale: int) -> Regions:
        """As the decoder knows them: a map at `scale`, continued below and to the right of the picture."""
        if coarse is None:
            return Regions(None, self.net.settings["grid"])
        whole_map = pad(torch.from_numpy(coarse.astype(np.int64)), STRIDE // scale)
        for axis in (0, 1):
            whole_map = whole_map.repeat_interleave(scale // FINE, axis)
        return Regions(whole_map[None], self.net.settings["grid"])

    # --- symbols ----------------------------------------------------------------------------------------------------
    def _side(
        self,
        coder: Coder,
        name: str,
        regions: Regions,
        size: tuple[int, int] = (0, 0),
        value: Tensor | None = None,
    ) -> Tensor:
        """Prototypes or z, (1, C, ·, ·), through the coder; `size`: of z, which a decoder must be told."""
        medians = self.medians[name][:, None, None]
        present = None if name == "z" else regions.present(FINE if name == "p4" else COARSE)
        if value is not None:
            shape = tuple(value.shape[2:])
        elif name == "z":
            shape = size
        else:
            shape = (regions.grid, regions.grid) if present is None else (regions.count, 1)
        asked = torch.ones(shape, dtype=torch.bool) if present is None else present[0][:, None]
        index = np.broadcast_to(np.arange(len(medians), dtype=np.uint16)[:, None], (len(medians), int(asked.sum())))
        given = () if value is None else (whole((value[0].float() - medians)[:, asked]),)
        symbols = torch.from_numpy(coder.code(self.tables[name], index, *given))
        quantised = torch.zeros(len(medians), *shape)
        quantised[:, asked] = symbols.float()
        return (quantised + medians)[None].contiguous(memory_format=torch.channels_last)

    def memory(self, height: int, width: int) -> int:
        """The widest stage of g_s, at half the size: features, their scales and biases, normalisation; and latents."""
        rows, cols = (-(-side // STRIDE) * STRIDE for side in (height, width))
        n, latent = self.net.settings["width"], self.net.settings["latent"]
        return 4 * rows * cols * (8 * n // 4 + 16 * latent // 256) + 3 * height * width
