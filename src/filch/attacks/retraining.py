"""Retraining: fit a surrogate on answers [Tramèr16, §6]. Any target, any reveal; an approximation.

*Uniform*: random rows. *Line search* [LowdMeek05]: segments between rows of different labels, halved on the target, so
that rows crowd at its boundary. *Adaptive* [Cohn94]: in rounds, each of rows on the decision boundary of the surrogate
fitted so far, where a label tells most. Uses whatever is revealed: labels, class probabilities (as soft labels), or
values. A regression target has no boundary, so that all its rows are uniform.

Queries: the whole budget. Requests: one a round, and three more in the first, for the curve; of the line search, one a
halving, and as many again for the queries that segments of a grid leave over.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from filch.attacks.fitting import Fitter
from filch.attacks.surrogates.boundary import Segments, blocks, complete, fresh, near_boundary
from filch.attacks.surrogates.named import check_surrogates, unsuited
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.features import FeatureSpace, Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError

_PLACES = 0.3, 0.7  # within a bracket, where the middle was refused
_ENDED = "a surrogate, retrained on {n:,} answers ({strategy})"
_EARLY = "the budget ended early; the surrogate has learned {n:,} answers"


@dataclass(frozen=True)
class Retraining:
    """Train a surrogate on answers, adaptively near its own decision boundary.

    Parameters
    ----------
    strategy : {"adaptive", "line_search", "uniform"}, default "adaptive"
    surrogate : name, estimator, or tuple of these, optional
        A name of `filch.attacks.surrogates.named.NAMES`, each a family of estimators with weak penalties: ``logistic``
        (``softmax``), ``linear-svm``, ``mlp``, ``rbf-svm``, ``poly-svm``, ``tree``, ``forest``, ``boosting``. Or any
        scikit-learn classifier or regressor (cloned; its ``random_state`` is set from the run's seed). A regressor
        that stands in for a classifier is fitted on probabilities. Of several, and within a family, cross-validation on
        answers already paid chooses, once there are 30. By default linear, kernel and boosted-tree models.
    rounds : int, default 10
        Rounds of equal size that share the budget; of the line search, the first one is uniform.
    encoded : bool, default True
        Whether surrogates see one-hot-encoded rows scaled to [−1, 1], or coded rows as they are (NaN = omitted).
    explore : float, default 0.1
        The share of uniform rows in each adaptive round, lest a region that the surrogate misses stay unseen. The
        paper's strategy has none: 0.
    halvings : int, default 10
        Of each segment of the line search.

    Raises
    ------
    UsageError
        An unknown strategy, a number out of range, or a surrogate that is neither a known name nor a scikit-learn
        classifier or regressor.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import make_moons
    >>> from sklearn.svm import SVC
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> oracle = filch.ModelOracle(SVC().fit(X, y), filch.FeatureSpace.box(X.min(0), X.max(0)), reveal="labels")
    >>> run = filch.extract(oracle, attack=Retraining(surrogate=SVC(C=100)), budget=300)
    >>> run.queries, filch.fidelity(oracle, run.model).r_unif < 0.02
    (300, True)
    """

    strategy: Literal["adaptive", "line_search", "uniform"] = "adaptive"
    surrogate: Any = None
    rounds: int = 10
    encoded: bool = True
    explore: float = 0.1
    halvings: int = 10

    def __post_init__(self) -> None:
        if self.strategy not in ("adaptive", "line_search", "uniform"):
            raise UsageError('Retraining takes strategy="adaptive", "line_search" or "uniform"')
        if not (self.rounds >= 1 and 0.0 <= self.explore <= 1.0 and self.halvings >= 1):
            raise UsageError("Retraining takes at least one round and one halving, and explore from 0 to 1")
        check_surrogates(self.surrogate)

    def needs(self, spec: OracleSpec) -> str | None:
        """A surrogate of the right kind."""
        return unsuited(check_surrogates(self.surrogate), spec)

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask round after round until the budget is spent as planned."""
        surrogates = check_surrogates(self.surrogate)
        fitter = Fitter(spec, surrogates, self.encoded, child(rng, "fit"), known.given)
        outcome, reason = Outcome.APPROXIMATE, _ENDED
        try:
            yield from overheard(self._conversation(fitter, rng, budget), fitter.hear)
        except BudgetSpent:
            outcome, reason = Outcome.BUDGET_SPENT, _EARLY
        fitter.settle()
        told = reason.format(n=len(fitter.heard), strategy=self.strategy.replace("_", " "))
        return Finding(fitter.model(), outcome, told, fitter.evidence())

    def _conversation(self, fitter: Fitter, rng: np.random.Generator, budget: int) -> Generator[Ask, Answers, None]:
        rows = _Rows(fitter, rng)
        cuts = sorted({round(budget * part / self.rounds) for part in range(self.rounds + 1)})
        strategy = self.strategy if fitter.spec.classes is not None else "uniform"
        yield from rows.uniform(cuts[1] if budget else 0)
        if strategy != "uniform":
            fitter.unbiased = len(fitter.heard)
        if strategy == "line_search":
            yield from rows.lines(budget, self.halvings, self.rounds)
        for number, (start, stop) in enumerate(itertools.pairwise(cuts[1:]), start=1):
            if strategy == "adaptive":
                yield from rows.adaptive(stop - start, self.explore, number)
            elif strategy == "uniform":
                yield from rows.uniform(stop - start, number)


@dataclass(eq=False)
class _Rows:
    """Which rows to ask, by each strategy; none is asked twice, if there are others."""

    fitter: Fitter
    rng: np.random.Generator
    seen: set[bytes] = field(default_factory=set)
    asked: int = 0

    def __post_init__(self) -> None:
        self.space: FeatureSpace = self.fitter.spec.space
        self.seen.update(row.tobytes() for row in self.fitter.heard.rows)

    def ask(self, rows: Rows, phase: str, *, doubling: bool = False) -> Generator[Ask, Answers, Answers]:
        """Ask rows in blocks."""
        self.seen.update(row.tobytes() for row in rows)
        self.asked += len(rows)
        parts = [Answers.none(len(self.space))]
        for block in blocks(rows, doubling=doubling):
            parts.append((yield Ask(block, phase, snapshot=self.fitter.model)))
        return Answers.concat(parts)

    def uniform(self, n: int, number: int = 0) -> Generator[Ask, Answers, None]:
        """Uniform rows."""
        rows = self.space.sample(n, child(self.rng, f"round {number}"))
        yield from self.ask(rows, f"round {number}" if number else "uniform", doubling=not number)

    def adaptive(self, n: int, explore: float, number: int) -> Generator[Ask, Answers, None]:
        """Rows on the surrogate's boundary, and uniform ones."""
        own = child(self.rng, f"round {number}")
        rows, model = np.empty((0, len(self.space))), self.fitter.model()
        if model is not None:
            rows = near_boundary(model, self.fitter.heard.rows, round(n * (1 - explore)), own)
            rows = rows[fresh(rows, self.seen)]
        yield from self.ask(np.concatenate([rows, self.space.sample(n - len(rows), own)]), f"round {number}")

    def lines(self, budget: int, halvings: int, turns: int) -> Generator[Ask, Answers, None]:
        """Segments between rows of different labels, all halved side by side; uniform rows until there are such.

        Segments that end early, for rows on a grid lie no closer, leave their queries to another turn.
        """
        for turn in range(turns):
            left = budget - self.asked
            if not left:
                return
            own = child(self.rng, f"lines {turn}")
            heard = self.fitter.heard[complete(self.space, self.fitter.heard.rows)]
            segments = None
            if len(heard):
                assert heard.labels is not None
                segments = Segments.draw(self.space, heard.rows, heard.labels, max(1, left // halvings), own)
            if segments is not None:
                yield from self._halve(segments, budget, halvings, own)
            else:
                yield from self.ask(self.space.sample(min(left, max(1, self.asked)), own), "both classes")
        yield from self.ask(self.space.sample(budget - self.asked, child(self.rng, "rest")), "uniform")

    def _halve(
        self, segments: Segments, budget: int, halvings: int, rng: np.random.Generator
    ) -> Generator[Ask, Answers, None]:
        refused, alive = np.zeros(len(segments.a), dtype=bool), np.ones(len(segments.a), dtype=bool)
        for _ in range(halvings):
            place = np.where(refused, rng.uniform(*_PLACES, size=len(refused)), 0.5)
            share = segments.low + place * (segments.high - segments.low)
            rows = segments.at(share)
            new = np.zeros(len(rows), dtype=bool)
            new[fresh(rows, self.seen)] = True
            alive &= new
            (wanted,) = np.nonzero(alive)
            wanted = wanted[: budget - self.asked]
            if not len(wanted):
                return
            answers = yield from self.ask(rows[wanted], "line search")
            assert answers.labels is not None
            labels, told = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=bool)
            labels[wanted], told[wanted] = answers.labels, ~answers.refused
            segments.narrow(share, labels, told)
            refused[wanted] = answers.refused
