"""What the header says of a clip of which only changed tiles are sent: groups of frames, and which tiles each sends.

    parameters   quality·16 (2 bytes) │ log2 area │ log2 tile │ key │ group │ group │ …       normative: clips.md
    group        frames (varint) │ length (varint) │ maps of its frames but the first, which sends every tile

A group begins with a key frame, so its first frame is where decoding can start. In the header, maps survive damage to
any section, and which frames a damaged one concerns is known without decoding. No torch here: `vcm info` reads this.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from icm.bitstream import Decoder, Desynchronised, Encoder, StreamError, Tables
from icm.bitstream.fields import Cursor, varint

STEPS, HIGHEST = 16, 100  # of icm/quality.py, which needs torch
CERTAIN = 64  # tables 0 to 64: the probability that a tile is sent, in 64ths, but never 0 or 1
KEPT = 1023  # counts of a context are halved beyond this


def _tables() -> Tables:
    """Table i: a tile is sent with frequency 1024·i of 2^16, 64 and 65,472 at the ends. The escape is never written."""
    sent = [min(max(1024 * i, 64), 65536 - 64) for i in range(CERTAIN + 1)]
    return Tables([[65535 - f, f, 1] for f in sent], [0] * len(sent))


TABLES = _tables()


class ClipIndex:
    """Parsed parameters. height, width: of a frame in pixels; tile: side of what is sent or kept, in pixels.

    finer: by how many whole qualities key frames are quantised more finely than others; what stays is worth more bits.
    lengths: frames of each group; payloads: their coded maps. Raises StreamError on parameters that contradict.
    """

    def __init__(
        self, height: int, width: int, code: int, area: int, tile: int, finer: int, lengths: list[int],
        payloads: list[bytes],
    ) -> None:  # fmt: skip
        self.code, self.area, self.tile, self.finer = code, area, tile, finer
        self.shape = -(-height // tile), -(-width // tile)
        self.lengths, self.payloads = np.array(lengths, np.int64), payloads
        self.keys = np.cumsum(self.lengths) - self.lengths
        self.frames = int(self.lengths.sum())
        self.maps = functools.lru_cache(maxsize=2)(self._maps)

    def to_bytes(self) -> bytes:
        """The header's parameters."""
        logs = bytes([self.area.bit_length() - 1, self.tile.bit_length() - 1, self.finer])
        groups = [varint(n) + varint(len(p)) + p for n, p in zip(self.lengths.tolist(), self.payloads, strict=True)]
        return self.code.to_bytes(2, "little") + logs + b"".join(groups)

    @classmethod
    def parse(cls, header: Any) -> ClipIndex:
        """Of a stream's header; maps are decoded when they are asked for."""
        data, lengths, payloads, total = header.parameters, [], [], 0
        cursor = Cursor(data, 0, "the index of the clip")
        code, log_area, log_tile = int.from_bytes(cursor.take(2), "little"), cursor.byte(), cursor.byte()
        finer = cursor.byte()
        if not 6 <= log_tile <= log_area <= 15:
            raise StreamError(f"damaged: tiles of 2^{log_tile} pixels in areas of 2^{log_area} are out of range")
        if not code + finer * STEPS <= HIGHEST * STEPS:
            raise StreamError(f"damaged: key frames {finer} above quality {code / STEPS:g} are out of range")
        while cursor.left:
            lengths.append(cursor.varint())
            payloads.append(cursor.take(cursor.varint()))
            total += lengths[-1]
            if not lengths[-1] or total > header.frames:
                break
        if total != header.frames or cursor.left or not lengths[-1]:
            raise StreamError(f"damaged: the index of the clip does not hold its {header.frames} frames")
        return cls(header.height, header.width, code, 1 << log_area, 1 << log_tile, finer, lengths, payloads)

    def group_of(self, frame: int) -> int:
        """Number of the group that holds a frame."""
        return int(np.searchsorted(self.keys, frame, "right")) - 1

    def code_of(self, frame: int) -> int:
        """The quality, times 16, by which a frame's symbols are read."""
        return self.code + self.finer * STEPS * (frame == self.key_of(frame))

    def key_of(self, frame: int) -> int:
        """The key frame from which a frame is decoded."""
        return int(self.keys[self.group_of(frame)])

    def affected(self, frame: int) -> int:
        """The last frame in which something is missing where `frame` cannot be read: till its group ends, or earlier
        where all that it sent was sent again, beside nothing that is lost."""
        lost, end = self.sent(frame), int(self.keys[self.group_of(frame)] + self.lengths[self.group_of(frame)])
        for i in range(frame + 1, end):
            sent = self.sent(i)
            lost = lost | sent if (lost & around(sent) & ~sent).any() else lost & ~sent
            if not lost.any():
                return i - 1
        return end - 1

    def sent(self, frame: int) -> np.ndarray:
        """(rows, columns) bool: the tiles that a frame sends. Desynchronised where the maps are not an encoder's."""
        return self.maps(self.group_of(frame))[frame - self.key_of(frame)]

    def _maps(self, group: int) -> np.ndarray:
        decoder = Decoder(self.payloads[group])
        maps = walk_maps(decoder, int(self.lengths[group]), self.shape)
        decoder.finish()
        return maps


def describe(header: Any) -> dict[str, Any]:
    """What the parameters say, for `vcm info`: quality, tiles, key frames, tiles sent of each frame."""
    try:
        index = ClipIndex.parse(header)
        sent = [int(count) for group in range(len(index.keys)) for count in index.maps(group).sum((1, 2))]
    except StreamError as error:
        return {"index": str(error)}
    return {
        "quality": index.code / STEPS, "key_frames_finer_by": index.finer, "area_px": index.area, "tile_px": index.tile,
        "tiles_a_frame": index.shape[0] * index.shape[1], "key_frames": index.keys.tolist(), "tiles_sent": sent,
    }  # fmt: skip


def encode_maps(maps: np.ndarray) -> bytes:
    """(frames, rows, columns) bool of one group, the first all True → its payload."""
    encoder = Encoder()
    walk_maps(encoder, len(maps), (maps.shape[1], maps.shape[2]), maps)
    return encoder.finish()


def walk_maps(coder: Any, frames: int, shape: tuple[int, int], maps: np.ndarray | None = None) -> np.ndarray:
    """The symbols of one group's maps, the same for both sides → (frames, rows, columns) bool.

    A frame is two calls: tiles where row + column is even see the frame before, the others their neighbours of this
    frame, and both what they were themselves. Counts of what each context brought choose the tables.
    """
    out = [np.ones(shape, bool)]  # grows: a header may claim more frames than any memory has room for
    odd = (np.arange(shape[0])[:, None] + np.arange(shape[1])) % 2 == 1
    likely = np.arange(20) % 10 % 5 + 4 * (np.arange(20) % 10 // 5)
    counts = np.stack([10 - likely, 1 + likely], 1)  # of each context: kept, sent
    for i in range(1, frames):
        before = out[i - 1] if i > 1 else np.zeros(shape, bool)  # a key frame says nothing of what moves
        out.append(np.zeros(shape, bool))
        for step, chosen in enumerate((~odd, odd)):
            context = (10 * step + 5 * before + neighbours(out[i] if step else before))[chosen]
            total = counts.sum(1)
            table = (CERTAIN * counts[:, 1] + total // 2) // total
            given = () if maps is None else (maps[i][chosen].astype(np.int32),)
            bits = coder.code(TABLES, table[context].astype(np.uint8), *given)
            if (bits >> 1).any():
                raise Desynchronised("desynchronised: a map of tiles holds what no encoder writes")
            out[i][chosen] = bits == 1
            counts[:, 1] += np.bincount(context, bits, 20).astype(np.int64)
            counts[:, 0] += np.bincount(context, 1 - bits, 20).astype(np.int64)
            large = counts.sum(1) > KEPT
            counts[large] = (counts[large] + 1) // 2
    return np.stack(out)


def neighbours(tiles: np.ndarray) -> np.ndarray:
    """(rows, columns) bool → how many of the four beside each are True."""
    framed = np.pad(tiles.astype(np.int64), 1)
    return framed[:-2, 1:-1] + framed[2:, 1:-1] + framed[1:-1, :-2] + framed[1:-1, 2:]


def around(tiles: np.ndarray) -> np.ndarray:
    """(rows, columns) bool → True where a tile or any of the eight around it is True."""
    framed = np.pad(tiles, 1)
    tall = framed[:-2] | framed[1:-1] | framed[2:]
    return tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]
