"""Faces: a classifier of 10,304 pixels and 40 people is extracted, and the copy tells what they look like.

[Tramèr16, §4.1.4], on the AT&T faces: 70 % of the pictures train a softmax; whoever copies it can invert the copy, and
sees what inverting the target would show. Beside it, inversion through the oracle without a copy. How far a face is
recovered: whether the inverted picture is nearer, in Euclidean distance, to its own person's mean training picture than
to every other's; and, as a measure that sees through noise, whether it correlates most with it.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from filch.attacks.inversion import Inversion, invert
from filch.attacks.logistic import Logistic
from filch.core.attack import Attack
from filch.core.features import FeatureSpace, Rows
from filch.core.oracle import ModelOracle
from filch.core.run import Run
from filch.datasets import load
from filch.errors import UsageError
from filch.evaluate import Evaluation, Fidelity
from filch.extraction import extract
from filch.models.logistic import LogisticModel
from filch.paper.cells import Told
from filch.paper.compare import OURS, PAPERS, PRINTED, SEEDS
from filch.paper.equation_solving import EquationSolving
from filch.paper.faces_page import page
from filch.paper.tables import Row, Spread, Table

DATASETS = ("faces",)
EQUAL, DEARER = "black box", "black box, 2d"
N_UNIFORM = 2_000
_PENALTY = 0.01  # the target's C: with scikit-learn's own, 1, it stops before it has fitted
_SHOWN = 8  # people of whom all pictures are shown; those of the dear black box are asked for these alone
_PAPERS_STEPS = 400  # of L-BFGS
_SEARCH = 17  # queries of a black box besides its gradient


@dataclass(frozen=True, eq=False)
class Faces:
    """Pictures of people, in −1 … 1.

    Attributes
    ----------
    X_train, X_test : (n, d)
    y_train, y_test : (n,)
        Who it is, 0 … people − 1.
    shape : (height, width)
    """

    X_train: Rows
    X_test: Rows
    y_train: npt.NDArray[np.int64]
    y_test: npt.NDArray[np.int64]
    shape: tuple[int, int]

    @cached_property
    def space(self) -> FeatureSpace:
        """All pictures."""
        d = self.shape[0] * self.shape[1]
        return FeatureSpace.box(np.full(d, -1.0), np.full(d, 1.0))

    @cached_property
    def means(self) -> Rows:
        """The mean training picture of each person, of shape (people, d)."""
        return np.array([self.X_train[self.y_train == k].mean(axis=0) for k in range(int(self.y_train.max()) + 1)])

    @cached_property
    def target(self) -> LogisticRegression:
        """The softmax that is copied."""
        return LogisticRegression(C=_PENALTY, max_iter=1_000).fit(self.X_train, self.y_train)

    def found(self, pictures: Rows, people: npt.NDArray[np.int64], *, correlated: bool = False) -> float:
        """The share of pictures that are nearest to (or correlate most with) their own person's mean picture."""
        means = self.means
        if correlated:
            pictures, means = _standard(pictures), _standard(means)
        away = ((pictures[:, None] - means) ** 2).sum(axis=2)
        return float((away.argmin(axis=1) == people).mean())

    def picture(self, row: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """A row as an image, of shape (height, width), in 0 … 1."""
        return (np.asarray(row, dtype=np.float64).reshape(self.shape) + 1) / 2


@lru_cache(maxsize=1)
def att() -> Faces:
    """The AT&T faces, 10 pictures of each of 40 people; 7 train, 3 test.

    Raises
    ------
    DataError
        They cannot be found.
    """
    data = load("faces")
    pixels, person = data.X.to_numpy(dtype=np.float64) / 127.5 - 1.0, data.y.to_numpy(dtype=np.int64)
    train, test, who, who_test = train_test_split(pixels, person, test_size=0.3, stratify=person, random_state=0)
    return Faces(train, test, who, who_test, (112, 92))


def run(seeds: Sequence[int] = SEEDS, datasets: Sequence[str] = DATASETS, progress: Told | None = None) -> Table:
    """Compare extraction and inversion here with the paper's method run here, and with the printed figures.

    Parameters
    ----------
    seeds : sequence of int
        One extraction each; the paper's method, which takes minutes, runs with the first alone.
    datasets : sequence of str
        ``faces``.
    progress : callable, optional
        Told of each step.

    Raises
    ------
    UsageError
        Another data set.
    DataError
        The faces cannot be found.
    """
    if set(datasets) != set(DATASETS):
        raise UsageError(f"faces runs on the data set 'faces' alone, not on {', '.join(map(repr, datasets))}")
    return compare(att(), seeds, progress)


def _silent(step: str, done: int = 0, of: int = 0) -> None:
    """Tell nobody."""


def compare(faces: Faces, seeds: Sequence[int] = SEEDS, progress: Told | None = None) -> Table:
    """Compare on these pictures; `run` takes the AT&T faces."""
    told = progress or _silent
    told("faces: training the target")
    oracle = ModelOracle(faces.target, faces.space)
    evaluation = Evaluation.of(oracle, faces.X_test, N_UNIFORM)
    people = np.arange(len(faces.means))
    d = len(faces.space)

    def row(method: str, runs: Sequence[tuple[Run, float]], pictures: Sequence[Rows]) -> Row:
        fidelities = [evaluation.measure(run.model) for run, _ in runs if run.model is not None]
        return _row(faces, method, runs, fidelities, _found(faces, pictures, people))

    ours = []
    for seed in seeds:
        told(f"faces: {OURS}, seed {seed}")
        ours.append(_alone(Logistic(), faces, seed, budget=2 * d))
    copies = [_inverted(run.model, people) for run, _ in ours]
    rows = [row(OURS, ours, copies)]

    told(f"faces: {PAPERS}, {d + 1:,} queries")
    paper = [_alone(EquationSolving(alpha=1 / len(people), steps_most=_PAPERS_STEPS), faces, seeds[0], budget=2 * d)]
    papers = [_inverted(run.model, people) for run, _ in paper]
    line = row(PAPERS, paper, papers)
    rows.append(replace(line, note=f"{line.note}: {paper[0][0].reason}"))
    if faces.shape == (112, 92):
        rows.append(replace(_printed(41_216, 36_000), r_tv_unif=Spread(1e-3, 1e-3), note="§4.1.4; R_TV is about"))

    shown = people[:_SHOWN]
    equal = [_black_box(oracle, people, max(_SEARCH + 2, (d + 1) // len(people)), seed, told) for seed in seeds]
    rows.append(_black_row(faces, EQUAL, equal, people))
    dear = _black_box(oracle, shown, 2 * d + _SEARCH, seeds[0], told)
    rows.append(_black_row(faces, DEARER, [dear], shown))
    if faces.shape == (112, 92):
        rows.append(replace(_printed(800_000, 57_600), note="§4.1.4, black box; both figures are about"))

    told("faces: pictures")
    own = LogisticModel(faces.space, tuple(people.tolist()), faces.target.coef_, faces.target.intercept_, "softmax")
    sources = {
        "the target": _inverted(own, people),
        "the copy": copies[0],
        "the paper's copy": papers[0],
        "black box, equal queries": equal[0][0],
        "black box, 2d queries": dear[0],
    }
    asked = ("none", f"{d + 1:,}", f"{d + 1:,}", f"{equal[0][1]:,}", f"{dear[1]:,}")
    table: list[tuple[str, ...]] = [("inverted from", "queries", "found", "found by correlation")]
    for (name, pictures), queries in zip(sources.items(), asked, strict=True):
        count = len(pictures)
        shares = [faces.found(pictures, people[:count], correlated=correlated) for correlated in (False, True)]
        table.append((name, queries, *(f"{share * count:.0f} of {count}" for share in shares)))
    first = np.array([faces.X_train[faces.y_train == k][0] for k in people])
    title = f"Faces: a softmax over {d:,} pixels, and what its copy shows"
    return Table("faces", title, tuple(rows), page(first, sources, faces.picture, table, 2 * d + _SEARCH))


def _alone(attack: Attack, faces: Faces, seed: int, budget: int) -> tuple[Run, float]:
    """Run an attack in a process of its own; the second value is the most memory that it held, in GiB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_extracted, attack, faces.target, faces.space, seed, budget).result()


def _extracted(attack: Attack, target: Any, space: FeatureSpace, seed: int, budget: int) -> tuple[Run, float]:
    run = extract(ModelOracle(target, space), attack, budget=budget, seed=seed, curve=False)
    return run, _peak()


def _peak() -> float:
    """The most memory that this process ever held, in GiB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells of a child may be its parent's
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _inverted(model: Any, people: npt.NDArray[np.int64]) -> Rows:
    return np.array([invert(model, int(label)).row for label in people])


def _black_box(
    oracle: ModelOracle, people: npt.NDArray[np.int64], budget: int, seed: int, told: Told
) -> tuple[Rows, int, float]:
    """Invert each person through the oracle: pictures, queries in all, seconds."""
    runs = []
    for label in people.tolist():
        told(f"faces: black box, {budget:,} queries, person {label}, seed {seed}")
        runs.append(extract(oracle, Inversion(label), budget=budget, seed=seed, curve=False))
    pictures = np.array([run.evidence["row"] for run in runs])
    return pictures, sum(run.queries for run in runs), sum(run.seconds for run in runs)


def _row(
    faces: Faces,
    method: str,
    runs: Sequence[tuple[Run, float]],
    fidelities: Sequence[Fidelity],
    found: Spread,
) -> Row:
    def spread(name: str) -> Spread:
        return Spread.of([getattr(fidelity, name) for fidelity in fidelities])

    seconds = Spread.of([run.seconds for run, _ in runs])
    return Row(
        dataset="faces",
        model="softmax",
        method=method,
        inputs="one-hot",
        unknowns=len(faces.means) * (len(faces.space) + 1),
        queries=Spread.of([run.queries for run, _ in runs]),
        r_test=spread("r_test"),
        r_unif=spread("r_unif"),
        r_tv_test=spread("r_tv_test"),
        r_tv_unif=spread("r_tv_unif"),
        seconds=seconds,
        selection=max(run.selection for run, _ in runs),
        seeds=len(runs),
        n_test=len(faces.X_test),
        n_uniform=N_UNIFORM,
        note=", ".join(sorted({run.outcome.value for run, _ in runs})),
        extra={"found": found, "GiB": Spread.of([peak for _, peak in runs])},
    )


def _black_row(
    faces: Faces, method: str, runs: Sequence[tuple[Rows, int, float]], people: npt.NDArray[np.int64]
) -> Row:
    seconds = Spread.of([seconds for _, _, seconds in runs])
    return Row(
        dataset="faces",
        model="softmax",
        method=method,
        inputs="one-hot",
        unknowns=len(faces.means) * (len(faces.space) + 1),
        queries=Spread.of([queries for _, queries, _ in runs]),
        seconds=seconds,
        seeds=len(runs),
        note=f"no copy; {len(people)} people, each asked for anew",
        extra={"found": _found(faces, [pictures for pictures, _, _ in runs], people)},
    )


def _printed(queries: int, seconds: float) -> Row:
    """A line of the paper's; 40 people, 412,200 unknowns with their biases."""
    took = Spread(seconds, seconds)
    asked = Spread(queries, queries)
    return Row("faces", "softmax", PRINTED, "one-hot", 412_200, asked, seconds=took)


def _found(faces: Faces, pictures: Sequence[Rows], people: npt.NDArray[np.int64]) -> Spread:
    """The shares of people found: the median over seeds, and the worst, which is the lowest."""
    shares = [faces.found(rows, people) for rows in pictures]
    return Spread(statistics.median(shares), min(shares))


def _standard(rows: Rows) -> Rows:
    """Rows with mean 0 and length 1, whose distances tell of nothing but their correlation."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))
