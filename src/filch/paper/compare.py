"""Run one method against one target with several seeds, and sum up what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from filch.core.attack import Attack
from filch.core.encoding import OneHot
from filch.datasets import table3, table3_names
from filch.errors import UsageError
from filch.evaluate import Evaluation
from filch.extraction import extract
from filch.paper.cells import Result, Told
from filch.paper.tables import Row, Spread
from filch.paper.targets import HIDDEN, Inputs, Target

OURS, PAPERS, PRINTED = "filch", "paper's method", "paper, printed"
SEEDS = (0, 1, 2, 3, 4)
N_UNIFORM = 10_000
_MOST_ALPHA = 10_000
_SPARE = 10  # times the unknowns: a budget that binds neither method
MEASURES = ("r_test", "r_unif", "r_tv_test", "r_tv_unif")
"""How far a copy is from its target."""


def check_datasets(chosen: Sequence[str], known: Sequence[str]) -> None:
    """Find every data set before the first run, so that one that is missing costs no time.

    Raises
    ------
    UsageError
        A name that is none of ``known``.
    DataError
        A data set that cannot be found.
    """
    for name in chosen:
        if name not in known:
            also = " (it is in Table 3, but of the other kind)" if name in table3_names() else ""
            raise UsageError(f"no data set {name!r} here{also}: choose {', '.join(known)}")
        table3(name)


def check_alphas(alphas: Sequence[float]) -> tuple[float, ...]:
    """The alphas, each once, ascending.

    Raises
    ------
    UsageError
        None, or one that is not above 0 and below 10,000.
    """
    points = tuple(sorted(set(alphas)))
    if not points or not 0 < points[0] <= points[-1] < _MOST_ALPHA:
        raise UsageError(f"alphas are numbers above 0 and below {_MOST_ALPHA:,}; got {list(alphas)}")
    return points


def unknowns(target: Target) -> int:
    """The paper's count of a target's parameters: c(d + 1), h(d + 1) + c(h + 1) for a network, d + 1 if binary.

    For an RBF machine, too, its budgets are multiples of d + 1 [Tramèr16, §6].
    """
    per_class = OneHot(target.oracle.spec.space).width + 1
    if target.kind.startswith("mlp-"):
        return HIDDEN * per_class + target.study.n_classes * (HIDDEN + 1)
    return per_class if target.kind in ("binary", "rbf-svm") else target.study.n_classes * per_class


def measure(
    target: Target,
    attack: Attack,
    method: str,
    inputs: Inputs,
    seeds: Sequence[int] = SEEDS,
    progress: Told | None = None,
    budget: int | None = None,
) -> Row:
    """Extract once a seed and hold each copy against the same test rows and 10,000 uniform rows.

    Parameters
    ----------
    target : Target
    attack : Attack
    method : str
        The row's name for it.
    inputs : {"one-hot", "raw"}
    seeds : sequence of int
    progress : callable, optional
    budget : int, optional
        Queries, for a method that takes all it is given; else more than any needs.
    """
    evaluation = Evaluation.of(target.oracle, target.X_test, N_UNIFORM)
    points = []
    for seed in seeds:
        if progress:
            progress(f"{target.study.name} {target.kind} ({inputs}): {method}, seed {seed}", 0, 0)
        points.append(point(target, evaluation, attack, budget, seed))
    return row_of(target, method, inputs, points)


def point(target: Target, evaluation: Evaluation, attack: Attack, budget: int | None, seed: int) -> Result:
    """Extract once, and measure: JSON-able values, of which `row_of` makes a row."""
    most = _SPARE * unknowns(target) + 100 if budget is None else budget
    run = extract(target.oracle, attack, budget=most, seed=seed, curve=False)
    found = None if run.model is None else evaluation.measure(run.model)
    measured = {name: None if found is None else getattr(found, name) for name in MEASURES}
    return {
        "queries": run.queries,
        "selection": run.selection,
        "seconds": run.seconds,
        "outcome": run.outcome.value,
        **{name: None if value is None else float(value) for name, value in measured.items()},
    }


def row_of(target: Target, method: str, inputs: Inputs, points: Sequence[Any]) -> Row:
    """The row of one point of several seeds."""

    def spread(name: str) -> Spread | None:
        values = [point[name] for point in points]
        # A seed without a model leaves no median to speak of; labels have no total variation.
        return None if None in values else Spread.of(values)

    return Row(
        dataset=target.study.name,
        model=target.kind,
        method=method,
        inputs=inputs,
        unknowns=unknowns(target),
        queries=Spread.of([point["queries"] for point in points]),
        r_test=spread("r_test"),
        r_unif=spread("r_unif"),
        r_tv_test=spread("r_tv_test"),
        r_tv_unif=spread("r_tv_unif"),
        seconds=spread("seconds"),
        selection=max(point["selection"] for point in points),
        seeds=len(points),
        n_test=len(target.X_test),
        n_uniform=N_UNIFORM,
        note=", ".join(sorted({point["outcome"] for point in points})),
    )
