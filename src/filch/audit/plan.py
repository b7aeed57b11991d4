"""The plan of an audit: which attack runs against which reveal, and what that costs at worst."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from filch import attacks
from filch.core.answers import Reveal
from filch.core.attack import Attack, called
from filch.core.oracle import Guard, Oracle, OracleSpec, guarded
from filch.errors import NotRevealed, UsageError
from filch.guards import LabelsOnly, Rounding, parse
from filch.report.format import Economics

MAX_QUERIES = 5_000
"""The budget of a cell, unless told otherwise."""
_BATCH = 8  # rows of a request of halfspace: a few more queries, and an eighth of the waiting


@dataclass(frozen=True)
class Level:
    """A reveal that is audited: the target's own, or a coarser one that a guard would make of it.

    Parameters
    ----------
    name : str
        For people: ``4 decimals``.
    guards : tuple of Guard
        What makes it; none for the reveal as served.
    change : str
        What the owner would do to get there, as the subject of a sentence.
    """

    name: str
    guards: tuple[Guard, ...] = ()
    change: str = ""

    @property
    def served(self) -> bool:
        """Whether this is what the target serves today."""
        return not self.guards


@dataclass(frozen=True)
class Cell:
    """One run of an audit."""

    level: Level
    label: str
    """The attack, named for people."""
    attack: Attack
    seed: int
    budget: int

    @property
    def name(self) -> str:
        """Its name in the journal and the report."""
        return f"{self.level.name} / {self.label} / seed {self.seed}"


@dataclass(frozen=True)
class Estimate:
    """What a part of a plan costs at worst."""

    name: str
    queries: int
    requests: int
    dollars: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The cells of an audit, the rows that copies are measured on, and what queries cost.

    Parameters
    ----------
    levels : tuple of Level
        The reveal as served first.
    cells : tuple of Cell
    n_test, n_uniform : int
        Evaluation rows; ``paid`` says whether they cost anything.
    paid : bool
    max_batch : int or None
        The most rows in one request.
    economics : Economics
    """

    levels: tuple[Level, ...]
    cells: tuple[Cell, ...]
    n_test: int
    n_uniform: int
    paid: bool
    max_batch: int | None
    economics: Economics = field(default_factory=lambda: Economics(price=0.1, latency=0.1))

    def estimates(self) -> list[Estimate]:
        """What each part costs at worst: budgets spent, one row a request where an attack adapts to every answer."""
        rows = self.n_test + self.n_uniform
        requests = 1 if self.max_batch is None else -(-rows // self.max_batch)
        evaluation = [self._estimate("evaluation", rows, requests)] if self.paid and rows else []
        return evaluation + [self._estimate(cell.name, cell.budget, cell.budget) for cell in self.cells]

    def total(self) -> Estimate:
        """The sum of all parts."""
        parts = self.estimates()
        return self._estimate("in all", sum(p.queries for p in parts), sum(p.requests for p in parts))

    def _estimate(self, name: str, queries: int, requests: int) -> Estimate:
        return Estimate(name, queries, requests, self.economics.dollars(queries), self.economics.seconds(requests))


def make_plan(
    oracle: Oracle,
    *,
    reveals: Iterable[str] | None = None,
    max_queries: int = MAX_QUERIES,
    seeds: Sequence[int] = (0,),
    n_test: int = 0,
    n_uniform: int = 0,
    economics: Economics | None = None,
) -> Plan:
    """Plan an audit; nothing is sent.

    Parameters
    ----------
    oracle : Oracle
        The target, as it is served.
    reveals : iterable of str, optional
        Coarser reveals beside the one as served: ``"4"`` (decimals), or whatever `filch.guards.parse` reads. By default
        4, 3 and 2 decimals and labels, as far as the target reveals more.
    max_queries : int, default 5,000
        The budget of each cell.
    seeds : sequence of int
        Each cell runs once with each.
    n_test, n_uniform : int
        Rows that copies are measured on.
    economics : Economics, optional

    Raises
    ------
    UsageError
        A reveal that does not exist, that the target does not reveal, a budget below 1, or no seeds.
    """
    if max_queries < 1 or not seeds:
        raise UsageError("an audit needs at least one query and one seed")
    spec = oracle.spec
    levels = (Level(describe_reveal(spec.reveal)), *(_coarser(spec) if reveals is None else _named(spec, reveals)))
    cells = tuple(
        Cell(level, label, attack, seed, max_queries)
        for level in levels
        for label, attack in _attacks(guarded(oracle, level.guards).spec)
        for seed in seeds
    )
    economics = economics or Economics(price=0.1, latency=0.1)
    return Plan(levels, cells, n_test, n_uniform, not oracle.local, spec.max_batch, economics)


def describe_reveal(reveal: Reveal) -> str:
    """Name a reveal for people.

    Examples
    --------
    >>> describe_reveal(Reveal("probabilities", 5)), describe_reveal(Reveal("labels"))
    ('probabilities, 5 decimals', 'labels')
    """
    return reveal.level if reveal.decimals is None else f"{reveal.level}, {_decimals(reveal.decimals)}"


def _coarser(spec: OracleSpec) -> tuple[Level, ...]:
    """The default: what can be told apart from the reveal as served."""
    if spec.reveal.level == "labels":
        return ()
    decimals = (4, 3, 2) if spec.classes is not None else (2, 1, 0)
    rounded = [_rounded(d) for d in decimals if spec.decimals is None or d < spec.decimals]
    return (*rounded, _labels()) if spec.classes is not None else tuple(rounded)


def _named(spec: OracleSpec, names: Iterable[str]) -> tuple[Level, ...]:
    levels: dict[str, Level] = {}
    for name in (name.strip() for name in ([names] if isinstance(names, str) else names)):
        if name in ("served", describe_reveal(spec.reveal)):
            continue  # always audited
        level = _level(name)
        try:
            for guard in level.guards:
                guard.public(spec)
        except NotRevealed as error:
            raise UsageError(
                f"the target serves {describe_reveal(spec.reveal)}, so {name!r} cannot be audited: {error}"
            ) from error
        levels[level.name] = level
    return tuple(levels.values())


def _level(name: str) -> Level:
    digits = re.sub(r" decimals?$", "", name)
    try:
        guard = parse(f"rounding:{digits}" if digits.isdigit() else name)
    except UsageError as error:
        raise UsageError(f"no coarser answer {name!r}: write decimals such as 4, top-1 or labels") from error
    if isinstance(guard, Rounding):
        return _rounded(guard.decimals)
    if isinstance(guard, LabelsOnly):
        return _labels()
    return Level(name, (guard,), f"showing the {name} probabilities only")


def _rounded(decimals: int) -> Level:
    told = _decimals(decimals)
    return Level(told, (Rounding(decimals),), f"rounding to {told}")


def _labels() -> Level:
    return Level("labels", (LabelsOnly(),), "answering labels only")


def _decimals(decimals: int) -> str:
    return "1 decimal" if decimals == 1 else f"{decimals} decimals"


def _attacks(spec: OracleSpec) -> list[tuple[str, Attack]]:
    """The attacks that are worth running against a reveal, by name."""
    auto: Any = attacks.make("auto")
    made: list[Attack] = [auto]
    if spec.reveal.level == "labels":
        halver = attacks.make("halfspace", batch=min(max(1, len(spec.space) // 2), _BATCH))
        ways = tuple(halver if called(one) == called(halver) else one for one in auto.candidates)
        # `auto` pays for choosing, and then has less left than an attack that is the right one from the start.
        linear = halver if spec.n_classes == 2 else attacks.make("softmax-labels")
        made = [linear, attacks.make("auto", candidates=ways)]
    if spec.omission and spec.reveal.level in ("probabilities", "value"):
        made.append(attacks.make("binned-linear"))  # where attributes may be left out it may have all of the budget
    return [(called(attack), attack) for attack in made if attack.needs(spec) is None]
