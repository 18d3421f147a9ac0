"""What a network of the NeRV family looks like, in a few integers: they stand in the header of its file.

    t ─▶ positional encoding (NeRV), or stored embedding (HNeRV)   (C, h, w)
      ─▶ stem 1×1 ─▶ (widths[0], h·grid, w·grid)
      ─▶ per block: conv k×k ─▶ PixelShuffle stride ─▶ activation  (widths[i + 1], × strides[i])
         and as often as residuals[i] says: x + activation(conv 3×3 of x, the first also of the frame's details)
      ─▶ head 3×3 ─▶ PixelShuffle ─▶ RGB                           (3, height, width)
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from icm.bitstream import StreamError
from icm.bitstream.fields import Cursor, varint

ACTIVATIONS = ("gelu", "relu", "leaky", "sine")
EMBEDDING = "embedding"
OUTPUTS = ("tanh", "sigmoid", "linear")
FORMATS = 1, 2  # of NeRV and HNeRV; with what they lack: a wider stem, residuals, details, a head that upsamples
MOST = {"blocks": 12, "residuals": 16, "channels": 1 << 14, "cells": 1 << 24, "parameters": 1 << 28}


@dataclass(frozen=True)
class Architecture:
    """embedding: (C, h, w). positional: (base, levels) with base in thousandths, or None: the embedding is stored.

    grid: (rows, columns) that the stem spreads each cell over. widths: of the stem and of each block. strides, kernels:
    of each block. activation, output: names of ACTIVATIONS and OUTPUTS; "tanh" is tanh(x)/2 + 1/2, "linear" x + 1/2.
    stem: its kernel. head: the stride of the last PixelShuffle. residuals, details: of each block, how many residual
    convolutions follow it and how many channels of its resolution are stored for each frame; () for none anywhere.
    """

    embedding: tuple[int, int, int]
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    kernels: tuple[int, ...]
    grid: tuple[int, int] = (1, 1)
    positional: tuple[int, int] | None = None
    activation: str = "gelu"
    output: str = "tanh"
    stem: int = 1
    head: int = 1
    residuals: tuple[int, ...] = ()
    details: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        blocks = len(self.strides)
        for name in ("residuals", "details"):
            if not getattr(self, name):
                object.__setattr__(self, name, (0,) * blocks)
        if not 1 <= blocks <= MOST["blocks"] or len(self.kernels) != blocks or len(self.widths) != blocks + 1:
            raise ValueError("a network has 1 to 12 blocks, a stride and a kernel each, and a width more")
        numbers = (*self.embedding, *self.widths, *self.strides, *self.kernels, *self.grid, self.stem, self.head)
        kernels = (*self.kernels, self.stem)
        if min(numbers) < 1 or max(numbers) > MOST["channels"] or any(k % 2 == 0 for k in kernels):
            raise ValueError("widths, strides and kernels are 1 to 16,384, kernels odd")
        extra = (*self.residuals, *self.details)
        if len(extra) != 2 * blocks or min(extra) < 0 or max(self.residuals) > MOST["residuals"]:
            raise ValueError("each block has 0 to 16 residual convolutions, and 0 or more channels of details")
        entered = zip(self.residuals, self.details, strict=True)
        if max(self.details) > MOST["channels"] or any(channels and not count for count, channels in entered):
            raise ValueError("details enter at a residual convolution, and there is none")
        if self.positional and (self.embedding != (2 * self.positional[1], 1, 1) or min(self.positional) < 1):
            raise ValueError("a positional encoding of L levels is an embedding of 2 L channels and one cell")
        if self.activation not in ACTIVATIONS or self.output not in OUTPUTS:
            raise ValueError(f"activations are {', '.join(ACTIVATIONS)}; outputs {', '.join(OUTPUTS)}")
        if max(self.height, self.width) > 1 << 15 or self.height * self.width > 1 << 28:
            raise ValueError(f"a frame of {self.width}x{self.height} is beyond the limits of a file")
        if self.parameters > MOST["parameters"] or self.stored > MOST["cells"]:
            raise ValueError(f"{self.parameters:,} parameters are beyond the limits of a file")

    @property
    def height(self) -> int:
        return self.embedding[1] * self.grid[0] * math.prod(self.strides) * self.head

    @property
    def width(self) -> int:
        return self.embedding[2] * self.grid[1] * math.prod(self.strides) * self.head

    def embeddings(self) -> dict[str, tuple[int, int, int]]:
        """What is stored for each frame, name → (C, h, w): the embedding, unless it is positional, and details."""
        found = {} if self.positional else {EMBEDDING: self.embedding}
        h, w = self.embedding[1] * self.grid[0], self.embedding[2] * self.grid[1]
        for i, (stride, channels) in enumerate(zip(self.strides, self.details, strict=True)):
            h, w = h * stride, w * stride
            if channels:
                found[f"details.{i}"] = (channels, h, w)
        return found

    @property
    def stored(self) -> int:
        """Numbers for each frame."""
        return sum(math.prod(shape) for shape in self.embeddings().values())

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor name → shape, in the order of the file, without what is stored for each frame."""
        found: dict[str, tuple[int, ...]] = {}
        stem = self.widths[0] * math.prod(self.grid)
        found["stem.weight"], found["stem.bias"] = (stem, self.embedding[0], self.stem, self.stem), (stem,)
        for i, (stride, kernel) in enumerate(zip(self.strides, self.kernels, strict=True)):
            outputs = self.widths[i + 1] * stride * stride
            found[f"blocks.{i}.weight"] = (outputs, self.widths[i], kernel, kernel)
            found[f"blocks.{i}.bias"] = (outputs,)
            for j in range(self.residuals[i]):
                inputs = self.widths[i + 1] + (0 if j else self.details[i])
                found[f"residuals.{i}.{j}.weight"] = (self.widths[i + 1], inputs, 3, 3)
                found[f"residuals.{i}.{j}.bias"] = (self.widths[i + 1],)
        colours = 3 * self.head**2
        found["head.weight"], found["head.bias"] = (colours, self.widths[-1], 3, 3), (colours,)
        return found

    @property
    def parameters(self) -> int:
        """Of the decoder, without embeddings."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def memory(self, frames: int) -> int:
        """Bytes that decoding needs at most: weights, embeddings, and three copies of the widest layer's output."""
        area = self.embedding[1] * self.embedding[2] * math.prod(self.grid)
        widest = 3 * self.height * self.width if self.head > 1 else 0
        for stride, width, details in zip(self.strides, self.widths[1:], self.details, strict=True):
            area *= stride * stride
            widest = max(widest, area * (width + details))
        return 4 * (4 * self.parameters + 2 * frames * self.stored + 4 * widest) + (64 << 20)

    def to_bytes(self) -> bytes:
        """For the header."""
        positional = self.positional or (0, 0)
        extra = (self.stem, self.head, *self.residuals, *self.details)
        late = extra != (1, 1, *[0] * (len(extra) - 2))
        rows = [FORMATS[late], *self.embedding, *positional, *self.grid, ACTIVATIONS.index(self.activation),
                OUTPUTS.index(self.output), len(self.strides), *self.widths, *self.strides, *self.kernels,
                *(extra if late else ())]  # fmt: skip
        return b"".join(map(varint, rows))

    @classmethod
    def parse(cls, cursor: Cursor) -> Architecture:
        """StreamError where the numbers make no network."""
        version = cursor.varint()
        if version not in FORMATS:
            raise StreamError(f"unsupported: a network of format {version} is newer than this reader: update vcm")
        embedding, positional, grid = (tuple(cursor.varint() for _ in range(n)) for n in (3, 2, 2))
        activation, output, blocks = (cursor.varint() for _ in range(3))
        if blocks > MOST["blocks"] or activation >= len(ACTIVATIONS) or output >= len(OUTPUTS):
            raise StreamError("damaged: the header describes no network that this version knows")
        widths, strides, kernels = (tuple(cursor.varint() for _ in range(n)) for n in (blocks + 1, blocks, blocks))
        late = [cursor.varint() for _ in range(2 + 2 * blocks)] if version > 1 else [1, 1]
        stem, head, residuals, details = late[0], late[1], tuple(late[2 : 2 + blocks]), tuple(late[2 + blocks :])
        try:
            return cls(embedding, widths, strides, kernels, grid, positional if any(positional) else None,  # type: ignore[arg-type]
                       ACTIVATIONS[activation], OUTPUTS[output], stem, head, residuals, details)  # fmt: skip
        except ValueError as error:
            raise StreamError(f"damaged: {error}") from None

    def facts(self) -> dict[str, str]:
        """For `vcm info`."""
        return {key: str(value) for key, value in dataclasses.asdict(self).items() if value is not None}
