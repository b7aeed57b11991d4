"""What attacks share that fit a network of a given width to uniform rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from filch.core.answers import Answers
from filch.core.attack import MOST_BYTES, Ask, Snapshot
from filch.core.encoding import OneHot
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.models.perceptron import Activation, Output, PerceptronModel

Floats = npt.NDArray[np.float64]


def rows_for(alpha: float, hidden: int, spec: OracleSpec) -> int:
    """α queries for each of the h(d + 1) + c(h + 1) unknowns, rounded up."""
    return math.ceil(alpha * (hidden * (OneHot(spec.space).width + 1) + spec.n_classes * (hidden + 1)))


def asked(spec: OracleSpec, count: int, rng: np.random.Generator, snapshot: Snapshot) -> Generator[Ask, Answers, None]:
    """Ask so many uniform rows, in a few asks, each as long as all before it: points for the curve."""
    rows = spec.space.sample(count, rng)
    most = max(1, MOST_BYTES // rows[:1].nbytes)
    cuts = {0, count, *(math.ceil(count / 2**k) for k in range(4)), *range(0, count, most)}
    for start, stop in itertools.pairwise(sorted(cuts)):
        yield Ask(rows[start:stop], "uniform", snapshot=snapshot)


def inputs_of(spec: OracleSpec, rows: Rows) -> Floats:
    """Encoded rows with a last column of ones, of shape (n, d + 1)."""
    return np.column_stack([OneHot(spec.space).encode(rows), np.ones(len(rows))])


def model_of(spec: OracleSpec, inner: Floats, outer: Floats, activation: Activation) -> PerceptronModel:
    """The model of weights into (d + 1, h) and out of (h + 1, c) the hidden units, whose last rows are the biases."""
    binary = spec.n_classes == 2
    outer = outer[:, 1:] - outer[:, :1] if binary else outer
    coefs, intercepts = (inner[:-1].copy(), outer[:-1].copy()), (inner[-1].copy(), outer[-1].copy())
    link: Output = "logistic" if binary else "softmax"
    return PerceptronModel(spec.space, spec.classes, coefs, intercepts, activation, link)
