"""Trees and ensembles from labels: axis-parallel searches against retraining, with the same surrogate.

``python -m benchmarks.labels_surrogates german-credit --budget 1000``. With ``--attack knockoff-adaptive`` rows of a
pool are asked; of adult, which has rows left for one. The seeds are none of those by which the attack was tuned (0 … 7,
on decision trees).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from filch import FeatureSpace, ModelOracle, extract, fidelity
from filch.attacks.knockoff import Knockoff
from filch.attacks.retraining import Retraining
from filch.attacks.tree_labels import TreeLabels
from filch.core.attack import Attack
from filch.core.features import Rows
from filch.paper.trees import TREES, _table

TARGETS = {
    "tree": DecisionTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(50, random_state=0),
    "boosting": GradientBoostingClassifier(random_state=0),
}
DATASETS = ("german-credit", "spambase", "adult")
ATTACKS = ("uniform", "adaptive", "tree-labels")
POOLS = ("knockoff-random", "knockoff-adaptive")
SEEDS = (100, 101, 102, 103, 104)
TRAINING, TEST, UNIFORM = 4_000, 3_000, 4_000


@lru_cache
def target(dataset: str, kind: str) -> tuple[ModelOracle, Rows, Rows]:
    """A target that shows labels, test rows, and a pool of rows that are in neither."""
    raw, y = _table(TREES[dataset])
    train, test, y_train, _ = train_test_split(raw, y, test_size=0.3, stratify=y, random_state=0)
    texts = [name for name in raw.columns if raw[name].dtype.kind not in "iuf"]
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), texts), remainder="passthrough")
    model = make_pipeline(encode, TARGETS[kind]).fit(train[:TRAINING], y_train[:TRAINING])
    space = FeatureSpace.from_frame(raw, missing="category")
    pool = space.encode(train[TRAINING : 2 * TRAINING])
    return ModelOracle(model, space, reveal="labels"), space.encode(test[:TEST]), pool


def make(name: str, kind: str, pool: Rows) -> Attack:
    """An attack whose surrogate is of the target's class."""
    if name in POOLS:
        return Knockoff(pool, name.removeprefix("knockoff-"), surrogate=kind)
    return TreeLabels(surrogate=kind) if name == "tree-labels" else Retraining(name, surrogate=kind)


def cells(
    dataset: str, kinds: Sequence[str], attacks: Sequence[str], budget: int, seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Median and worst of each attack against each target."""
    for kind in kinds:
        oracle, rows, pool = target(dataset, kind)
        for name in attacks:
            attack = make(name, kind, pool)
            begun, found = process_time(), []
            for seed in seeds:
                run = extract(oracle, attack, budget=budget, seed=seed, curve=False)
                told = fidelity(oracle, run.model, X_test=rows, n_uniform=UNIFORM)
                found.append((told.r_unif, told.r_test))
            unif, test = np.array(found).T
            yield {
                "data": dataset, "target": kind, "attack": name, "budget": budget, "seeds": len(seeds),
                "r_unif": median(unif), "r_unif worst": max(unif), "r_test": median(test), "r_test worst": max(test),
                "requests": run.requests, "cpu seconds a run": round((process_time() - begun) / len(seeds), 1),
            }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--target", choices=tuple(TARGETS), action="append")
    parser.add_argument("--attack", choices=(*ATTACKS, *POOLS), action="append")
    parser.add_argument("--budget", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    given = parser.parse_args()
    kinds, attacks = given.target or tuple(TARGETS), given.attack or ATTACKS
    for cell in cells(given.dataset, kinds, attacks, given.budget, SEEDS[: given.seeds]):
        print(json.dumps(cell), flush=True)
