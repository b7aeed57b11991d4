"""A study of labels alone: every strategy on every data set, at each number of queries for each unknown."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filch.core.answers import Reveal
from filch.errors import UsageError
from filch.paper.cells import Cell, Result, Told, run_cells
from filch.paper.compare import PRINTED, SEEDS, check_alphas, check_datasets, unknowns
from filch.paper.gallery import Gallery
from filch.paper.labels import measure
from filch.paper.labels.limits import limit
from filch.paper.labels.measure import angle, wrong_on_test, wrong_on_uniform
from filch.paper.labels.methods import Strategy
from filch.paper.labels.page import EVERY, LIMIT, TYPICAL, gallery
from filch.paper.tables import Row, Spread, Table
from filch.paper.targets import Kind, Target, target

ALPHAS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Queries for each unknown [Tramèr16, §6]."""


@dataclass(frozen=True)
class LabelStudy:
    """One figure of labels alone.

    Attributes
    ----------
    name, title, intro : str
        The page's intro says what the target is, and what α counts.
    kind : str
        The targets', as `filch.paper.targets.target` takes it.
    datasets : tuple of str
    strategies : tuple of Strategy
        In the order of the legend.
    n_uniform : int
        Rows behind R_unif of a copy that is wrong on no more than 1 % of the first 10,000.
    least : float
        The smallest error on the page's axis, a power of ten.
    printed : tuple of (str, float, float, float, str)
        What the paper prints as averages over its data sets: strategy, queries, R_test and R_unif at most, the text.
    """

    name: str
    title: str
    intro: str
    kind: Kind
    datasets: tuple[str, ...]
    strategies: tuple[Strategy, ...]
    n_uniform: int
    least: float
    printed: tuple[tuple[str, float, float, float, str], ...] = ()

    def run(
        self,
        seeds: Sequence[int] = SEEDS,
        datasets: Sequence[str] | None = None,
        alphas: Sequence[float] = ALPHAS,
        strategies: Sequence[str] | None = None,
        results: str | Path | None = None,
        jobs: int = 1,
        progress: Told | None = None,
        n_uniform: int | None = None,
    ) -> Table:
        """Compute the cells that are not there yet, and sum them up.

        Parameters
        ----------
        seeds, datasets, results, jobs, progress
            See `filch.paper.Reproduction`, errors too. A cell is a data set × strategy × seed.
        alphas : sequence of float
            Queries for each unknown.
        strategies : sequence of str, optional
            Of the study's; by default all that can run here.
        n_uniform : int, optional
            Fewer uniform rows, for a quick look.
        """
        chosen, left_out = self._chosen(strategies)
        datasets = self.datasets if datasets is None else datasets
        check_datasets(datasets, self.datasets)
        alphas = check_alphas(alphas)
        if not seeds:
            raise UsageError("a study needs at least one seed")
        rows = self.n_uniform if n_uniform is None else n_uniform
        cells = list(self._cells(datasets, chosen, seeds, alphas, rows))
        found = run_cells([cell for *_, cell in cells], results, jobs, progress)
        lines: list[Row] = []
        for dataset in datasets:
            shown = target(dataset, self.kind)
            for strategy in chosen:
                here = (dataset, strategy.name)
                runs = [result["points"] for cell, result in zip(cells, found, strict=True) if cell[:2] == here]
                lines += [_row(shown, strategy.name, points) for points in zip(*runs, strict=True)]
            lines += _limits(shown, alphas)
        lines += _averages(lines) if len(datasets) > 1 else []
        lines += [_printed(self.kind, *printed) for printed in self.printed]
        return Table(self.name, self.title, tuple(lines), self._gallery(lines, left_out))

    def _chosen(self, names: Sequence[str] | None) -> tuple[list[Strategy], list[str]]:
        """The strategies, and why others are left out."""
        known = [strategy.name for strategy in self.strategies]
        for name in names or ():
            if name not in known:
                raise UsageError(f"{self.name} has no strategy {name!r}: choose {', '.join(known)}")
        chosen, left_out = [], []
        for strategy in self.strategies:
            if names is not None and strategy.name not in names:
                continue
            why = strategy.missing()
            if why and names is not None:
                raise UsageError(why)
            if why:
                left_out.append(f"Left out here: {why}.")
            else:
                chosen.append(strategy)
        return chosen, left_out

    def _cells(
        self,
        datasets: Sequence[str],
        chosen: Sequence[Strategy],
        seeds: Sequence[int],
        alphas: Sequence[float],
        n_uniform: int,
    ) -> Iterator[tuple[str, str, Cell]]:
        for dataset in datasets:
            shown = target(dataset, self.kind)
            spec, fitted = replace(shown.oracle.spec, reveal=Reveal("labels")), shown.oracle.fingerprint()
            for strategy in chosen:
                modules = (measure.__name__, *strategy.modules(spec, alphas, unknowns(shown)))
                for seed in seeds:
                    settings = {
                        "study": self.name,
                        "dataset": dataset,
                        "target": f"{self.kind} {fitted}",
                        "strategy": strategy.describe(spec, alphas, unknowns(shown)),
                        "seed": seed,
                        "alphas": list(alphas),
                        "n_uniform": n_uniform,
                    }
                    compute = functools.partial(compute_cell, strategy, dataset, self.kind, seed, alphas, n_uniform)
                    yield (
                        dataset,
                        strategy.name,
                        Cell(f"{self.name} {dataset} {strategy.name} seed {seed}", settings, compute, modules),
                    )

    def _gallery(self, lines: Sequence[Row], left_out: Sequence[str]) -> Gallery:
        return gallery(self.title, " ".join([self.intro, *left_out]), lines, self.least)


def compute_cell(
    strategy: Strategy, dataset: str, kind: Kind, seed: int, alphas: Sequence[float], n_uniform: int
) -> Result:
    """One data set, strategy and seed: the copies at each α, measured."""
    shown = target(dataset, kind)
    copies = list(strategy.copies(shown, alphas, seed))
    models = list({id(copy.model): copy.model for copy in copies if copy.model is not None}.values())
    test, uniform = wrong_on_test(shown, models), wrong_on_uniform(shown, models, n_uniform)
    measured = {
        id(model): {"r_test": r_test, "r_unif": r_unif, "n_uniform": rows, "angle": angle(shown, model)}
        for model, r_test, (r_unif, rows) in zip(models, test, uniform, strict=True)
    }
    nothing = {"r_test": None, "r_unif": None, "n_uniform": 0, "angle": None}
    points = [
        {
            "alpha": copy.alpha,
            "queries": copy.queries,
            "selection": copy.selection,
            "requests": copy.requests,
            "seconds": round(copy.seconds, 3),
            "outcome": copy.outcome,
            **measured.get(id(copy.model), nothing),
        }
        for copy in copies
    ]
    return {"points": points}


def _row(shown: Target, method: str, points: Sequence[Any]) -> Row:
    """One strategy at one α, over the seeds."""

    def spread(name: str) -> Spread | None:
        values = [point[name] for point in points]
        return None if None in values else Spread.of(values)  # a seed without a model leaves no median to speak of

    angles = spread("angle")
    return Row(
        dataset=shown.study.name,
        model=shown.kind,
        method=method,
        inputs="one-hot",
        unknowns=unknowns(shown),
        queries=Spread.of([point["queries"] for point in points]),
        r_test=spread("r_test"),
        r_unif=spread("r_unif"),
        seconds=spread("seconds"),
        selection=max(point["selection"] for point in points),
        seeds=len(points),
        n_test=len(shown.X_test),
        n_uniform=min(point["n_uniform"] for point in points),
        note=", ".join(sorted({point["outcome"] for point in points} - {""})),
        extra={"α": _fixed(points[0]["alpha"])},
        further={"angle": angles} if angles else {},
    )


def _limits(shown: Target, alphas: Sequence[float]) -> Iterator[Row]:
    """What labels can tell at most, under the assumptions of `filch.paper.labels.limits`."""
    found, count, linear = limit(shown), unknowns(shown), shown.kind in ("binary", "softmax")
    for alpha in alphas:
        queries = math.ceil(alpha * count)
        angle_, wrong = found.at(queries)
        name = LIMIT if linear else TYPICAL
        row = Row(shown.study.name, shown.kind, name, "one-hot", count, _fixed(queries), r_unif=_fixed(wrong))
        further = {"angle": _fixed(angle_)} if linear else {}
        yield replace(row, extra={"α": _fixed(alpha)}, further=further, note="computed, see the documentation")


def _averages(lines: Sequence[Row]) -> list[Row]:
    """For each method and α the mean over the data sets, of medians and of worst values."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in lines:
        groups.setdefault((row.method, row.extra["α"].median), []).append(row)
    most = max(map(len, groups.values()))
    return [
        Row(
            dataset=EVERY,
            model=same[0].model,
            method=method,
            inputs="one-hot",
            unknowns=round(statistics.fmean(row.unknowns for row in same)),
            queries=_mean([row.queries for row in same]) or _fixed(0),
            r_test=_mean([row.r_test for row in same]),
            r_unif=_mean([row.r_unif for row in same]),
            seeds=same[0].seeds,
            selection=max(row.selection for row in same),
            n_test=max(row.n_test for row in same),
            n_uniform=min(row.n_uniform for row in same),
            note=f"means over {len(same)} data sets",
            extra={"α": _fixed(alpha)},
        )
        for (method, alpha), same in groups.items()
        if len(same) == most
    ]


def _mean(spreads: Sequence[Spread | None]) -> Spread | None:
    known = [spread for spread in spreads if spread is not None]
    if len(known) < len(spreads):
        return None
    return Spread(*(statistics.fmean(getattr(spread, part) for spread in known) for part in ("median", "worst")))


def _fixed(value: float) -> Spread:
    return Spread(value, value)


def _printed(kind: Kind, strategy: str, queries: float, r_test: float, r_unif: float, text: str) -> Row:
    """What the paper prints of its averages."""
    name = f"{PRINTED}: {strategy}"
    return Row(EVERY, kind, name, "one-hot", 0, _fixed(queries), _fixed(r_test), _fixed(r_unif), bounds=True, note=text)
