"""Equation solving from rounded answers, and from the top k: binary, softmax and one-vs-rest [Tramèr16, §7].

The second half of `logistic`. Each revealed probability is an interval; `filch.attacks.linear.belief` keeps what all
of them leave open, and `filch.attacks.linear.telling` asks the rows whose answers tell most, in batches that grow by
a quarter, until margins between classes are known to 1e-5 or far below the rounding, or until ``most`` rows per
unknown of one score.

Above 2,000 unknowns in all, rows are uniform and the fit is one of least squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import expit

from filch.attacks.doubts import completed, distances, doubt, hidden, relabelled, resolution, sound, unsteady
from filch.attacks.linear.belief import Belief, bounds, logits
from filch.attacks.linear.design import Design
from filch.attacks.linear.intervals import fit_rounded
from filch.attacks.linear.telling import Telling
from filch.attacks.threads import on_one_thread
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent
from filch.models.logistic import Link, LogisticModel

Floats = npt.NDArray[np.float64]
_MISFIT = 4.0  # times the tolerance: a mean misfit that no further rows will mend
_OVER = 1.2  # equations for each unknown of a softmax from which one that does not fit is doubted
_FEW = 4  # times the unknowns of a score: rows that are too few to tell a fit that failed from another class
MANY = 2_000
"""Unknowns in all up to which a covariance is kept (32 MB)."""
_FIRST = 8  # the first batch is an eighth of the unknowns of a score, …
_GROWTH = 0.25  # … a later one a quarter of all rows so far
_ENOUGH = 1e-5  # deviation of a margin at which no label is in doubt, or …
_EXACT = 1e-6  # how closely the solution of answers that are not rounded has to agree with further ones
_SOLVED = 1e-9  # and with those that it was made from
_SAFE = 0.9  # share of the estimated sum of a row's scores that is relied upon
_STEPS = 12  # to that solution
_FINE = 0.02  # … this part of the resolution, if that is less


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
    exact : bool
        Whether answers seem not to be rounded (top k): ``resolution`` then is only what the search for rows works with.
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
    exact: bool = False
    normalised: bool = False  # whether one-vs-rest scores seem to be rounded before they are made to sum to 1
    paid: int = 0
    learned: int = 0
    solution: Floats | None = None  # weights that give all answers, where these are not rounded
    fitted: dict[Link, tuple[int, Floats, Floats]] = field(default_factory=dict)
    """By link: so many answers, their likely weights, and those of least squares."""

    def __post_init__(self) -> None:
        plain: Link = "logistic" if self.spec.n_classes == 2 else "softmax"
        self.shape: Link = "ovr" if self.link == "ovr" and plain == "softmax" else plain
        # A rounded vector is off by half a unit in each entry; a fit on rounded answers by about as much again.
        self.tolerance = self.spec.n_classes * self.resolution
        self.shown = min(self.spec.reveal.k or self.spec.n_classes, self.spec.n_classes)
        self.wide = self.design.size * self.spec.n_classes > MANY
        self.belief = self.fresh(self.shape)

    def fresh(self, link: Link) -> Belief | None:
        """A belief of nothing heard; None with too many unknowns."""
        return None if self.wide else Belief(self.design.size, self.spec.n_classes, link == "ovr")

    def hear(self, ask: Ask, answers: Answers) -> None:
        """Note answers as they come."""
        self.paid += len(answers)
        if ask.account == "attack":
            self.heard = Answers.concat([self.heard, completed(answers.given, self.spec)])

    def steps(self) -> Steps:
        """Ask, fit and check, until nothing is in doubt, or budget or ``most`` ends it."""
        try:
            return (yield from on_one_thread(overheard(self.rounds(), self.hear)))
        except BudgetSpent:
            self.learn()
            return Finding(self.fit(), Outcome.BUDGET_SPENT, "the budget ended before the check", self.evidence())

    def rounds(self) -> Steps:
        """Ask batch by batch, then hold the model against further rows."""
        limit, round_ = self.most * self.design.size, 0
        fits = self.learn()
        while fits and (before := len(self.heard)) < limit and self.paid + self.check < self.budget:
            rows = self.next(min(self.batch(), limit - before, self.budget - self.check - self.paid), round_)
            if not len(rows):
                break
            round_ += 1
            yield Ask(rows, f"round {round_}", snapshot=self.fit)
            if len(self.heard) == before:  # nothing but refusals
                break
            if (why := doubt(self.heard, self.spec)) is not None:
                return self.doubted(why)
            if self.exact and (coarse := resolution(self.heard, self.spec)) > self.resolution:
                self.exact, self.resolution, self.tolerance = False, coarse, self.spec.n_classes * coarse
                self.belief, self.learned = self.fresh(self.shape), 0
            fits = self.learn()
        model = self.fit()
        held = Answers.none(len(self.spec.space))
        if self.check:
            further = self.design.unseen(self.check, child(self.rng, "check"))
            held = (yield Ask(further, "check", "selection", lambda: model)).given
        finding = self.verdict(model, held)
        if finding.outcome is Outcome.CLASS_MISMATCH and (why := (yield from unsteady(self.heard))) is not None:
            return Finding(model, Outcome.NO_CONVERGENCE, f"{why}; the model is a fit to noise", finding.evidence)
        return finding

    def doubted(self, why: str) -> Finding:
        """Fit what can be fitted of answers that no model with class probabilities gives."""
        self.heard = sound(self.heard)
        model = self.model(self.squares(self.shape), self.shape) if len(self.heard) else None
        reason = f"{why}: the target gives no class probabilities; the model fits the rest of its answers"
        return Finding(model, Outcome.CLASS_MISMATCH, reason, self.evidence())

    # ── which rows ──────────────────────────────────────────────────────────────────────────────────────

    def batch(self) -> int:
        """How many rows the next round may ask."""
        before, size = len(self.heard), self.design.size
        if self.belief is None:
            return max(before, 1)
        return min(max(math.ceil(_GROWTH * before), size // _FIRST, 1), size)

    def next(self, count: int, round_: int) -> Rows:
        """The rows of the next round; none where nothing is in doubt."""
        rng = child(self.rng, "rounded", str(round_))
        if self.belief is None or not self.belief.consistent:
            return self.spec.space.sample(count, rng)
        telling = Telling(self.design, self.belief, self.resolution, self.shown)
        rows, deviation = telling.rows(count, rng, self.heard.rows, self.budget - self.check - self.paid)
        known = self.solution is not None if self.exact else deviation < min(_ENOUGH, _FINE * self.resolution)
        return rows[: 0 if known else count]

    # ── the fit ─────────────────────────────────────────────────────────────────────────────────────────

    def learn(self) -> bool:
        """Take in what was heard since; whether some model fits it."""
        if self.learned == len(self.heard):
            return True
        answers, self.learned = self.heard[self.learned :], len(self.heard)
        told = min(self.shown, self.spec.n_classes - 1)  # equations of a row
        over = len(self.heard) * told > _OVER * self.design.size * (self.spec.n_classes - 1)
        fits = self.belief is not None and self.take_in(self.belief, answers, self.shape)
        if self.exact and self.belief is not None and over:
            starts = self.belief.weights, np.zeros_like(self.belief.weights)
            solutions = (self.solved(self.belief, start) for start in starts)
            self.solution = next((found for found in solutions if found is not None), None)
        if fits and self.normalised and self.shape == "ovr":
            self.plainly()
        if fits or self.exact:
            return True
        if over and self.turned():
            return True
        few = self.belief is not None and len(self.heard) <= _FEW * self.design.size
        return few or self.off(self.shape) <= _MISFIT * self.tolerance

    def turned(self) -> bool:
        """Whether one-vs-rest fits where a softmax does not, perhaps of scores rounded one by one."""
        if self.shape == "logistic" or (self.shape == "softmax" and self.link != "auto"):
            return False
        if self.wide:
            fits = self.shape == "softmax" and self.off("softmax") > _MISFIT * self.tolerance >= self.off("ovr")
            self.shape = "ovr" if fits else self.shape
            return fits
        for normalised in (False, True) if self.shape == "softmax" else (True,):
            self.normalised = normalised
            other = self.fresh("ovr")
            assert other is not None
            if normalised and self.off("ovr") >= self.off("softmax"):
                break
            if self.take_in(other, self.heard, "ovr"):
                self.shape, self.belief = "ovr", other
                return True
        return False

    def plainly(self) -> None:
        """Return to scores that are not rounded one by one, where they fit after all: of few answers some fit neither.

        Their intervals are narrower, so that they are inconsistent where they are wrong.
        """
        self.normalised, other = False, self.fresh("ovr")
        if other is not None and self.take_in(other, self.heard, "ovr"):
            self.belief = other
        else:
            self.normalised = True

    def take_in(self, belief: Belief, answers: Answers, link: Link) -> bool:
        """Add answers to a belief; whether it is consistent."""
        shown = answers.probabilities
        assert shown is not None
        off = np.full_like(shown, self.resolution)
        if hidden(self.spec) == 1:  # one was filled in, has the errors of all others, and is the lowest or nearly so
            off[shown <= shown.min(axis=1, keepdims=True) + 4 * self.resolution] *= self.spec.n_classes - 1
        if self.normalised and link == "ovr":  # each σ was rounded, and all of them divided by their sum
            total = expit(self.design.matrix(answers.rows) @ self.likely(belief)).sum(axis=1, keepdims=True)
            off += self.resolution * (1 + (self.spec.n_classes - 2) * shown) / np.maximum(_SAFE * total, 1e-3)
        belief.hear(self.design.matrix(answers.rows), *bounds(shown, off))
        # Least squares have to guess what is hidden, and then are no place to begin from.
        return belief.settle(None if hidden(self.spec) > 1 else lambda: self.squares(link))

    def likely(self, belief: Belief) -> Floats:
        """Weights (p, c) of one-vs-rest: those believed in, or of least squares where nothing is."""
        return belief.weights if len(belief.design) and belief.consistent else self.squares("ovr")

    def off(self, link: Link) -> float:
        """How far the least squares of a link are from what was heard, on average."""
        return float(distances(self.model(self.squares(link), link), self.heard).mean())

    def squares(self, link: Link) -> Floats:
        """The weights (p, c) of least squares."""
        shown, last = self.heard.probabilities, self.fitted.get(link)
        assert shown is not None
        if last is None or last[0] != len(self.heard):
            gaps = np.isnan(shown)
            left = np.clip(1 - np.nansum(shown, axis=1, keepdims=True), 0.0, None)
            likely, weights = fit_rounded(
                self.design.matrix(self.heard.rows),
                np.where(gaps, left / np.maximum(gaps.sum(axis=1, keepdims=True), 1), shown),
                one_vs_rest=link == "ovr",
                # With many unknowns from where the last fit ended, which then was made in any case.
                start=last[1] if last is not None and self.wide else None,
                resolution=self.resolution,
            )
            last = self.fitted[link] = len(self.heard), likely, weights
        return last[2]

    def model(self, weights: Floats, link: Link) -> LogisticModel:
        """The model of weights (p, c)."""
        return self.design.model(weights, link, self.spec.classes or ())

    def fit(self) -> LogisticModel | None:
        """The best model so far."""
        if not self.learned:
            return None
        if self.solution is not None:
            return self.model(self.solution, self.shape)
        if self.belief is None or not self.belief.consistent:
            return self.model(self.squares(self.shape), self.shape)
        return self.model(self.belief.weights, self.shape)

    def solved(self, belief: Belief, weights: Floats) -> Floats | None:
        """Weights that give all answers to float precision, by Gauss–Newton steps; None if they lead to none."""
        shown = self.heard.probabilities
        assert shown is not None
        given = (shown > 0.0) & (shown < 1.0)
        trust = (shown * (1.0 - shown))[given]  # a probability's last digit counts for so much less in its logit
        wanted = np.log(shown[given]) - np.log1p(-shown[given])
        matrix = self.design.matrix(self.heard.rows)

        def misfit(weights: Floats) -> tuple[Floats, Floats]:
            logit, slopes = logits(matrix @ weights, one_vs_rest=belief.one_vs_rest)
            return trust * (wanted - logit[given]), (slopes @ belief.basis)[given] * trust[:, None]

        off, ways = misfit(weights)
        for _ in range(_STEPS if len(off) else 0):
            jacobian = (ways[:, :, None] * matrix[np.nonzero(given)[0], None, :]).reshape(len(ways), -1)
            step = linalg.lstsq(jacobian, off, lapack_driver="gelsy", check_finite=False)[0]
            way = step.reshape(belief.axes, -1).T @ belief.basis.T
            for length in 0.5 ** np.arange(6):
                tried = misfit(weights + length * way)
                if (tried[0] ** 2).sum() < (off**2).sum():
                    break
            else:
                break
            weights, (off, ways) = weights + length * way, tried
        return weights if np.abs(off).max(initial=np.inf if not len(off) else 0.0) < _SOLVED else None

    def vague(self, held: Answers) -> bool:
        """Whether what is held back is within what the belief leaves open, though the model is not close to it."""
        if self.belief is None or not self.belief.consistent or held.probabilities is None:
            return False
        low, high = bounds(held.probabilities, self.resolution)
        return self.belief.allows(self.design.matrix(held.rows), low, high)

    # ── how far to trust it ─────────────────────────────────────────────────────────────────────────────

    def evidence(self, residual: float = math.inf) -> dict[str, object]:
        """Numbers behind the outcome."""
        return {
            "link": self.shape,
            "unknown rows": self.design.size,
            "rows heard": len(self.heard),
            "residual": residual if math.isfinite(residual) else None,
        }

    def verdict(self, model: LogisticModel | None, held: Answers) -> Finding:
        """Hold the model against further rows."""
        if model is None:
            return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", self.evidence())
        if not len(held):
            reason = "the fit was not held against further rows (check=0)"
            return Finding(model, Outcome.UNVERIFIED, reason, self.evidence())
        residual = float(distances(model, held).mean())
        checked = f"{len(held)} further rows differ by {residual:.1e} on average (total variation)"
        allowed = _EXACT if self.exact else self.tolerance
        other = relabelled(model, held, self.resolution)
        contradicted = not self.exact and self.belief is not None and not self.belief.consistent
        if residual <= allowed and not contradicted and not other:
            return Finding(model, Outcome.VERIFIED, f"{checked}: a {self.shape} model", self.evidence(residual))
        if self.exact and self.solution is None:
            reason = f"no weights were found that give all answers; {checked}"
            return Finding(model, Outcome.NO_CONVERGENCE, reason, self.evidence(residual))
        if self.vague(held):
            reason = f"{checked}, no more than the answers so far leave open: more rows are needed"
            return Finding(model, Outcome.BUDGET_SPENT, reason, self.evidence(residual))
        if contradicted:
            reason = f"no weights were found that give all answers to within their rounding; {checked}"
        elif residual <= allowed:
            reason = f"{checked}, and {other} have another label"
        else:
            reason = f"{checked}, more than the {allowed:.1e} that the answers resolve"
        reason = f"{reason}: no {self.shape} model of these columns"
        return Finding(model, Outcome.CLASS_MISMATCH, reason, self.evidence(residual))
