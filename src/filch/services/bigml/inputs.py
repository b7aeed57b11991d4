"""What a prediction request says of a row, read as BigML reads it.

Fields are named by id or by name. What cannot be used is ignored and reported, not refused: names that are no input
field (``unknown_fields``), and values that are no number in a numeric field (``bad_fields``). Texts that hold a number
count as that number; numbers in a categorical field count as their text; a truth value stands for the category that
says so, if there are two. A missing token (``"NA"``, ``"?"``, …), like null, is a missing value. Numbers are rounded to
5 decimals, as BigML's bindings do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filch.core.columns import UNKNOWN, Categorical, Feature
from filch.core.features import FeatureSpace, Rows

DECIMALS = 5
"""To which numbers in requests, predictions and confidences are rounded."""
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, eq=False)
class Given:
    """A request's row.

    Attributes
    ----------
    row : (1, d)
        Coded; NaN where no value, or no usable one, was given.
    values : dict
        What counted, by field id.
    unknown, bad : tuple of str
        Names that are no input field, and field ids whose values were no good.
    """

    row: Rows
    values: dict[str, Any]
    unknown: tuple[str, ...]
    bad: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """The input fields of a model.

    Parameters
    ----------
    space : FeatureSpace
    ids : tuple of str
        The field id of each column.
    tokens : tuple of str
        The texts that are missing values.

    Examples
    --------
    >>> inputs = Inputs(FeatureSpace.box([0], [9], names=["age"]), ("000000",), ("NA",))
    >>> given = inputs.read({"age": "3.5", "size": 1})
    >>> given.row.tolist(), given.unknown
    ([[3.5]], ('size',))
    """

    space: FeatureSpace
    ids: tuple[str, ...]
    tokens: tuple[str, ...]

    def read(self, data: Mapping[str, Any]) -> Given:
        """Read a row; an id wins over a name."""
        by_id = {field: j for j, field in enumerate(self.ids)}
        places = {name: j for j, name in enumerate(self.space.names)} | by_id
        row = np.full((1, len(self.ids)), np.nan)
        values: dict[str, Any] = {}
        unknown, bad = [], []
        for name, value in sorted(data.items(), key=lambda item: item[0] in by_id):
            if value is None or (isinstance(value, str) and value in self.tokens):
                continue
            if name not in places:
                unknown.append(name)
                continue
            column = places[name]
            code, used = _coded(self.space.features[column], value)
            if code is None:
                bad.append(self.ids[column])
            else:
                row[0, column] = code
                values[self.ids[column]] = used
        return Given(row, values, tuple(unknown), tuple(bad))

    def write(self, row: Sequence[float]) -> dict[str, Any]:
        """Write a coded row, by field id; omitted features are left out."""
        found: dict[str, Any] = {}
        for field, feature, value in zip(self.ids, self.space.features, row, strict=True):
            if math.isnan(value):
                continue
            if isinstance(feature, Categorical):
                found[field] = _UNKNOWN_TEXT if value == UNKNOWN else str(feature.categories[int(value)])
            else:
                found[field] = int(value) if feature.integer and float(value).is_integer() else float(value)
        return found


_UNKNOWN_TEXT = "__unknown__"


def _coded(feature: Feature, value: Any) -> tuple[float | None, Any]:
    """The code of a value, None if it is no good, and the value as it counts."""
    if isinstance(value, (dict, list)):
        return None, value
    if isinstance(feature, Categorical):
        text = _said(feature, value) if isinstance(value, bool) else str(value)
        if text is None:
            return None, value
        return (float(feature.categories.index(text)) if text in feature.categories else UNKNOWN), text
    if isinstance(value, bool):
        return None, value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None, value
    if not math.isfinite(number):
        return None, value
    if isinstance(value, float):
        number = round(number, DECIMALS)
    return number, number


def _said(feature: Categorical, value: bool) -> str | None:
    """The one of two categories that says true (false)."""
    if len(feature.categories) != 2:
        return str(value)
    found = [str(c) for c in feature.categories if _TRUTHS.get(str(c).lower()) is value]
    return found[0] if len(found) == 1 else None
