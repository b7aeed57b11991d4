"""Equation solving for networks with one smooth hidden layer [Tramèr16, §4.1.2], from slopes instead of descent.

Recovers the function of a network of tanh or logistic units (which are the same functions) to float precision, its
width not given, from all class probabilities or from a regressor's value; over continuous columns.

1. *Subspace.* Slopes of the log-ratios at a few points, by tiny steps in every column, span the rows of W₁; their rank
   is the number h of units. 2. *Points.* Slopes at further points need steps within that subspace only. 3. *Units.*
   The slopes form a tensor of rank h whose terms are the units (`filch.attacks.networks.algebra`); along its direction
   a unit's share is a bump, which gives its scale and bias. 4. *Polish.* Least squares on all answers.

Queries, with c classes: ``⌈h/(c − 1)⌉ (d + 1) + p (h + 2)`` for p ≈ 15 points; for two classes or a value, also two
stencils of ``(h + 1)(h + 2)/2``. Where there are as many units as columns or more, or columns are discrete, the weights
cannot be told apart by slopes: a network is fitted from random starts to ``2 k`` rows, k = its number of weights.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import linalg

from filch.attacks.doubts import distances, doubt, unsteady
from filch.attacks.linear.design import Design
from filch.attacks.networks.algebra import fit_bumps, rank_one_terms, shared_directions
from filch.attacks.networks.fit import Equations, Net, fit_from_scratch, polish
from filch.attacks.networks.survey import Survey
from filch.attacks.networks.view import View
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.perceptron import PerceptronModel

Floats = npt.NDArray[np.float64]
_EXACT = 1e-6  # total variation up to which a fit is one
_FAR = 1e-2  # beyond it no network of this kind was found
_SPARE = 1.25, 1.5  # times the points that the units need; and times as many in each further round
_STEPS = 150  # of the polish within the subspace
_LARGEST = 6_000  # unknowns up to which a polish of all weights holds its normal equations (288 MB)
_PRESUMED, _WIDER = 20, 2.0  # hidden units where they cannot be counted; a fit from scratch takes more
_ROWS = 2  # for each presumed weight in the first round of a fit from scratch
_ROUND = "round"
_SCRAPED = 20  # answers from which a spent budget still yields a fit


@dataclass(frozen=True)
class Perceptron:
    """Extract a network with one hidden layer of tanh or logistic units.

    Parameters
    ----------
    activation : {"auto", "tanh", "logistic"}, default "auto"
        In which units the copy is written; both are the same functions, and "auto" says tanh.
    hidden : int, optional
        The number of hidden units where it cannot be counted (more units than columns, discrete columns); 20 if not
        given. Elsewhere it is found.
    check : int, default 8
        Further rows that every fit is held against; 0 leaves the outcome unverified.
    rounds : int, default 3
        At most so often are further points asked where the check finds units that were missed.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> target = MLPClassifier((5,), activation="tanh", max_iter=5_000, random_state=0).fit(X / 16, y)
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box([0.0] * 64, [1.0] * 64))
    >>> run = filch.extract(oracle, attack=Perceptron(), budget=1_000)
    >>> run.outcome.value, run.model.hidden, run.queries < 200
    ('verified', 5, True)
    """

    activation: Literal["auto", "tanh", "logistic"] = "auto"
    hidden: int | None = None
    check: int = 8
    rounds: int = 3
    method: Literal["auto", "slopes", "scratch"] = "auto"

    def __post_init__(self) -> None:
        if self.activation not in ("auto", "tanh", "logistic") or (self.hidden is not None and self.hidden < 1):
            raise UsageError('Perceptron takes activation="auto", "tanh" or "logistic", and hidden ≥ 1')
        if self.check < 0 or self.rounds < 1 or self.method not in ("auto", "slopes", "scratch"):
            raise UsageError('Perceptron takes check ≥ 0, rounds ≥ 1 and method="auto", "slopes" or "scratch"')

    def needs(self, spec: OracleSpec) -> str | None:
        """All probabilities of at least two classes, or a value; not rounded."""
        if spec.classes is None:
            shown = spec.reveal.level in ("value", "node")
        else:
            k = spec.reveal.k
            shown = spec.n_classes > 1 and spec.reveal.shows_probabilities and (k is None or k >= spec.n_classes)
        if not shown:
            level = spec.reveal.level
            return f'it needs all class probabilities or a value, and the oracle reveals {level}; try "retraining"'
        if spec.decimals is not None and spec.decimals < 12:
            return f'answers of {spec.decimals} decimals show no slopes; try "perceptron-rounded"'
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Measure slopes, take the tensor apart, polish, check; see the module's docstring."""
        solver = _Solver(self, spec, rng, budget, known)
        try:
            return (yield from overheard(solver.steps(), solver.hear))
        except BudgetSpent:
            if solver.net is not None:
                return Finding(
                    solver.snapshot(), Outcome.UNVERIFIED, "the budget left no row for a check", solver.evidence()
                )
            reason = "the budget ended before the equations did"
            return Finding(solver.closest(), Outcome.BUDGET_SPENT, reason, solver.evidence())


@dataclass(eq=False)
class _Solver:
    """The state of one attack: the survey of slopes, and the network that it gives."""

    attack: Perceptron
    spec: OracleSpec
    rng: np.random.Generator
    budget: int
    known: Answers
    net: Net | None = None
    held: Answers | None = None
    paid: int = 0
    asked: int = 0
    """Rows paid in the attack account."""
    loose: Answers = field(init=False)
    """Answers to rows asked beside the survey."""

    def __post_init__(self) -> None:
        self.view = View(self.spec, Design(self.spec.space))
        self.survey = Survey(self.view, child(self.rng, "survey"))
        shown = self.known.probabilities if self.spec.classes else self.known.value
        none = Answers.none(len(self.spec.space))
        self.heard = self.loose = self.known.given if shown is not None else none

    def hear(self, ask: Ask, answers: Answers) -> None:
        self.paid += len(answers)
        if ask.account == "attack":
            self.asked += len(answers)
            self.heard = Answers.concat([self.heard, answers.given])
            if ask.phase.startswith(_ROUND):
                self.loose = Answers.concat([self.loose, answers.given])

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def steps(self) -> Steps:
        survey = self.survey
        if not self.view.continuous or self.attack.method == "scratch":
            return (yield from self.from_scratch())
        trouble = yield from survey.span()
        trouble = doubt(self.heard, self.spec) or trouble
        if trouble:
            return Finding(None, Outcome.CLASS_MISMATCH, trouble, self.evidence())
        residual = math.inf
        for number in range(self.attack.rounds):
            spare = _SPARE[0] * _SPARE[1] ** number
            if survey.full and (number or survey.price(spare) > _ROWS * self.presumed()):
                break
            if self.net is not None:
                yield from survey.scout(self.net, str(number))
            yield from survey.points(spare, str(number))
            if survey.linear():
                reason = 'slopes are the same everywhere: a linear model; try "logistic"'
                return Finding(None, Outcome.CLASS_MISMATCH, reason, self.evidence())
            hessians = (yield from survey.stencils()) if self.view.width == 1 else None
            self.net = self.solve(hessians)
            residual = yield from self.residual()
            if residual <= _EXACT or not self.attack.check:
                return self.verdict(residual)
        noise = yield from unsteady(self.heard)
        if noise:
            return Finding(self.snapshot(), Outcome.CLASS_MISMATCH, noise, self.evidence())
        return self.verdict(residual) if residual <= _FAR and not survey.full else (yield from self.from_scratch())

    def from_scratch(self) -> Steps:
        """Fit a network to rows spread over the space from random starts, with twice as many rows in each round."""
        residual = math.inf
        if self.attack.method == "slopes":
            reason = "columns are discrete, or slopes span all of them: units cannot be told from slopes"
            return Finding(self.snapshot(), Outcome.NO_CONVERGENCE, reason, self.evidence())
        for number in range(self.attack.rounds):
            left = self.budget - self.paid - (self.attack.check if self.held is None else 0)
            more = min(_ROWS * self.presumed() * 2**number - self.attack.check - self.asked, left)
            if more > 0:
                rows = self.view.spread(more, child(self.rng, "spread", str(number)))
                yield Ask(rows, f"{_ROUND} {number + 1}", snapshot=self.snapshot)
            elif number:
                break
            trouble = doubt(self.heard, self.spec)
            if trouble:
                return Finding(self.snapshot(), Outcome.CLASS_MISMATCH, trouble, self.evidence())
            self.net = self.fit(child(self.rng, "starts", str(number)))
            if self.net is None:
                return Finding(
                    None, Outcome.NO_CONVERGENCE, "answers are 0 or 1 wherever they were asked", self.evidence()
                )
            residual = yield from self.residual()
            if not _EXACT < residual < _FAR:  # a fit that is far off will not come close with twice as many rows
                break
        return self.verdict(residual)

    def residual(self) -> Generator[Ask, Answers, float]:
        """The largest distance on the held-back rows; infinity without them."""
        if self.held is None and self.attack.check:
            rows = self.spec.space.sample(self.attack.check, child(self.rng, "check"))
            self.held = (yield Ask(rows, "check", "selection", self.snapshot)).given
        model = self.snapshot()
        if model is None or self.held is None or not len(self.held):
            return math.inf
        if self.spec.classes is not None:
            return float(distances(model, self.held).max())
        assert self.held.value is not None and self.heard.value is not None
        return float(np.abs(model.predict(self.held.rows) - self.held.value).max() / np.ptp(self.heard.value))

    # ── the fit ─────────────────────────────────────────────────────────────────────────────────────────

    def solve(self, hessians: Floats | None) -> Net:
        """Take the slopes apart into units, and polish them on all that was measured."""
        basis, field = self.survey.basis, self.survey.field
        equations = field.equations()
        slopes = field.gradients(basis)  # (p, k, q)
        rng = child(self.rng, "mixtures")
        if hessians is None:
            shares, outputs = rank_one_terms(slopes, rng)
            terms = np.einsum("jp,jk->pkj", shares, outputs).reshape(-1, len(basis))
            directions = linalg.lstsq(terms, slopes.reshape(-1, len(basis)))[0]
        else:
            directions = shared_directions(hessians, rng)
            shares = linalg.lstsq(directions.T, slopes[:, 0].T)[0]
        scales, biases = fit_bumps(directions @ basis @ equations.rows[:, :-1].T, shares)
        inner = np.vstack([(directions * scales[:, None]).T, biases])
        within = equations.projected(basis.T)
        net, _ = polish(within.solve_outer(inner), within, steps=_STEPS)
        whole = Net(np.vstack([basis.T @ net.inner[:-1], net.inner[-1:]]), net.outer)
        if whole.inner.size + whole.outer.size <= _LARGEST:
            whole, _ = polish(whole, equations)
        return whole

    def presumed(self) -> int:
        """The weights of a network of the presumed width: h (d + 1) + o (h + 1)."""
        hidden = self.attack.hidden or _PRESUMED
        return hidden * (self.columns() + 1) + max(1, self.spec.n_classes) * (hidden + 1)

    def columns(self) -> int:
        """The dimension in which a fit from scratch sees rows."""
        basis = self.survey.basis
        return len(basis) if len(basis) else self.view.design.size - 1

    def fit(self, rng: np.random.Generator) -> Net | None:
        """Fit a network to all that was heard, within the span of the slopes where that is known."""
        survey, equations = self.survey, self.equations()
        if not len(equations.rows):
            return None
        basis = survey.basis.T if len(survey.basis) else np.eye(self.view.design.size - 1)
        within = equations.projected(basis)
        hidden = self.attack.hidden or _PRESUMED
        affordable = equations.scores.size // (2 * (within.rows.shape[1] + equations.scores.shape[1]))
        hidden = max(1, min(math.ceil(_WIDER * hidden), max(hidden, affordable), len(equations.rows) - 1))
        net, _ = fit_from_scratch(within.rows, within.scores, hidden, rng)
        if net.inner.size + net.outer.size <= _LARGEST:
            net, _ = polish(net, within)
        return Net(np.vstack([basis @ net.inner[:-1], net.inner[-1:]]), net.outer)

    def equations(self) -> Equations:
        """What the survey measured, and the rows asked beside it."""
        loose = self.loose if self.survey.field.points else self.heard
        scores = self.view.scores(loose)
        good = np.isfinite(scores).all(axis=1)
        alone = Equations.of_rows(self.view.matrix(loose.rows[good]), scores[good])
        return self.survey.field.equations().joined(alone) if self.survey.field.points else alone

    def snapshot(self) -> PerceptronModel | None:
        """The best model so far."""
        if self.net is None:
            return None
        return self.view.model(self.net, "logistic" if self.attack.activation == "logistic" else "tanh")

    def closest(self) -> PerceptronModel | None:
        """A fit to what a spent budget has left."""
        if self.net is None and len(self.heard) >= _SCRAPED:
            self.net = self.fit(child(self.rng, "closest"))
        return self.snapshot()

    # ── how far to trust it ─────────────────────────────────────────────────────────────────────────────

    def evidence(self, residual: float = math.inf) -> dict[str, object]:
        return {
            "hidden": self.net.hidden if self.net is not None else None,
            "points": len(self.survey.field.points),
            "rank": len(self.survey.basis) or None,
            "rows heard": len(self.heard),
            "residual": residual if math.isfinite(residual) else None,
        }

    def verdict(self, residual: float) -> Finding:
        model, evidence = self.snapshot(), self.evidence(residual)
        if model is None:
            return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", evidence)
        if not math.isfinite(residual):
            return Finding(model, Outcome.UNVERIFIED, "the fit was not held against further rows", evidence)
        measure = "total variation" if self.spec.classes is not None else "of the range"
        checked = f"{self.attack.check} further rows differ by at most {residual:.1e} ({measure})"
        if residual <= _EXACT:
            return Finding(model, Outcome.VERIFIED, f"{checked}: a network of {model.hidden} hidden units", evidence)
        if residual <= _FAR:
            reason = f"{checked}: a network of {model.hidden} units comes as close, its weights are not the target's"
            return Finding(model, Outcome.APPROXIMATE, reason, evidence)
        reason = f"{checked}: no network of one smooth hidden layer was found; the model is the closest one"
        return Finding(model, Outcome.CLASS_MISMATCH, reason, evidence)
