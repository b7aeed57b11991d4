"""The feature space: what a row may hold, and how raw columns become a float matrix and back.

Inside filch a row is a float64 vector with one entry per raw column: a number, or the code ``0 … k − 1`` of a
category. ``NaN`` means *omitted* and nothing else; ``−1`` is a value outside the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.core.columns import (
    UNKNOWN,
    UNKNOWN_TEXT,
    Categorical,
    Feature,
    Missing,
    Numeric,
    Rows,
    check_feature,
    decode_column,
    encode_column,
    listed,
    read_feature,
    text_table,
)
from filch.errors import SchemaError


class _Schema(msgspec.Struct, forbid_unknown_fields=True):
    features: tuple[Feature, ...]
    named: bool = True


@dataclass(frozen=True)
class FeatureSpace:
    """The public input schema of a prediction API.

    Parameters
    ----------
    features : tuple of Numeric or Categorical
        One per raw column, in the order of the columns.
    named : bool, default True
        Whether the target takes a DataFrame with these column names (True) or a plain matrix (False).

    Raises
    ------
    SchemaError
        No features, a name that comes twice, a range that is not finite or is upside down, no categories.

    Examples
    --------
    >>> space = FeatureSpace((Numeric("age", 18, 90, integer=True), Categorical("sex", ("f", "m"))))
    >>> space.decode(space.encode([[40, "m"]])).to_dict("list")
    {'age': [40], 'sex': ['m']}
    """

    features: tuple[Feature, ...]
    named: bool = True

    def __post_init__(self) -> None:
        if not self.features:
            raise SchemaError("a feature space needs at least one feature")
        if len(set(self.names)) < len(self.features):
            raise SchemaError("feature names must be unique: rename the columns that share a name")
        for feature in self.features:
            check_feature(feature)

    def __getstate__(self) -> dict[str, object]:
        """Leave the cached properties out, so that use changes neither a pickle nor a model's fingerprint."""
        return {"features": self.features, "named": self.named}

    # ── making one ──────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, missing: Missing = "error") -> FeatureSpace:
        """Read the schema off a table: numeric columns become ranges, all others categories.

        Parameters
        ----------
        frame : DataFrame of shape (n, d)
            Raw columns, without the target column.
        missing : {"error", "category", "omit"}
            What a missing value is: an error, a category of its own (in categorical columns), or an omitted feature.

        Raises
        ------
        SchemaError
            An empty table, infinity, a column without a value, or a missing value where ``missing`` does not allow it.

        Examples
        --------
        >>> FeatureSpace.from_frame(pd.DataFrame({"a": [0.5, 2.0], "b": ["x", "y"]})).names
        ('a', 'b')
        """
        if not len(frame):
            raise SchemaError("the table has no rows to read ranges and categories from")
        columns = ((str(name), frame.iloc[:, position]) for position, name in enumerate(frame.columns))
        return cls(tuple(read_feature(name, column, missing) for name, column in columns))

    @classmethod
    def box(cls, low: npt.ArrayLike, high: npt.ArrayLike, names: Sequence[str] | None = None) -> FeatureSpace:
        """Continuous features ``low ≤ x ≤ high``, for a target that takes a plain matrix (a DataFrame if named).

        Parameters
        ----------
        low, high : float or (d,)
            In the units of the columns; one number stands for all columns.
        names : sequence of str, optional
            By default ``x0``, ``x1``, ….

        Raises
        ------
        SchemaError
            Numbers of lows, highs and names that differ, no numbers, or a range that ends below its beginning.

        Examples
        --------
        >>> FeatureSpace.box([-1, -1], [1, 1]).names
        ('x0', 'x1')
        """
        wanted = "a box needs one low and one high number a column"
        try:
            low, high = np.asarray(low, float), np.asarray(high, float)
        except (TypeError, ValueError) as error:
            raise SchemaError(f"{wanted}: {error}") from error
        if max(low.ndim, high.ndim) > 1 or (low.ndim == high.ndim and low.shape != high.shape):
            raise SchemaError(f"{wanted}, got shapes {low.shape} and {high.shape}")
        low, high = np.broadcast_arrays(np.atleast_1d(low), high)
        labels = [f"x{j}" for j in range(low.size)] if names is None else [str(name) for name in names]
        if len(labels) != low.size:
            raise SchemaError(f"{low.size} ranges, but {len(labels)} names")
        features = tuple(Numeric(n, float(a), float(b)) for n, a, b in zip(labels, low, high, strict=True))
        return cls(features, named=names is not None)

    # ── public facts ────────────────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        return len(self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def categorical(self) -> npt.NDArray[np.bool_]:
        """Which columns are categorical, of shape (d,)."""
        return np.array([isinstance(f, Categorical) for f in self.features])

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of categories of each column, 0 for a numeric one, of shape (d,)."""
        return np.array([len(f.categories) if isinstance(f, Categorical) else 0 for f in self.features])

    @cached_property
    def low(self) -> Rows:
        """The lowest value (code) of each column, of shape (d,)."""
        # + 0.0 makes −0 to 0: NumPy's uniform takes a range from 0 to −0 for one of negative width.
        return np.array([f.low if isinstance(f, Numeric) else 0.0 for f in self.features]) + 0.0

    @cached_property
    def high(self) -> Rows:
        """The highest value (code) of each column, of shape (d,)."""
        return np.array([f.high if isinstance(f, Numeric) else len(f.categories) - 1.0 for f in self.features]) + 0.0

    @cached_property
    def grid(self) -> Rows:
        """The distance between neighbouring values of each column, 0 where continuous, of shape (d,)."""
        return np.array([f.grid if isinstance(f, Numeric) else 1.0 for f in self.features])

    # ── rows ────────────────────────────────────────────────────────────────────────────────────────────

    def sample(self, n: int, rng: np.random.Generator) -> Rows:
        """Draw n rows uniformly from the space: the points of R_unif [Tramèr16, §4]. Shape (n, d)."""
        rows = np.minimum(rng.uniform(self.low, self.high, size=(n, len(self))), self.high)
        discrete = self.grid > 0
        if discrete.any():
            rows[:, discrete] = self._at(np.floor(rng.random((n, int(discrete.sum()))) * (self._steps + 1)))
        return rows

    def snap(self, rows: Rows) -> Rows:
        """Move rows into the ranges and onto the grid of integer and stepped features."""
        rows = np.clip(rows, self.low, self.high)
        discrete = self.grid > 0
        places = np.round((rows[..., discrete] - self.low[discrete]) / self.grid[discrete])
        rows[..., discrete] = self._at(np.minimum(places, self._steps))
        return rows

    @cached_property
    def _steps(self) -> Rows:
        """The number of steps from the lowest to the highest value of each discrete column."""
        discrete = self.grid > 0
        return np.floor((self.high - self.low)[discrete] / self.grid[discrete] + 1e-9)

    def _at(self, places: Rows) -> Rows:
        """The values at so many steps above the lowest, for the discrete columns."""
        discrete = self.grid > 0
        return np.minimum(self.low[discrete] + self.grid[discrete] * places, self.high[discrete])

    def check(self, rows: npt.ArrayLike, *, omission: bool = False) -> Rows:
        """Return coded rows as a read-only float64 matrix, or say what is wrong with them.

        Numeric values outside the declared range are allowed: the range says where targets are used, not what
        they accept.

        Raises
        ------
        SchemaError
            The wrong number of columns, infinity, NaN where omission is not accepted, or a code that is none.
        """
        try:
            matrix = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise SchemaError(f"coded rows are numbers: {error}; encode raw columns first") from error
        if matrix.ndim != 2 or matrix.shape[1] != len(self):
            shape = " × ".join(map(str, matrix.shape))
            raise SchemaError(f"rows must be n × {len(self)} (columns: {listed(self.names)}), got {shape}")
        if not _surely_finite(matrix):
            if np.isinf(matrix).any():
                name = self.names[int(np.isinf(matrix).any(axis=0).argmax())]
                raise SchemaError(f"infinity in column {name!r}: give finite numbers")
            gaps = np.isnan(matrix)
            if gaps.any() and not omission:
                name = self.names[int(gaps.any(axis=0).argmax())]
                raise SchemaError(f"NaN in column {name!r}: this oracle does not accept omitted features")
        if self.categorical.any():
            codes, sizes = matrix[:, self.categorical], self.sizes[self.categorical]
            good = (codes == np.rint(codes)) & (codes >= UNKNOWN) & (codes < sizes)
            if not good.all() and (bad := ~good & ~np.isnan(codes)).any():
                column = int(bad.any(axis=0).argmax())
                name = self.names[int(np.flatnonzero(self.categorical)[column])]
                value = codes[bad[:, column].argmax(), column]
                raise SchemaError(f"{value:g} is no category code of column {name!r} (0 … {sizes[column] - 1})")
        if matrix.flags.writeable:
            matrix = matrix.copy() if matrix is rows or matrix.base is not None else matrix
            matrix.flags.writeable = False
        return matrix

    def encode(self, raw: pd.DataFrame | npt.ArrayLike, *, unknown: Literal["error", "code"] = "error") -> Rows:
        """Turn raw columns into coded rows.

        Parameters
        ----------
        raw : DataFrame with (at least) the columns of the space, or array of shape (n, d)
            A DataFrame's columns are found by name. Missing values become the category ``None`` where the
            vocabulary has one, and else NaN (omitted).
        unknown : {"error", "code"}
            What to do with a value outside the vocabulary: raise, or code it −1.

        Raises
        ------
        SchemaError
            A missing column, text in a numeric column, or an unknown category.
        """
        if isinstance(raw, pd.DataFrame):
            places = {str(name): position for position, name in enumerate(raw.columns)}
            absent = [name for name in self.names if name not in places]
            if absent:
                raise SchemaError(f"the table has no column {listed(absent)}")
            columns: list[Any] = [raw.iloc[:, places[name]] for name in self.names]
        else:
            matrix = np.asarray(raw, dtype=object) if not isinstance(raw, np.ndarray) else raw
            if matrix.ndim != 2 or matrix.shape[1] != len(self):
                raise SchemaError(f"raw rows must have {len(self)} columns, got shape {matrix.shape}")
            columns = list(matrix.T)
        coded = [encode_column(f, pd.Series(c), unknown) for f, c in zip(self.features, columns, strict=True)]
        return np.column_stack(coded)

    def rows_of(self, X: pd.DataFrame | npt.ArrayLike) -> Rows:
        """Coded rows of whatever a user calls rows: a DataFrame of raw columns, or coded rows already."""
        return self.encode(X) if isinstance(X, pd.DataFrame) else self.check(X, omission=True)

    def decode(self, rows: npt.ArrayLike) -> pd.DataFrame:
        """Turn coded rows into raw columns: NaN becomes a missing value, −1 the text ``__unknown__``.

        Examples
        --------
        >>> FeatureSpace((Categorical("b", ("x", "y")),)).decode([[1.0]])["b"].tolist()
        ['y']
        """
        matrix = np.asarray(rows, dtype=np.float64)
        columns = zip(self.features, self._texts, matrix.T.copy(), strict=True)
        # Each column is new memory, which no copy need keep apart.
        return pd.DataFrame({f.name: decode_column(f, column, text) for f, text, column in columns}, copy=False)

    @cached_property
    def _texts(self) -> list[Any]:
        """The decoding table of each column of texts, None for the others."""
        return [text_table(feature) for feature in self.features]

    # ── JSON ────────────────────────────────────────────────────────────────────────────────────────────

    def to_json(self) -> bytes:
        """The schema as JSON; `from_json` is its inverse."""
        return msgspec.json.encode(_Schema(self.features, self.named))

    @classmethod
    def from_json(cls, text: bytes | str) -> FeatureSpace:
        """Read a schema that `to_json` wrote.

        Raises
        ------
        SchemaError
            The text is not such a schema.
        """
        try:
            schema = msgspec.json.decode(text, type=_Schema)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise SchemaError(f"not a feature schema: {error}") from error
        return cls(schema.features, schema.named)


def _surely_finite(matrix: Rows) -> bool:
    """Whether a matrix holds finite numbers only, told from the sum of their squares; False if that overflows."""
    flat = matrix.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.dot(flat, flat)))


__all__ = ["UNKNOWN", "UNKNOWN_TEXT", "Categorical", "Feature", "FeatureSpace", "Missing", "Numeric", "Rows"]
