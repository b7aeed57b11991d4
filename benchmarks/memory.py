"""The peak memory of a long journaled run, in a process of its own: ``python -m benchmarks.memory ROWS``."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from benchmarks.streams import Stream
from filch import FeatureSpace, Journal, ModelOracle
from filch.core.drive import drive

BLOCK, FEATURES = 1_000, 100


def run(quick: bool) -> tuple[list[dict[str, object]], Table]:
    """Journal 1,000,000 rows (quick: 100,000) of 100 features, and read the process's peak resident set."""
    rows = 100_000 if quick else 1_000_000
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", str(rows)], check=True, capture_output=True, text=True
    )
    result = json.loads(done.stdout)
    table = Table(title="A long journaled run in a process of its own")
    for heading in ("rows", "features", "seconds", "journal, MiB", "peak memory, MiB"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"{rows:,}",
        str(FEATURES),
        f"{result['seconds']:.1f}",
        f"{result['journal_mib']:,.0f}",
        f"{result['peak_mib']:,.0f}",
    )
    return [result], table


def stream(rows: int) -> dict[str, object]:
    """Journal so many rows in this process."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (1_000, FEATURES))
    model = LogisticRegression().fit(X, (X[:, 0] > 0).astype(int))
    oracle = ModelOracle(model, FeatureSpace.box(-np.ones(FEATURES), np.ones(FEATURES)))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.db"
        with Journal(path) as journal:
            done = drive(oracle, Stream(rows // BLOCK, BLOCK), budget=rows, journal=journal)
        size = path.stat().st_size
    return {
        "rows": done.queries,
        "features": FEATURES,
        "seconds": time.perf_counter() - started,
        "journal_mib": size / 2**20,
        "peak_mib": peak(),
    }


def peak() -> float:
    """The most memory that this process ever held, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    print(json.dumps(stream(int(sys.argv[1]))))
