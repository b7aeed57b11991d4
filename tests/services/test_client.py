from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from filch.core.answers import Answers, Reveal
from filch.core.drive import Recital, Run, drive
from filch.core.features import FeatureSpace
from filch.core.journal import Journal
from filch.core.oracle import Batch, ModelOracle, OracleSpec
from filch.errors import (
    BadAnswer,
    FilchError,
    NotAuthorized,
    NotRevealed,
    Rejected,
    SchemaError,
    Unreachable,
    UsageError,
)
from filch.services import retry, transport
from filch.services.client import HttpOracle, connect
from filch.services.dialects import Question, by_name
from filch.services.server import application

from .conftest import RECORDED, Handler, Misbehaving, Step

Start = Callable[..., Misbehaving]
CLASSES = ("a", "b", "c")


# ── steps of a misbehaving server ───────────────────────────────────────────────────────────────────────────────


def status(code: int, body: bytes = b"", **headers: str) -> Step:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.answer(code, body, named)


def even(handler: Handler, body: bytes) -> None:
    """Answer well, with equal probabilities."""
    rows = msgspec.json.decode(body)["inputs"]
    handler.answer(200, msgspec.json.encode({"predictions": [[0.5, 0.25, 0.25]] * len(rows)}))


def nothing(handler: Handler, _: bytes) -> None:
    handler.close_connection = True


def half(handler: Handler, _: bytes) -> None:
    handler.answer(200, b'{"predictions": [[0.5, 0.2', length=1000)
    handler.close_connection = True


def drip(handler: Handler, _: bytes) -> None:
    """Answer a byte at a time, each in time, for longer than anyone should wait."""
    handler.answer(200, b"", length=1000)
    for _step in range(20):
        handler.wfile.write(b" ")
        time.sleep(0.05)
    handler.close_connection = True


def slow(seconds: float, then: Step = even) -> Step:
    def step(handler: Handler, body: bytes) -> None:
        time.sleep(seconds)
        then(handler, body)

    return step


too_slow = slow(1.5)


def oracle_at(server: Misbehaving, box: FeatureSpace, **options: object) -> HttpOracle:
    known = {"dialect": "mlflow", "space": box, "classes": CLASSES, "attempts": 3, **options}
    return connect(server.url, **known)  # type: ignore[arg-type]


def ask(oracle: HttpOracle, n: int = 10, budget: int = 1000, **options: object) -> Run:
    rows = oracle.spec.space.sample(n, np.random.default_rng(0))
    with oracle:
        return drive(oracle, Recital(rows), budget=budget, keep_answers=True, **options)  # type: ignore[arg-type]


# ── an honest server ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dialect", ["kserve-v2", "mlflow"])
@pytest.mark.parametrize("reveal", [Reveal(), Reveal("probabilities", 3), Reveal("top-1"), Reveal("labels")])
def test_remote_answers_are_the_local_ones(
    hosted: Callable[..., str], softmax: LogisticRegression, box: FeatureSpace, dialect: str, reveal: Reveal
) -> None:
    local = ModelOracle(softmax, box, reveal=reveal, max_batch=64)
    url = hosted(application({"m": local}, dialect=dialect)) + by_name(dialect).route("m")
    facts = {} if dialect == "kserve-v2" else {"space": box, "classes": CLASSES, "reveal": reveal, "max_batch": 64}
    remote = connect(url, dialect=dialect, **facts)  # type: ignore[arg-type]
    assert remote.spec == local.spec
    run = ask(remote, 500)
    assert run.answers is not None and run.ledger.paid == 500 and run.requests == 8
    for name, array in local.ask(run.answers.rows).arrays().items():
        assert np.array_equal(run.answers.arrays()[name], array, equal_nan=name == "probabilities")


def test_what_the_metadata_does_not_tell_must_be_given(misbehaving: Start, box: FeatureSpace) -> None:
    server = misbehaving(status(200, b'{"name": "m", "inputs": [], "outputs": []}'))
    url = server.url.replace("/invocations", "/v2/models/m")
    with pytest.raises(SchemaError, match="tells no schema: pass space="):
        connect(url)
    with pytest.raises(UsageError, match="does not tell its classes: pass classes="):
        connect(url, space=box)
    with connect(url, space=box, classes=CLASSES) as oracle:
        assert oracle.spec.classes == CLASSES and oracle.spec.max_batch == 1000 and not oracle.spec.omission
    with connect(url, space=box, reveal="value") as oracle:
        assert oracle.spec.classes is None


def test_a_server_without_metadata_is_asked_all_the_same(misbehaving: Start, box: FeatureSpace) -> None:
    server = misbehaving(status(404))
    with connect(server.url.replace("/invocations", "/v2/models/m"), space=box, classes=CLASSES) as oracle:
        assert oracle.spec.space is box


def test_a_coarser_reveal_may_be_asked_for_but_no_finer_one(
    hosted: Callable[..., str], softmax: LogisticRegression, box: FeatureSpace
) -> None:
    base = hosted(application({"all": ModelOracle(softmax, box), "few": ModelOracle(softmax, box, reveal="labels")}))
    run = ask(connect(f"{base}/v2/models/all", reveal="labels"))
    assert run.answers is not None and run.answers.probabilities is None
    with pytest.raises(NotRevealed, match="reveals labels, not probabilities"):
        connect(f"{base}/v2/models/few", reveal="probabilities")


# ── failures, each with its mend, and each paid ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("step", "error", "message", "transmissions"),
    [
        (status(401), Rejected, "answers 401: set FILCH_TOKEN", 1),
        (status(403, b'{"detail": "no"}'), Rejected, r"answers 403 \(no\): set FILCH_TOKEN", 1),
        (status(404), Rejected, "answers 404: check the path and the model's name", 1),
        (status(400, b'{"error": "bad row"}'), Rejected, r"answers 400 \(bad row\): check the feature space", 1),
        (status(500, b"Traceback:\nValueError: 3 features"), Rejected, r"500 \(ValueError: 3 features\): see the", 1),
        (status(500, b"<html>sorry"), Rejected, r"500 \(a web page\)", 1),
        (status(302, Location="http://127.0.0.1:9/x?key=1"), Rejected, r"names \(http://127.0.0.1:9/x\)", 1),
        (status(302), Rejected, "use the new address", 1),
        (status(503), Rejected, "answers 503: see the server's log", 3),
        (status(200, b"<html>welcome"), BadAnswer, "the answer is a web page: check the address", 1),
        (status(200, b""), BadAnswer, "the answer is not understood", 1),
        (status(200, b'{"predictions": [[0.5, 0.25, 0.25]]}'), BadAnswer, "10 rows were asked, but 1", 1),
        (status(200, b'{"predictions": ["a"]}'), BadAnswer, "pyfunc_predict_fn='predict_proba'", 1),
        (status(200, b"zip", Content_Encoding="gzip"), BadAnswer, "broken compression", 1),
        (half, BadAnswer, "breaks off", 3),
        (nothing, Unreachable, "closes the connection without an answer", 3),
        (too_slow, Unreachable, "gives no answer in 0.1 s: raise --timeout", 3),
        (drip, Unreachable, "gives no answer in 0.1 s: raise --timeout", 3),
    ],
)
def test_a_failure_names_its_mend_and_every_transmission_is_paid(
    misbehaving: Start,
    box: FeatureSpace,
    tmp_path: Path,
    step: Step,
    error: type[FilchError],
    message: str,
    transmissions: int,
) -> None:
    server = misbehaving(step)
    with Journal(tmp_path / "run.db") as journal, pytest.raises(error, match=message) as caught:
        ask(oracle_at(server, box, timeout=0.1 if step in (too_slow, drip) else 30), journal=journal)
    assert "\n" not in str(caught.value)
    assert len(server.seen) == transmissions
    with Journal(tmp_path / "run.db") as journal:
        paid = journal._read("SELECT attempts FROM batches", ())
    assert paid == [(transmissions,)]


@pytest.mark.parametrize("failing", [status(429), status(502), status(503), nothing, half, too_slow])
def test_what_passes_is_tried_again_and_paid_again(misbehaving: Start, box: FeatureSpace, failing: Step) -> None:
    server = misbehaving(failing, even)
    run = ask(oracle_at(server, box, timeout=1 if failing is too_slow else 30))
    assert run.answers is not None and not run.answers.refused.any()
    assert (run.ledger.paid, run.ledger.sent, run.requests) == (20, 20, 2)
    assert server.seen[0][1] == server.seen[1][1]


def test_rows_still_refused_after_all_attempts_are_marked(misbehaving: Start, box: FeatureSpace) -> None:
    server = misbehaving(even, status(429))
    run = ask(oracle_at(server, box, max_batch=5, concurrency=1))
    assert run.answers is not None and run.answers.refused.tolist() == [False] * 5 + [True] * 5
    assert run.answers.given.probabilities is not None and len(run.answers.given) == 5
    assert run.ledger.paid == 5 + 3 * 5


@pytest.mark.parametrize(
    ("classes", "reveal"),
    [(CLASSES, "labels"), (CLASSES, "top-1"), (CLASSES, "scores"), (("a", "b"), "scores"), (CLASSES, "node")],
)
def test_refused_rows_join_with_answered_ones(
    misbehaving: Start, box: FeatureSpace, classes: tuple[str, ...], reveal: str
) -> None:
    spec = OracleSpec(box, classes, Reveal(reveal))
    n, width = 5, 1 if len(classes) == 2 else len(classes)
    full = Answers(
        np.zeros((n, 3)),
        labels=np.zeros(n, dtype=int),
        probabilities=np.full((n, len(classes)), 1 / len(classes)),
        scores=np.zeros((n, width)),
        node=np.ones(n, dtype=int),
    )
    kserve = by_name("kserve-v2")
    good = kserve.encode_answers(spec.reveal.apply(full), Question(full.rows), "m", spec)
    server = misbehaving(status(404), status(200, good), status(429))
    url = server.url.replace("/invocations", "/v2/models/m")
    run = ask(connect(url, space=box, classes=classes, reveal=reveal, max_batch=5, concurrency=1, attempts=1))
    assert run.answers is not None and run.answers.refused.sum() == 5


def test_no_budget_no_further_attempt(misbehaving: Start, box: FeatureSpace) -> None:
    server = misbehaving(status(429))
    run = ask(oracle_at(server, box), budget=15)
    assert run.answers is not None and run.answers.refused.all()
    assert run.ledger.paid == 10 and len(server.seen) == 1


@pytest.mark.parametrize("date", [False, True])
def test_retry_after_is_honoured(misbehaving: Start, box: FeatureSpace, date: bool) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if date else "1"
    server = misbehaving(status(429, Retry_After=moment), even)
    started = time.monotonic()
    ask(oracle_at(server, box))
    assert time.monotonic() - started >= 0.9


@pytest.mark.parametrize("header", ["soon", "", "-3", "Thu, 01 Jan 1970 00:00:00 GMT", "²", "1e9"])
def test_a_retry_after_that_says_nothing_is_ignored(header: str) -> None:
    assert transport._retry_after(header) == 0


def test_a_retry_after_of_years_is_capped(
    misbehaving: Start, box: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_LONGEST_PAUSE", 0.05)
    server = misbehaving(status(503, Retry_After="9" * 400), even)
    assert ask(oracle_at(server, box)).requests == 2


def test_nobody_listens(box: FeatureSpace, misbehaving: Start) -> None:
    oracle = connect("http://127.0.0.1:1", dialect="mlflow", space=box, classes=CLASSES, attempts=2)
    with pytest.raises(Unreachable, match=r"no connection to http://127\.0\.0\.1:1/invocations: is the server running"):
        ask(oracle)
    with pytest.raises(Unreachable, match="no connection"):
        connect("http://127.0.0.1:1/v2/models/m", attempts=1)


def test_a_certificate_that_nobody_signed(misbehaving: Start, box: FeatureSpace, tmp_path: Path) -> None:
    server = misbehaving(even, tls=True)
    with pytest.raises(Unreachable, match=r"not trusted \(self-signed certificate\): give the authority's file with"):
        ask(oracle_at(server, box))
    assert ask(oracle_at(server, box, verify=RECORDED / "loopback.pem")).ledger.paid == 10
    assert ask(oracle_at(server, box, verify=False)).ledger.paid == 10
    with pytest.raises(UsageError, match="no file of certificate authorities"):
        oracle_at(server, box, verify=tmp_path / "none.pem")
    (tmp_path / "no.pem").write_text("no certificate")
    with pytest.raises(UsageError, match="no file of certificate authorities"):
        oracle_at(server, box, verify=tmp_path / "no.pem")


def test_tls_to_a_server_that_speaks_none(misbehaving: Start, box: FeatureSpace) -> None:
    server = misbehaving(even)
    server.url = server.url.replace("http:", "https:")
    with pytest.raises(Unreachable, match="or http:// if the server speaks no TLS"):
        ask(oracle_at(server, box))


# ── concurrency ─────────────────────────────────────────────────────────────────────────────────────────────────


def batches(box: FeatureSpace, n: int, pulled: list[int]) -> Iterator[Batch]:
    for index in range(n):
        pulled.append(index)
        yield Batch(index, box.sample(2, np.random.default_rng(index)))


def test_a_batch_is_pulled_only_when_a_slot_is_free(misbehaving: Start, box: FeatureSpace) -> None:
    gate, pulled = threading.Event(), list[int]()

    def gated(handler: Handler, body: bytes) -> None:
        gate.wait(5)
        even(handler, body)

    server = misbehaving(gated)
    with oracle_at(server, box, concurrency=3) as oracle:
        replies = oracle.answer(batches(box, 9, pulled))
        first = threading.Thread(target=lambda: next(replies))
        first.start()
        while len(server.seen) < 3:
            time.sleep(0.01)
        assert pulled == [0, 1, 2]
        gate.set()
        first.join()
        assert sorted(reply.batch.index for reply in replies) == sorted(set(range(9)) - {0, 1, 2}) or len(pulled) == 9


def test_replies_come_as_they_complete_and_are_put_in_order_by_the_driver(
    misbehaving: Start, box: FeatureSpace
) -> None:
    rows = box.sample(40, np.random.default_rng(0))

    def first_column(handler: Handler, body: bytes) -> None:
        asked = np.array(msgspec.json.decode(body)["inputs"])
        time.sleep(0.5 if np.array_equal(asked[0], rows[0]) else 0)
        handler.answer(200, msgspec.json.encode({"predictions": asked[:, 0].tolist()}))

    server = misbehaving(first_column)
    oracle = oracle_at(server, box, reveal="value", max_batch=5)
    order = [r.batch.index for r in oracle.answer(Batch(i, rows[5 * i : 5 * i + 5]) for i in range(8))]
    assert sorted(order) == list(range(8)) and order[0] != 0
    with oracle:
        run = drive(oracle, Recital(rows), budget=100, keep_answers=True)
    assert run.answers is not None and np.array_equal(run.answers.value, rows[:, 0])


def test_answers_in_flight_are_kept_when_another_request_fails(misbehaving: Start, box: FeatureSpace) -> None:
    server = misbehaving(slow(0.6), status(400))
    pulled: list[int] = []
    with oracle_at(server, box, concurrency=2) as oracle:
        replies = oracle.answer(batches(box, 9, pulled))
        assert len(next(replies).answers) == 2
        with pytest.raises(Rejected, match="400"):
            next(replies)
    assert pulled == [0, 1]


def test_at_most_so_many_requests_a_second(misbehaving: Start, box: FeatureSpace) -> None:
    started = time.monotonic()
    ask(oracle_at(misbehaving(even), box, rate=20, max_batch=2))
    assert time.monotonic() - started >= 4 / 20


# ── credentials, and hosts that are not this machine ────────────────────────────────────────────────────────────


def test_credentials_reach_the_server_and_nothing_else(
    misbehaving: Start,
    box: FeatureSpace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secrets = {"FILCH_TOKEN": "t0p-s3cret", "MY_KEY": "k3y-s3cret"}
    for variable, value in secrets.items():
        monkeypatch.setenv(variable, value)

    def echo(handler: Handler, _: bytes) -> None:
        told = f"{handler.headers['Authorization']} {handler.headers['X-Api-Key']} {handler.path} no good"
        handler.answer(401, msgspec.json.encode({"detail": told}))

    caplog.set_level(logging.DEBUG)
    server = misbehaving(even, echo)
    server.url += "?key=qu3ry-s3cret"
    oracle = oracle_at(server, box, max_batch=5, concurrency=1, headers_env={"X-Api-Key": "MY_KEY"})
    with Journal(tmp_path / "run.db") as journal, pytest.raises(Rejected) as caught:
        ask(oracle, journal=journal)
    headers = server.seen[0][0]
    assert headers["Authorization"] == "Bearer t0p-s3cret" and headers["X-Api-Key"] == "k3y-s3cret"
    assert str(caught.value).endswith(
        "answers 401 (*** *** /invocations?key=*** no good): check the credentials in FILCH_TOKEN, MY_KEY"
    )
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"mlflow at http://127.0.0.1" in written
    for text in (str(caught.value), oracle.fingerprint(), repr(oracle), written.decode("latin-1")):
        assert "s3cret" not in text
    assert "HTTP Request: POST http://127.0.0.1" in caplog.text and "s3cret" not in caplog.text


def test_user_and_password_of_the_url_are_sent_and_nothing_else(
    misbehaving: Start, box: FeatureSpace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILCH_TOKEN", "unused")
    caplog.set_level(logging.DEBUG)
    server = misbehaving(lambda handler, _: handler.answer(401, handler.headers["Authorization"].encode()))
    server.url = server.url.replace("//", "//ada:s3cret@")
    oracle = oracle_at(server, box)
    with pytest.raises(Rejected, match=r"answers 401 \(\*\*\*\): check the credentials in the URL") as caught:
        ask(oracle)
    assert server.seen[0][0]["Authorization"] == "Basic YWRhOnMzY3JldA=="
    assert not any("s3cret" in text for text in (str(caught.value), oracle.fingerprint(), repr(oracle), caplog.text))


def test_a_header_s_variable_must_hold_a_header(monkeypatch: pytest.MonkeyPatch, box: FeatureSpace) -> None:
    url = "http://127.0.0.1:1"
    with pytest.raises(UsageError, match="environment variable NO_KEY is not set: it should hold the header X-Key"):
        connect(url, dialect="mlflow", space=box, classes=CLASSES, headers_env={"X-Key": "NO_KEY"})
    monkeypatch.setenv("FILCH_TOKEN", "two\nlines")
    with pytest.raises(UsageError, match="FILCH_TOKEN holds what no header may") as caught:
        connect(url, dialect="mlflow", space=box, classes=CLASSES)
    assert "lines" not in str(caught.value)
    monkeypatch.setenv("FILCH_TOKEN", "fine")
    with pytest.raises(UsageError, match="'X:' is no name of a header"):
        connect(url, dialect="mlflow", space=box, classes=CLASSES, headers_env={"X:": "FILCH_TOKEN"})


@pytest.mark.parametrize("host", ["api.example", "10.0.0.1", "localhost.example", "0.0.0.0", "[2001:db8::1]"])
def test_another_host_needs_a_name(box: FeatureSpace, host: str) -> None:
    url = f"https://{host}/invocations"
    with pytest.raises(NotAuthorized, match="--i-am-authorized NAME"):
        connect(url, dialect="mlflow", space=box, classes=CLASSES)
    with connect(url, dialect="mlflow", space=box, classes=CLASSES, authorized_by="Ada") as oracle:
        assert oracle.authorized_by == "Ada" and not oracle.local


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine_is_open(box: FeatureSpace, host: str) -> None:
    connect(f"http://{host}:1", dialect="mlflow", space=box, classes=CLASSES).close()


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ftp://127.0.0.1", {}, "not a web address"),
        ("127.0.0.1:80", {}, "not a web address"),
        ("http://127.0.0.1:port", {}, "not a web address"),
        ("http://127.0.0.1", {"dialect": "soap"}, "no dialect 'soap'"),
        ("http://127.0.0.1", {"concurrency": 0}, "concurrency must be at least 1"),
        ("http://127.0.0.1", {"attempts": 0}, "attempts must be at least 1"),
        ("http://127.0.0.1", {"timeout": 0}, "timeout must be above 0"),
        ("http://127.0.0.1", {"rate": -1}, "rate must be above 0"),
        ("http://127.0.0.1", {"max_batch": 0}, "max_batch must be at least 1"),
        ("http://127.0.0.1", {"classes": ("a",)}, "pass classes="),
        ("http://127.0.0.1", {"reveal": "scores"}, "MLflow's protocol shows labels"),
        ("http://127.0.0.1/v2", {"dialect": "kserve-v2"}, "names no model"),
    ],
)
def test_an_argument_that_cannot_be_right(
    box: FeatureSpace, url: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        connect(url, **{"dialect": "mlflow", "space": box, "classes": CLASSES, **options})  # type: ignore[arg-type]


def test_a_closed_oracle_says_so(misbehaving: Start, box: FeatureSpace) -> None:
    oracle = oracle_at(misbehaving(even), box)
    oracle.close()
    with pytest.raises(UsageError, match="closed: connect anew"):
        list(oracle.answer(batches(box, 1, [])))


def test_a_forgotten_oracle_closes_itself(misbehaving: Start, box: FeatureSpace) -> None:
    oracle = oracle_at(misbehaving(even), box)
    list(oracle.answer(batches(box, 2, [])))
    client = oracle._transport.client
    assert isinstance(client, httpx.Client) and not client.is_closed
    del oracle
    assert client.is_closed
