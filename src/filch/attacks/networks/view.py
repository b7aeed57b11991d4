"""A target as a network sees it: encoded rows, real-valued scores, points and the slopes measured there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import linalg, stats
from scipy.special import expit, softmax

from filch.attacks.linear.design import Design
from filch.attacks.networks.fit import Equations, Net
from filch.core.answers import Answers
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.models.perceptron import Output, PerceptronModel

Floats = npt.NDArray[np.float64]
_TINY = 1e-290  # a probability below it has lost digits
_COARSE = 1e-9  # the same for a binary answer, of which one half is 1 less the other
_ALONG = 1e-6  # the part of a unit step along a basis below which it measures nothing there


@dataclass(frozen=True)
class View:
    """The scores behind answers: log-ratios in an orthonormal basis, or one log-odds, or a value.

    Parameters
    ----------
    spec : OracleSpec
    design : Design
    """

    spec: OracleSpec
    design: Design

    @property
    def link(self) -> Output:
        """The output layer that a copy needs."""
        return {0: "identity", 2: "logistic"}.get(self.spec.n_classes, "softmax")  # type: ignore[return-value]

    @property
    def contrasts(self) -> Floats:
        """From log-probabilities to scores, of shape (c, k)."""
        if self.spec.n_classes == 2:
            return np.array([[-1.0], [1.0]])
        return np.asarray(linalg.helmert(self.spec.n_classes).T)

    @property
    def width(self) -> int:
        """The number k of scores: c − 1, or 1 for a value."""
        return max(1, self.spec.n_classes - 1)

    @property
    def continuous(self) -> bool:
        """Whether rows may be moved by steps as small as one likes."""
        return not self.spec.space.categorical.any() and not (self.spec.space.grid > 0).any()

    def matrix(self, rows: Rows) -> Floats:
        """Encoded rows with a last column of ones, of shape (n, d + 1)."""
        return self.design.matrix(rows)

    def rows(self, encoded: Floats) -> Rows:
        """Rows of a continuous space from encoded ones of shape (n, d)."""
        rows = np.tile(self.design.base, (len(encoded), 1))
        kept = self.design.kept
        rows[:, kept] = encoded * self.design.view.scale[kept] + self.design.view.centre[kept]
        return rows

    def spread(self, n: int, rng: np.random.Generator) -> Rows:
        """Rows to fit a function on, of shape (n, d): evenly spread, and denser towards the edges of continuous ranges.

        Uniform rows leave the edges to extrapolation; the arcsine law, as of Chebyshev points, is the remedy.
        """
        if not self.continuous:
            return self.spec.space.sample(n, rng)
        even = stats.qmc.LatinHypercube(self.design.size - 1, rng=rng).random(n)
        return self.rows(((2.0 * even - 1.0) - np.cos(np.pi * even)) / 2.0)

    def scores(self, answers: Answers) -> Floats:
        """Scores of shape (n, k); NaN where an answer is saturated, missing or refused."""
        if not len(answers):
            return np.empty((0, self.width))
        if self.spec.classes is None:
            assert answers.value is not None
            found = answers.value[:, None].copy()
        else:
            shown = answers.probabilities
            assert shown is not None
            least = _COARSE if self.spec.n_classes == 2 else _TINY
            good = (shown > least).all(axis=1)
            found = np.full((len(answers), self.width), np.nan)
            found[good] = np.log(shown[good]) @ self.contrasts
        found[answers.refused] = np.nan
        return found

    def outputs(self, scores: Floats) -> Floats:
        """What such scores would be answered as: probabilities (n, c), or values (n, 1)."""
        if self.spec.classes is None:
            return scores
        if self.spec.n_classes == 2:
            return np.column_stack([expit(-scores), expit(scores)])
        return np.asarray(softmax(scores @ self.contrasts.T, axis=1))

    def model(self, net: Net, activation: Literal["tanh", "logistic"]) -> PerceptronModel:
        """The copy that a net of tanh units stands for; as logistic units where asked (``tanh u = 2 σ(2u) − 1``)."""
        inner, outer = net.inner, net.outer
        if activation == "logistic":
            inner = 2 * inner
            outer = np.vstack([2 * outer[:-1], outer[-1] - outer[:-1].sum(axis=0)])
        if self.link == "softmax":
            outer = outer @ self.contrasts.T
        first = np.zeros((self.design.view.width, net.hidden))
        first[self.design.kept] = inner[:-1]
        coefs, intercepts = (first, outer[:-1]), (inner[-1].copy(), outer[-1].copy())
        space, classes = self.spec.space, self.spec.classes
        return PerceptronModel(space, classes, coefs, intercepts, activation, self.link).canonical()


@dataclass(eq=False)
class Point:
    """A row, its scores, and how they change in some directions.

    Attributes
    ----------
    row : (d + 1,)
        Encoded, with a last 1.
    scores : (k,)
    ways : (m, d)
        Directions of unit length, about.
    quotients : (m, k)
        ``(score(row + δ way) − score(row)) / δ``.
    steps : (m,)
        δ.
    """

    row: Floats
    scores: Floats
    ways: Floats
    quotients: Floats
    steps: Floats

    def add(self, rows: Floats, scores: Floats, step: float) -> None:
        """Take in further rows of shape (m, d + 1), a step away."""
        good = np.isfinite(scores).all(axis=1)
        self.ways = np.vstack([self.ways, (rows[good] - self.row)[:, :-1] / step])
        self.quotients = np.vstack([self.quotients, (scores[good] - self.scores) / step])
        self.steps = np.append(self.steps, np.full(int(good.sum()), step))

    def gradient(self, basis: Floats) -> Floats:
        """Slopes along the rows of a basis (q, d) within which they lie, of shape (k, q)."""
        u, s, vt = np.linalg.svd(self.ways @ basis.T, full_matrices=False)
        known = s > _ALONG  # a way across the basis says nothing of it
        return np.asarray(((u[:, known].T @ self.quotients) / s[known, None]).T @ vt[known])

    def missing(self, basis: Floats) -> Floats:
        """Directions within a basis that were not measured here, of shape (r, d)."""
        s, vt = np.linalg.svd(self.ways @ basis.T)[1:]
        return np.asarray(vt[int((s > _ALONG).sum()) :] @ basis)


@dataclass(eq=False)
class Field:
    """All points measured so far."""

    points: list[Point] = field(default_factory=list)

    def gradients(self, basis: Floats) -> Floats:
        """Slopes of shape (p, k, q)."""
        return np.array([point.gradient(basis) for point in self.points])

    def equations(self) -> Equations:
        """Everything that was measured."""
        base = np.repeat(np.arange(len(self.points)), [len(point.steps) for point in self.points])
        ways = np.vstack([point.ways for point in self.points])
        return Equations(
            rows=np.array([point.row for point in self.points]),
            scores=np.array([point.scores for point in self.points]),
            base=base,
            ways=np.column_stack([ways, np.zeros(len(ways))]),
            quotients=np.vstack([point.quotients for point in self.points]),
            steps=np.concatenate([point.steps for point in self.points]),
        )
