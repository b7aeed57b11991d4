"""How uncertain a surrogate is of its labels."""

from __future__ import annotations

import numpy as np
from sklearn.base import is_regressor

from filch.attacks.surrogates.boundary import Ints
from filch.core.features import Rows
from filch.models.surrogate import SurrogateModel, inputs


def margins(model: SurrogateModel, rows: Rows) -> Rows:
    """How far the likeliest class is ahead of the next one, of shape (n,): small where the label may be wrong.

    In probabilities, or in decision values where the estimator has only these; 0 for all rows where it tells labels
    alone, or knows one class.
    """
    if not is_regressor(model.estimator) and not hasattr(model.estimator, "predict_proba"):
        if not hasattr(model.estimator, "decision_function"):
            return np.zeros(len(rows))
        scores = model.estimator.decision_function(inputs(model.space, rows, encoded=model.encoded))
        if scores.ndim == 1:
            return np.asarray(np.abs(scores))
    else:
        scores = model.votes(rows)
    if scores.shape[1] < 2:
        return np.zeros(len(rows))
    best = np.partition(scores, -2, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0])


def least_sure(model: SurrogateModel, rows: Rows, n: int, wide: float, rng: np.random.Generator) -> Ints:
    """The places of n rows, drawn from the ``wide`` · n least certain ones so that they are not all alike."""
    order = np.lexsort((rng.random(len(rows)), margins(model, rows)))
    first = order[: max(n, round(wide * n))]
    return np.sort(rng.permutation(first)[:n])
