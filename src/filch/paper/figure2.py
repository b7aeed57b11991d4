"""Training rows out of kernel logistic regression: [Tramèr16, Fig. 2 and §4.1.3], on Digits.

Figure 2a: the representers of a target that has 20 of them, and of others that have more. Figure 2b: what ten
representers become when they are fitted to a target that has all 1,257 training rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.attacks.kernel_logistic import KernelLogistic
from filch.attacks.kernel_sgd import KernelSGD
from filch.core.attack import Attack
from filch.core.encoding import OneHot
from filch.core.run import Run
from filch.errors import UsageError
from filch.evaluate import Evaluation, Fidelity
from filch.extraction import extract
from filch.models.kernel import KernelModel
from filch.paper.compare import N_UNIFORM, OURS, PAPERS, PRINTED, SEEDS, Told
from filch.paper.gallery import Gallery, Picture, Section
from filch.paper.kernel_target import KernelTarget, kernel_target
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


@dataclass(frozen=True, eq=False)
class _Result:
    """What one method found with one seed."""

    run: Run
    fidelity: Fidelity | None
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
    progress: Told | None = None,
    steps: int = _STEPS,
) -> Table:
    """Compare this tool, which is told neither s nor γ, with the paper's gradient descent, which is told both.

    Parameters
    ----------
    seeds, datasets, progress
        See `filch.paper.Reproduction`, errors too. A seed stands for a target with representers of its own, and one
        extraction by each method; ``digits-all`` has one target, and so many extractions.
    steps : int
        The most steps of the paper's method.
    """
    unknown = [name for name in datasets if name not in DATASETS]
    if unknown:
        raise UsageError(f"no data set {unknown[0]!r} here: choose {', '.join(DATASETS)}")
    rows, sections = list[Row](), list[Section]()
    for name in datasets:
        count, widths = _CASES[name]
        for width in widths:
            found = dict(_methods(name, count, width, seeds, progress, steps))
            target = kernel_target("digits", count, 1 / width, seeds[0])
            rows += [_row(target, method, results) for method, results in found.items()]
            rows += _printed(name, width, target)
            sections.append(_section(name, width, target, {m: results[0] for m, results in found.items()}))
    intro = (
        "A kernel logistic regression holds training rows. Each group shows a row that the target holds, then what "
        "came out of its answers to queries that resemble no digit."
    )
    gallery = Gallery("Training rows out of kernel logistic regression", intro, sections)
    return Table("figure2", "Training rows out of kernel logistic regression on Digits", tuple(rows), gallery)


def _methods(
    name: str, count: int | None, width: int, seeds: Sequence[int], progress: Told | None, steps: int
) -> Iterator[tuple[str, list[_Result]]]:
    """The results of each method, one a seed."""
    copies = _LOCAL if count is None else count
    methods: dict[str, Attack] = {OURS: KernelLogistic(_GIVEN_UP if count is None else _MOST_LOOKED_FOR, _LOCAL)}
    if name in _QUERIES:
        methods[PAPERS] = KernelSGD(copies, 1 / width, _QUERIES[name], steps, check=0)
    for method, attack in methods.items():
        results = []
        for seed in seeds:
            if progress:
                progress(f"{name}, γ = 1/{width}: {method}, seed {seed}")
            target = kernel_target("digits", count, 1 / width, 0 if count is None else seed)
            results.append(_extract(target, attack, seed))
        yield method, results


def _extract(target: KernelTarget, attack: Attack, seed: int) -> _Result:
    run = extract(target.oracle, attack, budget=100_000, seed=seed, curve=False)
    truth = _truth(target)
    nearest, fidelity = np.full_like(truth, np.inf), None
    if isinstance(run.model, KernelModel):
        recovered = run.model.representers_
        apart = ((truth[:, None] - recovered) ** 2).sum(axis=2)
        nearest = recovered[apart.argmin(axis=1)]
        fidelity = Evaluation.of(target.oracle, target.X_test, N_UNIFORM).measure(run.model)
    return _Result(run, fidelity, truth, nearest)


def _truth(target: KernelTarget) -> Floats:
    """What is to be recovered: representers, or the average of each class where all rows are representers."""
    rows, labels = target.model.representers_, target.model.labels_
    if target.model.representers is not None:
        return rows
    return np.array([rows[labels == name].mean(axis=0) for name in target.model.classes_])


def _row(target: KernelTarget, method: str, results: Sequence[_Result]) -> Row:
    found = [result.fidelity for result in results if result.fidelity is not None]

    def spread(measure: str) -> Spread | None:
        return Spread.of([getattr(fidelity, measure) for fidelity in found]) if len(found) == len(results) else None

    runs = [result.run for result in results]
    rms = Spread.of([float(np.sqrt((result.off**2).mean())) for result in results])
    return Row(
        dataset="digits",
        model=_model_name(target),
        method=method,
        inputs="one-hot",
        unknowns=target.unknowns,
        queries=Spread.of([run.queries for run in runs]),
        r_test=spread("r_test"),
        r_unif=spread("r_unif"),
        r_tv_test=spread("r_tv_test"),
        r_tv_unif=spread("r_tv_unif"),
        seconds=Spread.of([run.seconds for run in runs]),
        selection=max(run.selection for run in runs),
        seeds=len(runs),
        n_test=len(target.X_test),
        n_uniform=N_UNIFORM,
        note=", ".join(sorted({run.outcome.value for run in runs})) + f"; rms {rms.median:.1e} ({rms.worst:.1e})",
        extra={"worst pixel": Spread.of([float(result.off.max()) for result in results])},
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


def _section(name: str, width: int, target: KernelTarget, results: dict[str, _Result]) -> Section:
    """The images of the first seed: the truth, then what each method found."""
    truth = next(iter(results.values())).truth
    images: list[Picture] = []
    for place in range(min(_SHOWN, len(truth))):
        label = target.model.classes_[place] if name == "digits-all" else target.model.labels_[place]
        images.append(
            (f"{'average' if name == 'digits-all' else 'training row'}, a {label}", _image(target, truth[place]))
        )
        for method, result in results.items():
            images.append(
                (f"{method}: rms {np.sqrt((result.off[place] ** 2).mean()):.0e}", _image(target, result.nearest[place]))
            )
    table = [("method", "queries", "worst pixel", "rms")]
    for method, result in results.items():
        worst, rms = result.off.max(), np.sqrt((result.off**2).mean())
        table.append((method, f"{result.run.queries:,}", f"{worst:.1e}", f"{rms:.1e}"))
    if name == "digits-all":
        text = (
            f"The target stands on all {len(target.model.representers_):,} training rows, each copy on {_LOCAL} "
            "representers. The average row of each class, and the representer of each copy that is nearest to it."
        )
        return Section(f"Ten representers, γ = 1/{width}", text, images, 1 + len(results), table)
    count = len(truth)
    text = (
        f"The first {min(_SHOWN, count)} of {count} rows that the target holds. Errors are shares of a pixel's range."
    )
    return Section(f"{count} representers, γ = 1/{width}", text, images, 1 + len(results), table)


def _image(target: KernelTarget, row: Floats) -> Floats:
    """A row of the one-hot view as the image that it was, 0 … 1."""
    pixels = OneHot(target.study.space).decode(row[None])[0] / _WHITE
    return np.asarray(pixels.reshape(_SIDE, _SIDE))
