"""Clips of which only changed tiles are sent (conditional replenishment of latents). Normative: clips.md.

    frame ─▶ which tiles changed? ─▶ their symbols ─▶ one section a frame
                                        │  ▲ context: all that is known
                                        ▼  │
                                  held: z, y_hat of every tile ─▶ g_s ─▶ picture

What is kept of earlier frames is latents, not pixels. So synthesis reaches across old and new tiles alike and leaves no
seam, a frame's pixels follow from integers alone however one came to it, and tiles as small as a position of z (64
pixels) cost no more bits than large ones, because their neighbours are their context. A key frame forgets everything.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from icm.bitstream import Decoder, Encoder, Stream, StreamError
from icm.codecs.clip_choice import CUT, Choice
from icm.codecs.clip_index import ClipIndex, around, encode_maps
from icm.codecs.coding import GREY, Held, PictureCoder, Window
from icm.codecs.layers import STRIDE
from icm.quality import HIGHEST, STEPS

TILE = 64  # pixels: one position of z
REFRESH = 128  # frames from key to key
FINER = 30  # qualities that a key frame's symbols are finer by: most of it stays to be seen for a whole group
FAR = 4  # latents, and as many again: how far the encoder looks around what it sends; what lies beyond hardly counts


class ClipEncoder:
    """Frames in, sections and parameters out; memory does not grow with the clip but by what is sent.

    area: side of what is coded in one go, in pixels; tile: side of what is sent or kept; refresh: frames, at most, from
    one key frame to the next; finer: by how many qualities their symbols are finer than those of the frames between.
    """

    def __init__(
        self, coder: PictureCoder, code: int, height: int, width: int, area: int, refresh: int, tile: int = TILE,
        finer: int = FINER,
    ) -> None:  # fmt: skip
        self.coder, self.code, self.area, self.refresh = coder, code, area, refresh
        self.finer = max(0, min(finer, (int(HIGHEST) * STEPS - code) // STEPS))
        self.height, self.width = height, width
        self.tile = min(tile, area)
        self.choice = Choice(height, width, self.tile, code)
        self.shape = len(self.choice.rows), len(self.choice.columns)
        self.held = coder.nothing_held(-(-height // STRIDE), -(-width // STRIDE))
        self.shown = np.zeros((height, width, 3), np.uint8)
        self.sections: list[bytes] = []
        self.lengths: list[int] = []
        self.payloads: list[bytes] = []
        self._maps: list[np.ndarray] = []  # of the group at hand

    def add(self, frame: np.ndarray) -> None:
        """Code the next frame, (H, W, 3) uint8."""
        sent = self.choice.wanted(frame, self.shown) if self._maps else np.ones(self.shape, bool)
        if len(self._maps) >= self.refresh or sent.mean() > CUT:
            sent[:] = True
            self._close()
        if not self._maps:
            self.held.clear()
        self._maps.append(sent)
        if not sent.any():
            self.sections.append(b"")
            return
        y = self._latent(frame, sent)
        payload = self._code(y, sent, self.code)
        self._show(sent)
        self.choice.sent(sent, frame, self.shown, len(payload))
        if len(self._maps) == 1 and self.finer:  # that was what sending a tile can bring; what stays gets more
            self.held.clear()
            payload = self._code(y, sent, self.code + STEPS * self.finer)
            self._show(sent)
        self.sections.append(payload)

    def _code(self, y: Tensor, sent: np.ndarray, code: int) -> bytes:
        """The symbols of the tiles as a payload, and into what is held."""
        encoder = Encoder()
        walk_frame(self.coder, encoder, self.held, positions(sent, self.held, self.tile), code, self.area, y)
        return encoder.finish()

    def finish(self) -> bytes:
        """The header's parameters."""
        self._close()
        size = self.height, self.width
        return ClipIndex(*size, self.code, self.area, self.tile, self.finer, self.lengths, self.payloads).to_bytes()

    def _close(self) -> None:
        if self._maps:
            self.lengths.append(len(self._maps))
            self.payloads.append(encode_maps(np.stack(self._maps)))
            self._maps = []

    def _box(self, sent: np.ndarray, reach: int) -> Window:
        """What encloses the tiles, in latents, `reach` more on every side, within the frame."""
        side, (rows, columns) = self.tile // STRIDE, self.held.y_hat.shape[1:]
        r, c = np.flatnonzero(sent.any(1)), np.flatnonzero(sent.any(0))
        return (max(0, int(r[0]) * side - reach), min(rows, int(r[-1] + 1) * side + reach),
                max(0, int(c[0]) * side - reach), min(columns, int(c[-1] + 1) * side + reach))  # fmt: skip

    def _latent(self, frame: np.ndarray, sent: np.ndarray) -> Tensor:
        """y where tiles are sent and around them; zeros elsewhere, which nothing looks at."""
        r0, r1, c0, c1 = self._box(sent, 2 * FAR)
        y = torch.zeros_like(self.held.y_hat)
        part = frame[r0 * STRIDE : r1 * STRIDE, c0 * STRIDE : c1 * STRIDE]
        y[:, r0:r1, c0:c1] = self.coder.analyse(part, self.code)
        return y

    def _show(self, sent: np.ndarray) -> None:
        """Bring `shown` up to date, but for what is too far from the tiles to be seen."""
        (r0, r1, c0, c1), (a0, a1, b0, b1) = self._box(sent, FAR), self._box(sent, 2 * FAR)
        height, width = min(self.height, a1 * STRIDE) - a0 * STRIDE, min(self.width, b1 * STRIDE) - b0 * STRIDE
        part = self.coder.synthesise(self.held.y_hat[:, a0:a1, b0:b1], height, width, self.code)
        inside = part[(r0 - a0) * STRIDE : (r1 - a0) * STRIDE, (c0 - b0) * STRIDE : (c1 - b0) * STRIDE]
        self.shown[r0 * STRIDE : r1 * STRIDE, c0 * STRIDE : c1 * STRIDE] = inside


class ClipDecoder:
    """Frames of one open stream, in any order; going forward costs only what is new. It keeps no hold of the stream."""

    def __init__(self, stream: Stream, coder: PictureCoder) -> None:
        header = stream.header
        if len(stream) != header.frames:
            raise StreamError(f"damaged: {len(stream)} sections for {header.frames} frames")
        self.coder, self.index = coder, ClipIndex.parse(header)
        self.held = coder.nothing_held(-(-header.height // STRIDE), -(-header.width // STRIDE))
        self.at = -1
        self.lost: dict[tuple[int, int], StreamError] = {}  # tile: what is wrong with the frame that sent it
        self._picture: np.ndarray | None = None  # of the latents held

    def frame(self, stream: Stream, frame: int, strict: bool) -> tuple[np.ndarray, dict[Window, str], list[Window]]:
        """(picture, lost, approximate) as PictureCodec.decode_partial has them. strict: StreamError where one is lost.

        Symbols are decoded from the key frame on, or from where we are; pixels of this frame alone.
        """
        start = self.index.key_of(frame)
        for i in range(self.at + 1 if start <= self.at <= frame else start, frame + 1):
            self.step(stream, i)
        if strict and self.lost:
            raise next(iter(self.lost.values()))
        height, width = stream.header.height, stream.header.width
        if self._picture is None:
            self._picture = self.coder.synthesise(self.held.y_hat, height, width, self.index.code)
        picture, lost, approximate = self._picture.copy(), {}, []
        reach, side = STRIDE * self.coder.margin, self.index.tile
        for (row, column), error in self.lost.items():
            top, bottom = row * side, min((row + 1) * side, height)
            left, right = column * side, min((column + 1) * side, width)
            lost[top, bottom, left, right] = str(error)
            picture[top:bottom, left:right] = GREY
            approximate.append(
                (max(0, top - reach), min(height, bottom + reach), max(0, left - reach), min(width, right + reach))
            )
        return picture, lost, approximate

    def step(self, stream: Stream, i: int) -> StreamError | None:
        """Take in the symbols of frame i, those of the frames from its key on having been taken. What is wrong with it.

        The tiles that it should have sent are lost then, and so are those of later frames that need them as context.
        """
        sent = self.index.sent(i)
        if i == self.index.key_of(i):
            self.held.clear()
            self.lost = {}
        self.at = i
        tiles = [(int(row), int(column)) for row, column in np.argwhere(sent)]
        beside = around(sent) & ~sent  # kept tiles that are context of those sent
        problem = next((error for tile, error in self.lost.items() if beside[tile]), None)
        if problem is None:
            try:
                decoder = Decoder(stream.section(i))
                walk_frame(self.coder, decoder, self.held, positions(sent, self.held, self.index.tile),
                           self.index.code_of(i), self.index.area)  # fmt: skip
                decoder.finish()
            except StreamError as error:
                last = self.index.affected(i) if tiles else i
                problem = type(error)(f"{error}; frames {i} to {last} lack something" if last > i else f"{error}")
        for row, column in tiles:
            self.lost.pop((row, column), None)
            if problem is not None:
                self.lost[row, column] = problem
                side = self.index.tile // STRIDE
                self.held.y_hat[:, row * side : (row + 1) * side, column * side : (column + 1) * side] = 0
        if tiles:
            self._picture = None
        return problem


def positions(sent: np.ndarray, held: Held, tile: int) -> np.ndarray:
    """Tiles (rows, columns) → positions of z, bool (ceil(h/4), ceil(w/4))."""
    each = tile // (4 * STRIDE)
    return sent.repeat(each, 0).repeat(each, 1)[: held.z.shape[1], : held.z.shape[2]]


def walk_frame(
    coder: PictureCoder, symbols: Any, held: Held, sent: np.ndarray, code: int, area: int, y: Tensor | None = None
) -> None:
    """The symbols of one frame into `held`, the same for both sides: area after area, each at once.

    symbols: Encoder or Decoder. sent: positions of z. y: (M, h, w), which the encoder alone knows.
    """
    side, (rows, columns) = area // (4 * STRIDE), sent.shape
    for r in range(0, rows, side):
        for c in range(0, columns, side):
            inside = np.zeros_like(sent)
            inside[r : r + side, c : c + side] = sent[r : r + side, c : c + side]
            if not inside.any():
                continue
            # The prior looks one position of z and one latent far, so that what lies further off changes no symbol.
            seen = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            (r0, r1), (c0, c1) = ((max(0, int(one[0]) - 1), int(one[-1]) + 2) for one in seen)
            latents = np.s_[:, 4 * r0 : 4 * r1, 4 * c0 : 4 * c1]
            part = Held(held.z[:, r0:r1, c0:c1], held.y_hat[latents])
            height, width = part.y_hat.shape[1:]
            chosen = torch.from_numpy(inside[r0:r1, c0:c1])
            coder.walk(symbols, height, width, code, None if y is None else y[latents], part, chosen)
