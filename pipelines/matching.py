"""Anchors at matched rates: the whole quality whose bytes on the data set come nearest to a target.

Bisection over a few pictures finds the neighbourhood cheaply; the neighbours are then coded on all pictures, and
the bytes of those files decide.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.datasets import Item, frames
from pipelines.codecs import build
from pipelines.notes import fingerprint, read_note, write_note
from pipelines.points import Bench

FEW = 6


def nearest(
    ladder: list[int], few: Callable[[int], int], exact: Callable[[int], int], target_few: int, target: int
) -> int:
    """The rung of `ladder` whose exact size is nearest to `target` bytes.

    `ladder` holds qualities by growing size; `few` and `exact` give the bytes of some and of all pictures.
    """
    low, high = 0, len(ladder) - 1
    while low < high:  # the first rung that reaches the target on the few
        middle = (low + high) // 2
        if few(ladder[middle]) < target_few:
            low = middle + 1
        else:
            high = middle
    at = low
    while at > 0 and exact(ladder[at]) > target:
        at -= 1
    while at < len(ladder) - 1 and exact(ladder[at]) < target:
        at += 1
    around = ladder[max(0, at - 1) : at + 1]  # sizes below and above, where both exist
    return min(around, key=lambda quality: abs(exact(quality) - target))


def match(bench: Bench, name: str, targets: list[Any]) -> list[int]:
    """The qualities of anchor `name` nearest in bytes to the `targets` (codecs whose streams exist), without repeats.

    The choice is kept beside the anchor's streams, so that a resumed run does not search again.
    """
    low, high = build(name).qualities
    settings = fingerprint(anchor=bench.stream_settings(build(name, low)),
                           targets=[bench.stream_settings(target) for target in targets])  # fmt: skip
    note_path = bench.folder / "streams" / name / "match.json"
    note = read_note(note_path, settings)
    if note is not None:
        return list(note["qualities"])
    clips = any(stream.rate is not None for stream in bench.streams(build(name, low)))
    items = bench.dataset.items if clips else bench.dataset.spread(FEW).items  # a few frames tell nothing of a clip
    pictures = [] if clips else list(frames(items))
    sizes_few: dict[int, int] = {}
    sizes: dict[int, int] = {}
    tried: list[Path] = []

    def few(quality: int) -> int:
        if clips:
            return exact(quality)
        if quality not in sizes_few:
            codec = build(name, quality)
            sizes_few[quality] = sum(len(codec.encode(picture)) for picture in pictures)
        return sizes_few[quality]

    def exact(quality: int) -> int:
        if quality not in sizes:
            codec = build(name, quality)
            folder = bench.place("streams", codec)
            if not folder.exists():
                tried.append(folder)
            sizes[quality] = bench.encode(codec)["bytes_total"]
        return sizes[quality]

    ladder = list(range(low, high + 1))
    if few(low) > few(high):
        ladder.reverse()
    chosen = {
        nearest(ladder, few, exact, _bytes(bench, target, items), _bytes(bench, target, bench.dataset.items))
        for target in targets
    }
    keep = {bench.place("streams", build(name, quality)) for quality in chosen}
    for folder in set(tried) - keep:  # coded on the way, and no point of the curve
        shutil.rmtree(folder, ignore_errors=True)
    qualities = sorted(chosen, key=ladder.index)
    write_note(note_path, settings, qualities=qualities)
    return qualities


def _bytes(bench: Bench, codec: Any, items: tuple[Item, ...]) -> int:
    """Bytes on disk of the streams that these pictures are in."""
    return sum(stream.path.stat().st_size for stream in bench.streams(codec, items))
