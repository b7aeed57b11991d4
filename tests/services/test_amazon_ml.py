"""The emulated Amazon Machine Learning, asked by boto3 and by hand."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest
import uvicorn

import filch
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import Batch, ModelOracle
from filch.errors import NotAuthorized, Rejected, SchemaError, ServiceError, Unreachable, UsageError
from filch.models.binned import BinnedLinear
from filch.services.amazon_ml.account import AmazonAccount
from filch.services.amazon_ml.oracle import connect_amazon, parsed
from filch.services.amazon_ml.records import read_record, write_record
from filch.services.amazon_ml.server import Served, Service, application, serving_amazon
from filch.services.server import listening

boto3 = pytest.importorskip("boto3", reason="needs Amazon's client: pip install 'filch[amazon]'")
SPACE = FeatureSpace(
    (Numeric("age", 18, 80, integer=True), Numeric("x", -1.5, 2.5), Categorical("job", ("a", "b", None)))
)


def model(classes=2, **settings):
    table = SPACE.decode(SPACE.sample(400, np.random.default_rng(0)))
    score = table["x"] + table["age"] / 20 + (table["job"] == "b")
    y = score.to_numpy() if not classes else np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))
    return BinnedLinear({"age": 4, "x": 3}, **settings).fit(table, y if not classes else np.array(list("pqrs"))[y])


class Running:
    """A service in a thread of this process, whose clock and models a test may change."""

    def __init__(self, kinds=(2, 3, 0), **account):
        self.account = AmazonAccount(**account)
        served = {}
        for kind in kinds:
            oracle = ModelOracle(model(kind), SPACE, omission=True, reveal="probabilities" if kind else "value")
            served[f"ml-{kind}"] = Served(oracle)
        self.service = Service(served, self.account)
        self.skew = timedelta()
        self.service.clock = lambda: datetime.now(UTC) + self.skew

    def client(self, **keys):
        keys = {"aws_access_key_id": self.account.access_key, "aws_secret_access_key": self.account.secret_key, **keys}
        session = boto3.session.Session(region_name="us-east-1")
        return session.client("machinelearning", endpoint_url=self.url, config=_settings(), **keys)

    def connect(self, kind=2, **options):
        classes = "pqrs"[:kind] if kind > 2 else None
        options = {"space": SPACE, "account": self.account, "classes": classes, **options}
        return connect_amazon(f"amazon-ml://{self.url.removeprefix('http://')}/ml-{kind}", **options)


def _settings():
    from botocore.config import Config

    return Config(retries={"total_max_attempts": 1})


@contextlib.contextmanager
def running(**account):
    found = Running(**account)
    with listening("127.0.0.1", 0) as listener:
        found.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(application(found.service), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield found
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def service():
    with running(peak=1e6) as found:
        yield found


def code(call, *args, **kwargs):
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value.response["Error"]["Code"]


# ── operations ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_operations_answer_as_documented(service):
    client = service.client()
    told = client.get_ml_model(MLModelId="ml-2", Verbose=True)
    assert (told["MLModelType"], told["ScoreThreshold"], told["Status"]) == ("BINARY", 0.5, "COMPLETED")
    assert [a["fieldType"] for a in json.loads(told["Schema"])["attributes"]] == ["NUMERIC", "NUMERIC", "CATEGORICAL"]
    url = told["EndpointInfo"]["EndpointUrl"]
    record = {"age": "40", "x": "0.5", "job": "b"}
    target = service.service.models
    row = np.array([[40.0, 0.5, 1.0]])
    binary = client.predict(MLModelId="ml-2", Record=record, PredictEndpoint=url)["Prediction"]
    answers = target["ml-2"].oracle.ask(row)
    assert binary["details"] == {"Algorithm": "SGD", "PredictiveModelType": "BINARY"}
    assert binary["predictedScores"] == {binary["predictedLabel"]: float(f"{answers.probabilities[0, 1]:.16g}")}
    several = client.predict(MLModelId="ml-3", Record=record, PredictEndpoint=url)["Prediction"]
    assert set(several["predictedScores"]) == {"p", "q", "r"}
    assert several["predictedLabel"] == max(several["predictedScores"], key=several["predictedScores"].get)
    value = client.predict(MLModelId="ml-0", Record={}, PredictEndpoint=url)["Prediction"]["predictedValue"]
    assert value == pytest.approx(target["ml-0"].oracle.ask(np.full((1, 3), np.nan)).value[0], abs=1e-15)


def test_an_endpoint_comes_and_goes():
    with running() as found:
        client, served = found.client(), found.service.models["ml-2"]
        served.mounting = 0.5
        ask = {"MLModelId": "ml-2", "Record": {}, "PredictEndpoint": found.url}
        assert client.delete_realtime_endpoint(MLModelId="ml-2")["RealtimeEndpointInfo"]["EndpointStatus"] == "NONE"
        assert code(client.predict, **ask) == "PredictorNotMountedException"
        with pytest.raises(ServiceError, match="no real-time endpoint"):
            found.connect()
        told = client.create_realtime_endpoint(MLModelId="ml-2")["RealtimeEndpointInfo"]
        assert told["EndpointStatus"] == "UPDATING"
        assert code(client.predict, **ask) == "PredictorNotMountedException"
        with found.connect() as oracle:  # waits until it is ready, and pays once
            (reply,) = oracle.answer(iter([Batch(0, np.full((1, 3), np.nan), lambda: pytest.fail("paid twice"))]))
        assert reply.answers.probabilities is not None
        assert found.account.predictions == 1 and found.account.dollars() == 0.0001


def test_requests_that_are_refused(service):
    client = service.client()
    assert code(client.get_ml_model, MLModelId="ml-9") == "ResourceNotFoundException"
    ask = {"MLModelId": "ml-2", "PredictEndpoint": service.url}
    assert code(client.predict, Record={"age": "old"}, **ask) == "InvalidInputException"
    assert code(client.get_evaluation, EvaluationId="e") == "UnknownOperationException"
    assert code(client.predict, Record={"job": "a" * 16 * 2**20}, **ask) == "RequestEntityTooLargeException"
    from botocore.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        client.predict(Record={"age": 40}, **ask)


# ── signatures ──────────────────────────────────────────────────────────────────────────────────────────────


def signed(service, body, target="Predict", secret=None):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    headers = {"X-Amz-Target": f"AmazonML_20141212.{target}", "Content-Type": "application/x-amz-json-1.1"}
    request = AWSRequest("POST", f"{service.url}/", headers=headers, data=body)
    keys = Credentials(service.account.access_key, secret or service.account.secret_key)
    SigV4Auth(keys, "machinelearning", "us-east-1").add_auth(request)
    return dict(request.headers)


def post(service, body, headers):
    answer = httpx.post(f"{service.url}/", content=body, headers=headers)
    return answer.status_code, answer.json().get("__type")


def test_signatures(service):
    body = json.dumps({"MLModelId": "ml-2", "Record": {"age": "40"}, "PredictEndpoint": service.url})
    headers = signed(service, body)
    assert post(service, body, headers) == (200, None)
    assert post(service, body.replace("40", "41"), headers) == (400, "InvalidSignatureException")
    assert post(service, body, {**headers, "X-Amz-Target": "AmazonML_20141212.GetMLModel"}) == (
        400,
        "InvalidSignatureException",
    )
    assert post(service, body, {}) == (400, "MissingAuthenticationTokenException")
    assert post(service, body, {**headers, "Authorization": "Basic x"}) == (400, "IncompleteSignatureException")
    assert post(service, body, signed(service, body, secret="other")) == (400, "InvalidSignatureException")
    assert (
        code(service.client(aws_access_key_id="NOBODY").get_ml_model, MLModelId="ml-2") == "UnrecognizedClientException"
    )
    for minutes in (6, -6):  # replayed late; a clock that is ahead
        service.skew = timedelta(minutes=minutes)
        try:
            assert post(service, body, headers) == (400, "InvalidSignatureException")
        finally:
            service.skew = timedelta()
    assert post(service, body, headers) == (200, None)  # replayed within five minutes, as at Amazon


@pytest.mark.parametrize("body", ["", "[]", "{", '{"MLModelId": 3}', '{"MLModelId": "ml-2", "Record": {"age": 40}}'])
def test_bodies_that_no_client_writes(service, body):
    status, kind = post(service, body, signed(service, body))
    assert status == 400 and kind in ("SerializationException", "InvalidInputException")


def test_values_that_are_no_texts(service):
    body = json.dumps({"MLModelId": "ml-2", "Record": {"age": 40}, "PredictEndpoint": service.url})
    assert post(service, body, signed(service, body)) == (400, "InvalidInputException")


# ── the oracle ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [0, 2, 3])
def test_answers_are_those_of_the_model_in_their_order(service, kind):
    rng = np.random.default_rng(1)
    rows = SPACE.sample(60, rng)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    rows[0, 2] = -1.0
    with service.connect(kind, concurrency=6) as oracle:
        replies = list(oracle.answer(Batch(i, rows[i : i + 1]) for i in range(60)))
    replies.sort(key=lambda reply: reply.batch.index)
    true = service.service.models[f"ml-{kind}"].oracle.ask(rows)
    for i, reply in enumerate(replies):
        assert np.array_equal(reply.answers.rows, rows[i : i + 1], equal_nan=True)
        if kind:
            assert np.allclose(reply.answers.probabilities[0], true.probabilities[i], rtol=0, atol=1e-15)
            assert reply.answers.labels[0] == true.labels[i]
        else:
            assert reply.answers.value[0] == pytest.approx(true.value[i], rel=1e-14)


@pytest.mark.parametrize("kind", [0, 2, 3])
def test_models_are_extracted_through_boto3(service, kind):
    before = service.account.predictions
    with service.connect(kind) as oracle:
        run = filch.extract(oracle, "binned-linear", budget=300, seed=1, curve=False)
    assert run.outcome.value == "verified", run.reason
    assert service.account.predictions - before == run.queries + run.selection
    assert np.allclose(run.model.edges_["x"], service.service.models[f"ml-{kind}"].oracle.model.edges_["x"], atol=4e-3)


def test_throttling_in_a_search_is_waited_for_and_paid_once():
    with running(peak=40) as found:
        found.account._tokens = 5.0
        with found.connect() as oracle:
            run = filch.extract(oracle, "binned-linear", budget=300, curve=False)
        assert run.outcome.value == "verified"
        assert found.account.predictions == run.queries + run.selection == run.ledger.sent


def test_an_endpoint_that_goes_in_a_search_ends_it_and_the_journal_pays_the_rest_once(tmp_path):
    with running(peak=1e6) as found:
        served, account = found.service.models["ml-2"], found.account
        charge = account.charge

        def last():
            charge()
            served.endpoint = account.predictions < 12

        account.charge = last
        ask = {"budget": 300, "seed": 3, "curve": False, "journal": tmp_path / "run.db"}
        with found.connect(attempts=1, concurrency=1) as oracle, pytest.raises(Rejected, match="PredictorNotMounted"):
            filch.extract(oracle, "binned-linear", **ask)
        assert account.predictions == 12
        account.charge, served.endpoint, account.peak, account._tokens = charge, True, 40, 3.0
        with found.connect() as oracle:  # throttled, too
            run = filch.extract(oracle, "binned-linear", **ask)
        assert run.outcome.value == "verified"
        # The row that was refused as the run ended may have been answered, for all that the journal tells.
        assert [entry.rows for entry in run.uncertain] == [1]
        assert account.predictions + 1 == run.queries + run.selection


def test_throttling_that_does_not_end_marks_rows_refused():
    with running(peak=1e-6) as found:
        found.account._tokens = 0.0
        with found.connect(attempts=2) as oracle:
            (reply,) = oracle.answer(iter([Batch(0, np.full((1, 3), np.nan))]))
    assert reply.answers.refused.all()


def test_nobody_there_is_said_and_paid():
    with running() as found:
        oracle = found.connect(attempts=2)
    paid = []
    with pytest.raises(Unreachable):
        list(oracle.answer(iter([Batch(0, np.full((1, 3), np.nan), lambda: not paid.append(1))])))
    assert paid == [1]


def test_misuse(service):
    with pytest.raises(SchemaError, match="space="):
        service.connect(space=None)
    with pytest.raises(UsageError, match="classes"):
        service.connect(3, classes=None)
    with pytest.raises(UsageError, match="concurrency"):
        service.connect(concurrency=0)
    with pytest.raises(NotAuthorized):
        connect_amazon("amazon-ml://ml-1", space=SPACE)
    with pytest.raises(Rejected, match="InvalidSignature"):
        service.connect(account=AmazonAccount(service.account.access_key))
    for address in ("amazon-ml://", "http://x/ml-1", "amazon-ml://a/b/c"):
        with pytest.raises(UsageError):
            parsed(address)
    for settings in ({"access_key": ""}, {"peak": 0}, {"memory": 0}):
        with pytest.raises(UsageError):
            AmazonAccount(**settings)


def test_records_keep_every_digit():
    rng = np.random.default_rng(3)
    rows = SPACE.sample(200, rng)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    for row in rows:
        again = read_record(write_record(row.tolist(), SPACE), SPACE)[0]
        missing = row[2] == 2.0
        assert np.array_equal(again[:2], row[:2], equal_nan=True)
        assert np.isnan(again[2]) if missing or np.isnan(row[2]) else again[2] == row[2]


def test_a_service_in_a_process_of_its_own():
    account = AmazonAccount()
    with (
        serving_amazon(model(), SPACE, account=account) as address,
        connect_amazon(address, space=SPACE, account=account) as oracle,
    ):
        assert oracle.fingerprint() == f"amazon-ml at {parsed(address)[0]}/ml-filch"
        (reply,) = oracle.answer(iter([Batch(0, np.full((1, 3), np.nan))]))
    assert reply.answers.probabilities.shape == (1, 2)
