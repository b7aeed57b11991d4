"""Linear models behind hidden feature extraction, as Amazon ML trains them: one-hot, quantile bins, normalisation.

The estimator is a target: it is trained here (by scikit-learn) and served or asked; attacks return
`filch.models.additive.AdditiveModel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.core.features import Categorical, FeatureSpace
from filch.errors import SchemaError, UsageError

Floats = npt.NDArray[np.float64]
Task = Literal["auto", "classification", "regression"]


class BinnedLinear:
    """A linear model with L2 over encoded raw columns [Tramèr16, §5.2].

    Categorical columns become one column for each value of the training data; a value that it lacks is 0 in all.
    Numeric columns are cut at training quantiles into bins, one column each, or stay one column. An omitted attribute
    is 0 in all its columns. Two classes: ``f₁ = σ(z)``; more: softmax; numbers: least squares.

    Parameters
    ----------
    bins : int or mapping of column name to int, default 10
        The number of quantile bins of each numeric column; 0 leaves it linear, as for columns that a mapping lacks.
        An edge lies half way between a quantile of the training data and its next value; equal quantiles are one edge,
        so that there may be fewer bins, and no bin is without training rows.
    normalize : bool, default False
        Whether linear columns are shifted and scaled to mean 0 and variance 1 of the training data.
    l2 : float, default 1.0
        The penalty on squared weights: ``1 / C`` of scikit-learn.
    threshold : float, default 0.5
        With two classes: the lowest score of the second class.
    task : {"auto", "classification", "regression"}
        "auto" takes a column of floating-point numbers for regression.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> frame = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "job": ["a", "b", "a", "b"]})
    >>> model = BinnedLinear(bins=2).fit(frame, ["no", "no", "yes", "yes"])
    >>> model.edges_["age"].tolist(), model.predict(frame).tolist()
    ([35.0], ['no', 'no', 'yes', 'yes'])
    """

    def __init__(
        self,
        bins: int | Mapping[str, int] = 10,
        *,
        normalize: bool = False,
        l2: float = 1.0,
        threshold: float = 0.5,
        task: Task = "auto",
    ) -> None:
        counts = [bins] if isinstance(bins, int) else list(bins.values())
        if any(count < 0 for count in counts) or not l2 > 0 or not 0 < threshold < 1:
            raise UsageError("BinnedLinear takes bins ≥ 0, l2 > 0 and a threshold between 0 and 1")
        if task not in ("auto", "classification", "regression"):
            raise UsageError(f'task is "auto", "classification" or "regression", not {task!r}')
        self.bins, self.normalize, self.l2, self.threshold, self.task = bins, normalize, l2, threshold, task

    def fit(self, X: pd.DataFrame, y: npt.ArrayLike) -> BinnedLinear:
        """Learn edges, vocabularies and weights.

        Raises
        ------
        SchemaError
            A column without values, or with values that are neither numbers nor categories.
        UsageError
            Bins for a column that there is not, or a single class.
        """
        from sklearn.linear_model import LogisticRegression, Ridge

        named = set(self.bins) - set(map(str, X.columns)) if isinstance(self.bins, Mapping) else set()
        if named:
            raise UsageError(f"bins are set for {sorted(named)[0]!r}, which is no column")
        space = FeatureSpace.from_frame(X.dropna(axis=1, how="all"), missing="omit")
        if len(space) < X.shape[1]:
            raise SchemaError("a column has no values: drop it")
        self.feature_names_in_ = np.array(space.names, dtype=object)
        self.n_features_in_ = len(space)
        self.edges_: dict[str, Floats] = {}
        self.vocabulary_: dict[str, tuple[Any, ...]] = {}
        self.scaling_: dict[str, tuple[float, float]] = {}
        for feature in space.features:
            column = X[feature.name]
            if isinstance(feature, Categorical):
                self.vocabulary_[feature.name] = feature.categories
                continue
            values = column.dropna().to_numpy(dtype=np.float64)
            count = self.bins if isinstance(self.bins, int) else self.bins.get(feature.name, 0)
            if count:
                self.edges_[feature.name] = _edges(values, count)
            else:
                spread = float(values.std()) or 1.0
                self.scaling_[feature.name] = (float(values.mean()), spread) if self.normalize else (0.0, 1.0)
        target = np.asarray(y)
        regression = self.task == "regression" or (self.task == "auto" and target.dtype.kind == "f")
        encoded = self.encode(X)
        if regression:
            linear = Ridge(alpha=self.l2).fit(encoded, target.astype(np.float64))
            self.coef_, self.intercept_ = linear.coef_[None], np.array([float(linear.intercept_)])
            return self
        self.classes_ = np.unique(target)
        if len(self.classes_) < 2:
            raise UsageError("the target column holds a single class")
        fitted = LogisticRegression(C=1 / self.l2, max_iter=2_000).fit(encoded, target)
        self.coef_, self.intercept_ = fitted.coef_, fitted.intercept_
        return self

    @property
    def kind(self) -> Literal["BINARY", "MULTICLASS", "REGRESSION"]:
        """The service's name for the sort of model."""
        if not hasattr(self, "classes_"):
            return "REGRESSION"
        return "BINARY" if len(self.classes_) == 2 else "MULTICLASS"

    def encode(self, X: pd.DataFrame) -> Floats:
        """The encoded columns, of shape (n, width)."""
        blocks = []
        for name in self.feature_names_in_:
            column = X[name]
            if name in self.vocabulary_:
                values = column.to_numpy(dtype=object)
                blocks.append((values[:, None] == np.array(self.vocabulary_[name], dtype=object)).astype(np.float64))
                continue
            numbers = column.to_numpy(dtype=np.float64)
            if name in self.edges_:
                edges = self.edges_[name]
                block = np.zeros((len(numbers), len(edges) + 1))
                given = np.flatnonzero(~np.isnan(numbers))
                block[given, np.searchsorted(edges, numbers[given], side="left")] = 1.0
                blocks.append(block)
            else:
                centre, scale = self.scaling_[name]
                blocks.append(np.nan_to_num((numbers - centre) / scale, nan=0.0)[:, None])
        return np.hstack(blocks)

    def decision_function(self, X: pd.DataFrame) -> Floats:
        """Raw scores, of shape (n, c), or (n,) with two classes or for numbers."""
        scores: Floats = self.encode(X) @ self.coef_.T + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Class probabilities, of shape (n, c)."""
        from filch.models.logistic import probabilities

        return probabilities(self.decision_function(X), "logistic" if len(self.coef_) == 1 else "softmax")

    def predict(self, X: pd.DataFrame) -> npt.NDArray[Any]:
        """Labels, or values of a regression, of shape (n,)."""
        if self.kind == "REGRESSION":
            return self.decision_function(X)
        shares = self.predict_proba(X)
        two = self.kind == "BINARY"
        chosen = (shares[:, 1] >= self.threshold).astype(int) if two else shares.argmax(axis=1)
        names: npt.NDArray[Any] = self.classes_[chosen]
        return names


def _edges(values: Floats, count: int) -> Floats:
    """Where ``count`` bins of about equally many values meet."""
    different = np.unique(values)
    if count < 2:
        return np.empty(0)
    cuts = np.unique(np.quantile(values, np.arange(1, count) / count, method="inverted_cdf"))
    places = np.searchsorted(different, cuts[cuts < different[-1]])
    return np.asarray((different[places] + different[places + 1]) / 2)
