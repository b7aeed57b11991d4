"""What labels alone can tell at most: the information limit that the curves are drawn against.

**Counting.** After n answers, each one of c labels, an attack has seen one of at most c^n transcripts, so that for each
value of its own randomness it returns one of at most c^n copies. Take targets whose parameters point in a direction
drawn uniformly from the sphere in K dimensions. A copy is within the angle θ of a share

    C(θ) = ½ I(sin² θ; (K − 1)/2, ½)

of them (a spherical cap; I is the regularised incomplete beta function), and c^n copies of a share of c^n C(θ) at most.
With c^n C(θ) = ½, therefore, **at least half of such targets are not copied to within θ, whatever the attack**. For
large n the angle halves with each K − 1 bits: θ ≈ 2^{−n log₂ c / (K − 1)}, up to a factor that hardly depends on n.

**Directions.** For a binary linear model K = d + 1: (w, β), of which labels tell the direction alone. For a softmax it
is (c − 1)(d + 1): labels do not change when one vector is added to the weights of all classes, nor when all are scaled.
The coordinates are those in which each column of uniform rows has mean square 1; columns of no width do not count. A
network's K is the number of its parameters, and its direction is that of all of them.

**From the angle to R.** What an angle costs depends on the target: its parameters are turned by θ in random directions,
and the median disagreement on uniform rows is the limit that is drawn (below θ = 0.01 in proportion to θ), or the error
of the best constant where that is smaller. The angle's bound holds for half of the targets of that prior. This last
step is a measurement beside one target, which an attack may beat in a lucky direction, or because the prior makes such
a target rare.

**Kernels.** The coefficients of an RBF machine are no such direction: neighbouring support vectors do the same. There
the prior is a Gaussian process of the target's kernel, of which n log₂ c bits leave at least the distortion

    D = Σ_j min(λ_j, L) / Σ_j λ_j    with    Σ_j max(0, ½ log₂ (λ_j / L)) = n log₂ c

(reverse water-filling over the kernel's spectrum on uniform rows [CoverThomas06, §10.3.3]); scores that far apart have
another sign on a share θ/π of the rows, sin θ = √D. The spectrum is that of 1,000 rows: directions that these do not
show are counted as known, which lowers the line.

**Random and trained.** Networks and RBF machines that were trained are simpler than random ones: neither line bounds
what an attack does to them, and on some data sets attacks do better. There it is called the random targets' limit, and
shows how far a target is from a random one. (Nor does the kernels' line bound an error of labels: it is read off as if
their scores had to be known for them.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.special import betaincinv, betaln, expit

from filch.core.encoding import OneHot
from filch.core.oracle import ModelOracle
from filch.core.seeds import stream
from filch.paper.labels.measure import UNIT, linear
from filch.paper.targets import Target

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
_DIRECTIONS, _ROWS, _NETWORK_ROWS = 32, 100_000, 20_000
_SMALL = 0.01  # rad below which disagreement grows in proportion to the angle
_PLAIN_BITS = 900.0  # 2^−900 is a float64 yet
_HIGHEST, _TERMS = 0.99, 4_000  # sin² θ that is looked for there, and terms that are enough for it
_SPECTRUM = 1_000


def cap_angle(bits: float, dimensions: int) -> float:
    """The angle to within which at least half of all directions cannot be known by so many bits; see the module.

    Parameters
    ----------
    bits : float
        n log₂ c.
    dimensions : int
        K ≥ 2.

    Returns
    -------
    float
        In rad, at most π/2.

    Examples
    --------
    >>> round(cap_angle(0, 10), 4), round(cap_angle(100, 11) / cap_angle(110, 11), 3)
    (1.5708, 2.0)
    """
    a, b = (dimensions - 1) / 2, 0.5
    if bits < _PLAIN_BITS:
        return math.asin(math.sqrt(float(betaincinv(a, b, 2.0**-bits))))

    terms = np.arange(_TERMS)

    def excess(log_x: float) -> float:  # of log I(x; a, ½) over what it should be
        x = math.exp(log_x)
        # I(x; a, b) = x^a (1 − x)^b / (a B(a, b)) · Σ_j x^j (a + b)_j / (a + 1)_j; each term is below x times the last.
        series = math.log1p(float(np.cumprod(x * (a + b + terms) / (a + 1 + terms)).sum()))
        return a * log_x + b * math.log1p(-x) - math.log(a) - float(betaln(a, b)) + series + bits * math.log(2)

    lowest = -(bits + 64) * math.log(2) / a - 64.0
    highest = math.log(_HIGHEST)
    log_x = highest if excess(highest) <= 0 else float(optimize.brentq(excess, lowest, highest))
    return math.asin(math.exp(log_x / 2))


def leftover_angle(bits: float, spectrum: Floats) -> float:
    """The angle whose squared sine is the share of a Gaussian's variance that so many bits must leave.

    Parameters
    ----------
    bits : float
    spectrum : (m,)
        Variances of independent parts.

    Examples
    --------
    >>> round(leftover_angle(10, np.ones(10)), 6) == round(math.asin(0.5), 6)
    True
    """
    parts = np.sort(spectrum[spectrum > spectrum.max() * 1e-14])[::-1]
    logs = np.log2(parts)
    # With the first m parts above the level: ½ Σ (log λ_j − log L) = bits.
    counts = np.arange(1, len(parts) + 1)
    levels = (np.cumsum(logs) - 2 * bits) / counts
    m = int(np.flatnonzero(levels < logs)[-1]) + 1 if bits > 0 else 1
    level = 2.0 ** levels[m - 1] if bits > 0 else parts[0]
    left = float(np.minimum(parts, level).sum() / parts.sum())
    return math.asin(math.sqrt(min(1.0, left)))


@dataclass(frozen=True, eq=False)
class Limit:
    """The information limit of one target.

    Attributes
    ----------
    bits : float
        An answer's: log₂ c.
    angle : callable
        From bits to rad.
    wrong : callable
        From an angle to the share of uniform rows that it costs.
    constant : float
        The error of the best constant.
    """

    bits: float
    angle: Callable[[float], float]
    wrong: Callable[[float], float]
    constant: float

    def at(self, queries: int) -> tuple[float, float]:
        """The angle, and the share of uniform rows, that so many labels leave."""
        angle = self.angle(queries * self.bits)
        return angle, min(self.wrong(angle), self.constant)


def limit(target: Target) -> Limit:
    """The limit of a target: linear models and networks by counting, RBF machines by their spectrum."""
    model, space = target.oracle.model, target.oracle.spec.space
    rng = stream(0, "limit")
    rows = space.sample(_ROWS if target.kind in ("binary", "softmax") else _NETWORK_ROWS, rng)
    truth = ModelOracle(model, space, reveal="labels").ask(rows).labels
    assert truth is not None
    bits, constant = math.log2(target.study.n_classes), 1.0 - float(np.bincount(truth).max() / len(truth))
    if target.kind == "rbf-svm":
        spectrum = kernel_spectrum(rows[:_SPECTRUM], float(model._gamma))
        return Limit(bits, lambda n: leftover_angle(n, spectrum), lambda angle: angle / math.pi, constant)
    if target.kind.startswith("mlp-"):
        shapes = [part.shape for part in (*model.coefs_, *model.intercepts_)]
        flat = np.concatenate([part.ravel() for part in (*model.coefs_, *model.intercepts_)])
        dimensions, moves = len(flat), rng.normal(size=(_DIRECTIONS, len(flat)))
        labels = functools.partial(_network_labels, model.activation, shapes, rows)
    else:
        weights = linear(space, model)
        assert weights is not None
        varies = np.append(np.repeat(space.high > space.low, OneHot(space).widths), True)
        dimensions = int(varies.sum()) * max(1, len(weights) - 1)
        drawn = rng.normal(size=(_DIRECTIONS, *weights.shape)) * varies
        if len(weights) > 1:
            drawn -= drawn.mean(axis=1, keepdims=True)  # as the weights, zero-sum over the classes
        flat, moves = weights.ravel(), drawn.reshape(_DIRECTIONS, -1)
        design = np.column_stack([UNIT * OneHot(space).encode(rows), np.ones(len(rows))])
        labels = functools.partial(_linear_labels, weights.shape, design)
    here, norm = labels(flat), float(np.linalg.norm(flat))
    moves -= np.outer(moves @ flat, flat) / norm**2
    moves *= norm / np.linalg.norm(moves, axis=1, keepdims=True)

    def wrong(angle: float) -> float:
        used = max(angle, _SMALL)
        turned = (math.cos(used) * flat + math.sin(used) * move for move in moves)
        return float(np.median([(labels(one) != here).mean() for one in turned])) * angle / used

    return Limit(bits, lambda n: cap_angle(n, dimensions), wrong, constant)


def kernel_spectrum(rows: Floats, gamma: float) -> Floats:
    """Eigenvalues of an RBF kernel's operator on rows of shape (m, d), ascending; their sum is 1."""
    norms = (rows**2).sum(axis=1)
    squares = np.maximum(norms[:, None] + norms[None, :] - 2 * rows @ rows.T, 0.0)
    return np.asarray(np.linalg.eigvalsh(np.exp(-gamma * squares)) / len(rows))


def _linear_labels(shape: tuple[int, ...], design: Floats, flat: Floats) -> Labels:
    scores = design @ flat.reshape(shape).T
    return np.asarray(scores[:, 0] > 0 if shape[0] == 1 else scores.argmax(axis=1), dtype=np.int64)


def _network_labels(activation: str, shapes: Sequence[tuple[int, ...]], rows: Floats, flat: Floats) -> Labels:
    """Labels of a network of one hidden layer; parameters in scikit-learn's order: weights, then biases."""
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    first, last, bias, shift = (part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True))
    hidden = rows @ first + bias
    if activation == "tanh":
        hidden = np.tanh(hidden)
    else:
        hidden = expit(hidden) if activation == "logistic" else np.maximum(hidden, 0.0)
    scores = hidden @ last + shift
    return np.asarray(scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(axis=1), dtype=np.int64)
