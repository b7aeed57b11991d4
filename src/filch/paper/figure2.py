"""Training rows out of kernel logistic regression: [Tramèr16, Fig. 2 and §4.1.3], on Digits.

Figure 2a: the representers of a target that has 20 of them, and of others that have more. Figure 2b: what ten
representers become when they are fitted to a target that has all 1,257 training rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from filch.attacks.kernel_logistic import KernelLogistic
from filch.attacks.kernel_sgd import KernelSGD
from filch.core.attack import Attack
from filch.core.digest import describe
from filch.core.encoding import OneHot
from filch.errors import UsageError
from filch.evaluate import Evaluation
from filch.extraction import extract
from filch.models.kernel import KernelModel
from filch.paper.cells import Cell, Result, Told, run_cells
from filch.paper.compare import MEASURES, N_UNIFORM, OURS, PAPERS, PRINTED, SEEDS
from filch.paper.gallery import Gallery, Picture, Section
from filch.paper.kernel_target import KernelTarget, kernel_target
from filch.paper.sources import modules_of
from filch.paper.tables import Row, Spread, Table

Floats = npt.NDArray[np.float64]
DATASETS = ("digits-20", "digits-50", "digits-100", "digits-200", "digits-300", "digits-all")
"""Digits, with so many training rows as the target's representers."""
_CASES: dict[str, tuple[int | None, tuple[int, ...]]] = {  # representers, and 1/γ
    "digits-20": (20, (64, 32)),
    "digits-50": (50, (64,)),
    "digits-100": (100, (64,)),
    "digits-200": (200, (64,)),
    "digits-300": (300, (64,)),
    "digits-all": (None, (32,)),
}
_LOCAL = 10  # representers of the copy in Figure 2b
_QUERIES = {"digits-20": 5_000, "digits-all": 1_000}  # of the paper's method
_STEPS = 5_000  # of the paper's method
_MOST_LOOKED_FOR = 300  # representers that ours looks for
_GIVEN_UP = 20  # the same against a target that has more than can be told
_SHOWN = 20  # images of a section
_SIDE, _WHITE = 8, 16.0  # pixels of an image's side, and the brightest of them
_RANGE = 2.0  # of a pixel in the one-hot view


@dataclass(frozen=True)
class _Case:
    """A method against Digits with so many representers, and γ = 1/width."""

    name: str
    width: int
    method: str
    attack: Attack

    def target(self, seed: int) -> KernelTarget:
        """What it extracts."""
        count = _CASES[self.name][0]
        return kernel_target("digits", count, 1 / self.width, 0 if count is None else seed)

    def cell(self, seed: int) -> Cell:
        """One seed of it."""
        settings = {
            "target": self.target(seed).oracle.fingerprint(),
            "attack": describe(self.attack),
            "seed": seed,
            "n_uniform": N_UNIFORM,
        }
        shown = f"{self.name}, γ = 1/{self.width}: {self.method}, seed {seed}"
        return Cell(shown, settings, partial(_extract, self, seed), (__name__, *modules_of(self.attack)))


@dataclass(frozen=True, eq=False)
class _Found:
    """What one method found with one seed."""

    point: Result
    truth: Floats
    nearest: Floats
    """For each true image, the recovered one that is nearest."""

    @property
    def off(self) -> Floats:
        """Differences of pixels, as shares of their range."""
        return np.abs(self.nearest - self.truth) / _RANGE


def run(
    seeds: Sequence[int] = SEEDS,
    datasets: Sequence[str] = DATASETS,
    results: str | Path | None = None,
    jobs: int = 1,
    progress: Told | None = None,
    steps: int = _STEPS,
) -> Table:
    """Compare this tool, which is told neither s nor γ, with the paper's gradient descent, which is told both.

    Parameters
    ----------
    seeds, datasets, results, jobs, progress
        See `filch.paper.Reproduction`, errors too. A seed stands for a target with representers of its own, and one
        extraction by each method; ``digits-all`` has one target, and so many extractions.
    steps : int
        The most steps of the paper's method.
    """
    unknown = [name for name in datasets if name not in DATASETS]
    if unknown:
        raise UsageError(f"no data set {unknown[0]!r} here: choose {', '.join(DATASETS)}")
    cases = [case for name in datasets for case in _cases(name, steps)]
    points = iter(run_cells([case.cell(seed) for case in cases for seed in seeds], results, jobs, progress))
    found = [(case, [_found(case, seed, next(points)) for seed in seeds]) for case in cases]
    rows, sections = list[Row](), list[Section]()
    for (name, width), group in groupby(found, lambda pair: (pair[0].name, pair[0].width)):
        methods = {case.method: its for case, its in group}
        target = kernel_target("digits", _CASES[name][0], 1 / width, seeds[0])
        rows += [_row(target, method, its) for method, its in methods.items()]
        rows += _printed(name, width, target)
        sections.append(_section(name, width, target, {method: its[0] for method, its in methods.items()}))
    intro = (
        "A kernel logistic regression holds training rows. Each group shows a row that the target holds, then what "
        "came out of its answers to queries that resemble no digit."
    )
    gallery = Gallery("Training rows out of kernel logistic regression", intro, sections)
    return Table("figure2", "Training rows out of kernel logistic regression on Digits", tuple(rows), gallery)


def _cases(name: str, steps: int) -> Iterator[_Case]:
    count, widths = _CASES[name]
    for width in widths:
        ours = KernelLogistic(_GIVEN_UP if count is None else _MOST_LOOKED_FOR, _LOCAL)
        yield _Case(name, width, OURS, ours)
        if name in _QUERIES:
            copies = _LOCAL if count is None else count
            yield _Case(name, width, PAPERS, KernelSGD(copies, 1 / width, _QUERIES[name], steps, check=0))


def _extract(case: _Case, seed: int) -> Result:
    """Extract once, and measure: JSON-able values."""
    target = case.target(seed)
    run = extract(target.oracle, case.attack, budget=100_000, seed=seed, curve=False)
    point: Result = {
        "queries": run.queries,
        "selection": run.selection,
        "seconds": run.seconds,
        "outcome": run.outcome.value,
        "nearest": None,
        **dict.fromkeys(MEASURES),
    }
    if isinstance(run.model, KernelModel):
        recovered = run.model.representers_
        apart = ((_truth(target)[:, None] - recovered) ** 2).sum(axis=2)
        point["nearest"] = recovered[apart.argmin(axis=1)].tolist()
        fidelity = Evaluation.of(target.oracle, target.X_test, N_UNIFORM).measure(run.model)
        point |= {name: getattr(fidelity, name) for name in MEASURES}
    return point


def _found(case: _Case, seed: int, point: Result) -> _Found:
    truth = _truth(case.target(seed))
    nearest = np.full_like(truth, np.inf) if point["nearest"] is None else np.array(point["nearest"])
    return _Found(point, truth, nearest)


def _truth(target: KernelTarget) -> Floats:
    """What is to be recovered: representers, or the average of each class where all rows are representers."""
    rows, labels = target.model.representers_, target.model.labels_
    if target.model.representers is not None:
        return rows
    return np.array([rows[labels == name].mean(axis=0) for name in target.model.classes_])


def _row(target: KernelTarget, method: str, found: Sequence[_Found]) -> Row:
    points = [one.point for one in found]

    def spread(measure: str) -> Spread | None:
        values = [point[measure] for point in points]
        return None if None in values else Spread.of(values)

    rms = Spread.of([float(np.sqrt((one.off**2).mean())) for one in found])
    return Row(
        dataset="digits",
        model=_model_name(target),
        method=method,
        inputs="one-hot",
        unknowns=target.unknowns,
        queries=Spread.of([point["queries"] for point in points]),
        r_test=spread("r_test"),
        r_unif=spread("r_unif"),
        r_tv_test=spread("r_tv_test"),
        r_tv_unif=spread("r_tv_unif"),
        seconds=spread("seconds"),
        selection=max(point["selection"] for point in points),
        seeds=len(points),
        n_test=len(target.X_test),
        n_uniform=N_UNIFORM,
        note=", ".join(sorted({point["outcome"] for point in points})) + f"; rms {rms.median:.1e} ({rms.worst:.1e})",
        extra={"worst pixel": Spread.of([float(one.off.max()) for one in found])},
    )


def _printed(name: str, width: int, target: KernelTarget) -> list[Row]:
    if name not in _QUERIES or width != _CASES[name][1][0]:
        return []
    queries, note = _QUERIES[name], "Figure 2a: recognisable copies of training digits"
    if name == "digits-all":
        note = "Figure 2b: ten representers become average digits"
    both = Spread(queries, queries)
    return [Row("digits", _model_name(target), PRINTED, "one-hot", target.unknowns, both, note=note)]


def _model_name(target: KernelTarget) -> str:
    return f"s = {len(target.model.representers_):,}, γ = 1/{1 / target.model.gamma:.0f}"


def _section(name: str, width: int, target: KernelTarget, found: dict[str, _Found]) -> Section:
    """The images of the first seed: the truth, then what each method found."""
    truth = next(iter(found.values())).truth
    images: list[Picture] = []
    for place in range(min(_SHOWN, len(truth))):
        label = target.model.classes_[place] if name == "digits-all" else target.model.labels_[place]
        images.append(
            (f"{'average' if name == 'digits-all' else 'training row'}, a {label}", _image(target, truth[place]))
        )
        for method, one in found.items():
            images.append(
                (f"{method}: rms {np.sqrt((one.off[place] ** 2).mean()):.0e}", _image(target, one.nearest[place]))
            )
    table = [("method", "queries", "worst pixel", "rms")]
    for method, one in found.items():
        worst, rms = one.off.max(), np.sqrt((one.off**2).mean())
        table.append((method, f"{one.point['queries']:,}", f"{worst:.1e}", f"{rms:.1e}"))
    if name == "digits-all":
        text = (
            f"The target stands on all {len(target.model.representers_):,} training rows, each copy on {_LOCAL} "
            "representers. The average row of each class, and the representer of each copy that is nearest to it."
        )
        return Section(f"Ten representers, γ = 1/{width}", text, images, 1 + len(found), table)
    count = len(truth)
    text = (
        f"The first {min(_SHOWN, count)} of {count} rows that the target holds. Errors are shares of a pixel's range."
    )
    return Section(f"{count} representers, γ = 1/{width}", text, images, 1 + len(found), table)


def _image(target: KernelTarget, row: Floats) -> Floats:
    """A row of the one-hot view as the image that it was, 0 … 1."""
    pixels = OneHot(target.study.space).decode(row[None])[0] / _WHITE
    return np.asarray(pixels.reshape(_SIDE, _SIDE))
