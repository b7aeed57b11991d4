"""How far a softmax behind rounding can be known from few answers, and what filch and the paper's method make of them.

``python -m benchmarks.rounded_floor`` runs, for each data set, decimals and α (queries for each of c(d + 1) unknowns,
one-hot inputs):

- filch: `logistic`, and the disagreement that its answers leave to be expected of the very best estimate: labels of
  weights drawn from all those that give the same answers (hit and run, from the target's own weights), against those
  of their mean;
- informed: rows are moved to where they decide most labels given the target's own weights from the first row on. Only
  where within its interval a probability lies is not used. No attack knows as much, so that this is about what a
  choice of rows can reach. "at once": all rows are chosen together, before the first answer;
- the paper's method, and a fifth of its errors.

Per cent of 200,000 uniform rows, medians over seeds. ``--only``, ``--decimals`` and ``--seeds`` narrow it down.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import linalg
from scipy.special import ndtr, ndtri

import filch
from filch.attacks.linear.belief import Belief, bounds, logits
from filch.attacks.linear.deciding import Deciding
from filch.attacks.linear.design import Design
from filch.attacks.linear.rounded import Rounded
from filch.attacks.linear.telling import Telling
from filch.core.answers import Answers
from filch.core.attack import Steps
from filch.core.features import Rows
from filch.core.oracle import ModelOracle, OracleSpec
from filch.core.seeds import child, stream
from filch.paper.compare import unknowns
from filch.paper.equation_solving import EquationSolving
from filch.paper.targets import Target, target

OUT = Path("out/bench/rounded_floor.json")
DATASETS = ("blobs", "iris", "5-class", "steak", "gss")
DECIMALS, ALPHAS = (2, 3), (0.5, 1.0)
_SEARCH = 100  # steps in the search for rows
_UNIFORM, _CHECK, _MOST = 200_000, 8, 100
_LINES, _BLOCK = 1_000, 256  # steps of the chain for each dimension; one point of so many is kept,
_COMPARED = 40  # and of those so many are compared
Floats = npt.NDArray[np.float64]
Line = dict[str, Any]


class Settled(Rounded):
    """The method for rounded answers; with the target's weights, rows are chosen for them."""

    truth: Floats | None = None
    at_once: bool = False

    def batch(self) -> int:
        """All rows together, or batch by batch."""
        return self.budget if self.at_once else super().batch()

    def next(self, count: int, round_: int) -> Rows:
        """Rows for the target's own weights, on thresholds by what is believed."""
        if self.truth is None or self.belief is None:
            return super().next(count, round_)
        rng = child(self.rng, "informed", str(round_))
        knowing = Belief(self.belief.size, self.belief.classes)
        knowing.mean, knowing.covariance = self.truth @ knowing.basis, self.belief.covariance
        knowing.design = np.ones((1, self.belief.size))  # not the first rows, which are chosen for two decimals
        rows = Telling(self.design, knowing, self.resolution, self.shown).rows(count, rng, self.heard.rows)[0]
        rows = Deciding(self.design, knowing, self.resolution, rng).moved(rows, _SEARCH)
        return Telling(self.design, self.belief, self.resolution, self.shown).on_thresholds(rows)


@dataclass
class Watched:
    """`logistic` on answers that are known to be rounded, whose state can be looked at afterwards."""

    truth: Floats | None = None
    at_once: bool = False
    kept: list[Settled] = field(default_factory=list)

    def needs(self, spec: OracleSpec) -> str | None:
        """Nothing."""
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Those of the method for rounded answers."""
        heard, coarse = Answers.none(len(spec.space)), 0.5 * 10.0 ** -(spec.decimals or 0)
        state = Settled(spec, Design(spec.space), rng, budget, heard, coarse, "softmax", _CHECK, _MOST)
        state.truth, state.at_once = self.truth, self.at_once
        self.kept.append(state)
        return (yield from state.steps())


def true_weights(found: Target, design: Design) -> Floats:
    """The target's weights over the design's columns, of shape (p, c)."""
    rows = design.varied(20 * design.size + 200, stream(0, "truth"))
    logs = np.log(found.oracle.ask(rows).probabilities)
    weights: Floats = np.linalg.lstsq(design.matrix(rows), logs - logs.mean(axis=1, keepdims=True), rcond=None)[0]
    return weights


def expected(state: Settled, truth: Floats, matrix: Floats, rng: np.random.Generator) -> float:
    """What all weights that give the answers disagree with their mean, on average."""
    belief, shown = state.belief, state.heard.probabilities
    assert belief is not None and shown is not None
    asked, (q, p) = state.design.matrix(state.heard.rows), (belief.axes, belief.size)
    low, high = bounds(shown, state.resolution * (1 + 1e-9))
    root = linalg.cholesky(belief.covariance, lower=True)

    logit, slopes = logits(asked @ truth)  # nearly linear in weights so close to each other
    ways = ((slopes @ belief.basis)[:, :, :, None] * asked[:, None, None, :]).reshape(-1, q * p)
    low, high = (low - logit).reshape(-1), (high - logit).reshape(-1)
    root, centre = linalg.cholesky(belief.covariance, lower=True), (truth @ belief.basis).T.reshape(-1)
    at, reached, points = centre.copy(), np.zeros(len(ways)), list[Floats]()
    for _ in range(_LINES * q * p // _BLOCK + 1):
        steps = root @ rng.normal(size=(q * p, _BLOCK))
        slope = ways @ steps
        for step, rise in zip(steps.T, slope.T, strict=True):
            ends = (low - reached) / rise, (high - reached) / rise
            first, last = np.minimum(*ends).max(), np.maximum(*ends).min()
            # The prior along the line, cut off where an answer would change.
            precision = float(step @ step) / belief.scale**2
            about, width = -float(step @ at) / belief.scale**2 / precision, precision**-0.5
            shares = ndtr((first - about) / width), ndtr((last - about) / width)
            length = about + width * ndtri(rng.uniform(*shares))
            if not first <= length <= last:  # so far out, or so short, that the prior is the same all along
                length = rng.uniform(first, last)
            at, reached = at + length * step, reached + length * rise
        points.append(at)
    wrong = labels(matrix, np.mean(points, axis=0).reshape(q, p).T @ belief.basis.T)
    some = points[:: max(1, len(points) // _COMPARED)]
    return float(np.mean([(labels(matrix, w.reshape(q, p).T @ belief.basis.T) != wrong).mean() for w in some]))


def labels(matrix: Floats, weights: Floats) -> npt.NDArray[np.intp]:
    """The class of each row."""
    return np.asarray((matrix @ weights).argmax(axis=1))


def measured(dataset: str, places: int, alpha: float, seeds: Sequence[int]) -> Line:
    """One line: medians over seeds, in per cent."""
    plain = target(dataset, "softmax")
    space = plain.oracle.spec.space
    oracle = ModelOracle(plain.oracle.model, space, decimals=places)
    design = Design(space)
    truth, uniform = true_weights(plain, design), space.sample(_UNIFORM, stream(0, "uniform"))
    matrix = design.matrix(uniform)
    right, names = labels(matrix, truth), np.array(oracle.spec.classes)
    budget = math.ceil(alpha * unknowns(plain)) + _CHECK
    found: dict[str, list[float]] = {"filch": [], "expected": [], "informed": [], "at once": [], "paper": []}
    for seed in seeds:
        watched = {"filch": Watched(), "informed": Watched(truth), "at once": Watched(truth, at_once=True)}
        for name, attack in watched.items():
            model = filch.extract(oracle, attack=attack, budget=budget, seed=seed, curve=False).model
            found[name].append(float((model.predict(uniform) != names[right]).mean()))
        few = matrix[: _UNIFORM // 4]
        found["expected"].append(expected(watched["filch"].kept[-1], truth, few, stream(seed, "posterior")))
        method = EquationSolving("softmax", alpha)
        model = filch.extract(oracle, method, budget=method.queries(oracle.spec), seed=seed, curve=False).model
        found["paper"].append(float((model.predict(uniform) != names[right]).mean()))
    median = {name: 100 * float(np.median(values)) for name, values in found.items()}
    line: Line = {"dataset": dataset, "decimals": places, "alpha": alpha, **median}
    return line | {"a fifth of the paper's": median["paper"] / 5, "filch / paper": median["filch"] / median["paper"]}


def lines(datasets: Sequence[str], decimals: Sequence[int], seeds: Sequence[int]) -> Iterator[Line]:
    """All lines."""
    for dataset in datasets:
        for places in decimals:
            for alpha in ALPHAS:
                yield measured(dataset, places, alpha, seeds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounded_floor", description=__doc__)
    parser.add_argument("--only", choices=DATASETS, action="append", help="this data set only (may be given again)")
    parser.add_argument("--decimals", type=int, choices=DECIMALS, action="append", help="these only")
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    start, found, console = time.process_time(), list[Line](), Console(width=160)
    for line in lines(chosen.only or DATASETS, chosen.decimals or DECIMALS, range(chosen.seeds)):
        console.print(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in line.values()))
        found.append(line)
    table = Table(*found[0])
    for line in found:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in line.values()))
    console.print(table, f"{time.process_time() - start:.0f} s of CPU time")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"cpus": os.cpu_count(), "rows": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
