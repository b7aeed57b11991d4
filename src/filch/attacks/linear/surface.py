"""The conversation of `lowd_meek` over polynomial targets: points of the boundary, each an equation in the weights.

A step along one monomial alone has no pre-image under φ, but a point of the boundary is the pre-image of one of the
hyperplane ``θ·φ(x) = 0``: as many of them as there are weights, less one, fix θ up to scale. They are found by line
searches between rows of both classes, all in lockstep.
"""

from __future__ import annotations

import operator
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import linalg

from filch.attacks.search import Bracket, narrow
from filch.core.answers import Answers
from filch.core.attack import Ask, lockstep
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.models.polynomial import Monomials, PolynomialModel

Floats = npt.NDArray[np.float64]
_FIRST, _MOST_LOOK = 16, 4_096  # rows of a look for both classes, which doubles
_SPARE = 0.15  # points beyond the unknowns, for a system in good condition
_PAIRS = 6  # rounds in which ends are looked for where categories and steps keep rows apart
_SAMPLE, _NEAREST = 4_096, 8  # the fit is checked on some of so many times `check` uniform rows closest to it
_SHARES = operator.attrgetter("middle"), operator.attrgetter("low"), operator.attrgetter("high")
_CLEAR = 6.0  # deviations from the boundary at which a label is certain
_WRONG = 0.01  # of labels given otherwise, above which more than one polynomial may be 0 at all points


@dataclass(eq=False)
class Surface:
    """What is known of the boundary so far."""

    spec: OracleSpec
    view: Monomials
    rng: np.random.Generator
    rows: list[Rows] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    points: list[Bracket] = field(default_factory=list)

    def __post_init__(self) -> None:
        space = self.spec.space
        self.moves = (space.high > space.low) & (space.grid == 0)
        self.apart = bool(((space.high > space.low) & ~self.moves).any())
        self.wanted = self.view.size - 1 + max(4, int(_SPARE * self.view.size))

    @property
    def seen(self) -> set[int]:
        """The classes that were seen."""
        return set(self.labels)

    def see(self, answers: Answers) -> None:
        """Keep rows and labels."""
        given = answers.given
        if given.labels is not None:
            whole = (given.rows >= np.where(self.spec.space.categorical, 0, -np.inf)).all(axis=1)
            self.rows += list(given.rows[whole])
            self.labels += given.labels[whole].tolist()

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def look(self, known: Answers) -> Generator[Ask, Answers, None]:
        """Ask uniform rows and corners until both classes are seen."""
        self.see(known)
        looked = 0
        while len(self.seen) < 2:
            count = min(max(_FIRST, looked), _MOST_LOOK)
            self.see((yield Ask(self._spread(count, f"look {looked}"), "both classes", snapshot=self.model)))
            looked += count

    def find(self, precision: float) -> Generator[Ask, Answers, None]:
        """Ask the ends of as many lines as there are unknowns, and search each for the boundary."""
        self.see((yield Ask(self._spread(self.wanted, "ends"), "ends", snapshot=self.model)))
        for number in range(_PAIRS if self.apart else 1):
            missing = self.wanted - len(self.points)
            if missing <= 0:
                break
            rng = child(self.rng, "pairs", str(number))
            yield from (self._met(missing, rng) if self.apart else self._paired(missing, rng))
        yield from lockstep(
            {f"point {number}": narrow(bracket, precision, self._inside) for number, bracket in enumerate(self.points)},
            phase="boundary",
            snapshot=self.model,
        )

    def _paired(self, count: int, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """Lines between rows that were asked, each from another row to one of the other class."""
        labels = np.array(self.labels)
        order = rng.permutation(len(labels))
        order = np.resize(order, count) if len(order) < count else order[-count:]
        for start in order:
            others = np.flatnonzero(labels != labels[start])
            end = int(rng.choice(others))
            self.points.append(Bracket(self.rows[start], self.rows[end], int(labels[start])))
        yield from ()

    def _met(self, count: int, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """Lines from rows that were asked to new ones of the same categories and steps, where classes differ."""
        order = rng.permutation(len(self.labels))[: 4 * count]
        start, labels = np.array(self.rows)[order], np.array(self.labels)[order]
        ends = np.where(self.moves, self._spread(len(start), f"other ends {rng.integers(2**32)}"), start)
        answers = yield Ask(ends, "ends", snapshot=self.model)
        if answers.labels is None:
            return
        good = np.flatnonzero(~answers.refused & (answers.labels != labels))[:count]
        self.points += [Bracket(start[i], answers.rows[i], int(labels[i])) for i in good]
        self.see(answers)

    def check(self, count: int) -> Generator[Ask, Answers, tuple[int, int]]:
        """Ask rows whose labels are certain, of those closest to the boundary; how many agree, of how many."""
        model, rng = self.model(), child(self.rng, "check")
        assert model is not None
        rows = self.spec.space.sample(_SAMPLE, rng)
        certain = np.abs(model.decision_function(rows)) > _CLEAR * self._deviation(self.view.matrix(rows), model.coef_)
        rows = rows[certain] if certain.sum() >= count else rows
        near = np.abs(model.decision_function(rows)).argsort()[: _NEAREST * count]
        rows = rows[rng.permutation(near)[:count]]
        wanted = (model.decision_function(rows) > 0).astype(np.int64)
        answers = yield Ask(rows, "check", "selection", self.model)
        given = ~answers.refused
        assert answers.labels is not None
        return int((answers.labels == wanted)[given].sum()), int(given.sum())

    # ── the fit ─────────────────────────────────────────────────────────────────────────────────────────

    def model(self) -> PolynomialModel | None:
        """The polynomial that is closest to 0 at all points; a constant while one class only is seen."""
        if not self.labels:
            return None
        weights = np.zeros(self.view.size)
        weights[-1] = 1.0 if 2 * sum(self.labels) > len(self.labels) else -1.0
        if self.points:
            weights = self._fitted()
        return self.view.model(weights, self.spec.classes or ())

    def _fitted(self) -> Floats:
        matrix = self.view.matrix(np.array([bracket.row for bracket in self.points]))
        asked, labels = self.view.matrix(np.array(self.rows)), np.array(self.labels) == 1
        degrees = (self.view.factors < len(self.view.kept)).sum(axis=1)
        best, fewest = np.zeros(self.view.size), 1.0
        for degree in range(self.view.degree, 0, -1):
            weights = np.zeros(self.view.size)
            weights[degrees <= degree] = linalg.svd(matrix[:, degrees <= degree])[2][-1]
            wrong = float(((asked @ weights > 0) != labels).mean())
            if min(wrong, 1 - wrong) < fewest:
                best, fewest = weights if wrong <= 0.5 else -weights, min(wrong, 1 - wrong)
            if fewest <= _WRONG:
                break  # else the target may be of a lower degree: a factor is free then
        return best

    def _deviation(self, design: Floats, weights: Floats) -> Floats:
        """How far scores of rows may be off for what brackets leave open, of shape (n,)."""
        points, low, high = (
            self.view.matrix(np.array([self._inside(b.at(share(b))) for b in self.points])) for share in _SHARES
        )
        noise = float(np.sqrt(np.mean(((high - low) @ weights) ** 2) / 12))
        values, right = linalg.svd(points, full_matrices=True)[1:]
        values = np.append(values, np.zeros(self.view.size - len(values)))[:-1]  # along the weights nothing is open
        return np.asarray(noise * np.linalg.norm((design @ right[:-1].T) / np.maximum(values, 1e-12), axis=1))

    def evidence(self) -> dict[str, object]:
        """Numbers behind the outcome."""
        return {
            "weights": self.view.size,
            "points of the boundary": len(self.points),
            "widest bracket": max((bracket.high - bracket.low for bracket in self.points), default=None),
        }

    # ── rows ────────────────────────────────────────────────────────────────────────────────────────────

    def _spread(self, count: int, name: str) -> Rows:
        """Uniform rows, and as many with their continuous columns in corners."""
        space, rng = self.spec.space, child(self.rng, name)
        rows = space.sample(count, rng)
        corners = np.where(rng.random(rows.shape) < 0.5, space.low, space.high)
        rows[1::2] = np.where(self.moves, corners, rows)[1::2]
        return rows

    def _inside(self, row: Rows) -> Rows:
        return np.asarray(np.clip(row, self.spec.space.low, self.spec.space.high))
