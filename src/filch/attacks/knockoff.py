"""Knockoff: train a surrogate on answers to rows of a pool [Orekondy19]. Any target, any reveal; an approximation.

For when nothing is known of the target. Rows like those that the target was made for tell more about how it treats
them than uniform ones. *Random*: rows of the pool, as they come. *Adaptive*: in rounds, rows of which the surrogate
fitted so far is least sure. Without a pool, uniform rows in range stand in for one.

A pool that is smaller than the budget is asked in full; then come rows on the surrogate's boundary, between rows of the
pool. Queries: the whole budget. Requests: one a round, and three more in the first, for the curve.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from filch import files
from filch.attacks.fitting import Fitter
from filch.attacks.surrogates.boundary import blocks, complete, fresh, near_boundary
from filch.attacks.surrogates.doubt import least_sure
from filch.attacks.surrogates.named import check_surrogates, unsuited
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.features import UNKNOWN, FeatureSpace, Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, SchemaError, UsageError

_EXPLORE = 0.1  # share of random rows in each adaptive round
_WIDE = 2.0  # of so many times as many least certain rows a round takes a random part
_STAND_IN = 10  # uniform rows for each query that stand in for a pool
_MOST = 200_000  # of them


@dataclass(frozen=True)
class Knockoff:
    """Train a surrogate on answers to unlabelled rows of your own.

    Parameters
    ----------
    pool : DataFrame of raw columns, path of a CSV or Parquet file, or coded rows, optional
        Read when the attack is made. Columns that the target does not take are left out. By default uniform rows.
    strategy : {"adaptive", "random"}, default "adaptive"
    surrogate : name, estimator, or tuple of these, optional
        As for `Retraining`. By default linear, kernel and tree models.
    rounds : int, default 10
        Rounds of equal size that share the budget.
    encoded : bool, default True
        Whether surrogates see one-hot-encoded rows scaled to [−1, 1], or coded rows as they are.
    unusable : {"error", "drop"}, default "error"
        What to do with rows of the pool that are out of range, have a category that is none, or lack values.

    Raises
    ------
    UsageError
        A parameter out of range, or a pool that cannot be read or is empty. A pool that does not fit the target's
        columns is told once the target is known.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> target = RandomForestClassifier(20, random_state=0).fit(X[::2], y[::2])
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(0), X.max(0)), reveal="labels")
    >>> run = filch.extract(oracle, attack=Knockoff(pool=X[1::2]), budget=60)
    >>> run.queries, filch.fidelity(oracle, run.model, X_test=X).r_test < 0.1
    (60, True)
    """

    pool: Any = None
    strategy: Literal["adaptive", "random"] = "adaptive"
    surrogate: Any = None
    rounds: int = 10
    encoded: bool = True
    unusable: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        if self.strategy not in ("adaptive", "random") or self.rounds < 1 or self.unusable not in ("error", "drop"):
            raise UsageError(
                'Knockoff takes strategy="adaptive" or "random", at least one round, and unusable="error" or "drop"'
            )
        check_surrogates(self.surrogate)
        object.__setattr__(self, "pool", _read(self.pool))

    def needs(self, spec: OracleSpec) -> str | None:
        """A pool of the target's columns, and a surrogate of the right kind."""
        try:
            self._rows(spec)
        except UsageError as error:
            return f"the pool does not fit the target: {error}"
        return unsuited(check_surrogates(self.surrogate), spec)

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask rows of the pool, round after round."""
        surrogates = check_surrogates(self.surrogate)
        fitter = Fitter(spec, surrogates, self.encoded, child(rng, "fit"), known.given)
        pool = self._rows(spec)
        usable = None if pool is None else len(pool)
        if pool is None:
            pool = spec.space.sample(min(_STAND_IN * budget, _MOST), child(rng, "stand-in"))
        outcome, reason = Outcome.APPROXIMATE, "a surrogate of {n:,} answers"
        try:
            yield from overheard(self._conversation(fitter, pool, rng, budget), fitter.hear)
        except BudgetSpent:
            outcome, reason = Outcome.BUDGET_SPENT, "the budget ended early; the surrogate has learned {n:,} answers"
        fitter.settle()
        told = f"{reason.format(n=len(fitter.heard))} ({self.strategy}, {'a pool' if usable else 'uniform rows'})"
        return Finding(fitter.model(), outcome, told, {**fitter.evidence(), "pool": usable})

    def _conversation(
        self, fitter: Fitter, pool: Rows, rng: np.random.Generator, budget: int
    ) -> Generator[Ask, Answers, None]:
        space, seen = fitter.spec.space, {row.tobytes() for row in fitter.heard.rows}
        pool = child(rng, "order").permutation(pool[fresh(pool, seen)])
        cuts = sorted({round(budget * part / self.rounds) for part in range(self.rounds + 1)})
        for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
            own, wanted = child(rng, f"round {number}"), stop - start
            model = fitter.model() if number else None
            chosen = np.arange(min(wanted, len(pool)))
            guided = model is not None and model.classes is not None and self.strategy == "adaptive"
            if guided and model is not None and len(pool) > wanted:
                hard = least_sure(model, pool, round(wanted * (1 - _EXPLORE)), _WIDE, own)
                others = np.setdiff1d(np.arange(len(pool)), hard, assume_unique=True)
                chosen = np.concatenate([hard, others[: wanted - len(hard)]])
            rows = pool[chosen]
            pool = np.delete(pool, chosen, axis=0)
            if len(rows) < wanted:
                more = np.empty((0, len(space)))
                if guided and model is not None:
                    ends = fitter.heard.rows[complete(space, fitter.heard.rows)]
                    more = near_boundary(model, ends, wanted - len(rows), own, others=0)
                    more = more[fresh(more, seen)]
                rows = np.concatenate([rows, more, space.sample(wanted - len(rows) - len(more), own)])
            seen.update(row.tobytes() for row in rows)
            for block in blocks(rows, doubling=not number):
                yield Ask(block, f"round {number}" if number else "pool", snapshot=fitter.model)
            if not number and self.strategy == "adaptive":
                fitter.unbiased = len(fitter.heard)

    def _rows(self, spec: OracleSpec) -> Rows | None:
        """The pool as coded rows, or what is wrong with it."""
        if self.pool is None:
            return None
        space = spec.space
        if isinstance(self.pool, pd.DataFrame):
            rows = space.encode(_named(self.pool, space), unknown="code")
        else:
            rows = space.check(self.pool, omission=True)
        lacking = np.isnan(rows) & (not spec.omission)
        strange = (rows == UNKNOWN) & space.categorical
        outside = ((rows < space.low) | (rows > space.high)) & ~space.categorical
        good = ~(lacking | strange | outside).any(axis=1)
        if good.all() or (good.any() and self.unusable == "drop"):
            return np.asarray(rows[good])
        row = int((~good).argmax())
        column = int((lacking | strange | outside)[row].argmax())
        what = f"{rows[row, column]:g} is outside {space.low[column]:g} … {space.high[column]:g}"
        if lacking[row, column] or strange[row, column]:
            what = "no value" if lacking[row, column] else "no such category"
        raise SchemaError(
            f"{int((~good).sum()):,} of {len(rows):,} rows cannot be asked, row {row} for one: {space.names[column]}: "
            f'{what}; mend them, or pass unusable="drop"' + ("" if good.any() else " (which leaves none of these)")
        )


def _read(pool: Any) -> Any:
    """A pool as a table or a matrix of its own, or None."""
    if pool is None:
        return None
    if isinstance(pool, (str, Path)):
        return files.load_table(pool)[0]
    if isinstance(pool, pd.DataFrame):
        found: Any = pool.copy()
    else:
        try:
            found = np.array(pool, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UsageError(f"a pool is a DataFrame, a path, or coded rows: {error}") from error
        if found.ndim != 2:
            raise UsageError(f"a pool of coded rows is n × d, got shape {found.shape}")
        found.flags.writeable = False
    if not len(found):
        raise UsageError("the pool has no rows")
    return found


def _named(frame: pd.DataFrame, space: FeatureSpace) -> pd.DataFrame:
    """The table, or which of its columns are not the target's where some of the target's are missing."""
    names = {str(name) for name in frame.columns}
    absent = [name for name in space.names if name not in names]
    if absent:
        unknown = sorted(names - set(space.names))
        told = f" and has {', '.join(map(repr, unknown[:3]))}, which the target does not take" if unknown else ""
        raise SchemaError(
            f"it has no column {', '.join(map(repr, absent[:3]))}{told}: name its columns as the target's"
        )
    return frame
