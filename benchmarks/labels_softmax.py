"""What labels alone give away of softmax models: fidelity against α, the queries for each of c(d + 1) unknowns.

``python -m benchmarks.labels_softmax`` runs `softmax-labels` on the softmax targets of `filch reproduce table4` over
one-hot inputs, once a seed; the model is taken at each α. ``--only`` chooses data sets, ``--quick`` takes 20,000
uniform rows, two seeds and the small sets. Queries are those of the attack account, without `check`. Seconds are
CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import filch
from benchmarks.labels import Marked
from filch.attacks.softmax_labels import SoftmaxLabels
from filch.core.encoding import OneHot
from filch.core.oracle import ModelOracle, Reveal
from filch.core.seeds import stream
from filch.models.logistic import LogisticModel
from filch.paper.compare import unknowns
from filch.paper.table4 import DATASETS
from filch.paper.targets import Target, target

OUT = Path("out/bench/labels_softmax.json")
SMALL = ("blobs", "iris")
ALPHAS = (4, 6, 8, 10)
_BLOCK = 50_000
Line = dict[str, Any]


def extracted(found: Target, alphas: Sequence[float], seed: int) -> tuple[list[LogisticModel], float]:
    """The models after α c(d + 1) queries of one run, and its CPU seconds a query."""
    oracle = ModelOracle(found.oracle.model, found.oracle.spec.space, reveal=Reveal("labels"))
    counts = tuple(int(alpha * unknowns(found)) for alpha in alphas)
    marked = Marked(SoftmaxLabels(precision=1e-7, check=0), counts)
    start = time.process_time()
    run = filch.extract(oracle, attack=marked, budget=counts[-1] + 1, seed=seed, curve=False)
    return [marked.kept[count] for count in counts], (time.process_time() - start) / max(run.queries, 1)


def disagreements(found: Target, models: Sequence[LogisticModel], n: int, seed: int) -> list[tuple[float, float]]:
    """R_unif on n uniform rows and R_test of each model."""
    space, view = found.oracle.spec.space, OneHot(found.oracle.spec.space)
    wrong = np.zeros(len(models))
    for block in range(n // min(_BLOCK, n)):
        rows = space.sample(min(_BLOCK, n), stream(seed, "uniform", str(block)))
        truth, encoded = found.oracle.ask(rows).labels, view.encode(rows)
        wrong += [((encoded @ m.coef_.T + m.intercept_).argmax(axis=1) != truth).sum() for m in models]
    truth = found.oracle.ask(found.X_test).labels
    classes = np.array(found.oracle.spec.classes)
    tests = [float((model.predict(found.X_test) != classes[truth]).mean()) for model in models]
    return list(zip((wrong / n).tolist(), tests, strict=True))


def measured(dataset: str, alphas: Sequence[float], n: int, seeds: Sequence[int]) -> Iterator[Line]:
    """One line for each α: median and worst over seeds."""
    found = target(dataset, "softmax")
    runs, seconds = [], []
    for seed in seeds:
        models, cost = extracted(found, alphas, seed)
        runs.append(disagreements(found, models, n, seed))
        seconds.append(cost)
    for place, alpha in enumerate(alphas):
        uniform, test = zip(*(run[place] for run in runs), strict=True)
        yield {
            "dataset": dataset,
            "c(d + 1)": unknowns(found),
            "alpha": alpha,
            "n": n,
            "R_unif": float(np.median(uniform)),
            "worst R_unif": max(uniform),
            "R_test": float(np.median(test)),
            "worst R_test": max(test),
            "ms a query": 1e3 * float(np.median(seconds)),
        }


def average(lines: Sequence[Line], alphas: Sequence[float]) -> Iterator[Line]:
    """The mean of the data sets' figures."""
    for alpha in alphas:
        part = [line for line in lines if line["alpha"] == alpha]
        names = ("R_unif", "worst R_unif", "R_test", "worst R_test", "ms a query")
        mean = {name: float(np.mean([line[name] for line in part])) for name in names}
        yield {"dataset": f"average of {len(part)}", "c(d + 1)": None, "alpha": alpha, "n": part[0]["n"], **mean}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels_softmax", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=DATASETS, action="append", help="this data set only (may be given again)")
    chosen = parser.parse_args()
    n, seeds = (20_000, range(2)) if chosen.quick else (1_000_000, range(5))
    lines: list[Line] = []
    for dataset in chosen.only or (SMALL if chosen.quick else DATASETS):
        lines += measured(dataset, ALPHAS, n, seeds)
    lines += list(average(lines, ALPHAS))
    table = Table(*lines[0])
    for line in lines:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value or "") for value in line.values()))
    Console(width=160).print(table)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"cpus": os.cpu_count(), "rows": lines}, indent=2) + "\n")


if __name__ == "__main__":
    main()
