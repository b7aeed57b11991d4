"""Which rows `halfspace` asks: those whose labels are most open, and tell most of what is."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from filch.attacks.linear.halfspaces import LabelBelief
from filch.core.features import FeatureSpace, Rows

Floats = npt.NDArray[np.float64]
_POOL, _POOL_DISCRETE = 4, 24  # directions of which the best row is asked
_TRIES = 8  # pools without a row that tells anything, after which there is nothing left to tell
_INSIDE = 32  # uniform rows, and as many moved to the boundary, that are looked through from the second pool on
_TELLS = 0.01  # of a variance: a label that takes less is as good as known
_FINE = 0.3  # of the precision: scores known so well need no further row


class View(Protocol):
    """Turns rows into what scores are linear in."""

    @property
    def space(self) -> FeatureSpace:
        """The raw columns."""
        ...

    @property
    def size(self) -> int:
        """The number of weights, the bias among them."""
        ...

    def matrix(self, rows: Rows) -> Floats:
        """The view of rows, of shape (n, size); the last column is ones."""
        ...


class Boundary(Protocol):
    """Makes rows close to boundaries: `filch.attacks.linear.halving.Halving`, or `.crossings.Crossings`."""

    def rows(self, mean: Floats, ways: Floats, deviation: float, rng: np.random.Generator) -> Rows:
        """Rows with a score near 0 under ``mean`` that lie far out along ``ways``."""
        ...

    def near(self, rows: Rows, mean: Floats, deviation: float) -> Rows:
        """Rows moved towards the boundary of ``mean``."""
        ...


@dataclass(eq=False)
class Asking:
    """Chooses rows.

    Parameters
    ----------
    design : View
    boundary : Boundary
    matrix : (n, p)
        Design rows of uniform rows, which stand for the space.
    metric : (p,)
        What the variance of each weight adds to that of the scores.
    precision : float
        Scores known so well, in shares of the weights' length, need no further row.
    batch : int
    draws : Generator
    """

    design: View
    boundary: Boundary
    matrix: Floats
    metric: Floats
    precision: float
    batch: int
    draws: np.random.Generator
    asked: set[bytes] = field(default_factory=set)
    """Rows that were asked."""

    def __post_init__(self) -> None:
        self.space = self.design.space
        self.pool = _POOL_DISCRETE if (self.space.grid > 0)[self.space.high > self.space.low].any() else _POOL

    def new(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which rows were not asked yet, of shape (n,)."""
        return np.array([row.tobytes() not in self.asked for row in rows], dtype=bool)

    def choose(self, belief: LabelBelief, single: bool) -> Rows:
        """The next rows to ask, of shape (≤ batch, d); none where no label is open.

        ``single`` says that one class only was seen, so that the boundary may be anywhere.
        """
        belief = copy.copy(belief)
        rows: list[Rows] = []
        while len(rows) < self.batch:
            # Half of the rows then come from anywhere.
            found = self.anywhere() if single and len(self.asked) % 2 else self.best(belief)
            if found is None and single:
                found = self.anywhere()
            if found is None:
                break
            self.asked.add(found.tobytes())
            rows.append(found)
            if self.batch > 1:
                belief.expect(self.design.matrix(found[None])[0])
        return np.array(rows).reshape(-1, len(self.space))

    def best(self, belief: LabelBelief) -> Rows | None:
        """Of rows beside the boundary that were not asked yet, the one whose label tells most; None if none does."""
        deviation = float(np.sqrt(np.median(belief.variance(self.matrix[:64]))))
        fine = _FINE * self.precision * float(np.linalg.norm(belief.mean))
        for number in range(_TRIES):
            ways = self.draws.standard_normal((self.pool, self.design.size)) @ belief.root.T
            best: tuple[float, Rows] | None = None
            for _ in range(2):
                rows = self.boundary.rows(belief.mean, ways, deviation, self.draws)
                if number:  # the far ends of the boundary are asked already
                    inside = self.space.sample(_INSIDE, self.draws)
                    rows = np.concatenate([rows, inside, self.boundary.near(inside, belief.mean, deviation)])
                matrix = self.design.matrix(rows)
                tells = belief.deviation(matrix) > fine
                tells &= belief.worth(belief.margins(matrix)) > _TELLS
                tells &= self.new(rows)
                gain = np.where(tells, belief.gain(matrix, self.metric), -np.inf)
                place = int(gain.argmax())
                if tells.any() and (best is None or gain[place] > best[0]):
                    best = float(gain[place]), rows[place]
                ways = ((matrix @ belief.root) @ belief.root.T)[: self.pool]
            if best is not None:
                return best[1]
        return None

    def anywhere(self) -> Rows | None:
        """A row that was not asked yet: uniform, or a corner, where scores are largest."""
        rows = self.space.sample(2 * _TRIES, self.draws)
        ends = np.where(self.draws.random(rows.shape) < 0.5, self.space.low, self.space.snap(self.space.high[None]))
        rows[::2] = np.where(self.space.categorical, rows, ends)[::2]
        rows = self.draws.permutation(rows)
        return next((row for row in rows if row.tobytes() not in self.asked), None)
