"""ReLU networks with one hidden layer, to float precision: kinks along lines, gradients between them.

Recovers the function from class probabilities, or from the value of a regressor; the hidden width is read off. Scores
(log-ratios, or the value) are piecewise linear: a line shows where each unit turns on and by how much the slope then
changes; ⌈h/m⌉ + 1 gradients between the kinks, of m = c − 1 scores each (1 for a value), tell all normals; random rows
tell what was missed, and polish. After [Carlini20, §4], who take one output; with m of them, m times fewer gradients
are enough.

Queries: about 7 h for lines, (⌈h/m⌉ + 1)(d + 1) for gradients, d the free columns, and 1.15 equations for each
weight in random rows. Numbers are asked at fractional values, and beyond their range. ``check`` further rows in the
selection account verify the fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.attacks.networks.relu_solver import Solver
from filch.attacks.networks.relu_view import View
from filch.core.answers import Answers
from filch.core.attack import Finding, Outcome, Steps, overheard
from filch.core.oracle import OracleSpec
from filch.errors import BudgetSpent, UsageError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PerceptronRelu:
    """Extract a ReLU network with one hidden layer.

    Parameters
    ----------
    check : int, default 8
        Further rows that the fit is held against; 0 leaves the outcome unverified.

    Raises
    ------
    UsageError
        A negative ``check``.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> target = MLPClassifier((5,), solver="lbfgs", alpha=0.1, max_iter=2_000, random_state=0).fit(X, y)
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0)))
    >>> run = filch.extract(oracle, attack=PerceptronRelu(), budget=1_000)
    >>> run.outcome.value, filch.fidelity(oracle, run.model).r_unif
    ('verified', 0.0)
    """

    check: int = 8

    def __post_init__(self) -> None:
        if self.check < 0:
            raise UsageError("PerceptronRelu takes check ≥ 0")

    def needs(self, spec: OracleSpec) -> str | None:
        """All probabilities of at least two classes, or a value; unrounded; a column of numbers."""
        k = spec.reveal.k
        if spec.classes is None:
            if spec.reveal.level not in ("value", "node"):
                return f"it needs the value of a regressor, and the oracle reveals {spec.reveal.level}"
        elif spec.n_classes < 2:
            return "the target is no classifier with two or more classes"
        elif not spec.reveal.shows_probabilities or (k is not None and k < spec.n_classes):
            return f'it needs all class probabilities, and the oracle reveals {spec.reveal.level}; try "retraining"'
        other = "retraining" if spec.classes is None else "perceptron-sgd"
        if spec.decimals is not None and spec.decimals < 12:
            return f'rounding to {spec.decimals} decimals hides the slopes that it measures; try "{other}"'
        if not len(View(spec).moving):
            return f'it moves along lines, and no column is a number; try "{other}"'
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Search lines, measure gradients, ask random rows until nothing is missing, polish, check."""
        solver = Solver(spec, rng, budget, known.given, self.check)
        try:
            return (yield from overheard(solver.steps(), solver.hear))
        except BudgetSpent:
            model, evidence = solver.best(), solver.evidence()
            if solver.complete:
                reason = "the weights are solved for, but the budget left no row to check them"
                return Finding(model, Outcome.UNVERIFIED, reason, evidence)
            return Finding(model, Outcome.BUDGET_SPENT, "the budget ended before all units were found", evidence)
