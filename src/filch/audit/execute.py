"""The execution of a plan: each cell is one journaled run, and every copy is held against the same answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import joblib
import pandas as pd

from filch.audit.loss import loss
from filch.audit.memory import Remembering
from filch.audit.plan import Cell, Level, Plan
from filch.core.digest import describe
from filch.core.drive import drive
from filch.core.features import Rows
from filch.core.journal import Journal
from filch.core.ledger import Entry, Ledger
from filch.core.models import ExtractedModel
from filch.core.oracle import Oracle, OracleSpec, guarded
from filch.core.run import Progress, Run
from filch.errors import RunChanged, UsageError
from filch.evaluate import Evaluation, Fidelity
from filch.report.format import Account, InFlight, Loss, Point, RunRecord, Yardstick

Told = Callable[[str, int, int, Progress], None]
"""Told of each answered request: the cell's name, its place, the number of cells, how far the cell is."""


@dataclass(frozen=True, eq=False)
class Executed:
    """What came of a plan.

    Attributes
    ----------
    records : tuple of RunRecord
        In the order of the plan's cells.
    models : dict
        The copies, by the run's name.
    losses : dict
        What honest users lose, by the level's name.
    yardstick : Yardstick
    sent : int
        Rows that the target was sent, over all runs.
    """

    records: tuple[RunRecord, ...]
    models: dict[str, ExtractedModel]
    losses: dict[str, Loss]
    yardstick: Yardstick
    sent: int


def execute(
    plan: Plan,
    oracle: Oracle,
    X_test: pd.DataFrame | Rows | None = None,
    *,
    journal: Path | None = None,
    resume: bool = True,
    seed: int = 0,
    progress: Told | None = None,
) -> Executed:
    """Run the cells of a plan.

    Parameters
    ----------
    plan : Plan
    oracle : Oracle
        The target that the plan was made for.
    X_test : DataFrame or coded rows, optional
    journal : path, optional
        An interrupted audit goes on from it, and pays for nothing twice.
    resume : bool, default True
        Whether a journal that is there already is gone on with.
    seed : int, default 0
        Of the uniform rows.
    progress : callable, optional

    Raises
    ------
    UsageError
        ``resume=False``, and the journal of a remote audit is there already.
    KeyboardInterrupt
        With a message that says how to go on.
    JournalError, ServiceError
        What was answered is in the journal.
    """
    with _opened(journal, plan, oracle, resume) as log:
        target = oracle if oracle.local else Remembering(oracle, log)
        try:
            return _execute(plan, target, X_test, log, seed, progress)
        except KeyboardInterrupt:
            kept = (
                f"what was paid for is in {journal}: run the same audit again to go on" if journal else "nothing kept"
            )
            raise KeyboardInterrupt(f"stopped; {kept}") from None


def _execute(
    plan: Plan,
    oracle: Oracle,
    X_test: pd.DataFrame | Rows | None,
    log: Journal | None,
    seed: int,
    progress: Told | None,
) -> Executed:
    of = len(plan.cells)

    def teller(name: str, place: int) -> Callable[[Progress], None] | None:
        return (lambda p: progress(name, place, of, p)) if progress else None

    if oracle.local:
        evaluation, ledger = Evaluation.of(oracle, X_test, plan.n_uniform, seed), Ledger()
    else:
        evaluation, asked = Evaluation.paid(
            oracle, X_test, plan.n_uniform, seed, journal=log, progress=teller("evaluation", 0)
        )
        ledger = asked.ledger
    records, models = [], {}
    for place, cell in enumerate(plan.cells, start=1):
        through = guarded(oracle, cell.level.guards)
        run = drive(
            through,
            cell.attack,
            budget=cell.budget,
            seed=cell.seed,
            journal=log,
            name=cell.name,
            watch=evaluation.behind(through.spec).measure,
            progress=teller(cell.name, place),
        )
        records.append(_record(cell, run))
        if run.model is not None:
            models[cell.name] = run.model
    n_test, n_uniform = (0 if part is None else len(part) for part in (evaluation.test, evaluation.uniform))
    return Executed(
        records=tuple(records),
        models=models,
        losses={level.name: _loss(level, evaluation, oracle.spec) for level in plan.levels},
        yardstick=Yardstick(n_test, n_uniform, _account(ledger["evaluation"])),
        sent=oracle.sent
        if isinstance(oracle, Remembering)
        else sum(a.sent for r in records for a in r.ledger.values()),
    )


@contextlib.contextmanager
def _opened(path: Path | None, plan: Plan, oracle: Oracle, resume: bool) -> Iterator[Journal | None]:
    """Open the journal. That of a local target holds nothing that was paid: one of another audit is replaced."""
    if path is None:
        yield None
        return
    if path.exists() and not resume:
        if not oracle.local:
            raise UsageError(f"{path} holds an audit that was paid for: go on with it (resume), or use another folder")
        path.unlink()
    cells = [(cell.name, describe(cell.attack), cell.budget, repr(cell.level.guards)) for cell in plan.cells]
    header = {"target": oracle.fingerprint(), "plan": str(joblib.hash(cells))}
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(Journal(path))
        if oracle.local:
            try:
                log.open_run("audit", header)
            except RunChanged:
                stack.close()
                path.unlink()
                log = stack.enter_context(Journal(path))
                log.open_run("audit", header)
        yield log


def _record(cell: Cell, run: Run) -> RunRecord:
    points = {point.queries: _point(point.queries, point.requests, point.fidelity) for point in run.curve}
    return RunRecord(
        name=cell.name,
        reveal=cell.level.name,
        attack=cell.label,
        seed=cell.seed,
        budget=cell.budget,
        outcome=run.outcome.value,
        reason=run.reason,
        seconds=round(run.seconds, 3),
        settings=dict(run.settings),
        ledger={name: _account(entry) for name, entry in run.ledger.accounts.items()},
        curve=tuple(points.values()),
        uncertain=tuple(InFlight(u.ask, u.batch, u.rows) for u in run.uncertain),
        parameters=None if run.model is None else run.model.n_parameters,
    )


def _point(queries: int, requests: int, found: Fidelity) -> Point:
    return Point(queries, requests, found.r_test, found.r_unif, found.r_tv_test, found.r_tv_unif, found.mean_error)


def _account(entry: Entry) -> Account:
    return Account(entry.queries, entry.sent, entry.requests, dict(entry.phases))


def _loss(level: Level, evaluation: Evaluation, spec: OracleSpec) -> Loss:
    truth = evaluation.test if evaluation.test is not None else evaluation.uniform
    if level.served or truth is None:
        return Loss("Nothing: this is what answers show today.")
    before = after = truth
    for guard in level.guards:
        after = guard.apply(after, spec)
    return loss(before, after)
