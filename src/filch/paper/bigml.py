"""The paper's case study of BigML, against an emulated BigML through BigML's own client [Tramèr16, §5.1].

The trees are trained here (`filch.paper.trees`); the paper's are gone. Each query is a request of BigML's client to a
server in another process. Prices and times are computed, not paid and not waited for: all rows that were paid, those of
the check included, at BigML's prices of 2016, and one after the other at the 500 ms that the paper measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from filch.attacks.tree_bottom_up import TreeBottomUp
from filch.attacks.tree_top_down import TreeTopDown
from filch.core.run import Run
from filch.errors import UsageError
from filch.evaluate import Evaluation, Fidelity
from filch.extraction import extract
from filch.models.trees.bigml import BigMLTree, read_bigml
from filch.models.trees.bigml_write import to_bigml
from filch.models.trees.oracle import TreeOracle
from filch.paper.cells import Told
from filch.paper.compare import N_UNIFORM, OURS, PAPERS, PRINTED, SEEDS
from filch.paper.tables import Row, Spread, Table
from filch.paper.trees import TREES, TreeTarget, tree_target
from filch.services.bigml.account import Account
from filch.services.bigml.oracle import connect_bigml
from filch.services.bigml.server import serving_bigml

DATASETS = ("german-credit", "steak")
"""The trees of the case study."""
Setting = Literal["bottom-up", "top-down"]
SETTINGS: tuple[Setting, ...] = ("bottom-up", "top-down")
BUDGET = 100_000
EPSILON = 1e-3
CHEAP, DEAR = 0.10, 5.0
"""Dollars for 1,000 predictions: the range of BigML's prices [Tramèr16, §5.1]."""
LATENCY = 0.5
"""Seconds a query [Tramèr16, §5.1]."""

# 1 − R_test and 1 − R_unif in per cent (Table 6), queries, and seconds (§5.1), None where it prints none.
_PRINTED: Mapping[tuple[str, Setting], tuple[float, float, int, int | None]] = MappingProxyType(
    {
        ("german-credit", "bottom-up"): (100, 100, 1_722, 1_030),
        ("german-credit", "top-down"): (100, 100, 1_150, 631),
        ("steak", "bottom-up"): (92.45, 86.40, 3_652, None),
        ("steak", "top-down"): (100, 100, 4_013, 2_088),
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
    seeds, datasets, progress
        See `filch.paper.Reproduction`, errors too.
    settings : sequence of {"bottom-up", "top-down"}
        Complete queries, and incomplete ones whose answers name the features on the path.
    """
    for name in datasets:
        if name not in DATASETS:
            raise UsageError(f"no tree {name!r} here: choose {', '.join(DATASETS)}")
    for setting in settings:
        if setting not in SETTINGS:
            raise UsageError(f"no setting {setting!r} here: choose {', '.join(SETTINGS)}")
    lines = tuple(row for name in datasets for row in rows(name, settings, seeds, progress))
    title = (
        "Trees at an emulated BigML, through its own client; dollars at $0.10 and $5 for 1,000 predictions, and "
        "seconds at 500 ms a query, are computed"
    )
    return Table("bigml", title, lines)


def rows(name: str, settings: Sequence[Setting], seeds: Sequence[int], progress: Told | None) -> Iterator[Row]:
    """The lines of one tree."""
    target, account = tree_target(name), Account()
    document = to_bigml(target.tree, objective=TREES[name].target, name=name)
    source = read_bigml(document)
    with serving_bigml(document, account=account) as address:
        for setting in settings:
            for variant in ("ours", "paper"):
                yield _measure(target, source, address, account, setting, variant, seeds, progress)
            yield _printed(target, setting)


def _measure(
    target: TreeTarget,
    source: BigMLTree,
    address: str,
    account: Account,
    setting: Setting,
    variant: str,
    seeds: Sequence[int],
    progress: Told | None,
) -> Row:
    method = OURS if variant == "ours" else PAPERS
    evaluation = Evaluation.of(TreeOracle(source.tree, omission=True), target.X_test, N_UNIFORM)
    kind = TreeBottomUp if setting == "bottom-up" else TreeTopDown
    runs, found = list[Run](), list[Fidelity]()
    for seed in seeds:
        if progress:
            progress(f"{target.name} ({setting}): {method}, seed {seed}")
        with connect_bigml(address, account=account) as oracle:
            attack = kind(epsilon=EPSILON, variant=variant)  # type: ignore[arg-type]  # one of two texts
            one = extract(oracle, attack, budget=BUDGET, seed=seed, curve=False)
        assert one.model is not None  # the budget is far above what either asks first
        runs.append(one)
        found.append(evaluation.measure(one.model))
    paid = [one.queries + one.selection for one in runs]
    leaves = Spread.of([int(getattr(one.model, "n_leaves", 0)) for one in runs])
    return Row(
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
        extra={
            "leaves": leaves,
            "$ at 0.10": Spread.of([n * CHEAP / 1_000 for n in paid]),
            "$ at 5": Spread.of([n * DEAR / 1_000 for n in paid]),
            "s at 0.5": Spread.of([n * LATENCY for n in paid]),
        },
    )


def _printed(target: TreeTarget, setting: Setting) -> Row:
    r_test, r_unif, queries, seconds = _PRINTED[target.name, setting]
    return Row(
        target.name,
        setting,
        PRINTED,
        _about(target),
        target.tree.n_parameters,
        Spread(queries, queries),
        r_test=Spread.of([round(1 - r_test / 100, 6)]),
        r_unif=Spread.of([round(1 - r_unif / 100, 6)]),
        note=f"another tree of the same kind: {target.recipe.printed}; seconds as measured there",
        extra={} if seconds is None else {"s at 0.5": Spread.of([seconds])},
    )


def _about(target: TreeTarget) -> str:
    return f"{target.unique}/{target.tree.n_leaves} ids"
