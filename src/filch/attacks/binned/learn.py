"""What a search for an additive model has learned so far, and how it asks attributes alone."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from filch.attacks.binned.lines import Line, Point
from filch.attacks.binned.view import View
from filch.core.answers import Answers
from filch.core.attack import Account, Ask
from filch.core.features import Categorical
from filch.core.oracle import OracleSpec
from filch.models.additive import AdditiveLink, AdditiveModel, Part

Floats = npt.NDArray[np.float64]
Told = tuple[Floats, float] | None
"""What a row adds, (k,), and its error; None if that was refused or tells nothing."""
EXACT = 1e-12
"""Answers rounded more coarsely than this are asked one attribute at a time."""
_AGAIN = 6  # times that a refused row is asked


@dataclass(eq=False)
class Learner:
    """What one search has learned, and how it asks.

    Parameters
    ----------
    spec : OracleSpec
    rng : Generator
    epsilon : float
        How far an edge may be off, in shares of its attribute's range.
    paper : bool
        Whether to ask one attribute at a time, down to intervals of ε.
    ovr : bool, default True
        Whether answers that are no sums may be those of one-vs-rest.
    """

    spec: OracleSpec
    rng: np.random.Generator
    epsilon: float
    paper: bool
    ovr: bool = True
    heard: list[Answers] = field(default_factory=list)
    categories: dict[int, dict[int, Point]] = field(default_factory=dict)
    deferred: list[tuple[int, float]] = field(default_factory=list)
    """Columns with values that wait to ride with other queries."""
    unknown: Point | None = None
    """What unknown values of all categorical columns add together."""
    link: Literal["identity", "softmax", "ovr"] = "softmax"
    fitted: AdditiveModel | None = None
    threshold: float = 0.5

    def __post_init__(self) -> None:
        space = self.spec.space
        self.view = View(self.spec)
        self.link = "identity" if self.spec.classes is None else "softmax"
        self.k = max(1, self.spec.n_classes - 1)
        self.lines = {}
        for column in np.flatnonzero(~space.categorical).tolist():
            low, high = float(space.low[column]), float(space.high[column])
            width = self.epsilon * (high - low) * (1.0 if self.paper else 2.0)
            self.lines[column] = Line(column, low, high, float(space.grid[column]), width)
        self.moving = [line for line in self.lines.values() if line.high > line.low]
        self.alone = self.paper

    def ask(
        self, places: list[dict[int, float]], phase: str, account: Account = "attack"
    ) -> Generator[Ask, Answers, list[Told]]:
        """Ask rows that give a few attributes each; what each adds to the base row."""
        if not places:
            return []
        rows = np.array([self.view.row(given) for given in places])
        answers = yield Ask(rows, phase, account, self.snapshot)
        self.heard.append(answers)
        added, errors = self.view.added(answers)
        return [(v, float(e)) if np.isfinite(e) else None for v, e in zip(added, errors, strict=True)]

    def singles(self) -> Generator[Ask, Answers, None]:
        """The upper end of each numeric attribute, and each category, alone."""
        space, open_ = self.spec.space, self.spec.omission
        wanted = [(line.column, line.high) for line in self.lines.values() if open_ or line.high > line.low]
        for column in np.flatnonzero(space.categorical).tolist():
            self.categories[column] = {} if open_ else {0: Point(np.zeros(self.k), 0.0)}
            codes = range(0 if open_ else 1, int(space.sizes[column]))
            self.deferred += [(column, float(code)) for code in codes]
        if open_ and self.categories:
            self.deferred.append((-1, -1.0))  # unknown values of all columns at once
        if self.paper or len(self.moving) < 2:
            wanted, self.deferred = [*wanted, *self.deferred], []
        if not open_:
            for line in self.moving:
                line.learn(line.low, Point(np.zeros(self.k), 0.0))
        yield from self.learn(wanted, "alone")

    def learn(self, wanted: list[tuple[int, float]], phase: str) -> Generator[Ask, Answers, None]:
        """Ask attributes alone, and remember what they add; what is refused, again or nearby."""
        for turn in range(_AGAIN):
            found = yield from self.ask([self.given(*item) for item in wanted], phase)
            rest = []
            for (column, x), told_ in zip(wanted, found, strict=True):
                if told_ is None:
                    rest.append((column, self.near(column, x, turn + 1)))
                else:
                    self.keep((column, x), Point(*told_))
            wanted = rest

    def near(self, column: int, x: float, turn: int) -> float:
        """Another place for one that was refused: an attribute's ends move inwards."""
        line = self.lines.get(column)
        if line is None or line.step:
            return x
        inward = -1.0 if x > line.place(0.5) else 1.0
        return x + inward * turn * self.epsilon * (line.high - line.low)

    def relearn(self, answers: Answers) -> None:
        """Widen the errors of what was learned before rounding was noticed."""
        self.view.centre(self.heard[0])
        for row, value, error in zip(answers.rows, *self.view.added(answers), strict=True):
            given = np.flatnonzero(~((row == self.view.base) | (np.isnan(row) & np.isnan(self.view.base))))
            if len(given) == 1 and np.isfinite(error):
                column, point = int(given[0]), Point(value, float(error))
                if column in self.lines:
                    self.lines[column].learn(float(row[column]), point)
                else:
                    self.categories[column][int(row[column])] = point

    def given(self, column: int, x: float) -> dict[int, float]:
        """What to give of a row for an item; column −1 stands for unknown values of all categorical columns."""
        return {c: -1.0 for c in self.categories} if column < 0 else {column: x}

    def keep(self, item: tuple[int, float], point: Point) -> None:
        """Remember what an item adds."""
        column, x = item
        if column in self.lines:
            self.lines[column].learn(x, point)
        elif column >= 0:
            self.categories[column][int(x)] = point
        elif self.unknown is None:
            self.unknown = point
            if np.abs(point.value).max() <= point.error:
                return
            if len(self.categories) == 1:
                self.categories[next(iter(self.categories))][-1] = point
            else:  # unknown values count, so each column's is asked
                self.deferred += [(c, -1.0) for c in self.categories]

    def parts(self) -> tuple[Part, ...]:
        """The attributes' functions so far, with k scores (of a softmax, those of all classes but the first)."""
        found = []
        for column, size in enumerate(self.spec.space.sizes.tolist()):
            if not size:
                found.append(self.lines[column].part(self.k))
                continue
            values = np.zeros((size + 1, self.k))
            for code, point in self.categories.get(column, {}).items():
                values[code] = point.value
            found.append(Part(np.empty(0), values))
        return tuple(found)

    def snapshot(self) -> AdditiveModel | None:
        """The best model so far."""
        if self.view.origin is None:
            return None
        if self.fitted is not None:
            return self.fitted
        parts, origin = self.parts(), self.view.origin
        # In terms of all parts, the base row's own values are part of what it adds.
        if self.link != "identity":
            parts = tuple(_widened(part) for part in parts)
            origin = np.concatenate([[0.0], origin])
        link: AdditiveLink = "identity" if self.link == "identity" else "softmax"
        return AdditiveModel(self.spec.space, self.spec.classes, origin, parts, link, self.threshold)

    def evidence(self) -> dict[str, object]:
        """What was found, by number; "places" are those of the attribute that took most, so many queries at least."""
        space = self.spec.space
        idle = dict[str, list[str]]()
        for column, codes in self.categories.items():
            feature = space.features[column]
            assert isinstance(feature, Categorical)
            none = [c for c, point in codes.items() if c >= 0 and np.abs(point.value).max() <= point.error]
            idle[feature.name] = [str(feature.categories[code]) for code in none]
        return {
            "link": self.link,
            "linear": [space.names[line.column] for line in self.moving if line.linear is not None],
            "edges": {space.names[c]: len(line.edges) for c, line in self.lines.items() if line.linear is None},
            "places": max((len(line.points) for line in self.lines.values()), default=0),
            "values without effect": {name: values for name, values in idle.items() if values and self.spec.omission},
            "rounded to": self.view.coarse,
        }


def _widened(part: Part) -> Part:
    """With the scores of the first class, 0, in front."""
    zero = np.zeros((len(part.values), 1))
    slope = None if part.slope is None else np.concatenate([[0.0], part.slope])
    return Part(part.edges, np.hstack([zero, part.values]), slope)
