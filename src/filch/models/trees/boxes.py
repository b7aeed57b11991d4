"""Axis-parallel boxes with a label or value each: what the paper's path finding describes leaves by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.core.features import FeatureSpace, Rows
from filch.errors import UsageError
from filch.models import files

_CELLS = 2**24  # of a block of rows × boxes


@dataclass(frozen=True, eq=False)
class BoxesModel:
    """A list of boxes; a row is answered by the first one that holds it, and else as most boxes are.

    Parameters
    ----------
    space : FeatureSpace
    classes : tuple or None
        The class names; None if boxes have values.
    low, high : (m, d)
        A box takes ``low < x ≤ high`` of numeric columns.
    open : (m, total of categories) bool
        The categories that a box takes, the columns' blocks one after the other.
    answer : (m,)
        Class indices, or values.

    Raises
    ------
    UsageError
        Shapes that do not belong together, or no box.

    Examples
    --------
    >>> low, high = np.array([[-np.inf], [1.0]]), np.array([[1.0], [np.inf]])
    >>> none = np.ones((2, 0), dtype=bool)
    >>> model = BoxesModel(FeatureSpace.box([0], [2]), ("a", "b"), low, high, none, np.array([0, 1]))
    >>> model.predict([[1.0], [1.5]]).tolist()
    ['a', 'b']
    """

    space: FeatureSpace
    classes: tuple[Any, ...] | None
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    open: npt.NDArray[np.bool_]
    answer: npt.NDArray[Any]

    def __post_init__(self) -> None:
        shape = (len(self.answer), len(self.space))
        if not shape[0] or self.low.shape != shape or self.high.shape != shape:
            raise UsageError(f"boxes need low and high of shape {shape}, got {self.low.shape} and {self.high.shape}")
        if self.open.shape != (shape[0], int(self.space.sizes.sum())):
            raise UsageError(f"boxes need one column a category, {int(self.space.sizes.sum())}, got {self.open.shape}")

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (c,)."""
        if self.classes is None:
            raise AttributeError("these boxes have values, no classes")
        return np.asarray(self.classes)

    @property
    def n_parameters(self) -> int:
        """An answer a box, and each bound."""
        bounds = np.isfinite(self.low).sum() + np.isfinite(self.high).sum() + (~self.open).sum()
        return len(self.answer) + int(bounds)

    @property
    def n_leaves(self) -> int:
        """The number of boxes."""
        return len(self.answer)

    def which(self, X: pd.DataFrame | Rows) -> npt.NDArray[np.int64]:
        """The first box that holds each row, −1 where none does; an omitted or unknown value fits every box."""
        rows = self.space.rows_of(X)
        found = np.full(len(rows), -1)
        size = max(1, _CELLS // len(self.answer))
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            fits = np.ones((len(block), len(self.answer)), dtype=bool)
            ends = np.cumsum(self.space.sizes)
            for column, end in enumerate(ends):
                value = block[:, column]
                if self.space.categorical[column]:
                    known = value >= 0
                    codes = np.where(known, value, 0).astype(np.int64) + end - self.space.sizes[column]
                    fits &= self.open[:, codes].T | ~known[:, None]
                else:
                    inside = (value[:, None] > self.low[:, column]) & (value[:, None] <= self.high[:, column])
                    fits &= inside | np.isnan(value)[:, None]
            held = fits.any(axis=1)
            found[start : start + size][held] = fits[held].argmax(axis=1)
        return found

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """The class (as the target names it) or value of each row, of shape (n,)."""
        values, counts = np.unique(self.answer, return_counts=True)
        chosen = np.append(self.answer, values[counts.argmax()])[self.which(X)]
        found: npt.NDArray[Any] = chosen if self.classes is None else self.classes_[chosen]
        return found

    def save(self, path: str | Path) -> Path:
        """Write the boxes as ``.npz`` with their schema as JSON inside; nothing is pickled."""
        arrays = {name: getattr(self, name) for name in ("low", "high", "open", "answer")}
        return files.write(path, "boxes", {"classes": self.classes}, self.space, arrays)

    @classmethod
    def stored(cls, stored: files.Stored) -> BoxesModel:
        """Make the boxes that a file holds."""
        classes = stored.facts["classes"]
        return cls(stored.space, None if classes is None else tuple(classes), **stored.arrays)
