"""The search for the representers of a kernel model: which rows to ask, and what the algebra makes of their answers."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
import numpy.typing as npt
from scipy import linalg

from filch.attacks.doubts import doubt, unmet, unsteady
from filch.attacks.kernels.algebra import (
    Groups,
    Located,
    Logs,
    biases,
    completing,
    locate,
    opposite,
    quotients,
    rank_of,
    separate,
    spread,
)
from filch.attacks.kernels.answers import Heard
from filch.attacks.kernels.fit import misfit, polish, prune, weigh
from filch.core.answers import Answers
from filch.core.attack import Ask, Outcome
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child

Floats = npt.NDArray[np.float64]
_START, _GROWTH = 12, 1.1  # rows of the first matrix, and by how much a matrix grows
NEAR = 1e-4
"""How far a fit may be off in log-ratios, and other draws will not come closer."""
_SPARE = 2  # columns of a pencil over its rank
_DRAWS = 5  # the most draws of groups that are tried
_UNKNOWNS = 13_000  # entries of representers up to which they are fitted all at once
_COARSE = 1e-6  # log-ratios that may be off by more hide all but a few representers, which the first matrix tells
_CLOSE = 1e-6  # eigenvalues no further apart, as a share, coincide
_CHEAP = 3_000  # entries up to which a fit is tried that is not likely to succeed
_HOLES = "too many rows were refused, or answered by 0 or 1"
_ROWS = 6  # times the unknowns: equations that take part in that
_SKEW = 1e-5  # share of the logarithms that one γ for all columns may leave unexplained


class Unsolved(Exception):
    """Why the algebra came to no end, in a sentence, and the outcome that this is."""

    def __init__(self, reason: str, outcome: Outcome = Outcome.NO_CONVERGENCE) -> None:
        super().__init__(reason)
        self.reason, self.outcome = reason, outcome


class Search(Heard):
    """The state of a search, and what has come of it.

    Parameters
    ----------
    most : int
        The most representers that are looked for.
    spec, rng, known
        As of an attack.
    """

    def __init__(self, most: int, spec: OracleSpec, rng: np.random.Generator, known: Answers) -> None:
        super().__init__(spec, known)
        self.most, self.rng = most, rng
        self.groups: Groups
        self.rank, self.gap, self.off = 0, 0.0, math.inf
        self.by_column = False

    def solve(self) -> Generator[Ask, Answers, None]:
        """Find the fit, with one draw of the groups after the other, or raise `Unsolved`."""
        for draw in range(_DRAWS):
            self.groups = Groups.draw(self.spec.space, child(self.rng, "groups"), draw)
            yield from self.attempt(child(self.rng, "draw", str(draw)))
            if self.fit is not None and self.off <= max(self.tolerance(), NEAR):
                return  # exact, or as close as float64 lets the algebra of so many representers come
        count = self.rank - 1
        reason = f"the log-ratios have rank {self.rank}, as of {count} representers, but no RBF kernel fits them"
        raise Unsolved(reason, Outcome.CLASS_MISMATCH)

    def attempt(self, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """Try one draw of the groups: with one γ for all columns, then with one for each."""
        near, far = opposite(self.spec.space, child(rng, "pencil"))
        first, later, table = yield from self.grow(child(rng, "rows"), near)
        if self.rank < 2:
            raise Unsolved("the answers are the same everywhere: no kernel reaches into the ranges")
        later, table, pencil = yield from self.change(first, later, table, far)
        if separate(*pencil, np.concatenate(pencil, axis=1), self.rank)[1] < _CLOSE:
            return  # two representers have the same values in the third group
        extra: tuple[Rows, Rows, Floats] | None = None
        for self.by_column in (False, True):
            named = child(rng, str(self.by_column))
            later, table = yield from self.extend(child(named, "further"), first, later, table)
            extra = yield from self.shift_first(child(named, "first"), first, later, extra)
            every = _matrix(table)
            starts = self.located(first, later, *quotients(separate(*pencil, every, self.rank)[0], every), extra)
            skew = min((start.unexplained for start in starts), default=math.inf)
            for start in starts:
                worth = self.by_column or start.unexplained <= self.straight() or start.representers.size <= _CHEAP
                if worth and self.off > self.tolerance():
                    self.fitted(start)
            if self.off <= max(self.tolerance(), NEAR) or skew <= self.straight():
                return

    def grow(self, rng: np.random.Generator, near: Rows) -> Generator[Ask, Answers, tuple[Rows, Rows, Floats]]:
        """Join more and more rows until the singular values of their answers show a gap."""
        space, width = self.spec.space, self.outputs
        first, later, table = np.empty((0, len(space))), np.empty((0, len(space))), np.empty((0, 0, width))
        count = max(2, math.ceil(_START / width))
        while (count - 1) * width <= _GROWTH * (self.most + 1) + _START:
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
                raise Unsolved(f"{why}: the target gives no class probabilities", Outcome.CLASS_MISMATCH)
            whole = _whole(table)
            found = rank_of(_matrix(table[:, whole]), self.unit())
            if found is not None:
                self.rank, self.gap = found
                return first, later[whole], table[:, whole]
            if whole.sum() < len(whole) / 4:
                absent = unmet(self.heard, self.spec)
                raise Unsolved(_HOLES if absent is None else f"{_HOLES}: {absent}")
            if self.unit() > _COARSE:
                raise Unsolved("answers are too coarse for the singular values of the log-ratios to tell representers")
            count = max(count + 1, math.ceil(_GROWTH * count))
        seen = min(len(first) * width, len(later))
        raise Unsolved(
            (yield from unsteady(self.heard))
            or f"the singular values of the log-ratios show no end up to {seen}: more representers than that, "
            "or no kernel model"
        )

    def extend(
        self, rng: np.random.Generator, first: Rows, later: Rows, table: Floats
    ) -> Generator[Ask, Answers, tuple[Rows, Floats]]:
        """Ask the rows that locating the representers needs more than the rank did."""
        rows = completing(self.groups, self.groups.later, later, rng, self.by_column)
        told = yield from self.ask(self.groups.join(first, rows), "further rows")
        further = told.reshape(len(first), len(rows), self.outputs)
        whole = _whole(further)
        return np.concatenate([later, rows[whole]]), np.concatenate([table, further[:, whole]], axis=1)

    def shift_first(
        self, rng: np.random.Generator, first: Rows, later: Rows, before: tuple[Rows, Rows, Floats] | None
    ) -> Generator[Ask, Answers, tuple[Rows, Rows, Floats]]:
        """Ask rows that move the first group's columns, beside as few of the others as tell representers apart."""
        known = first if before is None else np.concatenate([first, before[0]])
        rows = completing(self.groups, self.groups.first, known, rng, self.by_column)
        beside = later[: math.ceil(self.rank / self.outputs) + 1] if before is None else before[1]
        told = yield from self.ask(self.groups.join(rows, beside), "first group")
        table = told.reshape(len(rows), len(beside), self.outputs)
        if before is None:
            return rows, beside, table
        return np.concatenate([before[0], rows]), beside, np.concatenate([before[2], table])

    def change(
        self, first: Rows, later: Rows, table: Floats, far: Rows
    ) -> Generator[Ask, Answers, tuple[Rows, Floats, tuple[Floats, Floats]]]:
        """Ask some columns of the table again with the third group's columns changed; also add them to the table."""
        matrix = _matrix(table)
        chosen = linalg.qr(matrix, mode="r", pivoting=True)[1][: self.rank + _SPARE]
        moved = np.where(self.groups.third, far, later[chosen])
        told = yield from self.ask(self.groups.join(first, moved), "pencil")
        changed = told.reshape(len(first), len(moved), self.outputs)
        whole = _whole(changed)
        if whole.sum() < self.rank:
            raise Unsolved(_HOLES)
        later, table = np.concatenate([later, moved[whole]]), np.concatenate([table, changed[:, whole]], axis=1)
        return later, table, (matrix[:, chosen[whole]], _matrix(changed[:, whole]))

    def straight(self) -> float:
        """The share of the logarithms that a right γ may leave unexplained."""
        return max(_SKEW, math.sqrt(self.unit()))

    def fitted(self, start: Located) -> None:
        """Fit all answers from what the algebra tells, and keep the fit if it is the closest so far."""
        good = self.equations()
        rows, z = self.frame.reduce(self.view.encode(good.rows)), self.logs(good)
        fit = weigh(rows, z, self.frame.reduce(start.representers), self.frame.gamma(start.gamma))
        if start.representers.size <= _UNKNOWNS:
            part = self.part(len(z), start.representers.size)
            own = np.array([len(np.unique(column)) > 2 for column in rows.T]) if self.by_column else None
            if own is not None:  # contrasts of categories take more values, and tell no more
                own &= (self.frame.matrix != 0.0).sum(axis=0) == 1
            fit = polish(rows[part], z[part], fit, own=own)
            fit = prune(rows[part], z[part], fit, own)
        off = misfit(fit, rows, z)
        if off < self.off:
            self.fit, self.off = self.frame.restore(fit), off

    def located(
        self, first: Rows, later: Rows, separated: Floats, shares: Floats, extra: tuple[Rows, Rows, Floats]
    ) -> list[Located]:
        """Representers and γ, as far as the algebra tells; more than once where it leaves open what is the bias."""
        rows, beside, answered = extra
        width = self.outputs
        blocks = separated.reshape(len(first), width, -1)
        known = (blocks[1:] * blocks[0]).sum(axis=1) / np.maximum((blocks[0] ** 2).sum(axis=0), 1e-300)
        system = (shares[:, : len(beside)].T[:, None, :] * blocks[0]).reshape(-1, self.rank)
        whole = ~np.isnan(answered).any(axis=(1, 2))
        if whole.any():
            solved = linalg.lstsq(system, answered[whole].reshape(int(whole.sum()), -1).T)[0].T
            known, rows = np.concatenate([known, solved]), rows[whole]
        else:
            rows = rows[:0]
        inside = self.encoded(np.concatenate([first, rows]), self.groups.first)
        outside = self.encoded(later, self.groups.later)
        parts = [Logs.of(known, inside[1:], inside[0]), Logs.of(shares[:, 1:].T, outside[1:], outside[0])]
        told = [[part.without(bias) for part in parts] for bias in biases(parts)]
        found = [locate(self.view, one, self.by_column) for one in told]
        return [one for one in found if one is not None]

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
            raise Unsolved("the columns have too few different values to tell representers apart")
        return rows[chosen]

    def part(self, count: int, unknowns: int) -> npt.NDArray[np.int64]:
        """Rows that take part in a fit of so many unknowns."""
        enough = max(1_000, math.ceil(_ROWS * unknowns / self.outputs))
        return np.sort(child(self.rng, "fit").permutation(count)[:enough])


def _whole(table: Floats) -> npt.NDArray[np.bool_]:
    """The columns of a table (n₁, n₂, c − 1) in which nothing is missing."""
    return np.asarray(~np.isnan(table).any(axis=(0, 2)))


def _matrix(table: Floats) -> Floats:
    """A table (n₁, n₂, c − 1) as a matrix of shape (n₁ (c − 1), n₂)."""
    return table.transpose(0, 2, 1).reshape(table.shape[0] * table.shape[2], table.shape[1])
