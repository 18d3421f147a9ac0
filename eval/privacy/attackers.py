"""Attackers who adapt to the codec. Both learn from other persons than those they are measured on.

    head       embeddings of decoded faces ─ridge─▶ embeddings of the originals
    restorer   decoded pixels ─network─▶ original pixels       (`restorer.py`, trained by the project's one loop)
    parrot     learns nothing: the gallery is coded with the same codec before faces are compared
                                                          (Newton et al. 2005, "parrot recognition")
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from eval.privacy.align import Context
from eval.privacy.base import unit
from eval.privacy.compare import Relations

FOLDS = 5
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)  # of the ridge, in units of the mean eigenvalue
VARIANTS = ((0.0, 1.0, 0.0, 0.0), (6.0, 0.95, 2.0, -1.0), (-6.0, 1.05, -2.0, 1.0), (2.0, 0.97, -1.0, -3.0))


def variants(context: Context) -> list[np.ndarray]:
    """Crops of one face, turned (degrees), scaled and shifted (pixels of the crop) a little; the first is plain."""
    plain = context.crop()
    centre = ((plain.shape[1] - 1) / 2, (plain.shape[0] - 1) / 2)
    crops = [plain]
    for angle, scale, right, down in VARIANTS[1:]:
        matrix = cv2.getRotationMatrix2D(centre, angle, scale)
        matrix = matrix + np.array([[0, 0, right], [0, 0, down]])
        crops.append(cv2.warpAffine(plain, matrix, plain.shape[1::-1], borderMode=cv2.BORDER_REPLICATE))
    return crops


def folds(relations: Relations, most: int = FOLDS) -> list[tuple[np.ndarray, np.ndarray]]:
    """[(faces held out, faces to learn from)]: one person at a time where there are few, groups of persons else.

    Learned from are only faces known to be of other persons than every one that is held out.
    """
    groups = np.array_split(np.arange(relations.persons), min(most, max(1, relations.persons)))
    found = []
    for group in groups:
        held = np.flatnonzero(np.isin(relations.person, group))
        others = np.flatnonzero(relations.different[held].all(0)) if len(held) else held
        found.append((held, others))
    return found


@dataclass(frozen=True)
class Head:
    """A linear map W of embeddings, kept by its dual: e W = e + (e Xᵀ) A."""

    x: np.ndarray
    a: np.ndarray

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """(N, D) → (N, D) unit vectors."""
        return unit(embeddings + (embeddings @ self.x.T) @ self.a)


def fit_head(x: np.ndarray, y: np.ndarray, person: np.ndarray) -> Head:
    """The ridge that brings x (n, D), of decoded faces, to y (n, D), of their originals, nearest to the identity:

        min |X W − Y|² + s |W − I|²   ⇒   W = I + Xᵀ (X Xᵀ + s 1)⁻¹ (Y − X)

    s is the one of STRENGTHS that tells persons apart best when each of `person` (n,) is left out in turn; where
    there are fewer than two persons to learn from, the largest.
    """
    names = np.unique(person)
    best = STRENGTHS[-1]
    if len(names) > 2:
        best = max(STRENGTHS, key=lambda strength: _left_out(x, y, person, names[:8], strength))
    return _ridge(x, y, best)


def _ridge(x: np.ndarray, y: np.ndarray, strength: float) -> Head:
    gram = (x @ x.T).astype(np.float64)
    gram[np.diag_indices_from(gram)] += strength * np.trace(gram) / len(gram)
    return Head(x, np.linalg.solve(gram, (y - x).astype(np.float64)).astype(np.float32))


def _left_out(x: np.ndarray, y: np.ndarray, person: np.ndarray, names: np.ndarray, strength: float) -> float:
    """Mean, over persons left out, of the margin by which their faces are nearer to their own originals."""
    margins = []
    for name in names:
        out = person == name
        scores = _ridge(x[~out], y[~out], strength)(x[out]) @ unit(y).T
        margins.append(scores[:, out].mean() - np.sort(scores[:, ~out], axis=1)[:, -5:].mean())
    return float(np.mean(margins))


def adapted(
    decoded: np.ndarray, originals: np.ndarray, relations: Relations, most: int = FOLDS, faces: int = 400
) -> np.ndarray:
    """(N, D) what the head makes of each face's decoded embedding, by the head that never saw that person.

    decoded, originals: (N, V, D), V variants of each face. At most `faces` to learn from.
    """
    result = unit(decoded.mean(1))
    for held, others in folds(relations, most):
        if len(others) > faces:
            others = np.sort(np.random.default_rng(0).choice(others, faces, replace=False))
        if len(held) and len(others):
            x, y = (e[others].reshape(-1, e.shape[-1]) for e in (decoded, originals))
            head = fit_head(x, y, np.repeat(relations.person[others], decoded.shape[1]))
            result[held] = head(result[held])
    return result

