"""Logistic models in plain NumPy: binary, softmax and one-vs-rest, over the one-hot view of the raw columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, softmax

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows
from filch.errors import UsageError
from filch.models import files

Link = Literal["logistic", "softmax", "ovr"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LogisticModel:
    """A logistic model, with scikit-learn's classifier interface [Tramèr16, §4.1].

    Parameters
    ----------
    space : FeatureSpace
        The raw columns; they are one-hot encoded and scaled to [−1, 1] (`filch.core.encoding.OneHot`).
    classes : tuple
        The class names in the order of the probabilities.
    coef_ : (c, width), or (1, width) if binary
        Weights over the encoded columns ``feature_names_``.
    intercept_ : (c,), or (1,) if binary
    link : {"logistic", "softmax", "ovr"}
        Binary: ``f₁ = σ(z)``. Softmax: ``f_i ∝ exp(z_i)``. One-vs-rest: ``f_i ∝ σ(z_i)``.

    Raises
    ------
    UsageError
        Shapes that do not belong together.

    Examples
    --------
    >>> model = LogisticModel(FeatureSpace.box([0], [2]), ("a", "b"), np.array([[5.0]]), np.array([1.0]))
    >>> model.predict([[0.0], [2.0]]).tolist()
    ['a', 'b']
    """

    space: FeatureSpace
    classes: tuple[Any, ...]
    coef_: Floats
    intercept_: Floats
    link: Link = "logistic"
    omission: bool = field(default=False)
    """Whether the effect of an omitted category was learned (its block is then not made zero-sum)."""

    def __post_init__(self) -> None:
        vectors = 1 if self.link == "logistic" else len(self.classes)
        expected = (vectors, OneHot(self.space).width)
        if self.coef_.shape != expected or self.intercept_.shape != (vectors,):
            raise UsageError(
                f"a {self.link} model of these columns and classes needs coef_ of shape {expected}, "
                f"got {self.coef_.shape} and intercept_ of shape {self.intercept_.shape}"
            )

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (c,)."""
        return np.asarray(self.classes)

    @property
    def feature_names_(self) -> tuple[str, ...]:
        """The names of the encoded columns: ``age``, ``sex=f``, ``sex=m``."""
        return OneHot(self.space).names

    @property
    def n_parameters(self) -> int:
        """The number of identifiable parameters."""
        vectors = len(self.classes) - 1 if self.link == "softmax" else len(self.coef_)
        return vectors * (OneHot(self.space).free + 1)

    def decision_function(self, X: pd.DataFrame | Rows) -> Floats:
        """Raw scores ``z``, of shape (n, c), or (n,) if binary."""
        encoded = OneHot(self.space).encode(self.space.rows_of(X))
        scores: Floats = encoded @ self.coef_.T + self.intercept_
        return scores[:, 0] if self.link == "logistic" else scores

    def predict_proba(self, X: pd.DataFrame | Rows) -> Floats:
        """Class probabilities, of shape (n, c)."""
        return probabilities(self.decision_function(X), self.link)

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """The most probable class of each row, as the target names it, of shape (n,)."""
        scores = self.decision_function(X)
        chosen = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        names: npt.NDArray[Any] = self.classes_[chosen]
        return names

    def gradient(self, X: pd.DataFrame | Rows, index: int) -> Floats:
        """The gradient of ``log f_index`` in the raw numeric columns, of shape (n, d); 0 for categories."""
        return raw_gradient(self.space, log_slopes(self.decision_function(X), self.link, index) @ self.coef_)

    def canonical(self) -> LogisticModel:
        """The same function in its canonical form, in which two models can be compared.

        Weights are zero-sum over each one-hot block, and over the classes of a softmax; constant columns are 0.
        """
        view = OneHot(self.space)
        coef, intercept = self.coef_.copy(), self.intercept_.copy()
        for column, (start, width) in enumerate(zip(view.starts, view.widths, strict=True)):
            block = slice(start, start + width)
            if self.space.categorical[column]:
                if not self.omission:
                    mean = coef[:, block].mean(axis=1)
                    coef[:, block] -= mean[:, None]
                    intercept += mean
            elif self.space.low[column] == self.space.high[column]:
                coef[:, block] = 0.0
        if self.link == "softmax":
            coef -= coef.mean(axis=0)
            intercept -= intercept.mean()
        return LogisticModel(self.space, self.classes, coef, intercept, self.link, self.omission)

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> Path:
        """Write the model as ``.npz`` with its schema as JSON inside; nothing is pickled."""
        facts = {"link": self.link, "classes": self.classes, "omission": self.omission}
        return files.write(path, "logistic", facts, self.space, {"coef": self.coef_, "intercept": self.intercept_})

    @classmethod
    def stored(cls, stored: files.Stored) -> LogisticModel:
        """Make the model that a file holds."""
        facts, arrays = stored.facts, stored.arrays
        classes = tuple(facts["classes"])
        return cls(stored.space, classes, arrays["coef"], arrays["intercept"], facts["link"], facts["omission"])


def probabilities(scores: Floats, link: Link) -> Floats:
    """Class probabilities of raw scores: of shape (n, c), from (n,) if binary."""
    if link == "logistic":
        return np.column_stack([expit(-scores), expit(scores)])
    if link == "softmax":
        return np.asarray(softmax(scores, axis=1))
    # σ_i / Σ_j σ_j, scaled by the largest σ, so that rows far from every class do not divide 0 by 0.
    log_sigma = -np.logaddexp(0.0, -scores)
    return np.asarray(softmax(log_sigma, axis=1))


def log_slopes(scores: Floats, link: Link, index: int) -> Floats:
    """The derivatives of ``log f_index`` in raw scores: of shape (n, c), or (n, 1) if binary, from (n,)."""
    if link == "logistic":
        return (expit(-scores) if index else -expit(scores))[:, None]
    chosen = np.arange(scores.shape[1]) == index
    slopes: Floats = chosen - probabilities(scores, link)
    return slopes * expit(-scores) if link == "ovr" else slopes


def raw_gradient(space: FeatureSpace, encoded: Floats) -> Floats:
    """Turn derivatives in encoded columns, of shape (n, width), into those in raw numeric columns, of shape (n, d)."""
    view = OneHot(space)
    moves = ~space.categorical & (space.high > space.low)
    return np.asarray(np.where(moves, encoded[:, view.starts] / view.scale, 0.0))
