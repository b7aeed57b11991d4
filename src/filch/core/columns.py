"""One raw column: what kind it is, and how its values become numbers and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.errors import SchemaError

Rows = npt.NDArray[np.float64]
Missing = Literal["error", "category", "omit"]

UNKNOWN = -1.0
"""The code of a value outside a categorical feature's vocabulary."""
UNKNOWN_TEXT = "__unknown__"
"""The raw value that stands for `UNKNOWN` where a text is needed."""
_MOST_STEPS = 2.0**53


class Numeric(msgspec.Struct, frozen=True, tag="numeric", omit_defaults=True, forbid_unknown_fields=True):
    """A number in ``[low, high]``, in multiples of ``step`` from ``low`` if a step is given.

    ``integer`` says that the raw column holds integers (its step is then 1 unless given).
    """

    name: str
    low: float
    high: float
    step: float | None = None
    integer: bool = False

    @property
    def grid(self) -> float:
        """The distance between neighbouring values; 0 for a continuous feature."""
        return self.step or (1.0 if self.integer else 0.0)


class Categorical(msgspec.Struct, frozen=True, tag="categorical", forbid_unknown_fields=True):
    """One of ``categories``; the code of a category is its position. ``None`` as a category means *missing*."""

    name: str
    categories: tuple[str | bool | int | float | None, ...]


Feature = Numeric | Categorical


def check_feature(feature: Feature) -> None:
    """Raise a `SchemaError` if a feature cannot be right."""
    name = feature.name
    if isinstance(feature, Categorical):
        _check_categories(name, feature.categories)
        return
    low, high, grid = feature.low, feature.high, feature.grid
    if not (math.isfinite(high - low) and low <= high):
        raise SchemaError(f"column {name!r} needs finite low ≤ high, got [{low}, {high}]")
    if feature.step is not None and not (feature.step > 0 and math.isfinite(feature.step)):
        raise SchemaError(f"column {name!r} needs a step above 0, got {feature.step}")
    if grid and (high - low) / grid > _MOST_STEPS:
        raise SchemaError(f"column {name!r} has too fine a step, {grid}: leave it out, the feature is continuous")
    if feature.integer and not (float(low).is_integer() and float(grid).is_integer()):
        raise SchemaError(f"column {name!r} holds integers: its low and step must be whole, got {low} and {grid}")


def _check_categories(name: str, categories: Sequence[object]) -> None:
    if not categories:
        raise SchemaError(f"column {name!r} has no categories")
    for category in categories:
        if not (category is None or isinstance(category, (str, bool, int, float))):
            kind = type(category).__name__
            raise SchemaError(f"column {name!r} holds {kind} values: turn them into numbers or text")
        if isinstance(category, float) and not math.isfinite(category):
            raise SchemaError(f"column {name!r} has the category {category}: a missing value is None")
        if isinstance(category, int) and abs(category) >= 2**63:
            raise SchemaError(f"column {name!r} has a category beyond 64 bits: turn its values into text")
    if len(set(categories)) < len(categories):  # 1, 1.0 and True are equal, and no table could tell them apart
        raise SchemaError(f"column {name!r} names a category twice")


def read_feature(name: str, column: pd.Series[Any], missing: Missing) -> Feature:
    """Read a feature off a column of raw values; see `FeatureSpace.from_frame`."""
    gaps = column.isna()
    present = column[~gaps]
    if present.empty:
        raise SchemaError(f"column {name!r} has no values: drop it")
    numeric = _is_real(column)
    if gaps.any() and (missing == "error" or (missing == "category" and numeric)):
        mend = "fill or drop it" if numeric else 'fill it, or pass missing="category"'
        raise SchemaError(f"column {name!r} has {int(gaps.sum())} missing values: {mend}")
    if numeric:
        values = present.to_numpy(dtype=np.float64)
        if not np.isfinite(values).all():
            raise SchemaError(f"infinity in column {name!r}: give finite numbers")
        integer = pd.api.types.is_integer_dtype(column.dtype)
        return Numeric(name, float(values.min()), float(values.max()), integer=integer)
    try:
        names = sorted((_plain(value) for value in present.unique()), key=lambda v: (type(v).__name__, v))
    except TypeError as error:
        raise SchemaError(f"column {name!r} holds values that are no categories: {error}") from error
    if gaps.any() and missing == "category":
        names.append(None)
    return Categorical(name, tuple(names))


def _is_real(column: pd.Series[Any]) -> bool:
    """Whether a column holds real numbers; truth values are categories."""
    kinds = pd.api.types
    no = kinds.is_bool_dtype(column.dtype) or kinds.is_complex_dtype(column.dtype)
    return kinds.is_numeric_dtype(column.dtype) and not no


def encode_column(feature: Feature, column: pd.Series[Any], unknown: str) -> Rows:
    """Code raw values; see `FeatureSpace.encode`."""
    gaps = column.isna().to_numpy(dtype=bool)
    if isinstance(feature, Numeric):
        try:
            numbers = column.where(~gaps, np.nan).to_numpy(dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise SchemaError(f"column {feature.name!r} takes numbers: {error}") from error
        if not np.isfinite(numbers[~gaps]).all():
            raise SchemaError(f"infinity, or a text that says NaN, in column {feature.name!r}: give finite numbers")
        return numbers
    codes = {value: float(code) for code, value in enumerate(feature.categories) if value is not None}
    try:
        kinds, values = pd.factorize(column)
    except TypeError as error:
        raise SchemaError(f"column {feature.name!r} takes categories: {error}") from error
    table = np.array([codes.get(_plain(value), UNKNOWN) for value in values] + [np.nan])
    coded: Rows = table[kinds]  # factorize codes missing values −1: the last entry
    if None in feature.categories:
        coded[gaps] = feature.categories.index(None)
    if unknown == "error" and (coded == UNKNOWN).any():
        value = _plain(column.iloc[int((coded == UNKNOWN).argmax())])
        known = listed([str(c) for c in feature.categories])
        raise SchemaError(f"{value!r} is no category of column {feature.name!r} ({known})")
    return coded


def text_table(feature: Feature) -> Any:
    """The raw values of a column of texts, by code, then a missing value and the unknown one; None for other columns.

    It has the type that pandas gives to such a column, so that taking from it is all that decoding needs.
    """
    if isinstance(feature, Numeric) or set(map(type, feature.categories)) != {str}:
        return None
    return pd.Series([*feature.categories, np.nan, UNKNOWN_TEXT]).array


def decode_column(feature: Feature, column: Rows, text: Any = None) -> Any:
    """Turn codes back into raw values, by `text_table` where there is one; see `FeatureSpace.decode`."""
    if isinstance(feature, Numeric):
        if feature.integer and ((column == np.rint(column)) & (np.abs(column) < 2.0**63)).all():  # NaN is neither
            return column.astype(np.int64)
        return column
    gaps = np.isnan(column)
    if text is not None:
        return text.take(np.where(gaps, len(feature.categories), column).astype(np.intp))  # −1: the last entry
    table = np.empty(len(feature.categories) + 2, dtype=object)
    table[: len(feature.categories)] = [np.nan if c is None else c for c in feature.categories]
    table[-2:] = np.nan, UNKNOWN_TEXT
    values = table[np.where(gaps, len(feature.categories), column).astype(np.int64)]
    kinds = set(map(type, feature.categories))
    if len(kinds) == 1 and not gaps.any() and (column >= 0).all():
        return values.astype({bool: np.bool_, int: np.int64, float: np.float64}.get(kinds.pop(), np.object_))
    return values


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def listed(names: Sequence[str], most: int = 5) -> str:
    """Name a few columns or values, for a message."""
    rest = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + rest
