"""Polynomial models in plain NumPy: the sign of a polynomial in the raw columns, as polynomial kernels give it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from math import comb
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
_BLOCK = 4_000_000  # numbers of a matrix that is made at once


@dataclass(frozen=True)
class Monomials:
    """The explicit feature map φ of polynomial kernels: all monomials up to a degree [Tramèr16, §6].

    In the free encoded columns: numbers scaled to [−1, 1], and categories as 0 or 1 but for the first of each column.
    Products that are 0 on every row, or that repeat another one, are left out: those of two categories of one column,
    and powers of a column with fewer values than that. Whatever γ and constant a kernel ``(γ x·y + c)^degree`` has, and
    however its columns are scaled and shifted, a decision of it is linear in φ.

    Parameters
    ----------
    space : FeatureSpace
    degree : int
        From 1.

    Examples
    --------
    >>> view = Monomials(FeatureSpace.box([-1, -1], [1, 1]), 2)
    >>> view.names
    ('x0', 'x1', 'x0·x0', 'x0·x1', 'x1·x1', '1')
    >>> view.matrix(np.array([[0.5, 1.0]]))
    array([[0.5 , 1.  , 0.25, 0.5 , 1.  , 1.  ]])
    """

    space: FeatureSpace
    degree: int

    def __post_init__(self) -> None:
        if self.degree < 1:
            raise UsageError("a polynomial has a degree of 1 or more")

    def __getstate__(self) -> dict[str, object]:
        """Leave the cached properties out, so that use does not change a pickle."""
        return {"space": self.space, "degree": self.degree}

    @cached_property
    def view(self) -> OneHot:
        """The encoded view."""
        return OneHot(self.space)

    @staticmethod
    def count(d: int, degree: int) -> int:
        """How many monomials there are over d numbers, the constant among them."""
        return comb(d + degree, degree)

    @cached_property
    def kept(self) -> npt.NDArray[np.int64]:
        """The free encoded columns."""
        columns: list[int] = []
        for column, (start, width) in enumerate(zip(self.view.starts, self.view.widths, strict=True)):
            if self.space.categorical[column]:
                columns += range(start + 1, start + width)
            elif self.space.high[column] > self.space.low[column]:
                columns.append(start)
        return np.array(columns, dtype=np.int64)

    @cached_property
    def factors(self) -> npt.NDArray[np.int64]:
        """Of each monomial, the places of its factors among the free columns and a last one of ones; (p, degree)."""
        raw = np.searchsorted(self.view.starts, self.kept, side="right") - 1  # the raw column of each free one
        space, ones = self.space, len(self.kept)
        wide = np.where(
            space.grid > 0, np.floor((space.high - space.low) / np.where(space.grid > 0, space.grid, 1)), 99
        )
        most = np.where(space.categorical, 1, np.round(wide))[raw]
        found: list[tuple[int, ...]] = []
        for degree in range(1, self.degree + 1):
            for factors in combinations_with_replacement(range(ones), degree):
                columns = [raw[factor] for factor in set(factors)]
                if len(set(columns)) == len(columns) and all(factors.count(f) <= most[f] for f in set(factors)):
                    found.append((*factors, *[ones] * (self.degree - degree)))
        return np.array([*found, (ones,) * self.degree], dtype=np.int64)

    @property
    def size(self) -> int:
        """The number of monomials, the constant among them."""
        return len(self.factors)

    @property
    def names(self) -> tuple[str, ...]:
        """The monomials, in order."""
        names = [self.view.names[column] for column in self.kept]
        return tuple("·".join(names[f] for f in factors if f < len(names)) or "1" for factors in self.factors)

    def matrix(self, rows: Rows) -> Floats:
        """The monomials of rows, of shape (n, size); the last column is ones."""
        free = np.column_stack([self.view.encode(rows)[:, self.kept], np.ones(len(rows))])
        product = free[:, self.factors[:, 0]]
        for place in range(1, self.degree):
            product *= free[:, self.factors[:, place]]
        return product

    def model(self, weights: Floats, classes: tuple[Any, ...]) -> PolynomialModel:
        """The model of weights (p,)."""
        return PolynomialModel(self.space, classes, weights, self.degree)


@dataclass(frozen=True, eq=False)
class PolynomialModel:
    """The sign of a polynomial, with scikit-learn's classifier interface.

    Parameters
    ----------
    space : FeatureSpace
        The raw columns.
    classes : tuple
        Of two names, the second where the polynomial is above 0.
    coef_ : (p,)
        Weights of the monomials ``feature_names_``, the constant last.
    degree : int

    Raises
    ------
    UsageError
        Shapes that do not belong together.

    Examples
    --------
    >>> space = FeatureSpace.box([-1], [1])
    >>> PolynomialModel(space, ("in", "out"), np.array([0.0, 1.0, -0.25]), 2).predict([[0.4], [-0.6]]).tolist()
    ['in', 'out']
    """

    space: FeatureSpace
    classes: tuple[Any, ...]
    coef_: Floats
    degree: int

    def __post_init__(self) -> None:
        if self.coef_.shape != (self.monomials.size,) or len(self.classes) != 2:
            raise UsageError(
                f"a polynomial of degree {self.degree} over these columns takes {self.monomials.size} weights and two "
                f"classes, got coef_ of shape {self.coef_.shape} and {len(self.classes)} classes"
            )

    def __getstate__(self) -> dict[str, object]:
        """Leave the cached property out, so that use changes no model's fingerprint."""
        return {"space": self.space, "classes": self.classes, "coef_": self.coef_, "degree": self.degree}

    @cached_property
    def monomials(self) -> Monomials:
        """The feature map."""
        return Monomials(self.space, self.degree)

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (2,)."""
        return np.asarray(self.classes)

    @property
    def feature_names_(self) -> tuple[str, ...]:
        """The monomials: ``age``, ``age·sum``, ``1``."""
        return self.monomials.names

    @property
    def n_parameters(self) -> int:
        """The number of weights."""
        return len(self.coef_)

    def decision_function(self, X: pd.DataFrame | Rows) -> Floats:
        """The polynomial, of shape (n,); its scale means nothing."""
        rows = self.space.rows_of(X)
        step = max(1, _BLOCK // len(self.coef_))
        blocks = [self.monomials.matrix(rows[start : start + step]) for start in range(0, len(rows), step)]
        return np.concatenate([np.empty(0), *(block @ self.coef_ for block in blocks)])

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """The class of each row, as the target names it, of shape (n,)."""
        names: npt.NDArray[Any] = self.classes_[(self.decision_function(X) > 0).astype(int)]
        return names

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> Path:
        """Write the model as ``.npz`` with its schema as JSON inside; nothing is pickled."""
        facts = {"classes": self.classes, "degree": self.degree}
        return files.write(path, "polynomial", facts, self.space, {"coef": self.coef_})

    @classmethod
    def stored(cls, stored: files.Stored) -> PolynomialModel:
        """Make the model that a file holds."""
        facts = stored.facts
        return cls(stored.space, tuple(facts["classes"]), stored.arrays["coef"], int(facts["degree"]))
