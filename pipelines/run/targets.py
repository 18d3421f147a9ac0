"""What a folder's files become: nothing is written twice, over an input, or inside what another file becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pipelines.run.batch import Refusals

Job = tuple[Path, Path]  # source, file or folder to write


def distinct(jobs: Iterable[Job], refusals: Refusals, beside: Callable[[Path], list[Path]] | None = None) -> list[Job]:
    """The jobs that can be done side by side, in order; the others are refused, the first of two stays.

    beside: what is written next to a target, and so belongs to it.
    """
    jobs = list(jobs)
    inputs = {source.resolve() for source, _ in jobs}
    owners: dict[Path, Path] = {}  # what is written, and every folder above it → the source it comes from
    kept: list[Job] = []
    targets: set[Path] = set()
    for source, out in jobs:
        places = [out, *(beside(out) if beside else [])]
        other = next((owners[place] for place in places if place in owners), None)
        # A folder above may itself be what a clip becomes, and that is replaced as a whole.
        other = other or next((owners[folder] for folder in out.parents if folder in targets), None)
        if other is not None:
            refusals.add(source, f"would be written to {out}, as {other} is; rename one of them")
        elif out.resolve() in inputs:
            refusals.add(source, f"would be written over the input {out}; choose another -o")
        else:
            kept.append((source, out))
            targets.update(places)
            for place in places:
                owners[place] = source
                for folder in place.parents:
                    owners.setdefault(folder, source)
    return kept
