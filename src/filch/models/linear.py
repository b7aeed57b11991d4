"""Linear regressions in plain NumPy, over the one-hot view of the raw columns."""

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

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A linear regression, with scikit-learn's regressor interface.

    Parameters
    ----------
    space : FeatureSpace
        The raw columns; they are one-hot encoded and scaled to [−1, 1] (`filch.core.encoding.OneHot`).
    coef_ : (width,)
        Weights over the encoded columns ``feature_names_``.
    intercept_ : float

    Raises
    ------
    UsageError
        Not one weight for each encoded column.

    Examples
    --------
    >>> LinearModel(FeatureSpace.box([0], [2]), np.array([5.0]), 1.0).predict([[0.0], [2.0]]).tolist()
    [-4.0, 6.0]
    """

    space: FeatureSpace
    coef_: Floats
    intercept_: float

    def __post_init__(self) -> None:
        expected = (OneHot(self.space).width,)
        if self.coef_.shape != expected:
            raise UsageError(f"a linear model of these columns needs coef_ of shape {expected}, got {self.coef_.shape}")

    @property
    def feature_names_(self) -> tuple[str, ...]:
        """The names of the encoded columns: ``age``, ``sex=f``, ``sex=m``."""
        return OneHot(self.space).names

    @property
    def n_parameters(self) -> int:
        """The number of identifiable parameters."""
        return OneHot(self.space).free + 1

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """Predict values, of shape (n,)."""
        return np.asarray(OneHot(self.space).encode(self.space.rows_of(X)) @ self.coef_ + self.intercept_)

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> Path:
        """Write the model as ``.npz`` with its schema as JSON inside; nothing is pickled."""
        return files.write(path, "linear", {"intercept": self.intercept_}, self.space, {"coef": self.coef_})

    @classmethod
    def stored(cls, stored: files.Stored) -> LinearModel:
        """Make the model that a file holds."""
        return cls(stored.space, stored.arrays["coef"], float(stored.facts["intercept"]))
