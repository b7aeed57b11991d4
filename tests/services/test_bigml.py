"""The emulated BigML against BigML's own client, whose local models must answer alike and which must be able to ask."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import filch
from filch.attacks.tree_bottom_up import TreeBottomUp
from filch.attacks.tree_top_down import TreeTopDown
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import Batch
from filch.errors import BadAnswer, NotAuthorized, Rejected, Unreachable, UsageError
from filch.models.logistic_bigml import BigMLLogistic, read_bigml_logistic
from filch.models.trees.bigml import read_bigml
from filch.models.trees.bigml_write import to_bigml
from filch.services.bigml.account import Account
from filch.services.bigml.codec import public_model
from filch.services.bigml.inputs import Inputs
from filch.services.bigml.oracle import connect_bigml, parsed
from filch.services.bigml.resources import Served, served
from filch.services.bigml.server import application
from filch.testing import random_tree

REAL = sorted(Path(os.environ.get("FILCH_DATA", "/nowhere")).glob("bigml_models/*.json"))
SPACE = FeatureSpace(
    (
        Numeric("age", 18, 90, integer=True),
        Numeric("share", 0, 1),
        Categorical("job", ("a", "b", "c", "d")),
        Categorical("owner", ("false", "true")),
        Numeric("balance", -1000, 1000),
    )
)
Host = Callable[..., str]


@pytest.fixture
def client_library() -> Any:
    return pytest.importorskip("bigml.api", reason="needs BigML's client: pip install 'filch[bigml]'")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    account = Account()
    monkeypatch.setenv("BIGML_USERNAME", account.username)
    monkeypatch.setenv("BIGML_API_KEY", account.api_key)
    monkeypatch.delenv("BIGML_DOMAIN", raising=False)
    return account


@pytest.fixture
def address(hosted: Host, account: Account) -> Callable[..., str]:
    """Serve a model; returns its address."""

    def host(model: Served, **options: Any) -> str:
        url = hosted(application({model.resource: model}, account, **options))
        return f"bigml://{url.removeprefix('http://')}/{model.resource}"

    return host


def tree(seed: int = 0, **options: Any) -> Any:
    return random_tree(SPACE, 25, np.random.default_rng(seed), **{"missing": 0.3, **options})


def logistic(seed: int = 0, classes: tuple[str, ...] = ("x", "y", "z"), **options: Any) -> BigMLLogistic:
    rng = np.random.default_rng(seed)
    width = int(np.where(SPACE.categorical, SPACE.sizes + 1, 2).sum())
    centre, scale = np.array([50, 0.5, 0, 0, 10]), np.array([15, 0.3, 1, 1, 400])
    coef, intercept = rng.normal(size=(len(classes), width)), rng.normal(size=len(classes))
    return BigMLLogistic(SPACE, classes, coef, intercept, centre=centre, scale=scale, **options)


def incomplete(space: FeatureSpace, n: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of which any part is omitted, and some values lie outside the vocabulary and the ranges."""
    rows = space.sample(n, rng)
    wild = rng.random(rows.shape) < 0.1
    rows[wild & space.categorical] = -1
    rows[wild & ~space.categorical] *= 2.5
    rows[rng.random(rows.shape) < rng.random((n, 1))] = np.nan
    return rows


def local(kind: str, document: dict[str, Any]) -> Any:
    """The client's own local model."""
    from bigml.api import BigML
    from bigml.logistic import LogisticRegression
    from bigml.model import Model

    make = Model if kind == "model" else LogisticRegression
    return make(document, api=BigML("nobody", "nothing", domain="127.0.0.1:9"))


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────


def same(mine: dict[str, Any], told: dict[str, Any]) -> bool:
    ours, theirs = mine["confidence"], told.get("confidence")
    theirs = None if theirs is None or math.isnan(theirs) else theirs
    if isinstance(mine["output"], float):
        assert mine["output"] == pytest.approx(told["prediction"], abs=1e-5), (mine, told)
    else:
        assert mine["output"] == told["prediction"], (mine, told)
    assert ours == (None if theirs is None else pytest.approx(theirs, abs=1.1e-5)), (mine, told)
    return bool(ours == theirs and mine["output"] == told["prediction"])


@pytest.mark.parametrize("strategy", [0, 1])
@pytest.mark.parametrize("classes", [3, None], ids=["classes", "regression"])
@pytest.mark.parametrize("seed", range(3))
def test_trees_answer_as_the_clients_local_model(
    client_library: Any, seed: int, classes: int | None, strategy: int
) -> None:
    document = to_bigml(tree(seed, classes=classes))
    check_tree(document, strategy, 400)


@pytest.mark.parametrize("strategy", [0, 1])
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_models_answer_as_the_clients_local_model(client_library: Any, path: Path, strategy: int) -> None:
    check_tree(json.loads(path.read_text(encoding="utf-8")), strategy, 1_000)


def check_tree(document: dict[str, Any], strategy: int, n: int) -> None:
    model, theirs = served(document), local("model", document)
    rng = np.random.default_rng(7)
    rows = np.vstack([model.inputs.space.sample(n, rng), incomplete(model.inputs.space, n, rng)])
    exact = compared = 0
    for row in rows.tolist():
        data = model.inputs.write(row)
        mine = model.predict(model.inputs.read(data), strategy, white_box=False)
        try:
            told = theirs.predict(data, missing_strategy=strategy, full=True)
        except TypeError:  # the client has no answer where no branch takes a value
            assert strategy == 1
            assert -1 in row
            continue
        exact += same(mine, told)
        compared += 1
    assert compared > 1.5 * n
    assert exact >= compared - 2  # sums in another order may round a fifth decimal otherwise


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("classes", [("x", "y"), ("x", "y", "z"), ("x", "y", "")], ids=len)
def test_logistic_regressions_answer_as_the_clients_local_model(
    client_library: Any, classes: tuple[str, ...], normalize: bool
) -> None:
    document = logistic(3, classes, normalize=normalize).to_bigml()
    model, theirs = served(document), local("logisticregression", document)
    rng = np.random.default_rng(5)
    for row in np.vstack([SPACE.sample(300, rng), incomplete(SPACE, 300, rng)]).tolist():
        data = model.inputs.write(row)
        mine = model.predict(model.inputs.read(data), 0, white_box=False)
        told = theirs.predict(data, full=True)
        assert mine["output"] == told["prediction"]
        assert dict(mine["probabilities"]) == {d["category"]: d["probability"] for d in told["distribution"]}


def test_a_white_box_is_what_the_client_builds_its_local_model_from(
    client_library: Any, address: Callable[..., str]
) -> None:
    model = served(to_bigml(tree(1)))
    with connect_bigml(address(model, white_box=True)) as oracle:
        theirs = local("model", oracle._document)
        rows = incomplete(SPACE, 40, np.random.default_rng(0))
        for row in rows.tolist():
            data = model.inputs.write(row)
            told = oracle._caller.call(lambda client, data=data: client.create_prediction(oracle._document, data))
            same(told["object"], theirs.predict(data, full=True))


def test_a_white_box_names_the_predicates_of_the_path() -> None:
    model = served(to_bigml(tree(1, missing=0.0)))
    found = model.predict(model.inputs.read({}), 0, white_box=True)["prediction_path"]
    assert found["path"] == []
    assert {part["field"] for part in found["next_predicates"]} <= set(model.inputs.ids)
    row = SPACE.sample(1, np.random.default_rng(0))[0].tolist()
    found = model.predict(model.inputs.read(model.inputs.write(row)), 0, white_box=True)["prediction_path"]
    assert len(found["path"]) >= 1
    assert found["next_predicates"] == []


# ── the oracle ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("attack", [TreeTopDown(), TreeBottomUp()], ids=["top-down", "bottom-up"])
@pytest.mark.parametrize("classes", [3, None], ids=["classes", "regression"])
def test_a_tree_is_extracted_through_the_client(
    client_library: Any, address: Callable[..., str], account: Account, attack: Any, classes: int | None
) -> None:
    account.price, account.credits = 0.01, 50.0
    target = tree(2, classes=classes, missing=0.0)
    with connect_bigml(address(served(to_bigml(target)))) as oracle:
        run = filch.extract(oracle, attack=attack, budget=3_000)
        assert oracle.model.price == 0.01
    assert run.outcome.value == "verified"
    assert account.credits == pytest.approx(50 - 0.01 * (run.queries + run.selection))
    rows = SPACE.sample(2_000, np.random.default_rng(1))
    far = np.ones(len(rows), dtype=bool)  # from every threshold
    for column, threshold in zip(target.column, target.threshold, strict=True):
        if not np.isnan(threshold):
            far &= np.abs(rows[:, column] - threshold) > 1e-3
    assert far.mean() > 0.9
    told = run.model.predict(rows[far])
    assert (
        (np.abs(told - target.predict(rows[far])) < 1e-5).all()
        if classes is None
        else (told == target.predict(rows[far])).all()
    )


def test_a_logistic_regression_answers_through_the_client(client_library: Any, address: Callable[..., str]) -> None:
    target = logistic(1)
    with connect_bigml(address(served(target.to_bigml()))) as oracle:
        assert (oracle.spec.reveal.level, oracle.spec.omission) == ("probabilities", True)
        rows = incomplete(SPACE, 40, np.random.default_rng(0))
        replies = sorted(oracle.answer(Batch(i, row[None]) for i, row in enumerate(rows)), key=lambda r: r.batch.index)
    told = np.vstack([reply.answers.probabilities for reply in replies])
    known = rows.copy()
    known[:, ~SPACE.categorical] = np.round(known[:, ~SPACE.categorical], 5)
    assert np.array_equal(told, target.predict_proba(known))


def test_a_logistic_regression_is_extracted_through_the_client(
    client_library: Any, address: Callable[..., str]
) -> None:
    target = logistic(1)
    with connect_bigml(address(served(target.to_bigml()))) as oracle:
        run = filch.extract(oracle, attack="logistic-missing", budget=2_000)
    assert run.outcome.value == "verified", run.reason
    rows = incomplete(SPACE, 2_000, np.random.default_rng(2))
    rows[rows == -1] = np.nan
    rows[:, [0, 1, 4]] = np.clip(rows[:, [0, 1, 4]], SPACE.low[[0, 1, 4]], SPACE.high[[0, 1, 4]])
    assert (run.model.predict(rows) == target.predict(rows)).mean() >= 0.998


def test_credits_run_out(client_library: Any, address: Callable[..., str], account: Account) -> None:
    account.price, account.credits = 1.0, 30.0
    with (
        connect_bigml(address(served(to_bigml(tree()))), concurrency=1) as oracle,
        pytest.raises(
            Rejected, match=r"402 \(Not enough credits a prediction costs 1 credits, 0 are left\): .* --credits"
        ),
    ):
        filch.extract(oracle, attack=TreeTopDown(), budget=3_000)
    assert account.credits == 0


def test_a_wrong_key_a_wrong_model_and_no_server(
    client_library: Any,
    address: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = address(served(to_bigml(tree())))
    with pytest.raises(Rejected, match=r"404 .*check the model's id"):
        connect_bigml(url[:-24] + "0" * 24)
    monkeypatch.setenv("BIGML_API_KEY", "hunter2")
    with pytest.raises(Rejected, match=r"401 \(Unauthorized use\): check BIGML_USERNAME"):
        connect_bigml(url)
    with pytest.raises(Unreachable, match=r"no connection to 127\.0\.0\.1:9"):
        connect_bigml(f"bigml://127.0.0.1:9/model/{'0' * 24}", attempts=2)
    assert "hunter2" not in "".join(capsys.readouterr())


def test_a_server_that_is_too_busy_is_asked_again_and_paid_again(
    client_library: Any, hosted: Host, account: Account
) -> None:
    model = served(to_bigml(tree()))
    app, times = application({model.resource: model}, account), [0]

    async def busy(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            times[0] += 1
            if times[0] % 3:
                status = 429 if times[0] % 3 == 1 else 503
                body = b'{"code": 429, "status": {"code": -1, "message": "Too many requests"}}'
                await send({"type": "http.response.start", "status": status, "headers": []})
                await send({"type": "http.response.body", "body": body})
                return
        await app(scope, receive, send)

    url = f"bigml://{hosted(busy).removeprefix('http://')}/{model.resource}"
    paid = [0]

    def pay_again() -> bool:
        paid[0] += 1
        return True

    row = SPACE.sample(1, np.random.default_rng(0))
    with connect_bigml(url, concurrency=1) as oracle:
        (reply,) = oracle.answer(iter([Batch(0, row, pay_again)]))
        assert paid[0] == 2
        assert not reply.answers.refused.any()
    with connect_bigml(url, concurrency=1, attempts=1) as oracle:
        (reply,) = oracle.answer(iter([Batch(0, row, pay_again)]))
        assert reply.answers.refused.all()


def test_a_server_that_never_answers_is_given_up(client_library: Any, misbehaving: Any, account: Account) -> None:
    import time

    slow = misbehaving(lambda handler, body: (time.sleep(1.0), handler.answer(200, b"{}"))[1])
    url = slow.url.removeprefix("http://").removesuffix("/invocations")
    with pytest.raises(Unreachable, match=r"no answer in 0\.2 s: raise --timeout"):
        connect_bigml(f"bigml://{url}/model/{'0' * 24}", timeout=0.2, attempts=1)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"resource": 3}', b"\xff", b"<html>"])
def test_what_is_no_model_is_told(client_library: Any, misbehaving: Any, account: Account, body: bytes) -> None:
    broken = misbehaving(lambda handler, _: handler.answer(200, body))
    url = broken.url.removeprefix("http://").removesuffix("/invocations")
    with pytest.raises(filch.errors.ServiceError):
        connect_bigml(f"bigml://{url}/model/{'0' * 24}", attempts=2)


def test_connecting_needs_leave_a_user_and_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIGML_DOMAIN", raising=False)
    monkeypatch.delenv("BIGML_USERNAME", raising=False)
    model = "model/" + "0" * 24
    with pytest.raises(NotAuthorized, match=r"bigml\.io is not this machine.*--i-am-authorized"):
        connect_bigml(f"bigml://{model}")
    monkeypatch.setitem(__import__("sys").modules, "bigml.api", None)
    with pytest.raises(UsageError, match=r"pip install 'filch\[bigml\]'"):
        connect_bigml(f"bigml://127.0.0.1:9/{model}")


def test_connecting_needs_a_user(client_library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIGML_USERNAME", raising=False)
    with pytest.raises(UsageError, match="BIGML_USERNAME is not set"):
        connect_bigml("bigml://127.0.0.1:9/model/" + "0" * 24)


@pytest.mark.parametrize("address", ["bigml://", "bigml://model/1", "bigml://h/source/" + "0" * 24, "http://model/x"])
def test_addresses_that_name_no_model(address: str) -> None:
    with pytest.raises(UsageError, match="names no model"):
        parsed(address)


@pytest.mark.parametrize(
    "options",
    [{"concurrency": 0}, {"attempts": 0}, {"timeout": 0}, {"rate": -1}, {"strategy": "x"}, {"reveal": "node"}],
)
def test_arguments_that_cannot_be_right(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        connect_bigml("bigml://127.0.0.1:9/model/" + "0" * 24, **options)


def test_the_domain_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGML_DOMAIN", "127.0.0.1:8080")
    assert parsed("bigml://model/" + "0" * 24)[0] == "127.0.0.1:8080"


# ── bad input ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ask(hosted: Host, account: Account) -> Iterator[Callable[..., httpx.Response]]:
    """Post a prediction without the client."""
    model = served(to_bigml(tree()))
    url = hosted(application({model.resource: model}, account))
    with httpx.Client(base_url=url) as http:

        def post(body: Any, path: str = "/prediction", method: str = "POST", **query: str) -> httpx.Response:
            content = body if isinstance(body, bytes) else json.dumps({"model": model.resource, **body}).encode()
            keys = {"username": account.username, "api_key": account.api_key, **query}
            return http.request(method, path, content=content, params=keys)

        yield post


def test_inputs_that_are_ignored_are_reported(ask: Callable[..., httpx.Response]) -> None:
    data = {"age": "thirty", "share": True, "nope": 1, "job": ["a"], "owner": True, "000004": "2.5", "balance": 7}
    told = ask({"input_data": data}).json()
    assert sorted(told["prediction_path"]["bad_fields"]) == ["000000", "000001", "000002"]
    assert told["prediction_path"]["unknown_fields"] == ["nope"]
    assert told["input_data"] == data
    alone = ask({"input_data": {"owner": "true", "balance": 2.5}}).json()
    assert (told["output"], told["confidence"], told["fields"]) == (
        alone["output"],
        alone["confidence"],
        alone["fields"],
    )
    assert {"000003", "000004"} <= told["fields"].keys()


@pytest.mark.parametrize(
    ("value", "row"),
    [("NA", math.nan), (None, math.nan), ("?", math.nan), ("31", 31), (31.0, 31), ("1e400", math.nan), (31.000004, 31)],
)
def test_numbers_are_read_as_bigml_reads_them(value: Any, row: float) -> None:
    inputs = served(to_bigml(tree())).inputs
    assert inputs.read({"age": value}).row[0, 0] == pytest.approx(row, nan_ok=True, abs=0)


@pytest.mark.parametrize(
    ("body", "query", "status"),
    [
        (b"", {}, 400),
        (b'{"model"', {}, 400),
        (b"[]", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b" " * 2_000_000, {}, 413),
        ({"input_data": []}, {}, 400),
        ({"input_data": {}, "missing_strategy": 2}, {}, 400),
        ({"input_data": {}, "missing_strategy": "1"}, {}, 400),
        ({"model": None}, {}, 400),
        ({"model": "model/000000000000000000000000"}, {}, 404),
        ({"model": "source/1"}, {}, 404),
        ({}, {"api_key": "wrong"}, 401),
        ({}, {"username": ""}, 401),
        ({}, {"path": "/nothing", "method": "GET"}, 404),
        ({}, {"method": "DELETE"}, 405),
        ({}, {"path": "/andromeda/model/x", "method": "PUT"}, 405),
    ],
)
def test_what_cannot_be_answered_has_bigmls_error_body(
    ask: Callable[..., httpx.Response], body: Any, query: dict[str, str], status: int
) -> None:
    response = ask(body, **query)
    told = response.json()
    assert (response.status_code, told["code"]) == (status, status)
    assert told["status"]["code"] < 0
    assert told["status"]["message"]


def test_a_prediction_can_be_read_again(ask: Callable[..., httpx.Response]) -> None:
    made = ask({"input_data": {}})
    assert made.status_code == 201
    assert made.headers["location"].endswith(made.json()["resource"])
    assert ask(b"", path=f"/andromeda/{made.json()['resource']}", method="GET").json() == made.json()


def test_a_black_box_keeps_its_tree(ask: Callable[..., httpx.Response]) -> None:
    resource = ask({"input_data": {}}).json()["model"]
    shown = ask(b"", path=f"/andromeda/public/{resource}", method="GET").json()
    assert not shown["white_box"]
    assert shown["model"].keys() == {"kind", "fields", "missing_tokens"}
    assert shown["model"]["fields"]["000000"]["summary"] == {"minimum": 18, "maximum": 90}


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
wild = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
named = st.sampled_from(["age", "000001", "job", "owner", "balance", "?"]) | st.text(max_size=4)


@given(st.dictionaries(named, wild, max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_input_is_answered(data: dict[str, Any]) -> None:
    for model in (FUZZED, FUZZED_LOGISTIC):
        read = model.inputs.read(data)
        assert len(read.unknown) + len(read.bad) + len(read.values) <= len(data)
        for strategy in (0, 1):
            found = model.predict(read, strategy, white_box=True)
            assert json.loads(json.dumps(found, allow_nan=False))


@given(wild)
@settings(max_examples=200, deadline=None)
def test_any_answer_is_read_or_refused(answer: Any) -> None:
    public = public_model(FUZZED.raw)
    with contextlib.suppress(BadAnswer):
        public.decode([answer], np.zeros((1, 5)))


@given(st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_rows_survive_the_wire(seed: int) -> None:
    inputs: Inputs = FUZZED.inputs
    row = incomplete(SPACE, 1, np.random.default_rng(seed))[0]
    read = inputs.read(json.loads(json.dumps(inputs.write(row.tolist()))))
    assert read.row[0] == pytest.approx(np.where(SPACE.categorical, row, np.round(row, 5)), nan_ok=True, abs=1e-9)
    assert not read.unknown
    assert not read.bad


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_model_is_refused_with_a_reason(data: st.DataObject) -> None:
    for document in (FUZZED_JSON, FUZZED_LOGISTIC_JSON):
        text = json.dumps(document)
        damaged = json.loads(text)
        where: Any = damaged
        for _ in range(data.draw(st.integers(1, 6))):
            if not isinstance(where, (dict, list)) or not where:
                break
            key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
            if data.draw(st.booleans()):
                where[key] = data.draw(wild)
                break
            where = where[key]
        try:
            model = served(damaged)
        except UsageError as error:
            assert str(error)
        else:
            model.predict(model.inputs.read({}), 0, white_box=True)


FUZZED_JSON = to_bigml(tree(4, missing=0.3))
FUZZED = served(FUZZED_JSON)
FUZZED_LOGISTIC_JSON = logistic(4).to_bigml()
FUZZED_LOGISTIC = served(FUZZED_LOGISTIC_JSON)


def test_written_trees_read_back_the_same() -> None:
    rng = np.random.default_rng(0)
    rows = incomplete(SPACE, 500, rng)
    for seed in range(10):
        target = tree(seed, classes=None if seed % 2 else 3)
        again = read_bigml(to_bigml(target)).tree
        assert np.array_equal(again.ids[again.apply(rows)], target.ids[target.apply(rows)])
        for mine, theirs in zip(again.answer(rows)[1:], target.answer(rows)[1:], strict=True):
            assert np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")


def test_written_logistic_regressions_read_back_the_same() -> None:
    rows = incomplete(SPACE, 200, np.random.default_rng(0))
    for options in ({}, {"normalize": True}, {"bias": False}):
        target = logistic(0, **options)
        assert np.array_equal(read_bigml_logistic(target.to_bigml()).predict_proba(rows), target.predict_proba(rows))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"field_codings": [{"field": "000002", "coding": "contrast", "coefficients": [[1, 2]]}]}, "only dummy coding"),
        ({"coefficients": [["x", [[1, 2]]]]}, "no BigML logistic regression|coefficients"),
        ({"coefficients": []}, "no BigML logistic regression|do not fit"),
        ({"fields": {}}, "no BigML logistic regression"),
    ],
)
def test_logistic_regressions_that_are_not_supported(change: dict[str, Any], said: str) -> None:
    document = logistic().to_bigml()
    document["object"]["logistic_regression"] |= change
    with pytest.raises(UsageError, match=said):
        served(document)


def test_a_missing_number_that_the_model_does_not_take(account: Account) -> None:
    model = served(logistic(0, missing_numerics=False).to_bigml())
    with pytest.raises(UsageError, match="takes no missing numbers: give a value for 'age'"):
        model.predict(model.inputs.read({"share": 1}), 0, white_box=False)
    assert not public_model(model.raw).spec.omission


@pytest.mark.parametrize("kind", ["text", "items", "datetime"])
def test_a_field_of_a_type_that_is_not_supported_is_named(kind: str) -> None:
    document = json.loads(json.dumps(FUZZED_JSON))
    document["object"]["model"]["fields"]["000002"]["optype"] = kind
    with pytest.raises(UsageError, match=f"field 'job' is of type {kind}"):
        served(document)


def test_a_resource_without_a_name_is_refused() -> None:
    document = json.loads(json.dumps(FUZZED_JSON))
    document["object"]["resource"] = "model/1"
    with pytest.raises(UsageError, match="24 hexadecimal digits"):
        served(document)


@pytest.mark.parametrize("options", [{"username": ""}, {"api_key": ""}, {"price": -1}, {"credits": -0.5}])
def test_accounts_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Account(**options)
