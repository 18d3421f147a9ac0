"""Files of video networks: the description in the header, and every tensor. No network is run."""

from __future__ import annotations

import functools
import zlib
from fractions import Fraction
from typing import Any

import numpy as np

from icm.bitstream import Times, read
from nerv.coding.tensors import Affine, Tensor, pack, unpack
from nerv.file import NetworkFile, names, shape_of, symbols_of, write_networks
from nerv.models.architecture import Architecture
from tests.fuzz.formats.base import LIMITS, ContainerFormat, Wrong, container_is_its_writers
from tests.fuzz.seal import Parts
from tests.nerv.tiny import affine, stepped, tensors

SMALL = Architecture((2, 1, 2), (4, 3), (2,), (1,))
POSITIONAL = Architecture((4, 1, 1), (4, 3), (3,), (3,), grid=(2, 2), positional=(1250, 2), output="linear")
DETAILED = Architecture((2, 1, 1), (4, 3), (2,), (1,), stem=3, head=2, residuals=(1,), details=(2,))
TIMES = Times.of([0, 10, 21, 30], Fraction(1, 100))


def stored_otherwise(architecture: Architecture, frames: int) -> dict[str, Tensor]:
    """Each tensor the other way than `tiny` does: weights affine, biases and what is stored a frame stepped."""
    found: dict[str, Tensor] = {}
    for i, name in enumerate(names(architecture)):
        shape = shape_of(architecture, name, frames)
        if name.endswith("weight"):
            found[name] = affine(shape, i, kept=(0, 1), half=bool(i % 2))
        else:
            found[name] = stepped(shape, i, along=name in architecture.embeddings())
    return found


def values_of(tensor: Tensor) -> tuple[bytes, ...]:
    parts = (tensor.q, tensor.minimum, tensor.scale) if isinstance(tensor, Affine) else (
        tensor.q, tensor.rows, tensor.columns)  # fmt: skip
    return tuple(part.tobytes() for part in parts)


@functools.lru_cache(maxsize=512)
def unpacked(data: bytes, shape: tuple[int, ...]) -> tuple[bytes, ...]:
    """The numbers of a tensor. Kept, since most tensors of a damaged file are those of the intact one."""
    tensor = unpack(data, shape)
    found = values_of(tensor)
    if tensor.values().shape != shape:
        raise Wrong(f"a tensor of shape {tensor.values().shape} for one of {shape}")
    # An encoder is free to choose other tables, so the bytes may differ; the numbers may not. One in eight: it is slow.
    if zlib.crc32(data) % 8 == 0 and tensor.q.size < 4096:
        along = tensor.q.ndim == 4 and len(shape) == 4 and not isinstance(tensor, Affine) and data[1] == 1
        if values_of(unpack(pack(tensor, along), shape)) != found:
            raise Wrong("a tensor, packed again, holds other numbers")
    return found


class Networks(ContainerFormat):
    name = "networks"
    shares = (0.15, 0.15, 0.1, 0.15, 0.45)

    def seeds(self) -> list[bytes]:
        two = [(2, tensors(SMALL, 2)), (2, stored_otherwise(SMALL, 2))]
        return [
            write_networks("hnerv", SMALL, two, TIMES),
            write_networks("nerv", POSITIONAL, [(4, stored_otherwise(POSITIONAL, 4))], TIMES, "bt709", (5, 4)),
            write_networks("sa-nerv", DETAILED, [(4, tensors(DETAILED, 4))], TIMES),
        ]

    def decode(self, data: bytes) -> Any:
        """(architecture, segments, every number of every tensor)."""
        with NetworkFile(read(data, LIMITS)) as file:
            found = []
            for segment, frames in enumerate(file.counts):
                assert symbols_of(file.architecture, frames) <= file.header.memory, "numbers beyond the memory declared"
                for i, name in enumerate(file.names):
                    section = file.stream.section(file.shared + segment * len(file.names) + i)
                    found.append(unpacked(section, shape_of(file.architecture, name, frames)))
            about = file.header.width, file.header.height, file.header.colour, file.header.times, file.header.model
            container_is_its_writers(data)
            return about, file.counts, file.architecture, file.background(), found

    def section_to_hit(self, random: np.random.Generator, parts: Parts) -> int:
        return int(random.integers(len(parts.sections)))

    def is_coded(self, i: int) -> bool:
        return False  # numbers stand before the payload; with others of them it may be another tensor's
