"""Where and how a network's slopes are measured: the subspace that they span, and points within it."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filch.attacks.doubts import resolution
from filch.attacks.networks.algebra import points_needed, rank
from filch.attacks.networks.fit import Net
from filch.attacks.networks.view import Field, Point, View
from filch.core.answers import Answers
from filch.core.attack import MOST_BYTES, Ask
from filch.core.seeds import child

Floats = npt.NDArray[np.float64]
Asks = Generator[Ask, Answers, None]
STEP, STENCIL = 1e-6, 1e-4
"""Of half a column's range: for slopes, and for second differences."""
NOISE = 1e-5
"""Of the largest slope, from steps of that size."""
_FINE = 1e-10  # answers resolved less finely show no slopes
_NEAREST = 0.2  # of the farthest point's distance from the base row
_SATURATED, _NEARER = 0.35, 0.6  # slopes less than a part of the steepest call points nearer, by a factor
_TRIES = 8  # points that may be saturated before the first that is not
_EXTRA = 0.15  # of the rows asked so far go into points beyond those that are needed, for the last digits
_CLIFF, _FAINT = 100.0, 3e-5  # slopes so faint are noise of curved scores if they end a fall by that factor
_SCOUTS, _WORST = 64, 8  # rows to look for what a network misses, and those of them that become points
_WIDENINGS = 8  # points with units that no other showed
_BEND, _STRAIGHT = 1e-3, 1e-8  # a step that shows curvature, and the part of a slope that is none
_SAME = 1e-4  # change of slopes from point to point, as a part of them, below which scores are linear
_BENDS = 3  # points at which curvature is looked for


@dataclass(eq=False)
class Survey:
    """Slopes of a target's scores, measured by tiny steps.

    Parameters
    ----------
    view : View
        Of a continuous space.
    rng : Generator
    """

    view: View
    rng: np.random.Generator
    field: Field = field(default_factory=Field)
    asked: int = 0
    reach: float = 1.0
    """How far towards the edges of the space points lie; less where units saturate."""
    resolution: float = 0.0
    """Of the first answers, as far as they tell."""

    def __post_init__(self) -> None:
        self.columns = self.view.design.size - 1
        self.basis = np.empty((0, self.columns))
        self.identity = np.eye(self.columns)

    @property
    def full(self) -> bool:
        """Whether slopes span all columns, so that units may outnumber them."""
        return len(self.basis) == self.columns

    # ── the two stages ──────────────────────────────────────────────────────────────────────────────────

    def span(self) -> Generator[Ask, Answers, str]:
        """Measure slopes in all columns at one point after the other, until their span seems known.

        Returns
        -------
        str
            What shows that the target is no smooth network; empty if nothing does.
        """
        rng = child(self.rng, "span")
        base = self.view.matrix(self.view.design.base[None])[:, :-1]
        for _ in range(_TRIES):
            place = self.places(1, rng) if self.asked else self._inside(base)
            yield from self.measure(place, [self.identity], "slopes")
            if self.field.points:
                break
        else:
            return "answers are 0 or 1 wherever they were asked"
        if not self.field.gradients(self.identity).any():
            return (
                "answers do not change in small steps: a model of steps, such as a tree, or rounded answers (for those "
                'try "perceptron-rounded")'
            )
        if self.resolution > _FINE:
            return 'answers are rounded, so that small steps show no slopes; try "perceptron-rounded"'
        if not (yield from self._bends(rng)):
            return 'scores are straight lines around every row: a linear model, or ReLU units (try "perceptron-relu")'
        for _ in range(_TRIES + self.columns):
            slopes = self.field.gradients(self.identity).reshape(-1, self.columns)
            found = rank(slopes, NOISE)
            self.basis = np.linalg.svd(slopes, full_matrices=False)[2][:found]
            if self.full or found < len(slopes):
                return ""
            before = len(self.field.points)
            yield from self.measure(self.places(1, rng), self.beyond(1, rng), "slopes")
            if len(self.field.points) == before:
                self.reach *= _NEARER
            elif self.leak(self.field.points[-1]) > NOISE:
                yield from self.complete(self.field.points[-1:], self.identity, "slopes")
                steep = [float(np.linalg.norm(point.quotients)) for point in self.field.points]
                self.reach *= _NEARER if steep[-1] < _SATURATED * max(steep) else 1.0
            else:
                break
        return ""

    def _bends(self, rng: np.random.Generator) -> Generator[Ask, Answers, bool]:
        """Whether scores bend along a short way from any of a few rows."""
        starts = np.vstack([self.field.points[0].row[None, :-1], self.places(_BENDS - 1, rng)])
        way = rng.normal(size=(1, self.columns))
        way /= np.linalg.norm(way)
        answers = yield from self._ask([starts + step * _BEND * way for step in range(3)], "curvature")
        if len(answers) < 3 * _BENDS:
            return True  # nothing speaks against it
        first, second, third = self.view.scores(answers).reshape(3, _BENDS, -1)
        change, bend = np.abs(second - first), np.abs(first - 2 * second + third)
        return bool((bend.max(axis=1) > _STRAIGHT * change.max(axis=1)).any())

    def linear(self) -> bool:
        """Whether slopes are the same at all points."""
        slopes = self.field.gradients(self.basis)
        return float(np.ptp(slopes, axis=0).max(initial=0.0)) <= _SAME * self.steepest()

    def price(self, spare: float) -> int:
        """The rows that `points` would ask, if the span does not grow."""
        more = math.ceil(points_needed(len(self.basis), self.view.width) * spare) - len(self.field.points)
        return max(0, more) * (len(self.basis) + 2)

    def points(self, spare: float, name: str) -> Asks:
        """Measure slopes within the span at as many points as its units need, and widen it where a point leaks.

        ``spare`` multiplies the number of points.
        """
        rng = child(self.rng, "points", name)
        extra = 0 if self.full else int(_EXTRA * self.asked / (len(self.basis) + 2))
        for _ in range(_WIDENINGS):
            wanted = math.ceil(points_needed(len(self.basis), self.view.width) * spare) + extra
            more = wanted - len(self.field.points)
            if more > 0:
                ways = [np.vstack([self.basis, way]) for way in self.beyond(more, rng)]
                yield from self.measure(self.places(more, rng), ways, "points")
            before = len(self.basis)
            yield from self._widen()
            if len(self.basis) == before:
                break
        self._prune()

    def scout(self, net: Net, name: str) -> Asks:
        """Measure slopes at the rows, of many that are asked, where a network is farthest off."""
        rng = child(self.rng, "scouts", name)
        places = self._inside(self.view.matrix(self.view.spec.space.sample(_SCOUTS, rng))[:, :-1])
        answers = yield from self._ask([places], "scouts")
        if len(answers) < _SCOUTS:
            return
        scores = self.view.scores(answers)
        off = np.abs(net.scores(self.view.matrix(answers.rows)) - scores).max(axis=1)
        worst = np.argsort(-np.nan_to_num(off))[:_WORST]
        ways = [np.vstack([self.basis, way]) for way in self.beyond(len(worst), rng)]
        yield from self.measure(places[worst], ways, "points")
        yield from self._widen()
        self._prune()

    def _prune(self) -> None:
        """Drop directions that the slopes at all points together show to be noise."""
        if not self.full:
            slopes = self.field.gradients(self.basis).reshape(-1, len(self.basis))
            values, turned = np.linalg.svd(slopes, full_matrices=False)[1:]
            steep = values[:-1] > _CLIFF * values[1:]
            noise = np.append(False, np.maximum.accumulate(steep & (values[1:] < _FAINT * values[0])))
            self.basis = turned[(values > NOISE * values[0]) & ~noise] @ self.basis

    def _widen(self) -> Asks:
        for _ in range(_WIDENINGS):
            leaks = [self.leak(point) for point in self.field.points]
            if max(leaks) <= NOISE or self.full:
                break
            worst = self.field.points[int(np.argmax(leaks))]
            yield from self.complete([worst], self.identity, "slopes")
            slopes = np.vstack([self.basis * self.steepest(), worst.gradient(self.identity)])
            self.basis = np.linalg.svd(slopes, full_matrices=False)[2][: rank(slopes, NOISE)]
        yield from self.complete(self.field.points, self.basis, "points")

    def stencils(self) -> Generator[Ask, Answers, Floats]:
        """Measure second differences within the span at two points; returns their matrices (2, h, h)."""
        first, second = np.triu_indices(len(self.basis))
        chosen = sorted(self.field.points, key=lambda point: abs(np.linalg.norm(point.row) - self._middle()))[:2]
        ways = [np.vstack([self.basis, self.basis[first] + self.basis[second]])] * len(chosen)
        before = [len(point.steps) for point in chosen]
        yield from self._measure(chosen, ways, "stencils", STENCIL)
        hessians = []
        for point, start in zip(chosen, before, strict=True):
            rise = point.quotients[start:, 0]
            single, double = rise[: len(self.basis)], rise[len(self.basis) :]
            hessian = np.zeros((len(self.basis),) * 2)
            hessian[first, second] = hessian[second, first] = (double - single[first] - single[second]) / STENCIL
            hessians.append(hessian)
        return np.array(hessians)

    # ── measuring ───────────────────────────────────────────────────────────────────────────────────────

    def measure(self, places: Floats, ways: Sequence[Floats], phase: str) -> Asks:
        """Ask rows, and rows a step away in some directions each; saturated rows become no points."""
        counts = [1 + len(way) for way in ways]
        rows = [np.vstack([place, place + STEP * way]) for place, way in zip(places, ways, strict=True)]
        answers = yield from self._ask(rows, phase)
        if not len(answers):
            return
        matrix, scores = self.view.matrix(answers.rows), self.view.scores(answers)
        for stop, count in zip(np.cumsum(counts), counts, strict=True):
            part = slice(stop - count, stop)
            if np.isfinite(scores[part]).all():
                empty = np.empty((0, self.columns))
                point = Point(matrix[part][0], scores[part][0], empty, np.empty((0, self.view.width)), np.empty(0))
                point.add(matrix[part][1:], scores[part][1:], STEP)
                self.field.points.append(point)

    def complete(self, points: Sequence[Point], basis: Floats, phase: str) -> Asks:
        """Measure whatever slopes within a basis were not measured at points."""
        yield from self._measure(points, [point.missing(basis) for point in points], phase, STEP)

    def _measure(self, points: Sequence[Point], ways: Sequence[Floats], phase: str, step: float) -> Asks:
        rows = [point.row[:-1] + step * way for point, way in zip(points, ways, strict=True)]
        answers = yield from self._ask(rows, phase)
        if not len(answers):
            return
        matrix, scores = self.view.matrix(answers.rows), self.view.scores(answers)
        stops = np.cumsum([len(part) for part in rows])
        for point, way, stop in zip(points, ways, stops, strict=True):
            point.add(matrix[stop - len(way) : stop], scores[stop - len(way) : stop], step)

    def _ask(self, rows: Sequence[Floats], phase: str) -> Generator[Ask, Answers, Answers]:
        whole = np.vstack(rows) if len(rows) else np.empty((0, self.columns))
        most = MOST_BYTES // (8 * len(self.view.spec.space))
        parts = []
        for start in range(0, len(whole), most):
            parts.append((yield Ask(self.view.rows(whole[start : start + most]), phase)))
        if not self.asked and parts:
            self.resolution = resolution(parts[0], self.view.spec)
        self.asked += len(whole)
        return Answers.concat(parts) if parts else Answers.none(len(self.view.spec.space))

    # ── where ───────────────────────────────────────────────────────────────────────────────────────────

    def places(self, n: int, rng: np.random.Generator) -> Floats:
        """Encoded rows from near the base row to the edges of the space, of shape (n, d)."""
        base = self.view.matrix(self.view.design.base[None])[:, :-1]
        reach = self.reach * np.exp(rng.uniform(np.log(_NEAREST), 0.0, size=(n, 1)))
        return self._inside(base + reach * (self.view.matrix(self.view.spec.space.sample(n, rng))[:, :-1] - base))

    def beyond(self, n: int, rng: np.random.Generator) -> list[Floats]:
        """Random directions outside the span, each of shape (1, d); none of them where it is full."""
        if self.full:
            return [self.basis[:0]] * n
        ways = rng.normal(size=(n, self.columns))
        ways -= ways @ self.basis.T @ self.basis
        return [way[None] / np.linalg.norm(way) for way in ways]

    def leak(self, point: Point) -> float:
        """How far the slopes at a point are from any within the span, as a part of the steepest."""
        slopes = point.gradient(self.basis)
        off = point.quotients - point.ways @ self.basis.T @ slopes.T
        return float(np.abs(off).max(initial=0.0)) / self.steepest()

    def steepest(self) -> float:
        """The largest slope."""
        return max(
            float(np.linalg.norm(p.quotients[p.steps == STEP], axis=0).max(initial=0.0)) for p in self.field.points
        )

    def _inside(self, encoded: Floats) -> Floats:
        return np.clip(encoded, 2 * STENCIL - 1.0, 1.0 - 2 * STENCIL)

    def _middle(self) -> float:
        return float(np.median([np.linalg.norm(point.row) for point in self.field.points]))
