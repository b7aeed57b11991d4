"""Query by committee: networks from labels alone, and any model for which there is a surrogate [Seung92, Tramèr16, §6].

Several surrogates are fitted to the labels heard so far, and their probabilities averaged. In each round rows are asked
where the two likeliest classes are closest: the tightest of many uniform rows, and of many rows spread out as real
data are. How many there are to choose from follows the error, so that the choice stays as wide as the surrogates are
wrong; a part of each round is random, lest a region that they misjudge stay unseen. On the random uniform rows the
error is told, before they are learnt.

Needs labels; whatever else is revealed goes unused. Queries: the whole budget. Requests: one a round, and rounds grow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import beta
from sklearn.base import is_classifier

from filch.attacks.committees.choose import ACTIVATION, HIDDEN, choose
from filch.attacks.committees.panel import Bag, Networks, Panel
from filch.attacks.committees.spread import indicators, spread
from filch.core.answers import Answers
from filch.core.attack import MOST_BYTES, Ask, Finding, Outcome, Steps
from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows
from filch.core.models import ExtractedModel
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.perceptron import Activation

Floats = npt.NDArray[np.float64]
_FIRST = 2  # times d + 1 encoded columns: rows of the first round
_GROWTH = 1.5  # of all rows, from round to round
_SPREAD = 0.25  # of the first round; 0.5 where these are possible records
_RANDOM = 0.2  # of each later round, half of them uniform
_WIDE = 2.0  # rows among those to choose from that are misjudged, over the rows that are chosen
_SHARES = 0.1, 0.6  # least and largest share of chosen rows that are spread out
_RECORDS = 0.9  # the largest where these are possible records, as columns' names tell
_POOL = 60_000  # rows to choose from, at most, or twice as many as are chosen
_DOUBT, _TRUST = 0.3, 20  # error before any is seen, and the number of rows that it counts as
_LEAST = 1e-3  # error below which the choice is widened no more
_CHOICE, _ENOUGH = 0.5, 50  # share of the budget after which networks are chosen, and answers that it takes
_SURE = 0.95  # confidence of the bound on the error


@dataclass(frozen=True)
class Committee:
    """Copy a classifier from labels, by rows on which a committee of surrogates is least sure.

    Parameters
    ----------
    strategy : {"adaptive", "uniform"}, default "adaptive"
        Rows that the committee chooses, or random ones for comparison.
    members : int, default 3
        Surrogates in the committee.
    hidden : int, optional
        Hidden units of each network. None: 20 at first; once half the budget is answered, 5, 10, 20 and 40 are
        tried on answers held back, and another width is taken if it errs clearly less often.
    activation : {"tanh", "logistic", "relu"}, optional
        Of the hidden units. None: tanh at first, and relu is tried with the widths. A network of tanh units can be any
        network of as many logistic ones.
    surrogate : classifier, optional
        A scikit-learn classifier instead of networks. Each member learns from a random 80 % of the answers.
    stops : tuple of int, default ()
        Numbers of queries at which a round ends besides, so that the curve has a point there.

    Raises
    ------
    UsageError
        A parameter out of range, or a surrogate that is no scikit-learn classifier.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> target = MLPClassifier((20,), activation="tanh", max_iter=1_000, random_state=0).fit(X, y)
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(0), X.max(0)), reveal="labels")
    >>> run = filch.extract(oracle, attack=Committee(), budget=1_600)
    >>> run.outcome.value, filch.fidelity(oracle, run.model).r_unif < 0.02
    ('approximate', True)
    """

    strategy: Literal["adaptive", "uniform"] = "adaptive"
    members: int = 3
    hidden: int | None = None
    activation: Activation | None = None
    surrogate: Any = None
    stops: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.strategy not in ("adaptive", "uniform"):
            raise UsageError('Committee takes strategy="adaptive" or "uniform"')
        fewest = min(self.members, *self.stops, 1 if self.hidden is None else self.hidden)
        if fewest < 1:
            raise UsageError("a committee has one member or more, of one hidden unit or more, and stops above 0")
        if self.activation not in (None, "tanh", "logistic", "relu"):
            raise UsageError(f'activation={self.activation!r}: choose "tanh", "logistic" or "relu", or None')
        if self.surrogate is not None and not (hasattr(self.surrogate, "get_params") and is_classifier(self.surrogate)):
            raise UsageError(f"surrogate={self.surrogate!r} is no scikit-learn classifier")

    def needs(self, spec: OracleSpec) -> str | None:
        """Classes."""
        return None if spec.classes is not None else "the target predicts a value: use the attack retraining"

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask round after round until the budget is spent as planned."""
        search = _Search(self, spec, rng, known.given)
        how = "chosen by a committee" if self.strategy == "adaptive" else "uniform"
        outcome, reason = Outcome.APPROXIMATE, f"{self.members} surrogates, trained on {{n:,}} answers ({how})"
        for rows in search.rounds(budget):
            parts = []
            try:
                for block in _blocks(rows):
                    parts.append((yield Ask(block, search.phase, snapshot=search.model)))
            except BudgetSpent as spent:
                search.hear(Answers.concat([*parts, spent.partial]))
                outcome, reason = Outcome.BUDGET_SPENT, "the budget ended early; {n:,} answers are learned"
                break
            search.hear(Answers.concat(parts))
        model, evidence = search.model(), search.evidence()
        return Finding(model, outcome, reason.format(n=len(search.heard)), evidence)


@dataclass(eq=False)
class _Search:
    """What was heard, the surrogates for it, and the rows to ask next."""

    attack: Committee
    spec: OracleSpec
    rng: np.random.Generator
    heard: Answers
    phase: str = field(default="random", init=False)
    _panel: Panel = field(init=False)
    _fitted: tuple[int, ExtractedModel] | None = field(default=None, init=False)
    _errors: Floats = field(init=False)  # on uniform and on spread-out rows, as far as is known
    _leading: tuple[int, int] = field(default=(0, 0), init=False)  # uniform and spread-out rows that lead the round
    _judged: tuple[int, int] = field(default=(0, 0), init=False)  # uniform rows of the last round, and errors on them
    _tried: dict[str, float] | None = field(default=None, init=False)  # networks' errors on answers held back

    def __post_init__(self) -> None:
        rng, attack = child(self.rng, "fit"), self.attack
        self._panel = (
            Networks(self.spec, attack.members, attack.hidden or HIDDEN, attack.activation or ACTIVATION, rng)
            if attack.surrogate is None
            else Bag(self.spec, attack.members, attack.surrogate, rng)
        )
        self._errors = np.full(2, _DOUBT)

    def model(self) -> ExtractedModel | None:
        """The committee for what was heard, trained once for each number of answers; None if nothing was."""
        n = len(self.heard)
        if n and (self._fitted is None or self._fitted[0] != n):
            self._fitted = n, self._panel.learn(self.heard)
        return self._fitted[1] if self._fitted else None

    def rounds(self, budget: int) -> Iterator[Rows]:
        """The rows of each round; their answers must be heard before the next."""
        seen = {row.tobytes() for row in self.heard.rows}
        for number, (begin, end) in enumerate(itertools.pairwise(self._ends(budget))):
            rng = child(self.rng, f"round {number}")
            if begin >= _CHOICE * budget:
                self._choose()
            model = self.model()
            self._panel.keep()
            rows = self._rows(model, end - begin, seen, rng)
            seen.update(row.tobytes() for row in rows)
            self.phase = f"round {number}" if number else "random"
            yield rows

    def _choose(self) -> None:
        """Seat networks of the width and activation that do best so far, once."""
        attack = self.attack
        open_ = attack.hidden is None or attack.activation is None
        if self._tried is None and open_ and attack.surrogate is None and len(self.heard) >= _ENOUGH:
            rng = child(self.rng, "choice")
            hidden, activation, self._tried = choose(self.spec, self.heard, attack.hidden, attack.activation, rng)
            if (hidden, activation) != (attack.hidden or HIDDEN, attack.activation or ACTIVATION):
                rng = child(self.rng, "fit anew")
                self._panel, self._fitted = Networks(self.spec, attack.members, hidden, activation, rng), None

    def _ends(self, budget: int) -> list[int]:
        """The numbers of rows asked at which rounds end, from 0."""
        ends, stops = [0], sorted({budget, *(stop for stop in self.attack.stops if stop < budget)})
        first = _FIRST * (OneHot(self.spec.space).width + 1)
        while ends[-1] < budget:
            wish = max(first, math.ceil(ends[-1] * _GROWTH))
            ends.append(min(wish, next(stop for stop in stops if stop > ends[-1])))
        return ends

    def _rows(self, model: ExtractedModel | None, wanted: int, seen: set[bytes], rng: np.random.Generator) -> Rows:
        """Uniform rows; or a few of them, a few spread out, and the tightest of many of both."""
        space = self.spec.space
        if self.attack.strategy == "uniform":
            self._leading = wanted, 0
            return space.sample(wanted, rng)
        chance = math.ceil(_RANDOM * wanted) if model is not None else wanted
        records = bool(indicators(space))
        aside = int(chance * (0.5 if model is not None or records else _SPREAD))
        self._leading = chance - aside, aside
        rows = [space.sample(chance - aside, rng), spread(space, aside, rng)]
        if model is not None:
            most = _RECORDS if records else _SHARES[1]
            share = float(np.clip(self._errors[1] / self._errors.sum(), _SHARES[0], most))
            out = round(share * (wanted - chance))
            counts, draws = (wanted - chance - out, out), (space.sample, _spread_in(space))
            for draw, count, error in zip(draws, counts, self._errors, strict=True):
                pool = draw(max(2 * count, min(_POOL, int(count * _WIDE / error))), rng)
                rows.append(_tightest(model, _new(space, pool, seen), count))
        short = wanted - sum(map(len, rows))
        return np.concatenate([*rows, space.sample(short, rng)])

    def hear(self, answers: Answers) -> None:
        """Judge the model by the random rows of the round, then learn all of it."""
        uniform, aside = self._leading
        for kind, part in enumerate((slice(0, uniform), slice(uniform, uniform + aside))):
            given = answers[part].given
            if self._fitted is None or not len(given):
                continue
            wrong = int((_votes(self._fitted[1], given.rows).argmax(axis=1) != given.labels).sum())
            error = (wrong + _TRUST * self._errors[kind]) / (len(given) + _TRUST)
            self._errors[kind] = max(_LEAST, error)
            if kind == 0:
                self._judged = len(given), wrong
        self.heard = Answers.concat([self.heard, answers.given])

    def evidence(self) -> dict[str, Any]:
        """The error of the last model but one on uniform rows that it had not learned, and a bound on it."""
        n, wrong = self._judged
        facts: dict[str, Any] = {"surrogate": self._panel.name, "answers": len(self.heard)}
        if n:
            bound = 1.0 if wrong == n else float(beta.ppf(_SURE, wrong + 1, n - wrong))
            facts |= {"held-back error": wrong / n, "on rows": n, "at most": bound}
        if self._tried:
            facts["tried"] = self._tried
        return facts


def _votes(model: ExtractedModel, rows: Rows) -> Floats:
    """The committee's mean probabilities, of shape (n, c)."""
    votes: Floats = model.predict_proba(rows)  # type: ignore[attr-defined]  # each panel's models tell them
    return votes


def _tightest(model: ExtractedModel, pool: Rows, count: int) -> Rows:
    """The rows in which the two likeliest classes are closest."""
    two = np.sort(_votes(model, pool), axis=1)[:, -2:]
    gaps = two[:, -1] - two[:, 0] if two.shape[1] == 2 else two[:, 0]
    return pool[np.argsort(gaps, kind="stable")[:count]]


def _spread_in(space: FeatureSpace) -> Callable[[int, np.random.Generator], Rows]:
    return lambda n, rng: spread(space, n, rng)


def _new(space: FeatureSpace, rows: Rows, seen: set[bytes]) -> Rows:
    """The rows that were not asked yet, each once; where a column is continuous, rows hardly ever come twice."""
    if not (space.grid > 0).all():
        return rows
    fresh = dict.fromkeys(row.tobytes() for row in rows)
    return np.array([np.frombuffer(key) for key in fresh if key not in seen]).reshape(-1, rows.shape[1])


def _blocks(rows: Rows) -> Iterator[Rows]:
    """Cut rows into asks of bounded size."""
    most = max(1, MOST_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), most):
        yield rows[start : start + most]
