"""Path finding on a tree of 5,000 leaves and 50 features, each attack in a process of its own.

``python -m benchmarks.trees`` runs nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.memory import peak
from filch import Answers, FeatureSpace, extract
from filch.attacks.tree_bottom_up import TreeBottomUp
from filch.attacks.tree_top_down import TreeTopDown
from filch.models.trees.oracle import TreeOracle
from filch.testing import random_tree

LEAVES, FEATURES = 5_000, 50
SETTINGS: Mapping[str, tuple[TreeBottomUp | TreeTopDown, Mapping[str, bool]]] = MappingProxyType(
    {
        "bottom-up": (TreeBottomUp(), {}),
        "top-down": (TreeTopDown(), {"omission": True}),
        "top-down, fields": (TreeTopDown(), {"omission": True, "fields": True}),
    }
)


class Timed(TreeOracle):
    """An oracle that knows how long it took."""

    seconds = 0.0

    def ask(self, rows: npt.ArrayLike) -> Answers:
        """Answer, and note the CPU seconds."""
        started = time.process_time()
        answers = super().ask(rows)
        self.seconds += time.process_time() - started
        return answers


def run(quick: bool) -> tuple[list[dict[str, object]], Table]:
    """Extract a random tree of 5,000 leaves (quick: 500) by each attack."""
    table = Table(title=f"Path finding on a random tree with {FEATURES} numeric features")
    headings = ("setting", "leaves", "found", "queries", "requests", "CPU s, oracle aside", "peak memory, MiB")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "setting" else "right")
    rows = []
    for setting in SETTINGS:
        command = [sys.executable, "-m", "benchmarks.trees", setting, str(500 if quick else LEAVES)]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append(row)
        counts = (f"{row[name]:,}" for name in ("leaves", "found", "queries", "requests"))
        table.add_row(setting, *counts, f"{row['seconds']:.1f}", f"{row['peak_mib']:,.0f}")
    return rows, table


def one(setting: str, leaves: int) -> dict[str, object]:
    """One extraction, in this process."""
    attack, shown = SETTINGS[setting]
    space = FeatureSpace.box(np.zeros(FEATURES), np.ones(FEATURES))
    oracle = Timed(random_tree(space, leaves, np.random.default_rng(0)), **shown)
    started = time.process_time()
    found = extract(oracle, attack, budget=10_000_000, seed=0, curve=False)
    seconds = time.process_time() - started - oracle.seconds
    return {
        "setting": setting,
        "leaves": oracle.tree.n_leaves,
        "found": getattr(found.model, "n_leaves", 0),
        "outcome": found.outcome.value,
        "queries": found.queries,
        "requests": found.requests,
        "seconds": seconds,
        "peak_mib": peak(),
    }


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(one(sys.argv[1], int(sys.argv[2]))))
    else:
        Console(width=160).print(run(quick="--quick" in sys.argv)[1])
