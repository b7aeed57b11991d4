"""The targets of the reproductions: scikit-learn's models, asked over the one-hot view or over raw columns.

Fitted once a process; with scikit-learn's default penalties and stopping rules (for networks, at most 200 epochs).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder
from sklearn.svm import SVC

from filch.core.features import Categorical, Rows
from filch.core.oracle import ModelOracle
from filch.datasets import Study, table3

Kind = Literal["binary", "softmax", "ovr", "mlp-tanh", "mlp-logistic", "mlp-relu", "rbf-svm"]
Inputs = Literal["one-hot", "raw"]
HIDDEN = 20
"""Hidden units of the networks [Tramèr16, §4.1.2]."""
_STEPS = 5_000  # of the logistic targets' own fits, all of which end well before
_KERNEL_ROWS = 2_000  # training rows (they are in random order): each answer costs as much as there are support vectors


@dataclass(frozen=True, eq=False)
class Target:
    """A model to extract, and the real rows to judge the copy on.

    Attributes
    ----------
    study : Study
    kind : str
    oracle : ModelOracle
    X_test : coded rows of shape (n, d), as the oracle takes them
    """

    study: Study
    kind: Kind
    oracle: ModelOracle
    X_test: Rows


@lru_cache(maxsize=64)
def target(dataset: str, kind: Kind, inputs: Inputs = "one-hot") -> Target:
    """Fit a target.

    Parameters
    ----------
    dataset : str
        A row of Table 3.
    kind : {"binary", "softmax", "ovr", "mlp-tanh", "mlp-logistic", "mlp-relu", "rbf-svm"}
        ``ovr`` answers ``σ_i / Σ_j σ_j``; ``mlp-…`` is a network of 20 hidden units with that activation; ``rbf-svm``
        has C = 1 and γ = 1/d, the defaults of LIBSVM and of scikit-learn in the paper's year, learns from 2,000 of the
        training rows at most, and reveals labels.
    inputs : {"one-hot", "raw"}
        Whether queries are direct (the encoded and scaled columns, as in the paper) or raw columns that the model's own
        pipeline encodes.

    Examples
    --------
    >>> target("iris", "softmax").oracle.spec.classes
    ('setosa', 'versicolor', 'virginica')
    """
    study = table3(dataset)
    model = _model(kind)
    most, reveal = (_KERNEL_ROWS, "labels") if kind == "rbf-svm" else (None, "probabilities")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of networks: 200 epochs are the rule here
        if inputs == "one-hot":
            model.fit(study.X_train[:most], study.y_train[:most])
            return Target(study, kind, ModelOracle(model, study.direct_space, reveal=reveal), study.X_test)
        pipeline = make_pipeline(_encoder(study), model).fit(study.train[:most], study.y_train[:most])
    return Target(study, kind, ModelOracle(pipeline, study.space, reveal=reveal), study.space.encode(study.test))


def _model(kind: Kind) -> Any:
    if kind.startswith("mlp-"):
        return MLPClassifier((HIDDEN,), activation=kind.removeprefix("mlp-"), random_state=0)
    if kind == "rbf-svm":
        return SVC(gamma="auto")
    logistic = LogisticRegression(max_iter=_STEPS)
    return OneVsRestClassifier(logistic) if kind == "ovr" else logistic


def _encoder(study: Study) -> Any:
    """Encode raw columns as a model's owner would, in the categories of all records."""
    categorical = [feature for feature in study.space.features if isinstance(feature, Categorical)]
    numeric = [name for name, fixed in zip(study.space.names, study.space.categorical, strict=True) if not fixed]
    categories = [np.array([np.nan if c is None else c for c in f.categories], dtype=object) for f in categorical]
    return make_column_transformer(
        (MinMaxScaler((-1, 1)), numeric),
        (OneHotEncoder(categories=categories, sparse_output=False), [feature.name for feature in categorical]),
    )
