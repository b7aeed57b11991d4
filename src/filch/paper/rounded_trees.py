"""Decision trees whose confidences are rounded, or not shown at all [Tramèr16, §7, the text to Fig. 7].

The paper's figure is on logistic models; of trees it says that two of its attacks lose nothing before 2 decimals, that
3 or 4 already break the others, and that regression trees are not affected. Labels alone it did not try on trees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from filch.core.answers import Reveal
from filch.errors import UsageError
from filch.paper.cells import Told
from filch.paper.compare import SEEDS
from filch.paper.table6 import measure
from filch.paper.tables import Row, Table
from filch.paper.trees import TREES, tree_target

DATASETS = ("german-credit", "gss", "spambase", "diabetes", "progression")
DECIMALS = (5, 4, 3, 2)
PROBES = 16
"""Pairs of rows by which a box is tested where labels alone are shown."""
BUDGET = 100_000
"""Of queries, where labels alone are shown."""


def run(
    seeds: Sequence[int] = SEEDS,
    datasets: Sequence[str] = DATASETS,
    decimals: Sequence[int] = DECIMALS,
    labels: bool = True,
    progress: Told | None = None,
) -> Table:
    """How far path finding gets at each rounding, and with labels alone.

    Parameters
    ----------
    seeds, datasets, progress
        See `filch.paper.Reproduction`, errors too.
    decimals : sequence of int
        Of confidences and values; top-down, with ``fields``.
    labels : bool, default True
        Whether to try labels alone, bottom-up; of classification trees.

    Examples
    --------
    >>> table = run(seeds=[0], datasets=["german-credit"], decimals=[3], labels=False)
    >>> [(row.method, row.r_unif.worst) for row in table.rows]
    [('filch', 0.0), ("paper's method", 0.0)]
    """
    for name in datasets:
        if name not in TREES:
            raise UsageError(f"no tree {name!r} here: choose {', '.join(TREES)}")
    lines = tuple(row for name in datasets for row in _rows(name, seeds, decimals, labels, progress))
    return Table("rounded-trees", "Decision trees with rounded confidences, and by labels alone", lines)


def _rows(
    name: str, seeds: Sequence[int], decimals: Sequence[int], labels: bool, progress: Told | None
) -> Iterator[Row]:
    target = tree_target(name)
    variants: tuple[Literal["ours", "paper"], ...] = ("ours", "paper")
    for digits in decimals:
        for variant in variants:
            row, _ = measure(target, "top-down, fields", variant, seeds, progress, Reveal("confidence", digits))
            yield replace(row, inputs=f"{digits} decimals")
    if labels and not target.recipe.regression:
        for variant in variants:
            row, _ = measure(target, "bottom-up", variant, seeds, progress, Reveal("labels"), PROBES, BUDGET)
            yield replace(row, inputs="labels")
