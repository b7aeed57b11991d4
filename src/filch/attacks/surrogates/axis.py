"""Axis-parallel searches: from two rows of different labels to one column, and the place where it flips the label."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filch.attacks.surrogates.boundary import Ints, Segments
from filch.core.answers import Answers
from filch.core.attack import Ask
from filch.core.features import FeatureSpace, Rows

Asking = Callable[[Rows, str], Generator[Ask, Answers, Answers]]
"""Asks those of the rows that are new and within the budget."""


@dataclass(eq=False)
class AxisSearch:
    """Searches side by side, each between two rows, until these differ in one column by little.

    First columns are halved, at random, then the value of the one that is left: log₂ d and ``halvings`` queries each.
    A search ends early where a row is refused, was asked before, or lies on no finer step of its column.

    Parameters
    ----------
    space : FeatureSpace
    x, y : (n, d)
        Rows of different labels; moved towards each other.
    label : (n,) int
        The label of each row of ``x``.
    """

    space: FeatureSpace
    x: Rows
    y: Rows
    label: Ints
    column: Ints = field(init=False)
    """The column that flips the label, of shape (n,); −1 where it was not found."""

    def __post_init__(self) -> None:
        self.column = np.full(len(self.x), -1)

    @classmethod
    def between(cls, segments: Segments) -> AxisSearch:
        """Search along segments."""
        return cls(segments.space, segments.a.copy(), segments.b.copy(), segments.label)

    def run(self, ask: Asking, halvings: int, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """Halve the columns, then the values."""
        alive = np.ones(len(self.x), dtype=bool)
        for _ in range(2 * int(np.log2(len(self.space)) + 2)):
            differ = self.x != self.y
            (todo,) = np.nonzero(alive & (differ.sum(axis=1) > 1))
            if not len(todo):
                break
            order = (
                np.where(differ[todo], rng.random((len(todo), len(self.space))), 2.0).argsort(axis=1).argsort(axis=1)
            )
            half = order < (differ[todo].sum(axis=1) // 2)[:, None]
            moved = yield from self._step(ask, todo, np.where(half, self.y[todo], self.x[todo]))
            alive[todo] = moved
        differ = self.x != self.y
        (todo,) = np.nonzero(alive & (differ.sum(axis=1) == 1))
        self.column[todo] = differ[todo].argmax(axis=1)
        todo = todo[~self.space.categorical[self.column[todo]]]
        for _ in range(halvings):
            middle = self.space.snap((self.x[todo] + self.y[todo]) / 2)
            middle = np.where(self.x[todo] == self.y[todo], self.x[todo], middle)  # which a step may round away from
            finer = (middle != self.x[todo]).any(axis=1) & (middle != self.y[todo]).any(axis=1)
            todo, middle = todo[finer], middle[finer]
            if not len(todo):
                break
            todo = todo[(yield from self._step(ask, todo, middle))]

    def _step(self, ask: Asking, todo: Ints, rows: Rows) -> Generator[Ask, Answers, npt.NDArray[np.bool_]]:
        """Ask a row of each search and move an end there; which of the searches were answered."""
        answers = (yield from ask(rows, "axis search")).given
        labels = np.empty(0, dtype=np.int64) if answers.labels is None else answers.labels
        told = {row.tobytes(): label for row, label in zip(answers.rows, labels.tolist(), strict=True)}
        found = np.array([told.get(row.tobytes(), -1) for row in rows])
        same = found == self.label[todo]
        other = (found >= 0) & ~same
        self.x[todo[same]], self.y[todo[other]] = rows[same], rows[other]
        return found >= 0
