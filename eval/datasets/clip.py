"""Clips without labels: every frame of a video file, or of each in a folder, is a picture of a sequence.

Labels may be added later from a model's own results on the uncompressed frames (pseudo-labels).
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from eval.datasets.base import Dataset, Item
from eval.datasets.reading import CLIPS, Yuv, frames, nominal_rate, open_clip

RAW_RATE = Fraction(25)  # where nothing tells, as players take it


def clip(
    images: str | Path, annotations: str | Path | None = None, every: int = 1, limit: int | None = None
) -> Dataset:
    """Every `every`-th frame from the first, at most `limit` of each clip; clips in the order of their names.

    Frames are counted by their packets, without decoding; the first is decoded for the size. ValueError, one line.
    """
    if annotations is not None:
        raise ValueError(f"{annotations}: clips have no annotations here; MOTChallenge's layout is --dataset mot")
    if every < 1 or (limit is not None and limit < 1):
        raise ValueError(f"every={every}, max={limit}: whole numbers from 1 are needed")
    root = Path(images)
    paths = [root] if root.is_file() else sorted(
        path for path in root.rglob("*") if path.suffix.lower() in CLIPS and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts))  # fmt: skip
    if not paths:
        what = f"holds no clips ({', '.join(sorted(CLIPS))})" if root.is_dir() else "no such clip or folder of clips"
        raise ValueError(f"{root}: {what}")
    if root.is_file() and root.suffix.lower() not in CLIPS:
        raise ValueError(f"{root}: is no clip by its name ({', '.join(sorted(CLIPS))})")
    base = root.parent if root.is_file() else root
    items: list[Item] = []
    rates: dict[str, Fraction] = {}
    for path in paths:
        name = path.relative_to(base).as_posix()
        count, rate = count_frames(path)
        height, width = next(frames([Item(0, name, path)])).shape[:2]
        rates[name] = rate / every
        for index in list(range(0, count, every))[:limit]:
            items.append(Item(len(items), f"{name}/{index:06d}", path, width, height, name, index))
    return Dataset(root.stem if root.is_file() else root.resolve().name, tuple(items), rate=rates)


def count_frames(path: Path) -> tuple[int, Fraction]:
    """(frames, frames a second) of a clip, from its packets or its size. ValueError: it has none."""
    if path.suffix.lower() == ".yuv":
        count, rate = Yuv.of(path).count, Fraction(str(nominal_rate(path) or RAW_RATE))
    else:
        import av

        with open_clip(path) as container:
            stream = container.streams.video[0]
            rate = Fraction(stream.average_rate or stream.guessed_rate or RAW_RATE)
            try:
                count = sum(packet.size > 0 for packet in container.demux(stream))
            except av.FFmpegError as error:
                raise ValueError(f"{path}: truncated or damaged ({error})") from None
    if not count:
        raise ValueError(f"{path}: holds no frames")
    return count, rate
