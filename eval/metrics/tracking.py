"""MOTA, IDF1 and HOTA of tracks, by TrackEval (the code of the HOTA paper, Luiten et al. 2020, arXiv 2009.07736).

S: sequences, K: classes, A: 19 thresholds of HOTA (IoU .05 to .95), B: resamples. MOTA and IDF1 match at IoU .5.

All that these figures need of a sequence adds up over sequences, so resampling sequences is a sum:
    MOTA = (TP − FP − switches) / labelled,  IDF1 = IDTP / (IDTP + IDFP/2 + IDFN/2),
    HOTA = mean over thresholds of √(DetA · AssA),  DetA = TP / (TP + FP + FN),  AssA = Σ association / TP
Figures are means over the classes with labelled objects. TrackEval is an optional package.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.metrics.scores import check_counts, check_single, single, write
from eval.metrics.sums import Sums, mean_of

INSTALL = "tracking: needs TrackEval: pip install --no-deps trackeval"
HOTA_SUMS = ("HOTA_TP", "HOTA_FN", "HOTA_FP", "AssA")  # (A,) each; AssA times TP
CLEAR_SUMS = ("CLR_TP", "CLR_FN", "CLR_FP", "IDSW")
IDENTITY_SUMS = ("IDTP", "IDFN", "IDFP")
THRESHOLDS = 19
QUANTITIES = len(HOTA_SUMS) * THRESHOLDS + len(CLEAR_SUMS) + len(IDENTITY_SUMS)
Frame = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""labelled ids (G,), labelled boxes (G, 4), track ids (N,), boxes (N, 4), crowds (C, 4); boxes xywh in pixels"""


def metrics() -> tuple[Any, Any, Any]:
    """TrackEval's HOTA, CLEAR and Identity; ImportError, one line, where it is not installed."""
    with contextlib.redirect_stdout(io.StringIO()):  # it tells on import what else it lacks
        try:
            from trackeval.metrics import CLEAR, HOTA, Identity
        except ImportError as error:
            raise ImportError(INSTALL) from error
        quiet = {"PRINT_CONFIG": False}
        return HOTA(), CLEAR(quiet), Identity(quiet)


def sequence_sums(frames: Sequence[Frame]) -> np.ndarray:
    """(QUANTITIES,) of one sequence and class. Tracks that match no object (IoU .5) and lie by more than half in a
    crowd are taken out first."""
    from scipy.optimize import linear_sum_assignment

    labelled, tracked, similar = [], [], []
    for ids, objects, numbers, boxes, crowds in frames:
        similarity = iou(objects, boxes)
        in_crowd = (iou(boxes, crowds, crowd=True) > 0.5).any(axis=1)
        if in_crowd.any():
            near = np.where(similarity >= 0.5, similarity, 0.0)
            rows, columns = linear_sum_assignment(-near)
            in_crowd[columns[near[rows, columns] > 0]] = False
        labelled.append(np.asarray(ids))
        tracked.append(np.asarray(numbers)[~in_crowd])
        similar.append(similarity[:, ~in_crowd])
    gt_ids, gt_count = _renumber(labelled)
    tracker_ids, tracker_count = _renumber(tracked)
    data = {
        "gt_ids": gt_ids, "tracker_ids": tracker_ids, "similarity_scores": similar, "num_timesteps": len(frames),
        "num_gt_ids": gt_count, "num_tracker_ids": tracker_count, "num_gt_dets": sum(map(len, gt_ids)),
        "num_tracker_dets": sum(map(len, tracker_ids)),
    }  # fmt: skip
    hota, clear, identity = (metric.eval_sequence(data) for metric in metrics())
    hota["AssA"] = hota["AssA"] * hota["HOTA_TP"]
    parts = [hota[name] for name in HOTA_SUMS]
    parts += [[clear[name]] for name in CLEAR_SUMS] + [[identity[name]] for name in IDENTITY_SUMS]
    return np.concatenate([np.asarray(part, np.float64) for part in parts])


def iou(a: np.ndarray, b: np.ndarray, crowd: bool = False) -> np.ndarray:
    """(A, B) intersection over union of boxes xywh; where b are crowds, over the area of a."""
    from pycocotools import mask as coder

    a, b = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (a, b))
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    return np.asarray(coder.iou(a, b, [int(crowd)] * len(b)))


def _renumber(frames: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """The ids of every frame as numbers from 0 on, and how many there are."""
    every, places = np.unique(np.concatenate([np.zeros(0, int), *frames]).astype(int), return_inverse=True)
    ends = np.cumsum([len(frame) for frame in frames])
    return np.split(places.reshape(-1), ends[:-1]), len(every)


class TrackScores:
    """Sums of sequences. `picture_ids` (S,) are the ids of the sequences' first pictures, `sequences` their names."""

    task = "tracking"

    def __init__(self, picture_ids: Any, sequences: Sequence[str], class_names: Sequence[str], sums: Sums) -> None:
        self.picture_ids, self.sums = np.asarray(picture_ids, np.int64), sums
        self.sequences, self.class_names = list(sequences), list(class_names)

    def figures(self, counts: np.ndarray | None = None) -> dict[str, float | None]:
        """mota (down to minus infinity), idf1, hota; percent."""
        return single(self.resample(check_single(counts, len(self.picture_ids))))

    def resample(self, counts: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As `Scores` says, of sequences."""
        values, labelled = self._classes(check_counts(counts, len(self.picture_ids)))
        return {name: 100.0 * mean_of(value, labelled > 0) for name, value in values.items()
                if names is None or name in names}  # fmt: skip

    def per_class(self) -> dict[str, dict[str, float | None]]:
        """Class name -> the same; None where nothing is labelled."""
        values, labelled = self._classes(check_single(None, len(self.picture_ids)))
        return {class_name: {name: 100.0 * float(value[0, k]) if labelled[0, k] else None
                             for name, value in values.items()}
                for k, class_name in enumerate(self.class_names)}  # fmt: skip

    def per_sequence(self) -> dict[str, dict[str, float | None]]:
        """Sequence -> its figures."""
        rows = self.resample(np.eye(len(self.picture_ids), dtype=np.int64))
        return {sequence: single({name: value[place : place + 1] for name, value in rows.items()})
                for place, sequence in enumerate(self.sequences)}  # fmt: skip

    def _classes(self, counts: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """(B, K) of every figure as a share, and (B, K) labelled boxes."""
        total = self.sums.total(counts)
        wide = len(HOTA_SUMS) * THRESHOLDS
        tp, fn, fp, together = np.moveaxis(total[..., :wide].reshape(*total.shape[:2], len(HOTA_SUMS), -1), 2, 0)
        hota = np.sqrt(tp / np.maximum(1, tp + fn + fp) * (together / np.maximum(1, tp))).mean(axis=-1)
        found, missed, false, switches, idtp, idfn, idfp = np.moveaxis(total[..., wide:], 2, 0)
        return {
            "mota": (found - false - switches) / np.maximum(1, found + missed),
            "idf1": idtp / np.maximum(1, idtp + 0.5 * idfp + 0.5 * idfn),
            "hota": hota,
        }, found + missed  # fmt: skip

    def save(self, path: str | os.PathLike) -> None:
        """Write to `path`."""
        write(path, "tracking", {"sequences": self.sequences, "class_names": self.class_names},
              {"picture_ids": self.picture_ids, **self.sums.arrays()})  # fmt: skip

    @classmethod
    def restore(cls, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TrackScores:
        ids, names = arrays["picture_ids"], about["class_names"]
        sums = Sums(len(ids), len(names), arrays["picture"], arrays["place"], arrays["values"])
        return cls(ids, about["sequences"], names, sums)

    @classmethod
    def join(cls, parts: Sequence[TrackScores]) -> TrackScores:
        if any(part.class_names != parts[0].class_names for part in parts):
            raise ValueError("scores to join have different classes")
        sequences = [name for part in parts for name in part.sequences]
        return cls(np.concatenate([part.picture_ids for part in parts]), sequences, parts[0].class_names,
                   Sums.join([part.sums for part in parts]))  # fmt: skip
