"""Equation solving for softmax and binary models of thousands of columns; the wide half of `logistic`.

One base row, and each further row moves one column of it: a move changes the log-ratios by that column's weights and by
nothing else, so that each answer is solved for by itself. No matrix of d × d is ever held: time and memory grow with
d·c, and rows are made, asked and forgotten in blocks. Needs all probabilities, unrounded. Queries: d + 1 [Tramèr16,
§4.1.1], and ``check`` more in the selection account.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.attacks.doubts import distances, resolution
from filch.attacks.linear.design import Design
from filch.attacks.linear.gentle import Gentle, moderate
from filch.core.answers import Answers
from filch.core.attack import MOST_BYTES, Ask, Finding, Outcome, Steps, overheard
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent
from filch.models.logistic import Link, LogisticModel

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
EXACT = 1e-9
"""Total variation up to which an unrounded fit is one."""
_HALVINGS = 30
_COARSE = 1e-9  # of two probabilities the smaller one may be 1 less the other, and below it have lost its digits


@dataclass(eq=False)
class Stepwise:
    """The state of one attack, column by column.

    Parameters
    ----------
    spec : OracleSpec
    design : Design
    rng : Generator
    check : int
        Further rows that the fit is held against.
    """

    spec: OracleSpec
    design: Design
    rng: np.random.Generator
    check: int

    def __post_init__(self) -> None:
        width, d, classes = self.design.view.width, len(self.spec.space), self.spec.n_classes
        self.base, self.solved = self.design.base, False
        self.anchor = np.zeros(classes)
        """Centred log-probabilities of the base row."""
        self.effects, self.told = np.zeros((width, classes)), np.zeros(width, dtype=bool)
        """By how much each category shifts them against the base row's; of a numeric column, its weights."""
        self.omitted, self.told_omitted = np.zeros((d, classes)), np.zeros(d, dtype=bool)
        self.heard, self.single = 0, True
        self.floor = _COARSE if classes == 2 else 0.0
        """Answers with a probability below it are no equations."""

    def steps(self) -> Steps:
        """Ask, solve, check."""
        try:
            return (yield from overheard(self._steps(), self._hear))
        except BudgetSpent:
            if self.solved and not self.open:
                reason = "the weights are solved for, but the budget left no row to check them"
                return Finding(self.model(), Outcome.UNVERIFIED, reason, self.evidence())
            reason = "the budget ended before the equations did"
            return Finding(self.model(), Outcome.BUDGET_SPENT, reason, self.evidence())

    def _steps(self) -> Steps:
        first = yield Ask(self.design.base[None], "equations")
        good = yield from Gentle(self.design, self.floor).begin(first, child(self.rng, "gentle"))
        if not len(good) and self.floor:
            self.floor = 0.0
            good = yield from Gentle(self.design, 0.0).begin(first, child(self.rng, "any"))
        if not len(good):
            reason = "every row was refused, or answered 0 or 1"
            return Finding(None, Outcome.NO_CONVERGENCE, reason, self.evidence())
        self._start(good)
        columns, values = self._moves()
        block = max(1, MOST_BYTES // self.design.base.nbytes)
        for _ in range(_HALVINGS):
            for start in range(0, len(columns), block):
                part = slice(start, start + block)
                rows = self.design.moved(self.base, columns[part], values[part])
                answers = (yield Ask(rows, "equations", snapshot=self.model)).given
                coarse = resolution(answers if len(answers) else good, self.spec)
                if coarse > EXACT:
                    return self._rounded(coarse)
            columns, values = self._smaller(columns, values)
            if not len(columns):
                break
        residual = math.inf
        if self.check:
            unseen = self.design.unseen(self.check, child(self.rng, "check"))
            held = (yield Ask(unseen, "check", "selection", self.model)).given
            residual = float(distances(self.model(), held).max()) if len(held) else math.inf
        return self._verdict(residual)

    # ── the base row and the moves from it ──────────────────────────────────────────────────────────────

    def _start(self, good: Answers) -> None:
        """Begin from the mildest of some moderate answers."""
        assert good.probabilities is not None
        space, starts = self.spec.space, self.design.view.starts
        mildest = int(good.probabilities.min(axis=1).argmax())
        self.base, self.anchor = good.rows[mildest], _centred(good.probabilities)[mildest]
        codes = np.where(space.categorical, self.base, 0).astype(np.int64)
        self.told[(starts + codes)[space.categorical | (space.low == space.high)]] = True
        self.told_omitted |= ~space.categorical | (not self.design.omission)
        self.solved = True

    def _moves(self) -> tuple[Index, Rows]:
        """The columns to move, and to which values: those of the design, but away from the base row that was found."""
        space = self.spec.space
        columns, values = self.design.moves(child(self.rng, "design"))
        other = np.where(self.base == space.low, space.high, space.low)  # of a category: code 0, which no move goes to
        return columns, np.where(values == self.base[columns], other[columns], values)

    def _smaller(self, columns: Index, values: Rows) -> tuple[Index, Rows]:
        """Half as far, for those numeric columns of which no answer tells yet; fewer where a grid allows no more."""
        space = self.spec.space
        left = ~space.categorical[columns] & ~self.told[self.design.view.starts[columns]]
        columns, values = columns[left], values[left]
        base, grid, low = self.base[columns], space.grid[columns], space.low[columns]
        half = base + (values - base) / 2
        on_grid = low + np.round((half - low) / np.where(grid > 0, grid, 1.0)) * grid
        half = np.where(grid > 0, on_grid, half)
        new = (half != base) & (half != values)
        return columns[new], half[new]

    @property
    def open(self) -> int:
        """The number of unknowns of which no answer tells."""
        return int((~self.told).sum() + (~self.told_omitted).sum())

    # ── the fit ─────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, ask: Ask, answers: Answers) -> None:
        """Solve for what rows with one moved column tell; rows are read off the answers, which a journal may hold."""
        answers, starts = answers.given, self.design.view.starts
        if answers.probabilities is None or ask.account != "attack":
            return
        shown = answers.probabilities
        self.heard += len(answers)
        self.single &= bool((shown.astype(np.float32) == shown).all())
        if not self.solved:
            return
        differs = answers.rows != self.base
        use = moderate(answers, self.floor) & (differs.sum(axis=1) == 1)
        columns = differs[use].argmax(axis=1)
        values = answers.rows[use, columns]
        shifts = _centred(shown[use]) - self.anchor
        categorical, gone = self.spec.space.categorical[columns], np.isnan(values)
        self.omitted[columns[gone]], self.told_omitted[columns[gone]] = shifts[gone], True
        shown_code = categorical & ~gone
        place = starts[columns[shown_code]] + values[shown_code].astype(np.int64)
        self.effects[place], self.told[place] = shifts[shown_code], True
        moved = columns[~categorical]
        distance = (values[~categorical] - self.base[moved]) / self.design.view.scale[moved]
        self.effects[starts[moved]], self.told[starts[moved]] = shifts[~categorical] / distance[:, None], True

    def model(self) -> LogisticModel | None:
        """The best model so far: columns of which nothing is known yet have no weight."""
        if not self.solved:
            return None
        view, categorical = self.design.view, self.spec.space.categorical
        from_ = self.omitted if self.design.omission else self.effects[view.starts]  # a block is 0 there
        weights = self.effects - np.repeat(np.where(categorical[:, None], from_, 0.0), view.widths, axis=0)
        bias = self.anchor - view.encode(self.base[None])[0] @ weights
        return self.design.model(np.vstack([weights[self.design.kept], bias]), self._link, self.spec.classes or ())

    @property
    def _link(self) -> Link:
        return "logistic" if self.spec.n_classes == 2 else "softmax"

    # ── how far to trust it ─────────────────────────────────────────────────────────────────────────────

    def evidence(self, residual: float = math.inf) -> dict[str, object]:
        """Numbers behind the outcome."""
        return {
            "link": self._link,
            "unknown rows": self.design.size,
            "rows heard": self.heard,
            "residual": residual if math.isfinite(residual) else None,
        }

    def _rounded(self, coarse: float) -> Finding:
        reason = (
            f"answers are rounded to within {coarse:.0e}, and with {self.design.size:,} unknowns a class no method for "
            "rounded answers fits into memory; try retraining"
        )
        return Finding(self.model(), Outcome.NO_CONVERGENCE, reason, self.evidence())

    def _verdict(self, residual: float) -> Finding:
        model, evidence, open_ = self.model(), self.evidence(residual), self.open
        if open_:
            reason = f"{open_} of {self.design.size} unknowns stay open: rows were refused, or answered 0 or 1"
            return Finding(model, Outcome.NO_CONVERGENCE, reason, evidence)
        if not math.isfinite(residual):
            return Finding(model, Outcome.UNVERIFIED, "the fit was not held against further rows", evidence)
        checked = f"{self.check} further rows differ by at most {residual:.1e} (total variation)"
        allowed = tolerance(self.single, self.design.size)
        if residual <= allowed:
            return Finding(model, Outcome.VERIFIED, f"{checked}: a {self._link} model", evidence)
        reason = (
            f"{checked}, more than the {allowed:.1e} that the answers resolve: no {self._link} model of these columns"
        )
        if self.spec.n_classes > 2:
            reason += '; link="ovr" tries one-vs-rest, with dense matrices'
        return Finding(model, Outcome.CLASS_MISMATCH, reason, evidence)


def tolerance(single: bool, size: int) -> float:
    """The total variation that answers resolve; ``single`` for those of a server that computes in float32."""
    return max(EXACT, 2**-22 * math.sqrt(size)) if single else EXACT


def _centred(probabilities: Floats) -> Floats:
    logs = np.log(probabilities)
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))
