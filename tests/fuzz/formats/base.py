"""What is fuzzed: a format makes damaged inputs and knows what its reader may make of them."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any

import numpy as np

from icm.bitstream import Limits, StreamError, read, write
from icm.bitstream.reader import CHECKED_ON_OPENING
from tests.fuzz.mutations import mutated
from tests.fuzz.seal import Parts, resealed

# Small enough that what a lying header asks for within them is quickly decoded; the defaults are tested by lies.
LIMITS = Limits(pixels=1 << 14, side=4096, frames=4096, sections=4096, memory_bytes=72 << 20)


class Wrong(AssertionError):
    """A reader took damaged bytes for something that they are not, without an error."""


@dataclasses.dataclass(frozen=True)
class Case:
    """layer: what was damaged, and whether checksums were repaired. truth: what the intact input holds.

    guarded: no checksum was repaired, so nothing but the truth may come out. coded: only a payload of the coder was
    damaged, so its final state should tell.
    """

    layer: str
    data: bytes
    truth: Any
    guarded: bool = False
    coded: bool = False


class Format(abc.ABC):
    """errors: how its reader refuses, in one line."""

    name: str
    errors: tuple[type[Exception], ...] = (StreamError,)

    @abc.abstractmethod
    def case(self, random: np.random.Generator) -> Case:
        """A damaged input."""

    @abc.abstractmethod
    def decode(self, data: bytes) -> Any:
        """Through parser and coder → something to compare. One of `errors`, or AssertionError where what was accepted
        is not what its writer makes of it."""


class ContainerFormat(Format):
    """A format in .vcm files. Layers: the file as it is; its checksums repaired; the header's body; the codec's
    parameters; one section."""

    LAYERS = ("raw", "repaired", "header", "parameters", "section")
    shares = (0.2, 0.2, 0.15, 0.2, 0.25)

    @abc.abstractmethod
    def seeds(self) -> list[bytes]:
        """Intact files."""

    @functools.cached_property
    def parts(self) -> list[Parts]:
        return [Parts.of(data) for data in self.seeds()]

    @functools.cached_property
    def truths(self) -> list[Any]:
        return [self.decode(parts.data) for parts in self.parts]

    def case(self, random: np.random.Generator) -> Case:
        which = int(random.integers(len(self.parts)))
        parts, other = self.parts[which], self.parts[int(random.integers(len(self.parts)))]
        layer, truth = str(random.choice(self.LAYERS, p=self.shares)), self.truths[which]
        if layer in ("raw", "repaired"):
            data = mutated(random, parts.data, other.data, parts.marks)
            spliced = data == other.data != parts.data  # all of it: an intact file, but another one
            truth = self.truths[self.parts.index(other)] if spliced else truth
            return Case(layer, data if layer == "raw" else resealed(data), truth, guarded=layer == "raw")
        if layer == "header":
            return Case(layer, parts.with_body(mutated(random, parts.body, other.body, parts.body_marks)), truth)
        if layer == "parameters":
            with read(parts.data) as stream, read(other.data) as spare:
                own, theirs = stream.header.parameters, spare.header.parameters
            return Case(layer, parts.with_parameters(mutated(random, own, theirs, range(8))), truth)
        i = self.section_to_hit(random, parts)
        payload = mutated(random, parts.sections[i], other.sections[-1], range(6))
        coded = self.is_coded(i) and payload != parts.sections[i]
        return Case(layer, parts.with_section(i, payload), truth, coded=coded)

    def section_to_hit(self, random: np.random.Generator, parts: Parts) -> int:
        """The number of a section that holds something."""
        filled = [i for i, section in enumerate(parts.sections) if section]
        return int(random.choice(filled))

    def is_coded(self, i: int) -> bool:
        """Whether section i is one payload of the coder, which `decode` decodes, and nothing else."""
        return True


def container_is_its_writers(data: bytes) -> None:
    """An accepted file of this version is written again with the very same bytes. Of clips and networks, opening does
    not look at the checksum of the whole file; `verify` does."""
    with read(data) as stream:
        intact = stream.header.kind in CHECKED_ON_OPENING or not stream.verify()
        if stream.header.version == (1, 0) and intact and write(stream.header, stream.sections()) != data:
            raise Wrong("read and written again, the file has other bytes")
