"""Rows that pin down a linear model: one base row, and one row for each free encoded column.

Changing one column at a time keeps answers near the base row's, away from saturation, and the system well
conditioned. A one-hot block of k categories has k − 1 free columns over complete rows (its columns sum to 1), and k
where features may be omitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows
from filch.core.seeds import child
from filch.models.logistic import Link, LogisticModel

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """The free linear view of a feature space.

    Parameters
    ----------
    space : FeatureSpace
    omission : bool
        Whether rows may leave categorical features out.
    """

    space: FeatureSpace
    omission: bool = False

    @cached_property
    def view(self) -> OneHot:
        """The encoded view."""
        return OneHot(self.space)

    @cached_property
    def kept(self) -> npt.NDArray[np.int64]:
        """The encoded columns that are free: no constant columns, and not the first of a block unless omissible."""
        varies = self.space.high > self.space.low
        columns: list[int] = []
        for column, (start, width) in enumerate(zip(self.view.starts, self.view.widths, strict=True)):
            if self.space.categorical[column]:
                columns += range(start + (not self.omission), start + width)
            elif varies[column]:
                columns.append(start)
        return np.array(columns, dtype=np.int64)

    @property
    def size(self) -> int:
        """The number of unknowns of one score, bias included: the rows that a linear model needs."""
        return len(self.kept) + 1

    def matrix(self, rows: Rows) -> Floats:
        """The design matrix of rows, of shape (n, size); the last column is ones."""
        return np.column_stack([self.view.encode(rows)[:, self.kept], np.ones(len(rows))])

    def weights(self, solution: Floats) -> tuple[Floats, Floats]:
        """Turn a solution of shape (size, c) into weights (c, width) over all encoded columns, and biases (c,)."""
        coef = np.zeros((solution.shape[1], self.view.width))
        coef[:, self.kept] = solution[:-1].T
        return coef, solution[-1].copy()

    def model(self, solution: Floats, link: Link, classes: tuple[Any, ...]) -> LogisticModel:
        """The model of a solution of shape (size, c), in its canonical form."""
        coef, intercept = self.weights(solution)
        if link == "logistic":
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        return LogisticModel(self.space, classes, coef, intercept, link, self.omission).canonical()

    @cached_property
    def base(self) -> Rows:
        """The row in the middle of all ranges, with the first category of each column, of shape (d,).

        A range that begins at 0 is taken at 0: a count, an amount or a flag, whose middle is seldom met.
        """
        at_zero = self.space.categorical | (self.space.low == 0.0)
        middle: Rows = self.space.snap(np.where(at_zero, 0.0, self.view.centre)[None])[0]
        return middle

    def rows(self, rng: np.random.Generator) -> Rows:
        """The base row, then one row for each free column, a number moved by half its range; of shape (size, d)."""
        columns, values = self.moves(rng)
        return np.concatenate([self.base[None], self.moved(self.base, columns, values)])

    def moves(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], Rows]:
        """Which raw column each row but the base row moves, and to which value; both of shape (size − 1,).

        In random order, but for numbers of both signs, which come last: they may move a score furthest, and by then the
        answers tell a base row from which that does no harm.
        """
        space = self.space
        half = space.snap((self.base + self.view.scale)[None])[0]
        moves: list[tuple[int, float]] = []
        for column in sorted(
            rng.permutation(len(space)), key=lambda c: not space.categorical[c] and space.low[c] != 0.0
        ):
            values: list[float] = []
            if space.categorical[column]:
                values = [*map(float, range(1, space.sizes[column])), *[np.nan] * self.omission]
            elif space.high[column] > space.low[column]:
                values = [half[column] if half[column] > self.base[column] else space.high[column]]
            moves += [(column, value) for value in values]
        return np.array([column for column, _ in moves], dtype=np.int64), np.array([value for _, value in moves])

    @staticmethod
    def moved(base: Rows, columns: npt.NDArray[np.int64], values: Rows) -> Rows:
        """Copies of a base row, each with one column moved to a value, of shape (n, d)."""
        rows = np.repeat(base[None], len(columns), axis=0)
        rows[np.arange(len(columns)), columns] = values
        return rows

    def completing(self, known: Rows, rng: np.random.Generator) -> Rows:
        """Rows that are still needed for a system of full rank when ``known`` are answered already."""
        rows = self.rows(rng)
        if not len(known):
            return rows
        basis = linalg.orth(self.matrix(known).T)  # (size, rank)
        if basis.shape[1] == self.size:
            return rows[:0]
        matrix = self.matrix(rows).T
        beyond = matrix - basis @ (basis.T @ matrix)
        pivots = linalg.qr(beyond, pivoting=True, mode="economic")[2]
        return rows[np.sort(pivots[: self.size - basis.shape[1]])]

    def varied(self, n: int, rng: np.random.Generator) -> Rows:
        """Random rows in which all categories of a column come equally often, of shape (n, d)."""
        rows = self.space.sample(n, rng)
        for column in np.flatnonzero(self.space.categorical):
            codes = rng.permutation(self.space.sizes[column])
            rows[:, column] = rng.permutation(np.resize(codes, n))
        return rows

    def unseen(self, n: int, rng: np.random.Generator) -> Rows:
        """Uniform rows to hold a fit against, of shape (n, d); a fifth of what may be omitted is."""
        rows = self.space.sample(n, child(rng, "rows"))
        if self.omission:
            leave = child(rng, "omit").random(rows.shape) < 0.2
            rows[leave & self.space.categorical] = np.nan
        return rows

    def between(self, base: Rows, rows: Rows, n: int, rng: np.random.Generator) -> Rows:
        """Random rows on the way from a base row to one of ``rows``, or as far again beyond it, of shape (n, d)."""
        ends, way = rows[rng.integers(len(rows), size=n)], 2 * rng.random((n, 1))
        blend = np.where(self.space.categorical, np.where(way > 0.5, ends, base), base + way * (ends - base))
        return self.space.snap(blend)

    def rank(self, rows: Rows) -> int:
        """The rank of the design matrix of rows."""
        return int(np.linalg.matrix_rank(self.matrix(rows))) if len(rows) else 0


def unasked(rows: Rows, asked: Rows) -> Rows:
    """The rows that are not among those asked, each once, in their order."""
    whole = np.ascontiguousarray(np.concatenate([asked, rows]))
    _, first = np.unique(whole.view(f"V{whole.itemsize * whole.shape[1]}").reshape(-1), return_index=True)
    return rows[np.sort(first[first >= len(asked)]) - len(asked)]
