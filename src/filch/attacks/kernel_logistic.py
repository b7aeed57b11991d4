"""RBF kernel logistic regression, and with it training rows [Tramèr16, §4.1.3].

Recovers the number of representers, γ, every representer, which is a training row, and all weights to float precision,
from class probabilities of rows inside the ranges. Needs all probabilities and at least three columns that vary. The
kernel may see columns one-hot encoded and scaled to [−1, 1], or each number scaled as it likes: where one γ for all of
them does not fit, further rows tell one for each.

Queries, with s representers, d free encoded columns and c classes: about ``(s + d)(s + 1) / (c − 1)`` for the algebra
(`filch.attacks.kernels.algebra`), and as many more as it takes to see that s is no larger. All answers then take part
in a least-squares fit (`filch.attacks.kernels.fit`). ``check`` further rows in the selection account verify it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from filch.attacks.doubts import distances, unsteady
from filch.attacks.kernels.algebra import varying
from filch.attacks.kernels.search import NEAR, Search, Unsolved
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.kernel import KernelModel


@dataclass(frozen=True)
class KernelLogistic:
    """Extract an RBF kernel logistic regression with the training rows in it.

    Parameters
    ----------
    most : int, default 100
        The most representers that are looked for.
    local : int, default 10
        Where those of the target cannot be told: so many are fitted to all answers and to some more uniform rows, and
        resemble averages of the target's. 0 leaves a smooth fit on the rows that were asked.
    check : int, default 8
        Further rows that the fit is held against; 0 leaves the outcome unverified.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from filch.models import KernelModel
    >>> rng, space = np.random.default_rng(0), filch.FeatureSpace.box([-1] * 6, [1] * 6)
    >>> rows = space.sample(5, rng)
    >>> target = KernelModel(space, (0, 1, 2), rows, rng.normal(size=(3, 5)), np.zeros(3), gamma_=0.3)
    >>> run = filch.extract(filch.ModelOracle(target, space), attack=KernelLogistic(), budget=500)
    >>> off = np.abs(run.model.rows[:, None] - rows).max(axis=2).min(axis=0)
    >>> run.outcome.value, round(run.model.gamma_, 6), bool((off < 1e-6).all())
    ('verified', 0.3, True)
    """

    most: int = 100
    local: int = 10
    check: int = 8

    def __post_init__(self) -> None:
        if self.most < 1 or min(self.local, self.check) < 0:
            raise UsageError("KernelLogistic takes most ≥ 1, local ≥ 0 and check ≥ 0")

    def needs(self, spec: OracleSpec) -> str | None:
        """All probabilities of at least two classes, and three columns that vary."""
        if spec.n_classes < 2:
            return "the target is no classifier with two or more classes"
        k = spec.reveal.k
        if not spec.reveal.shows_probabilities or (k is not None and k < spec.n_classes):
            return f'it needs all class probabilities, and the oracle reveals {spec.reveal.level}; try "retraining"'
        if len(varying(spec.space)) < 3:
            return 'it needs three columns that vary; try "retraining"'
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Read off the number of representers, separate and locate them, fit, check; see the module's docstring."""
        solver = _Solver(self, spec, rng, known)
        try:
            return (yield from overheard(solver.steps(), solver.hear))
        except BudgetSpent:
            model, evidence = solver.snapshot(), solver.evidence()
            if solver.fit is not None:
                reason = "the representers are found, but the budget left no row to check them"
                return Finding(model, Outcome.UNVERIFIED, reason, evidence)
            reason = "the budget ended before the equations did; the model is a smooth fit to the answers"
            return Finding(model, Outcome.BUDGET_SPENT, reason, evidence)


class _Solver(Search):
    """A search, and what is told of it in the end."""

    def __init__(self, attack: KernelLogistic, spec: OracleSpec, rng: np.random.Generator, known: Answers) -> None:
        super().__init__(attack.most, spec, rng, known)
        self.attack = attack

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def steps(self) -> Steps:
        trouble: Unsolved | None = None
        try:
            yield from self.solve()
        except Unsolved as unsolved:
            trouble = unsolved
            if self.attack.local and len(self.heard):
                yield from self.settle(self.attack.local, child(self.rng, "settle"))
        model = self.snapshot()
        if model is None:
            return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", self.evidence())
        held = Answers.none(len(self.spec.space))
        if self.attack.check:
            rows = self.spec.space.sample(self.attack.check, child(self.rng, "check"))
            held = (yield Ask(rows, "check", "selection", lambda: model)).given
        finding = self.verdict(model, held, trouble)
        if finding.outcome is Outcome.CLASS_MISMATCH and (why := (yield from unsteady(self.heard))) is not None:
            reason = f"{why}; the model is a fit to noise"
            return Finding(finding.model, Outcome.NO_CONVERGENCE, reason, finding.evidence)
        return finding

    # ── how far to trust it ─────────────────────────────────────────────────────────────────────────────

    def evidence(self, residual: float = math.inf) -> dict[str, object]:
        return {
            "representers": None if self.fit is None else len(self.fit.representers),
            "gamma": None if self.fit is None else float(self.fit.gamma.max()),
            "gamma by column": self.by_column,
            "rank": self.rank or None,
            "gap": self.gap or None,
            "rows heard": len(self.heard),
            "misfit": self.off if math.isfinite(self.off) else None,
            "residual": residual if math.isfinite(residual) else None,
        }

    def verdict(self, model: KernelModel, held: Answers, trouble: Unsolved | None) -> Finding:
        residual = math.inf
        if len(held):
            residual = float(distances(model, held).max())
            for fit in () if trouble is None else (self.close, self.smooth()):
                other = model if fit is None else fit.model(self.spec.space, self.spec.classes or ())
                if (off := float(distances(other, held).max())) < residual:
                    model, residual = other, off
        evidence = self.evidence(residual)
        checked = f"{len(held)} further rows differ by at most {residual:.1e} (total variation)"
        if trouble is not None:
            closest = f"{trouble.reason}; the model is a closest fit of {len(model.representers_)} representers"
            reason = f"{closest}: {checked}" if len(held) else closest
            return Finding(model, trouble.outcome, reason, evidence)
        count, gamma = len(model.representers_), model.gamma_
        found = (
            f"{count} representers, γ = {gamma:.6g}{'' if model.scale_ is None else ' at most, other in each column'}"
        )
        if not len(held):
            return Finding(model, Outcome.UNVERIFIED, f"{found}; no further row was asked (check=0)", evidence)
        if residual <= self.tolerance():
            return Finding(model, Outcome.VERIFIED, f"{found}: {checked}", evidence)
        reason = f"{found}, but {checked}, more than the {self.tolerance():.1e} that the answers resolve"
        if residual <= NEAR:
            return Finding(model, Outcome.APPROXIMATE, reason, evidence)
        return Finding(model, Outcome.CLASS_MISMATCH, reason, evidence)
