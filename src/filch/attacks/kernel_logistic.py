"""RBF kernel logistic regression, and with it training rows [Tramèr16, §4.1.3].

Recovers the number of representers, γ, every representer, which is a training row, and all weights to float precision,
from class probabilities of rows inside the ranges. Needs all probabilities and at least three columns that vary; works
over raw columns whose one-hot encoding, scaled to [−1, 1], the kernel sees.

Queries, with s representers, d free encoded columns and c classes: about ``(s + d)(s + 1) / (c − 1)`` for the algebra
(`filch.attacks.kernel_algebra`), and as many more as it takes to see that s is no larger. All answers then take part in
a least-squares fit (`filch.attacks.kernel_fit`). ``check`` further rows in the selection account verify it.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

from filch.attacks.doubts import distances, doubt, unmet, unsteady
from filch.attacks.kernel_algebra import (
    Groups,
    Logs,
    bias_of,
    completing,
    locate,
    opposite,
    quotients,
    rank_of,
    separate,
    spread,
    varying,
)
from filch.attacks.kernel_answers import Heard
from filch.attacks.kernel_fit import misfit, polish, prune, weigh
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.kernel import KernelModel

Floats = npt.NDArray[np.float64]
_START, _GROWTH = 12, 1.1  # rows of the first matrix, and by how much a matrix grows
_SPARE = 2  # columns of a pencil over its rank
_PENCILS = 3  # the most changes of columns that are tried
_UNKNOWNS = 13_000  # entries of representers up to which they are fitted all at once
_HOLES = "too many rows were refused, or answered by 0 or 1"
_ROWS = 6  # times the unknowns: equations that take part in that


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


class _Unsolved(Exception):
    """Why the algebra came to no end, in a sentence, and the outcome that this is."""

    def __init__(self, reason: str, outcome: Outcome = Outcome.NO_CONVERGENCE) -> None:
        super().__init__(reason)
        self.reason, self.outcome = reason, outcome


class _Solver(Heard):
    """The state of one attack: what it has heard, and what has come of it."""

    def __init__(self, attack: KernelLogistic, spec: OracleSpec, rng: np.random.Generator, known: Answers) -> None:
        super().__init__(spec, known)
        self.attack, self.rng = attack, rng
        self.groups = Groups.draw(spec.space, child(rng, "groups"))
        self.rank, self.gap, self.off = 0, 0.0, math.inf

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def steps(self) -> Steps:
        trouble: _Unsolved | None = None
        try:
            yield from self.solve()
        except _Unsolved as unsolved:
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

    def solve(self) -> Generator[Ask, Answers, None]:
        """Find the fit, pencil after pencil, or raise `_Unsolved`."""
        rng = child(self.rng, "rows")
        near = opposite(self.spec.space, child(self.rng, "pencil"))[0]
        first, later, table = yield from self.grow(rng, near)
        if self.rank < 2:
            raise _Unsolved("the answers are the same everywhere: no kernel reaches into the ranges")
        later, table = yield from self.extend(first, later, table)
        extra = yield from self.shift_first(first, later)
        for attempt in range(_PENCILS):
            far = opposite(self.spec.space, child(self.rng, "pencil", str(attempt)))[1]
            yield from self.pencil(first, later, table, near, far, extra)
            if self.fit is not None and self.off <= self.tolerance():
                return
        reason = (
            f"the log-ratios have rank {self.rank}, as of {self.rank - 1} representers, but no RBF kernel fits them"
        )
        raise _Unsolved(reason, Outcome.CLASS_MISMATCH)

    def grow(self, rng: np.random.Generator, near: Rows) -> Generator[Ask, Answers, tuple[Rows, Rows, Floats]]:
        """Join more and more rows until the singular values of their answers show a gap."""
        space, width = self.spec.space, self.outputs
        first, later, table = np.empty((0, len(space))), np.empty((0, len(space))), np.empty((0, 0, width))
        count = max(2, math.ceil(_START / width))
        while (count - 1) * width <= _GROWTH * (self.attack.most + 1) + _START:
            more = self.fresh(first, count - len(first), rng, self.groups.first)
            beside = self.fresh(later, count * width - len(later), rng, self.groups.second)
            beside = np.where(self.groups.third, near, beside)
            right = self.groups.join(first, beside)
            below = self.groups.join(more, np.concatenate([later, beside]))
            told = yield from self.ask(np.concatenate([right, below]), "rank")
            table = np.concatenate([table, told[: len(right)].reshape(len(first), len(beside), width)], axis=1)
            first, later = np.concatenate([first, more]), np.concatenate([later, beside])
            table = np.concatenate([table, told[len(right) :].reshape(len(more), len(later), width)])
            if (why := doubt(self.heard, self.spec)) is not None:
                raise _Unsolved(f"{why}: the target gives no class probabilities", Outcome.CLASS_MISMATCH)
            whole = _whole(table)
            found = rank_of(_matrix(table[:, whole]), self.unit())
            if found is not None:
                self.rank, self.gap = found
                return first, later[whole], table[:, whole]
            if whole.sum() < len(whole) / 4:
                absent = unmet(self.heard, self.spec)
                raise _Unsolved(_HOLES if absent is None else f"{_HOLES}: {absent}")
            count = max(count + 1, math.ceil(_GROWTH * count))
        seen = min(len(first) * width, len(later))
        raise _Unsolved(
            (yield from unsteady(self.heard))
            or f"the singular values of the log-ratios show no end up to {seen}: more representers than that, "
            "no kernel model, or answers that are too coarse"
        )

    def extend(self, first: Rows, later: Rows, table: Floats) -> Generator[Ask, Answers, tuple[Rows, Floats]]:
        """Ask the rows that locating the representers needs more than the rank did."""
        rows = completing(self.groups, self.groups.later, later, child(self.rng, "further"))
        told = yield from self.ask(self.groups.join(first, rows), "further rows")
        further = told.reshape(len(first), len(rows), self.outputs)
        whole = _whole(further)
        return np.concatenate([later, rows[whole]]), np.concatenate([table, further[:, whole]], axis=1)

    def shift_first(self, first: Rows, later: Rows) -> Generator[Ask, Answers, tuple[Rows, Rows, Floats]]:
        """Ask rows that move the first group's columns, beside as few of the others as tell representers apart."""
        rows = completing(self.groups, self.groups.first, first, child(self.rng, "first"))
        beside = later[: math.ceil(self.rank / self.outputs) + 1]
        told = yield from self.ask(self.groups.join(rows, beside), "first group")
        return rows, beside, told.reshape(len(rows), len(beside), self.outputs)

    def pencil(
        self, first: Rows, later: Rows, table: Floats, near: Rows, far: Rows, extra: tuple[Rows, Rows, Floats]
    ) -> Generator[Ask, Answers, None]:
        """Change the third group's columns, separate the representers by it, locate and fit them."""
        (alike,) = np.nonzero((later == np.where(self.groups.third, near, later)).all(axis=1))
        matrix = _matrix(table)
        pivots = linalg.qr(matrix[:, alike], mode="r", pivoting=True)[1]
        chosen = alike[pivots[: self.rank + _SPARE]]
        moved = np.where(self.groups.third, far, later[chosen])
        told = (yield from self.ask(self.groups.join(first, moved), "pencil")).reshape(
            len(first), len(moved), self.outputs
        )
        whole = _whole(told)
        if whole.sum() < self.rank:
            raise _Unsolved(_HOLES)
        changed = _matrix(told[:, whole])
        every = np.concatenate([matrix, changed], axis=1)
        separated, shares = quotients(separate(matrix[:, chosen[whole]], changed, every, self.rank), every)
        rows = np.concatenate([later, moved[whole]])
        start = self.located(first, rows, separated, shares, extra)
        if start is None:
            return
        good = self.equations()
        encoded, z = self.view.encode(good.rows), self.logs(good)
        fit = weigh(encoded, z, *start)
        if start[0].size <= _UNKNOWNS:
            part = self.part(len(z), start[0].size)
            fit = prune(encoded[part], z[part], polish(encoded[part], z[part], fit))
        off = misfit(fit, encoded, z)
        if off < self.off:
            self.fit, self.off = fit, off

    def located(
        self, first: Rows, later: Rows, separated: Floats, shares: Floats, extra: tuple[Rows, Rows, Floats]
    ) -> tuple[Floats, float] | None:
        """Representers and γ, as far as the algebra tells."""
        rows, beside, told = extra
        width = self.outputs
        blocks = separated.reshape(len(first), width, -1)
        known = (blocks[1:] * blocks[0]).sum(axis=1) / np.maximum((blocks[0] ** 2).sum(axis=0), 1e-300)
        system = (shares[:, : len(beside)].T[:, None, :] * blocks[0]).reshape(-1, self.rank)
        whole = ~np.isnan(told).any(axis=(1, 2))
        if whole.any():
            solved = linalg.lstsq(system, told[whole].reshape(int(whole.sum()), -1).T)[0].T
            known, rows = np.concatenate([known, solved]), rows[whole]
        else:
            rows = rows[:0]
        inside = self.encoded(np.concatenate([first, rows]), self.groups.first)
        outside = self.encoded(later, self.groups.later)
        parts = [Logs.of(known, inside[1:], inside[0]), Logs.of(shares[:, 1:].T, outside[1:], outside[0])]
        bias = bias_of(parts)
        return locate(self.view, [part.without(bias) for part in parts])

    # ── rows and answers ────────────────────────────────────────────────────────────────────────────────

    def encoded(self, rows: Rows, columns: npt.NDArray[np.bool_]) -> Floats:
        """Encoded rows, 0 outside some raw columns."""
        return np.where(self.groups.encoded(columns), self.view.encode(rows), 0.0)

    def fresh(self, known: Rows, n: int, rng: np.random.Generator, columns: npt.NDArray[np.bool_]) -> Rows:
        """Random rows that differ from each other, and from those known, in some columns; of shape (n, d)."""
        rows = spread(self.spec.space, 4 * n, rng)
        seen = np.concatenate([known, rows])[:, columns]
        places = np.sort(np.unique(seen, axis=0, return_index=True)[1])
        chosen = places[places >= len(known)][:n] - len(known)
        if len(chosen) < n:
            raise _Unsolved("the columns have too few different values to tell representers apart")
        return rows[chosen]

    def part(self, count: int, unknowns: int) -> npt.NDArray[np.int64]:
        """Rows that take part in a fit of so many unknowns."""
        enough = max(1_000, math.ceil(_ROWS * unknowns / self.outputs))
        return np.sort(child(self.rng, "fit").permutation(count)[:enough])

    # ── how far to trust it ─────────────────────────────────────────────────────────────────────────────

    def evidence(self, residual: float = math.inf) -> dict[str, object]:
        return {
            "representers": None if self.fit is None else len(self.fit.representers),
            "gamma": None if self.fit is None else self.fit.gamma,
            "rank": self.rank or None,
            "gap": self.gap or None,
            "rows heard": len(self.heard),
            "misfit": self.off if math.isfinite(self.off) else None,
            "residual": residual if math.isfinite(residual) else None,
        }

    def verdict(self, model: KernelModel, held: Answers, trouble: _Unsolved | None) -> Finding:
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
        found = f"{count} representers, γ = {gamma:.6g}"
        if not len(held):
            return Finding(model, Outcome.UNVERIFIED, f"{found}; no further row was asked (check=0)", evidence)
        if residual <= self.tolerance():
            return Finding(model, Outcome.VERIFIED, f"{found}: {checked}", evidence)
        reason = f"{found}, but {checked}, more than the {self.tolerance():.1e} that the answers resolve"
        return Finding(model, Outcome.CLASS_MISMATCH, reason, evidence)


def _whole(table: Floats) -> npt.NDArray[np.bool_]:
    """The columns of a table (n₁, n₂, c − 1) in which nothing is missing."""
    return np.asarray(~np.isnan(table).any(axis=(0, 2)))


def _matrix(table: Floats) -> Floats:
    """A table (n₁, n₂, c − 1) as a matrix of shape (n₁ (c − 1), n₂)."""
    return table.transpose(0, 2, 1).reshape(table.shape[0] * table.shape[2], table.shape[1])
