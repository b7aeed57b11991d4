"""Networks with one smooth hidden layer behind rounded probabilities [Tramèr16, §7].

The paper rounds the answers of logistic models only; its method for networks takes rounded answers as it takes others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from filch.attacks.perceptron_rounded import PerceptronRounded
from filch.attacks.perceptron_sgd import PerceptronSGD
from filch.core.answers import Reveal
from filch.paper.cells import Told
from filch.paper.compare import OURS, PAPERS, SEEDS, check_datasets
from filch.paper.lines import Line, compute
from filch.paper.networks import DATASETS as MULTICLASS
from filch.paper.tables import Table
from filch.paper.targets import HIDDEN

DATASETS = ("iris", "blobs", "5-class", "steak")
DECIMALS = (4, 3, 2)
ALPHAS = (1.0, 5.0)
"""Queries for each of the h(d + 1) + c(h + 1) unknowns."""


def run(
    seeds: Sequence[int] = SEEDS,
    datasets: Sequence[str] = DATASETS,
    decimals: Sequence[int] = DECIMALS,
    alphas: Sequence[float] = ALPHAS,
    results: str | Path | None = None,
    jobs: int = 1,
    progress: Told | None = None,
) -> Table:
    """Compare this tool and the paper's gradient descent on networks of 20 tanh units; both see the same uniform rows.

    Parameters
    ----------
    seeds, datasets, results, jobs, progress
        See `filch.paper.Reproduction`, errors too.
    decimals : sequence of int
    alphas : sequence of float

    Examples
    --------
    >>> table = run(seeds=[0], datasets=["iris"], decimals=[2], alphas=[1.0])
    >>> [(row.method, row.queries.worst) for row in table.rows]
    [('filch', 163), ("paper's method", 163)]
    """
    check_datasets(datasets, MULTICLASS)
    lines = [line for dataset in datasets for line in _lines(dataset, decimals, alphas)]
    rows = compute(lines, seeds, results, jobs, progress)
    return Table("rounded-networks", "Networks with one smooth hidden layer behind rounding", rows)


def _lines(dataset: str, decimals: Sequence[int], alphas: Sequence[float]) -> Iterator[Line]:
    for places in decimals:
        for alpha in alphas:
            ours, papers = PerceptronRounded(HIDDEN, alpha, check=0), PerceptronSGD(HIDDEN, "tanh", alpha, check=0)
            for attack, method in ((ours, OURS), (papers, PAPERS)):
                rounded = Reveal(decimals=places)
                yield Line(dataset, "mlp-tanh", method, attack, "one-hot", rounded, f"{places} decimals", (alpha,))
