"""Fits of RBF kernel models to log-ratios of probabilities: least squares in the representers, γ and the weights.

Of c classes, ``log f`` is taken along c − 1 orthonormal directions that are blind to a shift common to all classes, so
that no class is special: ``z = Σ_r w_r exp(−γ ‖x − x_r‖²) + b``, with z, w_r and b of c − 1 entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, lsqr

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace
from filch.models.kernel import KernelModel, rbf

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_RIDGE = 3e-15  # of the diagonal: what keeps the normal equations definite
_DAMPINGS = (1e-10, 1e-7, 1e-4, 1e-2)  # tried where a step leads away from the answers
_ROUNDING = 1e-14, 1e-10  # misfits that are rounding: in any case, and where they hardly fall any more
_LIGHT, _MISSED = 1e-3, 10.0  # weights, in medians, that may be left out; how much worse a fit may be for it
_TRIAL, _FULL, _CARRIED = 8, 30, 3  # steps of a start, of one that is carried on, and how many are
_STRIDE = 3.0  # the furthest that an entry of a representer moves in a step
_LSQR = 60  # its most iterations
_WIDTHS = 13  # kernel widths among which an interpolation chooses


@dataclass(frozen=True, eq=False)
class Fit:
    """A kernel model of z.

    Attributes
    ----------
    representers : (s, width)
        In the encoded view.
    gamma : (width,)
        Of each column.
    weights : (c − 1, s + 1)
        The last column is the bias.
    """

    representers: Floats
    gamma: Floats
    weights: Floats

    def predict(self, encoded: Floats) -> Floats:
        """Return z, of shape (n, c − 1)."""
        values: Floats = features(encoded, self.representers, self.gamma) @ self.weights.T
        return values

    def model(self, space: FeatureSpace, classes: tuple[Any, ...]) -> KernelModel:
        """The model of probabilities that this is."""
        scores = contrasts(len(classes)) @ self.weights
        if len(classes) == 2:
            scores = scores[1:] - scores[:1]
        dual, bias = np.ascontiguousarray(scores[:, :-1]), scores[:, -1].copy()
        gamma, scale = float(self.gamma.max()), None
        if (self.gamma < gamma).any():
            scale = np.sqrt(self.gamma / gamma)
        return KernelModel(space, classes, self.representers, dual, bias, gamma, scale).canonical()


class Frame:
    """The free columns of a feature space: no constant ones, and of a block of k categories k − 1 contrasts.

    Distances between rows are those of the encoded view, up to one that no row moves.
    """

    def __init__(self, view: OneHot) -> None:
        self.width = view.width
        columns, offset = [], np.zeros(view.width)
        for column, (start, width) in enumerate(zip(view.starts, view.widths, strict=True)):
            unit = np.eye(view.width)[:, start : start + width]
            if view.space.categorical[column]:
                columns.append(unit @ contrasts(width) if width > 1 else unit[:, :0])
                offset[start : start + width] = 1.0 / width
            elif view.space.high[column] > view.space.low[column]:
                columns.append(unit)
        self.matrix, self.offset = np.concatenate(columns, axis=1), offset

    def reduce(self, encoded: Floats) -> Floats:
        """Encoded rows in free columns."""
        return np.asarray((encoded - self.offset) @ self.matrix)

    def gamma(self, gamma: Floats) -> Floats:
        """The γ of each free column."""
        if (gamma == gamma[0]).all():
            return np.full(self.matrix.shape[1], gamma[0])
        return np.asarray(gamma @ self.matrix**2)

    def restore(self, fit: Fit) -> Fit:
        """A fit in free columns, in the encoded view."""
        shares = self.matrix**2
        gamma = shares @ fit.gamma / np.maximum(shares.sum(axis=1), 1e-300)
        gamma = np.where(shares.any(axis=1), gamma, np.median(fit.gamma))
        if (fit.gamma == fit.gamma[0]).all():
            gamma = np.full(self.width, fit.gamma[0])
        return Fit(fit.representers @ self.matrix.T + self.offset, gamma, fit.weights)


def contrasts(classes: int) -> Floats:
    """Orthonormal directions of which each sums to 0 over the classes, of shape (c, c − 1)."""
    directions: Floats = linalg.helmert(classes).T
    return directions


def features(encoded: Floats, representers: Floats, gamma: Floats) -> Floats:
    """The kernel and a column of ones, of shape (n, s + 1)."""
    return np.column_stack([rbf(encoded, representers, gamma), np.ones(len(encoded))])


def weigh(encoded: Floats, z: Floats, representers: Floats, gamma: float | Floats) -> Fit:
    """The weights of least squares for given representers and γ, one or one for each column."""
    gamma = np.broadcast_to(np.asarray(gamma, dtype=np.float64), encoded.shape[1:])
    matrix = features(encoded, representers, gamma)
    return Fit(representers, gamma, linalg.lstsq(matrix, z, cond=1e-15, lapack_driver="gelsy")[0].T)


def misfit(fit: Fit, encoded: Floats, z: Floats) -> float:
    """The root mean square of what a fit leaves of z."""
    return float(np.sqrt(np.mean((fit.predict(encoded) - z) ** 2)))


def polish(encoded: Floats, z: Floats, fit: Fit, steps: int = 12, own: Flags | None = None) -> Fit:
    """Move representers and γ to where all answers are met best: Gauss–Newton, with the weights solved for.

    Parameters
    ----------
    encoded : (n, width)
        In free columns, as `Frame` makes them: a direction of which no answer speaks would end anywhere.
    z : (n, c − 1)
    fit : Fit
        Where to begin; the result is never further from the answers.
    steps : int
        The most steps.
    own : (width,) bool, optional
        The columns that each have a γ of their own, while that of the others stays; None: all move in proportion.
    """
    best = weigh(encoded, z, fit.representers, fit.gamma)
    off = misfit(best, encoded, z)
    for _ in range(steps):
        tangent = _Tangent(encoded, z, best, own)
        closer = (weigh(encoded, z, *step) for step in tangent.steps())
        found = next((fit for fit in closer if misfit(fit, encoded, z) < off), None)
        if found is None:
            break
        before, best, off = off, found, misfit(found, encoded, z)
        if off < _ROUNDING[0] or (off > 0.5 * before and off < _ROUNDING[1]):
            break
    return best


def prune(encoded: Floats, z: Floats, fit: Fit, own: Flags | None = None) -> Fit:
    """Leave out representers that weigh next to nothing and that the answers do not miss."""
    for _ in range(len(fit.representers) - 1):
        sizes = np.linalg.norm(fit.weights[:, :-1], axis=0)
        least = int(sizes.argmin())
        if sizes[least] > _LIGHT * np.median(sizes):
            break
        rest = weigh(encoded, z, np.delete(fit.representers, least, axis=0), fit.gamma)
        rest = polish(encoded, z, rest, own=own)
        if misfit(rest, encoded, z) > max(_MISSED * misfit(fit, encoded, z), _ROUNDING[0]):
            break
        fit = rest
    return fit


class _Tangent:
    """Derivatives of z by representers and log γ, the weights being solved for, and the steps that they suggest.

    The derivative of z by a representer is its weights times that of its kernel column: products of derivatives over
    all classes are products over kernel columns, times products of weights.
    """

    def __init__(self, encoded: Floats, z: Floats, fit: Fit, own: Flags | None) -> None:
        self.fit, self.weights, self.own = fit, fit.weights[:, :-1], own
        self.shape = fit.representers.shape
        self.size = fit.representers.size
        matrix = features(encoded, fit.representers, fit.gamma)
        kernel = matrix[:, :-1]
        basis = linalg.qr(matrix, mode="economic")[0]
        self.left = z - matrix @ fit.weights.T
        self.left -= basis @ (basis.T @ self.left)
        by_row = encoded[:, None, :] - fit.representers
        if own is not None:  # of shape (n, c − 1, γs), then flat
            squares = by_row[:, :, own] ** 2
            by_gamma = -np.einsum("irj,ir,qr->iqj", squares, kernel, self.weights, optimize=True) * fit.gamma[own]
        else:
            by_gamma = ((kernel * np.log(np.maximum(kernel, 1e-300))) @ self.weights.T)[:, :, None]
        flat = by_gamma.reshape(len(z), -1)
        self.by_gamma = (flat - basis @ (basis.T @ flat)).reshape(z.size, -1)
        by_row *= 2.0 * fit.gamma * kernel[:, :, None]
        self.by_row = by_row.reshape(len(encoded), self.size)
        self.by_row -= basis @ (basis.T @ self.by_row)
        self.scale = self.lengths()

    def lengths(self) -> Floats:
        """The lengths of the derivatives; 1 where nothing depends on an entry."""
        squares = (self.by_row**2).sum(axis=0).reshape(self.shape) * (self.weights**2).sum(axis=0)[:, None]
        lengths = np.sqrt(np.append(squares.reshape(-1), (self.by_gamma**2).sum(axis=0)))
        return np.where(lengths > 0, lengths, 1.0)

    def apply(self, step: Floats) -> Floats:
        """The change of z, flat, by a scaled step."""
        step = step / self.scale
        blocks = self.by_row.reshape(-1, *self.shape)
        by_kernel = np.einsum("irj,rj->ir", blocks, step[: self.size].reshape(self.shape))
        return np.asarray((by_kernel @ self.weights.T).reshape(-1) + self.by_gamma @ step[self.size :])

    def transpose(self, change: Floats) -> Floats:
        """The scaled gradient of a change of z."""
        pulls = change.reshape(self.left.shape) @ self.weights
        by_row = np.einsum("irj,ir->rj", self.by_row.reshape(-1, *self.shape), pulls)
        return np.append(by_row.reshape(-1), self.by_gamma.T @ change.reshape(-1)) / self.scale

    def normal(self) -> Floats:
        """The scaled normal equations."""
        size, (count, width) = self.size, self.shape
        normal = np.empty((len(self.scale), len(self.scale)))
        normal[:size, :size] = self.by_row.T @ self.by_row
        blocks = normal[:size, :size].reshape(count, width, count, width)
        blocks *= (self.weights.T @ self.weights)[:, None, :, None]
        normal[:size, :size] /= self.scale[:size] * self.scale[:size, None]
        for place in range(size, len(self.scale)):
            normal[place] = normal[:, place] = self.transpose(self.by_gamma[:, place - size]) / self.scale[place]
        return normal

    def steps(self) -> Iterator[tuple[Floats, Floats]]:
        """Representers and γ to try, from the boldest step to the most careful.

        The normal equations square the condition of the problem, and lose half its digits: the first step only uses
        them to speed up least squares on the derivatives themselves.
        """
        normal, slope = self.normal(), self.transpose(self.left)
        for damping in (_RIDGE, 1e-13, *_DAMPINGS):
            damped = normal.copy()
            damped[np.diag_indices_from(damped)] += damping
            try:
                factor = linalg.cholesky(damped, overwrite_a=True, check_finite=False)
            except linalg.LinAlgError:
                continue
            if damping == _RIDGE:
                yield self.moved(self.least_squares(factor))
            yield self.moved(linalg.cho_solve((factor, False), slope, check_finite=False))

    def least_squares(self, factor: Floats) -> Floats:
        """The scaled step of least squares, by LSQR with a triangular factor as its preconditioner."""

        def solve(vector: Floats, trans: Literal[0, 1]) -> Floats:
            return np.asarray(linalg.solve_triangular(factor, vector, trans=trans, check_finite=False))

        shape = self.left.size, len(self.scale)
        operator = LinearOperator(
            shape,
            matvec=lambda v: self.apply(solve(v.reshape(-1), 0)),
            rmatvec=lambda u: solve(self.transpose(u.reshape(-1)), 1),
            dtype=np.float64,
        )
        found = lsqr(operator, self.left.reshape(-1), atol=1e-15, btol=1e-15, conlim=0.0, iter_lim=_LSQR)[0]
        return solve(found, 0)

    def moved(self, step: Floats) -> tuple[Floats, Floats]:
        """Representers and γ after a scaled step."""
        step = np.nan_to_num(np.clip(step / self.scale, -_STRIDE, _STRIDE))
        gamma = self.fit.gamma.copy()
        gamma[slice(None) if self.own is None else self.own] *= np.exp(np.clip(step[self.size :], -1.0, 1.0))
        return self.fit.representers + step[: self.size].reshape(self.shape), gamma


def approximate(encoded: Floats, z: Floats, starts: Sequence[tuple[Floats, float]]) -> Fit:
    """The closest of the fits that begin at some representers and γ; only those that begin well are carried on."""
    fits = [polish(encoded, z, weigh(encoded, z, *start), _TRIAL) for start in starts]
    best = sorted(fits, key=lambda fit: misfit(fit, encoded, z))[:_CARRIED]
    return min((polish(encoded, z, fit, _FULL) for fit in best), key=lambda fit: misfit(fit, encoded, z))


def interpolate(encoded: Floats, z: Floats, most: int = 500) -> Fit:
    """A smooth fit with the rows themselves as representers, its width chosen by leaving out each row in turn.

    Parameters
    ----------
    encoded : (n, width)
    z : (n, c − 1)
    most : int
        The most rows taken.
    """
    encoded, z = encoded[:most], z[:most]
    mean = z.mean(axis=0)
    best: tuple[float, Fit] | None = None
    for gamma in np.geomspace(1e-3, 1e1, _WIDTHS) / max(1.0, encoded.shape[1] / 10):
        matrix = rbf(encoded, encoded, gamma)
        inverse = np.linalg.inv(matrix + 1e-6 * np.eye(len(encoded)))
        dual = inverse @ (z - mean)
        off = float(np.mean((dual / inverse.diagonal()[:, None]) ** 2))
        if best is None or off < best[0]:
            best = off, Fit(encoded, np.full(encoded.shape[1], gamma), np.column_stack([dual.T, mean]))
    assert best is not None
    return best[1]
