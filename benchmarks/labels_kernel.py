"""RBF machines by labels alone, with another γ than the paper's: today's default of scikit-learn.

``python -m benchmarks.labels_kernel --gamma scale --alphas 10,25 --only diabetes``; ``filch reproduce figure6`` has the
paper's own γ, and the paper's strategies beside it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.svm import SVC

from filch import ModelOracle, extract, fidelity
from filch.attacks.kernel_labels import KernelLabels
from filch.core.attack import Attack
from filch.datasets import table3
from filch.paper.figure6 import DATASETS

TRAINING_ROWS = 2_000  # as in figure 6
_HEADINGS = ("data set", "α", "queries", "R_test", "R_unif", "expected", "requests", "CPU ms a query", "outcome")


def run(datasets: Sequence[str], gamma: str, alphas: Sequence[float], seeds: int, attack: Attack) -> Table:
    """Extract once a seed at each budget of α (d + 1) rows, held-back ones among them; median (worst) over seeds."""
    table = Table(title=f"{type(attack).__name__} against SVC(gamma={gamma!r}); median (worst) of {seeds} seeds")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "data set" else "right")
    for dataset in datasets:
        study = table3(dataset)
        model = SVC(gamma=gamma).fit(study.X_train[:TRAINING_ROWS], study.y_train[:TRAINING_ROWS])
        oracle = ModelOracle(model, study.direct_space, reveal="labels")
        for alpha in alphas:
            found = []
            for seed in range(seeds):
                started = time.process_time()
                copy = extract(oracle, attack, budget=int(alpha * (study.features + 1)), seed=seed)
                seconds = time.process_time() - started
                assert copy.model is not None
                errors = fidelity(oracle, copy.model, X_test=study.X_test, n_uniform=10_000)
                found.append((copy, seconds, errors))
            copies = [copy for copy, *_ in found]
            table.add_row(
                dataset,
                f"{alpha:g}",
                f"{max(copy.ledger.paid for copy in copies):,}",
                _shares([float(errors.r_test or 0.0) for *_, errors in found]),
                _shares([float(errors.r_unif or 0.0) for *_, errors in found]),
                _shares([float(copy.evidence.get("expected error", np.nan)) for copy in copies]),
                str(max(copy.requests for copy in copies)),
                f"{max(1e3 * seconds / copy.ledger.paid for copy, seconds, _ in found):.1f}",
                " ".join(sorted({copy.outcome.value for copy in copies})),
            )
    return table


def _shares(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2%} ({max(values):.2%})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels_kernel", description=__doc__)
    parser.add_argument("--only", choices=DATASETS, action="append", help="a data set (may be given again)")
    parser.add_argument("--gamma", choices=("auto", "scale"), default="scale")
    parser.add_argument("--alphas", default="10,25")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.1, help="rows of a request, as a share of those before it")
    chosen = parser.parse_args()
    alphas = [float(alpha) for alpha in chosen.alphas.split(",")]
    attack = KernelLabels(goal=0.0, share=chosen.share)
    Console(width=160).print(run(chosen.only or DATASETS, chosen.gamma, alphas, chosen.seeds, attack))


if __name__ == "__main__":
    main()
