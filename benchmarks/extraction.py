"""Queries, seconds and memory of filch and of the paper's method, on every data set of Table 3."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from rich.table import Table

from filch.attacks.linear.design import Design
from filch.attacks.logistic import Logistic
from filch.core.attack import Attack
from filch.extraction import extract
from filch.paper import studies
from filch.paper.compare import OURS, PAPERS, unknowns
from filch.paper.equation_solving import EquationSolving
from filch.paper.tables import Row
from filch.paper.targets import Inputs, Target, target

VIEWS: tuple[Inputs, ...] = ("one-hot", "raw")


def run(quick: bool, told: Callable[[str], None]) -> Iterator[tuple[str, list[dict[str, object]], Any]]:
    """Yield each table's name, its rows as JSON-able values, and the table itself."""
    seeds = (0,) if quick else (0, 1, 2, 3, 4)
    small = {"binary-lr": ("circles", "breast-cancer"), "table4": ("blobs", "iris")}
    found: list[Row] = []
    for name in small:
        study = studies()[name]
        datasets = small[name] if quick else study.datasets
        result = study(seeds=seeds, datasets=datasets, inputs=VIEWS, progress=lambda step, *_: told(step))
        found += result.rows
        yield name, [dataclasses.asdict(row) for row in result.rows], result
    found = [row for row in found if not row.model.startswith("mlp-")]  # of logistic models only
    bounds = list(_bounds([row for row in found if row.method == OURS]))
    yield "bounds", bounds, _bound_table(bounds)
    chosen = {(row.dataset, row.model) for row in found}
    peaks = list(_peaks(sorted(chosen), told))
    yield "peak-memory", peaks, _peak_table(peaks)


def bound(model: Target) -> int:
    """The fewest answers that can determine the model: d + 1, or ⌈c(d + 1)/(c − 1)⌉ for one-vs-rest."""
    size = Design(model.oracle.spec.space, model.oracle.spec.omission).size
    classes = model.study.n_classes
    return math.ceil(classes * size / (classes - 1)) if model.kind == "ovr" else size


def _bounds(rows: Sequence[Row]) -> Iterator[dict[str, object]]:
    for row in rows:
        least = bound(target(row.dataset, row.model, row.inputs))  # type: ignore[arg-type]
        yield {
            "dataset": row.dataset,
            "model": row.model,
            "inputs": row.inputs,
            "bound": least,
            "median": row.queries.median,
            "worst": row.queries.worst,
            "ratio": row.queries.worst / least,
        }


def _bound_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="filch's queries against the counting bound")
    for heading in ("data set", "model", "inputs", "bound", "queries, median", "worst", "worst / bound"):
        table.add_column(heading)
    for row in rows:
        shown = (f"{row[name]:,.0f}" for name in ("bound", "median", "worst"))
        table.add_row(row["dataset"], row["model"], row["inputs"], *shown, f"{row['ratio']:.3f}")
    return table


def _peaks(chosen: Sequence[tuple[str, str]], told: Callable[[str], None]) -> Iterator[dict[str, object]]:
    for dataset, kind in chosen:
        model = target(dataset, kind)  # type: ignore[arg-type]
        link: Literal["softmax", "ovr"] = "ovr" if kind == "ovr" else "softmax"
        for method, attack in ((OURS, Logistic(link=link)), (PAPERS, EquationSolving(link))):
            told(f"{dataset} {kind}: memory of {method}")
            yield {"dataset": dataset, "model": kind, "method": method, "peak_mib": _peak(model, attack)}


def _peak(model: Target, attack: Attack) -> float:
    """The most memory that an extraction allocates, in MiB, the target's answers included."""
    tracemalloc.start()
    try:
        extract(model.oracle, attack, budget=10 * unknowns(model) + 100, curve=False)
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def _peak_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="Peak memory allocated by one extraction (one-hot inputs)")
    for heading in ("data set", "model", "method", "MiB"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row["dataset"], row["model"], row["method"], f"{row['peak_mib']:.1f}")
    return table
