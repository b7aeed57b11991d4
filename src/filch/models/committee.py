"""Committees of networks with one hidden layer: their probabilities averaged, in plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import softmax

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows
from filch.errors import UsageError
from filch.models import files
from filch.models.perceptron import Activation, activate

Floats = npt.NDArray[np.float64]
_BLOCK = 2**22  # activations that are held at once


@dataclass(frozen=True, eq=False)
class CommitteeModel:
    """The mean of k networks ``softmax(g(x·W₁ + b₁)·W₂ + b₂)``, with scikit-learn's interface.

    Parameters
    ----------
    space : FeatureSpace
        The raw columns; they are one-hot encoded and scaled to [−1, 1] (`filch.core.encoding.OneHot`).
    classes : tuple
        The class names in the order of the probabilities.
    inner : (k, width + 1, h)
        Each network's weights into its h hidden units; the last row is the biases.
    outer : (k, h + 1, c)
        Its weights out of them, likewise.
    activation : {"tanh", "logistic", "relu"}
        Of the hidden units.

    Raises
    ------
    UsageError
        Shapes that do not belong together, or an activation that does not exist.

    Examples
    --------
    >>> space = FeatureSpace.box([0], [2])
    >>> inner, outer = np.array([[[5.0], [0.0]]]), np.array([[[-1.0, 1.0], [0.0, 0.0]]])
    >>> CommitteeModel(space, ("a", "b"), inner, outer).predict([[0.0], [2.0]]).tolist()
    ['a', 'b']
    """

    space: FeatureSpace
    classes: tuple[Any, ...]
    inner: Floats
    outer: Floats
    activation: Activation = "tanh"

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            raise UsageError(f"no network has activation {self.activation!r}")
        members, hidden = (self.inner.shape[0], self.inner.shape[-1]) if self.inner.ndim == 3 else (0, 0)
        shapes = (members, OneHot(self.space).width + 1, hidden), (members, hidden + 1, len(self.classes))
        if not members or (self.inner.shape, self.outer.shape) != shapes:
            raise UsageError(
                f"a committee of these columns and classes needs weights of shapes {shapes[0]} and {shapes[1]}, at "
                f"least one of each, got {self.inner.shape} and {self.outer.shape}"
            )

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (c,)."""
        return np.asarray(self.classes)

    @property
    def n_parameters(self) -> int:
        """The number of fitted numbers, over all networks."""
        return self.inner.size + self.outer.size

    def votes(self, rows: Rows) -> Floats:
        """Each network's class probabilities for coded rows, of shape (k, n, c)."""
        encoded = OneHot(self.space).encode(rows)
        out = np.empty((len(self.inner), len(rows), len(self.classes)))
        block = max(1, _BLOCK // self.inner.shape[-1])
        for start in range(0, len(rows), block):
            part = slice(start, start + block)
            units = activate(encoded[part] @ self.inner[:, :-1] + self.inner[:, -1:], self.activation)
            out[:, part] = softmax(units @ self.outer[:, :-1] + self.outer[:, -1:], axis=2)
        return out

    def predict_proba(self, X: pd.DataFrame | Rows) -> Floats:
        """Class probabilities, of shape (n, c)."""
        mean: Floats = self.votes(self.space.rows_of(X)).mean(axis=0)
        return mean

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """The most probable class of each row, as the target names it, of shape (n,)."""
        names: npt.NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return names

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> Path:
        """Write the model as ``.npz`` with its schema as JSON inside; nothing is pickled."""
        facts = {"classes": self.classes, "activation": self.activation}
        return files.write(path, "committee", facts, self.space, {"inner": self.inner, "outer": self.outer})

    @classmethod
    def stored(cls, stored: files.Stored) -> CommitteeModel:
        """Make the model that a file holds."""
        arrays, facts = stored.arrays, stored.facts
        return cls(stored.space, tuple(facts["classes"]), arrays["inner"], arrays["outer"], facts["activation"])
