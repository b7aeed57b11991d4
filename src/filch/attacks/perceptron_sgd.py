"""The paper's own way to networks: gradient descent on the logistic loss over uniform queries [Tramèr16, §4.1.2].

Learns an approximation of a network with one hidden layer whose width and activation are given, from probabilities:
all of them or the top k, rounded or not. Any classifier may be the target; one of another class is merely learned less
well (App. D).

Queries: α for each of the h(d + 1) + c(h + 1) unknowns, d encoded columns, or the budget if that is less; and ``check``
rows in the selection account, on which the error of the copy is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_softmax

from filch.attacks.doubts import resolution
from filch.attacks.networks.uniform import asked, inputs_of, model_of, rows_for
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.perceptron import Activation, PerceptronModel

Floats = npt.NDArray[np.float64]
_EXACT = 1e-9  # total variation up to which a copy of unrounded answers is no approximation
_MOMENTS = 0.9, 0.999  # of Adam
_TINY = 1e-8


@dataclass(frozen=True)
class PerceptronSGD:
    """Extract a network of a given width by stochastic gradient descent.

    Parameters
    ----------
    hidden : int, default 20
        Hidden units of the copy.
    activation : {"tanh", "logistic", "relu"}
        Of the hidden units; the paper's attacker knows it.
    alpha : float, default 5
        Queries for each unknown of the copy.
    epochs : int, default 1,000
        Passes over all answers.
    batch : int, default 32
        Rows in a step.
    rate : float, default 0.003
        The first step's rate; it falls to 0 as a cosine does.
    check : int, default 8
        Further rows on which the error is told; 0 leaves it untold.

    Notes
    -----
    The paper names 1,000 epochs and neither rate, batch nor start. Steps here are Adam's
    [Kingma15], with the rate and the batch that did best on Adult-Race, at five queries an unknown, among a few that
    were tried; at one query an unknown a rate of 0.001 did better for tanh.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> target = MLPClassifier((3,), "tanh", solver="lbfgs", alpha=0.1, max_iter=2_000, random_state=0).fit(X, y)
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0)))
    >>> run = filch.extract(oracle, attack=PerceptronSGD(hidden=3), budget=1_000, curve=False)
    >>> run.queries, run.selection, filch.fidelity(oracle, run.model).r_unif < 0.05
    (135, 8, True)
    """

    hidden: int = 20
    activation: Activation = "tanh"
    alpha: float = 5.0
    epochs: int = 1_000
    batch: int = 32
    rate: float = 0.003
    check: int = 8

    def __post_init__(self) -> None:
        counts = min(self.hidden, self.epochs, self.batch) >= 1 and self.check >= 0
        sizes = 0 < self.alpha < math.inf and 0 < self.rate < math.inf
        if self.activation not in get_args(Activation) or not counts or not sizes:
            raise UsageError(
                'PerceptronSGD takes activation="tanh", "logistic" or "relu", hidden, epochs and batch ≥ 1, alpha and '
                "rate > 0, and check ≥ 0"
            )

    def needs(self, spec: OracleSpec) -> str | None:
        """Probabilities of at least two classes, or of the k highest."""
        if spec.n_classes < 2:
            return "the target is no classifier with two or more classes"
        if not spec.reveal.shows_probabilities:
            return f'it needs class probabilities, and the oracle reveals {spec.reveal.level}; try "retraining"'
        return None

    def queries(self, spec: OracleSpec) -> int:
        """The rows that it asks if the budget allows: α·(h(d + 1) + c(h + 1))."""
        return rows_for(self.alpha, self.hidden, spec)

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask uniform rows, fit, tell the error on a few more."""
        learner = _Learner(self, spec, rng, known.given if known.probabilities is not None else None)
        try:
            return (yield from overheard(learner.steps(budget), learner.hear))
        except BudgetSpent:
            reason = f"the budget ended early; the network has learned {len(learner.heard):,} answers"
            return Finding(learner.model(), Outcome.BUDGET_SPENT, reason, learner.evidence())


@dataclass(eq=False)
class _Learner:
    """What the attack has heard, and the network that it allows."""

    attack: PerceptronSGD
    spec: OracleSpec
    rng: np.random.Generator
    known: Answers | None
    heard: Answers = field(init=False)
    _fitted: tuple[int, PerceptronModel] | None = None

    def __post_init__(self) -> None:
        self.heard = self.known if self.known is not None else Answers.none(len(self.spec.space))

    def hear(self, ask: Ask, answers: Answers) -> None:
        if ask.account == "attack" and answers.probabilities is not None:
            self.heard = Answers.concat([self.heard, answers.given])

    def steps(self, budget: int) -> Steps:
        wanted = min(self.attack.queries(self.spec), max(1, budget - self.attack.check))
        yield from asked(self.spec, wanted, child(self.rng, "uniform"), self.model)
        model, learned = self.model(), f"a network of {self.attack.hidden} hidden units, fitted to {{:,}} answers"
        learned = learned.format(len(self.heard))
        if model is None:
            return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", self.evidence())
        if not self.attack.check:
            return Finding(model, Outcome.APPROXIMATE, learned, self.evidence())
        held_rows = self.spec.space.sample(self.attack.check, child(self.rng, "check"))
        held = (yield Ask(held_rows, "check", "selection", self.model)).given
        off = _apart(model.predict_proba(held.rows), held.probabilities)
        evidence = self.evidence() | {"residual": off}
        if off is None:
            return Finding(model, Outcome.APPROXIMATE, learned, evidence)
        reason = f"{learned}; {len(held)} further rows differ by {off:.1e} on average (total variation)"
        fits = off <= max(_EXACT, self.spec.n_classes * resolution(self.heard, self.spec))
        return Finding(model, Outcome.VERIFIED if fits else Outcome.APPROXIMATE, reason, evidence)

    def model(self) -> PerceptronModel | None:
        """The network fitted to all that was heard, once for each number of answers; None if nothing was."""
        if len(self.heard) and (self._fitted is None or self._fitted[0] != len(self.heard)):
            self._fitted = len(self.heard), self._fit()
        return self._fitted[1] if self._fitted else None

    def _fit(self) -> PerceptronModel:
        shown = self.heard.probabilities
        assert shown is not None
        inner, outer = descend(self.attack, inputs_of(self.spec, self.heard.rows), shown, child(self.rng, "descent"))
        return model_of(self.spec, inner, outer, self.attack.activation)

    def evidence(self) -> dict[str, object]:
        return {"hidden": self.attack.hidden, "answers": len(self.heard)}


def descend(attack: PerceptronSGD, inputs: Floats, shown: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Minimise the logistic loss ``−Σ f_i log f̂_i``.

    Parameters
    ----------
    attack : PerceptronSGD
    inputs : (n, d + 1)
        Encoded rows; the last column is ones.
    shown : (n, c)
        Probabilities; what is NaN shares what the others leave, as the network itself shares it.
    rng : Generator

    Returns
    -------
    (d + 1, h), (h + 1, c)
        Weights into and out of the hidden units; the last rows are the biases.
    """
    (n, wide), classes, hidden = inputs.shape, shown.shape[1], attack.hidden
    shape, count = (wide, hidden), wide * hidden
    flat, slope = np.empty(count + (hidden + 1) * classes), np.empty(count + (hidden + 1) * classes)
    inner, outer = flat[:count].reshape(shape), flat[count:].reshape(hidden + 1, classes)
    to_inner, to_outer = slope[:count].reshape(shape), slope[count:].reshape(hidden + 1, classes)
    inner[:] = rng.uniform(-1, 1, inner.shape) * math.sqrt(6.0 / (wide + hidden))  # Glorot and Bengio's
    outer[:] = rng.uniform(-1, 1, outer.shape) * math.sqrt(6.0 / (hidden + classes))
    hides = bool(np.isnan(shown).any())
    squash, steepness = _ACTIVATIONS[attack.activation]
    first, second = np.zeros_like(flat), np.zeros_like(flat)
    total, step = attack.epochs * math.ceil(n / attack.batch), 0
    for _ in range(attack.epochs):
        order = rng.permutation(n)
        for start in range(0, n, attack.batch):
            chosen = order[start : start + attack.batch]
            rows, wanted = inputs[chosen], shown[chosen]
            units = squash(rows @ inner)
            shares = np.exp(log_softmax(units @ outer[:-1] + outer[-1], axis=1))
            error = (shares - (_completed(wanted, shares) if hides else wanted)) / len(rows)
            np.dot(units.T, error, out=to_outer[:-1])
            error.sum(axis=0, out=to_outer[-1])
            np.dot(rows.T, (error @ outer[:-1].T) * steepness(units), out=to_inner)
            step += 1
            first += (1 - _MOMENTS[0]) * (slope - first)
            second += (1 - _MOMENTS[1]) * (slope * slope - second)
            rate = attack.rate * 0.5 * (1 + math.cos(math.pi * step / total))
            rate *= math.sqrt(1 - _MOMENTS[1] ** step) / (1 - _MOMENTS[0] ** step)
            flat -= rate * first / (np.sqrt(second) + _TINY)
    return inner, outer


_ACTIVATIONS: dict[Activation, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "tanh": (np.tanh, lambda units: 1.0 - units * units),
    "logistic": (expit, lambda units: units * (1.0 - units)),
    "relu": (lambda inputs: np.maximum(inputs, 0.0), lambda units: (units > 0.0).astype(np.float64)),
}
"""Each activation, and its derivative as a function of the activation."""


def _completed(shown: Floats, guess: Floats) -> Floats:
    """Probabilities in which those hidden (NaN) share what the others leave, in proportion to a guess."""
    hidden = np.isnan(shown)
    left = np.clip(1.0 - np.nansum(shown, axis=1, keepdims=True), 0.0, None)
    among = np.where(hidden, guess, 0.0)
    return np.where(hidden, left * among / np.maximum(among.sum(axis=1, keepdims=True), 1e-300), shown)


def _apart(found: Floats, shown: Floats | None) -> float | None:
    """The mean total variation, hidden probabilities counted as one; None without answers."""
    if shown is None or not len(shown):
        return None
    hidden = np.isnan(shown)
    seen = np.abs(np.where(hidden, 0.0, found - shown)).sum(axis=1)
    rest = np.where(hidden, found, 0.0).sum(axis=1) - (1.0 - np.nansum(shown, axis=1))
    return float(0.5 * (seen + np.abs(np.where(hidden.any(axis=1), rest, 0.0))).mean())
