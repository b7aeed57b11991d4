"""Linear models of several classes from labels alone, at about one bit a query [Tramèr16, §6], [Minka01].

Recovers which of c affine scores is the highest: softmax and one-vs-rest models are the same function here, and so is a
linear SVM of several classes. Works over numbers, integers and categories. What labels leave open is a normal
distribution over all weights (`filch.attacks.linear.contests`); rows are asked in which the two highest scores of its
mean tie, those first whose labels take most of the expected disagreement (`filch.attacks.linear.ties`). ``check`` rows
(selection account), early and at the end, tell what is not linear.

Queries: about one for each bit that is wanted of each weight; see docs/reproductions/labels.md for what that was on
real data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filch.attacks.linear.conversation import Goal
from filch.attacks.linear.design import Design
from filch.attacks.linear.ranker import Ranker
from filch.attacks.threads import on_one_thread
from filch.core.answers import Answers
from filch.core.attack import Outcome, Steps
from filch.core.oracle import OracleSpec
from filch.errors import BudgetSpent, UsageError

_WIDEST = 2_500  # unknowns: a square matrix of them is worked on for each batch


@dataclass(frozen=True)
class SoftmaxLabels:
    """Extract a linear model of two or more classes from labels.

    Parameters
    ----------
    precision : float, default 1e-4
        The expected share of uniform rows that the copy labels otherwise than the target, at which it stops.
    batch : int or None, default None
        Rows in one request; they are chosen to tell different things. None takes one for every 32 unknowns,
        which costs next to no queries.
    most : int, default 50
        It stops after so many rows for each of the (c − 1)(d + 1) unknowns.
    check : int, default 8
        Further rows that the fit is held against, twice; 0 leaves the outcome unverified.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> target = LogisticRegression(max_iter=1_000).fit(X, y)
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0)), reveal="labels")
    >>> run = filch.extract(oracle, attack=SoftmaxLabels(), budget=500)
    >>> run.outcome.value, filch.fidelity(oracle, run.model).r_unif <= 1e-3
    ('verified', True)
    """

    precision: float = 1e-4
    batch: int | None = None
    most: int = 50
    check: int = 8

    def __post_init__(self) -> None:
        if not 1e-7 <= self.precision < 1.0:
            raise UsageError("SoftmaxLabels takes a precision from 1e-7 to below 1")
        if (self.batch is not None and self.batch < 1) or self.most < 1 or self.check < 0:
            raise UsageError("SoftmaxLabels takes batch ≥ 1 or None, most ≥ 1 and check ≥ 0")

    def needs(self, spec: OracleSpec) -> str | None:
        """Two classes or more, a feature that varies, and no more unknowns than one matrix holds."""
        if spec.n_classes < 2:
            return "the target is no classifier with two or more classes"
        size = Design(spec.space).size
        if size == 1:
            return "no feature varies: widen the ranges"
        unknowns = (spec.n_classes - 1) * size
        return f'it takes up to {_WIDEST:,} unknowns: try "retraining"' if unknowns > _WIDEST else None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask where two classes tie until few labels are open; hold the fit against further rows."""
        ranker = Ranker(Goal(self.precision, self.batch, self.most, self.check), spec, Design(spec.space), rng)
        ranker.hear(known)
        try:
            return (yield from on_one_thread(ranker.steps()))
        except BudgetSpent as spent:
            if ranker.waiting:
                ranker.hear(spent.partial)
            ranker.settle()
            reason = f"the budget ended before a share of {1 - self.precision:.6g} of labels was known and checked"
            if ranker.single:
                reason = f"only one class was seen in {len(ranker.belief.labels):,} rows"
            return ranker.finding(Outcome.BUDGET_SPENT, reason)
