"""The lists of strategies: this tool's attacks by name, the paper's, and ART's KnockoffNets beside them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sklearn.neural_network import MLPClassifier

from filch import attacks
from filch.attacks.lowd_meek import LowdMeek
from filch.attacks.retraining import Retraining
from filch.attacks.surrogates.named import family
from filch.core.attack import Attack
from filch.core.encoding import OneHot
from filch.core.oracle import OracleSpec
from filch.paper.compare import OURS
from filch.paper.labels import art
from filch.paper.labels.methods import Strategy
from filch.paper.targets import HIDDEN

_FIRST = 16  # rows that Lowd–Meek's first look for both classes asks
_RETRAINING: Mapping[str, Any] = {"uniform": "uniform", "line search": "line_search", "adaptive": "adaptive"}


def ours(name: str, *, stops: bool = False, **parameters: Any) -> Iterator[Strategy]:
    """The attack of a registered name; nothing where there is none.

    Parameters
    ----------
    name : str
    stops : bool, default False
        Whether it takes the points of the curve as ``stops``, at which its rounds end.
    **parameters
        Of the attack.
    """
    if name in attacks.names():
        yield Strategy(OURS, functools.partial(_make, name, parameters, stops), anytime=True)


def line_searches() -> Strategy:
    """Lowd–Meek at the precision that the budget allows: d + 2 rows halve all its brackets once more."""
    return Strategy("lowd-meek", _lowd_meek)


def retraining(surrogate: Callable[[OracleSpec], Any]) -> Iterator[Strategy]:
    """The paper's three strategies, with a surrogate of the target's class."""
    for name, strategy in _RETRAINING.items():
        yield Strategy(name, functools.partial(_retrain, strategy, surrogate))


def knockoff(surrogate: Callable[[OracleSpec], Any]) -> Strategy:
    """ART's KnockoffNets on uniform rows, with the same surrogate."""
    make = functools.partial(art.Settings.of, surrogate)
    return Strategy("KnockoffNets", make, peer=functools.partial(art.knockoff, surrogate), missing=art.missing)


# ── surrogates of the target's class ────────────────────────────────────────────────────────────────────────


def linear_surrogate(spec: OracleSpec) -> Any:
    """A logistic model, hardly penalised: binary or softmax."""
    (model,) = family("softmax", "labels", OneHot(spec.space).width, spec.n_classes)
    return model


def network_surrogate(spec: OracleSpec) -> Any:
    """A network of the target's shape, hardly penalised."""
    return MLPClassifier((HIDDEN,), activation="tanh", alpha=1e-6, max_iter=500)


def kernel_surrogates(spec: OracleSpec) -> Any:
    """RBF machines of several γ, hardly penalised, of which held-back answers choose [Tramèr16, §5.3]."""
    return family("rbf-svm", "labels", OneHot(spec.space).width, spec.n_classes)


def _make(name: str, parameters: Mapping[str, Any], stops: bool, spec: OracleSpec, points: tuple[int, ...]) -> Attack:
    return attacks.make(name, **parameters, **({"stops": points} if stops else {}))


def _retrain(
    strategy: Any, surrogate: Callable[[OracleSpec], Any], spec: OracleSpec, points: tuple[int, ...]
) -> Attack:
    return Retraining(
        strategy=strategy, surrogate=surrogate(spec), explore=0.0
    )  # the paper's adaptive has no uniform rows


def _lowd_meek(spec: OracleSpec, points: tuple[int, ...]) -> Attack:
    varies = int((spec.space.high > spec.space.low).sum())
    halvings = (points[-1] - _FIRST - varies) // (varies + 2)
    return LowdMeek(precision=2.0 ** -min(max(halvings, 2), 39), check=0)
