"""Where no linear model gives the labels of several classes: rows that prove it, and the closest model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from filch.attacks.linear.contests import ClassBelief
from filch.attacks.linear.contradiction import separate

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_THIN = 1e-4  # of a score's scale: labels of smaller leads prove nothing, for they may be rounding
_PROOF = 2, 200  # signs for each unknown, and more, out of which a proof is looked for
_ROUNDS = 4  # of that search, each with the signs that the last one's weights miss
_WIDE = 700  # unknowns: the search for a proof among more takes minutes
_SOFT, _STEPS = 10.0, 500  # of the fit where no linear model fits: its inverse penalty, and its most steps
_NEVER = 100.0  # how far below the others a class that was never seen scores there


def contradiction(belief: ClassBelief) -> list[int]:
    """Heard rows whose labels no linear model gives, as far as a few thousand of their signs tell."""
    unknowns = len(belief.mean)
    if unknowns > _WIDE:
        return []
    rows, labels = belief.rows, belief.labels
    scores = belief.scores(rows)
    lead = scores[np.arange(len(rows)), labels][:, None] - scores
    at, below = np.nonzero(np.arange(belief.classes) != labels[:, None])
    gap = lead[at, below]
    thick = np.abs(gap) > _THIN * np.abs(scores).max()
    at, below, gap = at[thick], below[thick], gap[thick]
    chosen = gap.argsort()[: _PROOF[0] * unknowns + _PROOF[1]]
    for _ in range(_ROUNDS):
        signs = belief.differences(rows[at[chosen]], labels[at[chosen]], below[chosen])
        weights, proof = separate(signs, np.ones(len(signs), dtype=bool))
        if len(proof):
            return sorted(set(at[chosen][proof].tolist()))
        if weights is None:
            break
        parts = belief.basis.T @ weights.reshape(belief.classes - 1, -1)
        scores = rows @ parts.T
        missed = np.flatnonzero(scores[at, labels[at]] - scores[at, below] <= 0)
        missed = np.setdiff1d(missed, chosen)[:unknowns]
        if not len(missed):
            break
        chosen = np.concatenate([chosen, missed])
    return []


def soft_fit(design: Floats, labels: Ints, classes: int) -> Floats:
    """Weights (c, p) of a softmax that gives most labels, where no linear model gives all."""
    found = LogisticRegression(C=_SOFT, fit_intercept=False, max_iter=_STEPS).fit(design, labels)
    weights = np.zeros((classes, design.shape[1]))
    weights[:, -1] = -_NEVER
    parts = found.coef_ if len(found.classes_) > 2 else np.vstack([np.zeros_like(found.coef_), found.coef_])
    weights[found.classes_] = parts
    return weights
