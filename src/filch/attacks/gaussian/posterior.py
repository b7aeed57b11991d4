"""What labels tell of a score function: a Gaussian process behind a step, by expectation propagation [Minka01].

A binary kernel machine answers ``sign f(x)`` with ``f(x) = Σ_r a_r k(x, x_r) + b``. Before any answer f is a Gaussian
process whose covariance is the kernel and a constant; each label cuts half of it away. Expectation propagation stands
a Gaussian in for each cut, so that the mean of what is left, the Bayes point, is again a sum of kernels, now at the
rows that were asked, and the evidence of a kernel is a number [RasmussenWilliams06, §3.6].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import log_ndtr, ndtr

Floats = npt.NDArray[np.float64]
_SWEEPS = 20  # at most
_START, _LEAST, _MOST = 1e-3, 1e-6, 1e8  # precisions of a stand-in: at first, where it says nothing, where it is exact
_SHARE = 0.7  # of the way to its new stand-ins that a sweep goes, lest all of them overshoot together
_STILL = 0.01  # deviations by which a mean still moves when the sweeps end
_NEAR = 0.75  # of the rows that are to be told: those close to the zero
_FINE = 1 / 3  # of the scores of the rows beside the zero: deviations so much smaller
_BLOCK = 4_000_000  # kernel values held at once
_ROUNDED = 1e-13  # of a matrix's largest entry, for each row


@dataclass(frozen=True, eq=False)
class Kernel:
    """A covariance of score functions over encoded rows: an RBF or polynomial kernel, and a constant.

    Parameters
    ----------
    gamma : float
        Of ``exp(−γ ‖D(x − x′)‖²)``, or of ``(γ Dx·Dx′ + 1)^degree``, which is divided by its value at ``typical``.
    noise : float
        The variance of a score from call to call: what labels that contradict each other are put down to.
    degree : int, optional
        Of a polynomial kernel; None for RBF.
    scale : (width,), optional
        The diagonal of D; None for ones.
    bias : float
        The variance of the constant, in units of the kernel's.
    typical : float
        A typical ``‖Dx‖²``.
    """

    gamma: float
    noise: float = 1e-6
    degree: int | None = None
    scale: Floats | None = None
    bias: float = 1.0
    typical: float = 1.0

    @property
    def unit(self) -> float:
        """What the kernel is divided by."""
        return 1.0 if self.degree is None else (self.gamma * self.typical + 1.0) ** self.degree

    def between(self, a: Floats, b: Floats) -> Floats:
        """Covariances, of shape (len(a), len(b))."""
        if self.scale is not None:
            a, b = a * self.scale, b * self.scale
        values: Floats = a @ b.T
        if self.degree is None:
            values *= -2.0
            values += (a**2).sum(axis=1)[:, None]
            values += (b**2).sum(axis=1)
            np.maximum(values, 0.0, out=values)
            values *= -self.gamma
            np.exp(values, out=values)
        else:
            values = (self.gamma * values + 1.0) ** self.degree / self.unit
        values += self.bias
        return values

    def alone(self, rows: Floats) -> Floats:
        """Variances, of shape (n,)."""
        if self.degree is None:
            return np.full(len(rows), 1.0 + self.bias)
        scaled = rows if self.scale is None else rows * self.scale
        own = (self.gamma * (scaled**2).sum(axis=1) + 1.0) ** self.degree
        return np.asarray(own / self.unit + self.bias)


@dataclass(frozen=True, eq=False)
class Sites:
    """The Gaussians that stand in for labels: precisions, and precisions times means; (n,) each."""

    precision: Floats
    pull: Floats

    def first(self, n: int, signs: Floats) -> Sites:
        """These for n rows: the further ones say next to nothing yet."""
        precision, pull = np.full(n, _START), signs * _START
        known = min(n, len(self.precision))
        precision[:known], pull[:known] = self.precision[:known], self.pull[:known]
        return Sites(precision, pull)


NONE = Sites(np.empty(0), np.empty(0))


@dataclass(frozen=True, eq=False)
class Posterior:
    """The score function after n labels.

    Attributes
    ----------
    kernel : Kernel
    rows : (n, width)
        Encoded.
    sites : Sites
    weights : (n,)
        The mean is ``Σ_r weights_r k(x, x_r)``.
    root, factor
        Root precisions, and the Cholesky factor of the matrix by which variances shrink.
    evidence : float
        The logarithm of how likely the labels were.
    """

    kernel: Kernel
    rows: Floats
    sites: Sites
    weights: Floats
    root: Floats
    factor: Floats
    evidence: float

    @classmethod
    def of(cls, kernel: Kernel, rows: Floats, signs: Floats, start: Sites = NONE, sweeps: int = _SWEEPS) -> Posterior:
        """Propagate expectations until the mean rests.

        Parameters
        ----------
        kernel : Kernel
        rows : (n, width)
        signs : (n,)
            +1 or −1.
        start : Sites
            Of an earlier fit, to begin with.
        sweeps : int
            At most; each factors an n × n matrix.
        """
        n = len(rows)
        covariance = kernel.between(rows, rows)
        covariance[np.diag_indices(n)] += kernel.noise
        about = _propagate(covariance, np.zeros(n), signs, start.first(n, signs), sweeps)
        sites, root, factor = about.sites, about.root, about.factor
        far = covariance @ sites.pull
        lifted = linalg.solve_triangular(factor, root * far, lower=True, check_finite=False)
        weights = sites.pull - root * linalg.solve_triangular(factor, lifted, lower=True, trans=1, check_finite=False)
        energy = float(sites.pull @ far - lifted @ lifted)
        evidence = _evidence(about.mean, about.variance, sites, signs, energy) - float(np.log(factor.diagonal()).sum())
        return cls(kernel, rows, sites, weights, root, factor, evidence)

    def further(self, rows: Floats, signs: Floats) -> Posterior:
        """Take in the labels of further rows without moving what stands in for those before: far cheaper, and coarser.

        The evidence stays that of the labels before.

        Parameters
        ----------
        rows : (n, width)
            All rows, the further ones last.
        signs : (n,)
        """
        known, count = len(self.rows), len(rows)
        new = rows[known:]
        shrunk = self.shrinking(new)
        covariance = self.kernel.between(new, new) - shrunk.T @ shrunk
        covariance[np.diag_indices(len(new))] += self.kernel.noise
        about = _propagate(covariance, self.mean(new), signs[known:], NONE.first(len(new), signs[known:]), _SWEEPS)
        root = np.concatenate([self.root, about.root])
        factor = np.zeros((count, count))
        factor[:known, :known], factor[known:, known:] = self.factor, about.factor
        factor[known:, :known] = about.root[:, None] * shrunk.T
        sites = Sites(
            np.concatenate([self.sites.precision, about.sites.precision]),
            np.concatenate([self.sites.pull, about.sites.pull]),
        )
        lifted = linalg.solve_triangular(factor, sites.pull / root, lower=True, check_finite=False)
        weights = root * linalg.solve_triangular(factor, lifted, lower=True, trans=1, check_finite=False)
        return Posterior(self.kernel, rows, sites, weights, root, factor, self.evidence)

    def mean(self, rows: Floats) -> Floats:
        """The score's mean, of shape (n,)."""
        block = max(1, _BLOCK // max(1, len(self.rows)))
        parts = [
            self.kernel.between(rows[at : at + block], self.rows) @ self.weights for at in range(0, len(rows), block)
        ]
        return np.concatenate([*parts, np.empty(0)])

    def shrinking(self, rows: Floats) -> Floats:
        """What labels take off: the covariance is ``k(x, x′) − s(x)·s(x′)``; of shape (answers, n)."""
        lifted = self.root[:, None] * self.kernel.between(self.rows, rows)
        shrunk: Floats = linalg.solve_triangular(self.factor, lifted, lower=True, check_finite=False)
        return shrunk

    def variance(self, rows: Floats) -> Floats:
        """The score's variance, of shape (n,)."""
        return np.asarray(np.maximum(self.kernel.alone(rows) - (self.shrinking(rows) ** 2).sum(axis=0), 1e-14))

    def doubts(self, rows: Floats) -> Floats:
        """How likely the label of the mean is wrong, of shape (n,)."""
        wrong: Floats = ndtr(-np.abs(self.mean(rows)) / np.sqrt(self.variance(rows)))
        return wrong

    def telling(self, rows: Floats, count: int, among: Floats) -> npt.NDArray[np.int64]:
        """Of rows where the mean is nearly 0, those whose labels tell most of others: each after those before it.

        A label at the mean's zero takes 2/π of the variance there, and of each other row what goes with it. What counts
        is how many of ``among``, of shape (m, width), change sides for it; most of them are to lie close to 0.
        """
        n, both = len(rows), np.concatenate([rows, among])
        shrunk = self.shrinking(both)
        along = self.kernel.between(both, rows) - shrunk.T @ shrunk[:, :n]
        variance = np.maximum(self.kernel.alone(among) - (shrunk[:, n:] ** 2).sum(axis=0), 1e-14)
        mean = self.mean(both)
        near = np.exp(-0.5 * mean[:n] ** 2 / np.maximum(along[:n].diagonal(), 1e-14))
        apart = np.abs(mean[n:])
        reach = max(float(np.quantile(apart, _NEAR)), 1e-14)
        chosen: list[int] = []
        for _ in range(min(count, n)):
            own = np.maximum(along[:n].diagonal(), 1e-14)
            deviation = np.sqrt(variance)
            # Where the zero is known to less than the rows' distance from it, that distance may be any one.
            dense = np.exp(-0.5 * mean[n:] ** 2 / variance) / deviation
            dense[(deviation < _FINE * reach) & (apart <= reach)] = 1.25 / reach
            open_ = dense / deviation
            gain = near * (open_ @ along[n:] ** 2) / own
            gain[chosen] = -np.inf
            best = int(gain.argmax())
            chosen.append(best)
            taken = along[:, best] * np.sqrt(2 / np.pi / own[best])
            variance = np.maximum(variance - taken[n:] ** 2, 1e-14)
            along -= np.outer(taken, taken[:n])
        return np.array(chosen, dtype=np.int64)

    def again(self, rows: Floats, signs: Floats) -> Posterior:
        """Weigh all labels anew, with those of further rows."""
        return Posterior.of(self.kernel, rows, signs, self.sites)

    def under(self, kernel: Kernel, signs: Floats) -> Posterior:
        """The posterior of the same labels under another kernel."""
        return Posterior.of(kernel, self.rows, signs, self.sites)

    def slopes(self) -> tuple[Floats, float, float]:
        """How the evidence grows with the logarithms of each column's scale, of all of them together, and of the bias.

        A scale moves γ, and with it, of a polynomial kernel, what the kernel is divided by.
        """
        kernel, rows = self.kernel, self.rows
        inverse = linalg.lapack.dpotri(self.factor, lower=1)[0]
        inverse += np.tril(inverse, -1).T
        pulls = np.outer(self.weights, self.weights) - self.root[:, None] * inverse * self.root
        bias = 0.5 * kernel.bias * float(pulls.sum())
        values = kernel.between(rows, rows) - kernel.bias
        scaled = rows if kernel.scale is None else rows * kernel.scale
        if kernel.degree is None:
            pulls *= values
            apart = (scaled**2 * pulls.sum(axis=1)[:, None]).sum(axis=0) - ((pulls @ scaled) * scaled).sum(axis=0)
            columns = -2.0 * kernel.gamma * apart
            return columns, float(columns.sum()), bias
        typical = kernel.gamma * kernel.typical
        divided = kernel.degree * typical / (typical + 1.0) * float((pulls * values).sum())
        pulls *= kernel.degree / kernel.unit * (kernel.gamma * (scaled @ scaled.T) + 1.0) ** (kernel.degree - 1)
        columns = kernel.gamma * ((pulls @ scaled) * scaled).sum(axis=0)
        return columns, float(columns.sum()) - divided, bias


@dataclass(frozen=True, eq=False)
class _About:
    """What labels leave of normal scores: their means and variances, and what stands in for the labels."""

    sites: Sites
    mean: Floats
    variance: Floats
    root: Floats
    factor: Floats


def _propagate(covariance: Floats, middle: Floats, signs: Floats, sites: Sites, sweeps: int) -> _About:
    """Propagate expectations until the mean rests, from scores of this mean and covariance."""
    mean = np.full(len(signs), np.inf)
    for _ in range(sweeps):
        before, precision, pull = mean, sites.precision, sites.pull
        root, factor = _factor(covariance, precision)
        inverse = linalg.lapack.dtrtri(factor, lower=1)[0]
        shrunk = np.einsum("ij,ij->j", inverse, inverse)
        variance = np.maximum((1.0 - shrunk) / precision, 1e-12)
        far = covariance @ (pull - precision * middle)
        mean = middle + far - covariance @ (root * (inverse.T @ (inverse @ (root * far))))
        rest, about = _cavity(mean, variance, sites)
        z = signs * about * np.sqrt(rest)
        slope = np.exp(-0.5 * z**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(z))
        moved = about + signs * slope / np.sqrt(rest)
        narrowed = np.maximum(1.0 - slope * (z + slope), 1e-14) / rest
        wanted = np.clip(1.0 / narrowed - rest, _LEAST, _MOST)
        pulled = np.where(wanted > _LEAST, moved / narrowed - about * rest, 0.0)
        if (np.abs(mean - before) <= _STILL * np.sqrt(variance)).all():
            break
        sites = Sites(precision + _SHARE * (wanted - precision), pull + _SHARE * (pulled - pull))
    root, factor = _factor(covariance, sites.precision)
    return _About(sites, mean, variance, root, factor)


def _factor(covariance: Floats, precision: Floats) -> tuple[Floats, Floats]:
    root = np.sqrt(precision)
    square = root[:, None] * covariance
    square *= root
    square[np.diag_indices(len(square))] += 1.0
    # Transposed, it lies in memory as LAPACK wants it.
    try:
        return root, linalg.cholesky(square.T, lower=True, check_finite=False)
    except linalg.LinAlgError:  # rounding errors of huge precisions outweigh the 1: add what they amount to
        square[np.diag_indices(len(square))] += _ROUNDED * len(square) * square.diagonal().max()
        return root, linalg.cholesky(square.T, lower=True, overwrite_a=True, check_finite=False)


def _cavity(mean: Floats, variance: Floats, sites: Sites) -> tuple[Floats, Floats]:
    """Precisions and means without each row's own stand-in."""
    rest = np.maximum(1.0 / variance - sites.precision, 1e-10)
    return rest, (mean / variance - sites.pull) / rest


def _evidence(mean: Floats, variance: Floats, sites: Sites, signs: Floats, energy: float) -> float:
    """The part of the evidence that needs no determinant [RasmussenWilliams06, eqs. 3.73, 3.74]."""
    rest, about = _cavity(mean, variance, sites)
    precision, pull = sites.precision, sites.pull
    fits = log_ndtr(signs * about * np.sqrt(rest)).sum() + 0.5 * np.log1p(precision / rest).sum()
    both = precision + rest
    apart = 0.5 * (about * rest / both * (precision * about - 2.0 * pull)).sum()
    return float(fits + 0.5 * (energy - (pull**2 / both).sum()) + apart)
