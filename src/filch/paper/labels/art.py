"""KnockoffNets [Orekondy19] as the Adversarial Robustness Toolbox has it (``pip install 'filch[bench]'``).

A peer, not an attack of filch: it holds the target and asks it itself. Here it asks a black box that answers labels and
counts rows. Its pool are uniform rows, as the attacker of [Tramèr16, §6] has no others, and it fits the surrogate that
the paper's strategies are given. Of its two ways to choose rows this is ``random``: ``adaptive`` fits the surrogate on
each single row in turn, which scikit-learn's estimators cannot do. ART's wrapper of these passes the sizes and numbers
of batches to ``fit``, which takes none; here they are dropped.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold

from filch.core.encoding import OneHot
from filch.core.models import ExtractedModel
from filch.core.oracle import ModelOracle, OracleSpec
from filch.core.seeds import child, stream
from filch.errors import UsageError
from filch.models.surrogate import SurrogateModel
from filch.paper.targets import Target

Floats = npt.NDArray[np.float64]
Surrogate = Callable[[OracleSpec], Any]
_FOLDS, _FEW = 3, 30
NEEDS = "ART's KnockoffNets needs its package: pip install 'filch[bench]'"


@dataclass(frozen=True)
class Settings:
    """What decides its result, for the settings of a cell."""

    surrogate: Any
    sampling: str = "random"

    @classmethod
    def of(cls, surrogate: Surrogate, spec: OracleSpec, points: tuple[int, ...]) -> Settings:
        """Those of a target."""
        return cls(surrogate(spec))


def missing() -> str | None:
    """Why it cannot run here, or None."""
    return None if all(importlib.util.find_spec(name) for name in ("art", "packaging")) else NEEDS


def knockoff(surrogate: Surrogate, target: Target, budget: int, seed: int) -> tuple[ExtractedModel | None, int]:
    """Run KnockoffNets with so many queries; the copy, and the rows that the target was asked.

    Raises
    ------
    UsageError
        ART is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ART warns of each deep-learning framework that is not there
            from art.attacks.extraction import KnockoffNets
            from art.estimators.classification import BlackBoxClassifier
            from art.estimators.classification.scikitlearn import ScikitlearnClassifier
    except ImportError as error:
        raise UsageError(NEEDS) from error
    space, classes = target.oracle.spec.space, target.oracle.spec.classes or ()
    oracle, view = ModelOracle(target.oracle.model, space, reveal="labels"), OneHot(space)
    rng = stream(seed, "knockoff")
    asked = 0

    def answer(encoded: Floats) -> Floats:
        nonlocal asked
        asked += len(encoded)
        rows = np.clip(view.decode(encoded), space.low, space.high)  # ART works in float32
        return np.asarray(np.eye(len(classes))[oracle.ask(rows).labels])

    class Thief(ScikitlearnClassifier):  # type: ignore[misc]
        def fit(self, x: Floats, y: Floats, **batches: Any) -> None:
            del batches
            order = np.lexsort(x.T)  # ART shuffles by global randomness
            self.fitted = _fitted(surrogate(target.oracle.spec), x[order], y[order].argmax(axis=1), rng)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool = view.encode(space.sample(budget, child(rng, "pool")))
        victim = BlackBoxClassifier(answer, pool.shape[1:], len(classes))
        attack = KnockoffNets(
            victim, batch_size_fit=budget, batch_size_query=min(budget, 10_000), nb_stolen=budget, verbose=False
        )
        thief = attack.extract(pool, thieved_classifier=Thief(DummyClassifier()))
    return SurrogateModel(space, classes, thief.fitted), asked


def _fitted(surrogate: Any, X: Floats, y: npt.NDArray[np.int64], rng: np.random.Generator) -> Any:
    """The surrogate; of several of one kind, that whose γ cross-validation chooses."""
    if len(np.unique(y)) == 1:
        return DummyClassifier(strategy="most_frequent").fit(X, y)
    if isinstance(surrogate, tuple):
        middle = surrogate[len(surrogate) // 2]
        grid = {"gamma": [one.gamma for one in surrogate]}
        folds = KFold(_FOLDS)
        surrogate = GridSearchCV(middle, grid, cv=folds, error_score=0.0) if len(y) >= _FEW else middle
    elif "random_state" in surrogate.get_params():
        surrogate.set_params(random_state=int(child(rng, "fit").integers(2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return surrogate.fit(X.astype(np.float64), y)
