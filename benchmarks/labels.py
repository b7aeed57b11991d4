"""What labels alone give away of binary linear models: fidelity against queries a parameter.

``python -m benchmarks.labels`` runs `halfspace` on random planes and on the targets of `filch reproduce binary-lr`;
``--only`` chooses parts, ``--quick`` takes 20,000 uniform rows, two seeds and the small sets. Queries are those of the
attack account, without `check`. Seconds are CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import filch
from filch.attacks.halfspace import Halfspace
from filch.attacks.linear.design import Design
from filch.attacks.lowd_meek import LowdMeek
from filch.core.answers import Answers
from filch.core.attack import Ask, Attack, Steps, overheard
from filch.core.encoding import OneHot
from filch.core.models import class_index
from filch.core.oracle import ModelOracle, Oracle, OracleSpec, Reveal
from filch.core.seeds import stream
from filch.models.logistic import LogisticModel
from filch.paper.binary_lr import DATASETS
from filch.paper.targets import Inputs, target
from filch.testing.wrappers import Flipping

OUT = Path("out/bench/labels.json")
PARTS = ("planes", "datasets", "one-hot", "flips", "batches", "seconds", "lowd-meek")
SMALL = ("circles", "moons", "breast-cancer", "diabetes")
_BLOCK = 50_000
Line = dict[str, Any]


@dataclass(frozen=True)
class Plane:
    """A random linear target over the encoded view of a space."""

    space: filch.FeatureSpace
    coef: tuple[float, ...]
    bias: float
    classes_ = np.array(["no", "yes"])

    def predict(self, rows: Any) -> npt.NDArray[Any]:
        """The class of each raw row."""
        coded = self.space.encode(rows)
        return self.classes_[(OneHot(self.space).encode(coded) @ np.array(self.coef) + self.bias > 0).astype(int)]


@dataclass(frozen=True)
class Case:
    """A target, and its weights and bias over the scaled view where they are known."""

    name: str
    oracle: ModelOracle
    truth: npt.NDArray[np.float64] | None = None


def plane(space: filch.FeatureSpace, seed: int, name: str) -> Case:
    """Normal weights, and a bias that splits uniform rows near the middle."""
    rng, view = stream(seed, "plane"), OneHot(space)
    coef = rng.standard_normal(view.width)
    scores = view.encode(space.sample(4_000, rng)) @ coef
    bias = float(-np.median(scores) + 0.3 * scores.std() * rng.standard_normal())
    oracle = ModelOracle(Plane(space, tuple(coef.tolist()), bias), space, reveal="labels")
    return Case(name, oracle, None if space.categorical.any() else np.append(coef, bias))


def box(d: int) -> filch.FeatureSpace:
    """Numbers from −1 to 1."""
    return filch.FeatureSpace.box(-np.ones(d), np.ones(d))


def categories(d: int) -> filch.FeatureSpace:
    """Columns of two to five categories."""
    return filch.FeatureSpace(tuple(filch.Categorical(f"c{j}", tuple("abcde")[: 2 + j % 4]) for j in range(d)))


def paper(dataset: str, inputs: Inputs) -> Case:
    """A target of `filch reproduce binary-lr`, behind labels."""
    found = target(dataset, "binary", inputs)
    space, model = found.oracle.spec.space, found.oracle.model
    truth = None
    if inputs == "one-hot":
        view, varies = OneHot(space), space.high > space.low
        raw = model.coef_[0]
        truth = np.append(
            np.where(varies, raw * view.scale, 0.0), float(model.intercept_[0]) + float(raw @ view.centre)
        )
    return Case(f"{dataset}, {inputs}", ModelOracle(model, space, reveal=Reveal("labels")), truth)


@dataclass(frozen=True)
class Marked:
    """An attack that keeps the models after so many rows: what runs of these budgets would return."""

    attack: Attack
    counts: tuple[int, ...]
    kept: dict[int, LogisticModel] = field(default_factory=dict)

    def needs(self, spec: OracleSpec) -> str | None:
        """What the attack needs."""
        return self.attack.needs(spec)

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Run the attack, and keep its snapshots."""
        paid = 0

        def note(ask: Ask, answers: Answers) -> None:
            nonlocal paid
            paid += len(answers) if ask.account == "attack" else 0

        def seen(ask: Ask) -> None:
            for count in self.counts:
                if count not in self.kept and paid + len(ask.rows) > count and ask.snapshot is not None:
                    model = ask.snapshot()
                    assert isinstance(model, LogisticModel)
                    self.kept[count] = model

        steps = overheard(self.attack.steps(spec, rng, budget=budget, known=known), note)
        ask = next(steps)
        while True:
            seen(ask)
            try:
                ask = steps.send((yield ask))
            except StopIteration as stop:
                for count in self.counts:
                    self.kept.setdefault(count, stop.value.model)
                return stop.value


def unknowns(case: Case) -> int:
    """The number of parameters: free encoded columns, and the bias."""
    return Design(case.oracle.spec.space).size


def curve(case: Case, attack: Attack, per: Sequence[float], seed: int, share: float = 0.0) -> list[LogisticModel]:
    """The models after ``per`` queries a parameter, of one run."""
    counts = tuple(int(p * unknowns(case)) for p in per)
    oracle: Oracle = Flipping(case.oracle, share, seed) if share else case.oracle
    marked = Marked(attack, counts)
    filch.extract(oracle, attack=marked, budget=counts[-1] + 1, seed=seed, curve=False)
    return [marked.kept[count] for count in counts]


def disagreements(case: Case, models: Sequence[LogisticModel], n: int, seed: int) -> list[float]:
    """R_unif of each model, on the same n uniform rows."""
    space, classes = case.oracle.spec.space, case.oracle.spec.classes
    wrong = np.zeros(len(models))
    for block in range(n // min(_BLOCK, n)):
        rows = space.sample(min(_BLOCK, n), stream(seed, "uniform", str(block)))
        truth = case.oracle.ask(rows).labels
        wrong += [(class_index(model.predict(rows), classes) != truth).sum() for model in models]
    return [float(w) / n for w in wrong]


def angle(case: Case, model: LogisticModel) -> float | None:
    """The angle between the copy's and the target's (w, β), over the scaled view."""
    if case.truth is None:
        return None
    found = np.append(model.coef_[0], model.intercept_[0])
    return float(np.linalg.norm(found / np.linalg.norm(found) - case.truth / np.linalg.norm(case.truth)))


def measured(
    cases: Sequence[Case], attack: Attack, per: Sequence[float], n: int, seeds: Sequence[int], share: float = 0.0
) -> Iterator[Line]:
    """One line for each count: median and worst over seeds. ``cases`` holds one target, or one a seed."""
    runs = []
    for place, seed in enumerate(seeds):
        case = cases[place % len(cases)]
        models = curve(case, attack, per, seed, share)
        runs.append(list(zip(disagreements(case, models, n, seed), (angle(case, m) for m in models), strict=True)))
    for place, p in enumerate(per):
        errors = [run[place][0] for run in runs]
        angles = [turn for run in runs if (turn := run[place][1]) is not None]
        line: Line = {"target": cases[0].name, "parameters": unknowns(cases[0]), "queries a parameter": p, "n": n}
        line |= {"R_unif": float(np.median(errors)), "worst": max(errors)}
        if angles:
            line |= {"angle": float(np.median(angles)), "worst angle": max(angles)}
        yield line


def sharp(**settings: Any) -> Halfspace:
    """The attack as it is measured: it ends with its queries only."""
    return Halfspace(**{"precision": 1e-11, "check": 0, **settings})


# ── the parts ───────────────────────────────────────────────────────────────────────────────────────────────

PER = (7, 11, 17, 45)


def part(name: str, n: int, seeds: Sequence[int], datasets: Sequence[str]) -> Iterator[Line]:
    """The lines of one part."""
    if name == "planes":
        for d in (10, 30, 100):
            yield from measured([plane(box(d), s, f"random plane, d = {d}") for s in seeds], sharp(), PER, n, seeds)
    elif name == "datasets":
        for dataset in datasets:
            yield from measured([paper(dataset, "one-hot")], sharp(), PER, n, seeds)
    elif name == "one-hot":
        per = tuple(round(1.3 * p, 1) for p in PER[:3])
        for d in (10, 30):
            cases = [plane(categories(d), s, f"random plane, {d} columns of categories") for s in seeds]
            yield from measured(cases, sharp(), per, n, seeds)
        for dataset in datasets:
            yield from measured([paper(dataset, "raw")], sharp(), per, n, seeds)
    elif name == "flips":
        for flips in (0.1, None):
            cases = [plane(box(20), s, f"random plane, d = 20, flips={flips}") for s in seeds]
            yield from measured(cases, sharp(flips=flips), (10, 20, 40), min(n, 100_000), seeds, share=0.1)
        for dataset in datasets:
            case = paper(dataset, "one-hot")
            yield from measured([case], sharp(flips=0.1), (40,), min(n, 100_000), seeds, share=0.1)
    elif name == "batches":
        for d in (10, 30):
            for batch in (1, 8, 32):
                cases = [plane(box(d), s, f"random plane, d = {d}, batch={batch}") for s in seeds]
                yield from measured(cases, sharp(batch=batch), (7, 9, 11, 14, 17, 22), n, seeds)
    elif name == "lowd-meek":
        for d in (10, 30, 100):
            cases = [plane(box(d), s, f"random plane, d = {d}, lowd-meek") for s in seeds]
            for precision in (0.1, 1e-2, 1e-3, 1e-4, 1e-6):
                yield lowd_meek(cases, precision, n, seeds)
    else:
        for d in (10, 100, 300):
            yield seconds(plane(box(d), 0, f"random plane, d = {d}"))


def lowd_meek(cases: Sequence[Case], precision: float, n: int, seeds: Sequence[int]) -> Line:
    """What line searches of a precision reach, and cost."""
    per, errors, angles = [], [], []
    for case, seed in zip(cases, seeds, strict=True):
        run = filch.extract(case.oracle, LowdMeek(precision=precision, check=0), budget=10**6, seed=seed, curve=False)
        assert isinstance(run.model, LogisticModel)
        per.append(run.queries / unknowns(case))
        errors += disagreements(case, [run.model], n, seed)
        angles.append(angle(case, run.model) or 0.0)
    line: Line = {"target": cases[0].name, "parameters": unknowns(cases[0])}
    line |= {"queries a parameter": round(float(np.median(per)), 1), "n": n}
    line |= {"R_unif": float(np.median(errors)), "worst": max(errors)}
    return {**line, "angle": float(np.median(angles)), "worst angle": max(angles)}


def seconds(case: Case) -> Line:
    """CPU time a query, over the first seven queries a parameter."""
    count = 7 * unknowns(case)
    start = time.process_time()
    filch.extract(case.oracle, sharp(), budget=count, curve=False)
    spent = 1_000 * (time.process_time() - start) / count
    return {
        "target": case.name,
        "parameters": unknowns(case),
        "queries a parameter": 7,
        "CPU ms a query": round(spent, 2),
    }


def main() -> None:
    """Run the parts, print their tables, write their lines as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 uniform rows, two seeds, small sets")
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part only (may be given again)")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, help="of the paper's sets, these")
    chosen = parser.parse_args()
    console = Console(width=160)
    n, seeds = (20_000, range(2)) if chosen.quick else (1_000_000, range(5))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    for name in chosen.only or PARTS:
        lines = []
        for line in part(name, n, seeds, chosen.datasets or (SMALL if chosen.quick else DATASETS)):
            print(*(f"{v:.2g}" if isinstance(v, float) else v for v in line.values()), flush=True)
            lines.append(line)
        console.print(table(name, lines))
        facts = {"load": os.getloadavg()[0], "processors": os.cpu_count(), "lines": lines}
        OUT.with_stem(f"labels-{name}").write_text(json.dumps(facts, indent=2) + "\n")


def table(name: str, lines: Sequence[Line]) -> Table:
    """The lines of a part, as a table."""
    keys = list(dict.fromkeys(key for line in lines for key in line))
    shown: Callable[[Any], str] = lambda v: f"{v:.2g}" if isinstance(v, float) else str(v)  # noqa: E731
    out = Table(*keys, title=f"Labels alone: {name}")
    for line in lines:
        out.add_row(*(shown(line.get(key, "")) for key in keys))
    return out


if __name__ == "__main__":
    main()
