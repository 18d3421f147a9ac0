"""Scores: what is left of a point once its pictures are matched, so that figures of any resample cost arithmetic only.

    predictions, labels ──match once──▶ Scores ──figures(counts)──▶ {"ap": 37.4, ...}
                                          │ save, load (.npz)
                                          └──resample(counts)──▶ {"ap": (B,) ...}   the bootstrap

P: pictures, B: resamples. `counts` says how often each picture is in a resample; a picture drawn twice counts as two
pictures, the copy right behind the original. Percentages run from 0 to 100; None (nan in arrays): nothing to measure.
To add a task: a class with what `Scores` asks for, its line in `KINDS` and in `PRIMARY`.
"""

from __future__ import annotations

import importlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

PRIMARY = {
    "detection": "ap",
    "instances": "ap",
    "keypoints": "ap",
    "panoptic": "pq",
    "semantic": "miou",
    "tracking": "hota",
    "fidelity": "psnr_db",
}
"""task -> the figure that BD-rates, bands and tables are made of"""

KINDS = {  # what a file holds -> module and class that read it
    "ap": ("eval.metrics.ap_scores", "ApScores"),
    "pq": ("eval.metrics.pq", "PqScores"),
    "semantic": ("eval.metrics.semantic", "SemanticScores"),
    "tracking": ("eval.metrics.tracking", "TrackScores"),
    "fidelity": ("eval.metrics.fidelity", "FidelityScores"),
}
VERSION = 1


class Scores(Protocol):
    """Matched pictures of one task at one point."""

    task: str
    picture_ids: np.ndarray  # (P,) int64, in the data set's order

    def figures(self, counts: np.ndarray | None = None) -> dict[str, float | None]:
        """The figures of the pictures taken `counts` (P,) times each; once each where None."""

    def resample(self, counts: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Figure -> (B,) float64 for `counts` (B, P), nan where `figures` says None; only `names` where given.

        Equal to `figures` of each row, but for the order in which means are added up (1e-9).
        """

    def per_class(self) -> dict[str, dict[str, float | None]]:
        """Class name -> its figures; {} where the task has no classes."""

    def save(self, path: str | os.PathLike) -> None:
        """Write to `path`; `load` gives the same back."""


def write(path: str | os.PathLike, kind: str, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """A file of scores: arrays, and `about` (JSON) for what is no array. Whole or not at all."""
    text = json.dumps({"kind": kind, "version": VERSION, **about})
    partial, buffer = Path(f"{os.fspath(path)}.partial"), io.BytesIO()
    np.savez_compressed(buffer, about=np.array(text), **arrays)
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(buffer.getbuffer())
        os.replace(partial, path)
    except OSError as error:  # those of writing name no file
        raise OSError(f"{path}: not written ({buffer.tell()} bytes): {(error.strerror or str(error)).lower()}; make "
                      "room or choose another place") from error  # fmt: skip
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | os.PathLike) -> Any:
    """The scores of a file that `save` wrote; ValueError, one line, where it is none, and OSError where it is gone."""
    with open(path, "rb") as raw:  # numpy itself leaves a damaged one open
        try:
            with np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays.pop("about")))
            if about.pop("version") != VERSION:
                raise ValueError("version")
            module, name = KINDS[about.pop("kind")]
            return getattr(importlib.import_module(module), name).restore(about, arrays)
        except Exception:  # of a damaged archive zipfile and its decompressors raise a dozen kinds
            raise ValueError(f"{path}: is no file of scores of this version; evaluate the point again") from None


def join(parts: Sequence[Any]) -> Any:
    """The scores of parts of a data set (of one task and the same classes) as those of the whole, parts in order."""
    if not parts or any(type(part) is not type(parts[0]) or part.task != parts[0].task for part in parts):
        raise ValueError("scores to join must be of one task, and at least one")
    ids = np.concatenate([part.picture_ids for part in parts])
    if len(np.unique(ids)) != len(ids):
        raise ValueError("scores to join have pictures in common")
    return parts[0] if len(parts) == 1 else type(parts[0]).join(parts)


def check_counts(counts: np.ndarray | None, pictures: int) -> np.ndarray:
    """(B, P) int64 from None (once each), (P,) or (B, P); ValueError where they do not fit."""
    if counts is None:
        return np.ones((1, pictures), np.int64)
    rows = np.atleast_2d(np.asarray(counts))
    if rows.ndim != 2 or rows.shape[1] != pictures or rows.dtype.kind not in "iub" or (rows.size and rows.min() < 0):
        raise ValueError(f"counts of shape {np.shape(counts)}: whole numbers from 0 are needed, one a picture "
                         f"({pictures})")  # fmt: skip
    return rows.astype(np.int64)


def check_single(counts: np.ndarray | None, pictures: int) -> np.ndarray:
    """The same for one resample: (1, P) from None or (P,)."""
    return check_counts(None if counts is None else np.asarray(counts)[None], pictures)


def single(values: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """The figures of one resample: nan becomes None."""
    return {name: None if np.isnan(value[0]) else float(value[0]) for name, value in values.items()}
