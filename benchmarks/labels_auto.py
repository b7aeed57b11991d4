"""What `auto` makes of labels: beside every attack on labels, on a small target of each kind.

``python -m benchmarks.labels_auto`` prints a line a cell: median and worst error of five seeds, which draw the target's
data and the attack's rows. ``--target``, ``--attack`` and ``--budget`` choose cells and may be given again. Errors
are shares of 20,000 uniform rows labelled otherwise than by the target, and of test rows; seconds are CPU time.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Sequence
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from sklearn.datasets import make_blobs, make_circles, make_classification, make_moons
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from filch import FeatureSpace, ModelOracle, attacks, extract, fidelity
from filch.core.features import Rows
from filch.errors import CannotRun

TARGETS = ("linear", "softmax", "moons", "circles", "mlp", "tree", "forest")
ATTACKS = ("auto", "halfspace", "softmax-labels", "kernel-labels", "committee", "tree-labels", "retraining")
BUDGETS = (120, 400, 1_000)
SEEDS = (100, 101, 102, 103, 104)
ROWS, UNIFORM = 1_000, 20_000


def _trained(kind: str, seed: int) -> tuple[Any, Any, Any]:
    """A model that is not yet trained, and data for it."""
    columns = {"n_redundant": 0, "random_state": seed}
    match kind:
        case "linear":
            return LogisticRegression(), *make_classification(ROWS, 6, n_informative=5, **columns)
        case "softmax":
            return LogisticRegression(), *make_classification(ROWS, 4, n_informative=4, n_classes=3, **columns)
        case "moons":
            return SVC(), *make_moons(ROWS, noise=0.2, random_state=seed)
        case "circles":
            return SVC(), *make_circles(ROWS, noise=0.1, factor=0.5, random_state=seed)
        case "mlp":
            model = MLPClassifier((20,), activation="tanh", max_iter=500, random_state=seed)
            X, y = make_blobs(ROWS, 4, centers=8, cluster_std=2.5, random_state=seed)
            return model, X, y % 3
        case "tree":
            return DecisionTreeClassifier(max_leaf_nodes=15, random_state=seed), *make_classification(
                ROWS, 5, n_informative=4, **columns
            )
        case _:
            return RandomForestClassifier(30, max_depth=6, random_state=seed), *make_classification(
                ROWS, 5, n_informative=4, **columns
            )


def target(kind: str, seed: int) -> tuple[ModelOracle, Rows]:
    """A target that shows labels, and test rows."""
    model, X, y = _trained(kind, seed)
    train, test, known, _ = train_test_split(X, y, test_size=0.3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, known)
    return ModelOracle(model, FeatureSpace.box(X.min(axis=0), X.max(axis=0)), reveal="labels"), test


def cells(
    targets: Sequence[str], names: Sequence[str], budgets: Sequence[int], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Median and worst of each attack against each target."""
    for kind in targets:
        made = [target(kind, seed) for seed in seeds]
        for budget in budgets:
            for name in names:
                attack = attacks.make(name)
                begun, errors, asked, chosen = process_time(), [], [], []
                try:
                    for seed, (oracle, rows) in zip(seeds, made, strict=True):
                        run = extract(oracle, attack, budget=budget, seed=seed, curve=False)
                        told = fidelity(oracle, run.model, X_test=rows, n_uniform=UNIFORM)
                        errors.append((told.r_unif, told.r_test))
                        asked.append(run.queries + run.selection)
                        chosen.append(str(run.evidence.get("attack", "")))
                except CannotRun:
                    continue
                unif, test = np.array(errors, dtype=float).T
                yield {
                    "target": kind, "budget": budget, "attack": name, "r_unif": round(median(unif), 5),
                    "r_unif worst": round(max(unif), 5), "r_test": round(median(test), 5),
                    "r_test worst": round(max(test), 5), "asked": int(median(asked)),
                    "cpu seconds a run": round((process_time() - begun) / len(seeds), 2),
                    **({"took": chosen} if any(chosen) else {}),
                }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--attack", choices=ATTACKS, action="append")
    parser.add_argument("--budget", type=int, action="append")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    given = parser.parse_args()
    picked = given.target or TARGETS, given.attack or ATTACKS, given.budget or BUDGETS
    for cell in cells(*picked, SEEDS[: given.seeds]):
        print(json.dumps(cell), flush=True)
