"""`extract`: run an attack, by name or instance, against an oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path

import pandas as pd

from filch import attacks
from filch.core.answers import Answers
from filch.core.attack import Attack
from filch.core.drive import Progress, Run, drive
from filch.core.features import Rows
from filch.core.journal import Journal
from filch.core.oracle import Guard, Oracle, guarded
from filch.errors import UsageError
from filch.evaluate import Evaluation
from filch.guards import parse

_CURVE_ROWS = 2_000  # uniform rows behind each point of a curve


def extract(
    oracle: Oracle,
    attack: str | Attack = "auto",
    *,
    budget: int,
    seed: int = 0,
    guard: str | Guard | Iterable[str | Guard] = (),
    journal: str | Path | Journal | None = None,
    known: Answers | None = None,
    X_test: pd.DataFrame | Rows | None = None,
    curve: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Extract a copy of a model through its oracle.

    Parameters
    ----------
    oracle : Oracle
        Query access to the target: `ModelOracle`, or what `connect` returns.
    attack : str or Attack, default "auto"
        A name (`filch attacks` lists them) or an instance.
    budget : int
        The most queries (rows) paid, over all accounts.
    seed : int, default 0
        The run's root seed; the same seed asks the same rows, bit for bit.
    guard : Guard, str, or several, optional
        Countermeasures to put before the oracle, the first one innermost; a text as `filch.guards.parse` reads it.
    journal : path or Journal, optional
        Where each batch is written before it is sent. If the file holds this run already, it is replayed and goes on;
        nothing that was answered is sent again.
    known : Answers, optional
        Answers that are paid already, free to the attack.
    X_test : DataFrame of raw columns, or coded rows, optional
        Real rows on which the curve is measured too. A local target only.
    curve : bool, default True
        Whether to measure the model on the way, for ``run.curve``; for a local target, where that is free.
    progress : callable, optional
        Told of each answered request.

    Returns
    -------
    Run
        ``run.model``, ``run.outcome``, ``run.queries``, ``run.requests``, ``run.curve``, …

    Raises
    ------
    UsageError, CannotRun
        A budget below 1, an unknown attack or guard, an attack that cannot run against this oracle.
    JournalError
        The journal cannot be written, or holds another run.
    ServiceError
        A remote target does not answer.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> import filch
    >>> target = LogisticRegression().fit([[0.0, 1.0], [1.0, 0.0]], ["no", "yes"])
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box([0, 0], [1, 1]))
    >>> run = filch.extract(oracle, attack="logistic", budget=100)
    >>> run.queries, filch.fidelity(oracle, run.model).r_unif
    (3, 0.0)
    """
    guards = [guard] if isinstance(guard, str) or not isinstance(guard, Iterable) else guard
    target = guarded(oracle, [parse(one) if isinstance(one, str) else one for one in guards])
    if isinstance(attack, type):
        raise UsageError(f"an attack is an instance, {attack.__name__}(…), or a name, not a class")
    chosen = attacks.make(attack) if isinstance(attack, str) else attack
    watch = Evaluation.of(target, X_test, _CURVE_ROWS, seed).measure if curve and oracle.local else None
    opened = (
        nullcontext(journal)
        if journal is None or isinstance(journal, Journal)
        else Journal(journal, durable=not oracle.local)
    )
    with opened as log:
        return drive(target, chosen, budget=budget, seed=seed, journal=log, known=known, watch=watch, progress=progress)
