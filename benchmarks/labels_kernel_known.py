"""How well an RBF machine can be copied by labels alone by one who knows more of it than a thief does.

``python -m benchmarks.labels_kernel_known --only diabetes``: as in ``benchmarks.labels_kernel`` a Gaussian process
asks, but with the target's own γ, and a prior over scores ``Σ_i a_i k(x, z_i) + b`` that knows what is said of the z_i:

- ``gamma``: any z_i, the usual process;
- ``moments``: z_i are drawn from a normal distribution with the mean and the covariance of the training records;
- ``records``: z_i are the target's support vectors themselves.

``pairs`` knows where the boundary is: for each two labels a point on it, between two rows 0.02 apart, which tell hardly
less than that the score is 0 there; of them the kernels of ``gamma`` and of ``records`` make what they can.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from sklearn.svm import SVC

from benchmarks.labels_kernel import TRAINING_ROWS
from filch import FeatureSpace
from filch.attacks.committees.spread import indicators
from filch.attacks.gaussian.choose import abroad, unseen, zeros
from filch.attacks.gaussian.posterior import Kernel, Posterior
from filch.core.seeds import child
from filch.datasets import table3
from filch.paper.figure6 import DATASETS

Floats = npt.NDArray[np.float64]
Labels = Callable[[Floats], Floats]
_UNIFORM, _TYPICAL = 10_000, 2_000
_FIRST, _SHARE, _CANDIDATES, _NEAR, _OTHERS = 16, 0.1, 150, 300, 100
_WHOLE, _AGAIN, _APART = 300, 1.4, 0.02


@dataclass(frozen=True, eq=False)
class Known(Kernel):
    """A covariance of score functions of which more is known, divided by its mean over uniform rows."""

    typical_variance: float = 1.0

    def raw(self, a: Floats, b: Floats) -> Floats:
        """Covariances before they are divided, without the constant's."""
        raise NotImplementedError

    def own(self, rows: Floats) -> Floats:
        """Variances before they are divided, without the constant's."""
        raise NotImplementedError

    def between(self, a: Floats, b: Floats) -> Floats:
        """Covariances, of shape (len(a), len(b))."""
        return self.raw(a, b) / self.typical_variance + self.bias

    def alone(self, rows: Floats) -> Floats:
        """Variances, of shape (n,)."""
        return self.own(rows) / self.typical_variance + self.bias


@dataclass(frozen=True, eq=False)
class Records(Known):
    """Of sums of kernels at these records with independent coefficients."""

    records: Floats = field(default_factory=lambda: np.empty(0))

    def raw(self, a: Floats, b: Floats) -> Floats:
        """Covariances before they are divided, without the constant's."""
        return self._at(a) @ self._at(b).T

    def own(self, rows: Floats) -> Floats:
        """Variances before they are divided, without the constant's."""
        return np.asarray((self._at(rows) ** 2).sum(axis=1))

    def _at(self, rows: Floats) -> Floats:
        return Kernel(self.gamma, bias=0.0).between(rows, self.records)


@dataclass(frozen=True, eq=False)
class Moments(Known):
    """Of sums of kernels at normal records: the mean of k(a, z) k(b, z), up to a factor."""

    mean: Floats = field(default_factory=lambda: np.empty(0))
    around: Floats = field(default_factory=lambda: np.empty(0))
    """``2γ (1 + 4γ S)⁻¹`` of the covariance S."""

    @classmethod
    def of(cls, gamma: float, records: Floats, typical: float = 1.0) -> Moments:
        """Of these records' mean and covariance."""
        spread = np.cov(records.T)
        around = np.asarray(2 * gamma * np.linalg.inv(np.eye(len(spread)) + 4 * gamma * spread), dtype=np.float64)
        return cls(gamma, typical_variance=typical, mean=records.mean(axis=0), around=around)

    def raw(self, a: Floats, b: Floats) -> Floats:
        """Covariances before they are divided, without the constant's."""
        a, b = a - self.mean, b - self.mean
        pulled = a @ self.around
        middle = ((pulled * a).sum(axis=1)[:, None] + ((b @ self.around) * b).sum(axis=1) + 2 * pulled @ b.T) / 4
        return np.asarray(Kernel(self.gamma / 2, bias=0.0).between(a, b) * np.exp(-middle))

    def own(self, rows: Floats) -> Floats:
        """Variances before they are divided, without the constant's."""
        rows = rows - self.mean
        return np.asarray(np.exp(-((rows @ self.around) * rows).sum(axis=1)))


def learned(kernel: Kernel, space: FeatureSpace, labels: Labels, budget: int, rng: np.random.Generator) -> Posterior:
    """Ask by halving what this kernel leaves open, in rounds, as ``kernel-labels`` does."""
    rows = abroad(space, min(_FIRST, budget), 0.5, rng)
    signs = labels(rows)
    found, whole, turn, coded = Posterior.of(kernel, rows, signs), len(rows), 0, bool(indicators(space))
    while len(rows) < budget:
        wanted = min(max(1, round(_SHARE * len(rows))), budget - len(rows))
        turn += 1
        edges = 0.5 if coded or turn % 4 == 0 else 0.0
        ends = np.concatenate([abroad(space, 600, edges, rng), rows[-150:]])
        asked = {row.tobytes() for row in rows}
        new = unseen(zeros(space, found.mean, ends, max(_CANDIDATES, 3 * wanted), rng), asked)
        if len(new):
            among = abroad(space, 2_000, edges if coded else 0.0, rng)
            among = among[np.abs(found.mean(among)).argpartition(_NEAR)[: _NEAR + _OTHERS]]
            new = new[found.telling(new, wanted, among)]
        new = np.concatenate([new, space.sample(wanted - len(new), rng)])
        rows, signs = np.concatenate([rows, new]), np.concatenate([signs, labels(new)])
        if len(rows) <= _WHOLE or len(rows) >= _AGAIN * whole or len(rows) == budget:
            found, whole = found.again(rows, signs), len(rows)
        else:
            found = found.further(rows, signs)
    return found


def beside(model: SVC, space: FeatureSpace, budget: int, rng: np.random.Generator) -> Floats:
    """Pairs of rows, one on each side of the target's boundary."""
    middle = zeros(space, model.decision_function, space.sample(600, rng), budget // 2, rng)
    step = rng.normal(size=middle.shape)
    step *= _APART / 2 / np.linalg.norm(step, axis=1)[:, None]
    return np.asarray(np.clip(np.concatenate([middle - step, middle + step]), space.low, space.high))


def run(dataset: str, gamma: str, alpha: float, seeds: int, chosen: list[str], table: Table) -> None:
    """A row of the table for each kind of knowledge."""
    study = table3(dataset)
    X = np.asarray(study.X_train[:TRAINING_ROWS])
    model, space = SVC(gamma=gamma).fit(X, study.y_train[:TRAINING_ROWS]), study.direct_space

    def labels(rows: Floats) -> Floats:
        return np.where(model.decision_function(rows) > 0, 1.0, -1.0)

    own, budget = float(model._gamma), int(alpha * (study.features + 1))
    typical = space.sample(_TYPICAL, np.random.default_rng(0))
    records = Records(own, records=np.asarray(model.support_vectors_))
    records = Records(own, typical_variance=float(records.own(typical).mean()), records=records.records)
    moments = Moments.of(own, X, float(Moments.of(own, X).own(typical).mean()))
    kernels: Mapping[str, Kernel] = {"gamma": Kernel(own), "moments": moments, "records": records}
    ways = [(way, kernels[way], False) for way in chosen if way != "pairs"]
    if "pairs" in chosen:
        ways += [(f"pairs, {way}", kernels[way], True) for way in ("gamma", "records")]
    tests = np.asarray(study.X_test)
    for name, kernel, given in ways:
        started, wrong = time.process_time(), []
        for seed in range(seeds):
            rng = child(np.random.default_rng(seed), name)
            if given:
                rows = beside(model, space, budget, rng)
                found = Posterior.of(kernel, rows, labels(rows))
            else:
                found = learned(kernel, space, labels, budget, rng)
            uniform = space.sample(_UNIFORM, np.random.default_rng(1_000 + seed))
            wrong.append([float((labels(each) * found.mean(each) <= 0).mean()) for each in (tests, uniform)])
        shares = [f"{statistics.median(each):.2%} ({max(each):.2%})" for each in zip(*wrong, strict=True)]
        seconds = (time.process_time() - started) / seeds
        table.add_row(dataset, name, f"{budget:,}", *shares, f"{len(model.support_vectors_):,}", f"{seconds:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels_kernel_known", description=__doc__)
    parser.add_argument("--only", choices=DATASETS, action="append", help="a data set (may be given again)")
    parser.add_argument("--gamma", choices=("auto", "scale"), default="scale")
    parser.add_argument("--alpha", type=float, default=25.0)
    parser.add_argument("--seeds", type=int, default=5)
    ways = ("gamma", "moments", "records", "pairs")
    parser.add_argument("--knowing", choices=ways, action="append", help="what is known (may be given again)")
    asked = parser.parse_args()
    table = Table(title=f"SVC(gamma={asked.gamma!r}); median (worst) of {asked.seeds} seeds")
    for heading in ("data set", "known", "labels", "R_test", "R_unif", "support vectors", "CPU s"):
        table.add_column(heading)
    for dataset in asked.only or DATASETS:
        run(dataset, asked.gamma, asked.alpha, asked.seeds, asked.knowing or list(ways), table)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
