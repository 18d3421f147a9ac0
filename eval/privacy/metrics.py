"""What is said of scores: TAR at FAR, EER, rank-1, and intervals. Pure functions of arrays.

A pair is accepted when its score is above a threshold. P probes, G gallery faces, (P, G) matrices; weights let the
bootstrap count a person none, once or several times without touching the scores.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DRAWS = 400


def threshold(impostor: np.ndarray, far: float) -> float | None:
    """The threshold above which at most a share `far` of these scores lies; None below 1/far scores, which cannot
    tell such a rate from none."""
    scores = np.sort(np.asarray(impostor, float))[::-1]
    allowed = int(np.floor(far * len(scores) + 1e-9))
    if allowed < 1:
        return None
    return float(scores[allowed]) if allowed < len(scores) else -np.inf


def share_above(scores: np.ndarray, limit: float, weights: np.ndarray | None = None) -> float:
    """Weighted share of the scores above a threshold: TAR of genuine pairs, FAR of impostors. NaN without pairs."""
    weights = np.ones(len(scores)) if weights is None else weights
    total = weights.sum()
    return float((weights * (np.asarray(scores) > limit)).sum() / total) if total > 0 else float("nan")


def eer_of(genuine: np.ndarray, impostor: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:
    """The equal error rate as a function of the pairs' weights; the scores are sorted once."""
    scores = np.concatenate([genuine, impostor]).astype(float)
    kinds = np.concatenate([np.ones(len(genuine)), np.zeros(len(impostor))])
    order = np.argsort(scores, kind="stable")
    last = np.append(np.diff(scores[order]) > 0, True)  # equal scores fall on one side together

    def figure(genuine_weights: np.ndarray, impostor_weights: np.ndarray) -> float:
        if min(genuine_weights.sum(), impostor_weights.sum()) <= 0:
            return float("nan")
        weights = np.concatenate([genuine_weights, impostor_weights])
        refused = np.cumsum((weights * kinds)[order]) / genuine_weights.sum()  # by a threshold at each score
        accepted = 1 - np.cumsum((weights * (1 - kinds))[order]) / impostor_weights.sum()
        frr, far = np.append(0.0, refused[last]), np.append(1.0, accepted[last])
        at = int(np.abs(frr - far).argmin())
        return float((frr[at] + far[at]) / 2)

    return figure


def eer(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """Equal error rate: at the threshold where FAR and FRR are nearest, their mean. NaN without both kinds of pairs."""
    if not len(genuine) or not len(impostor):
        return float("nan")
    return eer_of(genuine, impostor)(np.ones(len(genuine)), np.ones(len(impostor)))


def rank1_hits(scores: np.ndarray, same: np.ndarray, different: np.ndarray) -> np.ndarray:
    """(P,) 1 where the best gallery face is the probe's own person, 0 where not, NaN where the gallery lacks the
    person or anybody else. Pairs that are neither same nor different are not in the gallery; ties count their share."""
    known = same | different
    best = np.where(known, scores, -np.inf).max(axis=1, keepdims=True)
    top = known & (scores >= best)
    hits = (top & same).sum(1) / np.maximum(top.sum(1), 1)
    return np.where(same.any(1) & different.any(1), hits, np.nan)


def rank1_chance(same: np.ndarray, different: np.ndarray) -> float:
    """What drawing a gallery face by lot would reach. NaN where no probe counts."""
    counts = same.any(1) & different.any(1)
    return float((same.sum(1) / np.maximum((same | different).sum(1), 1))[counts].mean()) if counts.any() else np.nan


def weighted_mean(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean over what is not NaN; NaN where nothing is left."""
    weights = np.ones(len(values)) if weights is None else weights
    use = ~np.isnan(values)
    total = weights[use].sum()
    return float((weights[use] * values[use]).sum() / total) if total > 0 else float("nan")


def interval(
    statistic: Callable[[np.ndarray], float], groups: int, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float] | None:
    """95 % percentile bootstrap over groups (persons; not pairs, which share persons and so are not independent).

    statistic: (groups,) float counts → figure. None with fewer than two groups or nothing but NaN.
    """
    if groups < 2:
        return None
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(groups, np.full(groups, 1 / groups), draws).astype(float)
    values = np.array([statistic(row) for row in counts])
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def landmark_error(found: np.ndarray, true: np.ndarray) -> float:
    """Mean distance of (5, 2) landmarks in percent of the distance between the true eyes."""
    eyes = float(np.linalg.norm(true[0] - true[1]))
    return 100 * float(np.linalg.norm(found - true, axis=1).mean()) / max(eyes, 1e-9)
