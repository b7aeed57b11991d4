"""A fitted scikit-learn estimator as an extracted model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import is_regressor
from sklearn.utils.metaestimators import available_if

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows
from filch.errors import UntrustedFile, UsageError
from filch.files import load_skops

Floats = npt.NDArray[np.float64]


def _tells_probabilities(model: SurrogateModel) -> bool:
    return model.classes is not None and (is_regressor(model.estimator) or hasattr(model.estimator, "predict_proba"))


@dataclass(frozen=True, eq=False)
class SurrogateModel:
    """A surrogate: any fitted scikit-learn estimator, with the target's columns and class names.

    Parameters
    ----------
    space : FeatureSpace
        The raw columns.
    classes : tuple or None
        The class names in the order of the probabilities; None for a regressor.
    estimator : object
        Fitted on `inputs`. A classifier predicts indices into ``classes``; a regressor that stands in for a classifier
        predicts one probability a class; else a regressor predicts the value.
    encoded : bool, default True
        Whether the estimator takes one-hot-encoded rows, or coded rows as they are.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> tree = DecisionTreeClassifier().fit([[-1.0], [1.0]], [0, 1])
    >>> SurrogateModel(FeatureSpace.box([0], [10]), ("no", "yes"), tree).predict([[9.0], [2.0]]).tolist()
    ['yes', 'no']
    """

    space: FeatureSpace
    classes: tuple[Any, ...] | None
    estimator: Any
    encoded: bool = True

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (c,).

        Raises
        ------
        AttributeError
            The model is a regressor.
        """
        if self.classes is None:
            raise AttributeError("a regressor has no classes_")
        return np.asarray(self.classes)

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """Predict labels (as the target names them) or values, of shape (n,)."""
        rows = self.space.rows_of(X)
        if self.classes is None:
            values = self.estimator.predict(inputs(self.space, rows, encoded=self.encoded))
            return np.asarray(values, dtype=np.float64).reshape(len(rows))
        named: npt.NDArray[Any] = self.classes_[self.labels(rows)]
        return named

    def labels(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Predict indices into ``classes`` for coded rows, of shape (n,)."""
        if is_regressor(self.estimator):
            return np.asarray(self.votes(rows).argmax(axis=1))
        return np.asarray(self.estimator.predict(inputs(self.space, rows, encoded=self.encoded)), dtype=np.int64)

    @available_if(_tells_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: pd.DataFrame | Rows) -> Floats:
        """Class probabilities, of shape (n, c); 0 for a class that the surrogate has never seen."""
        return self.votes(self.space.rows_of(X))

    def votes(self, rows: Rows) -> Floats:
        """Class probabilities for coded rows, of shape (n, c); 0 or 1 where the estimator tells labels only."""
        encoded = inputs(self.space, rows, encoded=self.encoded)
        width = len(self.classes_)
        if is_regressor(self.estimator):
            raw = np.clip(self.estimator.predict(encoded), 0.0, None)
            total = raw.sum(axis=1, keepdims=True)
            return np.where(total > 0, raw / np.where(total > 0, total, 1.0), 1.0 / width)
        if not hasattr(self.estimator, "predict_proba"):
            return np.asarray(np.eye(width)[self.labels(rows)])
        full = np.zeros((len(rows), width))
        full[:, self.estimator.classes_] = self.estimator.predict_proba(encoded)
        return full

    @property
    def n_parameters(self) -> int:
        """The number of fitted numbers: weights, support vectors, or nodes of trees."""
        return _size(self.estimator)

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> Path:
        """Write the model as ``.skops`` where skops is installed, else as ``.joblib``, whose loading runs code."""
        facts = {
            "kind": "surrogate",
            "space": self.space.to_json().decode(),
            "classes": None if self.classes is None else list(self.classes),
            "encoded": self.encoded,
            "estimator": self.estimator,
        }
        try:
            from skops import io
        except ImportError:
            path = Path(path).with_suffix(".joblib")
            joblib.dump(facts, path)
            return path
        path = Path(path).with_suffix(".skops")
        io.dump(facts, path)
        return path

    @classmethod
    def load(cls, path: str | Path, *, trust: bool = False) -> SurrogateModel:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path
        trust : bool, default False
            Whether loading may run the code that a ``.joblib`` file holds.

        Raises
        ------
        UntrustedFile
            The file is not trusted: a ``.joblib``, or a ``.skops`` with types that skops does not know.
        UsageError
            The file is missing or no such model.
        """
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        facts = load_skops(path, trust=trust) if path.suffix == ".skops" else _read_joblib(path, trust)
        if not isinstance(facts, dict) or facts.get("kind") != "surrogate":
            raise UsageError(f"{path} is no saved surrogate: give a file that an extracted model's save() wrote")
        classes = None if facts["classes"] is None else tuple(facts["classes"])
        return cls(FeatureSpace.from_json(facts["space"]), classes, facts["estimator"], facts["encoded"])


def inputs(space: FeatureSpace, rows: Rows, *, encoded: bool) -> Rows:
    """What a surrogate's estimator takes: one-hot-encoded rows, or coded rows as they are."""
    return OneHot(space).encode(rows) if encoded else rows


def _read_joblib(path: Path, trust: bool) -> Any:
    if not trust:
        raise UntrustedFile(f"loading {path} runs whatever code is in it: pass --trust (trust=True) if it is yours")
    try:
        return joblib.load(path)
    except Exception as error:  # unpickling raises whatever the file makes it raise
        raise UsageError(f"{path} is no saved surrogate: {' '.join(str(error).split())[:160]}") from error


_ARRAYS = ("coef_", "intercept_", "coefs_", "intercepts_", "support_vectors_", "dual_coef_", "alpha_", "X_fit_")


def _size(fitted: Any) -> int:
    """Count the fitted numbers of an estimator, through pipelines and ensembles."""
    if hasattr(fitted, "tree_"):
        return int(fitted.tree_.node_count)
    for inner in ("regressor_", "best_estimator_"):
        if hasattr(fitted, inner):
            return _size(getattr(fitted, inner))
    if hasattr(fitted, "_predictors"):  # of histogram boosting: a list of trees for each iteration
        return sum(len(tree.nodes) for trees in fitted._predictors for tree in trees)
    if hasattr(fitted, "steps"):
        return sum(_size(step) for _, step in fitted.steps)
    if hasattr(fitted, "estimators_"):
        return sum(map(_size, np.ravel(np.asarray(fitted.estimators_, dtype=object))))
    found = (getattr(fitted, name) for name in _ARRAYS if hasattr(fitted, name))
    return sum(sum(map(np.size, part)) if isinstance(part, list) else int(np.size(part)) for part in found)
