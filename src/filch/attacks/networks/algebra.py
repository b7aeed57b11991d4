"""The algebra of a network's derivatives: hidden directions as the factors of a tensor, and units as fitted bumps.

The gradient of a score of ``V·tanh(W·x + b)`` at point p is ``Σ_j V_jk (1 − tanh²u_pj) w_j``: over points p and scores
k a tensor of rank h. Its decomposition into rank-one terms is unique, and linear algebra finds it
[DeLathauwer06].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize

Floats = npt.NDArray[np.float64]
_WIDEST = 48  # units up to which the pairs' minors stay small (a matrix of h(h + 1)/2 columns)
_MIXTURES = 24  # random ones that are tried: some have eigenvalues too close to each other
_STEEP, _SHIFTS = np.geomspace(0.03, 30.0, 40), np.linspace(-6.0, 6.0, 61)  # where fits of a unit begin


def rank(matrix: Floats, noise: float) -> int:
    """The number of singular values above ``noise`` times the largest."""
    values = np.linalg.svd(matrix, compute_uv=False) if matrix.size else np.empty(0)
    return int((values > noise * values[:1].max(initial=0.0)).sum())


def points_needed(units: int, scores: int) -> int:
    """Points whose gradients determine the rank-one terms of ``units`` hidden units, some to spare.

    Examples
    --------
    >>> points_needed(20, 4), points_needed(20, 2)
    (11, 25)
    """
    if scores == 1:
        return max(8, units // 4)
    if units > _WIDEST:
        return units + units // 4
    pairs = 1.5 * 2 * units * (units - 1) / (scores * (scores - 1))  # p (p − 1) must exceed it by some
    return max(6, int(np.ceil(0.5 + np.sqrt(0.25 + pairs))))


def rank_one_terms(tensor: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Find ``g`` and ``v`` with ``T_pkq = Σ_j g_jp v_jk w_jq``, the ``w_j`` being independent.

    Parameters
    ----------
    tensor : (p, k, h)
        k ≥ 2; its last mode has rank h.
    rng : Generator
        Of the mixtures that tell equal eigenvalues apart.

    Returns
    -------
    g : (h, p)
    v : (h, k)
        Unit vectors.
    """
    points, scores, units = tensor.shape
    left = np.linalg.svd(tensor.reshape(points * scores, units), full_matrices=False)[0]
    span = left.T.reshape(units, points, scores)
    slices = _by_minors(span) if units <= _WIDEST else _by_pencil(span)
    best, least = None, np.inf
    for _ in range(_MIXTURES):
        common = _eigenvectors(slices, rng)
        mixing = common if units <= _WIDEST else np.asarray(linalg.pinv(common).T)
        u, s, vt = np.linalg.svd(np.einsum("rj,rpk->jpk", mixing, span), full_matrices=False)
        impure = float(np.sum((s[:, 1] / s[:, 0]) ** 2))
        if best is None or impure < least:
            best, least = (u[:, :, 0] * s[:, :1], vt[:, 0, :]), impure
    assert best is not None
    return best


def _by_minors(span: Floats) -> Floats:
    """Matrices whose common eigenvectors F mix basis matrices into matrices of rank one; of shape (h, h, h).

    All 2 × 2 minors of a matrix of rank one vanish. The minors are quadratic in the mixture, and the symmetric matrices
    that annul them are spanned by the mixtures' own squares: ``F diag(·) Fᵀ`` [DeLathauwer06].
    """
    units, points, scores = span.shape
    i, k = np.triu_indices(points, 1)
    j, l = np.triu_indices(scores, 1)  # noqa: E741
    a, d = span[:, i][:, :, j].reshape(units, -1), span[:, k][:, :, l].reshape(units, -1)
    b, c = span[:, i][:, :, l].reshape(units, -1), span[:, k][:, :, j].reshape(units, -1)
    r, s = np.triu_indices(units)
    minors = (a[r] * d[s] + a[s] * d[r] - b[r] * c[s] - b[s] * c[r]).T * np.where(r == s, 1.0, 2.0)
    if len(minors) < minors.shape[1]:
        minors = np.vstack([minors, np.zeros((minors.shape[1] - len(minors), minors.shape[1]))])
    squares = np.zeros((units, units, units))
    squares[:, r, s] = squares[:, s, r] = linalg.svd(minors, full_matrices=False, check_finite=False)[2][-units:]
    return squares


def _by_pencil(span: Floats) -> Floats:
    """Matrices with the common eigenvectors F⁻ᵀ, where there are as many points as units: one for each score."""
    units, points = span.shape[:2]
    core = np.linalg.svd(span.transpose(1, 0, 2).reshape(points, -1), full_matrices=False)[0][:, :units]
    return np.asarray(np.einsum("rpk,pq->krq", span, core))  # (k, h, h): each is F⁻ᵀ diag(v_k) E


def _eigenvectors(slices: Floats, rng: np.random.Generator) -> Floats:
    """The F of matrices ``F diag(·) G`` of shape (n, h, h)."""
    first, second = np.tensordot(rng.normal(size=(2, len(slices))), slices, 1)
    return np.asarray(np.linalg.eig(np.linalg.solve(second.T, first.T).T)[1].real)


def shared_directions(hessians: Floats, rng: np.random.Generator) -> Floats:
    """Find the ``w_j`` of symmetric matrices ``Σ_j s_pj w_j w_jᵀ`` of shape (p, h, h), p ≥ 2; a row each, (h, h)."""
    return _eigenvectors(hessians, rng).T


def fit_bumps(ways: Floats, heights: Floats) -> tuple[Floats, Floats]:
    """Fit ``κ / cosh²(a t + b)``, the slope of a tanh, to each unit: its scale a and bias b.

    Parameters
    ----------
    ways : (h, p)
        ``t``: how far each point lies along each unit's direction.
    heights : (h, p)
        The unit's share of the gradient there.

    Returns
    -------
    scales, biases : (h,)
    """
    reach = np.abs(ways).max(axis=1, initial=1e-300)
    ways = ways / reach[:, None]
    shapes = _bump(_STEEP[:, None, None] * ways[:, None, None, :] + _SHIFTS[None, :, None])  # (h, a, b, p)
    scales, biases = np.empty(len(ways)), np.empty(len(ways))
    for j, (way, height) in enumerate(zip(ways, heights, strict=True)):
        overlap, size = shapes[j] @ height, np.maximum((shapes[j] ** 2).sum(axis=-1), 1e-300)
        a, b = np.unravel_index((overlap**2 / size).argmax(), size.shape)

        def off(ab: Floats, way: Floats = way, height: Floats = height) -> Floats:
            shape = _bump(ab[0] * way + ab[1])
            return np.asarray((shape * (shape @ height) / ((shape @ shape) or 1.0) - height) / linalg.norm(height))

        start = float(_STEEP[a]), float(_SHIFTS[b])
        scales[j], biases[j] = optimize.least_squares(off, start, x_scale="jac", max_nfev=200).x
    return scales / reach, biases


def _bump(inputs: Floats) -> Floats:
    return np.asarray(1.0 / np.cosh(np.clip(inputs, -300.0, 300.0)) ** 2)
