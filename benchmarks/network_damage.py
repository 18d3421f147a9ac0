"""Damaged video networks through the whole decoder: how many are refused, harmless, or silently wrong.

    python -m benchmarks.network_damage FILE.vcm [--files 2000] [--seed 0]

FILE is any small network (`vcm encode CLIP --codec sa-nerv:40k --steps 200 --segment 6`). A quarter each: bits flipped;
truncated; a piece cut out of the middle; bits of a section's payload flipped and its checksums repaired, so that the
tensor coder has to notice (with the few plain numbers before a payload changed, repaired checksums make another sound
file). Every frame of every file is decoded in this process, so a crash would end the run. A resealed tensor must be
named in the refusal.
"""

from __future__ import annotations

import argparse
import collections
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.breakage import bits_flipped, truncated


def broken(data: bytes, kind: str, rng: np.random.Generator) -> tuple[bytes, str]:
    """(a damaged file, the tensor that was damaged or "")."""
    from icm.bitstream import read, write
    from nerv.file import NetworkFile

    if kind == "flipped":
        return bits_flipped(data, rng), ""
    if kind == "truncated":
        return truncated(data, rng), ""
    if kind == "cut":
        first, second = sorted(rng.integers(0, len(data), 2).tolist())
        return data[:first] + data[second + 1 :], ""
    with read(data) as stream:
        header, sections = stream.header, list(stream.sections())
    with NetworkFile(data) as file:
        names = file.names
    sizes = payloads(data)
    hit = int(rng.choice(np.flatnonzero(sizes)))
    start = len(sections[hit]) - sizes[hit]
    sections[hit] = sections[hit][:start] + bits_flipped(sections[hit][start:], rng)
    return write(header, sections), names[hit % len(names)]


def payloads(data: bytes) -> list[int]:
    """Bytes of each section that the coder reads."""
    from icm.bitstream import Decoder
    from nerv.file import NetworkFile

    sizes: list[int] = []

    def noting(payload: bytes) -> Decoder:
        sizes.append(len(payload))
        return Decoder(payload)

    with mock.patch("nerv.coding.tensors.Decoder", noting), NetworkFile(data) as file:
        for segment in range(len(file.counts)):
            for name in file.names:
                file.tensor(segment, name)
    return sizes


def frames_of(data: bytes) -> list[np.ndarray]:
    from nerv.codec import NetworkCodec

    return [frame for frame, _ in NetworkCodec("sa-nerv").decode_clip(data)]


def main() -> None:
    """Damage, decode, count."""
    from icm.bitstream import StreamError

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data, rng = arguments.file.read_bytes(), np.random.default_rng(arguments.seed)
    right, slowest = frames_of(data), 0.0
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for i in range(arguments.files):
        kind = ("flipped", "truncated", "cut", "resealed")[i % 4]
        damaged, tensor = broken(data, kind, rng)
        started = time.perf_counter()
        try:
            shown: list[Any] = frames_of(damaged)
            alike = len(shown) == len(right) and all(map(np.array_equal, shown, right))
            outcome = "same frames" if alike else "WRONG FRAMES"
        except StreamError as error:
            outcome = "refused"
            if kind == "resealed":
                outcome = "refused, tensor named" if tensor in str(error) else f"REFUSED WITHOUT A NAME: {error}"
        slowest = max(slowest, time.perf_counter() - started)
        counts[kind, outcome] += 1
    for (kind, outcome), count in sorted(counts.items()):
        print(f"{kind:<12} {outcome:<24} {count}")
    print(f"{arguments.files} damaged files, the process alive at the end; slowest {slowest:.2f} s")


if __name__ == "__main__":
    main()
