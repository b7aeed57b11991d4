"""What the driver and the journal add to in-process prediction, in batches of 1,000 rows × 100 features."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.streams import Stream
from filch import Categorical, FeatureSpace, Journal, ModelOracle, Numeric
from filch.core.drive import drive

ROWS, FEATURES = 1_000, 100
_LETTERS = tuple("abcdefgh")


def targets() -> Iterator[tuple[str, Any, FeatureSpace]]:
    """Name, model and feature space of each target, from the fastest to the slowest."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (3_000, FEATURES))
    y = (X[:, :10].sum(axis=1) + rng.normal(size=len(X)) > 0).astype(int)
    box = FeatureSpace.box(-np.ones(FEATURES), np.ones(FEATURES))
    yield "logistic regression, matrix", LogisticRegression().fit(X, y), box
    numeric = tuple(Numeric(f"n{j}", -1.0, 1.0) for j in range(FEATURES // 2))
    mixed = FeatureSpace(numeric + tuple(Categorical(f"c{j}", _LETTERS) for j in range(FEATURES // 2)))
    frame = mixed.decode(mixed.sample(len(X), rng))
    encoder = make_column_transformer(
        (StandardScaler(), [f.name for f in numeric]),
        (OneHotEncoder(categories=[list(_LETTERS)] * (FEATURES // 2)), list(mixed.names[FEATURES // 2 :])),
    )
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=1_000))
    yield "pipeline, 50 numbers and 50 categories in a DataFrame", pipeline.fit(frame, y), mixed
    yield "random forest, 100 trees, matrix", RandomForestClassifier(100, random_state=0).fit(X, y), box


def run(quick: bool) -> tuple[list[dict[str, object]], Table]:
    """Measure each target bare, under the driver, and under driver and journal, in turns; medians over the rounds.

    In time on the clock and in CPU time: on a busy machine the clock counts what other processes take.
    """
    rounds, batches = (5, 10) if quick else (15, 40)
    floor = _floor(rounds, batches)
    table = Table(
        title=f"Driver and journal, batches of {ROWS:,} rows × {FEATURES} features",
        caption=f"median of {rounds} rounds of {batches} batches; start: once a run, mostly the fingerprint\n"
        f"appending such a batch to a plain file, and nothing else: {floor[0]:.2f} ms, CPU {floor[1]:.2f} ms",
    )
    for heading in ("target", "bare, ms", "driver adds", "driver + journal add", "start, ms a run"):
        table.add_column(heading, justify="left" if heading == "target" else "right")
    results: list[dict[str, object]] = [{"append_ms": floor[0], "append_cpu_ms": floor[1]}]
    for name, model, space in targets():
        measured = _measure(model, space, rounds, batches)
        keys = ("bare", "driver", "driver_and_journal", "start")
        clock = {f"{key}_ms": value[0] for key, value in zip(keys, measured, strict=True)}
        cpu = {f"{key}_cpu_ms": value[1] for key, value in zip(keys, measured, strict=True)}
        results.append({"target": name, **clock, **cpu})
        bare, driver, journal, start = measured
        added = (
            f"{total[0] - bare[0]:+.2f} ms ({total[0] / bare[0] - 1:+.0%}), CPU {total[1] / bare[1] - 1:+.0%}"
            for total in (driver, journal)
        )
        table.add_row(name, f"{bare[0]:.2f}, CPU {bare[1]:.2f}", *added, f"{start[0]:.1f}")
    return results, table


def _now() -> np.ndarray:
    """Milliseconds: the clock's, and this process's on a processor."""
    return 1000 * np.array([time.perf_counter(), time.process_time()])


def _floor(rounds: int, batches: int) -> np.ndarray:
    """What the least record costs: the same bytes appended to a file, in the operating system's memory only."""
    data = np.random.default_rng(0).uniform(-1, 1, (ROWS, FEATURES)).tobytes()
    spent = []
    for _ in range(rounds):
        with tempfile.TemporaryFile(buffering=0) as file:
            started = _now()
            for _ in range(batches):
                file.write(data)
            spent.append((_now() - started) / batches)
    return np.median(spent, axis=0)


def _measure(model: Any, space: FeatureSpace, rounds: int, batches: int) -> np.ndarray:
    """Milliseconds, on the clock and of CPU: a batch bare, with driver, with driver and journal; and a run's start."""
    oracle = ModelOracle(model, space)
    rows = space.sample(ROWS, np.random.default_rng(1))
    inputs: pd.DataFrame | np.ndarray = space.decode(rows) if space.categorical.any() else rows

    def bare() -> np.ndarray:
        started = _now()
        for _ in range(batches):
            model.predict_proba(inputs)
        return _now() - started

    def driven(count: int, journal: bool) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            started = _now()
            with Journal(Path(folder) / "run.db") if journal else nullcontext() as log:
                drive(oracle, Stream(count, ROWS, fresh=False), budget=count * ROWS, journal=log)
            return _now() - started

    measured = []
    for _ in range(rounds + 1):
        alone = bare()
        starts = [driven(1, journal) for journal in (False, True)]
        longs = [driven(batches + 1, journal) for journal in (False, True)]
        more = [long - start for long, start in zip(longs, starts, strict=True)]
        measured.append((alone / batches, more[0] / batches, more[1] / batches, starts[1] - alone / batches))
    return np.median(measured[1:], axis=0)
