"""Train networks with one hidden layer on labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from filch.attacks.threads import one_thread
from filch.models.perceptron import Activation

Floats = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
_MEMORY = 20  # steps that L-BFGS remembers
_FLAT = 1e-9  # relative gain at which it ends
_PENALTY = 0.04  # on each squared weight, halved, times (weights / rows)²: few rows are told by many networks
_PENALTIES = 3e-3, 0.3  # at least and at most
_STRETCH = 18.0  # how much longer outer weights may be for the same penalty
STEPS = 150


@dataclass(frozen=True, eq=False)
class Weights:
    """A network's weights: ``inner`` of shape (d + 1, h) and ``outer`` of shape (h + 1, c), biases last."""

    inner: Floats
    outer: Floats


def start(width: int, hidden: int, classes: int, rng: np.random.Generator) -> Weights:
    """Random weights as networks are begun with [Glorot10]; ``width`` counts the biases' column."""
    a, b = np.sqrt(6.0 / (width + hidden)), np.sqrt(6.0 / (hidden + classes))
    return Weights(rng.uniform(-a, a, (width, hidden)), rng.uniform(-b, b, (hidden + 1, classes)))


def train(
    matrix: Single,
    labels: npt.NDArray[np.int64],
    begin: Weights,
    activation: Activation,
    *,
    penalty: float | None = None,
    stretch: float = _STRETCH,
    steps: int = STEPS,
) -> Weights:
    """Minimise the mean logistic loss and a penalty on the weights, by L-BFGS over all rows.

    Labels without noise can be told by weights of any length, so that the penalty chooses among the networks that
    fit. It is light on the outer weights, which sharpen the answer, and heavy on the inner ones, which bend it: as in
    networks that were trained for a while from small weights.

    Parameters
    ----------
    matrix : (n, d + 1) float32
        Encoded rows, with a last column of ones.
    labels : (n,) int
        Indices of classes; columns of ``outer``. Those of classes that are not among them stay as they are.
    begin : Weights
    activation : {"tanh", "logistic", "relu"}
    penalty : float, optional
        On each squared weight, halved. None: 0.003 where there are about four rows or more for each weight, and more
        where there are fewer.
    stretch : float
        How much longer outer weights may be for the same penalty.
    steps : int
        At most so many.
    """
    seen, codes = np.unique(labels, return_inverse=True)
    (width, hidden), cut = begin.inner.shape, begin.inner.size
    n = len(matrix)
    if penalty is None:
        weights = cut + begin.outer.size
        penalty = min(max(_PENALTY * (weights / n) ** 2, _PENALTIES[0]), _PENALTIES[1])
    middle = np.append(matrix[:, :-1].mean(axis=0, dtype=np.float64), 0.0)
    columns = np.ascontiguousarray((matrix - middle.astype(np.float32)).T)  # sums over few classes are quick so
    places = codes * n + np.arange(n)

    def loss(flat: Floats) -> tuple[float, Floats]:
        inner = flat[:cut].reshape(width, hidden).astype(np.float32)
        outer = (stretch * flat[cut:]).reshape(hidden + 1, len(seen)).astype(np.float32)
        units, slopes = _units(inner.T @ columns, activation)
        scores = outer[:-1].T @ units
        scores += outer[-1][:, None]
        scores -= scores.max(axis=0)
        right = scores.ravel()[places]
        shares = np.exp(scores, out=scores)
        total = shares.sum(axis=0)
        value = float(np.log(total).sum() - right.sum()) / n
        shares /= total * np.float32(n)
        shares.ravel()[places] -= np.float32(1.0 / n)
        slopes *= outer[:-1] @ shares
        by_inner, by_outer = columns @ slopes.T, np.vstack([units @ shares.T, shares.sum(axis=1)])
        slope = np.concatenate([by_inner.ravel(), stretch * by_outer.ravel()]).astype(np.float64)
        return value + 0.5 * penalty * float(flat @ flat), slope + penalty * flat

    first = np.concatenate([_moved(begin.inner, middle).ravel(), begin.outer[:, seen].ravel() / stretch])
    options: Any = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": _MEMORY, "ftol": _FLAT, "gtol": 1e-8}
    with one_thread():
        flat = optimize.minimize(loss, first, (), "L-BFGS-B", jac=True, options=options).x
    outer = begin.outer.copy()
    outer[:, seen] = stretch * flat[cut:].reshape(hidden + 1, len(seen))
    return Weights(_moved(flat[:cut].reshape(width, hidden), -middle), outer)


def _moved(inner: Floats, middle: Floats) -> Floats:
    """The same network over rows less their mean: indicators are mostly off, and biases that make up for it cost."""
    biases = inner[-1] + middle @ inner
    return np.vstack([inner[:-1], biases])


def _units(inputs: Single, activation: Activation) -> tuple[Single, Single]:
    """Hidden units' values and slopes, in the memory of their inputs and as much again."""
    if activation == "relu":
        return np.maximum(inputs, 0.0), (inputs > 0).astype(np.float32)
    if activation == "tanh":
        units = np.tanh(inputs, out=inputs)
        return units, np.subtract(1.0, units * units, dtype=np.float32)
    units = np.tanh(inputs / 2, out=inputs)
    units += 1.0
    units /= 2
    return units, np.multiply(units, 1.0 - units, dtype=np.float32)
