"""The target of an audit: an oracle over a model in this process, and what the report says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from filch.audit.plan import describe_reveal
from filch.core.features import FeatureSpace, Missing
from filch.core.oracle import ModelOracle, Oracle
from filch.errors import SchemaError, UsageError
from filch.report.format import Target


def local_oracle(model: Any, X: pd.DataFrame | None) -> ModelOracle:
    """Make an oracle of a model in this process, with the input schema of a table of its raw columns.

    It reveals the most that the model can: probabilities, else labels, or a regressor's value. Missing values are a
    category where only categorical columns have them, and else omitted features, provided that the model takes them.

    Parameters
    ----------
    model : object
    X : DataFrame
        Raw columns, without the target column.

    Raises
    ------
    UsageError
        No table, or no model.
    SchemaError
        The table does not fit the model.
    """
    if not hasattr(model, "predict"):
        raise UsageError(f"a {type(model).__name__} has no predict: give a fitted model, or an oracle")
    if X is None:
        raise UsageError("a model needs rows to read its input schema from: pass a DataFrame of its raw columns")
    _check_columns(model, X)
    missing = _missing(model, X)
    space = FeatureSpace.from_frame(X, missing=missing)
    # A model that was fitted on a plain matrix warns at column names.
    plain = not space.categorical.any() and hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_")
    level = "probabilities" if hasattr(model, "predict_proba") else "labels"
    reveal = level if getattr(model, "classes_", None) is not None else "value"
    return ModelOracle(model, replace(space, named=not plain), reveal=reveal, omission=missing == "omit")


def describe_target(oracle: Oracle, name: str | None) -> Target:
    """Say what is public of a target, and name it."""
    spec = oracle.spec
    model = getattr(oracle, "model", None)
    kind = type(oracle).__name__ if model is None else _kind(model)
    return Target(
        name=name or (oracle.fingerprint() if model is None else kind),
        kind=kind,
        fingerprint=oracle.fingerprint(),
        columns=len(spec.space),
        classes=None if spec.classes is None else tuple(map(str, spec.classes)),
        served=describe_reveal(spec.reveal),
        local=oracle.local,
    )


def _kind(model: Any) -> str:
    kind = type(model).__name__
    return f"{kind} ({type(model[-1]).__name__})" if hasattr(model, "steps") else kind


def _check_columns(model: Any, X: pd.DataFrame) -> None:
    """Name the columns that the table lacks, or has beside those that the model was trained on."""
    trained = getattr(model, "feature_names_in_", None)
    if trained is None:
        return
    absent, beside = [n for n in trained if n not in X.columns], [n for n in X.columns if n not in trained]
    if absent:
        raise SchemaError(f"the table lacks {_named(absent)}, which the model was trained on: add what is missing")
    if beside:
        raise SchemaError(
            f"the model was not trained on {_named(beside)} of the table: name the target column, and leave out others"
        )


def _named(columns: list[Any]) -> str:
    return ", ".join(repr(str(name)) for name in columns[:5]) + (", …" if len(columns) > 5 else "")


def _missing(model: Any, X: pd.DataFrame) -> Missing:
    gaps = X.isna()
    if not gaps.any(axis=None):
        return "error"
    try:
        model.predict(X[gaps.any(axis=1)].head(5))
    except Exception:  # whatever a model raises that does not take missing values
        return "error"
    numeric = X.select_dtypes("number").columns
    return "omit" if gaps[numeric].any(axis=None) else "category"
