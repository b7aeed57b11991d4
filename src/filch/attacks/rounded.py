"""Equation solving from rounded answers: binary, softmax and one-vs-rest [Tramèr16, §7]; the second half of `logistic`.

Needs all probabilities, rounded. Queries: up to ``most`` rows per unknown of one score, or the budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from filch.attacks.design import Design
from filch.attacks.doubts import distances
from filch.attacks.intervals import fit_rounded
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent
from filch.models.logistic import Link, LogisticModel

Floats = npt.NDArray[np.float64]
_MISFIT = 4.0  # times the tolerance: a mean misfit that no further rows will mend


@dataclass(eq=False)
class Rounded:
    """The state of one attack on rounded answers.

    Parameters
    ----------
    spec : OracleSpec
    design : Design
    rng : Generator
    budget : int
        The rows that may still be asked.
    heard : Answers
        Those that are paid already.
    resolution : float
        How far a revealed probability may be from the true one.
    link, check, most
        As of `filch.attacks.logistic.Logistic`.
    """

    spec: OracleSpec
    design: Design
    rng: np.random.Generator
    budget: int
    heard: Answers
    resolution: float
    link: Literal["auto", "softmax", "ovr"] = "auto"
    check: int = 8
    most: int = 100
    paid: int = 0
    fitted: dict[Link, Floats] = field(default_factory=dict)
    """Likely weights by link, from which the next ones begin."""

    def __post_init__(self) -> None:
        plain: Link = "logistic" if self.spec.n_classes == 2 else "softmax"
        self.shape: Link = "ovr" if self.link == "ovr" and plain == "softmax" else plain
        # A rounded vector is off by half a unit in each entry; a fit on rounded answers by about as much again.
        self.tolerance = self.spec.n_classes * self.resolution

    def hear(self, ask: Ask, answers: Answers) -> None:
        """Note answers as they come."""
        self.paid += len(answers)
        if ask.account == "attack":
            self.heard = Answers.concat([self.heard, answers.given])

    def steps(self) -> Steps:
        """Ask, fit and check, until budget or ``most`` ends it."""
        try:
            return (yield from overheard(self.rounds(), self.hear))
        except BudgetSpent:
            return Finding(self.fit(), Outcome.BUDGET_SPENT, "the budget ended before the check", self.evidence())

    def rounds(self) -> Steps:
        """Fit uniform rows, twice as many each round, until budget or ``most`` ends it."""
        limit = self.most * self.design.size
        model, round_, fits = self.fit(), 0, True
        while fits and (before := len(self.heard)) < limit and self.paid + self.check < self.budget:
            count = min(max(before, 1), limit - before, self.budget - self.check - self.paid)
            rows = self.spec.space.sample(count, child(self.rng, "rounded", str(round_)))
            round_ += 1
            yield Ask(rows, f"round {round_}", snapshot=self.fit)
            model = self.fit()
            if round_ > 1 and distances(model, self.heard).mean() > _MISFIT * self.tolerance:
                model = self.other_link(model)
                fits = distances(model, self.heard).mean() <= _MISFIT * self.tolerance
            fits = fits and len(self.heard) > before  # else nothing but refusals
        held = Answers.none(len(self.spec.space))
        if self.check:
            further = self.design.unseen(self.check, child(self.rng, "check"))
            held = (yield Ask(further, "check", "selection", lambda: model)).given
        return self.verdict(model, held)

    def other_link(self, model: LogisticModel) -> LogisticModel:
        """Try one-vs-rest where a softmax does not fit, and keep whichever is closer."""
        if self.shape == "softmax" and self.link == "auto":
            other = self.fit("ovr")
            if distances(other, self.heard).mean() < distances(model, self.heard).mean():
                self.shape = "ovr"
                return other
        return model

    def fit(self, link: Link | None = None) -> LogisticModel:
        """The likely weights, of the link that fits so far or of another."""
        link = link or self.shape
        shown, begun = self.heard.probabilities, self.fitted.get(link)
        assert shown is not None
        likely, weights = fit_rounded(
            self.design.matrix(self.heard.rows),
            shown,
            one_vs_rest=link == "ovr",
            start=begun,
            resolution=self.resolution,
        )
        self.fitted[link] = likely
        return self.design.model(weights, link, self.spec.classes or ())

    def evidence(self, residual: float = math.inf) -> dict[str, object]:
        """Numbers behind the outcome."""
        return {
            "link": self.shape,
            "unknown rows": self.design.size,
            "rows heard": len(self.heard),
            "residual": residual if math.isfinite(residual) else None,
        }

    def verdict(self, model: LogisticModel, held: Answers) -> Finding:
        """Hold the model against further rows."""
        if not len(held):
            reason = "the fit was not held against further rows (check=0)"
            return Finding(model, Outcome.UNVERIFIED, reason, self.evidence())
        residual = float(distances(model, held).mean())
        checked = f"{len(held)} further rows differ by {residual:.1e} on average (total variation)"
        if residual <= self.tolerance:
            return Finding(model, Outcome.VERIFIED, f"{checked}: a {self.shape} model", self.evidence(residual))
        reason = f"{checked}, more than the {self.tolerance:.1e} that the answers resolve: no {self.shape} model of "
        return Finding(model, Outcome.CLASS_MISMATCH, f"{reason}these columns", self.evidence(residual))
