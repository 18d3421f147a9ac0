"""Faces of `vcm privacy`: pictures or a clip in, every face of the originals with its person out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from eval.privacy.base import Detector, Face
from eval.privacy.compare import Relations
from eval.privacy.sets import Portraits, check
from eval.privacy.tracks import Tracker
from pipelines.clips import CLIPS, read_clip
from pipelines.media import read_picture
from pipelines.points import fingerprint
from pipelines.run.batch import EXPECTED, Refusals
from pipelines.run.progress import progress
from pipelines.run.provenance import sha256_file


@dataclass(frozen=True)
class FaceSet:
    """names: a picture each; faces: those of each picture; subjects: (picture, face) of every face with a person."""

    name: str
    names: tuple[str, ...]
    picture: Callable[[int], np.ndarray]
    faces: tuple[tuple[Face, ...], ...]
    subjects: tuple[tuple[int, int], ...]
    relations: Relations
    content: str  # hash of what was read
    clip: bool = False
    persons: tuple[str, ...] = ()

    @property
    def identities(self) -> int:
        """Persons who have a face here."""
        return self.relations.persons


def is_clip(spec: str) -> bool:
    """Whether `--faces` names a clip."""
    return Path(spec).suffix.lower() in CLIPS and not Path(spec).is_dir()


def shrunk(picture: np.ndarray, longest: int) -> np.ndarray:
    """At most `longest` pixels a side; 0: as it is."""
    scale = longest / max(picture.shape[:2])
    if longest <= 0 or scale >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def from_pictures(portraits: Portraits, detector: Detector, longest: int, refusals: Refusals) -> FaceSet:
    """The largest face of each picture is its person's. Pictures that cannot be read, or without a face, are refused.

    ValueError, one line, where no face is left, or one person only.
    """
    check(portraits)
    kept: list[int] = []
    faces: list[tuple[Face, ...]] = []
    hashes = []
    for index, item in enumerate(progress(portraits.items, len(portraits.items), "faces of the originals")):
        try:
            found = detector.detect(shrunk(read_picture(item.path), longest))
            if not found:
                raise ValueError(f"{item.path}: no face found by {detector.about.name}; left out")
            hashes.append([item.person, item.path.name, sha256_file(item.path)])
        except EXPECTED as error:
            refusals.add(item.path, error)
            continue
        kept.append(index)
        faces.append(tuple(found))
    if not kept:
        raise ValueError(f"{portraits.name}: no face found in any of its {len(portraits.items)} pictures by "
                         f"{detector.about.name}; first: {refusals.items[0][1]}")  # fmt: skip
    left = dataclasses.replace(portraits, items=tuple(portraits.items[i] for i in kept), pairs=_pairs(portraits, kept))
    check(left)
    persons = sorted({item.person for item in left.items})
    relations = Relations.of(np.array([persons.index(item.person) for item in left.items]))
    if left.pairs is not None:
        relations = dataclasses.replace(relations, pairs=_matrices(left.pairs, len(left.items)))
    return FaceSet(
        name=left.name, names=tuple(f"{item.person}/{item.path.stem}" for item in left.items),
        picture=lambda i: shrunk(read_picture(left.items[i].path), longest), faces=tuple(faces),
        subjects=tuple((i, 0) for i in range(len(kept))), relations=relations,
        content=fingerprint(items=hashes, longest=longest), persons=tuple(persons),
    )  # fmt: skip


def from_clip(path: Path, detector: Detector, longest: int, every: int) -> FaceSet:
    """Every `every`-th frame; persons are face tracks. ValueError, one line, where there are fewer than two."""
    frames: list[np.ndarray] = []
    faces: list[tuple[Face, ...]] = []
    tracker = Tracker()
    for index, (frame, _) in enumerate(progress(read_clip(path), None, "faces of the clip")):
        if index % every == 0:
            frames.append(shrunk(frame, longest))
            faces.append(tuple(detector.detect(frames[-1])))
            tracker.add(frames[-1], list(faces[-1]))
    number, apart = tracker.persons()
    if not any(faces):
        raise ValueError(f"{path}: no face found in {len(frames)} frames by {detector.about.name}")
    subjects = [(i, j, number[track]) for i, row in enumerate(tracker.owners)
                for j, track in enumerate(row) if track in number]  # fmt: skip
    if not apart.any():
        raise ValueError(f"{path}: one identity only: never two tracked faces in one frame, so nobody is known to be "
                         "somebody else; give a clip with two persons together, or a smaller --every")  # fmt: skip
    return FaceSet(
        name=path.stem, names=tuple(f"frame-{i * every:06d}" for i in range(len(frames))), picture=frames.__getitem__,
        faces=tuple(faces), subjects=tuple((i, j) for i, j, _ in subjects),
        relations=Relations.of(np.array([person for *_, person in subjects]), apart),
        content=fingerprint(clip=sha256_file(path), every=every, longest=longest), clip=True,
        persons=tuple(f"track {track}" for track in number),
    )  # fmt: skip


def _pairs(portraits: Portraits, kept: list[int]) -> Any:
    if portraits.pairs is None:
        return None
    place = {index: at for at, index in enumerate(kept)}
    return tuple((place[a], place[b], same) for a, b, same in portraits.pairs if a in place and b in place)


def _matrices(pairs: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """same, different: (N, N) bool, each listed pair on both sides of the diagonal."""
    table = np.zeros((2, count, count), bool)
    for a, b, same in pairs:
        table[0 if same else 1, [a, b], [b, a]] = True
    return table[0], table[1]
