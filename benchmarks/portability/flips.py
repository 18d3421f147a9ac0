"""A table index of the prior is flipped inside the decoder: is it told as a desynchronisation?

    python -m benchmarks.portability.flips [PICTURES] [--flips 2000] [--seed 0] [--codecs sa-icm-s groups ...]

A flip: of all symbols that were entropy-coded, one is drawn, uniformly, and one of the other tables of its call, both
anew until the decoder lands in another interval than the encoder's (`changes`). What it makes of the rest of the file
is up to it. Every symbol is then decoded (`verify`, what `vcm verify` calls); the file itself is intact, so only the
coder's state, and in same-build codecs the checksum of the indices, can tell. Same-build codecs are asked twice: with
the scale changed from which an index follows, which their checksum sees, and behind that checksum.
"""

from __future__ import annotations

import argparse
import collections
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from icm.bitstream import Decoder, StreamError, Tables

Verify = Callable[[], list[str]]


class Call(NamedTuple):
    """One call of Decoder.code in an undisturbed decode."""

    tables: Tables
    index: np.ndarray  # type: ignore[assignment]
    symbols: np.ndarray


@contextmanager
def decoding(code: Callable[[Decoder, Tables, Any], np.ndarray]) -> Iterator[None]:
    """Decoder.code replaced."""
    plain = Decoder.code
    Decoder.code = code  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Decoder.code = plain  # type: ignore[method-assign]


def calls_of(verify: Verify) -> list[Call]:
    """Every call of a decode. ValueError where the file is not intact."""
    verify()  # maps of a clip are decoded once a process and kept: what is flipped later is the second decode
    plain, calls = Decoder.code, list[Call]()

    def code(self: Decoder, tables: Tables, index: Any) -> np.ndarray:
        symbols = plain(self, tables, index)
        calls.append(Call(tables, np.array(index), symbols.copy()))
        return symbols

    with decoding(code):
        if problems := verify():
            raise ValueError(f"not intact: {problems[0]}")
    return calls


@functools.lru_cache(maxsize=64)
def bounds(tables: Tables) -> list[np.ndarray]:
    """L_0 … L_n of each table (icm/bitstream/README.md, "Tables")."""
    found = []
    for row in tables.rows:
        n, sums = len(row), np.concatenate([[0], np.cumsum(row, dtype=np.int64)])
        found.append(sums * ((1 << 24) - n) // (1 << 16) + np.arange(n + 1))
    return found


def interval(tables: Tables, index: int, symbol: int) -> tuple[int, int]:
    """What a symbol is decoded from."""
    last, place = int(tables.sizes[index]) - 1, symbol - int(tables.offsets[index])
    if not 0 <= place < last:
        place = last
    edges = bounds(tables)[index]
    return int(edges[place]), int(edges[place + 1])


def changes(call: Call, place: int, other: int) -> bool:
    """Whether the decoder lands in another interval than the encoder's when the index at `place` is `other`.

    Symbols are coded table after table, so such a flip moves the borders between tables: what matters are the symbols
    that come to lie in another table. Where one has the very same interval there (escapes of frequency 1), nothing has
    happened to the coder's state.
    """
    tables, index = call.tables, call.index.ravel().astype(np.int64)
    after = index.copy()
    after[place] = other
    order, again = (np.argsort(part, kind="stable") for part in (index, after))
    order, again = order[tables.sizes[index[order]] > 1], again[tables.sizes[after[again]] > 1]
    if len(order) != len(again):
        return True
    was, now, symbols = index[order], after[again], call.symbols.ravel()[order]
    for r in np.flatnonzero(was != now):
        low, high = interval(tables, int(was[r]), int(symbols[r]))
        edges = bounds(tables)[int(now[r])]
        at = int(np.searchsorted(edges, low))
        if edges[at] != low or edges[at + 1] != high:
            return True
    return False


def choose(calls: Sequence[Call], rng: np.random.Generator) -> tuple[int, int, int]:
    """(number of the call, place in it, other table): see the module."""
    coded = [np.flatnonzero(call.tables.sizes[call.index.ravel().astype(np.int64)] > 1) for call in calls]
    counts = np.array([len(places) if len(call.tables) > 1 else 0 for call, places in zip(calls, coded, strict=True)])
    while True:
        k = int(rng.choice(len(calls), p=counts / counts.sum()))
        place, other = int(rng.choice(coded[k])), int(rng.integers(len(calls[k].tables)))
        if other != int(calls[k].index.flat[place]) and changes(calls[k], place, other):
            return k, place, other


def flipped(verify: Verify, calls: Sequence[Call], k: int, place: int, other: int) -> str:
    """What a decode says when at call k the index at `place` is `other`: "desynchronised", another refusal, "SILENT".
    RuntimeError where that call is not the one that was recorded."""
    plain, count = Decoder.code, -1

    def code(self: Decoder, tables: Tables, index: Any) -> np.ndarray:
        nonlocal count
        count += 1
        if count == k:
            index = np.array(index)
            if tables.digest != calls[k].tables.digest or not np.array_equal(index, calls[k].index):
                raise RuntimeError(f"call {k} is another one than before")
            index.flat[place] = other
        return plain(self, tables, index)

    with decoding(code):
        word = said(verify)
    if count < k:
        raise RuntimeError(f"call {k} was not reached")
    return word


def said(verify: Verify) -> str:
    """One word for what a decode says."""
    try:
        problems = verify()
    except StreamError as error:
        problems = [str(error)]
    if any("desynchronised" in problem for problem in problems):
        return "desynchronised"
    return f"refused otherwise: {problems[0]}" if problems else "SILENT"


def misjudged(verify: Verify, rng: np.random.Generator) -> str:
    """A same-build decode in which one scale of one slice falls into another table: its index checksum sees it."""
    import torch

    from icm.codecs import charm
    from icm.quality import SCALE_COUNT, scale_table

    plain, seen = charm.agree, list[int]()

    def count(coder: Any, scale: Any, bits: int, encoding: bool) -> np.ndarray:
        seen.append(scale.numel())
        return plain(coder, scale, bits, encoding)

    def change(coder: Any, scale: Any, bits: int, encoding: bool) -> np.ndarray:
        if not hit[0]:
            scale = scale.clone(memory_format=torch.contiguous_format)
            flat, place = scale.view(-1), int(rng.integers(scale.numel()))
            now = int(torch.argmin((scale_table().log() - flat[place].clamp(min=1e-6).log()).abs()))
            flat[place] = float(scale_table()[int(rng.choice([i for i in range(SCALE_COUNT) if abs(i - now) > 1]))])
        hit[0] -= 1
        return plain(coder, scale, bits, encoding)

    try:
        charm.agree = count
        verify()
        hit = [int(rng.integers(len(seen)))]
        charm.agree = change
        return said(verify)
    finally:
        charm.agree = plain


def random_network(seed: int) -> bytes:
    """A file of five frames whose tensors are random ones, of both kinds."""
    from icm.bitstream import Times
    from nerv.file import write_networks
    from tests.nerv.tiny import FRAMES, TINY, tensors

    return write_networks("hnerv", TINY, [(FRAMES, tensors(seed=seed))], Times.constant(FRAMES, 10))


def subjects(pictures: Sequence[np.ndarray], folder: Path) -> Iterator[tuple[str, list[Verify], bool]]:
    """(codec, what verifies a file each, same-build)."""
    import nerv
    from benchmarks.portability.streams import group_weights, moving, quadrants
    from icm.codecs.groups.codec import GroupsCodec
    from icm.codecs.picture import PictureCodec
    from icm.codecs.same_build import SameBuildCodec
    from icm.codecs.segpic.codec import SegpicCodec
    from tests.icm.codecs.test_segpic import tiny
    from tests.icm.codecs.tiny_tcm import tiny_weights

    def of(codec: Any, files: Sequence[bytes]) -> list[Verify]:
        return [lambda data=data: codec.verify(data) for data in files]  # type: ignore[misc]

    codec = PictureCodec("sa-icm-s", 40, tile=64)
    yield "sa-icm-s", of(codec, [codec.encode(picture) for picture in pictures]), False
    frames = [[(frame, i) for i, frame in enumerate(moving(picture, 3))] for picture in pictures[:4]]
    yield "clip", of(codec, [codec.encode_clip(clip, Fraction(1, 10)) for clip in frames]), False
    groups = GroupsCodec("groups", 40, weights=group_weights(folder / "groups.safetensors"))
    yield "groups", of(groups, [groups.encode(picture, quadrants(picture)) for picture in pictures]), False
    yield "network", of(nerv.CODECS["hnerv"](), [random_network(seed) for seed in (0, 100, 200)]), False
    tcm = SameBuildCodec("sa-icm", weights=tiny_weights(folder))
    yield "sa-icm", of(tcm, [tcm.encode(picture) for picture in pictures]), True
    tiny().export(folder / "segpic.safetensors")
    segpic = SegpicCodec("segpic", weights=folder / "segpic.safetensors")
    yield "segpic", of(segpic, [segpic.encode(picture) for picture in pictures]), True


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("pictures", nargs="?", type=Path, default=shared / "data/coco128/images/val")
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codecs", nargs="+", help="these alone")
    arguments = parser.parse_args(argv)

    from benchmarks.portability.streams import middle
    from pipelines.media import list_pictures, read_picture

    pictures = [middle(read_picture(path), 96) for path in list_pictures(arguments.pictures)[:8]]
    silent = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, files, same_build in subjects(pictures, Path(folder)):
            if arguments.codecs and name not in arguments.codecs:
                continue
            rng, started = np.random.default_rng(arguments.seed), time.process_time()
            calls = [calls_of(verify) for verify in files]
            kinds = ("behind the checksum", "before it") if same_build else ("",)
            for kind in kinds:
                counts: collections.Counter[str] = collections.Counter()
                for i in range(arguments.flips):
                    which = i % len(files)
                    counts[misjudged(files[which], rng) if kind == "before it" else
                           flipped(files[which], calls[which], *choose(calls[which], rng))] += 1  # fmt: skip
                silent += counts["SILENT"]
                told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
                print(f"{name + ' ' + kind:<28} {arguments.flips} flips: {told}; "
                      f"{time.process_time() - started:.0f} s of processor", flush=True)  # fmt: skip
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
