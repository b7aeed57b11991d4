"""Kernel logistic regressions as targets: some training rows are the representers, the weights are fitted to all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel

from filch.core.features import Rows
from filch.core.oracle import ModelOracle
from filch.core.seeds import stream
from filch.datasets import Study, table3
from filch.errors import UsageError

Floats = npt.NDArray[np.float64]
_STEPS = 10_000  # of the weights' own fit, which ends well before


class KernelLogisticRegression:
    """RBF kernel logistic regression over scikit-learn's kernel, with scikit-learn's classifier interface.

    Parameters
    ----------
    representers : int or None
        Training rows, drawn at random, on which the kernel stands; None for all.
    gamma : float
    seed : int

    Attributes
    ----------
    representers_ : (s, d)
    """

    def __init__(self, representers: int | None, gamma: float, seed: int = 0) -> None:
        if gamma <= 0 or (representers is not None and representers < 1):
            raise UsageError("a kernel target takes gamma > 0 and at least one representer, or None for all rows")
        self.representers, self.gamma, self.seed = representers, gamma, seed

    def fit(self, X: Floats, y: npt.NDArray[Any]) -> KernelLogisticRegression:
        """Draw the representers, and fit the weights with scikit-learn's default penalty."""
        chosen = np.arange(len(X))
        if self.representers is not None:
            chosen = np.sort(stream(self.seed, "representers").permutation(len(X))[: self.representers])
        self.representers_: Floats = X[chosen]
        self.labels_ = y[chosen]
        self.weights_ = LogisticRegression(max_iter=_STEPS).fit(rbf_kernel(X, self.representers_, self.gamma), y)
        self.classes_ = self.weights_.classes_
        self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X: Floats) -> Floats:
        """Class probabilities, of shape (n, c)."""
        found: Floats = self.weights_.predict_proba(rbf_kernel(X, self.representers_, self.gamma))
        return found

    def predict(self, X: Floats) -> npt.NDArray[Any]:
        """The most probable class of each row."""
        chosen: npt.NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return chosen


@dataclass(frozen=True, eq=False)
class KernelTarget:
    """A kernel model to extract, and the real rows to judge the copy on.

    Attributes
    ----------
    study : Study
    model : KernelLogisticRegression
    oracle : ModelOracle
        Over the one-hot view, as in the paper.
    X_test : (n, d)
    """

    study: Study
    model: KernelLogisticRegression
    oracle: ModelOracle
    X_test: Rows

    @property
    def unknowns(self) -> int:
        """The paper's count of the target's parameters: s d + c (s + 1)."""
        count, width = self.model.representers_.shape
        return int(count * width + self.study.n_classes * (count + 1))


@lru_cache(maxsize=16)
def kernel_target(dataset: str, representers: int | None, gamma: float, seed: int = 0) -> KernelTarget:
    """Fit a target on the training rows of a study.

    Parameters
    ----------
    dataset : str
        A row of Table 3.
    representers : int or None
        None for all training rows.
    gamma : float
        In the one-hot view, whose numbers are scaled to [−1, 1].
    seed : int
        Chooses the representers.

    Examples
    --------
    >>> kernel_target("iris", 5, 0.5).model.representers_.shape
    (5, 4)
    """
    study = table3(dataset)
    model = KernelLogisticRegression(representers, gamma, seed).fit(study.X_train, study.y_train)
    return KernelTarget(study, model, ModelOracle(model, study.direct_space), study.X_test)
