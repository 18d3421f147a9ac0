"""Panoptic quality by COCO's rules (Kirillov et al. 2019, arXiv 1801.00868; the numbers of panopticapi).

P: pictures, K: classes, S: labelled segments, N: predicted segments, B: resamples.

A predicted and a labelled segment of one class match where IoU > .5; void pixels under the prediction are no part of
the union. Crowd segments match nothing; a prediction without a match is a false alarm unless more than half of it lies
in void or in its class's crowd.
    PQ = sum of IoU / (TP + FP/2 + FN/2) = SQ · RQ,   SQ = sum of IoU / TP,   RQ = TP / (TP + FP/2 + FN/2)
of each class; the figures are means over the classes that were labelled or predicted at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.metrics.scores import check_counts, check_single, single, write
from eval.metrics.sums import Sums, mean_of, quotient

IOU, TP, FP, FN = range(4)
VOID = 0


def match_segments(
    truth: np.ndarray, labels: Sequence[Mapping[str, Any]], found: np.ndarray, segments: Sequence[Mapping[str, Any]],
    place: Mapping[int, int],
) -> np.ndarray:  # fmt: skip
    """(K, 4) of one picture: sum of IoU, TP, FP, FN of each class; `place` gives the index of a category id.

    truth, found: (H, W) segment ids, 0 void. labels: COCO's segments_info (id, category_id, area, iscrowd); segments:
    id, category_id. Segments of unknown categories, and those without a pixel, count for nothing. ValueError where
    `found` holds an id without a segment or the maps differ in size.
    """
    if truth.shape != found.shape:
        raise ValueError(f"panoptic map of {found.shape[1]}x{found.shape[0]} for a picture of "
                         f"{truth.shape[1]}x{truth.shape[0]}")  # fmt: skip
    rows, columns = _index(truth, labels), _index(found, segments)
    if (columns == len(segments) + 1).any():
        odd = int(found[columns == len(segments) + 1][0])
        raise ValueError(f"panoptic map holds segment {odd}, which its list of segments lacks")
    shape = (len(labels) + 2, len(segments) + 2)
    shared = np.bincount((rows * shape[1] + columns).ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    areas = shared.sum(axis=0)[1:-1].astype(np.float64)  # (N,)
    in_void, shared = shared[0, 1:-1], shared[1:-1, 1:-1].astype(np.float64)  # (N,), (S, N)
    of_labels = np.array([place.get(label["category_id"], -1) for label in labels], int)
    of_found = np.array([place.get(segment["category_id"], -1) for segment in segments], int)
    of_found[areas == 0] = -1
    crowd = np.array([bool(label.get("iscrowd", 0)) for label in labels], bool)
    sizes = np.array([label["area"] for label in labels], np.float64)
    union = areas + sizes[:, None] - shared - in_void
    pairs = (of_labels[:, None] == of_found) & (of_labels >= 0)[:, None] & ~crowd[:, None] & (shared > 0)
    iou = np.where(pairs, np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), 0.0)
    matched = iou > 0.5
    aside = in_void.astype(np.float64)
    for category in set(of_labels[crowd].tolist()):
        last = np.flatnonzero(crowd & (of_labels == category))[-1]  # COCO has one crowd a class and picture
        aside += np.where(of_found == category, shared[last], 0.0)
    false = ~matched.any(axis=0) & (of_found >= 0) & ~(aside > 0.5 * areas)
    missed = ~matched.any(axis=1) & ~crowd & (of_labels >= 0)
    table = np.zeros((len(place), 4))
    at = np.nonzero(matched)
    np.add.at(table[:, IOU], of_labels[at[0]], iou[at])
    np.add.at(table[:, TP], of_labels[at[0]], 1)
    np.add.at(table[:, FP], of_found[false], 1)
    np.add.at(table[:, FN], of_labels[missed], 1)
    return table


def _index(ids: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Where each pixel's id stands among `segments`, from 1 on; 0: void; one more than there are: unknown."""
    known = np.array([segment["id"] for segment in segments], np.int64)
    if not len(known):
        return np.where(ids == VOID, 0, 1).astype(np.int64)
    order = np.argsort(known, kind="stable")
    at = order[np.minimum(np.searchsorted(known[order], ids), len(known) - 1)]
    return np.where(known[at] == ids, at + 1, np.where(ids == VOID, 0, len(known) + 1))


class PqScores:
    """Sums of matched pictures; `things` (K,) bool says which classes are things, the others are stuff."""

    task = "panoptic"

    def __init__(self, picture_ids: Any, class_names: Sequence[str], things: Any, sums: Sums) -> None:
        self.picture_ids = np.asarray(picture_ids, np.int64)
        self.class_names, self.things, self.sums = list(class_names), np.asarray(things, bool), sums

    def figures(self, counts: np.ndarray | None = None) -> dict[str, float | None]:
        """pq, sq, rq of all classes, pq_things, pq_stuff; percent."""
        return single(self.resample(check_single(counts, len(self.picture_ids))))

    def resample(self, counts: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As `Scores` says."""
        pq, sq, rq, present = self._classes(check_counts(counts, len(self.picture_ids)))
        parts = {"pq": (pq, present), "sq": (sq, present), "rq": (rq, present),
                 "pq_things": (pq, present & self.things), "pq_stuff": (pq, present & ~self.things)}  # fmt: skip
        return {name: 100.0 * mean_of(values, use) for name, (values, use) in parts.items()
                if names is None or name in names}  # fmt: skip

    def per_class(self) -> dict[str, dict[str, float | None]]:
        """Class name -> pq, sq, rq; None where it was neither labelled nor predicted."""
        pq, sq, rq, present = self._classes(check_single(None, len(self.picture_ids)))
        return {name: {figure: 100.0 * float(values[0, k]) if present[0, k] else None
                       for figure, values in (("pq", pq), ("sq", sq), ("rq", rq))}
                for k, name in enumerate(self.class_names)}  # fmt: skip

    def _classes(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(B, K) each: PQ, SQ (0 where nothing matched), RQ, and whether the class is there."""
        total = self.sums.total(counts)
        weight = total[..., TP] + 0.5 * total[..., FP] + 0.5 * total[..., FN]
        sq = np.nan_to_num(quotient(total[..., IOU], total[..., TP]), nan=0.0)
        return quotient(total[..., IOU], weight), sq, quotient(total[..., TP], weight), weight > 0

    def save(self, path: str | os.PathLike) -> None:
        """Write to `path`."""
        write(path, "pq", {"class_names": self.class_names},
              {"picture_ids": self.picture_ids, "things": self.things, **self.sums.arrays()})  # fmt: skip

    @classmethod
    def restore(cls, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> PqScores:
        ids, names = arrays["picture_ids"], about["class_names"]
        return cls(ids, names, arrays["things"],
                   Sums(len(ids), len(names), arrays["picture"], arrays["place"], arrays["values"]))  # fmt: skip

    @classmethod
    def join(cls, parts: Sequence[PqScores]) -> PqScores:
        if any(part.class_names != parts[0].class_names for part in parts):
            raise ValueError("scores to join have different classes")
        ids = np.concatenate([part.picture_ids for part in parts])
        return cls(ids, parts[0].class_names, parts[0].things, Sums.join([part.sums for part in parts]))
