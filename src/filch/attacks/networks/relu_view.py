"""What a ReLU network looks like to its attacker: a piecewise linear map of the free columns to raw scores.

Coordinates are the free encoded columns (`filch.attacks.linear.design`); numbers move along lines, categories jump.
Scores are log-ratios of the probabilities, or the value; each answer says how exactly it holds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from filch.attacks.linear.design import Design
from filch.core.answers import Answers
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.models.perceptron import Output, PerceptronModel

Floats = npt.NDArray[np.float64]
_LOWEST = 1e-290  # probabilities below it lose digits
_DOUBLE, _SINGLE = 2.0**-53, 2.0**-24
_SLACK = 16.0  # units in the last place by which a server's own sums may be off


@dataclass(frozen=True, eq=False)
class Units:
    """A piecewise linear map: ``F(x) = x·A + β + max(0, x·W + b)·a`` over D coordinates and m scores.

    Parameters
    ----------
    affine : (D + 1, m)
        A, and β as its last row.
    inner : (D + 1, k)
        W, and b as its last row.
    outer : (k, m)
    """

    affine: Floats
    inner: Floats
    outer: Floats

    @property
    def count(self) -> int:
        """The number of units, k."""
        return len(self.outer)

    def inputs(self, points: Floats) -> Floats:
        """The units' inputs, of shape (n, k)."""
        return np.asarray(points @ self.inner[:-1] + self.inner[-1])

    def scores(self, points: Floats) -> Floats:
        """The scores, of shape (n, m)."""
        on = np.maximum(self.inputs(points), 0.0)
        return np.asarray(points @ self.affine[:-1] + self.affine[-1] + on @ self.outer)

    def joined(self, other: Units) -> Units:
        """The sum of two maps."""
        inner, outer = np.hstack([self.inner, other.inner]), np.vstack([self.outer, other.outer])
        return Units(self.affine + other.affine, inner, outer)


@dataclass(frozen=True, eq=False)
class Heard:
    """Answers as equations.

    Attributes
    ----------
    points : (n, D)
    scores : (n, m)
    noise : (n,)
        How far a score may be off; infinite where the answer holds none.
    """

    points: Floats
    scores: Floats
    noise: Floats

    def __getitem__(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Heard:
        return Heard(self.points[index], self.scores[index], self.noise[index])

    @staticmethod
    def join(parts: list[Heard]) -> Heard:
        """Join answers in order."""
        stacks = ([part.points for part in parts], [part.scores for part in parts], [part.noise for part in parts])
        return Heard(*map(np.concatenate, stacks))

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """The answers that are equations."""
        return np.isfinite(self.noise)


@dataclass(eq=False)
class View:
    """The attacker's view of an oracle.

    Parameters
    ----------
    spec : OracleSpec

    Attributes
    ----------
    single : bool
        Whether answers so far carry only the digits of float32.
    """

    spec: OracleSpec
    single: bool = field(default=True, init=False)

    @cached_property
    def design(self) -> Design:
        """Complete rows only."""
        return Design(self.spec.space)

    @property
    def size(self) -> int:
        """The number of coordinates, D."""
        return len(self.design.kept)

    @property
    def outputs(self) -> int:
        """The number of scores, m."""
        return max(1, self.spec.n_classes - 1)

    @cached_property
    def moving(self) -> npt.NDArray[np.int64]:
        """The raw columns that move along lines."""
        space = self.spec.space
        return np.flatnonzero(~space.categorical & (space.high > space.low))

    @cached_property
    def jumping(self) -> list[tuple[int, int]]:
        """The raw column and the code of each categorical coordinate, in order."""
        sizes = self.spec.space.sizes
        return [(int(c), code) for c in np.flatnonzero(self.spec.space.categorical) for code in range(1, sizes[c])]

    @cached_property
    def numeric(self) -> npt.NDArray[np.int64]:
        """The coordinates of the moving columns, in the order of `moving`."""
        return np.searchsorted(self.design.kept, self.design.view.starts[self.moving])

    @cached_property
    def discrete(self) -> npt.NDArray[np.int64]:
        """The coordinates of the categories, in the order of `jumping`."""
        columns = [self.design.view.starts[column] + code for column, code in self.jumping]
        return np.searchsorted(self.design.kept, np.array(columns, dtype=np.int64))

    @cached_property
    def contrasts(self) -> Floats:
        """An orthonormal basis of the differences between classes, of shape (c, c − 1)."""
        classes = self.spec.n_classes
        helmert = np.tril(np.ones((classes, classes)), -1)[1:].T
        helmert[np.arange(1, classes), np.arange(classes - 1)] = -np.arange(1, classes)
        return np.asarray(helmert / np.linalg.norm(helmert, axis=0))

    def points(self, rows: Rows) -> Floats:
        """Coordinates of coded rows, of shape (n, D)."""
        return np.asarray(self.design.matrix(rows)[:, :-1])

    def moved(self, row: Rows, steps: Floats) -> Rows:
        """Rows that lie so many half ranges from ``row`` in each moving column; ``steps`` has shape (n, moving)."""
        rows = np.repeat(row[None], len(steps), axis=0)
        rows[:, self.moving] += steps * self.design.view.scale[self.moving]
        return rows

    def hear(self, answers: Answers) -> Heard:
        """Read answers as equations."""
        rows = answers.rows
        points, scores = self.points(rows), np.zeros((len(rows), self.outputs))
        noise = np.full(len(rows), np.inf)
        shown = answers.value[:, None] if answers.value is not None else answers.probabilities
        if shown is None or not len(rows):
            return Heard(points, scores, noise)
        good = ~answers.refused & np.isfinite(shown).all(axis=1)
        if self.spec.classes is not None:
            good &= (shown >= _LOWEST).all(axis=1) & (np.abs(shown.sum(axis=1) - 1.0) < 1e-5)
        self.single &= bool((shown[good].astype(np.float32) == shown[good]).all())
        unit = _SINGLE if self.single else _DOUBLE
        if self.spec.classes is None:
            scores[good] = shown[good]
            noise[good] = _SLACK * unit * (1.0 + np.abs(shown[good]).max(axis=1))
            return Heard(points, scores, noise)
        logs = np.log(shown[good])
        # 1 − p holds p's digits only down to the last place of 1: such a probability is a multiple of it.
        coarse = np.where(shown[good] % unit == 0.0, unit / shown[good], 0.0).max(axis=1)
        noise[good] = _SLACK * unit * (1.0 + np.abs(logs).max(axis=1)) + coarse
        scores[good] = logs[:, 1:] - logs[:, :1] if self.spec.n_classes == 2 else logs @ self.contrasts
        return Heard(points, scores, noise)

    def model(self, units: Units) -> PerceptronModel:
        """The network of a map; what is affine becomes units that are on wherever the range reaches."""
        units = always_on(units, self.reach)
        inner = np.zeros((self.design.view.width, units.count))
        inner[self.design.kept] = units.inner[:-1]
        outer, bias = units.outer, units.affine[-1]
        link: Output = "identity" if self.spec.classes is None else "logistic"
        if self.spec.n_classes > 2:
            outer, bias, link = outer @ self.contrasts.T, bias @ self.contrasts.T, "softmax"
        coefs, intercepts = (inner, outer), (units.inner[-1].copy(), bias.copy())
        return PerceptronModel(self.spec.space, self.spec.classes, coefs, intercepts, "relu", link)

    @property
    def reach(self) -> float:
        """A bound on a coordinate, ten times as far out as the range."""
        return 10.0


def always_on(units: Units, reach: float) -> Units:
    """The same map where no coordinate is above ``reach``, its affine part as at most m units."""
    slope, floor = units.affine[:-1], 1e-12 * (1.0 + np.abs(units.affine).max(initial=0.0))
    if not np.abs(slope).max(initial=0.0) > floor:
        return units
    left, values, right = np.linalg.svd(slope, full_matrices=False)
    kept = values > floor
    bias = reach * np.abs(left[:, kept]).sum(axis=0)
    inner = np.hstack([units.inner, np.vstack([left[:, kept], bias])])
    outer = values[kept, None] * right[kept]
    affine = np.zeros_like(units.affine)
    affine[-1] = units.affine[-1] - bias @ outer
    return Units(affine, inner, np.vstack([units.outer, outer]))
