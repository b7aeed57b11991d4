"""The lines of a table as cells: a method against a target, one cell a seed, each computed once and kept."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filch.core.answers import Reveal
from filch.core.attack import Attack
from filch.core.digest import describe
from filch.core.oracle import ModelOracle
from filch.evaluate import Evaluation
from filch.paper import compare
from filch.paper.cells import Cell, Result, Told, run_cells
from filch.paper.compare import N_UNIFORM, SEEDS, check_alphas, point, row_of, unknowns
from filch.paper.sources import modules_of
from filch.paper.tables import Row, Spread
from filch.paper.targets import Inputs, Kind, Target, target


@dataclass(frozen=True)
class Line:
    """A method against a target: one row of a table, or one for each α.

    Attributes
    ----------
    dataset, kind, inputs : str
        As `filch.paper.targets.target` takes them.
    method : str
        The rows' name for the attack.
    attack : Attack
    reveal : Reveal, optional
        What the target shows; by default all that it has.
    name : str, optional
        The rows' name for the target; its kind by default.
    alphas : tuple of float
        Budgets in queries for each unknown, ascending; without, one run with more than any attack needs. A run that
        ended before its budget stands for those with more.
    spare : int, default 0
        Rows of the selection account beside those of α.
    budget : int, optional
        Queries, where no α is given.
    """

    dataset: str
    kind: Kind
    method: str
    attack: Attack
    inputs: Inputs = "one-hot"
    reveal: Reveal | None = None
    name: str = ""
    alphas: tuple[float, ...] = ()
    spare: int = 0
    budget: int | None = None

    def __post_init__(self) -> None:
        if self.alphas:
            check_alphas(self.alphas)

    def target(self) -> Target:
        """The target, as this line's attack sees it."""
        plain = target(self.dataset, self.kind, self.inputs)
        if self.reveal is None:
            return plain
        oracle = ModelOracle(plain.oracle.model, plain.oracle.spec.space, reveal=self.reveal)
        return replace(plain, oracle=oracle)

    def cell(self, seed: int) -> Cell:
        """One seed of it."""
        settings = {
            "target": f"{self.dataset} {self.kind} ({self.inputs}) {self.target().oracle.fingerprint()}",
            "reveal": repr(self.reveal),
            "attack": describe(self.attack),
            "seed": seed,
            "alphas": list(self.alphas),
            "spare": self.spare,
            "budget": self.budget,
            "n_uniform": N_UNIFORM,
        }
        shown = f"{self.dataset} {self.name or self.kind} ({self.inputs}): {self.method}"
        only = f", α = {self.alphas[0]:g}" if len(self.alphas) == 1 else ""
        modules = (__name__, compare.__name__, *modules_of(self.attack))
        return Cell(f"{shown}{only}, seed {seed}", settings, functools.partial(_compute, self, seed), modules)

    def rows(self, results: Sequence[Result]) -> Iterator[Row]:
        """Its rows, from the results of its cells, one a seed."""
        shown = self.target()
        for number, points in enumerate(zip(*(result["points"] for result in results), strict=True)):
            row = row_of(shown, self.method, self.inputs, points)
            if self.alphas:
                row = replace(row, extra={"α": Spread(self.alphas[number], self.alphas[number])})
            yield replace(row, model=self.name) if self.name else row


def compute(
    lines: Sequence[Line | Row],
    seeds: Sequence[int] = SEEDS,
    results: str | Path | None = None,
    jobs: int = 1,
    progress: Told | None = None,
) -> tuple[Row, ...]:
    """The rows of all lines, in their order; what is kept is not computed again.

    Parameters
    ----------
    lines : sequence of Line or Row
        Rows that are there already (what the paper prints) keep their place.
    seeds : sequence of int
        One extraction each.
    results : path, optional
        A folder that keeps each cell (line × seed) as soon as it is there.
    jobs : int, default 1
        Processes.
    progress : callable, optional
        Told of each cell that is there.

    Raises
    ------
    UsageError, DataError, KeyboardInterrupt
        As `filch.paper.cells.run_cells`.
    """
    cells = [line.cell(seed) for line in lines if isinstance(line, Line) for seed in seeds]
    found = iter(run_cells(cells, results, jobs, progress))
    rows: list[Row] = []
    for line in lines:
        rows += line.rows([next(found) for _ in seeds]) if isinstance(line, Line) else [line]
    return tuple(rows)


def _compute(line: Line, seed: int) -> Result:
    shown = line.target()
    evaluation = Evaluation.of(shown.oracle, shown.X_test, N_UNIFORM)
    if not line.alphas:
        return {"points": [point(shown, evaluation, line.attack, line.budget, seed)]}
    points: list[Result] = []
    allowed = 0
    for alpha in line.alphas:
        if points and points[-1]["queries"] < allowed:  # it would do the same with more
            points.append(points[-1])
            continue
        allowed = math.ceil(alpha * unknowns(shown))
        points.append(point(shown, evaluation, line.attack, allowed + line.spare, seed))
    return {"points": points}
