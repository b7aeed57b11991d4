"""Improper extraction: what comes of a copy whose class is not the target's [Tramèr16, App. D]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier

from filch.attacks.logistic import Logistic
from filch.attacks.perceptron_sgd import PerceptronSGD
from filch.attacks.retraining import Retraining
from filch.core.attack import Attack
from filch.paper.cells import Told
from filch.paper.compare import OURS, PAPERS, PRINTED, SEEDS, check_datasets, unknowns
from filch.paper.lines import Line, compute
from filch.paper.table4 import DATASETS as MULTICLASS
from filch.paper.tables import Row, Spread, Table
from filch.paper.targets import Target, target

DATASETS = ("adult-race",)
"""The target of the appendix; `run` takes every multiclass set of Table 3."""
BOOSTING, RETRAINING = "gradient boosting", "retraining"
_ALPHA = 10  # queries for each unknown of the target
_PRINTED = 5_300, 0.005, 1e-2  # queries, R, total variation


def run(
    seeds: Sequence[int] = SEEDS,
    datasets: Sequence[str] = DATASETS,
    hidden: int = 1_000,
    epochs: int = 1_000,
    results: str | Path | None = None,
    jobs: int = 1,
    progress: Told | None = None,
) -> Table:
    """Copy a softmax model by its own class, and by others with ten queries for each of its unknowns.

    filch solves for the softmax with d + 1 queries. The paper's network has 1,000 hidden units. Gradient boosting and
    the retraining attack, which chooses among linear, kernel and tree surrogates, get as many queries.

    Parameters
    ----------
    seeds, datasets, results, jobs, progress
        See `filch.paper.Reproduction`, errors too.
    hidden, epochs : int
        Of the network; the paper's are 1,000 and, for its networks elsewhere, 1,000.

    Examples
    --------
    >>> table = run(seeds=[0], datasets=["blobs"], hidden=8, epochs=5)
    >>> [(row.method, row.queries.worst) for row in table.rows][:2]
    [('filch', 3), ("paper's method", 90)]
    """
    check_datasets(datasets, MULTICLASS)
    lines = [line for dataset in datasets for line in _lines(dataset, hidden, epochs)]
    rows = compute(lines, seeds, results, jobs, progress)
    return Table("appendix-d", "A softmax model copied by models of other classes", rows)


def _lines(dataset: str, hidden: int, epochs: int) -> Iterator[Line | Row]:
    """The lines of one data set."""
    model = target(dataset, "softmax")
    queries = _ALPHA * unknowns(model)
    yield Line(dataset, "softmax", OURS, Logistic(link="softmax"))
    for method, attack in _general(hidden, epochs).items():
        yield Line(dataset, "softmax", method, attack, budget=queries)
    if dataset == "adult-race":
        yield _printed(model)


def _general(hidden: int, epochs: int) -> dict[str, Attack]:
    """General learners; among the surrogates of the last is a softmax, but a regularised one."""
    trees: Any = HistGradientBoostingClassifier()
    return {
        # As many rows as the budget allows: it has far more unknowns than the target.
        PAPERS: PerceptronSGD(hidden, alpha=_ALPHA, epochs=epochs, batch=200, rate=0.001, check=0),
        BOOSTING: Retraining("uniform", surrogate=trees, rounds=1),
        RETRAINING: Retraining(),
    }


def _printed(model: Target) -> Row:
    queries, wrong, distance = _PRINTED
    return Row(
        model.study.name,
        model.kind,
        PRINTED,
        "one-hot",
        unknowns(model),
        Spread(queries, queries),
        Spread(wrong, wrong),
        Spread(wrong, wrong),
        Spread(distance, distance),
        Spread(distance, distance),
        note="App. D: a network of 1,000 hidden units",
    )
