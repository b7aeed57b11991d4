"""Rows in which two classes' scores tie, inside the ranges, on the grid and in the vocabulary, that tell most.

On the way from one row to another that the mean labels otherwise, column by column, two classes' scores change places,
and none is above them. Of many such rows those are asked whose labels take most of the expected disagreement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from filch.attacks.linear.contests import ClassBelief, worth
from filch.attacks.linear.design import Design
from filch.core.features import Rows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_SAMPLE, _BESIDE = 2_048, 192  # uniform rows drawn each round, and those of them closest to a boundary
_POOL = 96, 6  # ties looked through each round, and more of them for each row wanted
_FAR_ENDS = 3  # one in so many ways ends where a class is at its best
_TRIES = 4  # pools without a row that tells anything, after which there is nothing left to tell
_FINE = 1 / 3  # of the distance within which rows are beside a boundary: a deviation so much smaller is fine
_OPEN = 3.3  # deviations
_LEAST = 1e-8  # of the weights' length: differences known so well are not asked for, for labels may come of rounding
_OWN = 16  # of the rows beside a boundary that are themselves looked through, and one more for each row wanted
_TELLS = 0.002  # of a variance: a label that takes less is as good as known


def leaders(scores: Floats) -> tuple[Ints, Ints]:
    """The classes of the highest and the second highest score of each row."""
    top = np.argpartition(scores, -2, axis=1)[:, -2:]
    each = np.arange(len(scores))
    swap = scores[each, top[:, 0]] > scores[each, top[:, 1]]
    return np.where(swap, top[:, 0], top[:, 1]), np.where(swap, top[:, 1], top[:, 0])


@dataclass(frozen=True, eq=False)
class Beside:
    """Uniform rows close to a boundary, between the two classes with the highest scores; those least sure first."""

    rows: Rows
    along: Floats
    """What the differences of these scores are made of, times the root of the covariance; (n, (c − 1) p)."""
    deviation: Floats
    """Their standard deviations, of shape (n,)."""
    gap: Floats
    """Their means, of shape (n,)."""
    disagreement: float = field(init=False)
    """The expected share of uniform rows that the mean labels otherwise than the target."""
    open: float = field(init=False)
    """The part of it whose labels are known by fewer than 3.3 deviations: of others no label tells much."""
    weight: Floats = field(init=False)
    """How much of that a smaller variance of each difference saves, of shape (n,); up to one factor for all."""

    def __post_init__(self) -> None:
        reach = max(float(self.gap.max()), 1e-300)
        margin = self.gap / self.deviation
        # Where the boundary is known to less than the rows' distance from it, that distance may be any one.
        fine = self.deviation < _FINE * reach
        chance = np.where(fine, self.deviation / math.sqrt(2 * math.pi) / reach, ndtr(-margin))
        object.__setattr__(self, "disagreement", float(chance.sum()) / _SAMPLE)
        object.__setattr__(self, "open", float(chance[fine | (margin < _OPEN)].sum()) / _SAMPLE)
        dense = np.where(fine, 0.5 / reach, np.exp(-0.5 * margin**2) / math.sqrt(2 * math.pi) / self.deviation)
        object.__setattr__(self, "weight", dense / self.deviation)


@dataclass(eq=False)
class Ties:
    """Chooses rows.

    Parameters
    ----------
    design : Design
    draws : Generator
    """

    design: Design
    draws: np.random.Generator
    asked: set[bytes] = field(default_factory=set)
    """Rows that were asked."""

    def __post_init__(self) -> None:
        self.space = self.design.space

    def new(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which rows were not asked yet, of shape (n,)."""
        return np.array([row.tobytes() not in self.asked for row in rows], dtype=bool)

    def anywhere(self, n: int) -> Rows:
        """New rows, uniform ones and corners, of shape (≤ n, d)."""
        rows = np.concatenate([self.space.sample(n, self.draws), self.corners(n)])
        rows = np.unique(rows, axis=0)
        rows = self.draws.permutation(rows[self.new(rows)])[:n]
        self.asked.update(row.tobytes() for row in rows)
        return np.asarray(rows)

    def corners(self, n: int) -> Rows:
        """Rows of ends of ranges and of categories, of shape (n, d)."""
        space = self.space
        low, high = space.low, space.high
        rows = np.where(self.draws.random((n, len(space))) < 0.5, low, high)
        categories = space.categorical
        rows[:, categories] = space.sample(n, self.draws)[:, categories]
        return np.asarray(space.snap(rows))

    def far(self, weights: Floats) -> Rows:
        """The rows with the highest scores under weights (n, p), of shape (n, d)."""
        space, view = self.space, self.design.view
        whole = np.zeros((len(weights), view.width))
        whole[:, self.design.kept] = weights[:, :-1]
        rows = np.empty((len(weights), len(space)))
        for column, (start, width) in enumerate(zip(view.starts, view.widths, strict=True)):
            block = whole[:, start : start + width]
            if space.categorical[column]:
                rows[:, column] = block.argmax(axis=1)
            else:
                rows[:, column] = np.where(block[:, 0] > 0, space.high[column], space.low[column])
        return np.asarray(space.snap(rows))

    def between(self, belief: ClassBelief, starts: Rows, ends: Rows) -> Rows:
        """Rows on the way from starts to ends, of other labels under the mean, at which the label changes."""
        n, d = starts.shape
        each = np.arange(n)
        first = belief.scores(self.design.matrix(starts)).argmax(axis=1)
        good = first != belief.scores(self.design.matrix(ends)).argmax(axis=1)
        starts, ends, first = starts[good], ends[good], first[good]
        n, each = len(starts), np.arange(len(starts))
        if not n:
            return starts
        order = np.argsort(self.draws.random((n, d)), axis=1)
        rank = np.argsort(order, axis=1)
        low, high = np.zeros(n, dtype=np.int64), np.full(n, d)
        while (high - low > 1).any():  # at most log2 d times
            middle = (low + high) // 2
            rows = np.where(rank < middle[:, None], ends, starts)
            same = belief.scores(self.design.matrix(rows)).argmax(axis=1) == first
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        near, past = (np.where(rank < k[:, None], ends, starts) for k in (low, high))
        column = order[each, low]
        numeric = ~self.space.categorical[column]
        a, b = (belief.scores(self.design.matrix(rows)) for rows in (near, past))
        lead = a[each, first][:, None] - a
        slope = lead - (b[each, first][:, None] - b)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(slope > 0, lead / slope, np.inf)
        share[each, first] = np.inf
        share = np.clip(share.min(axis=1), 0.0, 1.0)
        moved = near[each, column] + share * (past[each, column] - near[each, column])
        rows = near.copy()
        rows[each, column] = np.where(numeric, moved, np.where(share < 0.5, near[each, column], past[each, column]))
        return np.asarray(self.space.snap(rows))

    def best_of(self, belief: ClassBelief, classes: Ints, others: Ints, n: int) -> Rows:
        """New rows, of shape (≤ n, d), in which one of ``classes`` may be furthest above one of ``others``."""
        weights, each = belief.weights + belief.draws(n, self.draws), np.arange(n)
        rows = self.far(weights[each, self.draws.choice(classes, n)] - weights[each, self.draws.choice(others, n)])
        rows = np.unique(rows, axis=0)
        rows = rows[self.new(rows)]
        self.asked.update(row.tobytes() for row in rows)
        return np.asarray(rows)

    def pool(self, belief: ClassBelief, n: int) -> Rows:
        """Rows to choose from, of shape (≤ 2 n, d): ties, and rows in which a class is at its best."""
        draws, half = self.draws, n // 2
        weights = belief.weights + belief.draws(n, draws)
        each = np.arange(n)
        best, worst = (draws.integers(belief.classes, size=n) for _ in range(2))
        far = self.far(weights[each, best] - weights[each, worst])
        starts, ends = (np.concatenate([self.space.sample(half, draws), self.corners(n - half)]) for _ in range(2))
        ends[::_FAR_ENDS] = far[::_FAR_ENDS]
        return np.concatenate([self.between(belief, starts, ends), far[: max(n // 4, 1)], starts[: max(n // 8, 1)]])

    def choose(self, belief: ClassBelief, batch: int, beside: Beside) -> Rows:
        """The next rows to ask, of shape (≤ batch, d); none where no label is open."""
        for _ in range(_TRIES):
            pool = self.pool(belief, _POOL[0] + _POOL[1] * batch)
            rows = np.unique(np.concatenate([pool, beside.rows[: _OWN + batch]]), axis=0)
            rows = rows[self.new(rows)]
            if len(rows) and len(chosen := self.best(belief, self.design.matrix(rows), batch, beside)):
                self.asked.update(row.tobytes() for row in rows[chosen])
                return np.asarray(rows[chosen])
        return rows[:0]

    def best(self, belief: ClassBelief, matrix: Floats, batch: int, beside: Beside) -> list[int]:
        """Which rows of a design take most of the expected disagreement, each with those before it known."""
        scores = belief.scores(matrix)
        above, below = leaders(scores)
        each = np.arange(len(matrix))
        gap = scores[each, above] - scores[each, below]
        along = belief.along(matrix, above, below)
        inner, cross = along @ along.T, along @ beside.along.T
        chosen: list[int] = []
        length = float(np.linalg.norm(belief.mean))
        for _ in range(batch):
            variance = np.maximum(inner.diagonal(), 1e-300)
            told = worth(gap / np.sqrt(variance))
            tells = (told > _TELLS) & (variance > (_LEAST * length) ** 2)
            gain = np.where(tells, told * ((cross**2) @ beside.weight) / variance, -np.inf)
            gain[chosen] = -np.inf
            i = int(gain.argmax())
            if gain[i] == -np.inf:
                break
            chosen.append(i)
            part = told[i] / variance[i]
            cross = cross - part * np.outer(inner[:, i], cross[i])
            inner = inner - part * np.outer(inner[:, i], inner[i])
        return chosen

    def beside(self, belief: ClassBelief) -> Beside:
        """The rows beside a boundary, of uniform ones."""
        rows = self.space.sample(_SAMPLE, self.draws)
        matrix = self.design.matrix(rows)
        scores = belief.scores(matrix)
        above, below = leaders(scores)
        each = np.arange(len(matrix))
        gap = scores[each, above] - scores[each, below]
        near = gap.argpartition(_BESIDE)[:_BESIDE]
        along = belief.along(matrix[near], above[near], below[near])
        deviation = np.sqrt(np.maximum((along**2).sum(axis=1), 1e-300))
        order = (gap[near] / deviation).argsort()
        return Beside(rows[near[order]], along[order], deviation[order], gap[near[order]])
