"""What labels alone give away of binary linear models: fidelity against queries a parameter.

``python -m benchmarks.labels`` runs `halfspace` on random planes and on the targets of `filch reproduce binary-lr`;
``--only`` chooses parts, ``--quick`` takes 20,000 uniform rows, two seeds and the small sets. Queries are those of the
attack account, without `check`. Seconds are CPU time. What an earlier run of the same code measured is taken from
``out/bench/labels-cells.json``.
"""

from __future__ import annotations

import argparse
import hashlib
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
from sklearn.svm import SVC

import filch
from filch.attacks.halfspace import Halfspace
from filch.attacks.linear.design import Design
from filch.attacks.lowd_meek import LowdMeek
from filch.core.answers import Answers
from filch.core.attack import Ask, Attack, Steps, overheard
from filch.core.encoding import OneHot
from filch.core.models import ExtractedModel, class_index
from filch.core.oracle import ModelOracle, Oracle, OracleSpec, Reveal
from filch.core.seeds import stream
from filch.models.logistic import LogisticModel
from filch.models.polynomial import Monomials
from filch.paper.binary_lr import DATASETS
from filch.paper.targets import Inputs, target
from filch.testing.wrappers import Flipping

OUT = Path("out/bench/labels.json")
CELLS = OUT.with_name("labels-cells.json")
ATTACKS = Path(filch.__file__).parent / "attacks"
_OWN = (
    "asking",
    "contradiction",
    "conversation",
    "curves",
    "design",
    "halfspaces",
    "halver",
    "halving",
    "hyperplane",
    "jumps",
    "surface",
)
CODE = ("halfspace.py", "lowd_meek.py", *(f"linear/{name}.py" for name in _OWN))
PARTS = ("planes", "datasets", "one-hot", "flips", "batches", "seconds", "lowd-meek", "polynomials")
SMALL = ("circles", "moons", "breast-cancer", "diabetes")
_BLOCK = 50_000
_SPARE = 200  # queries beyond the last point, for rows in the selection account
Line = dict[str, Any]
Cell = list[tuple[float, float | None]]


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


def kept(name: str, run: Callable[[], Cell]) -> Cell:
    """Run a cell, or take what an earlier run of the same code found: a broken run goes on where it was."""
    code = hashlib.sha256(b"".join((ATTACKS / part).read_bytes() for part in CODE)).hexdigest()[:12]
    cells = json.loads(CELLS.read_text()) if CELLS.exists() else {}
    name = f"{code} | {name}"
    if name not in cells:
        cells[name] = run()
        CELLS.write_text(json.dumps(cells, indent=1))
    found: Cell = cells[name]
    return found


def unknowns(case: Case) -> int:
    """The number of parameters: free encoded columns, and the bias."""
    return Design(case.oracle.spec.space).size


def curve(case: Case, attack: Attack, per: Sequence[float], seed: int, share: float = 0.0) -> list[LogisticModel]:
    """The models after ``per`` queries a parameter, of one run."""
    counts = tuple(int(p * unknowns(case)) for p in per)
    oracle: Oracle = Flipping(case.oracle, share, seed) if share else case.oracle
    marked = Marked(attack, counts)
    filch.extract(oracle, attack=marked, budget=counts[-1] + _SPARE, seed=seed, curve=False)
    return [marked.kept[count] for count in counts]


def disagreements(case: Case, models: Sequence[ExtractedModel], n: int, seed: int) -> list[float]:
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

        def run(case: Case = case, seed: int = seed) -> Cell:
            models = curve(case, attack, per, seed, share)
            return list(zip(disagreements(case, models, n, seed), (angle(case, m) for m in models), strict=True))

        runs.append(kept(f"{case.name} | {attack} | {list(per)} | {n} | {share} | {seed}", run))
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
            case = paper(dataset, "raw")
            if case.oracle.spec.space.categorical.any():
                yield from measured([case], sharp(), per, n, seeds)
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
    elif name == "polynomials":
        for degree in (2, 3):
            for dataset in ("breast-cancer", "diabetes"):
                case = polynomial(dataset, degree)
                for attack in (LowdMeek(degree=degree), Halfspace(degree=degree, precision=1e-4)):
                    yield ended([case], attack, n, seeds)
    elif name == "lowd-meek":
        for d in (10, 30, 100):
            cases = [plane(box(d), s, f"random plane, d = {d}, lowd-meek") for s in seeds]
            for precision in (0.1, 1e-2, 1e-3, 1e-4, 1e-6):
                yield ended(cases, LowdMeek(precision=precision, check=0), n, seeds)
    else:
        for d in (10, 100, 300):
            yield seconds(plane(box(d), 0, f"random plane, d = {d}"))


def polynomial(dataset: str, degree: int) -> Case:
    """An SVM with a polynomial kernel, fitted to a set of Table 3, behind labels."""
    study = target(dataset, "binary").study
    model = SVC(kernel="poly", degree=degree, gamma="scale", coef0=1.0).fit(study.X_train, study.y_train)
    return Case(f"{dataset}, kernel of degree {degree}", ModelOracle(model, study.direct_space, reveal="labels"))


def ended(cases: Sequence[Case], attack: LowdMeek | Halfspace, n: int, seeds: Sequence[int]) -> Line:
    """What an attack reaches, and costs, that ends by itself."""
    runs: list[Cell] = []
    d = Design(cases[0].oracle.spec.space).size - 1
    size = Monomials.count(d, attack.degree)
    for place, seed in enumerate(seeds):
        case = cases[place % len(cases)]

        def run(case: Case = case, seed: int = seed) -> Cell:
            found = filch.extract(case.oracle, attack, budget=10**6, seed=seed, curve=False)
            turn = angle(case, found.model) if isinstance(found.model, LogisticModel) else None
            assert found.model is not None
            return [(disagreements(case, [found.model], n, seed)[0], turn), (found.queries / size, found.requests)]

        runs.append(kept(f"{case.name} | {attack} | {n} | {seed}", run))
    errors, per, requests = [r[0][0] for r in runs], [r[1][0] for r in runs], [float(r[1][1] or 0) for r in runs]
    label = f"{cases[0].name}, {type(attack).__name__}({attack.precision:g})"
    line: Line = {"target": label, "parameters": size, "queries a parameter": round(float(np.median(per)), 1)}
    line |= {"n": n, "R_unif": float(np.median(errors)), "worst": max(errors), "requests": int(np.median(requests))}
    angles = [turn for r in runs if (turn := r[0][1]) is not None]
    return {**line, "angle": float(np.median(angles)), "worst angle": max(angles)} if angles else line


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
    parser.add_argument("--uniform", type=int, help="so many uniform rows")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, help="of the paper's sets, these")
    chosen = parser.parse_args()
    console = Console(width=160)
    n, seeds = (20_000, range(2)) if chosen.quick else (1_000_000, range(5))
    n = chosen.uniform or n
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
