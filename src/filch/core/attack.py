"""What an attack is: a generator that yields the rows it wants answered and is sent the answers.

An attack never holds the target. It is a frozen dataclass of hyper-parameters with two methods (`Attack`); the
driver (`filch.core.drive`) answers, counts, journals and stops it at its budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from filch.core.answers import Answers
from filch.core.features import Rows
from filch.core.models import ExtractedModel
from filch.core.oracle import OracleSpec
from filch.errors import BudgetSpent

Account = Literal["attack", "selection", "evaluation"]
Snapshot = Callable[[], ExtractedModel | None]
T = TypeVar("T")

MOST_BYTES = 64 * 2**20
"""The most bytes of rows in one `Ask`."""


@dataclass(frozen=True, eq=False)
class Ask:
    """Rows that an attack wants answered.

    Parameters
    ----------
    rows : (n, d) float64
        At most 64 MB. NaN = feature omitted, −1 = unknown category.
    phase : str
        What for, in a word or two: for the ledger and the progress bar.
    account : {"attack", "selection"}
        Rows that an attack uses only to choose or to check go to "selection". ("evaluation" is the driver's own.)
    snapshot : callable, optional
        Returns the best model so far; the driver calls it only where it wants a point of the curve.
    """

    rows: Rows
    phase: str = ""
    account: Account = "attack"
    snapshot: Snapshot | None = None


class Outcome(StrEnum):
    """How a run went."""

    VERIFIED = "verified"
    """The model agrees with further rows as closely as the reveal resolves."""
    UNVERIFIED = "unverified"
    """The model fits, but no further rows were asked (``check=0``, or no budget left)."""
    APPROXIMATE = "approximate"
    """The attack learns an approximation and has ended as planned."""
    BUDGET_SPENT = "budget_spent"
    """The budget ended before the attack did; the model is the best so far."""
    NONE_FITS = "none_fits"
    """No candidate agrees with the held-back answers; the model is the closest one."""
    CLASS_MISMATCH = "class_mismatch"
    """The target is not of the class that the attack assumes; the model is its best fit."""
    NO_CONVERGENCE = "no_convergence"
    """A fit stopped before it converged; the model is the best so far."""


@dataclass(frozen=True, eq=False)
class Finding:
    """What an attack returns.

    Parameters
    ----------
    model : ExtractedModel or None
    outcome : Outcome
    reason : str
        One sentence for a person: why the outcome is what it is.
    evidence : mapping
        Numbers behind the outcome, as JSON-able values.
    """

    model: ExtractedModel | None
    outcome: Outcome
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


Steps = Generator[Ask, Answers, Finding]


class Attack(Protocol):
    """An extraction attack: a frozen dataclass of hyper-parameters with these two methods."""

    def needs(self, spec: OracleSpec) -> str | None:
        """Why it cannot run against such an oracle, in one sentence that names the mend, or None."""
        ...

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Run the attack.

        Parameters
        ----------
        spec : OracleSpec
        rng : Generator
            The only source of randomness.
        budget : int
            The most rows that will be answered, over all accounts.
        known : Answers
            Answers of this oracle that are paid already and free to use; often none.
        """
        ...


def called(attack: Attack) -> str:
    """What people call an attack: its class, as names are written on the command line.

    Examples
    --------
    >>> from filch.attacks import make
    >>> called(make("perceptron-sgd")), called(make("tree-top-down"))
    ('perceptron-sgd', 'tree-top-down')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(attack).__name__).lower()


# ── lockstep ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Also:
    """Yielded by a search in lockstep to add further searches, by name; it is sent None at once."""

    searches: Mapping[str, Search[Any]]


Search = Generator[Rows | Also, Answers | None, T]
"""A small search: yields rows (or `Also`), is sent their answers, returns what it found."""


def lockstep(
    searches: Mapping[str, Search[T]],
    *,
    phase: str = "",
    account: Account = "attack",
    snapshot: Snapshot | None = None,
) -> Generator[Ask, Answers, dict[str, T]]:
    """Run independent searches side by side, so that all of them share each request.

    Identical rows are asked once. Use as ``found = yield from lockstep({"x0": search(0), "x1": search(1)})``.

    Parameters
    ----------
    searches : mapping of str to generator
        Named; a search adds others by yielding `Also`.
    phase, account, snapshot
        Of the common `Ask`.

    Returns
    -------
    dict
        What each search returned, by name, in the order in which they were added.
    """
    found: dict[str, T] = {}
    order: dict[str, None] = {}  # a set that keeps its order
    waiting: dict[str, tuple[Search[T], Rows]] = {}

    def advance(name: str, search: Search[T], answers: Answers | None) -> None:
        order[name] = None
        try:
            wish = search.send(answers)
            while isinstance(wish, Also):
                for other, added in wish.searches.items():
                    if other in order:
                        raise ValueError(f"two searches are named {other!r}")
                    advance(other, added, None)
                wish = search.send(None)
            waiting[name] = search, np.atleast_2d(wish)
        except StopIteration as stop:
            found[name] = stop.value

    order.update(dict.fromkeys(searches))
    for name, search in searches.items():
        advance(name, search, None)
    while waiting:
        turn, waiting = waiting, {}
        stacked = np.concatenate([rows for _, rows in turn.values()])
        whole = np.ascontiguousarray(stacked).view(f"V{stacked.itemsize * stacked.shape[1]}").reshape(-1)
        _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
        answers = yield Ask(stacked[np.sort(first)], phase, account, snapshot)  # in the order of the wishes
        place = np.argsort(np.argsort(first))[inverse.reshape(-1)]
        start = 0
        for name, (search, rows) in turn.items():
            advance(name, search, answers[place[start : start + len(rows)]])
            start += len(rows)
    return {name: found[name] for name in order}


def overheard(
    steps: Generator[Ask, Answers, T],
    note: Callable[[Ask, Answers], None],
    *,
    name: str = "",
    fallback: ExtractedModel | None = None,
) -> Generator[Ask, Answers, T]:
    """Pass asks and answers on, and call ``note`` with each pair; of an ask at the budget, with what was answered.

    ``name`` is put before the phases that the driver sees. ``fallback`` stands in wherever a snapshot has no model yet.
    """

    def shown(ask: Ask) -> Ask:
        own = ask.snapshot
        if name:
            ask = replace(ask, phase=f"{name}: {ask.phase}" if ask.phase else name)
        return ask if fallback is None else replace(ask, snapshot=lambda: (own() if own else None) or fallback)

    try:
        ask = next(steps)
        while True:
            try:
                answers = yield shown(ask)
            except BudgetSpent as spent:
                note(ask, spent.partial)
                ask = steps.throw(spent)
            else:
                note(ask, answers)
                ask = steps.send(answers)
    except StopIteration as stop:
        found: T = stop.value
        return found


def collect(rows: Iterable[Rows], phase: str = "", account: Account = "attack") -> Generator[Ask, Answers, Answers]:
    """Ask blocks of rows one after the other and join the answers."""
    parts = []
    for block in rows:
        parts.append((yield Ask(block, phase, account)))
    return Answers.concat(parts)
