"""Least squares for networks with one hidden layer of tanh units: a polish, and fits from random starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

from filch.attacks.threads import one_thread

Floats = npt.NDArray[np.float64]
_BLOCK = 2**23  # entries of a Jacobian that are held at once (64 MB)
_STUCK = 1e8  # damping at which no step helps
_WORK, _FEWEST = 1.5e11, 30  # multiplications that fits from scratch may cost, and steps that they take in any case
_PATIENCE = 50  # steps of a search that must gain a hundredth together
_FLAT = 1e-10  # singular values of the hidden units' outputs below it are noise


@dataclass(frozen=True, eq=False)
class Net:
    """``scores = tanh(x·W + b)·V + c`` over encoded rows x.

    Attributes
    ----------
    inner : (d + 1, h)
        W, and b as its last row.
    outer : (h + 1, k)
        V, and c as its last row.
    """

    inner: Floats
    outer: Floats

    @property
    def hidden(self) -> int:
        """The number of hidden units."""
        return int(self.inner.shape[1])

    def units(self, matrix: Floats) -> Floats:
        """Activations of the hidden units over rows with a last column of ones, of shape (n, h)."""
        return np.asarray(np.tanh(matrix @ self.inner))

    def scores(self, matrix: Floats) -> Floats:
        """Scores of shape (n, k)."""
        return np.asarray(self.units(matrix) @ self.outer[:-1] + self.outer[-1])


@dataclass(frozen=True, eq=False)
class Equations:
    """What answers say of a network: scores at rows, and quotients ``(score(x + δe) − score(x)) / δ``.

    Rows a tiny step apart differ in their last digits; as quotients they weigh as much as the rest.

    Attributes
    ----------
    rows : (n, d + 1)
        Encoded, with a last column of ones.
    scores : (n, k)
    base : (m,) int
        The row from which each quotient starts.
    ways : (m, d + 1)
        Its direction e, with a last column of zeros.
    quotients : (m, k)
    steps : (m,)
        δ.
    """

    rows: Floats
    scores: Floats
    base: npt.NDArray[np.int64]
    ways: Floats
    quotients: Floats
    steps: Floats

    @classmethod
    def of_rows(cls, rows: Floats, scores: Floats) -> Equations:
        """Equations without quotients."""
        empty = np.empty((0, rows.shape[1]))
        return cls(rows, scores, np.empty(0, dtype=np.int64), empty, scores[:0], np.empty(0))

    def projected(self, basis: Floats) -> Equations:
        """The same in coordinates of a subspace, whose basis has shape (d, q)."""
        whole = linalg.block_diag(basis, np.ones((1, 1)))
        return Equations(self.rows @ whole, self.scores, self.base, self.ways @ whole, self.quotients, self.steps)

    def joined(self, other: Equations) -> Equations:
        """These and others that have no quotients."""
        rows, scores = np.vstack([self.rows, other.rows]), np.vstack([self.scores, other.scores])
        return Equations(rows, scores, self.base, self.ways, self.quotients, self.steps)

    def solve_outer(self, inner: Floats) -> Net:
        """The best output weights for given hidden units."""
        values, quotients = self._features(inner)[:2]
        design = np.column_stack([np.vstack([values, quotients]), np.zeros(len(values) + len(quotients))])
        design[: len(values), -1] = 1.0
        return Net(inner, np.linalg.lstsq(design, np.vstack([self.scores, self.quotients]), rcond=None)[0])

    def _features(self, inner: Floats) -> tuple[Floats, Floats, Floats]:
        """Units' values (n, h), their quotients (m, h), and values where the quotients end (m, h)."""
        inputs = self.rows @ inner
        values = np.tanh(inputs)
        rise = self.ways @ inner
        steps = self.steps[:, None]
        ends = np.tanh(inputs[self.base] + steps * rise)
        # tanh(u + r) − tanh(u) = tanh(r) (1 − tanh(u) tanh(u + r)), without cancellation
        return values, np.tanh(steps * rise) * (1.0 - values[self.base] * ends) / steps, ends

    def misfit(self, net: Net) -> Floats:
        """Residuals of shape (n + m, k)."""
        values, quotients, _ = self._features(net.inner)
        of_rows = values @ net.outer[:-1] + net.outer[-1] - self.scores
        return np.vstack([of_rows, quotients @ net.outer[:-1] - self.quotients])

    def normal(self, net: Net, misfit: Floats) -> tuple[Floats, Floats]:
        """``JᵀJ`` and ``Jᵀr`` in the unknowns (inner by unit, then outer by score)."""
        values, quotients, ends = self._features(net.inner)
        width, hidden = net.inner.shape
        scores = net.outer.shape[1]
        size = width * hidden + scores * (hidden + 1)
        square, slope = np.zeros((size, size)), np.zeros(size)
        block = max(1, _BLOCK // (size * scores))
        identity = np.eye(scores)
        for start in range(0, len(self.rows), block):
            part = slice(start, start + block)
            by_inner = np.einsum("nj,jk,nd->nkjd", 1.0 - values[part] ** 2, net.outer[:-1], self.rows[part])
            features = np.column_stack([values[part], np.ones(len(by_inner))])
            self._add(square, slope, by_inner, features, identity, misfit[: len(self.rows)][part])
        change = -quotients * (values[self.base] + ends)  # of the slopes, as a quotient
        for start in range(0, len(self.base), block):
            part = slice(start, start + block)
            by_inner = np.einsum("mj,jk,md->mkjd", change[part], net.outer[:-1], self.rows[self.base[part]])
            by_inner += np.einsum("mj,jk,md->mkjd", 1.0 - ends[part] ** 2, net.outer[:-1], self.ways[part])
            features = np.column_stack([quotients[part], np.zeros(len(by_inner))])
            self._add(square, slope, by_inner, features, identity, misfit[len(self.rows) :][part])
        return square, slope

    @staticmethod
    def _add(square: Floats, slope: Floats, by_inner: Floats, features: Floats, identity: Floats, off: Floats) -> None:
        n, scores = off.shape
        by_outer = np.einsum("nj,kl->nklj", features, identity).reshape(n * scores, -1)
        jacobian = np.hstack([by_inner.reshape(n * scores, -1), by_outer])
        square += jacobian.T @ jacobian
        slope += jacobian.T @ off.reshape(-1)


def polish(net: Net, equations: Equations, *, steps: int = 30, enough: float = 0.0) -> tuple[Net, float]:
    """Take Levenberg–Marquardt steps on all unknowns.

    Returns
    -------
    net : Net
    misfit : float
        Root mean square of the residuals.
    """
    misfit = equations.misfit(net)
    value, damping = float((misfit**2).sum()), 1e-4
    for _ in range(steps):
        square, slope = equations.normal(net, misfit)
        scale = np.sqrt(np.maximum(np.diag(square), 1e-300))
        square /= scale
        square /= scale[:, None]
        before = value
        while damping < _STUCK:
            damped = square.copy()
            damped[np.diag_indices_from(damped)] += damping
            try:
                factor = linalg.cho_factor(damped, overwrite_a=True, check_finite=False)
            except linalg.LinAlgError:
                damping *= 10
                continue
            moved = _moved(net, linalg.cho_solve(factor, slope / scale, check_finite=False) / scale)
            tried = equations.misfit(moved)
            if (tried_value := float((tried**2).sum())) < value:
                net, misfit, value = moved, tried, tried_value
                break
            damping *= 10
        if before - value <= 1e-3 * before or value <= enough**2 * misfit.size:
            break
        damping = max(damping / 10, 1e-15)
    return net, float(np.sqrt(value / misfit.size))


def _moved(net: Net, step: Floats) -> Net:
    cut = net.inner.size
    inner = net.inner - step[:cut].reshape(net.inner.T.shape).T
    return Net(inner, net.outer - step[cut:].reshape(net.outer.T.shape).T)


def fit_from_scratch(
    rows: Floats,
    scores: Floats,
    hidden: int,
    rng: np.random.Generator,
    *,
    starts: int = 16,
    steps: int = 800,
    enough: float = 1e-8,
) -> tuple[Net, float]:
    """Fit a network to scores from random starts, and keep the closest.

    Output weights are solved for at every step (variable projection [Golub73, Kaufman75]), so that only the hidden
    units are searched for.

    Parameters
    ----------
    rows : (n, d + 1)
        Encoded, with a last column of ones.
    scores : (n, k)
    hidden : int
        Hidden units. More than the target has are found sooner, if there are equations enough.
    starts, steps : int
        At most so many starts, of so many steps each; fewer for problems so large that these would take many minutes.
    enough : float
        Misfit, as a part of the scores' spread, at which it stops.

    Returns
    -------
    net : Net
    misfit : float
        Root mean square of the residuals.
    """
    with one_thread():
        return _best_start(rows, scores, hidden, rng, starts, steps, enough)


def _best_start(
    rows: Floats, scores: Floats, hidden: int, rng: np.random.Generator, starts: int, steps: int, enough: float
) -> tuple[Net, float]:
    centre, spread = scores.mean(axis=0), float(scores.std()) or 1.0
    wanted = (scores - centre) / spread
    best, least = None, np.inf
    affordable = int(_WORK / (scores.size * (rows.shape[1] * hidden) ** 2))
    steps = max(_FEWEST, min(steps, affordable))
    for number in range(max(1, min(starts, affordable // steps))):
        inner = rng.normal(size=(rows.shape[1], hidden)) * (0.3, 1.0)[number % 2]
        inner, outer, misfit = _search(rows, wanted, inner, steps, enough)
        if best is None or misfit < least:
            best, least = Net(inner, np.vstack([outer[:-1] * spread, outer[-1] * spread + centre])), misfit
        if least < enough:
            break
    assert best is not None
    return best, least * spread


def _search(rows: Floats, wanted: Floats, inner: Floats, steps: int, enough: float) -> tuple[Floats, Floats, float]:
    """Levenberg–Marquardt on the hidden units alone, the outputs projected out."""
    (n, scores), (width, hidden) = wanted.shape, inner.shape
    current, damping = _project(rows, wanted, inner), 1e-2
    history = [current.value]
    for _ in range(steps):
        slopes = np.einsum("nj,jk,nd->knjd", 1.0 - current.features[:, :-1] ** 2, current.outer[:-1], rows)
        jacobian = slopes.reshape(scores, n, -1)
        jacobian = (jacobian - current.basis @ (current.basis.T @ jacobian)).reshape(scores * n, -1)
        square, slope = jacobian.T @ jacobian, jacobian.T @ current.misfit.T.reshape(-1)
        diagonal = np.diag(square) + 1e-12 * square.max()
        tried = current
        while damping < _STUCK:
            damped = square + np.diag(damping * diagonal)
            try:
                step = linalg.cho_solve(linalg.cho_factor(damped, overwrite_a=True, check_finite=False), slope)
            except linalg.LinAlgError:
                damping *= 4
                continue
            tried = _project(rows, wanted, inner - step.reshape(hidden, width).T)
            if tried.value < current.value:
                inner, current = inner - step.reshape(hidden, width).T, tried
                break
            damping *= 4
        history.append(current.value)
        settled = len(history) > _PATIENCE and history[-_PATIENCE] - history[-1] < 1e-2 * history[-1]
        if tried is not current or settled or current.value < enough**2 * wanted.size:
            break
        damping = max(damping / 4, 1e-14)
    return inner, current.outer, float(np.sqrt(current.value / wanted.size))


@dataclass(frozen=True, eq=False)
class _Projection:
    """The best outputs for given hidden units: features (n, h + 1), their basis, weights, residuals, sum of squares."""

    features: Floats
    basis: Floats
    outer: Floats
    misfit: Floats
    value: float


def _project(rows: Floats, wanted: Floats, inner: Floats) -> _Projection:
    features = np.column_stack([np.tanh(rows @ inner), np.ones(len(rows))])
    u, s, vt = np.linalg.svd(features, full_matrices=False)
    outer = vt.T @ ((s / (s * s + (_FLAT * s[0]) ** 2))[:, None] * (u.T @ wanted))
    misfit = features @ outer - wanted
    return _Projection(features, u, outer, misfit, float((misfit**2).sum()))
