"""Errors of copies on up to a million uniform rows, block by block, and the angles of linear ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows
from filch.core.models import ExtractedModel, class_index
from filch.core.oracle import ModelOracle
from filch.core.seeds import stream
from filch.models.logistic import LogisticModel
from filch.models.surrogate import SurrogateModel
from filch.paper.targets import Target

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
UNIT = 3.0**0.5
"""A column that is uniform on [−1, 1], times this, has mean square 1."""
BLOCK = 10_000
"""Uniform rows at a time."""
CLOSE = 0.01
"""A copy that is wrong on more of the first block is measured on that block alone."""


def wrong_on_test(target: Target, models: Sequence[ExtractedModel]) -> list[float]:
    """The share of test rows with another label, for each copy."""
    truth = _labels_of_target(target, target.X_test)
    return [float((label != truth).mean()) for label in _labels(target, models, target.X_test)]


def wrong_on_uniform(target: Target, models: Sequence[ExtractedModel], n_uniform: int) -> list[tuple[float, int]]:
    """The share of uniform rows with another label, and the number of rows behind it, for each copy.

    The rows are the same for each target. A copy that is wrong on more than 1 % of the first 10,000 is measured on
    these; only the others need more.

    Parameters
    ----------
    target : Target
    models : sequence of ExtractedModel
    n_uniform : int
        Rows, of which blocks of 10,000 are held at a time.
    """
    space, rng = target.oracle.spec.space, stream(0, "evaluation")
    wrong, rows_of = np.zeros(len(models), dtype=np.int64), np.zeros(len(models), dtype=np.int64)
    going = np.arange(len(models))
    done = 0
    while done < n_uniform and len(going):
        rows = space.sample(min(BLOCK, n_uniform - done), rng)
        done += len(rows)
        truth = _labels_of_target(target, rows)
        for number, labels in zip(going, _labels(target, [models[int(i)] for i in going], rows), strict=True):
            wrong[number] += int((labels != truth).sum())
            rows_of[number] += len(rows)
        if done == len(rows):
            going = going[wrong[going] <= CLOSE * len(rows)]
    return [(int(k) / max(int(n), 1), int(n)) for k, n in zip(wrong, rows_of, strict=True)]


def angle(target: Target, model: ExtractedModel) -> float | None:
    """The angle, in rad, between the parameters of a linear target and of its copy; None where one is not linear.

    Over encoded columns of mean square 1 and the constant; for more than two classes, weights are zero-sum over them.
    """
    space = target.oracle.spec.space
    there, here = (linear(space, side) for side in (target.oracle.model, model))
    if there is None or here is None or there.shape != here.shape or not here.any():
        return None
    a, b = (side.ravel() / np.linalg.norm(side) for side in (there, here))
    return float(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b)))  # exact for small angles too


def linear(space: FeatureSpace, model: Any) -> Floats | None:
    """The weights of a linear classifier and, last, its biases; of shape (1 or c, width + 1), or None.

    In the coordinates of `angle`. Columns of no width count 0.
    """
    raw = _weights(space, model)
    if raw is None:
        return None
    varies = np.repeat(space.high > space.low, OneHot(space).widths)
    scaled = raw * np.append(np.where(varies, 1 / UNIT, 0.0), 1.0)
    return scaled if len(scaled) == 1 else np.asarray(scaled - scaled.mean(axis=0))


def _weights(space: FeatureSpace, model: Any) -> Floats | None:
    """Weights and bias over ``OneHot(space)``, of a copy or of a fitted target in direct queries."""
    if isinstance(model, LogisticModel):
        return np.column_stack([model.coef_, model.intercept_])
    if isinstance(model, SurrogateModel):
        fitted = model.estimator
        whole = isinstance(fitted, LogisticRegression) and len(fitted.classes_) == len(model.classes or ())
        return np.column_stack([fitted.coef_, fitted.intercept_]) if whole and model.encoded else None
    if isinstance(model, LogisticRegression) and not space.categorical.any():
        view = OneHot(space)
        return np.column_stack([model.coef_ * view.scale, model.intercept_ + model.coef_ @ view.centre])
    return None


def _scoring(space: FeatureSpace, model: Any) -> Floats | None:
    """As `_weights`, for a copy's labels alone: a surrogate that has not met every class is scored, too."""
    if not isinstance(model, SurrogateModel) or not model.encoded or model.classes is None:
        return _weights(space, model)
    fitted, many = model.estimator, len(model.classes) > 2
    if isinstance(fitted, DummyClassifier) and len(fitted.classes_) == 1:
        known, scores = fitted.classes_, np.zeros((1, OneHot(space).width + 1))
    elif isinstance(fitted, LogisticRegression) and many and len(fitted.classes_) > 2:
        known, scores = fitted.classes_, np.column_stack([fitted.coef_, fitted.intercept_])
    else:
        return _weights(space, model)
    full = np.zeros((len(model.classes), scores.shape[1]))
    full[:, -1] = -np.inf
    full[known] = scores
    return full


def _labels_of_target(target: Target, rows: Rows) -> Labels:
    labels = ModelOracle(target.oracle.model, target.oracle.spec.space, reveal="labels").ask(rows).labels
    assert labels is not None
    return labels


def _labels(target: Target, models: Sequence[ExtractedModel], rows: Rows) -> list[Labels]:
    """Each copy's labels; those of linear ones from one encoding, which takes longer than their scores."""
    space, classes = target.oracle.spec.space, target.oracle.spec.classes or ()
    weights = [_scoring(space, model) for model in models]
    encoded = OneHot(space).encode(rows) if any(part is not None for part in weights) else rows[:, :0]
    found: list[Labels] = []
    for model, part in zip(models, weights, strict=True):
        if part is None:
            found.append(class_index(model.predict(rows), classes))
            continue
        scores = encoded @ part[:, :-1].T + part[:, -1]
        found.append((scores[:, 0] > 0).astype(np.int64) if len(part) == 1 else scores.argmax(axis=1))
    return found
