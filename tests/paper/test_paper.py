"""The reproductions: the paper's own method is faithful and counted, the tables say what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.extraction import bound
from rich.console import Console

import filch
from filch.core.attack import Outcome
from filch.core.oracle import OracleSpec
from filch.errors import CannotRun, DataError, UsageError
from filch.paper import Reproduction, Row, Spread, Table, studies, table4
from filch.paper.equation_solving import EquationSolving
from filch.paper.table4 import _printed
from filch.paper.targets import Inputs, Kind, target

# Sets that are shipped or come with scikit-learn, so that these tests need no data folder.


@pytest.mark.parametrize("inputs", ["one-hot", "raw"])
def test_binary_takes_d_plus_one_queries(inputs: Inputs) -> None:
    model = target("breast-cancer", "binary", inputs)
    run = filch.extract(model.oracle, EquationSolving(), budget=100, curve=False)
    assert run.queries == 10
    found = filch.fidelity(model.oracle, run.model, model.X_test)
    assert (found.r_test, found.r_unif) == (0.0, 0.0)
    assert max(found.r_tv_test or 0.0, found.r_tv_unif or 0.0) < 1e-9


@pytest.mark.parametrize(("kind", "link"), [("softmax", "softmax"), ("ovr", "ovr")])
@pytest.mark.parametrize("dense", [0, 200])
def test_minimisation_takes_alpha_times_the_unknowns(kind: Kind, link: str, dense: int) -> None:
    model = target("iris", kind)
    attack = EquationSolving(link=link, alpha=2, dense=dense)  # type: ignore[arg-type]
    run = filch.extract(model.oracle, attack, budget=100, curve=False)
    assert run.queries == 30
    assert ("L-BFGS-B" if dense == 0 else "BFGS,") in run.reason
    found = filch.fidelity(model.oracle, run.model, model.X_test)
    assert (found.r_test, found.r_unif) == (0.0, 0.0)
    assert found.r_tv_unif is not None and found.r_tv_unif < 1e-5


def test_half_the_queries_are_rounded_up() -> None:
    spec = target("iris", "softmax").oracle.spec
    assert EquationSolving(alpha=0.5).queries(spec) == 8
    assert EquationSolving(alpha=1).queries(spec) == 15


def test_the_budget_ends_it() -> None:
    model = target("iris", "softmax")
    run = filch.extract(model.oracle, EquationSolving(), budget=7, curve=False)
    assert (run.queries, run.outcome) == (7, Outcome.BUDGET_SPENT)
    assert run.model is not None


def test_it_needs_probabilities() -> None:
    model = target("iris", "softmax")
    oracle = filch.ModelOracle(model.oracle.model, model.study.direct_space, reveal="labels")
    with pytest.raises(CannotRun, match="needs all class probabilities"):
        filch.extract(oracle, EquationSolving(), budget=100)
    assert EquationSolving().needs(OracleSpec(model.study.space, None)) is not None


@pytest.mark.parametrize("wrong", [{"link": "probit"}, {"alpha": 0}, {"steps_most": 0}])
def test_parameters_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="EquationSolving takes"):
        EquationSolving(**wrong)  # type: ignore[arg-type]


def test_one_vs_rest_targets_normalise_their_sigmoids() -> None:
    model = target("iris", "ovr")
    scores = model.oracle.model.decision_function(model.X_test)
    sigmoids = 1 / (1 + np.exp(-scores))
    shown = model.oracle.ask(model.X_test).probabilities
    np.testing.assert_allclose(shown, sigmoids / sigmoids.sum(axis=1, keepdims=True), rtol=1e-12)


def test_a_target_is_fitted_once() -> None:
    assert target("iris", "softmax") is target("iris", "softmax")


def test_binary_lr_beside_the_paper() -> None:
    told: list[str] = []
    table = studies()["binary-lr"](
        seeds=(0, 1), datasets=["breast-cancer"], progress=lambda step, *_: told.append(step)
    )
    ours, theirs, printed, *raw = table.rows
    assert [row.method for row in table.rows[:3]] == ["filch", "paper's method", "paper, printed"]
    assert [row.inputs for row in raw] == ["raw", "raw"]
    assert ours.queries == theirs.queries == printed.queries == Spread(10, 10)
    assert ours.r_test == ours.r_unif == Spread(0.0, 0.0)
    assert ours.r_tv_unif is not None and ours.r_tv_unif.worst < 1e-9
    assert (ours.seeds, ours.n_test, ours.n_uniform, ours.note) == (2, 205, 10_000, "verified")
    assert len(told) == 8 and told[0] == "breast-cancer binary (one-hot): filch, seed 0"


def test_table4_beside_the_paper() -> None:
    table = studies()["table4"](seeds=(0,), datasets=["iris"])
    queries = {(row.model, row.method): row.queries.worst for row in table.rows}
    assert queries["softmax", "filch"] == 5
    assert queries["ovr", "filch"] <= 1.2 * 8
    assert queries["softmax", "paper, printed"] == queries["ovr", "paper's method"] == 15
    assert all(row.r_unif == Spread(0.0, 0.0) for row in table.rows if row.method == "filch")


def test_printed_rows_of_table_4() -> None:
    half, full = _printed("adult-race", "softmax", 530)
    assert (half.queries.median, half.r_test, half.r_unif) == (265, Spread(0.0004, 0.0004), Spread(0.0025, 0.0025))
    assert (full.queries.median, full.r_unif, full.seconds) == (530, Spread(0, 0), Spread(3.1, 3.1))


def test_a_network_beside_the_paper() -> None:
    rows = table4.run(seeds=(0,), datasets=["iris"], kinds=["mlp-tanh"]).rows
    theirs = [row for row in rows if row.method == "paper's method"]
    assert [row.queries.worst for row in theirs] == [82, 163, 326, 815]  # of 20 · 5 + 3 · 21 unknowns
    assert theirs[-1].r_unif is not None and theirs[-1].r_unif.worst < 0.02


def test_a_relu_network_beside_the_papers_method() -> None:
    ours, *theirs = table4.run(seeds=(0,), datasets=["iris"], kinds=["mlp-relu"]).rows
    assert ours.method == "filch" and ours.note == "verified"
    assert ours.r_test == ours.r_unif == Spread(0.0, 0.0)
    assert ours.queries.worst <= 3 * 163
    assert len(theirs) == 4


def test_networks_run_on_adult_race_unless_they_are_named() -> None:
    table = studies()["table4"](seeds=(0,), datasets=["blobs"])
    assert {row.model for row in table.rows} == {"softmax", "ovr"}


def test_printed_rows_of_networks() -> None:
    printed = list(table4._printed_network(target("iris", "mlp-tanh")))
    assert [row.queries.median for row in printed] == [1112, 2225, 4450, 11125]
    assert printed[1].r_unif == Spread(0.0277, 0.0277)


def test_the_counting_bound() -> None:
    assert bound(target("iris", "softmax")) == 5  # d + 1
    assert bound(target("iris", "ovr")) == 8  # ⌈3 · 5 / 2⌉
    assert bound(target("breast-cancer", "binary")) == 10


def test_other_data_sets_are_named() -> None:
    with pytest.raises(UsageError, match=r"no data set 'iris' here \(it is in Table 3, but of the other kind\)"):
        studies()["binary-lr"](datasets=["iris"])
    with pytest.raises(UsageError, match="no data set 'titanic' here: choose adult-race"):
        studies()["table4"](datasets=["titanic"])


def test_a_missing_data_set_costs_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILCH_DATA", str(tmp_path))
    told: list[str] = []
    with pytest.raises(DataError, match=r"set FILCH_DATA to a folder that holds gss_happiness\.csv\.gz"):
        studies()["table4"](datasets=["iris", "gss"], progress=lambda step, *_: told.append(step))
    assert not told


def test_a_table_as_json_and_on_screen() -> None:
    row = Row("iris", "softmax", "filch", "one-hot", 15, Spread(5, 6), r_unif=Spread(0.0, 0.25), seeds=2)
    table = Table("table4", "Title", (row,))
    read = json.loads(table.as_json())
    assert read["rows"][0]["queries"] == {"median": 5, "worst": 6}
    assert read["rows"][0]["r_test"] is None
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table)
    assert "5 (6)" in shown.get() and "100.00% (75.00%)" in shown.get()


def test_every_study_says_what_it_is() -> None:
    for study in studies().values():
        assert isinstance(study, Reproduction)
        assert study.description and study.time and study.datasets
        assert {"seeds", "datasets", "progress"} <= set(study.takes)
        assert study.kept == ("jobs" in study.takes)
