"""The audit: plan, execution and verdict in one call, and what it leaves on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from filch.audit.execute import Told, execute
from filch.audit.finish import AuditReport, finish
from filch.audit.plan import MAX_QUERIES, Plan, make_plan
from filch.audit.target import describe_target, local_oracle
from filch.core.oracle import Oracle
from filch.core.seeds import stream
from filch.errors import SchemaError, UsageError
from filch.report.format import Economics, Target

LOCAL_ROWS = 10_000
"""Evaluation rows of each kind for a local target, which answers for free …"""
REMOTE_ROWS = 500
"""… and for a remote one, which is paid."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An audit that is ready to run.

    Attributes
    ----------
    oracle : Oracle
    plan : Plan
        What it will do, and cost at worst.
    X_test : DataFrame or None
        The rows that copies are measured on.
    seed : int
    target : Target
        What the report says of the target.
    """

    oracle: Oracle
    plan: Plan
    X_test: pd.DataFrame | None
    seed: int
    target: Target

    def run(
        self,
        out: str | Path | None = None,
        *,
        resume: bool = True,
        authorized_by: str | None = None,
        progress: Told | None = None,
    ) -> AuditReport:
        """Run it. See `audit`."""
        folder = None if out is None else _folder(Path(out))
        journal = None if folder is None else folder / "audit.db"
        done = execute(
            self.plan, self.oracle, self.X_test, journal=journal, resume=resume, seed=self.seed, progress=progress
        )
        authorized_by = authorized_by or getattr(self.oracle, "authorized_by", None)
        return finish(self.plan, done, self.target, folder, authorized_by)


def audit(
    model: Any,
    frame: pd.DataFrame | None = None,
    *,
    target: str | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    reveals: Iterable[str] | None = None,
    max_queries: int = MAX_QUERIES,
    price: float = 0.1,
    latency: float = 0.1,
    rate: float | None = None,
    concurrency: int = 1,
    n_test: int | None = None,
    n_uniform: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    resume: bool = True,
    authorized_by: str | None = None,
    progress: Told | None = None,
) -> AuditReport:
    """Find out what a copy of a model costs, and what each countermeasure changes.

    Parameters
    ----------
    model : object or Oracle
        A fitted model (anything with ``predict``), or an oracle: ``filch.connect(…)``, ``filch.ModelOracle(…)``.
    frame : DataFrame, optional
        Rows of raw columns. For a model they say what its inputs look like, and no attack sees them; for any target
        copies are measured on them. Needed for a model.
    target : str, optional
        The column of ``frame`` that the model predicts; it is left out.
    out : path, optional
        A folder for ``report.json``, ``report.html``, the copies and the journal; made if missing.
    name : str, optional
        What the report calls the model.
    reveals : iterable of str, optional
        Coarser reveals beside the one as served: ``"4"`` (decimals), ``"top-1"``, ``"labels"``; by default 4, 3 and 2
        decimals and labels.
    max_queries : int, default 5,000
        The budget of each attack against each reveal.
    price : float, default 0.1
        Dollars per 1,000 predictions (Amazon's price in [Tramèr16, Table 2]).
    latency : float, default 0.1
        Seconds a request.
    rate : float, optional
        Requests a second at most.
    concurrency : int, default 1
        Requests at a time.
    n_test, n_uniform : int, optional
        The most rows of ``frame``, and the number of uniform rows, that copies are measured on; by default 10,000 for a
        local target, 500 for a remote one.
    seed, seeds : int, default 0 and 1
        The first seed, and how many of them each attack runs with.
    resume : bool, default True
        Go on with the journal in ``out`` if there is one.
    authorized_by : str, optional
        Who authorized the audit: goes into the report. By default whom ``filch.connect`` was told.
    progress : callable, optional
        Told ``(cell, place, cells, Progress)`` of each answered request.

    Returns
    -------
    AuditReport

    Raises
    ------
    UsageError
        An argument that cannot be right.
    SchemaError
        A frame that does not fit the model, or has no column ``target``.
    JournalError, ServiceError
        What was paid for is kept in the journal.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> frame = load_iris(as_frame=True).frame
    >>> model = LogisticRegression(max_iter=1_000).fit(frame.drop(columns="target"), frame["target"])
    >>> report = audit(model, frame, target="target", reveals=["labels"], max_queries=100)
    >>> report.data.served.to(1.0).queries
    5
    """
    prepared = prepare(
        model,
        frame,
        target=target,
        name=name,
        reveals=reveals,
        max_queries=max_queries,
        price=price,
        latency=latency,
        rate=rate,
        concurrency=concurrency,
        n_test=n_test,
        n_uniform=n_uniform,
        seed=seed,
        seeds=seeds,
    )
    return prepared.run(out, resume=resume, authorized_by=authorized_by, progress=progress)


def prepare(
    model: Any,
    frame: pd.DataFrame | None = None,
    *,
    target: str | None = None,
    name: str | None = None,
    reveals: Iterable[str] | None = None,
    max_queries: int = MAX_QUERIES,
    price: float = 0.1,
    latency: float = 0.1,
    rate: float | None = None,
    concurrency: int = 1,
    n_test: int | None = None,
    n_uniform: int | None = None,
    seed: int = 0,
    seeds: int = 1,
) -> Prepared:
    """Get an audit ready and send nothing: `Prepared.plan` says what it would cost. See `audit` for the parameters."""
    not_negative = {"seed": seed, "n_test": n_test, "n_uniform": n_uniform, "price": price, "latency": latency}
    for label, number in not_negative.items():
        if number is not None and number < 0:
            raise UsageError(f"{label} must not be negative, got {number}")
    for label, number in {"concurrency": concurrency, "seeds": seeds}.items():
        if number < 1:
            raise UsageError(f"{label} must be at least 1, got {number}")
    if rate is not None and rate <= 0:
        raise UsageError(f"rate must be above 0, got {rate}")
    X = None if frame is None else _inputs(frame, target)
    oracle = model if hasattr(model, "answer") and hasattr(model, "spec") else local_oracle(model, X)
    most = LOCAL_ROWS if oracle.local else REMOTE_ROWS
    X_test = None if X is None else _some(X, most if n_test is None else n_test, seed)
    plan = make_plan(
        oracle,
        reveals=reveals,
        max_queries=max_queries,
        seeds=range(seed, seed + seeds),
        n_test=0 if X_test is None else len(X_test),
        n_uniform=most if n_uniform is None else n_uniform,
        economics=Economics(price, latency, concurrency, rate),
    )
    return Prepared(oracle, plan, X_test, seed, describe_target(oracle, name))


def _inputs(frame: pd.DataFrame, target: str | None) -> pd.DataFrame:
    if target is None:
        return frame
    if target not in frame.columns:
        columns = ", ".join(map(repr, frame.columns[:8]))
        raise SchemaError(f"the table has no column {target!r} to leave out: its columns are {columns}")
    return frame.drop(columns=target)


def _some(X: pd.DataFrame, most: int, seed: int) -> pd.DataFrame | None:
    if most < 1 or not len(X):
        return None
    chosen = stream(seed, "test rows").permutation(len(X))[:most]
    return X.iloc[np.sort(chosen)]


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror}; choose another folder") from error
    return path
