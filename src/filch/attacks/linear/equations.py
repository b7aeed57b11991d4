"""Solving for the weights of logistic models, given rows and their answers.

With ``F`` the (n, p) design matrix (free encoded columns and a column of ones) and ``f`` the (n, c) probabilities:
a softmax is linear in its log-ratios, a one-vs-rest model takes non-linear least squares. For rounded answers see
`filch.attacks.linear.intervals`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import expit

Floats = npt.NDArray[np.float64]
_SOLVED = 1e-10  # a misfit of log-ratios from which Gauss–Newton steps converge
_STUCK = 1e12  # a damping at which steps are lost in rounding
_SETTLED = 1e-9  # a relative fall of the loss after which further steps change nothing that answers resolve
Step = tuple[float, Floats, Floats]
"""Value, gradient (p, c), and the curvature of each row in its scores (n, c, c)."""


def solve_softmax(design: Floats, probabilities: Floats) -> Floats:
    """Solve ``log f_i − log f_0 = (w_i − w_0)·x + β_i − β_0`` for all classes at once [Tramèr16, §4.1.1].

    The equations are linear: p independent rows are enough for any number of classes. With fewer rows, the solution
    of least norm.

    Parameters
    ----------
    design : (n, p)
    probabilities : (n, c)
        All positive.

    Returns
    -------
    (p, c)
        Weights, zero-sum over the classes.
    """
    logs = np.log(probabilities)
    scores = logs - logs.mean(axis=1, keepdims=True)
    n, p = design.shape
    if n == p:
        try:
            return np.asarray(linalg.solve(design, scores, check_finite=False))
        except (linalg.LinAlgError, linalg.LinAlgWarning):
            pass  # rows that are not independent: the solution of least norm
    return np.asarray(linalg.lstsq(design, scores, lapack_driver="gelsy", check_finite=False)[0])


def solve_one_vs_rest(design: Floats, probabilities: Floats) -> tuple[Floats, float]:
    """Solve ``f_i = σ(w_i·x + β_i) / Σ_j σ(w_j·x + β_j)`` for all weights [Tramèr16, §4.1.2].

    Each row gives c − 1 equations: the log-ratios of its probabilities. Levenberg–Marquardt from w = 0 and a bias that
    makes all classes rare, where ``log σ(z) ≈ z``; the damping lets weights grow only as far as the answers ask.

    Parameters
    ----------
    design : (n, p), n ≥ c·p / (c − 1)
    probabilities : (n, c)
        All positive.

    Returns
    -------
    weights : (p, c)
    residual : float
        Root mean square of the log-ratios' misfit.
    """
    logs = np.log(probabilities)
    wanted = logs - logs.mean(axis=1, keepdims=True)
    classes = probabilities.shape[1]
    centring = np.eye(classes) - 1.0 / classes

    def squares(weights: Floats) -> Step:
        residuals, slopes = _misfit(design, wanted, weights)
        curvature = centring * slopes[:, :, None] * slopes[:, None, :]
        return float((residuals**2).mean()), design.T @ (slopes * residuals) / residuals.size, curvature / classes

    best = np.zeros((design.shape[1], classes)), np.inf
    for bias in (-2.0, -4.0, -1.0):
        start = np.zeros_like(best[0])
        start[-1] = bias
        weights, value = marquardt(design, start, squares, enough=_SOLVED**2)
        if value < best[1]:
            best = weights, value
        if value < _SOLVED**2:
            break
    return _polish(design, wanted, best[0], float(np.sqrt(best[1])))


def marquardt(
    design: Floats,
    weights: Floats,
    objective: Callable[[Floats], Step],
    *,
    ridge: float = 0.0,
    enough: float = 0.0,
    steps: int = 150,
) -> tuple[Floats, float]:
    """Minimise by damped Newton or Gauss–Newton steps; the Hessian's blocks are weighted Gram matrices of the design.

    ``objective`` gives a value, its gradient (p, c), and the curvature of each row in its scores (n, c, c).
    """
    n, p = design.shape
    classes = weights.shape[1]
    value, gradient, curvature = objective(weights)
    damping = 1.0 / n
    for _ in range(steps):
        if value < enough:
            break
        hessian = np.empty((classes, p, classes, p))
        for i in range(classes):
            for j in range(i + 1):
                hessian[i, :, j] = (design.T * (curvature[:, i, j] / n)) @ design
                hessian[j, :, i] = hessian[i, :, j].T
        square = hessian.reshape(classes * p, classes * p)
        square[np.diag_indices_from(square)] += ridge
        before = value
        while damping < _STUCK:
            damped = square + damping * np.eye(classes * p)
            try:
                factor = linalg.cho_factor(damped, overwrite_a=True, check_finite=False)
            except linalg.LinAlgError:
                damping *= 4
                continue
            step = linalg.cho_solve(factor, gradient.T.reshape(-1), check_finite=False)
            moved = weights - step.reshape(classes, p).T
            tried = objective(moved)
            if tried[0] < value:
                break
            damping *= 4
        if damping >= _STUCK:
            break
        weights, (value, gradient, curvature) = moved, tried
        damping = max(damping / 5, 1e-18)
        if before - value < _SETTLED * abs(value) and not enough:
            break
    return weights, value


def _polish(design: Floats, wanted: Floats, weights: Floats, residual: float, steps: int = 8) -> tuple[Floats, float]:
    """Take Gauss–Newton steps on the Jacobian itself, for the digits that normal equations lose."""
    p, classes = weights.shape
    centring = np.eye(classes) - 1.0 / classes
    for _ in range(steps):
        residuals, slopes = _misfit(design, wanted, weights)
        jacobian = np.einsum("ij,nj,np->nijp", centring, slopes, design).reshape(-1, classes * p)
        step = linalg.lstsq(jacobian, residuals.reshape(-1), lapack_driver="gelsy", check_finite=False)[0]
        moved = weights - step.reshape(classes, p).T
        left = float(np.sqrt((_misfit(design, wanted, moved)[0] ** 2).mean()))
        if not left < residual:
            break
        weights, residual = moved, left
    return weights, residual


def _misfit(design: Floats, wanted: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Centred ``log σ(z)`` less ``wanted``, and the slopes of ``log σ``; both (n, c)."""
    scores = design @ weights
    log_sigma = -np.logaddexp(0.0, -scores)
    return log_sigma - log_sigma.mean(axis=1, keepdims=True) - wanted, expit(-scores)
