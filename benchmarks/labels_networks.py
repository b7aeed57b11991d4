"""What labels alone give away of networks: errors against α, rows a committee chooses beside uniform ones.

``python -m benchmarks.labels_networks`` runs `committee` on the networks of `filch reproduce mlp-labels`, with the same
surrogates for both strategies. One run a seed yields the whole curve, for rounds end at each α. Seconds are CPU time.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from filch.attacks.committee import Committee
from filch.core.drive import drive
from filch.core.models import ExtractedModel
from filch.core.oracle import ModelOracle
from filch.evaluate import Evaluation
from filch.models.perceptron import Activation
from filch.paper.compare import unknowns
from filch.paper.networks import DATASETS
from filch.paper.targets import HIDDEN, Kind, target

OUT = Path("out/bench/labels-networks.json")
ALPHAS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
SMALL = ("iris", "blobs", "5-class")
STRATEGIES: tuple[Literal["uniform", "adaptive"], ...] = ("uniform", "adaptive")
KINDS: dict[Kind, Activation] = {"mlp-tanh": "tanh", "mlp-logistic": "logistic", "mlp-relu": "relu"}
N_UNIFORM = 10_000


@dataclass(frozen=True)
class Point:
    """Errors of one run at one α, and the CPU seconds so far."""

    dataset: str
    strategy: str
    seed: int
    alpha: float
    r_unif: float
    r_test: float
    seconds: float


def curve(
    dataset: str,
    strategy: Literal["uniform", "adaptive"],
    seed: int,
    alphas: Sequence[float] = ALPHAS,
    kind: Kind = "mlp-tanh",
) -> Iterator[Point]:
    """One run, held against test rows and uniform rows at each α (ascending)."""
    found = target(dataset, kind)
    oracle = ModelOracle(found.oracle.model, found.oracle.spec.space, reveal="labels")
    evaluation = Evaluation.of(oracle, found.X_test, N_UNIFORM)
    stops = [math.ceil(alpha * unknowns(found)) for alpha in alphas]
    began, spent = time.process_time(), 0.0

    def watch(model: ExtractedModel) -> tuple[float, float, float]:
        nonlocal spent
        now = time.process_time()
        seconds = now - began - spent
        fidelity = evaluation.measure(model)
        spent += time.process_time() - now  # judging is not the attack's work
        assert fidelity.r_unif is not None and fidelity.r_test is not None
        return fidelity.r_unif, fidelity.r_test, seconds

    attack = Committee(strategy, hidden=HIDDEN, activation=KINDS[kind], stops=tuple(stops))
    run = drive(oracle, attack, budget=stops[-1], seed=seed, watch=watch, density=1.0)
    points = {point.queries: point.fidelity for point in run.curve}
    assert run.model is not None
    points[stops[-1]] = watch(run.model)
    for alpha, stop in zip(alphas, stops, strict=True):
        yield Point(dataset, strategy, seed, alpha, *points[stop])


def summary(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Median and worst over the seeds, for each data set, strategy and α; the means of both over the data sets last."""
    lines: list[dict[str, Any]] = []
    for key in dict.fromkeys((p.dataset, p.strategy, p.alpha) for p in points):
        same = [p for p in points if (p.dataset, p.strategy, p.alpha) == key]
        line: dict[str, Any] = dict(zip(("dataset", "strategy", "alpha"), key, strict=True))
        for name in ("r_unif", "r_test", "seconds"):
            values = [getattr(p, name) for p in same]
            line |= {name: float(np.median(values)), f"{name} worst": max(values)}
        lines.append(line)
    datasets = {line["dataset"] for line in lines}
    for strategy, alpha in dict.fromkeys((line["strategy"], line["alpha"]) for line in lines):
        same_ = [line for line in lines if (line["strategy"], line["alpha"]) == (strategy, alpha)]
        if len(datasets) > 1 and len(same_) == len(datasets):
            numbers = [name for name in same_[0] if name not in ("dataset", "strategy", "alpha")]
            means = {name: float(np.mean([line[name] for line in same_])) for name in numbers}
            lines.append({"dataset": "all", "strategy": strategy, "alpha": alpha, **means})
    return lines


def main() -> None:
    """Run, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=DATASETS, default=DATASETS)
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=STRATEGIES)
    parser.add_argument("--alphas", nargs="+", type=float, default=ALPHAS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kind", choices=KINDS, default="mlp-tanh")
    parser.add_argument("--quick", action="store_true", help="the small sets, up to α = 5, two seeds")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    datasets, alphas, seeds = given.only, sorted(given.alphas), given.seeds
    if given.quick:
        datasets, alphas, seeds = SMALL, [alpha for alpha in alphas if alpha <= 5], 2
    given.out.parent.mkdir(parents=True, exist_ok=True)
    points: list[Point] = []
    for seed, dataset, strategy in product(range(seeds), datasets, given.strategies):
        points += curve(dataset, strategy, seed, alphas, given.kind)
        lines = summary(points)
        given.out.write_text(json.dumps({"points": [asdict(point) for point in points], "summary": lines}, indent=1))
    table = Table("data", "rows", "α", "% wrong, uniform", "(worst)", "% wrong, test", "(worst)", "CPU s")
    for line in lines:
        errors = [f"{100 * line[name]:.2f}" for name in ("r_unif", "r_unif worst", "r_test", "r_test worst")]
        table.add_row(line["dataset"], line["strategy"], f"{line['alpha']:g}", *errors, f"{line['seconds']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
