"""Additive models: a sum of functions of one attribute each, piecewise constant or linear, behind a link.

What `filch.attacks.binned_linear` returns: linear models behind one-hot encoding, quantile bins and normalisation are
such sums over raw columns, whatever the hidden encoding was.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.core.features import FeatureSpace, Rows
from filch.errors import UsageError
from filch.models import files
from filch.models.logistic import probabilities

AdditiveLink = Literal["identity", "softmax", "ovr"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """The function of one attribute, with k scores; 0 where the attribute is omitted.

    Parameters
    ----------
    edges : (m,), ascending
        Steps of a numeric attribute; a value on an edge belongs below it. Empty if there are none.
    values : (m + 1, k)
        The scores of each bin, or (categories + 1, k) of each category and of an unknown one.
    slope : (k,), optional
        Of a numeric attribute that is linear: ``values[0] + slope · x``.
    """

    edges: Floats
    values: Floats
    slope: Floats | None = None

    @property
    def kind(self) -> str:
        """``linear`` or ``binned`` (categories too)."""
        return "binned" if self.slope is None else "linear"


@dataclass(frozen=True, eq=False)
class AdditiveModel:
    """An additive model over raw columns, with scikit-learn's interface.

    Parameters
    ----------
    space : FeatureSpace
    classes : tuple or None
        None for a regression.
    intercept_ : (k,)
        The scores where every attribute is omitted; k classes, or 1 for a regression.
    parts : sequence of Part
        One a column.
    link : {"identity", "softmax", "ovr"}
        Identity for a regression; ``f_i ∝ exp(z_i)``, with two classes too; ``f_i ∝ σ(z_i)``.
    threshold : float, default 0.5
        With two classes: the lowest probability of the second one at which it is the label.

    Raises
    ------
    UsageError
        Shapes that do not belong together.

    Examples
    --------
    >>> part = Part(np.array([0.5]), np.array([[0.0], [3.0]]))
    >>> AdditiveModel(FeatureSpace.box([0], [1]), None, np.array([1.0]), (part,)).predict([[0.2], [0.7]]).tolist()
    [1.0, 4.0]
    """

    space: FeatureSpace
    classes: tuple[Any, ...] | None
    intercept_: Floats
    parts: tuple[Part, ...]
    link: AdditiveLink = "identity"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        k = len(self.classes) if self.classes is not None else 1
        if (self.classes is None) != (self.link == "identity"):
            raise UsageError("the identity link goes with a regression, softmax and ovr with classes")
        if len(self.parts) != len(self.space) or self.intercept_.shape != (k,):
            raise UsageError(f"an additive model of {len(self.space)} columns has so many parts and {k} intercepts")
        for name, size, part in zip(self.space.names, self.space.sizes, self.parts, strict=True):
            rows = size + 1 if size else len(part.edges) + 1
            if part.values.shape != (rows, k) or (part.slope is not None and (size or part.slope.shape != (k,))):
                raise UsageError(f"the part of {name!r} should hold values of shape ({rows}, {k})")

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (c,)."""
        if self.classes is None:
            raise AttributeError("a regression has no classes_")
        return np.asarray(self.classes)

    @property
    def edges_(self) -> dict[str, Floats]:
        """The edges of each numeric attribute that is not linear, by name."""
        columns = zip(self.space.names, self.space.sizes, self.parts, strict=True)
        return {name: part.edges for name, size, part in columns if not size and part.slope is None}

    @property
    def n_parameters(self) -> int:
        """Scores and edges; a softmax does without one of its classes."""
        free = len(self.intercept_) - (self.link == "softmax")
        scores = sum(len(part.values) + (part.slope is not None) for part in self.parts) + 1
        return int(free * scores + sum(len(part.edges) for part in self.parts))

    def decision_function(self, X: pd.DataFrame | Rows) -> Floats:
        """Raw scores, of shape (n, k)."""
        rows = self.space.rows_of(X)
        scores = np.tile(self.intercept_, (len(rows), 1))
        for column, (size, part) in enumerate(zip(self.space.sizes, self.parts, strict=True)):
            x = rows[:, column]
            given = np.flatnonzero(~np.isnan(x))
            scores[given] += effects(part, bool(size), x[given])
        return scores

    def predict_proba(self, X: pd.DataFrame | Rows) -> Floats:
        """Class probabilities, of shape (n, c)."""
        if self.link == "identity":
            raise AttributeError("a regression has no probabilities")
        return probabilities(self.decision_function(X), self.link)

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """Labels as the target names them, or values, of shape (n,)."""
        if self.link == "identity":
            return self.decision_function(X)[:, 0]
        shares = self.predict_proba(X)
        two = shares.shape[1] == 2
        chosen = (shares[:, 1] >= self.threshold).astype(int) if two else shares.argmax(axis=1)
        names: npt.NDArray[Any] = self.classes_[chosen]
        return names

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> Path:
        """Write the model as ``.npz`` with its schema as JSON inside; nothing is pickled."""
        facts = {"classes": self.classes, "link": self.link, "threshold": self.threshold}
        arrays = {"intercept": self.intercept_}
        for column, part in enumerate(self.parts):
            arrays |= {f"edges{column}": part.edges, f"values{column}": part.values}
            if part.slope is not None:
                arrays[f"slope{column}"] = part.slope
        return files.write(path, "additive", facts, self.space, arrays)

    @classmethod
    def stored(cls, stored: files.Stored) -> AdditiveModel:
        """Make the model that a file holds."""
        facts, arrays = stored.facts, stored.arrays
        parts = tuple(
            Part(arrays[f"edges{column}"], arrays[f"values{column}"], arrays.get(f"slope{column}"))
            for column in range(len(stored.space))
        )
        classes = None if facts["classes"] is None else tuple(facts["classes"])
        return cls(stored.space, classes, arrays["intercept"], parts, facts["link"], facts["threshold"])


def effects(part: Part, categorical: bool, x: Floats) -> Floats:
    """The scores that given values of one attribute add, of shape (n, k); code −1 is an unknown category."""
    if categorical:
        return np.asarray(part.values[x.astype(np.int64)])  # −1 is the last row
    if part.slope is not None:
        return np.asarray(part.values[0] + x[:, None] * part.slope)
    return np.asarray(part.values[np.searchsorted(part.edges, x, side="left")])
