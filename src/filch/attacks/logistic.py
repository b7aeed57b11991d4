"""Equation solving for logistic models: binary, softmax and one-vs-rest [Tramèr16, §4.1.1, §4.1.2].

Recovers the weights to float precision from class probabilities, over direct inputs or over raw columns that the
server encodes: one-hot encoding and scaling fold into the weights. Needs probabilities: all of them, the k highest, or
rounded ones, which leave the weights less certain.

Queries, with d free encoded columns (`Design.size` = d + 1) and c classes: binary and softmax d + 1, since ``log f_i
− log f_0`` is affine in x for every class at once; one-vs-rest at most 1.2 ⌈c(d + 1)/(c − 1)⌉, since each answer
holds c − 1 equations in c(d + 1) unknowns. ``check`` further rows in the selection account verify every fit. Rounded
answers are the matter of `filch.attacks.linear.rounded`, on up to ``most`` rows per unknown of one score; softmax and
binary models of more than 4,096 unknowns a score that of `filch.attacks.linear.stepwise`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from filch.attacks.doubts import completed, distances, doubt, hidden, resolution, sound, unmet, unsteady
from filch.attacks.linear.design import Design
from filch.attacks.linear.equations import solve_one_vs_rest, solve_softmax
from filch.attacks.linear.gentle import Gentle, moderate
from filch.attacks.linear.intervals import fit_rounded
from filch.attacks.linear.renormalised import divides, division, restored, restoring
from filch.attacks.linear.rounded import MANY, Rounded
from filch.attacks.linear.stepwise import EXACT, Stepwise, tolerance
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.logistic import Link, LogisticModel

Floats = npt.NDArray[np.float64]
_COARSE = 1e-9  # unrounded probabilities below it may have lost their digits (1 − p)
_HIDDEN = 1e-3  # what the search for rows takes for the resolution of top-k answers that are not rounded
_LEGS, _TRIED = 8, 100  # of the way to a better base row, and rows tried on each
_CENTRAL = 0.5  # a base row is good enough if no probability is below this part of an even share
_SPARE = 1.2  # rows over the counting bound of one-vs-rest
_WIDE = 4_096  # unknowns of one score above which no square matrix of them is made


@dataclass(frozen=True)
class Logistic:
    """Extract a logistic model by solving for its weights.

    Parameters
    ----------
    link : {"auto", "softmax", "ovr"}, default "auto"
        Softmax or one-vs-rest; "auto" tries the softmax first, and pays further rows only if it does not fit. With two
        classes both are the binary model; with the k highest of unrounded probabilities "auto" is the softmax.
    check : int, default 8
        Further rows that every fit is held against; 0 leaves the outcome unverified.
    most : int, default 100
        With rounded answers: at most so many rows per unknown of one score (the paper's α).

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
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0)))
    >>> run = filch.extract(oracle, attack=Logistic(), budget=100)
    >>> run.outcome.value, run.queries, run.selection
    ('verified', 5, 8)
    """

    link: Literal["auto", "softmax", "ovr"] = "auto"
    check: int = 8
    most: int = 100

    def __post_init__(self) -> None:
        if self.link not in ("auto", "softmax", "ovr") or self.check < 0 or self.most < 1:
            raise UsageError('Logistic takes link="auto", "softmax" or "ovr", check ≥ 0 and most ≥ 1')

    def needs(self, spec: OracleSpec) -> str | None:
        """Probabilities, of all of two or more classes or of the k highest."""
        if spec.n_classes < 2:
            return "the target is no classifier with two or more classes"
        if not spec.reveal.shows_probabilities:
            return f'it needs class probabilities, and the oracle reveals {spec.reveal.level}; try "retraining"'
        if hidden(spec) > 1 and Design(spec.space).size * spec.n_classes > MANY:
            return f'with {spec.reveal.level} it takes up to {MANY:,} unknowns; try "retraining"'
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask one row for each unknown, solve, check; see the module's docstring."""
        solver = _Solver(self, spec, rng, budget, known)
        if solver.design.size > _WIDE and solver.link != "ovr":
            return (yield from Stepwise(spec, solver.design, rng, self.check).steps())
        try:
            return (yield from overheard(solver.steps(), solver.hear))
        except BudgetSpent:
            model, evidence = solver.snapshot(), solver.evidence()
            if solver.solvable():
                reason = "the weights are solved for, but the budget left no row to check them"
                return Finding(model, Outcome.UNVERIFIED, reason, evidence)
            return Finding(model, Outcome.BUDGET_SPENT, "the budget ended before the equations did", evidence)


@dataclass(eq=False)
class _Solver:
    """The state of one attack: what it has heard, and the fit that this allows."""

    attack: Logistic
    spec: OracleSpec
    rng: np.random.Generator
    budget: int
    known: Answers
    held: Answers | None = None
    paid: int = 0
    floor: float = 0.0
    """Answers with a probability below it are no equations."""

    def __post_init__(self) -> None:
        self.design = Design(self.spec.space, self.spec.omission and bool(self.spec.space.categorical.any()))
        known = self.known.given
        self.heard = (
            completed(known, self.spec) if known.probabilities is not None else Answers.none(len(self.spec.space))
        )
        self.link: Link = "logistic" if self.spec.n_classes == 2 else "ovr" if self.attack.link == "ovr" else "softmax"

    def hear(self, ask: Ask, answers: Answers) -> None:
        self.paid += len(answers)
        if answers.probabilities is not None and ask.account == "attack":
            self.heard = Answers.concat([self.heard, completed(answers.given, self.spec)])

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def steps(self) -> Steps:
        if self.spec.decimals is not None and 0.5 * 10.0**-self.spec.decimals > EXACT:
            return (yield from self.handed(self.heard, 0.5 * 10.0**-self.spec.decimals))
        if hidden(self.spec) > 1:
            return (yield from self.handed(self.heard, _HIDDEN, exact=True))
        rows = self.design.completing(self.heard.rows, child(self.rng, "design"))
        base = self.design.base
        for start, stop in _doubling(len(rows)):
            base = self.gentler(base, child(self.rng, "base", str(start))) if start else base
            moved = rows[start:stop] != self.design.base
            yield Ask(np.where(moved, rows[start:stop], base), "equations", snapshot=self.snapshot)
        if not len(self.heard):
            return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", self.evidence())
        if (why := doubt(self.heard, self.spec)) is not None:
            return self.doubted(why)
        if (finding := (yield from self.coarsely())) is not None:
            return finding
        residual = math.inf
        for self.floor in (0.0, _COARSE):
            yield from Gentle(self.design, self.floor).complete(self.heard, child(self.rng, "gentle"))
            if self.solvable():
                residual = yield from self.residual(self.softmax())
            if residual <= self.tolerance() or moderate(self.equations(), _COARSE).all():
                break
        if not self.solvable():
            return (yield from self.coarsely()) or self.saturated()
        model = self.softmax()
        if self.link == "ovr" or (
            residual > self.tolerance() and self.link == "softmax" and self.attack.link == "auto"
        ):
            model, residual = yield from self.one_vs_rest(residual)
        # There are more answers to tell by.
        if residual > self.tolerance() and (finding := (yield from self.coarsely())) is not None:
            return finding
        finding = self.verdict(model, residual)
        if finding.outcome is Outcome.CLASS_MISMATCH and (why := (yield from unsteady(self.heard))) is not None:
            return Finding(model, Outcome.NO_CONVERGENCE, f"{why}; the model is a fit to noise", finding.evidence)
        return finding

    def gentler(self, base: Rows, rng: np.random.Generator) -> Rows:
        """Move the base row to where the answers so far predict the least extreme probabilities.

        It moves only on the ways between rows that were asked: rows that start from it are as independent as before.
        """
        model = None if self.spec.decimals is not None else self.snapshot()
        if model is None:
            return base
        asked = self.heard.rows[~np.isnan(self.heard.rows).any(axis=1)]
        for _ in range(_LEGS):
            rows = np.concatenate([base[None], self.design.between(base, asked, _TRIED, rng)])
            lowest = model.predict_proba(rows).min(axis=1)
            if lowest[0] > _CENTRAL / self.spec.n_classes:
                break
            base = rows[lowest.argmax()]
        return base

    def doubted(self, why: str) -> Finding:
        """Fit what can be fitted of answers that no model with class probabilities gives."""
        self.heard = sound(self.heard)
        reason = f"{why}: the target gives no class probabilities; the model fits the rest of its answers"
        return Finding(self.fit() if len(self.heard) else None, Outcome.CLASS_MISMATCH, reason, self.evidence())

    def saturated(self) -> Finding:
        """Fit all answers, where too few of them are equations."""
        open_ = self.design.size - self.design.rank(self.equations().rows)
        reason = (
            f"{open_} of {self.design.size} unknowns stay open, for answers are 0 or 1 around them; the model is a "
            "closest fit, and retraining may do better"
        )
        if (absent := unmet(self.heard, self.spec)) is not None:
            reason = f"{absent}; {reason}"
        return Finding(self.fit(), Outcome.NO_CONVERGENCE, reason, self.evidence())

    def one_vs_rest(self, softmax_residual: float) -> Generator[Ask, Answers, tuple[LogisticModel, float]]:
        """Ask the rows that one-vs-rest needs more, solve for it, and return the closer model with its residual."""
        classes, size = self.spec.n_classes, self.design.size
        wanted = math.floor(_SPARE * math.ceil(classes * size / (classes - 1)))
        self.floor = 0.0
        more = wanted - len(self.equations())
        if more > 0:
            rows = self.design.varied(more, child(self.rng, "one-vs-rest"))
            yield Ask(rows, "one-vs-rest", snapshot=self.snapshot)
        good = self.equations()
        assert good.probabilities is not None
        weights, _ = solve_one_vs_rest(self.design.matrix(good.rows), good.probabilities)
        model = self.model(weights, "ovr")
        residual = yield from self.residual(model)
        if softmax_residual < residual:
            return self.softmax(), softmax_residual
        self.link = "ovr"
        return model, residual

    def coarsely(self) -> Generator[Ask, Answers, Finding | None]:
        """Go on as rounded answers need it, and anew where later ones tell more; None where they are not rounded."""
        while (steps := self.coarse()) is not None:
            if (finding := (yield from steps)) is not None:
                return finding
        return None

    def coarse(self) -> Generator[Ask, Answers, Finding | None] | None:
        """How to go on where answers are rounded, as the first of these that they tell; None where they are not."""
        if (known := resolution(self.heard, self.spec)) > EXACT:
            return self.rounded(known)
        if (found := division(self.heard)) is None:
            return None
        coarse = 0.5 * 10.0**-found.decimals
        return self.rounded(coarse) if found.near else self.handed(self.heard, coarse, scores=True)

    def rounded(self, coarse: float) -> Generator[Ask, Answers, Finding | None]:
        """Go on by the method for rounded answers, which may have been made to sum to 1 after that."""
        decimals, seen = round(-math.log10(2 * coarse)), self.heard
        before = restored(seen, decimals, divided=divides(seen, decimals)).given
        return restoring(self.handed(before, coarse), decimals, seen)

    def handed(self, heard: Answers, coarse: float, *, exact: bool = False, scores: bool = False) -> Steps:
        """Hand over to the method for rounded answers, with what was heard, as it was rounded."""
        attack, rng, rest = self.attack, child(self.rng, "rounded"), self.budget - self.paid
        link = "ovr" if scores and attack.link == "auto" else attack.link
        settings = link, attack.check, attack.most
        return Rounded(self.spec, self.design, rng, rest, heard, coarse, *settings, exact, scores).steps()

    def residual(self, model: LogisticModel) -> Generator[Ask, Answers, float]:
        """Return the largest total variation on the held-back rows; infinity without them."""
        held = yield from self.further(model)
        return float(distances(model, held).max()) if len(held) else math.inf

    def further(self, model: LogisticModel) -> Generator[Ask, Answers, Answers]:
        """Hold back ``check`` rows, asked once."""
        if self.held is None:
            rows = self.design.unseen(self.attack.check, child(self.rng, "check"))
            if self.attack.check:
                self.held = completed((yield Ask(rows, "check", "selection", lambda: model)).given, self.spec)
        return self.held if self.held is not None else Answers.none(len(self.spec.space))

    # ── the fit ─────────────────────────────────────────────────────────────────────────────────────────

    def equations(self) -> Answers:
        """The answers that carry every log-ratio."""
        return self.heard[moderate(self.heard, self.floor)] if len(self.heard) else self.heard

    def solvable(self) -> bool:
        return self.design.rank(self.equations().rows) == self.design.size

    def snapshot(self) -> LogisticModel | None:
        """The best model so far: the solution of least norm while there are fewer rows than unknowns."""
        return self.softmax() if len(self.equations()) else None

    def softmax(self) -> LogisticModel:
        good = self.equations()
        assert good.probabilities is not None
        return self.model(solve_softmax(self.design.matrix(good.rows), good.probabilities), self.plain)

    def fit(self) -> LogisticModel:
        """The closest fit to all answers, saturated ones too."""
        assert self.heard.probabilities is not None
        matrix = self.design.matrix(self.heard.rows)
        fitted = fit_rounded(matrix, self.heard.probabilities, one_vs_rest=self.link == "ovr", resolution=EXACT)
        return self.model(fitted[1], self.link)

    @property
    def plain(self) -> Link:
        return "logistic" if self.spec.n_classes == 2 else "softmax"

    def model(self, solution: Floats, link: Link) -> LogisticModel:
        return self.design.model(solution, link, self.spec.classes or ())

    # ── how far to trust it ─────────────────────────────────────────────────────────────────────────────

    def tolerance(self) -> float:
        shown = self.heard.probabilities
        return tolerance(shown is not None and bool((shown.astype(np.float32) == shown).all()), self.design.size)

    def evidence(self, residual: float = math.inf) -> dict[str, object]:
        return {
            "link": self.link,
            "unknown rows": self.design.size,
            "rows heard": len(self.heard),
            "residual": residual if math.isfinite(residual) else None,
        }

    def verdict(self, model: LogisticModel, residual: float) -> Finding:
        tolerance = self.tolerance()
        evidence = self.evidence(residual)
        if not math.isfinite(residual):
            reason = "the fit was not held against further rows (check=0)"
            return Finding(model, Outcome.UNVERIFIED, reason, evidence)
        checked = f"{self.attack.check} further rows differ by at most {residual:.1e} (total variation)"
        if residual <= tolerance:
            return Finding(model, Outcome.VERIFIED, f"{checked}: a {self.link} model", evidence)
        reason = (
            f"{checked}, more than the {tolerance:.1e} that the answers resolve: no {self.link} model of these columns"
        )
        return Finding(model, Outcome.CLASS_MISMATCH, reason, evidence)


def _doubling(total: int) -> list[tuple[int, int]]:
    """Cut ``total`` rows into four asks, each as long as all before it: points for the curve, few requests."""
    cuts = sorted({0, *(math.ceil(total / 2**k) for k in range(4))})
    return list(itertools.pairwise(cuts))
