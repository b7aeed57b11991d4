"""Networks with one smooth hidden layer behind rounded probabilities [Tramèr16, §7].

The paper rounds the answers of logistic models only; its method for networks takes rounded answers as it takes others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from filch.attacks.perceptron_rounded import PerceptronRounded
from filch.attacks.perceptron_sgd import PerceptronSGD
from filch.core.oracle import ModelOracle
from filch.paper.compare import OURS, PAPERS, SEEDS, Told, check_datasets, measure
from filch.paper.networks import DATASETS as MULTICLASS
from filch.paper.tables import Row, Spread, Table
from filch.paper.targets import HIDDEN, target

DATASETS = ("iris", "blobs", "5-class", "steak")
DECIMALS = (4, 3, 2)
ALPHAS = (1.0, 5.0)
"""Queries for each of the h(d + 1) + c(h + 1) unknowns."""


def run(
    seeds: Sequence[int] = SEEDS,
    datasets: Sequence[str] = DATASETS,
    decimals: Sequence[int] = DECIMALS,
    alphas: Sequence[float] = ALPHAS,
    progress: Told | None = None,
) -> Table:
    """Compare this tool and the paper's gradient descent on networks of 20 tanh units; both see the same uniform rows.

    Parameters
    ----------
    seeds : sequence of int
        One extraction each.
    datasets : sequence of str
        Of those of `filch.paper.networks`.
    decimals : sequence of int
    alphas : sequence of float
    progress : callable, optional
        Told of each extraction.

    Raises
    ------
    UsageError
        A data set that is none of these.
    DataError
        A data set that cannot be found.

    Examples
    --------
    >>> table = run(seeds=[0], datasets=["iris"], decimals=[2], alphas=[1.0])
    >>> [(row.method, row.queries.worst) for row in table.rows]
    [('filch', 163), ("paper's method", 163)]
    """
    check_datasets(datasets, MULTICLASS)
    lines = tuple(row for data in datasets for row in _rows(data, seeds, decimals, alphas, progress))
    return Table("rounded-networks", "Networks with one smooth hidden layer behind rounding", lines)


def _rows(
    dataset: str, seeds: Sequence[int], decimals: Sequence[int], alphas: Sequence[float], progress: Told | None
) -> Iterator[Row]:
    plain = target(dataset, "mlp-tanh")
    model, space = plain.oracle.model, plain.oracle.spec.space
    for places in decimals:
        shown = replace(plain, oracle=ModelOracle(model, space, decimals=places))
        for alpha in alphas:
            ours, papers = PerceptronRounded(HIDDEN, alpha, check=0), PerceptronSGD(HIDDEN, "tanh", alpha, check=0)
            for attack, method in ((ours, OURS), (papers, PAPERS)):
                row = measure(shown, attack, method, "one-hot", seeds, progress)
                yield replace(row, model=f"{places} decimals", extra={"α": Spread(alpha, alpha)})
