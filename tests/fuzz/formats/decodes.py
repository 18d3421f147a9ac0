"""Whole files through every codec, pixels included, with tiny networks: refused, or the right picture.

An input is a codec's number and a .vcm file of it.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from icm.bitstream import Limits, StreamError, Times, read
from icm.codecs.groups.codec import GroupsCodec
from icm.codecs.picture import PictureCodec
from icm.codecs.release import Release
from icm.codecs.same_build import SameBuildCodec
from icm.codecs.segpic.codec import SegpicCodec
from icm.groups.lock import WrongKey
from icm.quality_map import QualityMap, Roi
from nerv.codec import NetworkDecoder
from nerv.file import NetworkFile, write_networks
from tests.fuzz.formats.base import Case, Format
from tests.fuzz.mutations import mutated
from tests.fuzz.seal import Parts, resealed
from tests.icm import conftest as pictures
from tests.icm.codecs import tiny_tcm
from tests.icm.codecs.test_segpic import tiny as tiny_segpic
from tests.icm.groups import conftest as structured
from tests.nerv import tiny as networks

LIMITS = Limits(pixels=1 << 14, side=1024, frames=64, memory_bytes=128 << 20)
KEY = bytes(range(32))
Decode = Callable[[Any], np.ndarray]


class Decodes(Format):
    name = "decodes"
    CODECS = ("sa-icm-s", "map of qualities", "clip", "changed tiles", "groups", "locked groups", "hnerv", "segpic",
              "sa-icm")  # fmt: skip
    SURE = ("sa-icm-s", "map of qualities", "clip", "changed tiles", "groups", "sa-icm")  # a section is one payload

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:  # coders keep what they read
            self._made = self._make(Path(folder))
        self.truths = [self.decode(bytes([i]) + data) for i, (data, _) in enumerate(self._made)]

    @functools.cached_property
    def parts(self) -> list[Parts]:
        return [Parts.of(data) for data, _ in self._made]

    def _make(self, folder: Path) -> list[tuple[bytes, Decode]]:
        """(an intact file, what decodes an open stream of its kind), a codec each."""
        random, original = np.random.default_rng(6), pictures.picture(70, 90)
        model = pictures.tiny_network()
        model.use_integers()
        Release.from_model(model).save(folder / "small.safetensors")
        small = PictureCodec("sa-icm-s", 60, weights=folder / "small.safetensors", tile=64, refresh=3)
        whole = PictureCodec("sa-icm-s", 60, weights=folder / "small.safetensors", tile=64, refresh=1)
        frames = [np.roll(original, shift, 1) if shift > 2 else original for shift in range(5)]
        clip = [(frame[:48, :64], i) for i, frame in enumerate(frames)]
        cells = random.integers(0, 3, (5, 6))
        groups_net = structured.tiny_network()
        groups_net.use_integers()
        groups_net.export(folder / "groups.safetensors")
        groups = GroupsCodec("groups", 30, weights=folder / "groups.safetensors", tile=128)
        mask = structured.random_mask(random, 70, 90)
        tiny_segpic().export(folder / "segpic.safetensors")
        segpic = SegpicCodec("segpic", weights=folder / "segpic.safetensors", tile=128)
        tcm = SameBuildCodec("sa-icm", weights=tiny_tcm.tiny_weights(folder), tile=128)
        square, labels = original[:40, :52], np.arange(40 * 52).reshape(40, 52) // 700
        network = write_networks("hnerv", networks.TINY, [(5, networks.tensors()), (2, networks.tensors(frames=2))],
                                 Times.constant(7, 25), "bt709", (17, 10))  # fmt: skip
        return [
            (small.encode(original), self._frames(small)),
            (small.encode(original, roi=QualityMap(Roi(16, 9), cells)), self._frames(small)),
            (whole.encode_clip(clip, Fraction(1, 25)), self._frames(whole)),
            (small.encode_clip(clip, Fraction(1, 25)), self._frames(small)),
            (groups.encode(original, mask), self._groups(groups)),
            (groups.encode(original, mask, locks=[(["person"], KEY)], base=10), self._groups(groups)),
            (network, self._network),
            (segpic.encode(square, labels), self._frames(segpic)),
            (tcm.encode(square), self._frames(tcm)),
        ]

    @staticmethod
    def _frames(codec: Any) -> Decode:
        return lambda stream: np.stack([codec.decode_frame(stream, i) for i in range(stream.header.frames)])

    @staticmethod
    def _groups(codec: GroupsCodec) -> Decode:
        return lambda stream: codec.decode_groups(stream, fill="background", keys=[KEY], strict=True).picture

    @staticmethod
    def _network(stream: Any) -> np.ndarray:
        return NetworkDecoder(NetworkFile(stream))[:]

    def case(self, random: np.random.Generator) -> Case:
        which = int(random.integers(len(self.parts)))
        parts, other = self.parts[which], self.parts[int(random.integers(len(self.parts)))]
        layer, codec = str(random.choice(["raw", "repaired", "section"], p=[0.3, 0.3, 0.4])), self.CODECS[which]
        if layer == "section":
            i = int(random.choice([i for i, section in enumerate(parts.sections) if section]))
            payload = mutated(random, parts.sections[i], other.sections[-1], range(6))
            payload = payload or b"\1"  # an empty section: a group that is not here, which is no damage
            data = parts.with_section(i, payload)
        else:
            data = mutated(random, parts.data, other.data, parts.marks)
            if data == other.data != parts.data:  # spliced, all of it: an intact file, but another one
                layer = "repaired"
            data = resealed(data) if layer == "repaired" else data
        return Case(f"{codec}, {layer}", bytes([which]) + data, self.truths[which], guarded=layer == "raw",
                    coded=layer == "section" and codec in self.SURE and data != parts.data)  # fmt: skip

    def decode(self, data: bytes) -> Any:
        """The pixels, (frames, H, W, 3)."""
        with read(data[1:], LIMITS) as stream:
            try:
                shown = self._made[data[0] % len(self._made)][1](stream)
            except WrongKey as error:
                raise AssertionError("a key that is at hand must be tried, not raised") from error
            except ValueError as error:  # documented for locked groups: the two causes cannot be told apart
                if "opens none of the locked groups" not in str(error):
                    raise
                raise StreamError(str(error)) from None
            return shown.shape, shown.tobytes()
