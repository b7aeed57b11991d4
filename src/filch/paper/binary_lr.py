"""Binary logistic regression on every two-class data set [Tramèr16, §4.1.1]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from filch.attacks.logistic import Logistic
from filch.paper.cells import Told
from filch.paper.compare import OURS, PAPERS, PRINTED, SEEDS, check_datasets, unknowns
from filch.paper.equation_solving import EquationSolving
from filch.paper.lines import Line, compute
from filch.paper.tables import Row, Spread, Table
from filch.paper.targets import Inputs, target

DATASETS = ("circles", "moons", "adult-income", "breast-cancer", "mushrooms", "diabetes")
"""The two-class sets of Table 3."""
_TV = 1e-9  # printed as an upper bound


def run(
    seeds: Sequence[int] = SEEDS,
    datasets: Sequence[str] = DATASETS,
    inputs: Sequence[Inputs] = ("one-hot", "raw"),
    results: str | Path | None = None,
    jobs: int = 1,
    progress: Told | None = None,
) -> Table:
    """Compare this tool, the paper's d + 1 uniform queries run here, and the paper's printed figures.

    Parameters
    ----------
    seeds, datasets, results, jobs, progress
        See `filch.paper.Reproduction`, errors too.
    inputs : sequence of {"one-hot", "raw"}
        Direct queries as in the paper, and raw columns.

    Examples
    --------
    >>> table = run(seeds=[0], datasets=["breast-cancer"], inputs=["one-hot"])
    >>> [(row.method, row.queries.worst) for row in table.rows]
    [('filch', 10), ("paper's method", 10), ('paper, printed', 10)]
    """
    check_datasets(datasets, DATASETS)
    lines = [line for dataset in datasets for line in _lines(dataset, inputs)]
    rows = compute(lines, seeds, results, jobs, progress)
    return Table("binary-lr", "Binary logistic regression by equation solving", rows)


def _lines(dataset: str, inputs: Sequence[Inputs]) -> Iterator[Line | Row]:
    """The lines of one data set."""
    for kind in inputs:
        yield Line(dataset, "binary", OURS, Logistic(), kind)
        yield Line(dataset, "binary", PAPERS, EquationSolving(), kind)
        if kind == "one-hot":
            count = unknowns(target(dataset, "binary", kind))
            note = "of all two-class sets: 41 queries on average, 113 at most"
            none, below = Spread(0.0, 0.0), Spread(_TV, _TV)
            yield Row(
                dataset,
                "binary",
                PRINTED,
                kind,
                count,
                Spread(count, count),
                none,
                none,
                below,
                below,
                bounds=True,
                note=note,
            )
