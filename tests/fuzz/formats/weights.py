"""Weights of image codecs: safetensors, read by `Release.load`, and made into a coder where their hash is right."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from icm.codecs.release import Release
from icm.codecs.sa_icm_s import SaIcmS
from tests.fuzz.formats.base import Case, Format, Wrong
from tests.fuzz.mutations import mutated

SETTINGS: dict[str, Any] = {"latent": 4, "hyper": 2, "prior_width": 4, "widths": (4, 4, 4), "depths": (1, 1, 1)}
VALUES = (0, -1, 1, 2, 2**31, 2**64, 1.5, "4", None, [], [4, 4], {}, [4, 4, 4, 4], True)


def tiny_release() -> Release:
    torch.manual_seed(2)
    model = SaIcmS(**SETTINGS).eval()
    model.use_integers()
    return Release.from_model(model)


@functools.lru_cache(maxsize=64)
def _serves(digest: bytes, load: Callable[[], Release]) -> bool:
    """Makes the coder, once for each content."""
    load().picture_coder()
    return True


class Content:
    """What a cache may keep: equal whatever the release."""

    def __init__(self, release: Release) -> None:
        self.release = release

    def __call__(self) -> Release:
        return self.release

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content)

    def __hash__(self) -> int:
        return 0


class Weights(Format):
    name = "weights"
    errors = (ValueError,)

    def __init__(self) -> None:
        memory = Path("/dev/shm")  # a file an input: on a disk that is most of the time
        self._folder = tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)
        self.path = Path(self._folder.name) / "w.safetensors"
        self.release = tiny_release()
        self.data = self.written(self.release)
        self.length = int.from_bytes(self.data[:8], "little")
        self.truth = self.decode(self.data)

    def written(self, release: Release) -> bytes:
        release.save(self.path)
        return self.path.read_bytes()

    def case(self, random: np.random.Generator) -> Case:
        data, body = self.data, 8 + self.length
        layer = str(random.choice(["raw", "header", "tensors", "hash repaired"], p=[0.3, 0.5, 0.19, 0.01]))
        if layer == "raw":
            return Case(layer, mutated(random, data, data, [*range(8), body, len(data)]), self.truth, guarded=True)
        if layer == "header":
            header = mutated(random, data[8:body], data[8:body], self.words)
            return Case(layer, len(header).to_bytes(8, "little") + header + data[body:], self.truth, guarded=True)
        if layer == "tensors":
            tensors = mutated(random, data[body:], data[body:])
            tensors = tensors[: len(data) - body].ljust(len(data) - body, b"\0")  # so that the offsets fit
            return Case(layer, data[:body] + tensors, self.truth, guarded=True)
        return Case(layer, self._other(random), self.truth)

    @functools.cached_property
    def words(self) -> list[int]:
        """Places of the header where a name, a number or a list begins."""
        header = self.data[8 : 8 + self.length]
        return [i + 1 for i, byte in enumerate(header) if byte in b'":,[{']

    def _other(self, random: np.random.Generator) -> bytes:
        """A whole file of something that is almost such weights, with the right hash."""
        tensors, settings, arch = dict(self.release.tensors), dict(self.release.settings), self.release.arch
        name, other = (str(random.choice(sorted(tensors))) for _ in range(2))
        tensor = tensors[name]
        match int(random.integers(8)):
            case 0:
                del tensors[name]
            case 1:
                tensors[name] = tensors[other].clone()
            case 2:
                kinds = (torch.float16, torch.int8, torch.int64, torch.bool, torch.bfloat16)
                tensors[name] = tensor.to(kinds[int(random.integers(5))])
            case 3:
                tensors[name] = tensor.reshape(-1)[: int(random.integers(tensor.numel() + 1))].clone()
            case 4:
                tensors[name] = torch.full_like(tensor, int(random.choice([0, -1, 100])))
            case 5:
                settings[str(random.choice(sorted(settings)))] = VALUES[int(random.integers(len(VALUES)))]
            case 6:
                settings["another"] = 1
            case _:
                arch = str(random.choice(["", "tcm", "groups", "segpic", "lic", "no such", "../sa-icm-s"]))
        return self.written(Release(tensors, json.loads(json.dumps(settings)), arch))

    def decode(self, data: bytes) -> Any:
        """The hash, of weights that load and make a coder."""
        self.path.write_bytes(data)
        release = Release.load(self.path)
        if Release(release.tensors, release.settings, release.arch).hash != release.hash:
            raise Wrong("a hash that is not that of the content")
        _serves(release.hash, Content(release))
        return release.hash
