"""Logistic models on an RBF or polynomial kernel in plain NumPy, over the one-hot view of the raw columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows
from filch.errors import UsageError
from filch.models import files
from filch.models.logistic import log_slopes, probabilities, raw_gradient

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KernelModel:
    """RBF kernel logistic regression, with scikit-learn's classifier interface [Tramèr16, §4.1.3].

    ``f_i = softmax_i(Σ_r α_ir exp(−γ ‖D(x − x_r)‖²) + β_i)``; with two classes ``f₁`` is ``σ`` of one score. D scales
    each column. With a degree the kernel is ``(γ Dx·Dx_r + 1)^degree``.

    Parameters
    ----------
    space : FeatureSpace
        The raw columns; they are one-hot encoded and scaled to [−1, 1] (`filch.core.encoding.OneHot`).
    classes : tuple
        The class names in the order of the probabilities.
    representers_ : (s, width)
        The rows ``x_r`` in the encoded view; `rows` gives them as coded rows.
    dual_coef_ : (c, s), or (1, s) if binary
    intercept_ : (c,), or (1,) if binary
    gamma_ : float
        Positive; per squared unit of the scaled encoded view.
    scale_ : (width,), optional
        The diagonal of D, positive; None for ones, a kernel that sees the encoded view itself.
    degree_ : int, optional
        Of a polynomial kernel; None for RBF.

    Raises
    ------
    UsageError
        Shapes that do not belong together, or a gamma or degree that is not positive.

    Examples
    --------
    >>> space = FeatureSpace.box([0], [2])
    >>> model = KernelModel(space, ("a", "b"), np.array([[1.0]]), np.array([[4.0]]), np.array([-2.0]), gamma_=1.0)
    >>> model.predict([[0.0], [2.0]]).tolist(), model.rows.tolist()
    (['a', 'b'], [[2.0]])
    """

    space: FeatureSpace
    classes: tuple[Any, ...]
    representers_: Floats
    dual_coef_: Floats
    intercept_: Floats
    gamma_: float
    scale_: Floats | None = None
    degree_: int | None = None

    def __post_init__(self) -> None:
        vectors, width = len(self.classes) if len(self.classes) > 2 else 1, OneHot(self.space).width
        count = len(self.representers_)
        shapes = (count, width), (vectors, count), (vectors,)
        if (self.representers_.shape, self.dual_coef_.shape, self.intercept_.shape) != shapes:
            raise UsageError(
                f"a kernel model of these columns and classes with {count} representers needs representers_, "
                f"dual_coef_ and intercept_ of shapes {shapes}, got {self.representers_.shape}, "
                f"{self.dual_coef_.shape} and {self.intercept_.shape}"
            )
        if not self.gamma_ > 0:
            raise UsageError(f"gamma_ must be positive, got {self.gamma_}")
        if self.degree_ is not None and self.degree_ < 1:
            raise UsageError(f"degree_ must be at least 1, got {self.degree_}")
        if self.scale_ is not None and (self.scale_.shape != (width,) or not (self.scale_ > 0).all()):
            raise UsageError(f"scale_ must be {width} positive numbers")

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (c,)."""
        return np.asarray(self.classes)

    @property
    def feature_names_(self) -> tuple[str, ...]:
        """The names of the encoded columns: ``age``, ``sex=f``, ``sex=m``."""
        return OneHot(self.space).names

    @property
    def rows(self) -> Rows:
        """The representers as coded rows, of shape (s, d): numbers in their units, the largest category of a block."""
        return OneHot(self.space).decode(self.representers_)

    @property
    def gammas(self) -> Floats:
        """γ of each encoded column, ``γ D²``; of shape (width,)."""
        scale = np.ones(OneHot(self.space).width) if self.scale_ is None else self.scale_
        found: Floats = self.gamma_ * scale**2
        return found

    @property
    def n_parameters(self) -> int:
        """The number of identifiable parameters; γ counts as one."""
        count, outputs = len(self.representers_), max(1, len(self.classes) - 1)
        return count * (OneHot(self.space).free + outputs) + outputs + (1 if self.scale_ is None else len(self.scale_))

    def decision_function(self, X: pd.DataFrame | Rows) -> Floats:
        """Raw scores, of shape (n, c), or (n,) if binary."""
        kernel = self._kernel(OneHot(self.space).encode(self.space.rows_of(X)))
        scores: Floats = kernel @ self.dual_coef_.T + self.intercept_
        return scores if len(self.classes) > 2 else scores[:, 0]

    def predict_proba(self, X: pd.DataFrame | Rows) -> Floats:
        """Class probabilities, of shape (n, c)."""
        return probabilities(self.decision_function(X), "softmax" if len(self.classes) > 2 else "logistic")

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """The most probable class of each row, as the target names it, of shape (n,)."""
        scores = self.decision_function(X)
        chosen = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        names: npt.NDArray[Any] = self.classes_[chosen]
        return names

    def gradient(self, X: pd.DataFrame | Rows, index: int) -> Floats:
        """The gradient of ``log f_index`` in the raw numeric columns, of shape (n, d); 0 for categories."""
        encoded = OneHot(self.space).encode(self.space.rows_of(X))
        kernel = self._kernel(encoded)
        scores = kernel @ self.dual_coef_.T + self.intercept_
        outer = (
            log_slopes(scores, "softmax", index)
            if len(self.classes) > 2
            else log_slopes(scores[:, 0], "logistic", index)
        )
        if self.degree_ is not None:
            below = self.degree_ * polynomial(encoded, self.representers_, self.gammas, self.degree_ - 1)
            return raw_gradient(self.space, self.gammas * ((below * (outer @ self.dual_coef_)) @ self.representers_))
        pull = kernel * (outer @ self.dual_coef_)  # towards each representer
        towards = pull @ self.representers_ - pull.sum(axis=1)[:, None] * encoded
        return raw_gradient(self.space, 2.0 * self.gammas * towards)

    def _kernel(self, encoded: Floats) -> Floats:
        """The kernel between encoded rows and the representers, of shape (n, s)."""
        if self.degree_ is None:
            return rbf(encoded, self.representers_, self.gammas)
        return polynomial(encoded, self.representers_, self.gammas, self.degree_)

    def canonical(self) -> KernelModel:
        """The same function in a form in which two models can be compared.

        Representers are sorted by their columns; of a softmax, weights and biases are zero-sum over the classes.
        """
        order = np.lexsort(self.representers_.T[::-1])
        dual, intercept = self.dual_coef_[:, order], self.intercept_.copy()
        if len(self.classes) > 2:
            dual, intercept = dual - dual.mean(axis=0), intercept - intercept.mean()
        weights = dual, intercept, self.gamma_, self.scale_, self.degree_
        return KernelModel(self.space, self.classes, self.representers_[order], *weights)

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> Path:
        """Write the model as ``.npz`` with its schema as JSON inside; nothing is pickled."""
        arrays = {"representers": self.representers_, "dual_coef": self.dual_coef_, "intercept": self.intercept_}
        if self.scale_ is not None:
            arrays["scale"] = self.scale_
        facts = {"classes": self.classes, "gamma": float(self.gamma_)}
        if self.degree_ is not None:
            facts["degree"] = self.degree_
        return files.write(path, "kernel", facts, self.space, arrays)

    @classmethod
    def stored(cls, stored: files.Stored) -> KernelModel:
        """Make the model that a file holds."""
        arrays, facts = stored.arrays, stored.facts
        weights = arrays["representers"], arrays["dual_coef"], arrays["intercept"]
        return cls(
            stored.space,
            tuple(facts["classes"]),
            *weights,
            float(facts["gamma"]),
            arrays.get("scale"),
            facts.get("degree"),
        )


def polynomial(rows: Floats, representers: Floats, gamma: float | Floats, degree: int) -> Floats:
    """The kernel ``(Σ_j γ_j x_j x_rj + 1)^degree`` of encoded rows, of shape (n, s)."""
    kernel: Floats = ((rows * gamma) @ representers.T + 1.0) ** degree
    return kernel


def rbf(rows: Floats, representers: Floats, gamma: float | Floats) -> Floats:
    """The kernel ``exp(−Σ_j γ_j (x_j − x_rj)²)`` of encoded rows, of shape (n, s); one γ, or one for each column."""
    root = np.sqrt(gamma)
    rows, representers = rows * root, representers * root
    apart = (rows**2).sum(axis=1)[:, None] + (representers**2).sum(axis=1) - 2.0 * (rows @ representers.T)
    kernel: Floats = np.exp(-np.maximum(apart, 0.0))
    return kernel
