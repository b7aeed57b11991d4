"""Binary linear models from labels alone, at close to one bit a query [Tramèr16, §6], [Minka01].

Recovers the hyperplane ``w·x + β = 0`` up to scale, over numbers, integers and categories. What labels leave open is
a normal distribution over (w, β) (`filch.attacks.linear.halfspaces`); each further row lies where the boundary of its
mean meets the direction that is least known (`filch.attacks.linear.halving`), so that either label halves what is left.
A share of labels may be flipped. ``check`` rows (selection account), early and at the end, tell what is not linear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.attacks.linear.conversation import Goal
from filch.attacks.linear.crossings import Crossings
from filch.attacks.linear.design import Design
from filch.attacks.linear.halver import Halver
from filch.attacks.linear.halving import Halving
from filch.attacks.threads import on_one_thread
from filch.core.answers import Answers
from filch.core.attack import Outcome, Steps
from filch.core.models import ExtractedModel
from filch.core.oracle import OracleSpec
from filch.errors import BudgetSpent, UsageError
from filch.models.logistic import LogisticModel
from filch.models.polynomial import Monomials

Floats = npt.NDArray[np.float64]
_WIDEST = 2_000  # unknowns: a square matrix of them is worked on for each query


@dataclass(frozen=True)
class Halfspace:
    """Extract a binary linear model from labels, by halving what they leave open.

    Parameters
    ----------
    precision : float, default 1e-6
        The expected angle between the copy's (w, β) and the target's at which it stops, in rad.
    flips : float or None, default 0.0
        The share of labels that are flipped, below 0.4; None estimates it, on 64 rows in the selection account.
    batch : int, default 1
        Rows in one request. Rows of one batch cannot learn from each other's labels.
    most : int, default 100
        It stops after so many rows a parameter.
    check : int, default 8
        Further rows that the fit is held against, twice; four times as many where labels are flipped. 0 leaves the
        outcome unverified.
    degree : int, default 1
        Of the polynomial whose sign is the label: 1 for linear models, 2 or 3 for quadratic and cubic kernels, whatever
        their γ and constant; the weights then are those of all monomials (`filch.models.polynomial.Monomials`).

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> space = filch.FeatureSpace.box(X[:, :4].min(axis=0), X[:, :4].max(axis=0))
    >>> target = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:, :4], y)
    >>> oracle = filch.ModelOracle(target, space, reveal="labels")
    >>> run = filch.extract(oracle, attack=Halfspace(), budget=1_000)
    >>> run.outcome.value, filch.fidelity(oracle, run.model).r_unif
    ('verified', 0.0)
    """

    precision: float = 1e-6
    flips: float | None = 0.0
    batch: int = 1
    most: int = 100
    check: int = 8
    degree: int = 1

    def __post_init__(self) -> None:
        if not 1e-12 <= self.precision < 1.0 or not 0.0 <= (self.flips or 0.0) < 0.4:
            raise UsageError("Halfspace takes a precision from 1e-12 to below 1, and flips from 0 to below 0.4")
        if min(self.batch, self.most, self.degree) < 1 or self.check < 0:
            raise UsageError("Halfspace takes batch ≥ 1, most ≥ 1, degree ≥ 1 and check ≥ 0")

    def needs(self, spec: OracleSpec) -> str | None:
        """Two classes, a feature that varies, and no more unknowns than one matrix holds."""
        if spec.n_classes > 2:
            return 'the target has more than two classes: try "softmax-labels"'
        if spec.n_classes < 2:
            return "the target is no classifier with two classes"
        size = Design(spec.space).size
        if size == 1:
            return "no feature varies: widen the ranges"
        size = Monomials.count(size - 1, self.degree)
        return (
            f'it takes up to {_WIDEST:,} weights, and here are {size:,}: try "retraining"' if size > _WIDEST else None
        )

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Halve until the weights are known to the precision; hold the fit against further rows."""
        goal = Goal(self.precision, self.batch, self.most, self.check)
        halver = self._halver(goal, spec, rng)
        halver.hear(known)
        try:
            return (yield from on_one_thread(halver.steps()))
        except BudgetSpent as spent:
            if halver.waiting:
                halver.hear(spent.partial)
            reason = f"the budget ended before weights were known to {self.precision:g} and checked"
            if halver.single:
                reason = f"only one class was seen in {len(halver.labels):,} rows"
            return halver.finding(Outcome.BUDGET_SPENT, reason)

    def _halver(self, goal: Goal, spec: OracleSpec, rng: np.random.Generator) -> Halver:
        """Over the encoded columns, or over their monomials."""
        classes = spec.classes or ()
        if self.degree > 1:
            view = Monomials(spec.space, self.degree)
            kind = f"polynomial of degree {self.degree}"

            def curved(weights: Floats) -> ExtractedModel:
                return view.model(weights, classes)

            return Halver(goal, spec, view, rng, Crossings(view), curved, kind, self.flips)
        design = Design(spec.space)

        def made(weights: Floats) -> LogisticModel:
            return design.model(np.column_stack([np.zeros_like(weights), weights]), "logistic", classes)

        return Halver(goal, spec, design, rng, Halving(design), made, "linear model", self.flips)
