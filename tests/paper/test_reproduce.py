"""The claims about the paper's equation solving, on every data set and five seeds: `make reproduce`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import geometric_mean
from typing import Literal

import pytest
from benchmarks import labels_networks, labels_softmax, memory
from benchmarks.extraction import bound

from filch.attacks.logistic import Logistic
from filch.attacks.perceptron import Perceptron
from filch.attacks.perceptron_relu import PerceptronRelu
from filch.paper import Row, binary_lr, faces, figure2, figure6, networks, table4, table6
from filch.paper.compare import OURS, PAPERS, measure, unknowns
from filch.paper.labels.page import EVERY
from filch.paper.targets import HIDDEN, Inputs, Kind, target
from filch.paper.trees import tree_target

BESIDE = Path(__file__).parents[3] / "shared" / "data"
pytestmark = [pytest.mark.reproduce, pytest.mark.timeout(3_600)]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the data sets beside the project if the environment names no folder; else they are fetched."""
    if not os.environ.get("FILCH_DATA") and BESIDE.is_dir():
        monkeypatch.setenv("FILCH_DATA", str(BESIDE))


def ours(dataset: str, kinds: Sequence[Kind]) -> Iterator[tuple[Row, int]]:
    """Our rows over both kinds of inputs, each with the fewest queries that can be enough."""
    views: tuple[Inputs, ...] = ("one-hot", "raw")
    for kind, view in product(kinds, views):
        model = target(dataset, kind, view)
        link: Literal["softmax", "ovr"] = "ovr" if kind == "ovr" else "softmax"
        yield measure(model, Logistic(link=link), OURS, view), bound(model)


def check_exact(row: Row) -> None:
    assert row.note == "verified"
    assert row.r_test is not None and row.r_test.worst == 0.0
    assert row.r_unif is not None and row.r_unif.worst == 0.0
    assert row.r_tv_test is not None and row.r_tv_test.worst <= 1e-9
    assert row.r_tv_unif is not None and row.r_tv_unif.worst <= 1e-9


@pytest.mark.parametrize("dataset", binary_lr.DATASETS)
def test_binary(dataset: str) -> None:
    for row, least in ours(dataset, ["binary"]):
        assert row.queries.worst == least
        check_exact(row)


@pytest.mark.parametrize("dataset", table4.DATASETS)
def test_softmax_and_one_vs_rest(dataset: str) -> None:
    for row, least in ours(dataset, table4.KINDS):
        assert row.queries.worst <= (1.2 * least if row.model == "ovr" else least)
        check_exact(row)


@pytest.mark.parametrize("dataset", networks.DATASETS)
def test_networks(dataset: str) -> None:
    for kind in networks.KINDS:
        model = target(dataset, kind)
        row = measure(model, Perceptron(), OURS, "one-hot")
        count, wide = unknowns(model), len(model.oracle.spec.space) >= HIDDEN
        allowed = max(0.6 * count, 2.5 * networks.bound(model)) if wide else 2 * count
        assert row.queries.worst <= (1_112 if dataset == "adult-race" else allowed)
        assert row.note == "verified"
        for spread in (row.r_test, row.r_unif):
            assert spread is not None and spread.worst == 0.0
        for spread in (row.r_tv_test, row.r_tv_unif):
            assert spread is not None and spread.worst <= 1e-6


def test_faces() -> None:
    """10,305 queries copy a softmax over 10,304 pixels in five minutes and 4 GiB, and show all 40 people."""
    ours, *_ = faces.run().rows
    assert (ours.method, ours.queries.worst, ours.note) == (OURS, 10_305, "verified")
    assert ours.r_test is not None and ours.r_test.worst == 0.0
    assert ours.r_unif is not None and ours.r_unif.worst == 0.0
    assert ours.r_tv_test is not None and ours.r_tv_test.worst <= 1e-6
    assert ours.r_tv_unif is not None and ours.r_tv_unif.worst <= 1e-6
    assert ours.extra["found"].worst == 1.0
    assert ours.seconds is not None and ours.seconds.worst <= 300
    assert ours.extra["GiB"].worst <= 4


@pytest.mark.parametrize("count", [20, 50])
def test_figure2_training_rows_come_out(count: int) -> None:
    """All representers to 1e-6 of the pixel range, neither their number nor γ being told; 20 of them in 600 queries."""
    for row in figure2.run(datasets=[f"digits-{count}"], steps=20).rows:
        if row.method == OURS:
            assert row.note.startswith("verified;")
            assert row.queries.worst <= (600 if count == 20 else 1_000)
            assert row.extra["worst pixel"].worst <= 1e-6
            check_exact(replace(row, note="verified"))


def test_figure2_ten_representers_become_average_digits() -> None:
    """Closer to them than the paper's method comes, which is told γ and asks twice as much."""
    ours, papers, _ = figure2.run(datasets=["digits-all"]).rows
    assert ours.queries.worst <= papers.queries.median / 2
    assert ours.extra["worst pixel"].median < papers.extra["worst pixel"].median
    assert ours.r_test is not None and papers.r_test is not None and ours.r_test.median < papers.r_test.median


def test_a_million_rows_are_journaled_in_under_a_gibibyte() -> None:
    (result,), _ = memory.run(quick=False)
    assert result["rows"] == 1_000_000
    assert float(str(result["peak_mib"])) < 1_024


def test_trees() -> None:
    """Path finding: shares of the paper's queries, and never a worse copy than the paper's algorithm makes."""
    by: dict[tuple[str, str, str], Row] = {}
    for row in table6.run().rows:
        by[row.dataset, row.model, row.method] = row
    shares: dict[tuple[str, bool], list[float]] = {}
    for (name, setting, method), row in by.items():
        if method != OURS:
            continue
        theirs = by[name, setting, PAPERS]
        assert row.note == "verified"
        assert row.r_test is not None and row.r_unif is not None
        assert theirs.r_test is not None and theirs.r_unif is not None
        assert row.r_test.median <= theirs.r_test.median and row.r_unif.median <= theirs.r_unif.median
        target = tree_target(name)
        unique = target.unique == target.tree.n_leaves
        if unique:
            assert row.r_unif.worst <= 1e-3  # rows within ε of a threshold
        shares.setdefault((setting, unique), []).append(row.extra["÷ paper's"].median)
    mean = {key: geometric_mean(values) for key, values in shares.items()}
    assert mean["bottom-up", True] <= 0.35 and mean["bottom-up", False] <= 0.5
    assert geometric_mean(shares["top-down, fields", True] + shares["top-down, fields", False]) <= 0.35
    assert geometric_mean(shares["top-down", True] + shares["top-down", False]) <= 0.45


@pytest.mark.parametrize("dataset", table4.DATASETS)
def test_relu_networks(dataset: str) -> None:
    row = measure(target(dataset, "mlp-relu"), PerceptronRelu(), OURS, "one-hot")
    assert row.note == "verified"
    assert row.queries.worst <= 3 * row.unknowns
    assert row.r_test is not None and row.r_test.worst == 0.0
    assert row.r_unif is not None and row.r_unif.worst == 0.0
    assert row.r_tv_test is not None and row.r_tv_test.worst <= 1e-6
    assert row.r_tv_unif is not None and row.r_tv_unif.worst <= 1e-6


def test_kernel_labels() -> None:
    """RBF machines on every two-class set: 99 % at 25 (d + 1) labels, where the paper's strategies have less.

    An hour or two of CPU time, nearly all of it for the wide sets; kept cells are not computed again.
    """
    kept = os.environ.get("FILCH_CELLS")
    table = figure6.run(seeds=range(5), alphas=(25.0,), strategies=("filch", "adaptive", "uniform"), results=kept)
    errors = {row.method: row for row in table.rows if row.dataset == EVERY and row.queries.median > 0}
    for row in table.rows:
        if row.method == OURS and row.dataset != EVERY:
            assert row.queries.worst + row.selection <= 25 * row.unknowns
    ours = errors[OURS]
    assert ours.r_test is not None and ours.r_test.median <= 0.01
    assert ours.r_unif is not None and ours.r_unif.median <= 0.01
    for name in ("adaptive", "uniform"):
        theirs = errors[name]
        assert theirs.r_test is not None and ours.r_test.median < theirs.r_test.median
        assert theirs.r_unif is not None and ours.r_unif.median < theirs.r_unif.median


@pytest.mark.parametrize("dataset", labels_networks.SMALL)
def test_committee_from_labels(dataset: str) -> None:
    """Rows that a committee chooses never tell less than uniform ones; at α = 10 they do what took the paper 100."""
    by: dict[tuple[str, float], float] = {}
    points = [
        point
        for strategy in labels_networks.STRATEGIES
        for seed in range(5)
        for point in labels_networks.curve(dataset, strategy, seed, (0.5, 1.0, 2.0, 5.0, 10.0))
    ]
    for line in labels_networks.summary(points):
        by[line["strategy"], line["alpha"]] = line["r_unif"]
        if (line["strategy"], line["alpha"]) == ("adaptive", 10.0):
            assert line["r_unif"] <= 0.0176 and line["r_test"] <= 0.0084
    for alpha in (0.5, 1.0, 2.0, 5.0, 10.0):
        assert by["adaptive", alpha] <= by["uniform", alpha]


@pytest.mark.parametrize("dataset", table4.DATASETS)
def test_softmax_labels(dataset: str) -> None:
    """Labels alone: 99.9 % of uniform rows and of test rows at α = 10, for each of five seeds; the paper needs 100."""
    (line,) = labels_softmax.measured(dataset, (10,), 1_000_000, range(5))
    assert line["worst R_unif"] <= 1e-3 and line["worst R_test"] <= 1e-3
