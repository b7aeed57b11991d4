"""Fitting logistic models to rounded probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.special import expit, log_softmax, softmax

from filch.attacks.linear.equations import Step, marquardt

Floats = npt.NDArray[np.float64]
_RIDGE = 1e-4  # penalty on the weights of a likelihood fit, for each unit of resolution
_SQUARES = 25  # steps of least squares after the likelihood: more only follow saturated rows
_DENSE = 3_000  # unknowns up to which a Hessian is kept (72 MB)


def fit_rounded(
    design: Floats,
    probabilities: Floats,
    *,
    one_vs_rest: bool = False,
    start: Floats | None = None,
    resolution: float = 1e-3,
) -> tuple[Floats, Floats]:
    """Fit weights to rounded probabilities.

    First the maximum of ``Σ_i f_i log f̂_i`` [Tramèr16, §4.1.2], whose loss is convex for a softmax; from there the
    least squares of ``f̂ − f``: rounding errs by as much in every entry, so that this is the better estimate.

    Parameters
    ----------
    design : (n, p)
    probabilities : (n, c)
        May hold zeros; rows are normalised to sum 1.
    one_vs_rest : bool
        Fit ``σ_i / Σ_j σ_j`` instead of a softmax.
    start : (p, c), optional
        The likely weights of fewer rows, from which to begin.
    resolution : float
        How far a rounded probability may be off. Rows that round to 0 and 1 are kept from pushing weights to infinity:
        in the likelihood by a penalty on ``‖w‖²``, in the least squares by one on the way from the likely weights.

    Returns
    -------
    likely, weights : (p, c)
        After the first stage, and after both. With many unknowns the second is left out.
    """
    n, p = design.shape
    classes = probabilities.shape[1]
    shares = probabilities / probabilities.sum(axis=1, keepdims=True)
    identity = np.eye(classes)
    penalty = _RIDGE * resolution
    tether = resolution**2 / (3 * n)  # the variance of a rounding error, against steps of order 1 in a weight

    def logits_of(weights: Floats) -> tuple[Floats, Floats]:
        """``log f̂`` up to a constant of each row, and its slopes in the scores."""
        scores = design @ weights
        return (-np.logaddexp(0.0, -scores), expit(-scores)) if one_vs_rest else (scores, np.ones_like(scores))

    def loss(weights: Floats) -> Step:
        logits, slopes = logits_of(weights)
        log_fitted = log_softmax(logits, axis=1)
        fitted = np.exp(log_fitted)
        value = -(shares * log_fitted).sum() / n + 0.5 * penalty * (weights**2).sum()
        own = fitted * slopes
        curvature = (own * slopes)[:, :, None] * identity - own[:, :, None] * own[:, None, :]
        return float(value), design.T @ ((fitted - shares) * slopes) / n + penalty * weights, curvature

    def squares(weights: Floats) -> Step:
        logits, slopes = logits_of(weights)
        fitted = softmax(logits, axis=1)
        off = fitted - shares
        by_score = fitted[:, :, None] * (identity - fitted[:, None, :]) * slopes[:, None, :]  # d f̂_i / d z_j
        way = weights - likely
        value = 0.5 * (off**2).sum() / n + 0.5 * tether * (way**2).sum()
        gradient = design.T @ np.einsum("ni,nij->nj", off, by_score) / n + tether * way
        return float(value), gradient, np.einsum("nki,nkj->nij", by_score, by_score)

    if p * classes > _DENSE:

        def flat(x: npt.NDArray[Any]) -> tuple[float, Floats]:
            value, gradient, _ = loss(x.reshape(p, classes))
            return value, gradient.reshape(-1)

        first = np.zeros(p * classes) if start is None else start.reshape(-1)
        options: Any = {"maxiter": 2_000, "maxfun": 4_000, "ftol": 1e-15, "gtol": 1e-9}
        fit = optimize.minimize(flat, first, (), "L-BFGS-B", jac=True, options=options)
        likely = np.asarray(fit.x.reshape(p, classes))
        return likely, likely
    likely = marquardt(design, np.zeros((p, classes)) if start is None else start, loss, ridge=penalty)[0]
    return likely, marquardt(design, likely, squares, ridge=tether, steps=_SQUARES)[0]
