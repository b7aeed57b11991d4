"""Surrogates by name: each a family of estimators, of which cross-validation on paid answers chooses.

They are meant to agree with a target, not to generalise from noise: penalties are as weak as fits bear.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from sklearn.base import is_classifier, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from filch.core.encoding import OneHot
from filch.core.oracle import OracleSpec
from filch.errors import UsageError

NAMES = (
    "logistic",
    "softmax",
    "linear-svm",
    "mlp",
    "rbf-svm",
    "poly-svm",
    "tree",
    "forest",
    "boosting",
)
"""What a surrogate may be called; ``softmax`` and ``logistic`` are one family."""

_KERNEL = 5_000  # answers up to which kernel machines are tried by default: they slow down as n²
_STEPS = 200_000  # of a kernel machine's solver, that data which no C separates do not hold it for ever
_WIDTHS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0)  # γ in shares of 1/d, over columns scaled to [−1, 1]
_UNITS = (10, 20, 40)
_DEGREES = (2, 3, 4)
_WEAK = 1e5

Kind = Literal["value", "probabilities", "labels"]


def kind_of(spec: OracleSpec) -> Kind:
    """What surrogates are fitted on."""
    if spec.classes is None:
        return "value"
    return "probabilities" if spec.reveal.shows_probabilities else "labels"


def check_surrogates(given: Any) -> tuple[Any, ...]:
    """Take a surrogate, or several, as a tuple of names and estimators.

    Raises
    ------
    UsageError
        A name that is none of `NAMES`, or what is no scikit-learn classifier or regressor.
    """
    if given is None:
        return ()
    several = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    for one in several:
        if isinstance(one, str):
            if one.replace("_", "-") not in NAMES:
                raise UsageError(f"no surrogate {one!r}: choose {', '.join(NAMES)}, or give a scikit-learn estimator")
        elif not (hasattr(one, "get_params") and (is_classifier(one) or is_regressor(one))):
            raise UsageError(f"surrogate={one!r} is no scikit-learn classifier or regressor")
    return several


def unsuited(given: Iterable[Any], spec: OracleSpec) -> str | None:
    """Why a surrogate cannot stand in for such a target, or None."""
    if spec.classes is None:
        for one in given:
            if one in ("logistic", "softmax") if isinstance(one, str) else is_classifier(one):
                return "the target predicts a value: give a regressor as surrogate"
    return None


def resolve(given: Iterable[Any], spec: OracleSpec) -> tuple[Any, ...]:
    """Turn names into their families; estimators stay as they are."""
    width = OneHot(spec.space).width
    return tuple(
        estimator
        for one in given
        for estimator in (family(one, kind_of(spec), width, spec.n_classes) if isinstance(one, str) else (one,))
    )


def family(name: str, kind: Kind, width: int, classes: int) -> tuple[Any, ...]:
    """The estimators that a name stands for, the simplest first.

    Parameters
    ----------
    name : str
        Of `NAMES`; underscores may stand for hyphens.
    kind : {"value", "probabilities", "labels"}
        What they are fitted on. Kernel machines that are fitted on probabilities are regressors.
    width : int
        Of encoded columns.
    classes : int
        Their number; of no account for a value.

    Examples
    --------
    >>> len(family("rbf-svm", "labels", 4, 2)), family("tree", "labels", 4, 2)
    (7, (DecisionTreeClassifier(),))
    """
    name = name.replace("_", "-")
    return _regressors(name, width) if kind == "value" else _classifiers(name, kind, width, classes)


def _classifiers(name: str, kind: Kind, width: int, classes: int) -> tuple[Any, ...]:
    soft = kind == "probabilities"
    match name:
        case "logistic" | "softmax":
            return (LogisticRegression(C=_WEAK, max_iter=5_000),)
        case "linear-svm":
            if classes <= 2:
                return (LinearSVC(C=1e4, dual=False, max_iter=10_000),)
            return (SVC(C=1e4, kernel="linear", max_iter=_STEPS),)
        case "mlp":
            return tuple(
                MLPClassifier((h,), activation="tanh", solver="lbfgs", alpha=1e-5, max_iter=3_000) for h in _UNITS
            )
        case "rbf-svm":
            gammas = [share / width for share in _WIDTHS]
            if soft:
                return tuple(KernelRidge(alpha=1e-6, kernel="rbf", gamma=gamma) for gamma in gammas)
            return tuple(SVC(C=_WEAK, gamma=gamma, max_iter=_STEPS) for gamma in gammas)
        case "poly-svm":
            if soft:
                return tuple(
                    KernelRidge(alpha=1e-6, kernel="poly", degree=degree, gamma=1.0 / width, coef0=1.0)
                    for degree in _DEGREES
                )
            return tuple(
                SVC(C=_WEAK, kernel="poly", degree=degree, gamma=1.0 / width, coef0=1.0, max_iter=_STEPS)
                for degree in _DEGREES
            )
        case "tree":
            return (DecisionTreeClassifier(),)
        case "forest":
            return RandomForestClassifier(), RandomForestClassifier(max_features=0.5)
        case _:
            return (
                GradientBoostingClassifier(n_estimators=200, max_features="sqrt", subsample=0.5),
                HistGradientBoostingClassifier(max_iter=150, max_leaf_nodes=15, min_samples_leaf=5),
            )


def _regressors(name: str, width: int) -> tuple[Any, ...]:
    inner: tuple[Any, ...]
    match name:
        case "linear-svm":
            return (Ridge(alpha=1e-6),)
        case "mlp":
            inner = tuple(
                MLPRegressor(hidden_layer_sizes=(h,), activation="tanh", solver="lbfgs", alpha=1e-5, max_iter=3_000)
                for h in _UNITS
            )
        case "rbf-svm":
            inner = tuple(SVR(C=100.0, epsilon=1e-3, gamma=share / width, max_iter=_STEPS) for share in _WIDTHS)
        case "poly-svm":
            inner = tuple(
                SVR(C=100.0, epsilon=1e-3, kernel="poly", degree=n, gamma=1.0 / width, coef0=1.0, max_iter=_STEPS)
                for n in _DEGREES
            )
        case "tree":
            return (DecisionTreeRegressor(),)
        case "forest":
            return RandomForestRegressor(), ExtraTreesRegressor(max_features=0.5)
        case _:
            return tuple(
                GradientBoostingRegressor(n_estimators=200, max_depth=depth, subsample=0.5) for depth in (3, 5)
            )
    return tuple(TransformedTargetRegressor(estimator, transformer=StandardScaler()) for estimator in inner)


def default_surrogates(spec: OracleSpec, n: int) -> tuple[Any, ...]:
    """Linear, kernel and tree models for n answers, the simplest first; kernels only up to a few thousand answers."""
    linear: Any
    kernel: Any
    trees: Any
    if spec.classes is None:
        linear = Ridge(alpha=1e-6)
        kernel = TransformedTargetRegressor(SVR(C=100.0, epsilon=1e-3), transformer=StandardScaler())
        trees = GradientBoostingRegressor(max_depth=5, subsample=0.5)
    elif spec.reveal.shows_probabilities:
        linear = LogisticRegression(C=100.0, max_iter=1_000)
        kernel = KernelRidge(alpha=1e-3, kernel="rbf")
        trees = ExtraTreesRegressor(max_features=0.5)
    else:
        linear = LogisticRegression(C=100.0, max_iter=1_000)
        kernel = SVC(C=10.0)
        # Boosting fits a tree a class and round, so that many classes are left to a forest.
        boosted = GradientBoostingClassifier(max_depth=4, max_features="sqrt", subsample=0.5)
        trees = boosted if spec.n_classes <= 3 else RandomForestClassifier()
    return (linear, kernel, trees) if n <= _KERNEL else (linear, trees)
