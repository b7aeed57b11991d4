"""Logistic models with a weight for each missing value, as BigML trains them [Tramèr16, §5.3].

A missing value has a column of its own beside those of `logistic`, so that m = (free columns) + d + 1 numbers a class
are unknown. Uniform rows are asked, of which any part is omitted: 1.2 m of them, or ``alpha`` m where answers are
rounded, and twice as many in each further round, until ``check`` further rows (selection account) agree. BigML rounds
twice,
each class's sigmoid and then its share of their sum: where that sum T is small, answers are coarser by 1/T, and rows
that say little for that reason are left out of the fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from filch.attacks.doubts import distances, doubt, resolution
from filch.attacks.linear.design import Design
from filch.attacks.linear.equations import solve_one_vs_rest, solve_softmax
from filch.attacks.linear.intervals import fit_rounded
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.logistic import Link, LogisticModel
from filch.models.logistic_missing import MissingLogisticModel

Floats = npt.NDArray[np.float64]
_MOST = 3_000  # unknowns in all
_EXACT = 1e-9  # to which unrounded answers are met, and a probability below which an answer is no equation
_SPARE = 1.2  # unrounded rows for each unknown
_COARSE = 0.25  # of the median sum of sigmoids, below which a row is left out


@dataclass(frozen=True)
class LogisticMissing:
    """Extract a logistic model, and what missing values do in it.

    Parameters
    ----------
    link : {"auto", "softmax", "ovr"}, default "auto"
        "auto" tries both. With two classes both are the binary model.
    alpha : float, default 10
        Rows for each unknown of a class in the first round, where answers are rounded.
    check : int, default 8
        Further rows that every fit is held against; 0 leaves the outcome unverified.
    rounds : int, default 4
        How often rows are asked before the model is given up.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from filch.models.logistic_bigml import BigMLLogistic
    >>> space = filch.FeatureSpace.box([0, 0], [1, 1])
    >>> coef = [[2, 0.1, 1, 0.4], [-2, 0.3, 0, 0.2], [0.5, 1, -1, 0]]
    >>> target = BigMLLogistic(space, ("a", "b", "c"), coef, [0, 0.5, -0.5])
    >>> oracle = filch.ModelOracle(target, space, decimals=5, omission=True)
    >>> run = filch.extract(oracle, attack=LogisticMissing(), budget=1_000)
    >>> rows = [[0.5, np.nan], [np.nan, np.nan], [0.2, 0.9]]
    >>> run.outcome.value, bool((run.model.predict(rows) == target.predict(rows)).all())
    ('verified', True)
    """

    link: Literal["auto", "softmax", "ovr"] = "auto"
    alpha: float = 10.0
    check: int = 8
    rounds: int = 4

    def __post_init__(self) -> None:
        good = self.link in ("auto", "softmax", "ovr") and self.check >= 0 and self.alpha >= 1 and self.rounds >= 1
        if not good:
            raise UsageError(
                'LogisticMissing takes link="auto", "softmax" or "ovr", alpha ≥ 1, rounds ≥ 1 and check ≥ 0'
            )

    def needs(self, spec: OracleSpec) -> str | None:
        """All probabilities of at least two classes, and incomplete rows."""
        if spec.n_classes < 2:
            return "the target is no classifier with two or more classes"
        if not spec.omission:
            return 'this oracle accepts no incomplete rows: try "logistic"'
        if not spec.reveal.shows_probabilities or (spec.reveal.k or spec.n_classes) < spec.n_classes:
            return f'it needs all class probabilities, and the oracle reveals {spec.reveal.level}; try "retraining"'
        if (Design(spec.space).size + len(spec.space)) * spec.n_classes > _MOST:
            return f'it takes up to {_MOST:,} unknowns: leave columns out, or try "logistic" on complete rows'
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask, fit and check; see the module's docstring."""
        search = _Search(self, spec, rng, known)
        try:
            return (yield from overheard(search.steps(), search.hear))
        except BudgetSpent:
            return Finding(search.model(), Outcome.BUDGET_SPENT, "the budget ended before the check", search.evidence())


@dataclass(eq=False)
class _Search:
    attack: LogisticMissing
    spec: OracleSpec
    rng: np.random.Generator
    known: Answers
    held: Answers | None = None
    off: float | None = None
    heard: list[Answers] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.design = Design(self.spec.space)
        self.size = self.design.size + len(self.spec.space)
        if self.known.probabilities is not None and len(self.known.given):
            self.heard.append(self.known.given)
        two, chosen = self.spec.n_classes == 2, self.attack.link
        tried: tuple[Link, ...] = ("softmax", "ovr") if chosen == "auto" else (chosen,)
        self.links: tuple[Link, ...] = ("logistic",) if two else tried

    def hear(self, ask: Ask, answers: Answers) -> None:
        if ask.account == "attack" and answers.probabilities is not None and len(answers.given):
            self.heard.append(answers.given)

    @property
    def answers(self) -> Answers:
        return Answers.concat(self.heard) if self.heard else Answers.none(len(self.spec.space))

    def rows(self, n: int, name: str) -> Rows:
        """Uniform rows, half of them whole, of the others any part omitted."""
        rng = child(self.rng, name)
        rows = self.spec.space.sample(n, rng)
        part = rng.random((n, 1)) * (rng.random((n, 1)) < 0.5)
        rows[rng.random(rows.shape) < part] = np.nan
        return rows

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def steps(self) -> Steps:
        best: MissingLogisticModel | None = None
        for round_ in range(self.attack.rounds):
            coarse = self.coarse()
            wanted = int(np.ceil((self.attack.alpha if coarse > _EXACT else _SPARE) * self.size)) * 2**round_
            if wanted > len(self.answers):
                yield Ask(self.rows(wanted - len(self.answers), f"rows {round_}"), "equations", snapshot=self.model)
            if not self.heard:
                return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", self.evidence())
            if (why := doubt(self.answers, self.spec)) is not None:
                reason = f"{why}: the target gives no class probabilities"
                return Finding(self.model(), Outcome.CLASS_MISMATCH, reason, self.evidence())
            best = self.model()
            if not self.attack.check:
                reason = "the fit was not held against further rows (check=0)"
                return Finding(best, Outcome.UNVERIFIED, reason, self.evidence())
            if self.held is None:
                rows = self.rows(self.attack.check, "check")
                self.held = (yield Ask(rows, "check", "selection", self.model)).given
            if not len(self.held):
                return Finding(best, Outcome.UNVERIFIED, "every row of the check was refused", self.evidence())
            models = [self.fit(link) for link in self.links]
            share, best = min(((self.misfit(model), model) for model in models), key=lambda pair: pair[0])
            self.off = float(distances(best, self.held).max())
            told = f"{len(self.held)} further rows, incomplete ones among them, differ by at most {self.off:.1e}"
            if share <= 1.0:
                reason = f"{told} (total variation): a {best.whole.link} model with weights of missing values"
                return Finding(best, Outcome.VERIFIED, reason, self.evidence())
        reason = f"{told}, {share:.1f} times what the answers resolve: no such model of these columns"
        return Finding(best, Outcome.CLASS_MISMATCH, reason, self.evidence())

    # ── the fit ─────────────────────────────────────────────────────────────────────────────────────────

    def coarse(self) -> float:
        """How far a shown probability may be off."""
        return resolution(self.answers, self.spec)

    def matrix(self, rows: Rows) -> Floats:
        """The design matrix, of shape (n, size): missing values first, the column of ones last."""
        return np.column_stack([np.isnan(rows).astype(np.float64), self.design.matrix(rows)])

    def model(self) -> MissingLogisticModel | None:
        """The best model so far."""
        if not self.heard:
            return None
        models = [self.fit(link) for link in self.links]
        held = self.held if self.held is not None and len(self.held) else self.answers
        return min(models, key=lambda model: float(distances(model, held).max()))

    def fit(self, link: Link) -> MissingLogisticModel:
        """Fit all answers; those that are coarser than most only where there are too few others."""
        coarse, answers = self.coarse(), self.answers
        solution = self.solve(answers, link, coarse)
        if link == "ovr" and coarse > _EXACT:
            total = expit(self.matrix(answers.rows) @ solution).sum(axis=1)
            fine = total >= _COARSE * np.median(total)
            if fine.sum() > 2 * self.size:
                solution = self.solve(answers[fine], link, coarse)
        d = len(self.spec.space)
        coef, intercept = self.design.weights(solution[d:])
        missing = solution[:d].T
        if link == "logistic":
            coef, intercept, missing = coef[1:] - coef[:1], intercept[1:] - intercept[:1], missing[1:] - missing[:1]
        whole = LogisticModel(self.spec.space, self.spec.classes or (), coef, intercept, link, True)
        return MissingLogisticModel(whole, missing)

    def solve(self, answers: Answers, link: Link, coarse: float) -> Floats:
        """Weights of shape (size, c)."""
        shown = answers.probabilities
        assert shown is not None
        if coarse > _EXACT:
            return fit_rounded(self.matrix(answers.rows), shown, one_vs_rest=link == "ovr", resolution=coarse)[1]
        good = (shown > _EXACT).all(axis=1)
        if not good.any():
            return np.zeros((self.size, self.spec.n_classes))
        matrix, shown = self.matrix(answers.rows[good]), shown[good]
        return solve_one_vs_rest(matrix, shown)[0] if link == "ovr" else solve_softmax(matrix, shown)

    def misfit(self, model: MissingLogisticModel) -> float:
        """The largest distance from the rows of the check, as a share of what two roundings explain."""
        assert self.held is not None
        total = np.ones(len(self.held))
        if model.whole.link == "ovr":
            total = np.maximum(expit(model.decision_function(self.held.rows)).sum(axis=1), 1e-9)
        explained = np.maximum(self.spec.n_classes * self.coarse() * (1 + 1 / np.minimum(total, 1.0)), _EXACT)
        return float((distances(model, self.held) / explained).max())

    def evidence(self) -> dict[str, object]:
        return {"unknown rows": self.size, "rows heard": len(self.answers), "residual": self.off}
