"""Networks with one hidden layer in plain NumPy, over the one-hot view of the raw columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from sklearn.utils.metaestimators import available_if

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows
from filch.errors import UsageError
from filch.models import files
from filch.models.logistic import log_slopes, probabilities, raw_gradient

Activation = Literal["tanh", "logistic", "relu"]
Output = Literal["logistic", "softmax", "identity"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PerceptronModel:
    """A network with one hidden layer: ``z = g(x·W₁ + b₁)·W₂ + b₂``, with scikit-learn's interface [Tramèr16, §4.1.2].

    Parameters
    ----------
    space : FeatureSpace
        The raw columns; they are one-hot encoded and scaled to [−1, 1] (`filch.core.encoding.OneHot`).
    classes : tuple or None
        The class names in the order of the probabilities; None for a regressor.
    coefs_ : ((width, h), (h, o))
        Weights into the h hidden units and out of them; o = c, or 1 for a binary classifier and a regressor.
    intercepts_ : ((h,), (o,))
    activation : {"tanh", "logistic", "relu"}
        Of the hidden units.
    link : {"logistic", "softmax", "identity"}
        Binary: ``f₁ = σ(z)``. Softmax: ``f_i ∝ exp(z_i)``. Identity: the value is z.

    Raises
    ------
    UsageError
        Shapes that do not belong together, or an activation or link that does not exist.

    Examples
    --------
    >>> space = FeatureSpace.box([0], [2])
    >>> weights, biases = (np.array([[5.0]]), np.array([[1.0]])), (np.array([0.0]), np.array([0.0]))
    >>> PerceptronModel(space, ("a", "b"), weights, biases, "tanh", "logistic").predict([[0.0], [2.0]]).tolist()
    ['a', 'b']
    """

    space: FeatureSpace
    classes: tuple[Any, ...] | None
    coefs_: tuple[Floats, Floats]
    intercepts_: tuple[Floats, Floats]
    activation: Activation
    link: Output

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation) or self.link not in get_args(Output):
            raise UsageError(f"no network has activation {self.activation!r} and link {self.link!r}")
        if (self.link == "identity") != (self.classes is None):
            raise UsageError("a classifier has class names and a logistic or softmax link, a regressor neither")
        (first, second), (inner, outer) = self.coefs_, self.intercepts_
        hidden, outputs = first.shape[-1], len(self.classes or ()) if self.link == "softmax" else 1
        shapes = (OneHot(self.space).width, hidden), (hidden, outputs), (hidden,), (outputs,)
        if (first.shape, second.shape, inner.shape, outer.shape) != shapes:
            raise UsageError(
                f"a network of these columns and classes with {hidden} hidden units needs weights of shapes "
                f"{shapes[0]} and {shapes[1]} and as many biases, got {first.shape} and {second.shape}"
            )

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (c,).

        Raises
        ------
        AttributeError
            The model is a regressor.
        """
        if self.classes is None:
            raise AttributeError("a regressor has no classes_")
        return np.asarray(self.classes)

    @property
    def feature_names_(self) -> tuple[str, ...]:
        """The names of the encoded columns: ``age``, ``sex=f``, ``sex=m``."""
        return OneHot(self.space).names

    @property
    def hidden(self) -> int:
        """The number of hidden units, h."""
        return len(self.intercepts_[0])

    @property
    def n_parameters(self) -> int:
        """The number of identifiable parameters: a softmax is free up to a shift of all scores."""
        outputs = len(self.intercepts_[1]) - (self.link == "softmax")
        return self.hidden * (OneHot(self.space).free + 1) + outputs * (self.hidden + 1)

    def units(self, X: pd.DataFrame | Rows) -> Floats:
        """Activations of the hidden units, of shape (n, h)."""
        encoded = OneHot(self.space).encode(self.space.rows_of(X))
        return activate(encoded @ self.coefs_[0] + self.intercepts_[0], self.activation)

    def decision_function(self, X: pd.DataFrame | Rows) -> Floats:
        """Raw scores ``z``, of shape (n, c), or (n,) if there is one."""
        scores: Floats = self.units(X) @ self.coefs_[1] + self.intercepts_[1]
        return scores if self.link == "softmax" else scores[:, 0]

    @available_if(lambda model: model.classes is not None)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: pd.DataFrame | Rows) -> Floats:
        """Class probabilities, of shape (n, c); a classifier's only."""
        return probabilities(self.decision_function(X), "softmax" if self.link == "softmax" else "logistic")

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """The most probable class of each row, as the target names it, or its value; of shape (n,)."""
        scores = self.decision_function(X)
        if self.link == "identity":
            return scores
        chosen = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        names: npt.NDArray[Any] = self.classes_[chosen]
        return names

    @available_if(lambda model: model.classes is not None)  # type: ignore[untyped-decorator]
    def gradient(self, X: pd.DataFrame | Rows, index: int) -> Floats:
        """The gradient of ``log f_index`` in the raw numeric columns, of shape (n, d); 0 for categories."""
        units = self.units(X)
        scores = units @ self.coefs_[1] + self.intercepts_[1]
        outer = (
            log_slopes(scores, "softmax", index)
            if self.link == "softmax"
            else log_slopes(scores[:, 0], "logistic", index)
        )
        inner = outer @ self.coefs_[1].T * activation_slopes(units, self.activation)
        return raw_gradient(self.space, inner @ self.coefs_[0].T)

    def canonical(self) -> PerceptronModel:
        """The same function in a form in which two models can be compared.

        Units are sorted by their weights, and turned so that their first large weight is positive (for tanh and
        logistic) or of length 1 (for ReLU); weights into a softmax are zero-sum over the classes.
        """
        (first, second), (inner, outer) = (c.copy() for c in self.coefs_), (b.copy() for b in self.intercepts_)
        if self.activation == "relu":
            length = np.linalg.norm(np.vstack([first, inner]), axis=0)
            length[length == 0] = 1.0
            first, inner, second = first / length, inner / length, second * length[:, None]
        else:
            strongest = np.abs(first).argmax(axis=0)
            turned = first[strongest, np.arange(self.hidden)] < 0
            if self.activation == "logistic":  # σ(−u) = 1 − σ(u)
                outer += second[turned].sum(axis=0)
            first[:, turned], inner[turned], second[turned] = -first[:, turned], -inner[turned], -second[turned]
        if self.link == "softmax":
            second -= second.mean(axis=1, keepdims=True)
            outer -= outer.mean()
        order = np.lexsort(np.vstack([inner, first[::-1]]))
        coefs, intercepts = (first[:, order], second[order]), (inner[order], outer)
        return PerceptronModel(self.space, self.classes, coefs, intercepts, self.activation, self.link)

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> Path:
        """Write the model as ``.npz`` with its schema as JSON inside; nothing is pickled."""
        facts = {"classes": self.classes, "activation": self.activation, "link": self.link}
        arrays = {"first": self.coefs_[0], "second": self.coefs_[1]}
        arrays |= {"inner": self.intercepts_[0], "outer": self.intercepts_[1]}
        return files.write(path, "perceptron", facts, self.space, arrays)

    @classmethod
    def stored(cls, stored: files.Stored) -> PerceptronModel:
        """Make the model that a file holds."""
        arrays, facts = stored.arrays, stored.facts
        classes = None if facts["classes"] is None else tuple(facts["classes"])
        coefs, intercepts = (arrays["first"], arrays["second"]), (arrays["inner"], arrays["outer"])
        return cls(stored.space, classes, coefs, intercepts, facts["activation"], facts["link"])


def activate(inputs: Floats, activation: Activation) -> Floats:
    """Apply an activation to the inputs of hidden units, elementwise."""
    if activation == "relu":
        return np.maximum(inputs, 0.0)
    return np.asarray(np.tanh(inputs) if activation == "tanh" else expit(inputs))


def activation_slopes(units: Floats, activation: Activation) -> Floats:
    """The derivative of an activation, from its values; elementwise."""
    if activation == "relu":
        return np.asarray(units > 0, dtype=np.float64)
    return np.asarray(1 - units**2 if activation == "tanh" else units * (1 - units))
