"""Damaged streams through our decoder and through CompressAI's: refused, crashed, hung, silently wrong.

    python -m benchmarks.damage_peers [PICTURES] [--streams 2000] [--seconds 10] [--seed 0]

Ours: `sa-icm-s:30`, whole files. Theirs: mbt2018-mean, quality 1, random weights, `update()`d; the two strings of a
picture, of which one is damaged (its interface has no file and no checksum; shapes stay right). The same damage for
both, a third each: 1 to 8 bits flipped, truncated, spliced with the stream of another picture. Half of our flips and
splices have every checksum repaired, so that the entropy coder alone can tell: the table shows them apart. Decodes run
in a child process, which is started again where one ends it or takes longer than --seconds. Wrong: a picture came out
that is not the right one; damage that left the bytes as they were is counted apart.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.breakage import bits_flipped, spliced, truncated

KINDS = ("flip", "truncation", "splice")
SIDE = 64


class Ours:
    """Files of `sa-icm-s`."""

    name = "ours, sa-icm-s"

    def __init__(self, pictures: Sequence[np.ndarray]) -> None:
        from icm.codecs.picture import PictureCodec

        self.codec = PictureCodec("sa-icm-s", 30)
        self.coded: list[Any] = [self.codec.encode(picture) for picture in pictures]

    def damaged(self, i: int, other: int, kind: str, seal: bool, rng: np.random.Generator) -> Any:
        """The file, or its one payload where the checksums are to fit again."""
        from icm.bitstream import read, write

        if not seal or kind == "truncation":
            return damage(self.coded[i], self.coded[other], kind, rng)
        with read(self.coded[i]) as stream, read(self.coded[other]) as second:
            return write(stream.header, [damage(stream.section(0), second.section(0), kind, rng)])

    def decode(self, data: Any) -> np.ndarray:
        """The picture; StreamError."""
        return self.codec.decode(data)


class Theirs:
    """Strings of CompressAI's mbt2018-mean."""

    name = "CompressAI, mbt2018-mean"

    def __init__(self, pictures: Sequence[np.ndarray]) -> None:
        import torch
        from compressai.zoo import mbt2018_mean

        torch.manual_seed(0)
        self.net: Any = mbt2018_mean(1, pretrained=False).eval()
        with torch.no_grad():
            self.net.g_a[-1].weight.mul_(30)  # latents of several units, as training makes them
            self.net.h_a[-1].weight.mul_(30)
        self.net.update(force=True)
        self.coded: list[Any] = [self._encode(picture) for picture in pictures]

    def _encode(self, picture: np.ndarray) -> Any:
        import torch

        with torch.inference_mode():
            found = self.net.compress(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
        return [string[0] for string in found["strings"]], tuple(found["shape"])

    def damaged(self, i: int, other: int, kind: str, seal: bool, rng: np.random.Generator) -> Any:
        """One of both strings, by their lengths."""
        (strings, shape), (second, _) = self.coded[i], self.coded[other]
        lengths = np.array([len(string) for string in strings])
        hit = int(rng.choice(len(strings), p=lengths / lengths.sum()))
        changed = damage(strings[hit], second[hit], kind, rng)
        return [changed if j == hit else string for j, string in enumerate(strings)], shape

    def decode(self, data: Any) -> np.ndarray:
        """The picture."""
        import torch

        with torch.inference_mode():
            x_hat = self.net.decompress([[string] for string in data[0]], data[1])["x_hat"]
        return (x_hat[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def damage(data: bytes, other: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """One of KINDS."""
    if kind == "flip":
        return bits_flipped(data, rng)
    return truncated(data, rng) if kind == "truncation" else spliced(data, other, rng)


def serve(subject: Any, pipe: Any) -> None:
    """In the child: decode what comes, answer in a word or with the picture."""
    import torch

    torch.set_num_threads(1)
    while True:
        try:
            pipe.send(subject.decode(pipe.recv()))
        except EOFError:
            return
        except Exception as error:  # whatever it is, it was reported
            pipe.send(f"{type(error).__name__}: {error}")


class Child:
    """A decoder in a process of its own, forked from this one, so that a new one costs nothing."""

    def __init__(self, subject: Any, seconds: float) -> None:
        self.subject, self.seconds = subject, seconds
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(self.subject, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def decode(self, data: Any) -> Any:
        """A picture, "…Error: …", "crashed (signal)", or "hung"."""
        self.pipe.send(data)
        try:
            if self.pipe.poll(self.seconds):
                return self.pipe.recv()
            outcome = "hung"
        except EOFError:
            self.process.join()
            outcome = f"crashed ({self.process.exitcode})"
        self.close()
        self._start()
        return outcome

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def outcomes(subject: Any, streams: int, seconds: float, seed: int) -> collections.Counter[tuple[str, str]]:
    """How often what came of which damage."""
    rng, child = np.random.default_rng(seed), Child(subject, seconds)
    right = [child.decode(data) for data in subject.coded]
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for n in range(streams):
        kind, seal = KINDS[n % 3], n % 2 == 1 and isinstance(subject, Ours) and KINDS[n % 3] != "truncation"
        i, other = int(rng.integers(len(right))), int(rng.integers(len(right)))
        broken = subject.damaged(i, other, kind, seal, rng)
        found = child.decode(broken)
        if isinstance(found, str):
            outcome = found.partition(" ")[0] if found.startswith(("hung", "crashed")) else "refused"
        elif broken in (subject.coded[i], subject.coded[other]):
            outcome = "undamaged"
        else:
            outcome = "the right picture" if np.array_equal(found, right[i]) else "silently wrong"
        counts[kind + (", checksums repaired" if seal else ""), outcome] += 1
    child.close()
    return counts


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("pictures", nargs="?", type=Path, default=shared / "data/coco128/images/val")
    parser.add_argument("--streams", type=int, default=2000, help="damaged ones of each (default 2000)")
    parser.add_argument("--seconds", type=float, default=10, help="after which a decode hangs (default 10)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)

    from benchmarks.portability.streams import middle
    from pipelines.media import list_pictures, read_picture

    pictures = [middle(read_picture(path), SIDE) for path in list_pictures(arguments.pictures)[:8]]
    wrong = 0
    for kind in (Ours, Theirs):
        counts = outcomes(kind(pictures), arguments.streams, arguments.seconds, arguments.seed)
        for (damaged, outcome), count in sorted(counts.items()):
            print(f"  {kind.name:<26} {damaged:<28} {outcome:<18} {count}")
        sums: collections.Counter[str] = collections.Counter()
        for (_, outcome), count in counts.items():
            sums[outcome] += count
        told = ", ".join(f"{sums[word]} {word}" for word in ("refused", "crashed", "hung", "silently wrong"))
        rest = ", ".join(f"{sums[word]} {word}" for word in ("undamaged", "the right picture") if sums[word])
        print(f"{kind.name}: {arguments.streams} damaged streams: {told}{', ' + rest if rest else ''}", flush=True)
        if kind is Ours:
            wrong = sums["silently wrong"] + sums["crashed"] + sums["hung"]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
