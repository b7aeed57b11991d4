"""Softmax models behind rounding: error against queries [Tramèr16, Fig. 7], on every multiclass data set."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sklearn.linear_model import LogisticRegression

from filch.attacks.logistic import Logistic
from filch.attacks.retraining import Retraining
from filch.core.answers import Reveal
from filch.paper.cells import Told
from filch.paper.compare import OURS, PAPERS, SEEDS, check_alphas, check_datasets
from filch.paper.curves import Curve, draw
from filch.paper.equation_solving import EquationSolving
from filch.paper.gallery import Gallery, Section
from filch.paper.lines import Line, compute
from filch.paper.table4 import DATASETS as MULTICLASS
from filch.paper.tables import Row, Spread, Table
from filch.paper.targets import target

DATASETS = MULTICLASS
DECIMALS = (5, 4, 3, 2)
ALPHAS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Queries for each of the c(d + 1) unknowns."""
LABELS = "labels only"
_CHECK = 8  # rows against which filch holds its model, beside those of α
_WEAK = 1e4  # C of the surrogate for labels: the target's class, hardly penalised
_TONES = {"5 decimals": 4, "4 decimals": 3, "3 decimals": 1, "2 decimals": 0, LABELS: 5}


def run(
    seeds: Sequence[int] = SEEDS,
    datasets: Sequence[str] = DATASETS,
    decimals: Sequence[int] = DECIMALS,
    alphas: Sequence[float] = ALPHAS,
    labels: bool = True,
    results: str | Path | None = None,
    jobs: int = 1,
    progress: Told | None = None,
) -> Table:
    """Compare this tool with the paper's minimisation on the same rounding and queries, and with labels only.

    Labels only: adaptive retraining of a softmax model. The paper prints curves, but no figures. Where filch ends with
    fewer queries than α allows, because nothing was in doubt, its row says so.

    Parameters
    ----------
    seeds, datasets, results, jobs, progress
        See `filch.paper.Reproduction`, errors too.
    decimals : sequence of int
    alphas : sequence of float
        Queries for each of the c(d + 1) unknowns.
    labels : bool
        Whether to show labels only, too.

    Examples
    --------
    >>> table = run(seeds=[0], datasets=["iris"], decimals=[2], alphas=[1.0], labels=False)
    >>> [(row.method, row.queries.worst) for row in table.rows]
    [('filch', 15), ("paper's method", 15)]
    """
    check_datasets(datasets, DATASETS)
    lines = [line for dataset in datasets for line in _lines(dataset, decimals, alphas, labels)]
    rows = compute(lines, seeds, results, jobs, progress)
    return Table("figure7", "A softmax model behind rounding, and behind labels only", rows, _gallery(rows))


def _lines(dataset: str, decimals: Sequence[int], alphas: Sequence[float], labels: bool) -> Iterator[Line]:
    """The lines of one data set."""
    points = check_alphas(alphas)
    most = math.ceil(max(points) * target(dataset, "softmax").study.n_classes) + 1
    for places in decimals:
        name, rounded = f"{places} decimals", Reveal(decimals=places)
        logistic = Logistic("softmax", _CHECK, most)
        yield Line(dataset, "softmax", OURS, logistic, "one-hot", rounded, name, points, spare=_CHECK)
        for alpha in points:
            solving = EquationSolving("softmax", alpha)
            yield Line(dataset, "softmax", PAPERS, solving, "one-hot", rounded, name, (alpha,))
    if labels:
        attack = Retraining(surrogate=LogisticRegression(C=_WEAK, max_iter=1_000))
        yield Line(dataset, "softmax", LABELS, attack, "one-hot", Reveal("labels"), LABELS, points)


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────


def _gallery(lines: Sequence[Row]) -> Gallery:
    datasets = list(dict.fromkeys(row.dataset for row in lines))
    intro = (
        "A softmax model is copied through probabilities that are rounded, and through labels only. Solid lines: "
        "filch, which takes each rounded answer as an interval and asks the rows that say most. Dashed: the paper's "
        "method on uniform rows. Curves are medians over the seeds; tables show medians and, in brackets, the worst. "
        "α counts queries for each unknown of the model."
    )
    sections = [_section(data, [row for row in lines if row.dataset == data]) for data in datasets]
    if len(datasets) > 1:
        sections.insert(0, _section("all data sets", _averaged(lines)))
    return Gallery("Rounding as a defence (Fig. 7)", intro, sections)


def _section(data: str, lines: Sequence[Row]) -> Section:
    charts = tuple(
        draw(
            [_curve(name, method, lines, measure_) for name, method in _pairs(lines)],
            title=f"{data}: {what}",
            across=f"{what} against α",
            ticks=sorted({_alpha(row) for row in lines}),
            least=1e-4,
            zero="none",
        )
        for what, measure_ in (("wrong on uniform rows", "r_unif"), ("wrong on test rows", "r_test"))
        if len({_alpha(row) for row in lines}) > 1
    )
    alphas = sorted({_alpha(row) for row in lines})
    head = ["% wrong on uniform rows", *(f"α = {alpha:g}" for alpha in alphas)]
    body = [
        [f"{name}, {method}" if name != LABELS else name, *(_cell(name, method, alpha, lines) for alpha in alphas)]
        for name, method in _pairs(lines)
    ]
    text = "Means over the data sets." if data == "all data sets" else ""
    return Section(data, text, table=[head, *body], charts=charts)


def _pairs(lines: Sequence[Row]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row.model, row.method) for row in lines))


def _curve(name: str, method: str, lines: Sequence[Row], which: str) -> Curve:
    spreads = ((_alpha(row), getattr(row, which)) for row in lines if (row.model, row.method) == (name, method))
    points = [(alpha, spread.median) for alpha, spread in spreads if spread is not None]
    return Curve(name if method != PAPERS else "", _TONES.get(name, 2), points, method == PAPERS)


def _cell(name: str, method: str, alpha: float, lines: Sequence[Row]) -> str:
    for row in lines:
        if (row.model, row.method, _alpha(row)) == (name, method, alpha) and row.r_unif is not None:
            median, worst = (f"{100 * value:.2f}" if value else "0" for value in (row.r_unif.median, row.r_unif.worst))
            return median if median == worst else f"{median} ({worst})"
    return "–"


def _averaged(lines: Sequence[Row]) -> list[Row]:
    """For each method, reveal and α the mean over the data sets."""
    groups: dict[tuple[str, str, float], list[Row]] = {}
    for row in lines:
        groups.setdefault((row.model, row.method, _alpha(row)), []).append(row)
    return [
        replace(same[0], r_test=_mean([row.r_test for row in same]), r_unif=_mean([row.r_unif for row in same]))
        for same in groups.values()
    ]


def _mean(spreads: Sequence[Spread | None]) -> Spread | None:
    known = [spread for spread in spreads if spread is not None]
    if len(known) < len(spreads):
        return None
    return Spread(*(statistics.fmean(getattr(spread, part) for spread in known) for part in ("median", "worst")))


def _alpha(row: Row) -> float:
    return row.extra["α"].median
