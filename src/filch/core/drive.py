"""The driver: answers what an attack asks, counts it, journals it, and stops at the budget.

An attack cannot miscount its queries because it never makes one: it yields an `Ask`, and the driver does the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from filch.core.answers import Answers
from filch.core.attack import MOST_BYTES, Account, Ask, Attack, Finding, Outcome, Steps, called
from filch.core.digest import describe, settings_of
from filch.core.features import Rows
from filch.core.journal import Journal, RecordedAsk, RunLog
from filch.core.ledger import Ledger
from filch.core.models import ExtractedModel
from filch.core.oracle import Batch, Oracle, OracleSpec
from filch.core.run import CurvePoint, Progress, Run, Uncertain
from filch.core.seeds import stream
from filch.errors import BadAnswer, BudgetSpent, CannotRun, ReplayDiverged, UsageError

_BATCH_BYTES = 8 * 2**20  # of a request, where the oracle names no largest batch
_DRIFT = 1e-9  # by which replayed rows may differ: last digits of another BLAS


def drive(
    oracle: Oracle,
    attack: Attack,
    *,
    budget: int,
    seed: int = 0,
    journal: Journal | None = None,
    name: str = "run",
    known: Answers | None = None,
    watch: Callable[[ExtractedModel], Any] | None = None,
    density: float = 1.5,
    keep_answers: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Run an attack against an oracle.

    Parameters
    ----------
    oracle : Oracle
    attack : Attack
    budget : int
        The most rows paid, over all accounts.
    seed : int, default 0
    journal : Journal, optional
        Where each batch is written before it is sent. A run of the same name and settings is replayed from it.
    name : str
        The run's name in the journal.
    known : Answers, optional
        Answers that are paid already; free to the attack.
    watch : callable, optional
        Measures a model, for the curve; called after 1, 2, 3, … queries, each ``density`` times the last.
    keep_answers : bool
        Whether ``run.answers`` holds everything that was answered.
    progress : callable, optional
        Told of each answered request.

    Raises
    ------
    CannotRun
        The attack cannot run against this oracle.
    UsageError
        A budget below 1, or a seed below 0.
    JournalError, RunChanged, ReplayDiverged
        See `filch.errors`.
    ServiceError
        The API does not answer; what was answered is in the journal.
    """
    if not isinstance(budget, int | np.integer):
        raise UsageError(f"a budget is a whole number of queries, got {budget!r}")
    if budget < 1:
        raise UsageError(f"a budget of {budget} buys no query: give at least 1")
    if seed < 0:
        raise UsageError(f"a seed is 0 or more, got {seed}")
    why = attack.needs(oracle.spec)
    if why:
        raise CannotRun(f"{called(attack)} cannot run here: {why}")
    settings = settings_of(oracle, attack, budget, seed, known)
    log = journal.open_run(name, settings) if journal else None
    started = time.perf_counter()
    counter = _Counter(oracle, budget, log, keep_answers, progress)
    steps = attack.steps(
        oracle.spec,
        stream(seed, "attack"),
        budget=budget,
        known=known or Answers.none(len(oracle.spec.space)),
    )
    finding, curve = _converse(steps, counter, watch, density)
    if watch and finding.model is not None:
        curve.append(CurvePoint(counter.ledger["attack"].queries, counter.ledger.requests, watch(finding.model)))
    if log:
        log.finish(finding.outcome)
    return Run(
        model=finding.model,
        outcome=finding.outcome,
        reason=finding.reason,
        evidence=finding.evidence,
        ledger=counter.ledger,
        curve=tuple(curve),
        uncertain=tuple(counter.uncertain),
        answers=Answers.concat(counter.kept) if counter.kept else None,
        seconds=time.perf_counter() - started,
        settings=settings,
    )


@dataclass(frozen=True)
class Recital:
    """An attack that only asks given rows, in a given account: how evaluation rows of a remote target are paid."""

    rows: Rows
    account: Account = "evaluation"
    phase: str = "evaluation"

    def needs(self, spec: OracleSpec) -> str | None:
        """Nothing."""
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask the rows, block by block."""
        block = max(1, MOST_BYTES // max(1, self.rows[:1].nbytes))
        for start in range(0, len(self.rows), block):
            yield Ask(self.rows[start : start + block], self.phase, self.account)
        return Finding(None, Outcome.APPROXIMATE, "all rows asked")


def _converse(
    steps: Steps, counter: _Counter, watch: Callable[[ExtractedModel], Any] | None, density: float
) -> tuple[Finding, list[CurvePoint]]:
    """Carry asks and answers between the attack and the counter until the attack has ended."""
    curve: list[CurvePoint] = []
    mark, latest = 1.0, None
    try:
        ask = next(steps)
        refusals = 0
        while True:
            latest = ask.snapshot or latest
            queries = counter.ledger["attack"].queries
            if watch and ask.snapshot and queries >= mark:
                model = ask.snapshot()
                if model is not None:
                    curve.append(CurvePoint(queries, counter.ledger.requests, watch(model)))
                    mark = max(queries + 1, queries * density)
            answers, complete = counter.serve(ask)
            if complete:
                ask = steps.send(answers)
                continue
            refusals += 1
            if refusals > 3:  # an attack that goes on asking after it was told to end
                steps.close()
                break
            ask = steps.throw(BudgetSpent(answers))
    except StopIteration as stop:
        finding: Finding = stop.value
        return finding, curve
    except BudgetSpent:
        pass
    model = latest() if latest else None
    return Finding(model, Outcome.BUDGET_SPENT, f"the budget of {counter.budget:,} queries is spent"), curve


class _Counter:
    """Answers asks from the journal and the oracle, and counts them."""

    def __init__(
        self,
        oracle: Oracle,
        budget: int,
        log: RunLog | None,
        keep: bool,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.oracle, self.budget, self.log, self.keep, self.progress = oracle, budget, log, keep, progress
        self.ledger = Ledger()
        self.uncertain: list[Uncertain] = []
        self.kept: list[Answers] = []
        self.ask = -1
        self.pulled: set[int] = set()
        self.replayed = 0
        self._lock = threading.Lock()

    def serve(self, ask: Ask) -> tuple[Answers, bool]:
        """Answer an ask as far as the budget goes; the second value says whether that was all of it."""
        self.ask += 1
        self.pulled.clear()
        rows = self.oracle.spec.space.check(ask.rows, omission=self.oracle.spec.omission)
        if rows.nbytes > MOST_BYTES:
            raise UsageError(f"an ask of {rows.nbytes / 2**20:.0f} MB: yield blocks of at most 64 MB")
        found: dict[int, Answers] = {}
        pending: dict[int, Rows] = {}
        recorded = self.log.recorded(self.ask) if self.log else None
        if recorded is not None:
            self._replay(recorded, ask, rows, found, pending)
        elif self.log:
            self.log.begin(self.ask, ask.account, ask.phase, len(rows))
        if recorded is None or recorded.answered is None:
            for reply in self.oracle.answer(self._batches(ask, rows, found, pending)):
                index, answers = reply.batch.index, reply.answers
                if self.log:
                    self.log.answered(self.ask, index, answers, sent=reply.sent)
                if not reply.sent:
                    with self._lock:
                        self.ledger[ask.account].sent -= len(answers)
                found[index] = answers
                self._tell(ask.phase)
            if self.pulled - found.keys():
                raise BadAnswer("the oracle left a batch without a reply: each batch that it pulls needs one")
        parts = [found[index] for index in sorted(found)]
        whole = rows[: sum(map(len, parts))] if recorded is None else None
        answers = Answers.concat(parts, whole) if parts else Answers.none(rows.shape[1])
        if self.log and (recorded is None or recorded.answered is None):
            self.log.end(self.ask, len(answers))
        if self.keep and len(answers):
            self.kept.append(answers)
        return answers, len(answers) == len(rows)

    def _batches(
        self, ask: Ask, rows: Rows, found: Mapping[int, Answers], pending: Mapping[int, Rows]
    ) -> Iterator[Batch]:
        """Cut rows into batches, and pay for each as it is pulled."""
        most = self.oracle.spec.max_batch or max(1, _BATCH_BYTES // max(1, rows[:1].nbytes))
        for index, start in enumerate(range(0, len(rows), most)):
            if index in found:
                continue
            part = pending.get(index, rows[start : start + most])
            with self._lock:
                left = self.budget - self.ledger.paid
                if left <= 0 or (index in pending and left < len(part)):
                    return
                part = part[:left]
                self.ledger.pay(ask.account, ask.phase, len(part))
            if self.log and index in pending:
                self.log.again(self.ask, index, lost=True)
            elif self.log:
                self.log.sending(self.ask, index, part)
            self.pulled.add(index)
            yield Batch(index, part, self._pay_again(ask, self.ask, index, len(part)))

    def _pay_again(self, ask: Ask, number: int, index: int, rows: int) -> Callable[[], bool]:
        def pay() -> bool:
            with self._lock:
                if self.budget - self.ledger.paid < rows:
                    return False
                self.ledger.pay(ask.account, ask.phase, rows)
            if self.log:
                self.log.again(number, index)
            return True

        return pay

    def _replay(
        self,
        recorded: RecordedAsk,
        ask: Ask,
        rows: Rows,
        found: dict[int, Answers],
        pending: dict[int, Rows],
    ) -> None:
        """Take what the journal holds of an ask: answers, and batches that were in flight."""
        self._same(recorded, ask, rows)
        for batch in recorded.batches:
            paid = len(batch.rows) * batch.attempts
            self.ledger.pay(ask.account, ask.phase, paid, requests=batch.attempts, sent=paid if batch.sent else 0)
            lost = batch.lost + (batch.answers is None)
            self.uncertain += [Uncertain(self.ask, batch.index, len(batch.rows))] * lost
            if batch.answers is None:
                pending[batch.index] = batch.rows
            else:
                found[batch.index] = batch.answers
                self.replayed += len(batch.rows)
        self._tell(ask.phase)

    def _same(self, recorded: RecordedAsk, ask: Ask, rows: Rows) -> None:
        there = np.concatenate([b.rows for b in recorded.batches]) if recorded.batches else rows[:0]
        here = rows[: len(there)]
        if (recorded.account, recorded.phase, recorded.rows) == (ask.account, ask.phase, len(rows)):
            close = np.isclose(here, there, rtol=_DRIFT, atol=_DRIFT, equal_nan=True)
            if here.shape == there.shape and close.all():
                return
        raise ReplayDiverged(
            f"request {self.ask} of the attack is not the one in the journal; nothing was sent: "
            "resume with the version of filch (and of this attack) that began the run, or start a new journal"
        )

    def _tell(self, phase: str) -> None:
        if self.progress:
            paid, requests = self.ledger.paid, self.ledger.requests
            self.progress(Progress(phase, paid, self.budget, requests, self.replayed))


__all__ = ["CurvePoint", "Progress", "Recital", "Run", "Uncertain", "describe", "drive"]
