"""A clip's networks as one .vcm file of kind "network", and back.

    header parameters: format │ frames of each segment │ architecture
    sections:          background, a whole .vcm picture (format 2 alone)
                       segment 0: embedding (if stored), stem.weight, stem.bias, blocks.0.weight, … head.bias; 1: …

A tensor is a section, so the container tells where each lies, guards each with a CRC32C of its own, and damage is told
by the tensor's name. A segment needs its own tensors alone: any frame decodes without the rest of the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from icm.bitstream import Header, Limits, OtherWeights, StreamError, Times, Unsupported, read, write
from icm.bitstream.fields import Cursor, varint
from nerv.coding.bells import digest
from nerv.coding.tensors import Tensor, pack, unpack
from nerv.models.architecture import Architecture

PLAIN, ON_BACKGROUND = 1, 2  # formats


def names(architecture: Architecture) -> list[str]:
    """Tensors of a segment in the order of its sections."""
    return [*architecture.embeddings(), *architecture.shapes()]


def write_networks(
    model: str, architecture: Architecture, segments: Sequence[tuple[int, Mapping[str, Tensor]]], times: Times,
    colour: str = "srgb", size: tuple[int, int] | None = None, background: bytes | None = None,
) -> bytes:  # fmt: skip
    """segments: (frames, tensors by name). size: (width, height) shown, the middle of what the network makes.
    background: a .vcm picture of that size, to which the network's output is added; paid for once.

    The embedding of a segment is (C, h, w, frames): time runs along the last axis. ValueError where shapes do not fit.
    """
    sections = [] if background is None else [background]
    for frames, tensors in segments:
        for name in names(architecture):
            tensor = tensors[name]
            expected = shape_of(architecture, name, frames)
            if tuple(tensor.shape) != expected:
                raise ValueError(f"{name}: is {tuple(tensor.shape)}, and {expected} in this architecture")
            sections.append(pack(tensor, along=name in architecture.embeddings()))
    counts = [frames for frames, _ in segments]
    if sum(counts) != times.frames:
        raise ValueError(f"{sum(counts)} frames in segments, {times.frames} timestamps")
    width, height = size or (architecture.width, architecture.height)
    version = PLAIN if background is None else ON_BACKGROUND
    parameters = varint(version) + varint(len(counts)) + b"".join(map(varint, counts)) + architecture.to_bytes()
    memory = architecture.memory(max(counts)) + (0 if background is None else read(background).header.memory)
    header = Header(
        kind="network", width=width, height=height, model=model, weights=digest()[:8], parameters=parameters,
        memory=memory, times=times, colour=colour,
    )  # fmt: skip
    return write(header, sections)


def shape_of(architecture: Architecture, name: str, frames: int) -> tuple[int, ...]:
    """Of a tensor in a segment of so many frames."""
    stored = architecture.embeddings()
    return (*stored[name], frames) if name in stored else architecture.shapes()[name]


def layout(header: Header) -> tuple[list[int], Architecture, int]:
    """(frames of each segment, architecture, sections before the first segment's) from a header of kind "network".
    StreamError: it contradicts itself."""
    cursor = Cursor(header.parameters, 0, "the description of the network")
    version = cursor.varint()
    if version not in (PLAIN, ON_BACKGROUND):
        raise Unsupported("unsupported: the network is of a newer format than this reader: update vcm")
    count = cursor.varint()
    if not 1 <= count <= min(header.frames, cursor.left):
        raise StreamError(f"damaged: {count} segments for {header.frames} frames")
    counts = cursor.varints(count).tolist()
    architecture = Architecture.parse(cursor)
    if cursor.left or min(counts) < 1 or sum(counts) != header.frames:
        raise StreamError("damaged: the segments of the network do not add up to its frames")
    if architecture.width < header.width or architecture.height < header.height:
        raise StreamError("damaged: the network makes smaller frames than the header says")
    if architecture.memory(max(counts)) > header.memory + (header.memory >> 3) + (1 << 20):
        raise StreamError("damaged: the network needs more memory than the header declares")
    return counts, architecture, int(version == ON_BACKGROUND)


class NetworkFile:
    """An open file of kind "network": facts at once, tensors when asked for. A context manager."""

    def __init__(self, source: Any, limits: Limits | None = None, partial: bool = False) -> None:
        self.stream = source if hasattr(source, "section") else read(source, limits or Limits(), partial=partial)
        self.name = os.fspath(source) if isinstance(source, str | os.PathLike) else "the stream"
        self.header = self.stream.header
        try:
            self._describe()
        except BaseException:
            if self.stream is not source:
                self.stream.close()
            raise

    def _describe(self) -> None:
        """What the header says. StreamError where it contradicts itself."""
        if self.header.kind != "network":
            raise StreamError(f"{self.name}: holds a {self.header.kind}, not a network")
        if self.header.weights != digest()[:8]:
            raise OtherWeights(
                f"{self.name}: was coded with the tables {self.header.weights.hex()}, this version has "
                f"{digest()[:8].hex()}: use the version of vcm that wrote it"
            )
        self.counts, self.architecture, self.shared = layout(self.header)
        self.names = names(self.architecture)
        if len(self.stream) != self.shared + len(self.counts) * len(self.names):
            raise StreamError(f"damaged: {len(self.stream)} sections for {len(self.counts)} segments of "
                              f"{len(self.names)} tensors")  # fmt: skip
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])

    def segment_of(self, frame: int) -> int:
        """The number of the segment that holds a frame."""
        if not 0 <= frame < self.header.frames:
            raise ValueError(f"{self.name}: has frames 0 to {self.header.frames - 1}, not {frame}")
        return int(np.searchsorted(self.starts, frame, side="right")) - 1

    def background(self) -> bytes | None:
        """The .vcm picture that the network's output is added to, if there is one. StreamError where it is damaged."""
        return bytes(self.stream.section(0)) if self.shared else None

    def tensor(self, segment: int, name: str) -> Tensor:
        """One tensor. StreamError naming it where it is damaged."""
        try:
            data = self.stream.section(self.shared + segment * len(self.names) + self.names.index(name))
            return unpack(data, shape_of(self.architecture, name, self.counts[segment]))
        except StreamError as error:
            raise type(error)(f"{error} (tensor {name} of segment {segment})") from None

    def tensors(self, segment: int) -> dict[str, Tensor]:
        """All of a segment."""
        return {name: self.tensor(segment, name) for name in self.names}

    def bytes_of(self, name: str) -> int:
        """Over all segments."""
        return sum(self.stream.lengths[self.shared + self.names.index(name) :: len(self.names)])

    def close(self) -> None:
        self.stream.close()

    def __enter__(self) -> NetworkFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def symbols_of(architecture: Architecture, frames: int) -> int:
    """How many numbers a segment holds."""
    return sum(math.prod(shape_of(architecture, name, frames)) for name in names(architecture))
