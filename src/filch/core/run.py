"""A finished run: what came of it, what it cost, and its curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filch.core.answers import Answers
from filch.core.attack import Outcome
from filch.core.ledger import Ledger
from filch.core.models import ExtractedModel


@dataclass(frozen=True)
class CurvePoint:
    """The best model after so many queries (attack account), measured. ``fidelity`` is what ``watch`` returned."""

    queries: int
    requests: int
    fidelity: Any


@dataclass(frozen=True)
class Uncertain:
    """A transmission in flight when a run broke off: paid, answer unknown; sent and paid again if the budget allows."""

    ask: int
    batch: int
    rows: int


@dataclass(frozen=True)
class Progress:
    """How far a run is: ``replayed`` rows came from the journal."""

    phase: str
    queries: int
    budget: int
    requests: int
    replayed: int


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: (target, attack, guard, budget, seed) and what came of it.

    Attributes
    ----------
    model : ExtractedModel or None
    outcome : Outcome
        How it went; ``reason`` says why in a sentence, ``evidence`` in numbers.
    ledger : Ledger
        What was paid.
    curve : tuple of CurvePoint
        Fidelity against queries.
    uncertain : tuple of Uncertain
        Transmissions that were paid and not answered because the run broke off.
    answers : Answers or None
        All answers, where the driver was told to keep them.
    seconds : float
        Wall time of this process.
    settings : mapping
        The digest: attack, parameters, seed, budget, target, guard.
    """

    model: ExtractedModel | None
    outcome: Outcome
    reason: str
    evidence: Mapping[str, Any]
    ledger: Ledger
    curve: tuple[CurvePoint, ...]
    uncertain: tuple[Uncertain, ...]
    answers: Answers | None
    seconds: float
    settings: Mapping[str, str]

    def __repr__(self) -> str:
        copy = "no model" if self.model is None else type(self.model).__name__
        return f"<Run: {self.outcome.value}, {self.queries:,} queries, {self.requests:,} requests, {copy}>"

    @property
    def queries(self) -> int:
        """Rows in the attack account."""
        return self.ledger["attack"].queries

    @property
    def selection(self) -> int:
        """Rows in the selection account: held-back answers, by which an attack chooses or checks."""
        return self.ledger["selection"].queries

    @property
    def requests(self) -> int:
        """Round trips, over all accounts."""
        return self.ledger.requests
