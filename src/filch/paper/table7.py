"""Amazon ML's case study, against an emulated Amazon ML through boto3 [Tramèr16, §5.2, Table 7].

The models are trained here (`filch.models.binned`), with numbers of bins at which the paper's search costs about what
the paper prints. Disagreement is told on rows farther than ε from every edge of a continuous attribute, and on all rows
beside it. "places" are those of the attribute that took most: no search by halving takes fewer queries. Prices and
times are computed, not paid and not waited for: all rows that were paid, those of the check included, at $0.10 for
1,000 predictions, and one after the other at the 100 ms that the paper measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from filch.attacks.binned_linear import BinnedLinear as Attack
from filch.core.features import Numeric, Rows
from filch.core.oracle import ModelOracle
from filch.core.run import Run
from filch.datasets import Study, table3
from filch.errors import UsageError
from filch.extraction import extract
from filch.models.additive import AdditiveModel
from filch.models.binned import BinnedLinear
from filch.paper.cells import Told
from filch.paper.compare import N_UNIFORM, OURS, PAPERS, PRINTED, SEEDS
from filch.paper.gallery import Gallery, Section
from filch.paper.quantiles import draw
from filch.paper.tables import Row, Spread, Table
from filch.services.amazon_ml.account import AmazonAccount, cost
from filch.services.amazon_ml.oracle import connect_amazon
from filch.services.amazon_ml.server import serving_amazon

DATASETS = ("circles", "digits", "iris", "adult-income")
EPSILON = 1e-3
LATENCY = 0.1
"""Seconds a query [Tramèr16, §5.2]."""
_BUDGET = 10_000
_BINS: Mapping[str, int | dict[str, int]] = MappingProxyType(
    {
        "circles": 23,
        "digits": 0,
        "iris": 100,
        "adult-income": {
            "age": 100,
            "fnlwgt": 40,
            "education_num": 20,
            "capital_gain": 1_000,
            "capital_loss": 1_000,
            "hours_per_week": 100,
        },
    }
)
_PRINTED: Mapping[str, tuple[int, int]] = MappingProxyType(  # Table 7: queries and seconds
    {"circles": (278, 28), "digits": (650, 70), "iris": (644, 68), "adult-income": (1_485, 149)}
)


@dataclass(frozen=True, eq=False)
class AmazonTarget:
    """A model of the case study.

    Attributes
    ----------
    study : Study
    model : BinnedLinear
    """

    study: Study
    model: BinnedLinear


@lru_cache(maxsize=8)
def amazon_target(name: str) -> AmazonTarget:
    """Train a model of the case study.

    Examples
    --------
    >>> {name: len(edges) for name, edges in amazon_target("circles").model.edges_.items()}
    {'x0': 22, 'x1': 22}
    """
    study = table3(name)
    return AmazonTarget(study, BinnedLinear(_BINS[name]).fit(study.train, study.y_train))


def run(seeds: Sequence[int] = SEEDS, datasets: Sequence[str] = DATASETS, progress: Told | None = None) -> Table:
    """Compare this tool, the paper's search run here on the same models, and the paper's printed figures.

    Parameters
    ----------
    seeds, datasets, progress
        See `filch.paper.Reproduction`, errors too.
    """
    for name in datasets:
        if name not in DATASETS:
            raise UsageError(f"no data set {name!r} here: choose {', '.join(DATASETS)}")
    lines, sections = list[Row](), list[Section]()
    for name in datasets:
        target, account = amazon_target(name), AmazonAccount(peak=1e6)
        with serving_amazon(target.model, target.study.space, account=account) as address:
            for method, variant in ((OURS, "ours"), (PAPERS, "paper")):
                row, last = _measure(target, address, account, method, variant, seeds, progress)  # type: ignore[arg-type]
                lines.append(row)
                if method == OURS and isinstance(last, AdditiveModel):
                    sections.append(_section(target, last))
        lines.append(_printed(target))
    title = (
        "Linear models at an emulated Amazon ML, through boto3; dollars, and seconds at 100 ms a query, are computed"
    )
    intro = (
        "The service cuts each numeric attribute at quantiles of the training data, so that edges tell how its values "
        "are distributed there. Edges found are drawn on the true distribution, which the attack does not see."
    )
    return Table("table7", title, tuple(lines), Gallery("What bin edges tell of the training data", intro, sections))


def _measure(
    target: AmazonTarget,
    address: str,
    account: AmazonAccount,
    method: str,
    variant: Literal["ours", "paper"],
    seeds: Sequence[int],
    progress: Told | None,
) -> tuple[Row, object]:
    study, model = target.study, target.model
    source = ModelOracle(model, study.space, omission=True)
    X_test, uniform = study.space.encode(study.test), study.space.sample(N_UNIFORM, np.random.default_rng(0))
    runs, measured = list[Run](), list[dict[str, float]]()
    kind = model.kind
    classes = tuple(map(str, model.classes_)) if kind == "MULTICLASS" else None
    for seed in seeds:
        if progress:
            progress(f"{study.name}: {method}, seed {seed}")
        with connect_amazon(address, space=study.space, classes=classes, account=account) as oracle:
            attack = Attack(EPSILON, variant=variant)
            one = extract(oracle, attack, budget=_BUDGET, seed=seed, curve=False)
        runs.append(one)
        assert isinstance(one.model, AdditiveModel)  # the budget is far above what either asks first
        measured.append(_agreement(one.model, source, X_test, uniform, model))
    paid = [one.queries + one.selection for one in runs]

    def spread(name: str) -> Spread:
        return Spread.of([one[name] for one in measured])

    row = Row(
        dataset=study.name,
        model=kind.lower(),
        method=method,
        inputs="raw",
        unknowns=int(model.coef_.size + model.intercept_.size),
        queries=Spread.of([one.queries for one in runs]),
        r_test=spread("test"),
        r_unif=spread("unif"),
        r_tv_test=spread("tv test"),
        r_tv_unif=spread("tv unif"),
        seconds=Spread.of([one.seconds for one in runs]),
        selection=max(one.selection for one in runs),
        seeds=len(seeds),
        n_test=int(measured[0]["n test"]),
        n_uniform=int(measured[0]["n unif"]),
        note=", ".join(sorted({one.outcome.value for one in runs})),
        extra={
            "R all rows": spread("all unif"),
            "places": Spread.of([one.evidence["places"] for one in runs]),
            "$": Spread.of([cost(n) for n in paid]),
            "s at 0.1": Spread.of([n * LATENCY for n in paid]),
        },
    )
    return row, runs[-1].model


def _agreement(
    copy: AdditiveModel, source: ModelOracle, X_test: Rows, uniform: Rows, model: BinnedLinear
) -> dict[str, float]:
    """Disagreement and the largest total variation on rows clear of every edge; disagreement on all uniform rows."""
    found: dict[str, float] = {}
    for name, rows in (("test", X_test), ("unif", uniform)):
        answers = source.ask(rows)
        assert answers.labels is not None and answers.probabilities is not None
        shares = copy.predict_proba(rows)
        named = copy.predict(rows)
        wrong = np.asarray(named != np.asarray(copy.classes_)[answers.labels])
        off = 0.5 * np.abs(shares - answers.probabilities).sum(axis=1)
        clear = _clear(rows, source, model)
        found |= {name: float(wrong[clear].mean()), f"tv {name}": float(off[clear].max())}
        found |= {f"n {name}": float(clear.sum()), f"all {name}": float(wrong.mean())}
    return found


def _clear(rows: Rows, source: ModelOracle, model: BinnedLinear) -> npt.NDArray[np.bool_]:
    clear = np.ones(len(rows), dtype=bool)
    for column, feature in enumerate(source.spec.space.features):
        edges = model.edges_.get(feature.name)
        if edges is not None and len(edges) and isinstance(feature, Numeric) and not feature.grid:
            apart = np.abs(rows[:, [column]] - edges).min(axis=1)
            clear &= apart > EPSILON * (feature.high - feature.low)
    return clear


def _section(target: AmazonTarget, copy: AdditiveModel) -> Section:
    charts: list[str] = []
    worst: list[Sequence[str]] = [("attribute", "quantiles", "edges found", "farthest edge, of the range")]
    for feature in target.study.space.features:
        true = target.model.edges_.get(feature.name)
        if true is None or not len(true) or not isinstance(feature, Numeric):
            continue
        found = copy.edges_.get(feature.name, np.empty(0))
        values = target.study.train[feature.name].dropna().to_numpy(dtype=np.float64)
        charts.append(draw(feature.name, values, true, found, feature.low, feature.high))
        span = feature.high - feature.low
        far = np.abs(true[:, None] - found).min(axis=1).max() / span if len(found) else 1.0
        worst.append((feature.name, str(len(true)), str(len(found)), f"{far:.1e}"))
    if not charts:
        return Section(target.study.name, "No attribute is binned.")
    widest = max(len(model_edges) for model_edges in target.model.edges_.values())
    text = f"Up to {widest} edges an attribute; between two lie about as many training rows, or one value that repeats."
    return Section(target.study.name, text, table=worst, charts=charts)


def _printed(target: AmazonTarget) -> Row:
    queries, seconds = _PRINTED[target.study.name]
    none, one = Spread(0.0, 0.0), Spread(queries, queries)
    return Row(
        dataset=target.study.name,
        model=target.model.kind.lower(),
        method=PRINTED,
        inputs="raw",
        unknowns=int(target.model.coef_.size + target.model.intercept_.size),
        queries=one,
        r_test=none,
        r_unif=none,
        note="Table 7",
        extra={"$": Spread(round(cost(queries), 2), round(cost(queries), 2)), "s at 0.1": Spread(seconds, seconds)},
    )
