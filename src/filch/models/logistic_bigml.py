"""BigML's logistic regression: one-vs-rest over raw columns, with a coefficient for each missing value.

Each class has a sigmoid of its own, rounded to 5 decimals; the sigmoids are divided by their sum and rounded again.
The formulas are those of BigML's Python bindings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from filch.core.columns import Categorical, Numeric
from filch.core.features import FeatureSpace, Rows
from filch.errors import UsageError
from filch.models.trees.bigml import field_feature, parse_bigml
from filch.models.trees.bigml_write import envelope, field_of

Floats = npt.NDArray[np.float64]
DECIMALS = 5
"""To which sigmoids and probabilities are rounded."""


@dataclass(frozen=True, eq=False)
class BigMLLogistic:
    """A logistic regression as BigML serves it, with scikit-learn's interface.

    The view of a row has two columns for a number (its value, 0 if missing, and whether it is missing) and k + 1 for a
    category of k (one each, and whether it is missing); an unknown category sets none of them.

    Parameters
    ----------
    space : FeatureSpace
    classes : tuple of str
    coef_ : (c, width)
        The coefficients of each class, over the view.
    intercept_ : (c,)
    missing_numerics : bool, default True
        Whether numbers may be missing.
    centre, scale : (d,), optional
        Numeric columns are taken as (x − centre) / scale.
    normalize : bool, default False
        Whether the view, 1 included for the intercept, is divided by its Euclidean norm.
    bias : bool, default True
        Whether the norm counts the 1.
    fields : tuple of str, optional
        The field id of each column.
    resource : str
    raw : mapping
        As read from BigML's JSON.

    Raises
    ------
    UsageError
        Shapes that do not fit.

    Examples
    --------
    >>> model = BigMLLogistic(FeatureSpace.box([0], [1]), ("a", "b"), [[2.0, 0.1], [-2.0, 0.3]], [0.0, 0.0])
    >>> model.predict_proba([[0.5], [np.nan]]).tolist()
    [[0.73106, 0.26894], [0.47751, 0.52249]]
    """

    space: FeatureSpace
    classes: tuple[str, ...]
    coef_: Floats
    intercept_: Floats
    missing_numerics: bool = True
    centre: Floats | None = None
    scale: Floats | None = None
    normalize: bool = False
    bias: bool = True
    fields: tuple[str, ...] = ()
    resource: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        d, c = len(self.space), len(self.classes)
        given: dict[str, Any] = {
            "coef_": np.asarray(self.coef_, dtype=np.float64),
            "intercept_": np.asarray(self.intercept_, dtype=np.float64),
            "centre": np.zeros(d) if self.centre is None else np.asarray(self.centre, dtype=np.float64),
            "scale": np.ones(d) if self.scale is None else np.asarray(self.scale, dtype=np.float64),
            "fields": tuple(self.fields) or tuple(f"{j:06x}" for j in range(d)),
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
        if c < 2 or self.coef_.shape != (c, self.width) or self.intercept_.shape != (c,):
            raise UsageError(f"{c} classes and {self.width} columns of the view do not fit coef_ {self.coef_.shape}")
        if len(self.fields) != d or len(given["centre"]) != d or len(given["scale"]) != d:
            raise UsageError(f"give one field id, centre and scale for each of {d} columns")

    @property
    def width(self) -> int:
        """The number of columns of the view."""
        return int(self.widths.sum())

    @property
    def widths(self) -> npt.NDArray[np.int64]:
        """The columns of the view that each raw column has, of shape (d,)."""
        return np.where(self.space.categorical, self.space.sizes + 1, 2)

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (c,)."""
        return np.asarray(self.classes)

    def view(self, rows: Rows) -> Floats:
        """Rows as the coefficients take them, of shape (n, width)."""
        parts = np.zeros((len(rows), self.width))
        starts = np.cumsum(self.widths) - self.widths
        gaps = np.isnan(rows)
        for j, start in enumerate(starts.tolist()):
            column, gap = rows[:, j], gaps[:, j]
            if self.space.categorical[j]:
                known = np.flatnonzero(column >= 0)
                parts[known, start + column[known].astype(np.int64)] = 1.0
            else:
                value = (column - self.centre[j]) / self.scale[j]  # type: ignore[index]
                parts[:, start] = np.where(gap, 0.0, value)
            parts[gap, start + int(self.widths[j]) - 1] = 1.0
        return parts

    def sigmoids(self, X: pd.DataFrame | Rows) -> Floats:
        """Each class's own probability, of shape (n, c), to 5 decimals.

        Raises
        ------
        UsageError
            A missing number, where the model takes none.
        """
        rows = self.space.rows_of(X)
        gaps = np.isnan(rows) & ~self.space.categorical
        if gaps.any() and not self.missing_numerics:
            name = self.space.names[int(gaps.any(axis=0).argmax())]
            raise UsageError(f"this model takes no missing numbers: give a value for {name!r}")
        view = self.view(rows)
        z = view @ self.coef_.T + self.intercept_
        if self.normalize:
            norm = np.sqrt((view**2).sum(axis=1) + self.bias)
            z = z / norm[:, None]
        return _round(expit(z))

    def predict_proba(self, X: pd.DataFrame | Rows) -> Floats:
        """The classes' probabilities, of shape (n, c), to 5 decimals; all 0 where every sigmoid is."""
        own = self.sigmoids(X)
        total = own.sum(axis=1, keepdims=True)
        return _round(np.divide(own, total, out=np.zeros_like(own), where=total > 0))

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """The most probable class, the first one of several."""
        found: npt.NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def to_bigml(self, *, objective: str = "objective", name: str = "logistic regression") -> dict[str, Any]:
        """Write the model as the resource that BigML's API serves, with its envelope."""
        fields = {
            f: field_of(feature, j) for j, (f, feature) in enumerate(zip(self.fields, self.space.features, strict=True))
        }
        centre, scale = np.asarray(self.centre).tolist(), np.asarray(self.scale).tolist()
        for j, (f, feature) in enumerate(zip(self.fields, self.space.features, strict=True)):
            if isinstance(feature, Numeric):
                fields[f]["summary"] |= {"mean": centre[j], "standard_deviation": scale[j]}
        goal = f"{len(self.space):06x}"
        categories = [[c, 1] for c in self.classes if c]
        fields[goal] = {"name": objective, "optype": "categorical", "column_number": len(self.space)}
        fields[goal] |= {"datatype": "string", "summary": {"categories": categories}}
        cuts = np.cumsum(self.widths)[:-1]
        coefficients = [
            [c, [*(part.tolist() for part in np.split(row, cuts)), [float(b)]]]
            for c, row, b in zip(self.classes, self.coef_, self.intercept_, strict=True)
        ]
        model = {
            "fields": fields,
            "coefficients": coefficients,
            "bias": self.bias,
            "normalize": self.normalize,
            "balance_fields": True,
            "missing_numerics": self.missing_numerics,
            "field_codings": [],
            "c": 1.0,
            "eps": 1e-4,
            "regularization": "l2",
        }
        digest = hashlib.sha256(repr([self.space, coefficients, self.classes]).encode()).hexdigest()[:24]
        content = {
            "name": name,
            "input_fields": list(self.fields),
            "objective_field": goal,
            "objective_fields": [goal],
            "objective_field_name": objective,
            "logistic_regression": model,
        }
        return envelope(f"logisticregression/{digest}", content)


def read_bigml_logistic(source: str | Path | Mapping[str, Any]) -> BigMLLogistic:
    """Read a BigML logistic regression, as its API serves it and its bindings store it.

    Parameters
    ----------
    source : path, or the parsed JSON
        With the envelope (``{"code": 200, "object": …}``) or without.

    Raises
    ------
    UsageError
        No such model, a field type or a coding of categories that is not supported, or one that is cut off.
    """
    whole = source if isinstance(source, Mapping) else parse_bigml(Path(source))
    inner = whole.get("object", whole)
    try:
        model = inner["logistic_regression"]
        fields = model["fields"]
        goal = str((inner.get("objective_fields") or [inner["objective_field"]])[0])
        inputs = [str(name) for name in inner.get("input_fields") or fields if name in fields and name != goal]
        if not inputs:
            raise UsageError("this is no BigML logistic regression: it has no input fields")
        space = FeatureSpace(tuple(field_feature(fields[name]) for name in inputs))
        names = [str(name) for name, _ in fields[goal]["summary"]["categories"]]
        told = {str(name): groups for name, groups in model["coefficients"]}
        classes = tuple(name for name in [*names, ""] if name in told)
        if set(told) - set(classes):
            raise UsageError(f"coefficients of the class {min(set(told) - set(classes))!r}, which is no category")
        codings = model.get("field_codings") or []
        used = list(codings.values()) if isinstance(codings, Mapping) else codings
        if any(("dummy" if isinstance(c, Mapping) and "dummy" in c else c.get("coding")) != "dummy" for c in used):
            raise UsageError("this logistic regression codes categories by contrasts: only dummy coding is supported")
        numeric = bool(model.get("missing_numerics", False))
        rows = [_flat(told[name], space, numeric) for name in classes]
        balanced = bool(model.get("balance_fields"))
        summaries = [fields[name].get("summary", {}) for name in inputs]
        plain = [not balanced or isinstance(f, Categorical) for f in space.features]
        centre = [0.0 if p else float(s.get("mean") or 0) for p, s in zip(plain, summaries, strict=True)]
        scale = [1.0 if p else float(s.get("standard_deviation") or 0) for p, s in zip(plain, summaries, strict=True)]
        return BigMLLogistic(
            space,
            classes,
            np.array([row[:-1] for row in rows]),
            np.array([row[-1] for row in rows]),
            numeric,
            np.array(centre),
            np.array([s if s > 0 else 1.0 for s in scale]),
            bool(model.get("normalize")),
            bool(model.get("bias", True)),
            tuple(inputs),
            str(inner.get("resource", "")),
            inner,
        )
    except UsageError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise UsageError(
            f"this is no BigML logistic regression, or it is cut off: {type(error).__name__} {error}"
        ) from error


def _flat(groups: Sequence[Any], space: FeatureSpace, numeric: bool) -> list[float]:
    """A class's coefficients in the order of the view, the intercept last; given by field, or flat (old models)."""
    wanted = [int(size) + 1 if size else 1 + numeric for size in space.sizes]
    if not isinstance(groups[0], list):
        cuts = np.cumsum([0, *wanted]).tolist()
        groups = [*(groups[a:b] for a, b in pairwise(cuts)), [groups[-1]]]
    found: list[float] = []
    for size, count, group in zip(space.sizes, wanted, groups[:-1], strict=True):
        if len(group) < count:
            raise UsageError(f"a field of this logistic regression has {len(group)} coefficients, not {count}")
        found += [float(value) for value in group[:count]]
        if not size and not numeric:
            found.append(0.0)  # of missing numbers, which are not taken
    return [*found, float(groups[-1][0])]


def _round(values: Floats) -> Floats:
    """Round as Python does, the nearest decimal of the binary number; NumPy is wrong on some ties."""
    places = 10.0**DECIMALS
    rounded = np.round(values, DECIMALS)
    near = np.abs(values * places - np.floor(values * places) - 0.5) < 1e-6
    rounded[near] = [round(value, DECIMALS) for value in values[near].tolist()]
    return rounded
