"""Trees, forests and boosted trees from labels: axis-parallel searches, and a tree surrogate; an approximation.

A search starts from two rows of different labels. It halves the columns in which they differ until one is left that
flips the label, then its value: the two rows on either side of a threshold that the target has there. Trees that are
trained on both rows can part them in this column at this place only. The other queries are rows on the boundary of the
surrogate fitted so far, and rows on which a forest's trees disagree [Cohn94].

Labels alone tell a single tree of few leaves exactly, at many times the price: `tree-bottom-up`. Queries: the whole
budget. Requests: about log₂ d + 8 + 1 a round.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from filch.attacks.fitting import Fitter
from filch.attacks.surrogates.axis import AxisSearch
from filch.attacks.surrogates.boundary import Segments, blocks, complete, fresh, near_boundary
from filch.attacks.surrogates.doubt import least_sure
from filch.attacks.surrogates.named import check_surrogates
from filch.attacks.surrogates.scatter import scatter
from filch.attacks.threads import one_thread
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.surrogate import SurrogateModel, inputs

_FIRST = 0.3  # share of the budget for rows that no surrogate chooses
_EXPLORE = 0.4  # share of such rows in each round
_TREES = 40  # of the forest whose trees vote on what to ask
_CANDIDATES = 6_000  # rows on which they vote
_WIDE = 2.0  # of so many times as many disputed rows a round takes a random part
_LIGHT = 0.3  # weight of the rows of searches in fits: they crowd where thresholds are, not where rows are


@dataclass(frozen=True)
class TreeLabels:
    """Train a tree surrogate on labels, by axis-parallel searches and disputed rows.

    Parameters
    ----------
    surrogate : name, estimator, or tuple of these, default ("tree", "forest", "boosting")
        As for `Retraining`; of several, cross-validation on answers already paid chooses.
    rounds : int, default 6
        Rounds of equal size that share the budget.
    searches : float, default 0.4
        The share of each round's queries for axis-parallel searches.
    halvings : int, default 8
        Of a column's value, in each search.

    Raises
    ------
    UsageError
        A number out of range, or a surrogate that is none.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> space = filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0))
    >>> oracle = filch.ModelOracle(DecisionTreeClassifier(max_leaf_nodes=6).fit(X, y), space, reveal="labels")
    >>> run = filch.extract(oracle, attack=TreeLabels(surrogate="tree"), budget=600)
    >>> run.queries, filch.fidelity(oracle, run.model).r_unif < 0.02
    (600, True)
    """

    surrogate: Any = ("tree", "forest", "boosting")
    rounds: int = 6
    searches: float = 0.4
    halvings: int = 8

    def __post_init__(self) -> None:
        if not (self.rounds >= 1 and 0.0 <= self.searches <= 0.9 and self.halvings >= 1):
            raise UsageError("TreeLabels takes at least one round and one halving, and searches from 0 to 0.9")
        if not check_surrogates(self.surrogate):
            raise UsageError('TreeLabels takes a surrogate: "tree", "forest", "boosting", or an estimator')

    def needs(self, spec: OracleSpec) -> str | None:
        """A classifier."""
        return None if spec.classes is not None else 'the target predicts a value: try "retraining"'

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask round after round until the budget is spent as planned."""
        surrogates = check_surrogates(self.surrogate)
        fitter = Fitter(spec, surrogates, True, child(rng, "fit"), known.given, light={"axis search": _LIGHT})
        talk = _Talk(fitter, rng, budget)
        outcome, reason = (
            Outcome.APPROXIMATE,
            "a surrogate of {n:,} answers, {k:,} of {m:,} axis-parallel searches ended",
        )
        try:
            yield from overheard(self._conversation(talk), fitter.hear)
        except BudgetSpent:
            outcome, reason = Outcome.BUDGET_SPENT, "the budget ended early; the surrogate has learned {n:,} answers"
        fitter.settle()
        found = np.concatenate([search.column for search in talk.searches] or [np.empty(0, dtype=np.int64)])
        told = reason.format(n=len(fitter.heard), k=int((found >= 0).sum()), m=len(found))
        columns, counts = np.unique(found[found >= 0], return_counts=True)
        names = {spec.space.names[j]: int(n) for j, n in zip(columns, counts, strict=True)}
        return Finding(fitter.model(), outcome, told, {**fitter.evidence(), "searches": len(found), "columns": names})

    def _conversation(self, talk: _Talk) -> Generator[Ask, Answers, None]:
        first = round(talk.budget * _FIRST) or talk.budget
        yield from talk.scattered(first, "first")
        talk.fitter.unbiased = len(talk.fitter.heard)
        left = talk.budget - talk.asked
        cuts = [first + round(left * part / self.rounds) for part in range(self.rounds + 1)]
        for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
            own = child(talk.rng, f"round {number}")
            price = np.log2(max(2, len(talk.fitter.spec.space))) + self.halvings
            yield from talk.search(round(self.searches * (stop - start) / price), self.halvings, own)
            for part in (0.5, 1.0):
                wanted = round(part * (stop - talk.asked) * (1 - _EXPLORE))
                rows = talk.border(wanted, own) if part < 1 else talk.disputed(wanted, own)
                yield from talk.ask(rows, f"round {number}")
            yield from talk.scattered(stop - talk.asked, f"round {number}, elsewhere")


@dataclass(eq=False)
class _Talk:
    """Which rows to ask; none is asked twice."""

    fitter: Fitter
    rng: np.random.Generator
    budget: int
    asked: int = 0
    seen: set[bytes] = field(default_factory=set)
    searches: list[AxisSearch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.space = self.fitter.spec.space
        self.seen.update(row.tobytes() for row in self.fitter.heard.rows)

    def ask(self, rows: Rows, phase: str) -> Generator[Ask, Answers, Answers]:
        """Ask those rows that are new, as far as the budget goes."""
        rows = rows[fresh(rows, self.seen)][: self.budget - self.asked]
        self.seen.update(row.tobytes() for row in rows)
        self.asked += len(rows)
        parts = [Answers.none(len(self.space))]
        for block in blocks(rows):
            parts.append((yield Ask(block, phase, snapshot=self.fitter.model)))
        return Answers.concat(parts)

    def scattered(self, n: int, phase: str) -> Generator[Ask, Answers, None]:
        """Rows that no surrogate chooses; where most of a small space is known, some of them come twice."""
        rows = scatter(self.space, max(n, 0), child(self.rng, phase))
        yield from self.ask(rows, phase)

    def search(self, count: int, halvings: int, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """So many axis-parallel searches between answered rows."""
        heard = self.fitter.heard[complete(self.space, self.fitter.heard.rows)]
        if not count or heard.labels is None:
            return
        segments = Segments.draw(self.space, heard.rows, heard.labels, count, rng)
        if segments is not None:
            self.searches.append(AxisSearch.between(segments))
            yield from self.searches[-1].run(self.ask, halvings, rng)

    def border(self, n: int, rng: np.random.Generator) -> Rows:
        """Rows on the boundary of the surrogate."""
        model = self.fitter.model()
        if model is None or n < 1:
            return np.empty((0, len(self.space)))
        return near_boundary(model, self.fitter.heard.rows, n, rng)

    def disputed(self, n: int, rng: np.random.Generator) -> Rows:
        """Rows on which the trees of a forest disagree."""
        heard, rows = self.fitter.heard, scatter(self.space, _CANDIDATES, rng)
        if n < 1 or heard.labels is None or len(np.unique(heard.labels)) < 2:
            return rows[: max(n, 0)]
        forest = RandomForestClassifier(_TREES, random_state=int(rng.integers(2**31)))
        with one_thread():
            forest.fit(inputs(self.space, heard.rows, encoded=True), heard.labels)
        model = SurrogateModel(self.space, self.fitter.spec.classes, forest)
        return rows[least_sure(model, rows, n, _WIDE, rng)]
