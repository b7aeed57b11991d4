"""Amazon ML's records: a map of attribute names to texts, from which attributes may be left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from filch.core.columns import UNKNOWN, UNKNOWN_TEXT
from filch.core.features import Categorical, FeatureSpace, Rows
from filch.errors import SchemaError


def write_record(row: Sequence[float], space: FeatureSpace) -> dict[str, str]:
    """Write a coded row: omitted attributes, and the category *missing*, are left out.

    Examples
    --------
    >>> space = FeatureSpace((Categorical("job", ("a", "b")), *FeatureSpace.box([0, 0], [9, 9]).features))
    >>> write_record([1.0, 2.5, float("nan")], space)
    {'job': 'b', 'x0': '2.5'}
    """
    record = {}
    for feature, value in zip(space.features, row, strict=True):
        if math.isnan(value):
            continue
        if isinstance(feature, Categorical):
            name = UNKNOWN_TEXT if value == UNKNOWN else feature.categories[int(value)]
            if name is not None:
                record[feature.name] = str(name)
        else:
            record[feature.name] = repr(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return record


def read_record(record: Mapping[str, str], space: FeatureSpace) -> Rows:
    """Read a record as a coded row, of shape (1, d); an empty text is a missing value.

    Raises
    ------
    SchemaError
        A numeric attribute that is no finite number.
    """
    row = np.full((1, len(space)), np.nan)
    for column, feature in enumerate(space.features):
        text = record.get(feature.name, "")
        if not text:
            continue
        if isinstance(feature, Categorical):
            codes = {str(name): float(code) for code, name in enumerate(feature.categories) if name is not None}
            row[0, column] = codes.get(text, UNKNOWN)
            continue
        try:
            row[0, column] = float(text)
        except ValueError as error:
            raise SchemaError(f"attribute {feature.name!r} is no number") from error
        if not math.isfinite(row[0, column]):
            raise SchemaError(f"attribute {feature.name!r} is no finite number")
    return row
