"""Networks with one smooth hidden layer from rounded probabilities: least squares to the rounding [Tramèr16, §7].

Rounding errs by as much in every probability, so that the fit is one of least squares in the probabilities themselves,
and it is done when what is left is what rounding leaves. Short descents, as the paper's own method takes them
(`filch.attacks.perceptron_sgd`), and random draws are where Levenberg–Marquardt steps start; the first start that comes
down to the rounding ends the search.

Queries: α for each of the h(d + 1) + c(h + 1) unknowns, d encoded columns, or the budget if that is less; all uniform.
``check`` rows in the selection account tell how far the copy is off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.attacks.doubts import completed, distances, doubt, resolution
from filch.attacks.networks.fit import Net
from filch.attacks.networks.shares import fit_shares, work
from filch.attacks.networks.uniform import asked, inputs_of, model_of, rows_for
from filch.attacks.perceptron_sgd import PerceptronSGD, descend
from filch.attacks.threads import one_thread
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.perceptron import PerceptronModel

Floats = npt.NDArray[np.float64]
_EXACT = 1e-9  # resolution of answers that are not rounded
_DEVIATION = 1 / math.sqrt(3)  # of a rounding error, in halves of a unit
_CLOSE = 1.1  # misfit, in what rounding leaves, at which a start has found the target
_EPOCHS = 30, 1_000  # of the descents from which two of three starts are taken
_WORK = 2e12  # multiplications of all steps of a fit
_STEPS = 10, 200  # the fewest and the most steps of a start


@dataclass(frozen=True)
class PerceptronRounded:
    """Extract a network of tanh or logistic units behind rounded probabilities.

    Parameters
    ----------
    hidden : int, default 20
        Hidden units of the copy. More than the target has are found sooner, if there are answers enough.
    alpha : float, default 5
        Queries for each unknown of the copy.
    starts : int, default 9
        At most so many starts: of three, two are descents and one is a random draw.
    check : int, default 8
        Further rows on which the copy is held; 0 leaves it unverified.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> target = MLPClassifier((3,), "tanh", solver="lbfgs", alpha=0.1, max_iter=2_000, random_state=0).fit(X, y)
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0)), decimals=2)
    >>> run = filch.extract(oracle, attack=PerceptronRounded(hidden=3), budget=1_000, curve=False)
    >>> run.outcome.value, run.queries, filch.fidelity(oracle, run.model).r_unif < 0.01
    ('verified', 135, True)
    """

    hidden: int = 20
    alpha: float = 5.0
    starts: int = 9
    check: int = 8

    def __post_init__(self) -> None:
        if min(self.hidden, self.starts) < 1 or self.check < 0 or not 0 < self.alpha < math.inf:
            raise UsageError("PerceptronRounded takes hidden and starts ≥ 1, alpha > 0 and check ≥ 0")

    def needs(self, spec: OracleSpec) -> str | None:
        """All probabilities of at least two classes."""
        if spec.n_classes < 2:
            return "the target is no classifier with two or more classes"
        k = spec.reveal.k
        if not spec.reveal.shows_probabilities or (k is not None and k < spec.n_classes - 1):
            return f'it needs all class probabilities, and the oracle reveals {spec.reveal.level}; try "retraining"'
        return None

    def queries(self, spec: OracleSpec) -> int:
        """The rows that it asks if the budget allows: α·(h(d + 1) + c(h + 1))."""
        return rows_for(self.alpha, self.hidden, spec)

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask uniform rows, fit, hold the copy against a few more."""
        heard = known.given if known.probabilities is not None else Answers.none(len(spec.space))
        learner = _Learner(self, spec, rng, completed(heard, spec))
        try:
            return (yield from overheard(learner.steps(budget), learner.hear))
        except BudgetSpent:
            reason = f"the budget ended before the check; the network has learned {len(learner.heard):,} answers"
            return Finding(learner.model(), Outcome.BUDGET_SPENT, reason, learner.evidence())


@dataclass(eq=False)
class _Learner:
    """What the attack has heard, and the network that it allows."""

    attack: PerceptronRounded
    spec: OracleSpec
    rng: np.random.Generator
    heard: Answers
    learned: int = 0
    net: Net | None = None
    misfit: float = math.inf

    def hear(self, ask: Ask, answers: Answers) -> None:
        if ask.account == "attack" and answers.probabilities is not None:
            self.heard = Answers.concat([self.heard, completed(answers.given, self.spec)])

    def steps(self, budget: int) -> Steps:
        wanted = min(self.attack.queries(self.spec), max(1, budget - self.attack.check))
        yield from asked(self.spec, wanted, child(self.rng, "uniform"), self.model)
        if (why := doubt(self.heard, self.spec)) is not None:
            reason = f"{why}: the target gives no class probabilities"
            return Finding(self.model(), Outcome.CLASS_MISMATCH, reason, self.evidence())
        model, held = self.model(), Answers.none(len(self.spec.space))
        if model is None:
            return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", self.evidence())
        if self.attack.check:
            further = self.spec.space.sample(self.attack.check, child(self.rng, "check"))
            held = completed((yield Ask(further, "check", "selection", self.model)).given, self.spec)
        return self.verdict(model, held)

    def verdict(self, model: PerceptronModel, held: Answers) -> Finding:
        """Hold the copy against further rows."""
        learned = f"a network of {self.attack.hidden} hidden units, fitted to {len(self.heard):,} answers"
        if not len(held):
            return Finding(model, Outcome.UNVERIFIED, f"{learned}; no further row was asked (check=0)", self.evidence())
        off = float(distances(model, held).mean())
        evidence = self.evidence() | {"residual": off}
        reason = f"{learned}; {len(held)} further rows differ by {off:.1e} on average (total variation)"
        fits = off <= max(_EXACT, self.spec.n_classes * self.resolution())
        return Finding(model, Outcome.VERIFIED if fits else Outcome.APPROXIMATE, reason, evidence)

    def evidence(self) -> dict[str, object]:
        told = None if not math.isfinite(self.misfit) else self.misfit / max(self.floor(), 1e-300)
        return {"hidden": self.attack.hidden, "rows heard": len(self.heard), "misfit in roundings": told}

    def resolution(self) -> float:
        """Half a unit in the last place of the answers."""
        return max(resolution(self.heard, self.spec), _EXACT)

    def floor(self) -> float:
        """The root mean square of what rounding leaves."""
        return self.resolution() * _DEVIATION

    # ── the fit ─────────────────────────────────────────────────────────────────────────────────────────

    def model(self) -> PerceptronModel | None:
        """The network fitted to all that was heard, once for each number of answers; None if nothing was."""
        if len(self.heard) and self.learned != len(self.heard):
            self.learned = len(self.heard)
            with one_thread():
                self.fit(child(self.rng, "fit", str(self.learned)))
        return None if self.net is None else model_of(self.spec, self.net.inner, self.net.outer, "tanh")

    def fit(self, rng: np.random.Generator) -> None:
        """Start from the network so far, from descents and random draws, until one comes down to the rounding."""
        shown = self.heard.probabilities
        assert shown is not None
        rows = inputs_of(self.spec, self.heard.rows)
        unknowns = self.attack.hidden * rows.shape[1] + (self.attack.hidden + 1) * shown.shape[1]
        affordable = _WORK / work(len(shown), shown.shape[1], unknowns)
        fewest, most = _STEPS
        starts = max(1, min(self.attack.starts, int(affordable / fewest)))
        steps = int(np.clip(affordable / starts, fewest, most))
        before, self.net, self.misfit = self.net, None, math.inf
        for number in range(-1, starts):
            if number < 0 and before is None:
                continue
            start = before if number < 0 and before is not None else self.start(number, rows, shown, rng)
            # Where there are fewer equations than unknowns, a fit closer than the rounding follows it.
            net, misfit = fit_shares(start, rows, shown, enough=self.floor(), steps=steps)
            if misfit < self.misfit:
                self.net, self.misfit = net, misfit
            if self.misfit <= _CLOSE * self.floor():
                break

    def start(self, number: int, rows: Floats, shown: Floats, rng: np.random.Generator) -> Net:
        """A network to start from: in turn after a short descent, after a longer one, and drawn at random."""
        own, hidden = child(rng, "start", str(number)), self.attack.hidden
        if number % 3 < 2:
            epochs = _EPOCHS[number % len(_EPOCHS)]
            return Net(*descend(PerceptronSGD(hidden, "tanh", epochs=epochs), rows, shown, own))
        inner = own.normal(size=(rows.shape[1], hidden))
        return Net(inner, 0.3 * own.normal(size=(hidden + 1, shown.shape[1])))
