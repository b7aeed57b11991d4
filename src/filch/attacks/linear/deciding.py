"""Rows after which a softmax or binary model is least likely to label uniform rows otherwise than its target.

What is open matters where two classes tie: there a share of uniform rows that is in proportion to the deviation of the
margin has the wrong label. The continuous columns of a batch of rows are moved, all at once, so that the mean of these
deviations falls furthest. Each answer counts as a normal measurement: with the variance of a rounding error, or, where
its probability is known more closely, as one that lies between two rounded values and halves what is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize
from scipy.special import softmax

from filch.attacks.linear.belief import Belief
from filch.attacks.linear.design import Design
from filch.core.features import Rows

Floats = npt.NDArray[np.float64]
MOST = 500
"""Unknowns in all up to which this takes seconds rather than minutes."""
_UNIFORM, _TIES = 8_192, 384  # uniform rows, and those of them that are nearest to a tie
_STEPS = 30  # of the search
_SIGN = 1 / (1 - 2 / np.pi) - 1  # precision, in units of the present one, that the sign of a deviation adds
_LEAST = 1e-9  # variance of a probability, in units of that of a rounding error


@dataclass(eq=False)
class Deciding:
    """Moves rows to where their answers decide most labels.

    Parameters
    ----------
    design : Design
    belief : Belief
        Of a softmax or binary model of which something is known.
    resolution : float
        How far a revealed probability may be from the true one.
    rng : Generator
    """

    design: Design
    belief: Belief
    resolution: float
    rng: np.random.Generator

    def moved(self, rows: Rows, steps: int = _STEPS) -> Rows:
        """Rows (n, d) with their continuous columns moved to where the deviations at ties fall furthest."""
        space, view = self.design.space, self.design.view
        columns = np.flatnonzero(~space.categorical & (space.grid == 0.0) & (space.high > space.low))
        if not len(columns):
            return rows
        matrix = self.design.matrix(rows)
        at = np.searchsorted(self.design.kept, view.starts[columns])
        centre, scale = view.centre[columns], view.scale[columns]
        precision = self._precision(matrix)

        def flat(x: npt.NDArray[Any]) -> tuple[float, Floats]:
            matrix[:, at] = x.reshape(len(rows), -1)
            value, gradient = self.value(matrix, precision)
            return float(np.log(value)), (gradient[:, at] / value).reshape(-1)

        ends = optimize.Bounds(-1.0, 1.0)
        options: Any = {"maxiter": steps, "maxfun": 2 * steps}
        start = matrix[:, at].reshape(-1)
        try:
            fit = optimize.minimize(flat, start, (), "L-BFGS-B", jac=True, bounds=ends, options=options)
        except linalg.LinAlgError:  # some weights are known so much better than others that digits do not reach
            return rows
        moved = rows.copy()
        found = centre + scale * fit.x.reshape(len(rows), -1)
        moved[:, columns] = np.clip(found, space.low[columns], space.high[columns])
        return space.snap(moved)

    def value(self, matrix: Floats, precision: Floats) -> tuple[float, Floats]:
        """The mean deviation at ties after the answers to rows, and its gradient in them.

        Parameters
        ----------
        matrix : (n, p)
        precision : (n, c)
            With which an answer measures each probability.
        """
        q, p = self.belief.axes, self.belief.size
        f, centred, slopes = self._slopes(matrix)
        told = np.einsum("nca,ncb,nc->nab", slopes, slopes, precision)
        total = self._known.copy()
        blocks = total.reshape(q, p, q, p)
        for a in range(q):
            for b in range(q):
                blocks[a, :, b] += (matrix.T * told[:, a, b]) @ matrix
        unit = self._unit[:, None]
        factor = linalg.cho_factor(total * unit * self._unit, lower=True, check_finite=False)
        solved = unit * linalg.cho_solve(factor, unit * self._ties.T, check_finite=False)
        deviation = np.sqrt((self._ties.T * solved).sum(axis=0))
        pull = -((solved / (2 * len(deviation) * deviation)) @ solved.T).reshape(q, p, q, p)
        by_told, gradient = np.empty_like(told), np.zeros_like(matrix)
        for a in range(q):
            for b in range(q):
                along = matrix @ pull[a, :, b].T
                by_told[:, a, b] = (along * matrix).sum(axis=1)
                gradient += 2 * told[:, a, b, None] * along
        by_slope = 2 * precision[:, :, None] * (slopes @ by_told)
        by_f = (by_slope * centred).sum(axis=2) - np.einsum("nc,ncq->nq", f, by_slope) @ self.belief.basis.T
        by_score = f * (by_f - (by_f * f).sum(axis=1, keepdims=True))
        return float(deviation.mean()), gradient + by_score @ self.belief.weights.T

    def _slopes(self, matrix: Floats) -> tuple[Floats, Floats, Floats]:
        """Probabilities f (n, c), the basis about its mean (n, c, q), and their product, the slopes of f."""
        basis = self.belief.basis
        f: Floats = softmax(matrix @ self.belief.weights, axis=1)
        centred = basis - (f @ basis)[:, None, :]
        return f, centred, f[:, :, None] * centred

    def _precision(self, matrix: Floats) -> Floats:
        """With which an answer measures each probability, of shape (n, c)."""
        slopes = self._slopes(matrix)[2]
        variance = np.einsum("nca,nab,ncb->nc", slopes, self.belief.spread(matrix), slopes)
        rounding = self.resolution**2 / 3
        return np.asarray(1 / rounding + _SIGN / np.maximum(variance, _LEAST * rounding))

    @cached_property
    def _ties(self) -> Floats:
        """Margins of uniform rows that are likeliest to have the wrong label, as vectors (m, q p) over the weights."""
        belief = self.belief
        matrix = self.design.matrix(self.design.space.sample(_UNIFORM, self.rng))
        scores = matrix @ belief.weights
        order, every = np.argsort(-scores, axis=1), np.arange(len(matrix))
        margin = scores[every, order[:, 0]] - scores[every, order[:, 1]]
        ways = belief.basis[order[:, 0]] - belief.basis[order[:, 1]]
        variance = np.einsum("ni,nij,nj->n", ways, belief.spread(matrix), ways)
        near = np.argsort(margin / np.sqrt(np.maximum(variance, 1e-300)))[:_TIES]
        return np.asarray((ways[near][:, :, None] * matrix[near][:, None, :]).reshape(len(near), -1))

    @cached_property
    def _unit(self) -> Floats:
        """The deviations of the weights (q p), the units in which equations are solved."""
        return np.asarray(np.sqrt(np.maximum(self.belief.covariance.diagonal(), 1e-300)))

    @cached_property
    def _known(self) -> Floats:
        """The precision of what is known."""
        unit = self._unit[:, None] * self._unit
        root, _ = linalg.cho_factor(self.belief.covariance / unit, lower=True, check_finite=False)
        half = linalg.lapack.dpotri(root, lower=1)[0]
        return np.asarray((np.tril(half) + np.tril(half, -1).T) / unit)
