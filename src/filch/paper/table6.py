"""Decision trees by path finding, with complete and incomplete queries [Tramèr16, Table 6].

The target trees are trained here (`filch.paper.trees`): the paper's were public models of a service, and are gone. The
paper's algorithm runs on the same trees, with its own precision of 1e-3; the printed figures are those of the paper's
tree of the same kind, and no more than a measure of what to expect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from filch.attacks.tree_bottom_up import TreeBottomUp
from filch.attacks.tree_top_down import TreeTopDown
from filch.core.answers import Reveal
from filch.errors import UsageError
from filch.evaluate import Evaluation
from filch.extraction import extract
from filch.models.trees.oracle import TreeOracle
from filch.models.trees.tree import TreeModel
from filch.paper.cells import Told
from filch.paper.compare import N_UNIFORM, OURS, PAPERS, PRINTED, SEEDS
from filch.paper.tables import Row, Spread, Table
from filch.paper.trees import TREES, TreeTarget, tree_target

DATASETS = tuple(TREES)
"""The target trees."""
Setting = Literal["bottom-up", "top-down", "top-down, fields"]
SETTINGS: tuple[Setting, ...] = ("bottom-up", "top-down", "top-down, fields")
BUDGET = 400_000
EPSILON = 1e-3
_RATIO = "÷ paper's"
_BOUNDS = ("÷ bound", "÷ bound, categories")
_NEEDED = "rows needed"
_LEAST = "least requests"

# 1 − R_test and 1 − R_unif in per cent, and queries: bottom-up, then top-down (which had fields).
_TABLE6: Mapping[str, tuple[tuple[float, float, int], tuple[float, float, int]]] = MappingProxyType(
    {
        "Steak survey": ((92.45, 86.40, 3_652), (100, 100, 4_013)),
        "GSS survey": ((99.98, 99.61, 7_434), (100, 99.65, 2_752)),
        "Email spam": ((87.20, 100, 42_324), (99.70, 100, 21_808)),
        "German credit": ((100, 100, 1_722), (100, 100, 1_150)),
        "Medical cover": ((100, 100, 5_966), (100, 100, 1_788)),
        "Bitcoin price": ((100, 100, 31_956), (100, 100, 7_390)),
    }
)


def run(
    seeds: Sequence[int] = SEEDS,
    datasets: Sequence[str] = DATASETS,
    settings: Sequence[Setting] = SETTINGS,
    progress: Told | None = None,
) -> Table:
    """Compare this tool, the paper's algorithm run here on the same trees, and the paper's printed figures.

    Parameters
    ----------
    seeds : sequence of int
        One extraction each.
    datasets : sequence of str
        Of `DATASETS`.
    settings : sequence of {"bottom-up", "top-down", "top-down, fields"}
        Complete queries, incomplete ones, and incomplete ones whose answers name the features on the path.
    progress : callable, optional
        Told of each extraction.

    Raises
    ------
    UsageError
        A tree that is none of these.
    DataError
        A data set that cannot be found.

    Examples
    --------
    >>> table = run(seeds=[0], datasets=["german-credit"], settings=["top-down, fields"])
    >>> [row.method for row in table.rows], table.rows[0].extra["leaves"].median
    (['filch', "paper's method", 'paper, printed'], 26)
    """
    for name in datasets:
        if name not in TREES:
            raise UsageError(f"no tree {name!r} here: choose {', '.join(TREES)}")
    for setting in settings:
        if setting not in SETTINGS:
            raise UsageError(f"no setting {setting!r} here: choose {', '.join(SETTINGS)}")
    lines = tuple(row for name in datasets for setting in settings for row in rows(name, setting, seeds, progress))
    return Table("table6", f"Decision trees by path finding; {geometric_means(lines)}", lines)


def rows(name: str, setting: Setting, seeds: Sequence[int], progress: Told | None) -> Iterator[Row]:
    """The lines of one tree in one setting."""
    target = tree_target(name)
    theirs = measure(target, setting, "paper", seeds, progress)
    ours = measure(target, setting, "ours", seeds, progress)
    share = [a / b for a, b in zip(ours[1], theirs[1], strict=True)]
    extra = {**ours[0].extra, _RATIO: Spread.of(share), _LEAST: Spread.of([least_requests(target.tree, setting)])}
    if setting == "top-down, fields":
        for title, most in zip(_BOUNDS, bounds(target.tree), strict=True):
            extra[title] = Spread.of([queries / most for queries in ours[1]])
        extra[_NEEDED] = Spread.of([needed(target.tree)])
    yield replace(ours[0], extra=extra)
    yield theirs[0]
    if target.recipe.printed and setting != "top-down":
        r_test, r_unif, queries = _TABLE6[target.recipe.printed][setting != "bottom-up"]
        yield Row(
            name,
            setting,
            PRINTED,
            _about(target),
            target.tree.n_parameters,
            Spread(queries, queries),
            r_test=_printed(r_test),
            r_unif=_printed(r_unif),
            note=f"another tree of the same kind: {target.recipe.printed}",
        )


def _printed(share: float) -> Spread:
    error = round(1 - share / 100, 6)
    return Spread(error, error)


def _about(target: TreeTarget) -> str:
    return f"{target.unique}/{target.tree.n_leaves} ids"


def measure(
    target: TreeTarget,
    setting: Setting,
    variant: Literal["ours", "paper"],
    seeds: Sequence[int],
    progress: Told | None,
    reveal: Reveal | None = None,
    probes: int = 4,
    budget: int = BUDGET,
) -> tuple[Row, list[int]]:
    """Extract once a seed; the row, and the queries of each seed.

    Parameters
    ----------
    target : TreeTarget
    setting : {"bottom-up", "top-down", "top-down, fields"}
    variant : {"ours", "paper"}
    seeds : sequence of int
    progress : callable or None
    reveal : Reveal, optional
        By default the label or value with its confidence.
    probes : int, default 4
        Of our variant, see the attacks.
    budget : int
    """
    shown = reveal or Reveal("confidence")
    oracle = TreeOracle(
        target.tree, reveal=shown, omission=setting != "bottom-up", fields=setting == "top-down, fields"
    )
    kind = TreeBottomUp if setting == "bottom-up" else TreeTopDown
    attack = kind(epsilon=EPSILON, variant=variant, probes=probes)
    evaluation = Evaluation.of(oracle, target.X_test, N_UNIFORM)
    method = OURS if variant == "ours" else PAPERS
    runs, found, leaves = [], [], []
    for seed in seeds:
        if progress:
            progress(f"{target.name} ({setting}): {method}, seed {seed}")
        one = extract(oracle, attack, budget=budget, seed=seed, curve=False)
        assert one.model is not None  # the budget is far above what either asks first
        runs.append(one)
        found.append(evaluation.measure(one.model))
        leaves.append(int(getattr(one.model, "n_leaves", 0)))
    row = Row(
        dataset=target.name,
        model=setting,
        method=method,
        inputs=_about(target),
        unknowns=target.tree.n_parameters,
        queries=Spread.of([one.queries for one in runs]),
        r_test=Spread.of([one.r_test or 0.0 for one in found]),
        r_unif=Spread.of([one.r_unif or 0.0 for one in found]),
        seconds=Spread.of([one.seconds for one in runs]),
        selection=max(one.selection for one in runs),
        seeds=len(seeds),
        n_test=len(target.X_test),
        n_uniform=N_UNIFORM,
        note=", ".join(sorted({one.outcome.value for one in runs})),
        extra={"leaves": Spread.of(leaves), "requests": Spread.of([one.requests for one in runs])},
    )
    return row, [one.queries for one in runs]


def bounds(tree: TreeModel, epsilon: float = EPSILON) -> tuple[int, int]:
    """What a tree may cost: ⌈log₂ (range / ε)⌉ + 4 a numeric split, and one a branch.

    In the second number, a split of categories counts one for each category that its column has left there, for which
    of them go where cannot be told without asking each; and a leaf counts the rows that it needs.
    """
    space, most, categories = tree.space, 0, 0
    left = _left(tree)
    for node, column in enumerate(tree.column.tolist()):
        if column < 0:
            continue
        most += int(tree.n_children[node])
        if space.categorical[column]:
            categories += max(0, len(left[node][column]) - int(tree.n_children[node]))
        else:
            step = float(space.grid[column]) or epsilon
            most += math.ceil(math.log2(max(2.0, float(space.high[column] - space.low[column]) / step))) + 4
    return most, most + categories + needed(tree) - tree.n_leaves


def needed(tree: TreeModel) -> int:
    """Rows without which no search can be sure of a tree, thresholds aside.

    A column of categories that is split above a leaf may be split there once more. A row takes one category and
    reaches one leaf, so a leaf needs as many rows as such a column has categories left, of several the most.
    """
    left = _left(tree)
    rows = 0
    for leaf in tree.leaves_.tolist():
        above = tree.on_path[leaf] & tree.space.categorical
        rows += max((len(left[leaf][column]) for column in np.flatnonzero(above).tolist()), default=1)
    return rows


def least_requests(tree: TreeModel, setting: Setting, epsilon: float = EPSILON) -> int:
    """The requests of a search that halves, one row a step, if all that can be asked beside each other is.

    With incomplete rows a node is told once its parent's column is given: that is named by the answer with ``fields``,
    else by halving the columns that are left. With complete rows the columns that matter in a box's corner are found
    by halving, its first split once its threshold is; one part has the same corner, the others have new ones. What
    luck may spare (rows that happen to lie in a part), and what tests cost, is not counted; the last check is.
    """
    space, partial = tree.space, setting != "bottom-up"
    low, high = {0: space.low}, {0: space.high}
    given = {0: np.zeros(len(space), dtype=bool)}
    left, varies = _left(tree), int((space.high > space.low).sum())
    told, named, last = {0: 1}, {0: 1 + _halvings(varies)}, 1
    for node, column in enumerate(tree.column.tolist()):  # parents first
        if column < 0:
            last = max(last, told[node])
            continue
        first = int(tree.child_start[node])
        children = tree.child[first : first + int(tree.n_children[node])].tolist()
        bits, above = 0, given[node]
        step = float(space.grid[column]) or epsilon
        if not space.categorical[column]:
            bits = _halvings(float(high[node][column] - low[node][column]) / step)
        if not partial:
            cut = max(told[node], named[node] + bits) + 1
        elif above[column]:
            cut = told[node] + bits
        else:
            naming = 0 if setting == "top-down, fields" else _halvings(varies - int(above.sum()))
            cut = told[node] + naming + 1 + bits
        last = max(last, cut)
        routes = tree.route[tree.start[node] + 2 : tree.start[node + 1]]
        corner = int(routes[min(left[node][column])]) if space.categorical[column] else children[0]
        for place, child in enumerate(children):
            low[child], high[child], given[child] = low[node].copy(), high[node].copy(), above.copy()
            given[child][column] = True
            if not space.categorical[column]:
                (low if place else high)[child][column] = tree.threshold[node]
            told[child] = cut - bits if partial else cut
            named[child] = named[node] if child == corner else cut + 1 + _halvings(varies)
    return last + 1


def _halvings(count: float) -> int:
    return math.ceil(math.log2(max(1.0, count)))


def _left(tree: TreeModel) -> dict[int, dict[int, set[int]]]:
    """The categories that reach each node, by column."""
    columns = np.flatnonzero(tree.space.categorical).tolist()
    left = {0: {column: set(range(int(tree.space.sizes[column]))) for column in columns}}
    for node, column in enumerate(tree.column.tolist()):  # parents first
        routes = tree.route[tree.start[node] + 2 : tree.start[node + 1]]
        first = int(tree.child_start[node])
        for child in tree.child[first : first + int(tree.n_children[node])].tolist():
            left[child] = dict(left[node])
            if column in left[node]:
                left[child][column] = left[node][column] & set(np.flatnonzero(routes == child).tolist())
    return left


def geometric_means(lines: Sequence[Row]) -> str:
    """Our queries as a share of the paper's: medians over seeds, geometric mean over trees, by setting."""
    told = []
    for setting in SETTINGS:
        shares = {
            row.dataset: row.extra[_RATIO].median for row in lines if row.model == setting and _RATIO in row.extra
        }
        fresh = [share for name, share in shares.items() if not TREES[name].tuned]
        if shares:
            also = f" ({_mean(fresh):.2f} over the {len(fresh)} not looked at before)" if fresh else ""
            told.append(f"{setting} {_mean(list(shares.values())):.2f}{also}")
    return f"queries {_RATIO}, geometric mean: " + "; ".join(told)


def _mean(shares: Sequence[float]) -> float:
    return math.exp(sum(math.log(share) for share in shares) / len(shares))
