"""Precision along recall for many resamples of the pictures at once.

B: resamples, M: events, F: false alarms between them, T: thresholds, P: pictures.

A resample changes only how often a detection counts, so the order of detections is fixed, and along it
  tp, fp ──cumulate──▶ precision tp/(tp+fp) ──largest of what follows──▶ read at 101 recalls
is done with counts as weights, on the same whole numbers and with the same float64 operations as pycocotools. A copy of
a picture is another picture right behind it: detections with equal scores go by picture, copies one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

RECALLS = np.linspace(0.0, 1.0, 101)
CHUNK = 1 << 18  # numbers in a temporary array: what fits a cache is several times as fast


@dataclass(frozen=True)
class Events:
    """Detections of one class by falling score.

    Those that are false alarms at every threshold are only counted between the others, the events. `copy` -1: counts as
    often as its picture does; c: only where the picture's copy number c is there (see `ordered`).
    """

    picture: np.ndarray  # (M,) index
    copy: np.ndarray  # (M,)
    found: np.ndarray  # (T, M) bool: an object found
    false: np.ndarray  # (T, M) bool: a false alarm
    between: np.ndarray  # (F,) pictures of the false alarms
    between_copy: np.ndarray  # (F,)
    before: np.ndarray  # (M,) how many of them come before each event


def ordered(
    picture: np.ndarray, scores: np.ndarray, found: np.ndarray, false: np.ndarray, thresholds: int, copies: int
) -> Events:
    """Events from detections in order; bit t of `found` and `false` says what each is at threshold t.

    Detections of equal score in one picture are written out once for each of its `copies`, as they alternate there.
    """
    use = (found | false) != 0  # the others are ignored throughout
    picture, scores, found, false = picture[use], scores[use], found[use], false[use]
    which, copy = _copied(picture, scores, copies)
    picture, found, false = picture[which], found[which], false[which]
    plain = (found == 0) & (false == (1 << thresholds) - 1)
    bit = np.arange(thresholds)[:, None]
    return Events(picture[~plain], copy[~plain], (found[~plain] >> bit & 1).astype(bool),
                  (false[~plain] >> bit & 1).astype(bool), picture[plain], copy[plain],
                  np.cumsum(plain)[~plain])  # fmt: skip


def curves(events: Events, counts: np.ndarray, objects: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
    """Chunks of (how many of the 101 recalls are read at each event (b, T, M), the precision there, which resamples).

    counts (B, P) int32, objects (B,) to be found. At an event those recalls are read that lie above the previous
    event's and up to its own; the precision is the largest from there on. (Between events recall does not rise and
    precision only falls, so nothing is read there; r = 0 is read at the first event, from which the largest is the
    same.)
    """
    if not len(events.picture):
        return
    length = max(1, CHUNK // (len(events.found) * len(events.picture) + len(events.between)))
    for start in range(0, len(counts), length):
        some = slice(start, start + length)
        times = _times(counts[some], events.picture, events.copy)
        passed = np.zeros((len(times), len(events.between) + 1), np.int32)
        np.cumsum(_times(counts[some], events.between, events.between_copy), axis=1, out=passed[:, 1:])
        tp = np.cumsum(times[:, None] * events.found, axis=2, dtype=np.int32)
        fp = np.cumsum(times[:, None] * events.false, axis=2, dtype=np.int32)
        fp += passed[:, None, events.before]
        precision = tp / (fp + tp + np.spacing(1))
        precision = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
        recall = tp / np.maximum(objects[some], 1)[:, None, None]
        steps = np.diff(np.searchsorted(RECALLS, recall, side="right"), axis=2, prepend=0)
        yield steps * (objects[some] > 0)[:, None, None], precision, some


def _times(counts: np.ndarray, picture: np.ndarray, copy: np.ndarray) -> np.ndarray:
    """(B, M) how often each detection counts."""
    times = np.take(counts, picture, axis=1)
    single = copy >= 0
    if single.any():
        times[:, single] = times[:, single] > copy[single]
    return times


def _copied(picture: np.ndarray, scores: np.ndarray, copies: int) -> tuple[np.ndarray, np.ndarray]:
    """(index, copy) of the detections, runs of equal scores in one picture repeated as runs."""
    count = len(picture)
    starts = np.r_[True, (np.diff(scores) != 0) | (np.diff(picture) != 0)][:count]
    run = np.cumsum(starts) - 1
    times = np.where(np.bincount(run, minlength=1)[run] > 1, copies, 1)
    index = np.repeat(np.arange(count), times)
    copy = np.arange(len(index)) - np.repeat(np.cumsum(times) - times, times)
    order = np.lexsort((index, copy, run[index]))
    return index[order], np.where(times[index] > 1, copy, -1)[order]
