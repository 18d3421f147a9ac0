"""COCO's average precision as scores: matched once, accumulated for any resample of the pictures.

P: pictures, K: classes, A: ranges of area, T: 10 thresholds, R: 101 recalls, B: resamples.

    Matched ──of──▶ ApScores ──precision_curves──▶ precision (T, R, K, A) ──mean──▶ AP
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from eval.metrics.matching import RULES, THRESHOLDS, Matched
from eval.metrics.precision_curves import RECALLS, Events, curves, ordered
from eval.metrics.scores import check_counts, check_single, write
from eval.metrics.sums import Sums

FIGURES = {  # name -> (range of area, index of the threshold; None: the mean over all)
    "ap": ("all", None), "ap50": ("all", 0), "ap75": ("all", 5),
    "ap_small": ("small", None), "ap_medium": ("medium", None), "ap_large": ("large", None),
}  # fmt: skip


class ApScores:
    """Detections and objects of matched pictures. Arrays are those of `Matched`, over all pictures, with the picture's
    index; class_names (K,)."""

    def __init__(self, task: str, picture_ids: Any, class_names: Sequence[str], arrays: Mapping[str, np.ndarray]):
        self.task, self.class_names = task, list(class_names)
        self.picture_ids = np.asarray(picture_ids, np.int64)
        self.arrays = dict(arrays)
        self.areas = RULES[task].areas
        self._events: dict[tuple[int, int, int], Events] = {}

    @classmethod
    def of(cls, task: str, picture_ids: Any, class_names: Sequence[str], pictures: Sequence[Matched]) -> ApScores:
        """From matched pictures, in the order of their ids."""
        areas = len(RULES[task].areas)

        def every(name: str, empty: np.ndarray, axis: int = 0) -> np.ndarray:
            return np.concatenate([empty, *(getattr(matched, name) for matched in pictures)], axis=axis)

        index = np.arange(len(pictures), dtype=np.int32)
        return cls(task, picture_ids, class_names, {
            "picture": np.repeat(index, [len(matched.scores) for matched in pictures]),
            "classes": every("classes", np.zeros(0, np.int16)),
            "scores": every("scores", np.zeros(0)),
            "found": every("found", np.zeros((areas, 0), np.uint16), 1),
            "false": every("false", np.zeros((areas, 0), np.uint16), 1),
            "object_picture": np.repeat(index, [len(matched.object_classes) for matched in pictures]),
            "object_classes": every("object_classes", np.zeros(0, np.int16)),
            "counted": every("counted", np.zeros((0, areas), bool)),
        })  # fmt: skip

    def figures(self, counts: np.ndarray | None = None) -> dict[str, float | None]:
        """ap, ap50, ap75, ap_small (not of keypoints), ap_medium, ap_large: to the last digit what pycocotools'
        summarize gives, in percent; None for its -1."""
        table = self._table(check_single(counts, len(self.picture_ids)))
        return {name: _mean(table[:, :, :, self.areas.index(area)], threshold) for name, (area, threshold) in
                FIGURES.items() if area in self.areas}  # fmt: skip

    def per_class(self) -> dict[str, dict[str, float | None]]:
        """Class name -> the same figures, of that class alone."""
        table = self._table(check_single(None, len(self.picture_ids)))
        return {class_name: {name: _mean(table[:, :, k, self.areas.index(area)], threshold) for
                             name, (area, threshold) in FIGURES.items() if area in self.areas}
                for k, class_name in enumerate(self.class_names)}  # fmt: skip

    def _table(self, counts: np.ndarray) -> np.ndarray:
        """Precision (T, R, K, A) of one resample (1, P); -1 where a class has no object."""
        table = np.full((len(THRESHOLDS), len(RECALLS), len(self.class_names), len(self.areas)), -1.0)
        objects, counts = self._objects(counts), counts.astype(np.int32)
        for k, a in zip(*np.nonzero(objects[0]), strict=True):
            table[:, :, k, a] = 0.0
            for steps, precision, _ in curves(self._events_of(k, a, counts), counts, objects[:, k, a]):
                for t in range(len(THRESHOLDS)):
                    read = np.repeat(precision[0, t], steps[0, t])
                    table[t, : len(read), k, a] = read
        return table

    def resample(self, counts: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As `Scores` says; a class without objects in a resample is left out of its mean."""
        rows = check_counts(counts, len(self.picture_ids)).astype(np.int32)
        objects = self._objects(rows)
        wanted = {name: what for name, what in FIGURES.items()
                  if what[0] in self.areas and (names is None or name in names)}  # fmt: skip
        found = {}
        for area in dict.fromkeys(area for area, _ in wanted.values()):
            a = self.areas.index(area)
            total, present = np.zeros((len(rows), len(THRESHOLDS))), np.zeros(len(rows))
            for k in range(len(self.class_names)):
                present += objects[:, k, a] > 0
                for steps, precision, some in curves(self._events_of(k, a, rows), rows, objects[:, k, a]):
                    total[some] += np.einsum("btm,btm->bt", steps, precision)
            with np.errstate(invalid="ignore", divide="ignore"):
                means = 100.0 * total / len(RECALLS) / np.where(present > 0, present, np.nan)[:, None]
            for name, (of, threshold) in wanted.items():
                if of == area:
                    found[name] = means.mean(axis=1) if threshold is None else means[:, threshold]
        return {name: found[name] for name in wanted}

    @cached_property
    def _to_find(self) -> Sums:
        values = self.arrays
        return Sums(len(self.picture_ids), len(self.class_names), values["object_picture"], values["object_classes"],
                    values["counted"].astype(np.float64))  # fmt: skip

    def _objects(self, counts: np.ndarray) -> np.ndarray:
        """(B, K, A) objects to be found."""
        return self._to_find.total(counts).astype(np.int64)  # whole numbers, so exact

    def _events_of(self, k: int, a: int, counts: np.ndarray) -> Events:
        """The order of a class in a range, made once for each number of copies that equal scores ask for."""
        order, ties = self._order[k]
        copies = int(counts.max(initial=1)) if ties else 1
        if (k, a, copies) not in self._events:
            values = self.arrays
            self._events[k, a, copies] = ordered(
                values["picture"][order], values["scores"][order], values["found"][a][order],
                values["false"][a][order], len(THRESHOLDS), copies,
            )  # fmt: skip
        return self._events[k, a, copies]

    @cached_property
    def _order(self) -> list[tuple[np.ndarray, bool]]:
        """Of each class: its detections by falling score, then picture id; whether one picture has equal scores."""
        rank = np.argsort(np.argsort(self.picture_ids, kind="stable"), kind="stable")[self.arrays["picture"]]
        order = np.lexsort((rank, -self.arrays["scores"], self.arrays["classes"]))  # stable: as listed within a picture
        classes, scores, rank = self.arrays["classes"][order], self.arrays["scores"][order], rank[order]
        ends = np.searchsorted(classes, np.arange(len(self.class_names) + 1))
        equal = np.r_[False, (np.diff(scores) == 0) & (np.diff(rank) == 0) & (np.diff(classes) == 0)]
        return [(order[low:high], bool(equal[low:high].any())) for low, high in pairwise(ends)]

    def save(self, path: str | os.PathLike) -> None:
        """Write to `path`."""
        about = {"task": self.task, "class_names": self.class_names}
        write(path, "ap", about, {"picture_ids": self.picture_ids, **self.arrays})

    @classmethod
    def restore(cls, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ApScores:
        rest = {name: value for name, value in arrays.items() if name != "picture_ids"}
        return cls(about["task"], arrays["picture_ids"], about["class_names"], rest)

    @classmethod
    def join(cls, parts: Sequence[ApScores]) -> ApScores:
        if any(part.class_names != parts[0].class_names for part in parts):
            raise ValueError("scores to join have different classes")
        starts = np.cumsum([0, *(len(part.picture_ids) for part in parts)])
        arrays = {}
        for name in parts[0].arrays:
            shifted = [part.arrays[name] + np.int32(start) if name.endswith("picture") else part.arrays[name]
                       for part, start in zip(parts, starts, strict=False)]  # fmt: skip
            arrays[name] = np.concatenate(shifted, axis=1 if name in ("found", "false") else 0)
        return cls(parts[0].task, np.concatenate([part.picture_ids for part in parts]), parts[0].class_names, arrays)


def _mean(table: np.ndarray, threshold: int | None) -> float | None:
    """The mean, in percent, of what is there; in the order in which pycocotools adds up."""
    values = table if threshold is None else table[[threshold]]
    values = values[values > -1]
    return 100.0 * float(np.mean(values)) if values.size else None
