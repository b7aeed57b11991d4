"""Least squares for networks in their probabilities, as rounded answers want it: rounding errs in each by as much."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import softmax

from filch.attacks.networks.fit import Net

Floats = npt.NDArray[np.float64]
_BLOCK = 2**22  # entries of a Jacobian that are held at once (32 MB)
_STUCK = 1e9  # damping at which no step helps
_PATIENCE, _GAIN = 20, 1e-3  # steps that must gain so much together
_RIDGE = 1e-9  # of the largest curvature: keeps the normal equations definite


def fit_shares(net: Net, rows: Floats, shown: Floats, *, enough: float, steps: int) -> tuple[Net, float]:
    """Take Levenberg–Marquardt steps on the squares of ``softmax(scores) − f``.

    Parameters
    ----------
    net : Net
        Where it starts; one score a class.
    rows : (n, d + 1)
        Encoded, with a last column of ones.
    shown : (n, c)
        Probabilities.
    enough : float
        Root mean square of the residuals at which it stops: closer fits only follow the rounding.
    steps : int
        At most.

    Returns
    -------
    net : Net
    misfit : float
        Root mean square of the residuals.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows = np.column_stack([rng.uniform(-1, 1, size=(200, 2)), np.ones(200)])
    >>> target = Net(rng.normal(size=(3, 2)), rng.normal(size=(3, 3)))
    >>> shown = softmax(target.scores(rows), axis=1).round(3)
    >>> start = Net(target.inner + 0.3, target.outer - 0.3)
    >>> fit_shares(start, rows, shown, enough=0.0, steps=50)[1] < 1e-3
    True
    """
    off, value = _misfit(net, rows, shown)
    damping, history = 1e-2, [value]
    for _ in range(steps):
        if value <= enough**2 * off.size:
            break
        square, slope = _normal(net, rows, off + shown, off)
        diagonal = np.diag(square)
        floor = _RIDGE * diagonal.max()
        moved = None
        while moved is None and damping < _STUCK:
            damped = square + np.diag(damping * (diagonal + floor) + 1e-6 * floor)
            try:
                step = linalg.cho_solve(linalg.cho_factor(damped, overwrite_a=True, check_finite=False), slope)
            except linalg.LinAlgError:
                damping *= 4
                continue
            tried = _moved(net, step)
            tried_off, tried_value = _misfit(tried, rows, shown)
            if tried_value < value:
                moved = net, off, value = tried, tried_off, tried_value
            else:
                damping *= 4
        history.append(value)
        settled = len(history) > _PATIENCE and history[-_PATIENCE] - value < _GAIN * value
        if moved is None or settled:
            break
        damping = max(damping / 4, 1e-12)
    return net, float(np.sqrt(value / off.size))


def work(rows: int, classes: int, unknowns: int) -> float:
    """Multiplications of one step."""
    return float(rows) * classes * unknowns**2 + unknowns**3 / 3


def _misfit(net: Net, rows: Floats, shown: Floats) -> tuple[Floats, float]:
    off = np.asarray(softmax(net.scores(rows), axis=1)) - shown
    return off, float((off**2).sum())


def _normal(net: Net, rows: Floats, shares: Floats, off: Floats) -> tuple[Floats, Floats]:
    """``JᵀJ`` and ``Jᵀr`` in the unknowns: W by unit, then V by class."""
    (width, hidden), classes = net.inner.shape, net.outer.shape[1]
    size = net.inner.size + net.outer.size
    square, slope = np.zeros((size, size)), np.zeros(size)
    block = max(1, _BLOCK // (size * classes))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        units = net.units(rows[part])
        by_score = shares[part, :, None] * (np.eye(classes) - shares[part, None, :])  # d f_k / d z_j
        through = np.einsum("nkj,hj->nkh", by_score, net.outer[:-1]) * (1.0 - units**2)[:, None, :]
        by_inner = np.einsum("nkh,nw->nkhw", through, rows[part]).reshape(-1, width * hidden)
        features = np.column_stack([units, np.ones(len(units))])
        by_outer = np.einsum("nkj,nq->nkjq", by_score, features).reshape(len(by_inner), -1)
        jacobian = np.hstack([by_inner, by_outer])
        square += jacobian.T @ jacobian
        slope += jacobian.T @ off[part].reshape(-1)
    return square, slope


def _moved(net: Net, step: Floats) -> Net:
    cut = net.inner.size
    inner = net.inner - step[:cut].reshape(net.inner.T.shape).T
    return Net(inner, net.outer - step[cut:].reshape(net.outer.T.shape).T)
