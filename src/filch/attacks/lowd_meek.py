"""Binary linear models from labels alone, by line searches [LowdMeek05], [Tramèr16, §6].

Recovers the hyperplane ``w·x + β = 0`` up to scale. A line search between a row of each class finds a point of the
boundary. From it, a step along each feature changes the score by the feature's weight; a second line search, from there
to the known row of the other class, measures that change in units of that row's score, for scores are linear along a
line. Another category, or the other end of a stepped range, is such a step too: the search then goes along the numbers
until they make up for it. All searches run in lockstep: as many requests as one search has queries.

Queries, with d free columns: d (1 + ⌈log₂ 1/precision⌉), 2 ⌈log₂ 1/precision⌉ for the first point, and the rows until
both classes are seen; ``check`` further rows beside a boundary elsewhere (selection account) verify that the target is
linear. Needs a continuous feature: on a grid there is no boundary to halve.

With ``degree`` 2 or 3 the same in the space of all monomials, φ: polynomial kernels. Each of its points of the boundary
costs ⌈log₂ 1/precision⌉ queries and about one for its ends, and there are 1.15 of them for each weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filch.attacks.linear.hyperplane import Hyperplane
from filch.attacks.linear.surface import Surface
from filch.core.answers import Answers
from filch.core.attack import Finding, Outcome, Steps
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.polynomial import Monomials

_WIDEST = 2_000  # weights of a polynomial: a square matrix of them is taken apart


@dataclass(frozen=True)
class LowdMeek:
    """Extract a binary linear model from labels, by line searches.

    Parameters
    ----------
    precision : float, default 1e-6
        The width at which a line search stops, as a share of its segment.
    check : int, default 8
        Further rows that the fit is held against; 0 leaves the outcome unverified.
    degree : int, default 1
        Of the polynomial whose sign is the label: 1 for linear models, 2 or 3 for quadratic and cubic kernels.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import Perceptron
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> space = filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0))
    >>> target = make_pipeline(StandardScaler(), Perceptron()).fit(X, y)
    >>> oracle = filch.ModelOracle(target, space, reveal="labels")
    >>> run = filch.extract(oracle, attack=LowdMeek(), budget=1_000)
    >>> run.outcome.value, filch.fidelity(oracle, run.model).r_unif
    ('verified', 0.0)
    """

    precision: float = 1e-6
    check: int = 8
    degree: int = 1

    def __post_init__(self) -> None:
        if not 2.0**-40 <= self.precision < 0.5 or self.check < 0 or self.degree < 1:
            raise UsageError("LowdMeek takes a precision from 1e-12 to below 0.5, check ≥ 0 and degree ≥ 1")

    def needs(self, spec: OracleSpec) -> str | None:
        """Two classes, and a continuous feature."""
        if spec.n_classes != 2:
            return 'the target has not exactly two classes: try "retraining"'
        space = spec.space
        varies = space.high > space.low
        if not varies.any():
            return "no feature varies: widen the ranges"
        if not (varies & (space.grid == 0)).any():
            return 'it halves segments of continuous features, and all here are categories or steps: try "halfspace"'
        if self.degree > 1 and (size := Monomials.count(int(varies.sum()), self.degree)) > _WIDEST:
            return f'a polynomial of {size:,} weights is more than the {_WIDEST:,} it takes: try "retraining"'
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Find both classes, points of the boundary, and the weights; then check."""
        return (yield from (self._linear(spec, rng, known) if self.degree == 1 else self._curved(spec, rng, known)))

    def _linear(self, spec: OracleSpec, rng: np.random.Generator, known: Answers) -> Steps:
        plane = Hyperplane(spec)
        try:
            yield from plane.look(known, rng)
            yield from plane.find(self.precision, rng)
            if not self.check:
                reason = "the hyperplane was not held against further rows (check=0)"
                return Finding(plane.model(), Outcome.UNVERIFIED, reason, plane.evidence())
            agreed, asked = yield from plane.check(self.check, self.precision, rng)
        except BudgetSpent as spent:
            if plane.base is None:
                plane.see(spent.partial)
            reason = f"the budget ended before weights were known to {self.precision:g}"
            if plane.base is None:
                only = "only one class" if len(plane.classes) < 2 else "no line between both classes"
                reason = f"{only} was seen in {plane.looked:,} rows"
            return Finding(plane.model(), Outcome.BUDGET_SPENT, reason, plane.evidence())
        evidence = {**plane.evidence(), "checked": asked, "agreed": agreed}
        told = f"{agreed} of {asked} further rows beside the boundary agree"
        if not asked:
            return Finding(plane.model(), Outcome.UNVERIFIED, "the rows to check with were refused", evidence)
        if agreed < asked and plane.bounds:
            why = f"{told}, and of {len(plane.bounds)} weights only bounds are known: numbers do not make up for them"
            return Finding(plane.model(), Outcome.APPROXIMATE, why, evidence)
        if agreed < asked:
            return Finding(plane.model(), Outcome.CLASS_MISMATCH, f"{told}: the target is not linear", evidence)
        return Finding(plane.model(), Outcome.VERIFIED, f"{told}: a linear model", evidence)

    def _curved(self, spec: OracleSpec, rng: np.random.Generator, known: Answers) -> Steps:
        surface = Surface(spec, Monomials(spec.space, self.degree), child(rng, "surface"))
        kind = f"a polynomial of degree {self.degree}"
        try:
            yield from surface.look(known)
            yield from surface.find(self.precision)
            if not self.check:
                reason = f"{kind} was not held against further rows (check=0)"
                return Finding(surface.model(), Outcome.UNVERIFIED, reason, surface.evidence())
            agreed, asked = yield from surface.check(self.check)
        except BudgetSpent as spent:
            if len(surface.seen) < 2:
                surface.see(spent.partial)
            reason = f"the budget ended before {kind} was known to {self.precision:g} and checked"
            if len(surface.seen) < 2:
                reason = f"only one class was seen in {len(surface.labels):,} rows"
            return Finding(surface.model(), Outcome.BUDGET_SPENT, reason, surface.evidence())
        evidence = {**surface.evidence(), "checked": asked, "agreed": agreed}
        told = f"{agreed} of {asked} further rows beside the boundary agree"
        if not asked:
            return Finding(surface.model(), Outcome.UNVERIFIED, "the rows to check with were refused", evidence)
        if agreed < asked:
            return Finding(surface.model(), Outcome.CLASS_MISMATCH, f"{told}: the target is not {kind}", evidence)
        return Finding(surface.model(), Outcome.VERIFIED, f"{told}: {kind}", evidence)
