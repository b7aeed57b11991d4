"""The audit from end to end: what it finds, what it leaves on disk, and that nothing is paid twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from filch import models
from filch.audit import AuditReport, audit, local_oracle, prepare
from filch.core.oracle import ModelOracle
from filch.errors import FilchError, RunChanged, SchemaError, Unreachable, UsageError
from filch.report.format import load, schema
from filch.services.client import connect
from filch.services.server import serving

Far = Callable[..., Any]
QUICK: dict[str, Any] = {"reveals": ["2"], "max_queries": 60, "n_uniform": 200}


def over_raw_columns(last: Any, frame: pd.DataFrame) -> Any:
    columns = make_column_transformer((OneHotEncoder(), ["kind"]), (StandardScaler(), ["a", "b"]))
    return make_pipeline(columns, last).fit(frame.drop(columns="label"), frame["label"])


def facts(report: AuditReport) -> Any:
    """A report without what may differ from one run of it to the next."""
    runs = tuple(msgspec.structs.replace(run, seconds=0.0) for run in report.data.runs)
    return msgspec.structs.replace(report.data, created="", runs=runs)


# ── local targets ───────────────────────────────────────────────────────────────────────────────────────────


def test_audit_of_a_model_over_raw_columns(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = over_raw_columns(LogisticRegression(), frame)
    report = audit(model, frame, target="label", out=tmp_path / "new" / "out", **(QUICK | {"reveals": ["2", "labels"]}))
    assert report.out is not None and report.html is not None and report.html.exists()
    assert load(report.out) == report.data
    jsonschema.validate(json.loads((report.out / "report.json").read_text()), schema())
    served = report.data.served
    assert served.name == "probabilities" and served.to(1.0).queries == 5, "4 free dimensions and the intercept"
    assert report.verdict.startswith("Your model can be copied to 100 % with 5 queries ($0.0005, ")
    assert report.fail_under(6) and not report.fail_under(5)
    assert str(report) == report.verdict == load(report.out).verdict
    copy = models.load(report.out / "model.npz")
    X = frame.drop(columns="label")
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    assert set(report.models) == {"probabilities", "2 decimals", "labels"}
    for run in report.data.runs:
        assert sum(account.queries for account in run.ledger.values()) <= 60
        assert run.model is None or (report.out / run.model).exists()


def test_audit_needs_no_folder_and_gives_the_same_again(frame: pd.DataFrame) -> None:
    model = over_raw_columns(LogisticRegression(), frame)
    first, second = (audit(model, frame, target="label", **QUICK) for _ in range(2))
    assert first.out is None and first.html is None
    assert facts(first) == facts(second)
    assert facts(audit(model, frame, target="label", seed=1, **QUICK)) != facts(first)


def test_any_classifier_can_be_audited(frame: pd.DataFrame) -> None:
    for last in (RandomForestClassifier(10, random_state=0), LinearSVC()):
        report = audit(over_raw_columns(last, frame), frame, target="label", **(QUICK | {"reveals": []}))
        served = report.data.served
        assert served.closest is not None and served.closest.r_test is not None
        assert report.data.target.classes == ("no", "yes")
    assert [reveal.name for reveal in report.data.reveals] == ["labels"], "a LinearSVC has no probabilities"


def test_regressor_can_be_audited(frame: pd.DataFrame) -> None:
    model = LinearRegression().fit(frame[["a"]], frame["b"])
    report = audit(model, frame[["a", "b"]], target="b", max_queries=40, n_uniform=100, reveals=["2"])
    assert report.data.target.classes is None
    assert [reveal.name for reveal in report.data.reveals] == ["value", "2 decimals"]
    assert report.data.reveals[1].loss.largest == pytest.approx(0.005, rel=0.2)


def test_rounding_is_no_protection_of_a_linear_regression() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.uniform(0, 100, 200), "b": rng.uniform(-5, 5, 200)})
    target = LinearRegression().fit(table, 80 * table["a"] - 300 * table["b"] + 50 * rng.normal(size=200))
    report = audit(target, table.assign(y=target.predict(table)), target="y", max_queries=100, n_uniform=500)
    served, *rounded = report.data.reveals
    assert served.to(1.0).queries == 3 and len(rounded) == 3
    assert all((found := reveal.to(0.99).queries) is not None and found <= 15 for reveal in rounded)
    assert not any("ounding" in advice for advice in report.data.advice)
    for reveal, copy in report.models.items():
        assert reveal == "value" or np.abs(copy.predict(table) - target.predict(table)).max() < 0.5


def test_several_seeds_give_several_runs(frame: pd.DataFrame) -> None:
    report = audit(over_raw_columns(LogisticRegression(), frame), frame, target="label", seed=4, seeds=2, **QUICK)
    assert report.data.seeds == (4, 5)
    assert len(report.data.runs) == 2 * len({(run.reveal, run.attack) for run in report.data.runs})


def test_progress_names_the_cell(frame: pd.DataFrame) -> None:
    told: list[tuple[str, int, int]] = []
    report = audit(
        over_raw_columns(LogisticRegression(), frame),
        frame,
        target="label",
        progress=lambda name, place, of, _: told.append((name, place, of)),
        **QUICK,
    )
    names = [run.name for run in report.data.runs]
    assert list(dict.fromkeys(told)) == [(name, i, len(names)) for i, name in enumerate(names, start=1)]


def test_missing_values_are_what_the_model_takes_them_for(frame: pd.DataFrame) -> None:
    numbers = frame[["a", "b"]].copy()
    numbers.iloc[::7, 0] = np.nan
    boosted = HistGradientBoostingClassifier(max_iter=5).fit(numbers, frame["label"])
    assert local_oracle(boosted, numbers).spec.omission
    plain = LogisticRegression().fit(frame[["a", "b"]], frame["label"])
    with pytest.raises(SchemaError, match="missing values"):
        local_oracle(plain, numbers)
    gaps = frame.drop(columns="label").copy()
    gaps["kind"] = gaps["kind"].where(np.arange(len(gaps)) % 9 > 0)
    model = over_raw_columns(LogisticRegression(), gaps.assign(label=frame["label"]))
    spec = local_oracle(model, gaps).spec
    assert not spec.omission and spec.space.sizes[2] == 4, "missing is a category of its own"
    assert audit(model, gaps, **QUICK).data.served.to(1.0).queries == 6


def test_model_fitted_on_a_matrix_is_given_one(frame: pd.DataFrame) -> None:
    model = LogisticRegression().fit(frame[["a", "b"]].to_numpy(), frame["label"])
    assert audit(model, frame[["a", "b"]], **QUICK).data.served.to(1.0).queries == 3


def test_local_journal_of_another_model_is_replaced(frame: pd.DataFrame, tmp_path: Path) -> None:
    audit(over_raw_columns(LogisticRegression(), frame), frame, target="label", out=tmp_path, **QUICK)
    other = over_raw_columns(LogisticRegression(C=0.01), frame)
    again = audit(other, frame, target="label", out=tmp_path, **QUICK)
    assert facts(again) == facts(audit(other, frame, target="label", out=tmp_path / "new", **QUICK))


# ── remote targets ──────────────────────────────────────────────────────────────────────────────────────────


def rows_for(flower: ModelOracle, n: int = 700) -> pd.DataFrame:
    sample = flower.spec.space.sample(n, np.random.default_rng(11))
    return pd.DataFrame(sample, columns=list(flower.spec.space.names))


def test_remote_evaluation_is_paid_and_capped(far: Far, flower: ModelOracle) -> None:
    target = far()
    report = audit(target, rows_for(flower), max_queries=100, reveals=["3"], authorized_by="A. Owner")
    rows = report.data.yardstick
    assert (rows.n_test, rows.n_uniform, rows.account.queries, rows.account.sent) == (500, 500, 1_000, 1_000)
    assert report.data.authorized_by == "A. Owner"
    assert not report.data.target.local
    assert report.data.sent == target.rows


def test_coarser_reveals_are_simulated_on_answers_already_paid(far: Far, flower: ModelOracle) -> None:
    target = far()
    report = audit(target, None, max_queries=60, reveals=["4", "3"], n_uniform=100)
    sent = [row.tobytes() for rows in target.seen for row in rows]
    assert len(sent) == len(set(sent)) == report.data.sent, "no row is sent twice"
    paid = sum(account.queries for run in report.data.runs for account in run.ledger.values()) + 100
    assert report.data.sent < paid
    first = report.data.runs[0]
    assert first.ledger["attack"].sent == first.ledger["attack"].queries


def test_same_findings_near_and_far(far: Far, flower: ModelOracle) -> None:
    near = ModelOracle(flower.model, flower.spec.space, max_batch=16)
    options: dict[str, Any] = {"max_queries": 60, "n_uniform": 100, "reveals": ["4", "3"]}
    here, there = audit(near, **options), audit(far(), **options)
    for near_run, far_run in zip(here.data.runs, there.data.runs, strict=True):
        assert [(p.queries, p.r_unif) for p in near_run.curve] == [(p.queries, p.r_unif) for p in far_run.curve]
    assert here.verdict == there.verdict


def test_audit_over_http(flower: ModelOracle, tmp_path: Path) -> None:
    space = flower.spec.space
    options: dict[str, Any] = {"max_queries": 60, "reveals": ["4", "3"], "n_uniform": 60}
    with serving(flower.model, space, max_batch=16) as url, connect(url, space=space, concurrency=3) as oracle:
        report = audit(oracle, out=tmp_path, **options)
        again = audit(oracle, out=tmp_path, **options)
    assert report.data.served.to(1.0).queries == 5
    assert facts(report) == facts(again)
    paid = sum(a.queries for run in report.data.runs for a in run.ledger.values()) + 60
    assert 0 < report.data.sent < paid
    assert "127.0.0.1" in report.data.target.name and not report.data.target.local


def test_interrupted_audit_goes_on_and_pays_for_nothing_twice(far: Far, flower: ModelOracle, tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_queries": 50, "reveals": ["4"], "n_uniform": 40}
    whole = far()
    expected = audit(whole, out=tmp_path / "whole", **options)
    batches = len(whole.seen)
    for place, breaks_after in enumerate(range(0, batches, max(1, batches // 4))):
        out = tmp_path / str(place)
        first = far(breaks_after=breaks_after)
        with pytest.raises(KeyboardInterrupt, match="run the same audit again"):
            audit(first, out=out, **options)
        second = far()
        resumed: Any = audit(second, out=out, **options)
        answered = {row.tobytes() for rows in first.seen for row in rows}
        assert not answered & {row.tobytes() for rows in second.seen for row in rows}, "no answered row again"
        # A batch in flight is paid twice, or not sent again where the budget has no room for that.
        assert whole.rows - 32 <= first.rows + second.rows <= whole.rows
        assert 0 < resumed.data.sent - first.rows - second.rows <= 16
        rows = flower.spec.space.sample(50, np.random.default_rng(5))
        copy, again = expected.models["probabilities"], resumed.models["probabilities"]
        np.testing.assert_array_equal(again.predict_proba(rows), copy.predict_proba(rows))


def test_finished_audit_sends_nothing_again(far: Far, tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_queries": 60, "reveals": ["4"], "n_uniform": 60}
    first = audit(far(), out=tmp_path, **options)
    target = far()
    second = audit(target, out=tmp_path, **options)
    assert target.rows == 0
    assert facts(first) == facts(second)


def test_paid_journal_is_never_thrown_away(far: Far, tmp_path: Path) -> None:
    options: dict[str, Any] = {"reveals": [], "n_uniform": 60}
    audit(far(), out=tmp_path, max_queries=60, **options)
    with pytest.raises(UsageError, match="paid for"):
        audit(far(), out=tmp_path, max_queries=60, resume=False, **options)
    target = far()
    with pytest.raises(RunChanged):
        audit(target, out=tmp_path, max_queries=70, **options)
    assert target.rows == 0


def test_failing_service_keeps_what_was_paid(far: Far, tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_queries": 60, "reveals": [], "n_uniform": 60}
    target = far(breaks_after=2)
    target.error = Unreachable("no answer from 127.0.0.1")
    with pytest.raises(Unreachable):
        audit(target, out=tmp_path, **options)
    second = far()
    audit(second, out=tmp_path, **options)
    whole = far()
    audit(whole, **options)
    assert target.rows + second.rows == whole.rows


def test_plan_sends_nothing(far: Far, flower: ModelOracle) -> None:
    target = far()
    plan = prepare(target, rows_for(flower), max_queries=100).plan
    assert plan.total().queries == 1_000 + 100 * len(plan.cells)
    assert target.rows == 0


# ── what cannot be right ────────────────────────────────────────────────────────────────────────────────────


def test_frame_without_the_target_column(frame: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match=r"'churn'.*'label'"):
        audit(over_raw_columns(LogisticRegression(), frame), frame, target="churn")


def test_model_needs_rows_and_predict(frame: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="DataFrame"):
        audit(over_raw_columns(LogisticRegression(), frame))
    with pytest.raises(UsageError, match="no predict"):
        audit({"a": "model"}, frame)


def test_nothing_to_measure_on(far: Far) -> None:
    with pytest.raises(UsageError, match="nothing to measure on"):
        audit(far(), n_uniform=0)


@pytest.mark.parametrize(
    "options", [{"price": -1}, {"latency": -1}, {"rate": 0}, {"concurrency": 0}, {"seeds": 0}, {"max_queries": 0}]
)
def test_numbers_that_cannot_be_right(far: Far, options: dict[str, Any]) -> None:
    target = far()
    with pytest.raises(UsageError):
        audit(target, **options)
    assert target.rows == 0


def test_folder_that_is_a_file(far: Far, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(FilchError, match="another folder"):
        audit(far(), out=tmp_path / "out")


def test_package_and_function_share_a_name() -> None:
    import filch
    from filch.audit.plan import Plan

    assert filch.audit is audit and Plan.__module__ == "filch.audit.plan"
