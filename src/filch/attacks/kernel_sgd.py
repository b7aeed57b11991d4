"""The paper's own way to kernel models: gradient descent over weights and representers [Tramèr16, §4.1.3].

Learns an RBF kernel logistic regression of a given number of representers from class probabilities: all of them, exact
or rounded. Representers begin as uniform rows; they come to resemble training rows of the target, or, where the copy
has far fewer than the target, averages of them.

Queries: ``queries`` uniform rows, or the budget if that is less; and ``check`` rows in the selection account, on which
the error of the copy is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.special import log_softmax

from filch.attacks.doubts import distances, resolution
from filch.attacks.kernels.answers import EXACT
from filch.attacks.kernels.fit import Fit, contrasts
from filch.core.answers import Answers
from filch.core.attack import MOST_BYTES, Ask, Finding, Outcome, Steps
from filch.core.encoding import OneHot
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.kernel import KernelModel, rbf

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class KernelSGD:
    """Extract a kernel model of a given number of representers by gradient descent.

    Parameters
    ----------
    representers : int, default 20
        Of the copy; more than the target has do no harm.
    gamma : float, optional
        In the encoded view; the paper's attacker knows it. None: learned with the rest, from ``1 / width`` on.
    queries : int, default 5,000
        Uniform rows.
    steps_most : int, default 2,000
        The most steps of the descent.
    check : int, default 8
        Further rows on which the error is told; 0 leaves it untold.

    Notes
    -----
    The paper names neither a step nor an end: here L-BFGS descends until the loss falls no further, or ``steps_most``.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from filch.models import KernelModel
    >>> rng, space = np.random.default_rng(0), filch.FeatureSpace.box([-1, -1], [1, 1])
    >>> target = KernelModel(space, (0, 1), space.sample(2, rng), 3 * np.eye(2)[:1], np.zeros(1), gamma_=1.0)
    >>> oracle = filch.ModelOracle(target, space)
    >>> run = filch.extract(oracle, attack=KernelSGD(2, gamma=1.0, queries=100), budget=200)
    >>> run.queries, run.selection, filch.fidelity(oracle, run.model).r_unif < 0.05
    (100, 8, True)
    """

    representers: int = 20
    gamma: float | None = None
    queries: int = 5_000
    steps_most: int = 2_000
    check: int = 8

    def __post_init__(self) -> None:
        counts = min(self.representers, self.queries, self.steps_most) >= 1 and self.check >= 0
        if not counts or (self.gamma is not None and not 0 < self.gamma < math.inf):
            raise UsageError("KernelSGD takes representers, queries and steps_most ≥ 1, gamma > 0 and check ≥ 0")

    def needs(self, spec: OracleSpec) -> str | None:
        """All probabilities of at least two classes."""
        if spec.n_classes < 2:
            return "the target is no classifier with two or more classes"
        k = spec.reveal.k
        if not spec.reveal.shows_probabilities or (k is not None and k < spec.n_classes):
            return f'it needs all class probabilities, and the oracle reveals {spec.reveal.level}; try "retraining"'
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask uniform rows, fit, tell the error on a few more."""
        wanted = min(self.queries, max(1, budget - self.check))
        rows = spec.space.sample(wanted, child(rng, "uniform"))
        most = max(1, MOST_BYTES // rows[:1].nbytes)
        parts = [known.given] if known.probabilities is not None else []
        spent = False
        for start in range(0, wanted, most):
            try:
                parts.append((yield Ask(rows[start : start + most], "uniform")).given)
            except BudgetSpent as end:
                parts.append(end.partial.given)
                spent = True
                break
        heard = Answers.concat(
            [*(part for part in parts if part.probabilities is not None), Answers.none(len(spec.space))]
        )
        evidence: dict[str, object] = {"representers": self.representers, "answers": len(heard)}
        if heard.probabilities is None or not len(heard):
            return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", evidence)
        model, ended = self.descend(spec, heard, child(rng, "descent"))
        learned = f"{self.representers} representers, fitted to {len(heard):,} answers: {ended}"
        if spent:
            return Finding(model, Outcome.BUDGET_SPENT, f"the budget ended early; {learned}", evidence)
        if not self.check:
            return Finding(model, Outcome.APPROXIMATE, learned, evidence)
        try:
            further = spec.space.sample(self.check, child(rng, "check"))
            held = (yield Ask(further, "check", "selection", lambda: model)).given
        except BudgetSpent:
            return Finding(model, Outcome.APPROXIMATE, learned, evidence)
        off = distances(model, held) if held.probabilities is not None else np.empty(0)
        if not len(off) or not np.isfinite(off).all():
            return Finding(model, Outcome.APPROXIMATE, learned, evidence)
        mean = float(off.mean())
        reason = f"{learned}; {len(held)} further rows differ by {mean:.1e} on average (total variation)"
        fits = mean <= max(EXACT, spec.n_classes * resolution(heard, spec))
        outcome = Outcome.VERIFIED if fits else Outcome.APPROXIMATE
        return Finding(model, outcome, reason, evidence | {"residual": mean})

    def descend(self, spec: OracleSpec, heard: Answers, rng: np.random.Generator) -> tuple[KernelModel, str]:
        """Minimise the logistic loss ``−Σ f_i log f̂_i`` over weights, representers and, where it is not given, γ."""
        view, shown = OneHot(spec.space), heard.probabilities
        assert shown is not None
        sound = np.isfinite(shown).all(axis=1)
        encoded, shares = view.encode(heard.rows[sound]), np.clip(shown[sound], 0.0, None)
        count, width, classes = self.representers, view.width, spec.n_classes
        directions = contrasts(classes)
        sizes = np.cumsum([count * width, (classes - 1) * (count + 1)])
        known, n = self.gamma, max(1, len(encoded))

        def unpack(flat: Floats) -> Fit:
            representers, weights, scale = np.split(flat, sizes)
            gamma = known if known is not None else float(np.exp(scale[0]) / width)
            weights = weights.reshape(classes - 1, count + 1)
            return Fit(representers.reshape(count, width), np.full(width, gamma), weights)

        def loss(flat: Floats) -> tuple[float, Floats]:
            fit = unpack(flat)
            kernel = rbf(encoded, fit.representers, fit.gamma)
            log_f = log_softmax((kernel @ fit.weights[:, :-1].T + fit.weights[:, -1]) @ directions.T, axis=1)
            slope = (np.exp(log_f) * shares.sum(axis=1)[:, None] - shares) @ directions / n
            by_kernel = (slope @ fit.weights[:, :-1]) * kernel
            pulled = by_kernel.T @ encoded - by_kernel.sum(axis=0)[:, None] * fit.representers
            by_weight = np.column_stack([slope.T @ kernel, slope.sum(axis=0)])
            parts = [(2.0 * fit.gamma * pulled).reshape(-1), by_weight.reshape(-1)]
            if known is None:
                parts.append(np.array([(by_kernel * np.log(np.maximum(kernel, 1e-300))).sum()]))
            return float(-(shares * log_f).sum() / n), np.concatenate(parts)

        starts = view.encode(spec.space.sample(count, child(rng, "representers")))
        weights = 0.1 * child(rng, "weights").normal(size=(classes - 1) * (count + 1))
        begin = np.concatenate([starts.reshape(-1), weights, np.zeros(int(known is None))])
        options: Any = {
            "maxiter": self.steps_most,
            "maxfun": 2 * self.steps_most,
            "gtol": 1e-12,
            "ftol": 0.0,
            "maxcor": 30,
        }
        found = optimize.minimize(loss, begin, (), "L-BFGS-B", jac=True, options=options)
        return unpack(found.x).model(spec.space, spec.classes or ()), f"{found.nit} steps of L-BFGS"
