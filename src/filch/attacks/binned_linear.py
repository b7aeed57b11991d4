"""Additive models over raw columns: the hidden feature extraction first, then the weights [Tramèr16, §5.2].

Recovers linear models behind one-hot encoding, quantile binning and normalisation, and any sum of functions of one
attribute, piecewise constant or linear: binary and softmax from all probabilities, one-vs-rest too, regressions from
values. An attribute given alone, with the rest omitted (or else as in a base row), adds to the scores what its bin
weighs; halving finds the places where that changes. Most places can only add one of two known values, and a sum of such
tells them all, so that a query gives one place of many attributes at once. A sum that holds something new stays open
until a later one, of other choices for the rest, tells it (`filch.attacks.binned.decode`).

A query holds one place of each attribute, so that no search by halving takes fewer than the places of the attribute
that takes most, nor fewer than there are bins and categories. Attributes whose answers are seldom new carry the places
of others, and each category rides with two of their queries (`filch.attacks.binned.halving`). Linear attributes cost
one query each if their sum is linear at once, else three.

Where sums coincide, as those of whole points do, some are taken for others. What was heard or further rows show that,
and the search goes on one attribute at a time, for up to as much again. Rounded answers are asked so from the start,
and end as `approximate`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from filch.attacks.binned.fit import clear, clear_rows, fitted, missing_rows, some_rows, spread_rows, threshold, verdict
from filch.attacks.binned.learn import EXACT
from filch.attacks.binned.recall import Recall
from filch.attacks.binned.search import Search
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError


@dataclass(frozen=True)
class BinnedLinear:
    """Extract an additive model by edge searches and single-attribute queries.

    Parameters
    ----------
    epsilon : float, default 1e-3
        How far an edge that is found may be from the target's, in shares of the attribute's range. Integers and stepped
        attributes are exact.
    check : int, default 8
        Further rows that the model is held against; 0 leaves the outcome unverified.
    variant : {"ours", "paper"}
        "paper" searches one attribute at a time, as the paper does, to intervals of ε; for comparison.
    ovr : bool, default True
        Whether to go on, with three or more classes, where two attributes do not add what each adds alone: one-vs-rest
        answers do not, nor do those of other targets, on which it takes all edges to tell.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch, pandas as pd
    >>> from filch.models import binned
    >>> rng = np.random.default_rng(0)
    >>> frame = pd.DataFrame({"a": rng.random(200), "b": rng.random(200)})
    >>> target = binned.BinnedLinear(bins=4).fit(frame, np.where(frame["a"] > frame["b"], "yes", "no"))
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.from_frame(frame), omission=True)
    >>> run = filch.extract(oracle, attack=BinnedLinear(), budget=200)
    >>> run.outcome.value, [len(edges) for edges in run.model.edges_.values()]
    ('verified', [3, 3])
    """

    epsilon: float = 1e-3
    check: int = 8
    variant: Literal["ours", "paper"] = "ours"
    ovr: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < 0.5 or self.check < 0 or self.variant not in ("ours", "paper"):
            raise UsageError('BinnedLinear takes 0 < epsilon < 0.5, check ≥ 0 and variant="ours" or "paper"')

    def needs(self, spec: OracleSpec) -> str | None:
        """All probabilities, or a regression's value."""
        if spec.classes is None:
            return None if spec.reveal.level in ("value", "node") else "it needs values, and the oracle reveals none"
        k = spec.reveal.k
        if not spec.reveal.shows_probabilities or (k is not None and k < spec.n_classes):
            return f'it needs all class probabilities, and the oracle reveals {spec.reveal.level}; try "retraining"'
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Find the attributes' functions one by one, all at the same time; see the module's docstring."""
        recall = Recall(known)
        return (yield from recall.over(self._steps(spec, rng, recall)))

    def _steps(self, spec: OracleSpec, rng: np.random.Generator, recall: Recall) -> Steps:
        paper = self.variant == "paper"
        search, done = Search(spec, rng, self.epsilon, paper, self.ovr), False
        try:
            why = yield from search.start()
            if why is not None:
                outcome = Outcome.NO_CONVERGENCE if search.view.origin is None else Outcome.CLASS_MISMATCH
                return Finding(search.snapshot(), outcome, why, search.evidence())
            while True:
                done = False
                yield from search.edges()
                if not search.alone and not search.consistent():
                    yield from search.forget()  # a sum was taken for another that is the same
                    continue
                lines = any(line.linear is not None for line in search.moving)
                if search.link == "ovr" or search.view.coarse > EXACT or (paper and lines):
                    yield from _together(search, child(rng, "together"))
                done = True
                finding = yield from self._checked(search, rng, recall)
                if finding.outcome is not Outcome.CLASS_MISMATCH or search.alone:
                    return finding
                yield from search.forget()
                rng = child(rng, "alone")
        except BudgetSpent:
            if done:
                return Finding(search.snapshot(), Outcome.UNVERIFIED, "no budget is left to check", search.evidence())
            reason = "the budget ended before all edges were found"
            return Finding(search.snapshot(), Outcome.BUDGET_SPENT, reason, search.evidence())

    def _checked(self, search: Search, rng: np.random.Generator, recall: Recall) -> Steps:
        """Find the labels' threshold, and hold the model against further rows: those known from elsewhere, too."""
        spec, model = search.spec, search.snapshot()
        assert model is not None
        heard = Answers.concat(search.heard).given
        search.threshold = yield from threshold(model, heard, spec, child(rng, "threshold"))
        model = replace(model, threshold=search.threshold)
        if not self.check:
            return Finding(model, Outcome.UNVERIFIED, "no further rows were asked", search.evidence())
        rows, asked = clear_rows(model, search.lines, self.check, spec, child(rng, "check")), model
        held = yield Ask(rows, "check", "selection", lambda: asked)
        known = recall.unused
        held = Answers.concat([held, known[clear(known.rows, search.lines)]])
        if search.threshold == 0.5:
            both = Answers.concat([heard, held.given])
            search.threshold = yield from threshold(model, both, spec, child(rng, "threshold"))
            model = replace(model, threshold=search.threshold)
        return (yield from verdict(model, held, spec, search.view.coarse, search.evidence()))


def _together(search: Search, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
    """Fit the weights to all answers, after as many further rows as that takes."""
    model, heard = search.snapshot(), Answers.concat(search.heard).given
    assert model is not None
    view, spec = search.view, search.spec
    more = missing_rows(model, view.base, heard.rows, search.link, search.paper, view.coarse)
    if more:
        rows = some_rows(spec, more, rng) if search.paper else spread_rows(spec, search.lines, more, rng)
        search.heard.append((yield Ask(rows, "together", snapshot=search.snapshot)))
    search.fitted = fitted(model, Answers.concat(search.heard).given, view.base, search.link, view.coarse)
