"""The strategies that are compared, each by name, and the copies that each makes with so many queries.

A strategy that chooses each query by all before it runs once, and its model is taken where the curve wants a point;
where a request spans the point and the model before it is far short, it runs once more with that budget. One that plans
its whole budget (the paper's, whose rounds share it) runs once for each point.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from filch.core.answers import Answers
from filch.core.attack import Ask, Attack, Steps
from filch.core.digest import describe
from filch.core.drive import drive
from filch.core.models import ExtractedModel
from filch.core.oracle import ModelOracle, OracleSpec
from filch.errors import BudgetSpent
from filch.paper.compare import unknowns
from filch.paper.sources import modules_of
from filch.paper.targets import Target

_SHORT = 0.8  # of a budget: a copy from fewer queries, because the next request spans it, does not stand for it
_ROOM = 1_000  # rows of the selection account that a run has room for, beside as many as its queries


@dataclass(frozen=True, eq=False)
class Copy:
    """A copy made with so many queries for each unknown.

    Attributes
    ----------
    alpha : float
    queries, selection, requests : int
        Rows of the attack account and of the selection account, and round trips, up to here.
    model : ExtractedModel or None
    seconds : float
        CPU time up to here, the target's answers included.
    outcome : str
        How the run ended, where it has.
    """

    alpha: float
    queries: int
    selection: int
    requests: int
    model: ExtractedModel | None
    seconds: float
    outcome: str = ""


@dataclass(frozen=True)
class Strategy:
    """A way to copy a model by labels.

    Attributes
    ----------
    name : str
        As the rows and the page call it.
    make : callable
        From the target's public facts and the points of the curve, ascending, to the attack; the last is the budget.
    anytime : bool
        Whether one run gives the whole curve.
    peer : callable, optional
        From target, budget and seed to a copy and the queries it took: a tool that is no attack of filch. ``make`` then
        only describes it.
    missing : callable
        Why it cannot run here, or None.
    """

    name: str
    make: Callable[[OracleSpec, tuple[int, ...]], Any]
    anytime: bool = False
    peer: Callable[[Target, int, int], tuple[ExtractedModel | None, int]] | None = None
    missing: Callable[[], str | None] = lambda: None

    def describe(self, spec: OracleSpec, alphas: Sequence[float], count: int) -> str:
        """The attack and its hyper-parameters at the largest budget, for the settings of a cell."""
        attack = describe(self._attack(spec, alphas, count))
        return f"{attack}, {'one run' if self.anytime else 'a run for each budget'}"

    def modules(self, spec: OracleSpec, alphas: Sequence[float], count: int) -> tuple[str, ...]:
        """The modules whose code decides the copies."""
        peer = () if self.peer is None else (getattr(self.peer, "func", self.peer),)
        return (__name__, *modules_of(self._attack(spec, alphas, count), *peer))

    def _attack(self, spec: OracleSpec, alphas: Sequence[float], count: int) -> Any:
        return self.make(spec, tuple(math.ceil(alpha * count) for alpha in sorted(alphas)))

    def copies(self, target: Target, alphas: Sequence[float], seed: int) -> Iterator[Copy]:
        """The copies at each α, ascending: at most ⌈α k⌉ queries for k unknowns; selection rows come on top."""
        oracle = ModelOracle(target.oracle.model, target.oracle.spec.space, reveal="labels")
        marks = {alpha: math.ceil(alpha * unknowns(target)) for alpha in sorted(alphas)}
        if self.peer is not None:
            for alpha, most in marks.items():
                started = time.process_time()
                model, asked = self.peer(target, most, seed)
                yield Copy(alpha, asked, 0, 1, model, time.process_time() - started, "")
        elif self.anytime:
            for copy in _run(oracle, self.make(oracle.spec, tuple(marks.values())), marks, seed):
                most = marks[copy.alpha]
                if copy.outcome or (copy.model is not None and copy.queries >= _SHORT * most):
                    yield copy
                else:
                    yield from _run(oracle, self.make(oracle.spec, (most,)), {copy.alpha: most}, seed)
        else:
            for alpha, most in marks.items():
                yield from _run(oracle, self.make(oracle.spec, (most,)), {alpha: most}, seed)


def _run(oracle: ModelOracle, attack: Attack, marks: Mapping[float, int], seed: int) -> Iterator[Copy]:
    started = time.process_time()
    watched = _Watched(attack, tuple(sorted(set(marks.values()))), started)
    most = max(marks.values())
    run = drive(oracle, watched, budget=2 * most + _ROOM, seed=seed)
    end = _Mark(run.queries, run.selection, run.requests, run.model, time.process_time() - started)
    for alpha, most in marks.items():
        there = watched.found.get(most)
        at, outcome = (end, run.outcome.value) if there is None else (there, "")
        yield Copy(alpha, at.queries, at.selection, at.requests, at.model, at.seconds, outcome)


@dataclass(frozen=True, eq=False)
class _Mark:
    queries: int
    selection: int
    requests: int
    model: ExtractedModel | None
    seconds: float


@dataclass(frozen=True, eq=False)
class _Watched:
    """An attack that is stopped after so many queries of the attack account, and looked at on the way.

    At each mark the copy is the last one from no more queries than that: a request that crosses it comes too late.
    """

    attack: Attack
    marks: tuple[int, ...]
    started: float
    found: dict[int, _Mark] = field(default_factory=dict)

    def needs(self, spec: OracleSpec) -> str | None:
        """What the attack needs."""
        return self.attack.needs(spec)

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Carry asks and answers between the attack and the driver."""
        most = self.marks[-1]
        steps = self.attack.steps(spec, rng, budget=most, known=known)
        queries = selection = requests = refusals = 0
        latest = None
        try:
            ask = next(steps)
            while True:
                latest = ask.snapshot or latest
                paid = ask.account == "attack"
                for mark in self.marks[:-1] if paid and latest else ():
                    if mark not in self.found and queries + len(ask.rows) > mark:
                        seconds = time.process_time() - self.started
                        assert latest is not None
                        self.found[mark] = _Mark(queries, selection, requests, latest(), seconds)
                room = most - queries if paid else len(ask.rows)
                if room <= 0:
                    answers = Answers.none(len(spec.space))
                else:
                    try:
                        answers = yield Ask(ask.rows[:room], ask.phase, ask.account, ask.snapshot)
                    except BudgetSpent as spent:  # the driver's own, for an attack that checks without end
                        answers = spent.partial
                    requests += 1
                queries, selection = queries + len(answers) * paid, selection + len(answers) * (not paid)
                if len(answers) == len(ask.rows):
                    ask = steps.send(answers)
                    continue
                refusals += 1
                if refusals > 3:  # it goes on asking after it was told to end: the driver takes the last snapshot
                    raise BudgetSpent(answers)
                ask = steps.throw(BudgetSpent(answers))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
