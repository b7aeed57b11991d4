"""Equation solving for linear regression: the weights from as many rows as there are unknowns.

Recovers an affine value to float precision, over direct inputs or over raw columns that the server encodes: one-hot
encoding and scaling fold into the weights. Needs a value. Source: [Tramèr16, §4.1.1], without the logistic link.

Queries: d + 1, with d the free encoded columns (`Design.size` = d + 1), and ``check`` further rows in the selection
account. Rounded values are intervals: `filch.attacks.linear.values` asks rows near the ends of the ranges, which tell
most of a slope, moved to where the estimate lies between two rounded values, until the standard error of all values
in the range is ``precision`` of half a unit of the rounding, or ``most`` rows for each unknown.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

from filch.attacks.doubts import doubt, unsteady
from filch.attacks.linear.design import Design, unasked
from filch.attacks.linear.values import ValueBelief, chosen, ends, on_thresholds
from filch.core.answers import Answers, rounded_to
from filch.core.attack import MOST_BYTES, Ask, Finding, Outcome, Steps, overheard
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.linear import LinearModel

Floats = npt.NDArray[np.float64]
_SAME = 1e-9  # of the values' range: copies are held to it
_DOUBLE, _SINGLE = 2**-44, 2**-21  # of the largest value: what float64 and float32 resolve after scaling and sums
_TRIES = 4  # rounds of rows in place of refused ones
_FIRST, _GROWTH = 0.5, 0.25  # a round of rows for rounded values: a row for two unknowns, or this part of all so far
_IDLE, _PATIENCE = 0.9, 4  # rounds that each leave more than this part of the standard error end the search


@dataclass(frozen=True)
class Linear:
    """Solve for the weights of a linear regression.

    Parameters
    ----------
    check : int, default 8
        Further rows that the fit is held against; 0 leaves the outcome unverified.
    precision : float, default 0.05
        With rounded values: the standard error at which the search ends, in halves of a unit of the rounding.
    most : int, default 100
        With rounded values: at most so many rows for each unknown.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from sklearn.linear_model import LinearRegression
    >>> target = LinearRegression().fit([[0, 0], [1, 0], [0, 1]], [1.0, 3.0, 4.0])
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box([0, 0], [1, 1]), reveal="value")
    >>> run = filch.extract(oracle, attack=Linear(), budget=100)
    >>> run.outcome.value, run.queries, run.selection
    ('verified', 3, 8)
    """

    check: int = 8
    precision: float = 0.05
    most: int = 100

    def __post_init__(self) -> None:
        if self.check < 0 or not 0.0 < self.precision <= 1.0 or self.most < 1:
            raise UsageError("Linear takes check ≥ 0, a precision between 0 and 1, and most ≥ 1")

    def needs(self, spec: OracleSpec) -> str | None:
        """The value of a regressor."""
        if spec.classes is not None:
            return 'the target is a classifier, with no value to solve for; try "logistic" or "halfspace"'
        if spec.reveal.level not in ("value", "node", "confidence"):
            return f"it needs the value of a regressor, and the oracle reveals {spec.reveal.level}"
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask one row for each unknown, solve, check; see the module's docstring."""
        solver = _Solver(self, spec, rng, known)
        try:
            return (yield from overheard(solver.steps(), solver.hear))
        except BudgetSpent:
            return solver.spent()


class _Solver:
    """The state of one attack: what it has heard, and the fit that this allows."""

    def __init__(self, attack: Linear, spec: OracleSpec, rng: np.random.Generator, known: Answers) -> None:
        self.attack, self.spec, self.rng = attack, spec, rng
        self.design = Design(spec.space, spec.omission and bool(spec.space.categorical.any()))
        none = Answers.none(len(spec.space))
        self.heard, self.held = none, none
        self.half = None if spec.decimals is None else 0.5 * 10.0**-spec.decimals
        self.belief: ValueBelief | None = None
        self.solved: tuple[int, Floats] | None = None  # so many answers, and their solution
        self.ranked = 0, 0  # so many answers, and their rank
        self.error = np.inf  # the largest standard error of a value in the range
        if known.value is not None:
            self.hear(Ask(known.rows), known)

    def hear(self, ask: Ask, answers: Answers) -> None:
        """Note what can be used of answers, by account."""
        if answers.value is None:
            return
        given = answers.given
        if ask.account == "selection":
            self.held = Answers.concat([self.held, given])
        elif not np.isnan(given.rows[:, ~self.spec.space.categorical]).any():
            self.heard = Answers.concat([self.heard, given])

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def steps(self) -> Steps:
        """Solve, check, and take rounded values for intervals."""
        yield from self.equations()
        if not len(self.heard):
            return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", self.evidence())
        if (why := doubt(self.heard, self.spec)) is not None:
            return Finding(None, Outcome.NO_CONVERGENCE, why, self.evidence())
        if not self.solvable():
            reason = f"so many rows were refused that {self.design.size - self.rank()} unknowns are open"
            return Finding(self.model(), Outcome.NO_CONVERGENCE, reason, self.evidence())
        if self.attack.check:
            unseen = self.design.unseen(self.attack.check, child(self.rng, "check"))
            yield Ask(unseen, "check", "selection", self.model)
            if (why := doubt(self.held, self.spec)) is not None:
                return Finding(self.model(), Outcome.NO_CONVERGENCE, why, self.evidence())
        if self.residual() <= self.tolerance():
            return self.verified()
        if self.half is None:
            decimals = rounded_to(self.value(Answers.concat([self.heard, self.held])))
            self.half = None if decimals is None else 0.5 * 10.0**-decimals
        if self.half is None:
            return (yield from self.unsolved())
        return (yield from self.rounded())

    def equations(self) -> Generator[Ask, Answers, None]:
        """Ask rows until the system has full rank."""
        size, coarse = self.design.size, self.half is not None
        for attempt in range(_TRIES):
            missing = size - self.rank()
            if not missing:
                return
            rng = child(self.rng, "equations", str(attempt))
            if coarse and not attempt:
                root = np.eye(size)
                if len(self.heard):  # what is known spans nothing new
                    basis = linalg.orth(self.matrix(self.heard).T)
                    root = root - basis @ basis.T
                rows = chosen(self.design, root, missing, rng)[0]
            elif attempt < 2:
                rows = self.design.completing(self.heard.rows, rng)
            else:
                rows = ends(self.design, 2 * missing + 2, rng)
            block = max(1, MOST_BYTES // rows[:1].nbytes)
            for start in range(0, len(rows), block):
                yield Ask(rows[start : start + block], "equations", snapshot=self.model)

    def rounded(self) -> Steps:
        """Ask rows that halve what rounded values leave open."""
        assert self.half is not None
        size, idle = self.design.size, 0
        for turn in range(64):
            self.belief = belief = ValueBelief(self.matrix(self.heard), self.value(self.heard), self.half)
            rng = child(self.rng, "round", str(turn))
            wanted = min(
                max(int(_FIRST * size) + 1, int(_GROWTH * len(self.heard))), self.attack.most * size - len(self.heard)
            )
            rows, error = chosen(self.design, belief.root, max(1, wanted), child(rng, "choice"))
            error *= self.half
            idle = idle + 1 if error > _IDLE * self.error else 0
            self.error = error
            if self.contradicted():
                return (yield from self.unsolved())
            if error <= self.attack.precision * self.half or wanted < 1 or idle >= _PATIENCE:
                break
            rows = unasked(on_thresholds(self.design, belief.weights, rows, 2 * self.half), self.heard.rows)
            block = max(1, MOST_BYTES // self.design.base.nbytes)
            if not len(rows):
                break
            for start in range(0, len(rows), block):
                yield Ask(rows[start : start + block], "rounded", snapshot=self.model)
        return self.verified()

    def contradicted(self) -> bool:
        """Whether no weights meet all intervals, or those that do miss the further rows."""
        assert self.belief is not None
        held = self.held
        return self.belief.misses or (len(held) > 0 and not self.belief.meets(self.matrix(held), self.value(held)))

    # ── the result ──────────────────────────────────────────────────────────────────────────────────────

    def verified(self) -> Finding:
        """The finding of a fit that nothing speaks against."""
        evidence = self.evidence()
        if self.half is None or self.belief is None:
            told = f"{len(self.held)} further rows differ by at most {self.residual():.1e}"
        else:
            told = (
                f"all values are linear within the rounding, ± {self.half:g}; "
                f"the standard error of a value is at most {self.error:.1e}"
            )
        if not len(self.held):
            why = "check=0" if not self.attack.check else "none was answered"
            reason = f"the fit was not held against further rows ({why})"
            return Finding(self.model(), Outcome.UNVERIFIED, reason, evidence)
        if self.belief is not None and self.half is not None and self.error > self.half:
            reason = f"{told}: further rows would tell no more"
            return Finding(self.model(), Outcome.APPROXIMATE, reason, evidence)
        return Finding(self.model(), Outcome.VERIFIED, told, evidence)

    def unsolved(self) -> Steps:
        """The values are noisy, or not linear."""
        model, residual, evidence, held = self.model(), self.residual(), self.evidence(), self.held
        if (why := (yield from unsteady(self.heard))) is not None:
            return Finding(model, Outcome.NO_CONVERGENCE, f"{why}; the model is a fit to noise", evidence)
        span = float(np.ptp(self.value(Answers.concat([self.heard, held])))) or 1.0
        reason = (
            f"{len(held)} further values miss by up to {residual:.1e}, {residual / span:.1e} of their range: "
            "they are not linear in these columns"
        )
        if not len(held):
            reason = "no weights give all the rounded values: they are not linear in these columns"
        return Finding(model, Outcome.CLASS_MISMATCH, reason, evidence)

    def spent(self) -> Finding:
        """What can be said where the budget has ended."""
        model, evidence = self.model(), self.evidence()
        if not self.solvable():
            return Finding(model, Outcome.BUDGET_SPENT, "the budget ended before the equations did", evidence)
        if self.half is not None and self.belief is not None:
            self.belief = ValueBelief(self.matrix(self.heard), self.value(self.heard), self.half)
            if not self.contradicted():
                reason = f"the budget ended while the standard error of a value was still {self.error:.1e}"
                return Finding(self.model(), Outcome.BUDGET_SPENT, reason, self.evidence())
            return Finding(model, Outcome.CLASS_MISMATCH, "no weights give all the rounded values", evidence)
        reason = "the weights are solved for, but the budget left no row to check them"
        return Finding(model, Outcome.UNVERIFIED, reason, evidence)

    def model(self) -> LinearModel | None:
        """The best model so far: the solution of least norm while there are fewer rows than unknowns."""
        usable = np.isfinite(self.value(self.heard))
        if not usable.any():
            return None
        if self.belief is not None and len(self.belief.value) == len(self.heard):
            solution = self.belief.weights
        elif self.solved is not None and self.solved[0] == len(self.heard):
            solution = self.solved[1]
        else:
            matrix, value = self.matrix(self.heard)[usable], self.value(self.heard)[usable]
            solution = np.asarray(linalg.lstsq(matrix, value, check_finite=False)[0])
            self.solved = len(self.heard), solution
        coef, intercept = self.design.weights(solution[:, None])
        return LinearModel(self.spec.space, coef[0], float(intercept[0]))

    def residual(self) -> float:
        """The largest difference from the further rows."""
        model = self.model()
        if model is None or not len(self.held):
            return 0.0
        return float(np.abs(model.predict(self.held.rows) - self.value(self.held)).max())

    def tolerance(self) -> float:
        """How closely a copy has to agree with values that are not rounded; below 0 where rounded ones tell nothing."""
        if not len(self.held):
            return 0.0 if self.half is None else -1.0
        shown = self.value(Answers.concat([self.heard, self.held]))
        single = self.half is None and (shown.astype(np.float32) == shown).all() and (shown != np.rint(shown)).any()
        digits = (_SINGLE if single else _DOUBLE) * np.sqrt(self.design.size) * np.abs(shown).max()
        return float(max(digits, _SAME * np.ptp(shown)))

    def evidence(self) -> dict[str, object]:
        """Numbers behind the outcome."""
        residual = self.residual()
        return {
            "unknown": self.design.size,
            "rows heard": len(self.heard),
            "residual": residual if len(self.held) and np.isfinite(residual) else None,
            "rounding": self.half,
            "standard error": float(self.error) if np.isfinite(self.error) else None,
        }

    # ── parts ───────────────────────────────────────────────────────────────────────────────────────────

    def matrix(self, answers: Answers) -> Floats:
        return self.design.matrix(answers.rows)

    def value(self, answers: Answers) -> Floats:
        return np.empty(0) if answers.value is None else answers.value

    def rank(self) -> int:
        if self.ranked[0] != len(self.heard):
            self.ranked = len(self.heard), self.design.rank(self.heard.rows)
        return self.ranked[1]

    def solvable(self) -> bool:
        return self.rank() == self.design.size
