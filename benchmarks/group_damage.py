"""Damaged structured files through the whole decoder: refused, harmless, or silently wrong.

    python -m benchmarks.group_damage --weights groups.safetensors [PICTURES] [--files 2000] [--seed 0]

A third each: bits flipped (1 to 8), truncated, spliced with another file; half of the flips get their checksums
repaired, so that the entropy coder has to notice. Each is decoded whole (right, or refused) and with --partial: every
pixel shown outside the lost windows must be that of the intact file. Half of the files have a locked group. All in this
process, so a crash would end the run.
"""

from __future__ import annotations

import argparse
import collections
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.breakage import bits_flipped, spliced, truncated
from icm.bitstream import StreamError, read, write
from icm.groups import GroupMask, from_labels

Counts = collections.Counter[tuple[str, str]]
KINDS = ("flip", "truncation", "splice")
SLOW_S = 20.0
KEY = bytes(range(32))


def mask_of(height: int, width: int, rng: np.random.Generator) -> GroupMask:
    """Two to five rectangles on a background."""
    labels = np.zeros((height, width), np.int64)
    for label in range(1, int(rng.integers(3, 6))):
        top, left = rng.integers(0, height), rng.integers(0, width)
        labels[top : top + height // 2, left : left + width // 2] = label
    return from_labels(labels, {1: "person", 2: "car"})


def damaged(data: bytes, other: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """One damaged file."""
    if kind == "truncation":
        return truncated(data, rng)
    if kind == "splice":
        return spliced(data, other, rng)
    if kind == "flip":
        return bits_flipped(data, rng)
    with read(data) as stream:
        header, sections = stream.header, list(stream.sections())
    hit = int(rng.choice([i for i, section in enumerate(sections) if section]))
    sections[hit] = bits_flipped(sections[hit], rng)
    return write(header, sections)


def whole(codec: Any, broken: bytes, right: np.ndarray) -> str:
    """What `vcm decode` makes of it."""
    try:
        return "same picture" if np.array_equal(codec.decode(broken, keys=[KEY]), right) else "SILENTLY WRONG"
    except StreamError:
        return "refused"
    except ValueError as error:
        if "key" in str(error):
            return "refused"
        raise


def partial(codec: Any, broken: bytes, right: np.ndarray) -> str:
    """What `vcm decode --partial` makes of it."""
    try:
        with read(broken, partial=True) as stream:
            shown, lost, _ = codec.decode_partial(stream, keys=[KEY])
            missing = codec.decode_groups(stream, keys=[KEY]).missing
    except StreamError:
        return "refused"
    except ValueError as error:
        if "key" in str(error):
            return "refused"
        raise
    if missing or shown.shape != right.shape:
        return "PARTLY WRONG"
    seen = np.ones(shown.shape[:2], bool)
    for top, bottom, left, right_edge in lost:
        seen[top:bottom, left:right_edge] = False
    if not np.array_equal(shown[seen], right[seen]):
        return "PARTLY WRONG"
    return "partly shown" if lost else "shown"


def run(codec: Any, pictures: Sequence[np.ndarray], files: int, seed: int) -> Counts:
    """Outcomes by kind of damage, whole and partial in one word."""
    rng = np.random.default_rng(seed)
    masks = [mask_of(picture.shape[0], picture.shape[1], rng) for picture in pictures]
    coded = [codec.encode(picture, mask, locks=[(["person"], KEY)] if i % 2 else [], base=10 if i % 3 else None)
             for i, (picture, mask) in enumerate(zip(pictures, masks, strict=True))]  # fmt: skip
    right = [codec.decode(data, keys=[KEY] if i % 2 else []) for i, data in enumerate(coded)]
    counts: Counts = collections.Counter()
    for i in range(files):
        which, kind = int(rng.integers(len(coded))), KINDS[i % 3]
        kind = "flip, resealed" if kind == "flip" and i % 2 else kind
        broken = damaged(coded[which], coded[int(rng.integers(len(coded)))], kind, rng)
        started = time.perf_counter()
        outcome = f"{whole(codec, broken, right[which])}; partial {partial(codec, broken, right[which])}"
        slow = time.perf_counter() - started > SLOW_S
        counts[kind, outcome + ("; SLOW" if slow else "")] += 1
    return counts


def command(about: str | None, run: Callable[[Any, Sequence[np.ndarray], int, int], Counts], count: int) -> int:
    """Damage files that are made of so many pictures, print what came of it; exit code 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("pictures", nargs="?", type=Path, default=shared / "data/coco128/images/val")
    parser.add_argument("--weights", required=True, help="of `groups`")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    from icm.codecs.groups.codec import GroupsCodec
    from pipelines.media import list_pictures, read_picture

    codec = GroupsCodec("groups", 20, weights=arguments.weights)
    pictures = [read_picture(path)[:96, :128] for path in list_pictures(arguments.pictures)[:count]]
    counts = run(codec, pictures, arguments.files, arguments.seed)
    for (kind, outcome), found in sorted(counts.items()):
        print(f"{kind:<16} {found:>5}  {outcome}")
    wrong = sum(found for (_, outcome), found in counts.items() if "WRONG" in outcome or "SLOW" in outcome)
    print(f"{arguments.files} damaged files, the process alive at the end: {wrong} silently wrong or slow")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(command(__doc__, run, 16))
