"""Softmax, one-vs-rest and networks by equation solving: [Tramèr16, Table 4 and §4.1.2]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from filch.attacks import make
from filch.attacks.logistic import Logistic
from filch.attacks.perceptron_sgd import PerceptronSGD
from filch.paper.cells import Told
from filch.paper.compare import OURS, PAPERS, PRINTED, SEEDS, check_datasets, unknowns
from filch.paper.equation_solving import EquationSolving
from filch.paper.lines import Line, compute
from filch.paper.tables import Row, Spread, Table
from filch.paper.targets import HIDDEN, Inputs, Kind, Target, target

DATASETS = ("adult-race", "blobs", "5-class", "iris", "steak", "gss", "digits")
"""The sets of Table 3 with three classes or more; Table 4 prints the first."""
KINDS: tuple[Kind, ...] = ("softmax", "ovr")
"""The models that run on every data set."""
NETWORKS: tuple[Kind, ...] = ("mlp-tanh", "mlp-logistic", "mlp-relu")
"""Those that run on Adult-Race unless they are named: the paper prints no other, and its method takes minutes."""
_ALPHAS = (0.5, 1.0)
_PRINTED = {  # Table 4, Adult-Race: queries, 1 − R_test, 1 − R_unif, seconds
    "softmax": ((265, 0.9996, 0.9975, 2.6), (530, 1.0, 1.0, 3.1)),
    "ovr": ((265, 0.9998, 0.9998, 2.8), (530, 1.0, 1.0, 3.5)),
}
_NETWORK_ALPHAS = (0.5, 1.0, 2.0, 5.0)
_PRINTED_NETWORK = (  # Table 4 does not say whether for tanh or for logistic units; 2,225 unknowns
    (1_112, 0.9817, 0.9432, 155.0),
    (2_225, 0.9868, 0.9723, 168.0),
    (4_450, 0.9989, 0.9982, 195.0),
    (11_125, 0.9996, 0.9999, 89.0),
)
_TV = 1e-7  # printed as an upper bound, with c(d + 1) queries


def run(
    seeds: Sequence[int] = SEEDS,
    datasets: Sequence[str] = DATASETS,
    kinds: Sequence[Kind] | None = None,
    inputs: Sequence[Inputs] = ("one-hot",),
    results: str | Path | None = None,
    jobs: int = 1,
    progress: Told | None = None,
) -> Table:
    """Compare this tool, the paper's minimisation at its budgets run here, and the printed figures.

    Its budgets are α = ½ and 1 queries for each unknown; of networks, ½, 1, 2 and 5.

    Parameters
    ----------
    seeds, datasets, results, jobs, progress
        See `filch.paper.Reproduction`, errors too.
    kinds : sequence of {"softmax", "ovr", "mlp-tanh", "mlp-logistic", "mlp-relu"}, optional
        By default the first two, and on Adult-Race all.
    inputs : sequence of {"one-hot", "raw"}
        Direct queries as in the paper; raw columns too if named.

    Examples
    --------
    >>> table = run(seeds=[0], datasets=["iris"], kinds=["softmax"])
    >>> [(row.method, row.queries.worst) for row in table.rows]
    [('filch', 5), ("paper's method", 8), ("paper's method", 15), ('paper, printed', 15)]
    """
    check_datasets(datasets, DATASETS)
    lines: list[Line | Row] = []
    for dataset in datasets:
        for kind in (*KINDS, *(NETWORKS if dataset == "adult-race" else ())) if kinds is None else kinds:
            lines += (_network if kind in NETWORKS else _logistic)(dataset, kind, inputs)
    rows = compute(lines, seeds, results, jobs, progress)
    return Table("table4", "Softmax, one-vs-rest and networks by equation solving", rows)


def _logistic(dataset: str, kind: Kind, inputs: Sequence[Inputs]) -> Iterator[Line | Row]:
    """The lines of one data set and one logistic model class; every method is told the class."""
    link: Literal["softmax", "ovr"] = "ovr" if kind == "ovr" else "softmax"
    for view in inputs:
        yield Line(dataset, kind, OURS, Logistic(link=link), view)
        for alpha in _ALPHAS:
            yield Line(dataset, kind, PAPERS, EquationSolving(link, alpha), view)
        if view == "one-hot":
            yield from _printed(dataset, kind, unknowns(target(dataset, kind, view)))


def _network(dataset: str, kind: Kind, inputs: Sequence[Inputs]) -> Iterator[Line | Row]:
    """The lines of one data set and one activation; the paper's method is told the width, ours is not."""
    activation: Literal["tanh", "logistic", "relu"] = kind.removeprefix("mlp-")  # type: ignore[assignment]
    ours = "perceptron-relu" if activation == "relu" else "perceptron"
    for view in inputs:
        yield Line(dataset, kind, OURS, make(ours), view)
        for alpha in _NETWORK_ALPHAS:
            yield Line(dataset, kind, PAPERS, PerceptronSGD(HIDDEN, activation, alpha, check=0), view)
        if view == "one-hot" and dataset == "adult-race" and activation != "relu":
            yield from _printed_network(target(dataset, kind, view))


def _printed_network(model: Target) -> Iterator[Row]:
    for queries, test, uniform, seconds in _PRINTED_NETWORK:
        yield Row(
            model.study.name,
            model.kind,
            PRINTED,
            "one-hot",
            unknowns(model),
            _same(queries),
            _same(round(1 - test, 6)),
            _same(round(1 - uniform, 6)),
            seconds=_same(seconds),
            note="Table 4",
        )


def _printed(dataset: str, kind: Kind, count: int) -> Iterator[Row]:
    if dataset == "adult-race":
        for queries, test, uniform, seconds in _PRINTED[kind]:
            yield Row(
                dataset,
                kind,
                PRINTED,
                "one-hot",
                count,
                _same(queries),
                _same(round(1 - test, 6)),
                _same(round(1 - uniform, 6)),
                seconds=_same(seconds),
                note="Table 4",
            )
        return
    note = "of all multiclass sets: 260 queries on average, 650 at most"
    none, below = _same(0.0), _same(_TV)
    yield Row(dataset, kind, PRINTED, "one-hot", count, _same(count), none, none, below, below, bounds=True, note=note)


def _same(value: float) -> Spread:
    return Spread(value, value)
