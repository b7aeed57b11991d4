"""Logistic models in which a missing value has a weight of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.core.features import FeatureSpace, Rows
from filch.models import files
from filch.models.logistic import Floats, LogisticModel, probabilities


@dataclass(frozen=True, eq=False)
class MissingLogisticModel:
    """A logistic model of complete rows, and what a missing value adds to the scores in place of a given one.

    Parameters
    ----------
    whole : LogisticModel
        The model of complete rows.
    missing_ : (vectors, d)
        What each column adds to each score where it is omitted.

    Examples
    --------
    >>> whole = LogisticModel(FeatureSpace.box([0], [2]), ("a", "b"), np.array([[5.0]]), np.array([1.0]))
    >>> MissingLogisticModel(whole, np.array([[-9.0]])).predict([[2.0], [np.nan]]).tolist()
    ['b', 'a']
    """

    whole: LogisticModel
    missing_: Floats

    @property
    def space(self) -> FeatureSpace:
        """The raw columns."""
        return self.whole.space

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (c,)."""
        return self.whole.classes_

    @property
    def n_parameters(self) -> int:
        """The number of identifiable parameters."""
        return self.whole.n_parameters + self.missing_.size

    def decision_function(self, X: pd.DataFrame | Rows) -> Floats:
        """Raw scores, of shape (n, c), or (n,) if binary."""
        rows = self.space.rows_of(X)
        added = np.isnan(rows) @ self.missing_.T
        scores: Floats = self.whole.decision_function(rows) + (added[:, 0] if self.whole.link == "logistic" else added)
        return scores

    def predict_proba(self, X: pd.DataFrame | Rows) -> Floats:
        """Class probabilities, of shape (n, c)."""
        return probabilities(self.decision_function(X), self.whole.link)

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """The most probable class of each row, as the target names it, of shape (n,)."""
        names: npt.NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return names

    def save(self, path: str | Path) -> Path:
        """Write the model as ``.npz`` with its schema as JSON inside; nothing is pickled."""
        whole = self.whole
        facts = {"link": whole.link, "classes": whole.classes, "omission": whole.omission}
        arrays = {"coef": whole.coef_, "intercept": whole.intercept_, "missing": self.missing_}
        return files.write(path, "logistic-missing", facts, self.space, arrays)

    @classmethod
    def stored(cls, stored: files.Stored) -> MissingLogisticModel:
        """Make the model that a file holds."""
        return cls(LogisticModel.stored(stored), stored.arrays["missing"])
