"""Thousands of encodes and decodes in one process: memory and descriptors after them are those of the first hundreds.

    python -m benchmarks.soak [--count 10000] [--warm 500] [--more 500] [--largest 96]

--count pictures of ever other sizes (1 to --largest pixels a side) through the shipped `sa-icm-s`, each coded, decoded
and compared in size; then --more of each of: structured pictures (random tiny weights), clips of three frames, frames
of a network's file, and damaged files, which are refused. Growth is counted from the --warm-th on (from a fifth of the
number where that is less): until then caches fill. Exit code 1 above 50 MiB, or with any descriptor more.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

LIMIT_MIB = 50.0
Once = Callable[[int, np.random.Generator], None]


def resident_mib() -> float:
    """Memory that this process holds, now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def descriptors() -> int:
    """Open files, pipes and sockets of this process."""
    return len(os.listdir("/proc/self/fd"))


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8: a slope, an edge, some noise."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([3 * x + y, 4 * y, 2 * x + 2 * y], -1) % 200 + 60 * (x > width * rng.random())[..., None]
    return (base + rng.integers(-8, 9, base.shape)).clip(0, 255).astype(np.uint8)


def pictures(largest: int) -> Once:
    import icm

    def once(i: int, rng: np.random.Generator) -> None:
        picture = texture(rng, *rng.integers(1, largest + 1, 2))
        data = icm.encode(picture, codec=f"sa-icm-s:{1 + i % 100}")
        if icm.decode(data).shape != picture.shape:
            raise AssertionError(f"{picture.shape} came back as another size")

    return once


def groups(folder: Path) -> Once:
    from icm.codecs.groups.codec import GroupsCodec
    from icm.groups import from_labels
    from tests.icm.groups.conftest import tiny_network

    model = tiny_network()
    model.use_integers()
    model.export(folder / "groups.safetensors")
    codec = GroupsCodec("groups", 30, weights=folder / "groups.safetensors")

    def once(i: int, rng: np.random.Generator) -> None:
        picture = texture(rng, *rng.integers(33, 97, 2))
        labels = np.zeros(picture.shape[:2], np.int64)
        labels[8 : 8 + i % 40, 8:32] = 1
        data = codec.encode(picture, groups=from_labels(labels, {1: "person"}, 16))
        if codec.decode(data).shape != picture.shape:
            raise AssertionError(f"{picture.shape} came back as another size")

    return once


def clips() -> Once:
    import icm

    def once(i: int, rng: np.random.Generator) -> None:
        codec = icm.CODECS["sa-icm-s"](20 + i % 60)
        picture = texture(rng, *rng.integers(16, 65, 2))
        frames = [(np.roll(picture, k, 1), 10 * k) for k in range(3)]
        data = codec.encode_clip(iter(frames), Fraction(1, 100))
        if len(list(codec.decode_clip(data, 0, 3))) != 3:
            raise AssertionError("a frame is missing")

    return once


def networks(folder: Path) -> Once:
    import nerv
    from icm.bitstream import Times
    from nerv.file import write_networks
    from tests.nerv.tiny import FRAMES, TINY, tensors

    times = Times.of(range(0, 10 * FRAMES, 10), Fraction(1, 100))
    path = folder / "network.vcm"

    def once(i: int, rng: np.random.Generator) -> None:
        path.write_bytes(write_networks("hnerv", TINY, [(FRAMES, tensors(seed=i))], times, "bt709", (17, 10)))
        with nerv.open(path) as video:
            if video[i % FRAMES].shape != (10, 17, 3):
                raise AssertionError("a frame of another size")

    return once


def damaged(folder: Path) -> Once:
    import icm
    from icm.bitstream import StreamError

    whole = icm.encode(texture(np.random.default_rng(0), 64, 48), codec="sa-icm-s:30")
    path = folder / "damaged.vcm"

    def once(i: int, rng: np.random.Generator) -> None:
        torn = bytearray(whole[: rng.integers(8, len(whole))] if i % 2 else whole)
        torn[rng.integers(0, len(torn))] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(torn)
        try:
            icm.decode(path)
        except StreamError:
            return
        raise AssertionError("damage was not told")

    return once


def soak(once: Once, count: int, warm: int, seed: int = 0) -> dict[str, Any]:
    """Call it `count` times; growth since the `warm`-th call: largest and last, in MiB, and descriptors more."""
    rng, start, held = np.random.default_rng(seed), time.monotonic(), list[float]()
    base, opened, most = 0.0, 0, 0
    for i in range(count):
        once(i, rng)
        if i + 1 == warm:
            gc.collect()
            base, opened = resident_mib(), descriptors()
        elif i + 1 > warm and (i % 50 == 0 or i + 1 == count):
            held.append(resident_mib())
            most = max(most, descriptors())
    gc.collect()
    return {"count": count, "warm": warm, "seconds": time.monotonic() - start, "start_mib": base,
            "growth_mib": max(held) - base, "last_mib": resident_mib() - base,
            "descriptors": opened, "more_descriptors": max(most, descriptors()) - opened}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--warm", type=int, default=500)
    parser.add_argument("--more", type=int, default=500)
    parser.add_argument("--largest", type=int, default=96)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    good = True
    print("| what | calls | seconds | MiB at the start | largest growth | at the end | descriptors | more |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = {"pictures": lambda: pictures(arguments.largest), "groups": lambda: groups(folder), "clips": clips,
                 "networks": lambda: networks(folder), "damaged": lambda: damaged(folder)}  # fmt: skip
        for kind, make in kinds.items():
            count = arguments.count if kind == "pictures" else arguments.more
            found = soak(make(), count, min(arguments.warm, count // 5))
            print(f"| {kind} | {count:,} | {found['seconds']:.0f} | {found['start_mib']:.0f} | "
                  f"{found['growth_mib']:.1f} | {found['last_mib']:.1f} | {found['descriptors']} | "
                  f"{found['more_descriptors']} |", flush=True)  # fmt: skip
            good &= found["growth_mib"] <= LIMIT_MIB and found["more_descriptors"] <= 0
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
