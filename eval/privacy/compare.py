"""Probes against a gallery: every figure of verification and re-identification from one matrix of scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eval.privacy import metrics

FARS = (0.1, 0.01, 0.001)
QUANTILES = (5, 25, 50, 75, 95)
MOST = 200_000  # impostor pairs


@dataclass(frozen=True)
class Relations:
    """Who is who among N faces. person: (N,) int; same, different: (N, N) bool, both false where it is not known
    (two tracks of a clip that are never seen together may be one person) and on the diagonal."""

    person: np.ndarray
    same: np.ndarray
    different: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray] | None = None  # same, different of the pairs to verify, where they are given

    @classmethod
    def of(cls, person: np.ndarray, apart: np.ndarray | None = None) -> Relations:
        """apart: (P, P) bool, which persons are known to be different; without it all are."""
        person = np.asarray(person, int)
        same = person[:, None] == person[None]
        different = ~same if apart is None else apart[person[:, None], person[None]] & ~same
        return cls(person, same & ~np.eye(len(person), dtype=bool), different)

    @property
    def persons(self) -> int:
        """How many."""
        return int(self.person.max()) + 1 if len(self.person) else 0


@dataclass(frozen=True)
class Figure:
    """A share between 0 and 1 with its 95 % interval (over persons); None: it cannot be told."""

    value: float | None
    low: float | None = None
    high: float | None = None


def thresholds(originals: np.ndarray, relations: Relations) -> dict[float, float | None]:
    """FAR → threshold, from the scores of the originals among themselves, each pair once."""
    once = np.triu(np.ones_like(relations.same), 1)
    impostor = originals[(relations.pairs or (relations.same, relations.different))[1] & once]
    return {far: metrics.threshold(impostor, far) for far in FARS}


def compare(
    scores: np.ndarray, relations: Relations, limits: dict[float, float | None], symmetric: bool = False,
) -> dict[str, Any]:
    """Figures of scores (N, N), rows probes, columns gallery. symmetric: both sides are one set, each pair counts once.

    {rank1, rank1_chance, probes, eer, tar: {far: Figure}, far_actual, genuine, impostor (pairs, quantiles)}.
    """
    once = np.triu(np.ones_like(relations.same), 1) if symmetric else np.ones_like(relations.same)
    hits = metrics.rank1_hits(scores, relations.same, relations.different)
    person = relations.person

    def figure(statistic: Any) -> Figure:
        value = statistic(np.ones(relations.persons))
        spread = metrics.interval(statistic, relations.persons)
        return Figure(None) if np.isnan(value) else Figure(value, *(spread or (None, None)))

    found: dict[str, Any] = {
        "rank1": asdict(figure(lambda w: metrics.weighted_mean(hits, w[person]))),
        "rank1_chance": number(metrics.rank1_chance(relations.same, relations.different)),
        "probes": int((~np.isnan(hits)).sum()),
    }
    same, different = relations.pairs or (relations.same, relations.different)
    rows_g, columns_g = np.nonzero(same & once)
    rows_i, columns_i = few(*np.nonzero(different & once))
    genuine, impostor = scores[rows_g, columns_g], scores[rows_i, columns_i]

    def weights(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return w[person[rows_g]], w[person[rows_i]] * w[person[columns_i]]

    equal = metrics.eer_of(genuine, impostor) if len(genuine) and len(impostor) else lambda *_: float("nan")
    found["eer"] = asdict(figure(lambda w: equal(*weights(w))))
    found["tar"], found["far_actual"] = {}, {}
    for far, limit in limits.items():
        if limit is None:
            found["tar"][f"{far:g}"], found["far_actual"][f"{far:g}"] = asdict(Figure(None)), None
            continue
        tar = figure(lambda w, limit=limit: metrics.share_above(genuine, limit, weights(w)[0]))
        found["tar"][f"{far:g}"] = asdict(tar)
        found["far_actual"][f"{far:g}"] = number(metrics.share_above(impostor, limit))
    for name, values in (("genuine", genuine), ("impostor", impostor)):
        found[name] = {"pairs": len(values), **distribution(values)}
    return found


def few(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most MOST pairs, drawn by a fixed seed: millions add nothing to an interval but hours."""
    if len(rows) <= MOST:
        return rows, columns
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), MOST, replace=False))
    return rows[chosen], columns[chosen]


def distribution(values: np.ndarray) -> dict[str, Any]:
    """{mean, quantiles: {5: …}} of cosines; empty where there are none."""
    if not len(values):
        return {"mean": None, "quantiles": {}}
    quantiles = zip(QUANTILES, np.percentile(values, QUANTILES), strict=True)
    return {"mean": float(np.mean(values)), "quantiles": {str(q): float(v) for q, v in quantiles}}


def number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)
