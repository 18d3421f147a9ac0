"""Tracks of clips: boxes are linked frame by frame, and a sequence is scored when it is complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.datasets.base import Dataset, Item
from eval.metrics.ap import coco_results
from eval.metrics.sums import Sums
from eval.metrics.tracking import QUANTITIES, Frame, TrackScores, metrics, sequence_sums
from eval.models.tracker import Tracker


class Tracking:
    """Frames of a sequence in order, one sequence after the other or alternating; every frame of it.

    Where a prediction says `track_ids` (N,), or its rows `track_id`, those are scored; else boxes are linked by the
    tracker of eval.models, part of the measure and the same for every codec. ImportError, one line, where TrackEval is
    not installed.
    """

    def __init__(self, task: str, dataset: Dataset) -> None:
        if dataset.truth is None or task not in dataset.tasks:
            raise ValueError(f"{task}: {dataset.name} has no sequences with labelled tracks (track_id)")
        metrics()  # is it there: told now, not after hours
        self.truth, self.sequences = dataset.truth, dataset.sequences
        self.categories = sorted(row["id"] for row in self.truth.dataset["categories"])
        names = {row["id"]: str(row["name"]) for row in self.truth.dataset["categories"]}
        self.class_names = [names[category] for category in self.categories]
        self.reset()

    def reset(self) -> None:
        self.frames: dict[str, list[list[Frame]]] = {}  # sequence -> class -> frames, until it is complete
        self.trackers: dict[str, Tracker] = {}
        self.done: dict[str, np.ndarray] = {}  # sequence -> (K, QUANTITIES)

    def process(self, item: Item, original: Any, decoded: Any, prediction: Mapping[str, Any] | None) -> None:
        """Link one frame; ValueError, one line, where there is no prediction or the frame is out of order."""
        if prediction is None:
            raise ValueError(f"{item.file_name}: no prediction, and tracking needs one")
        name = item.sequence
        frames = self.frames.setdefault(name, [[] for _ in self.categories])
        expected = self.sequences.get(name, ())
        if name in self.done or len(frames[0]) >= len(expected) or expected[len(frames[0])] != item.id:
            raise ValueError(f"{item.file_name}: not the next frame of sequence {name or '(none)'}")
        rows = self._tracks(name, _rows(item, prediction))
        labels = self.truth.imgToAnns.get(item.id, [])
        for k, category in enumerate(self.categories):
            frames[k].append(_frame([row for row in rows if row["category_id"] == category],
                                    [label for label in labels if label["category_id"] == category]))  # fmt: skip
        if len(frames[0]) == len(expected):
            self.done[name] = np.stack([sequence_sums(of_class) for of_class in frames])
            del self.frames[name]
            self.trackers.pop(name, None)

    def _tracks(self, sequence: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows that belong to tracks, with `track_id`."""
        if rows and all("track_id" in row for row in rows):
            return rows
        boxes = _boxes(rows)
        boxes[:, 2:] += boxes[:, :2]
        tracker = self.trackers.setdefault(sequence, Tracker())
        ids = tracker.update(boxes, np.array([row["score"] for row in rows], np.float64),
                             np.array([row["category_id"] for row in rows], np.int64))  # fmt: skip
        return [{**row, "track_id": int(number)} for row, number in zip(rows, ids, strict=True) if number >= 0]

    def evaluate(self) -> TrackScores:
        """The complete sequences' sums, in the data set's order; ValueError where one is incomplete."""
        if self.frames:
            raise ValueError(f"tracking: sequence {min(self.frames)} is not complete")
        names = [name for name in self.sequences if name in self.done]
        sums = Sums.of([self.done[name] for name in names], len(self.categories), QUANTITIES)
        return TrackScores([self.sequences[name][0] for name in names], names, self.class_names, sums)


def _rows(item: Item, prediction: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "rows" in prediction:
        return list(prediction["rows"])
    rows = coco_results(item.id, {key: prediction[key] for key in ("boxes", "scores", "labels")})
    if prediction.get("track_ids") is not None:
        rows = [{**row, "track_id": int(t)} for row, t in zip(rows, prediction["track_ids"], strict=True)]
    return rows


def _frame(rows: list[dict[str, Any]], labels: list[dict[str, Any]]) -> Frame:
    """One class of one frame; labels without a track, and crowds, forgive what lies in them."""
    objects = [label for label in labels if "track_id" in label and not label.get("iscrowd", 0)]
    crowds = [label for label in labels if "track_id" not in label or label.get("iscrowd", 0)]
    return (np.array([label["track_id"] for label in objects], int), _boxes(objects),
            np.array([row["track_id"] for row in rows], int), _boxes(rows), _boxes(crowds))  # fmt: skip


def _boxes(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
