from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from filch.core.answers import Answers, Reveal
from filch.core.drive import Recital, drive
from filch.core.features import FeatureSpace
from filch.core.oracle import Batch, ModelOracle, OracleSpec, Reply
from filch.errors import ServiceError, UsageError
from filch.services.client import connect
from filch.services.server import application, listening, serve, serving

TOO_LARGE = HTTPStatus(413).phrase  # newer Pythons call it otherwise
Host = Callable[..., str]


@pytest.fixture(scope="module")
def credit() -> tuple[Pipeline, FeatureSpace]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 80, 200),
            "income": rng.normal(size=200),
            "housing": rng.choice(["own", "rent", "für umsonst"], 200),
        }
    )
    encode = make_column_transformer((OneHotEncoder(), ["housing"]), (StandardScaler(), ["age", "income"]))
    target = np.where((table.age > 40) ^ (table.housing == "own"), "good", "bad")
    return make_pipeline(encode, LogisticRegression()).fit(table, target), FeatureSpace.from_frame(table)


def problem(response: httpx.Response) -> tuple[int, str, str]:
    assert response.headers["Content-Type"] == "application/problem+json"
    told = response.json()
    assert told["status"] == response.status_code and told["error"] == told["detail"]
    return told["status"], told["title"], told["detail"]


@pytest.mark.parametrize("reveal", ["probabilities", "labels", "top-1"])
@pytest.mark.parametrize("dialect", ["kserve-v2", "mlflow"])
def test_raw_columns_go_out_and_back(
    hosted: Host, credit: tuple[Pipeline, FeatureSpace], dialect: str, reveal: str
) -> None:
    model, space = credit
    local = ModelOracle(model, space, reveal=reveal)
    base = hosted(application({"credit": local}, dialect=dialect))
    url = f"{base}/v2/models/credit" if dialect == "kserve-v2" else base
    rows = space.sample(300, np.random.default_rng(0))
    with connect(url, dialect=dialect, space=space, classes=("bad", "good"), reveal=reveal, max_batch=100) as remote:
        answers = drive(remote, Recital(rows), budget=300, keep_answers=True).answers
    assert answers is not None
    for name, array in local.ask(rows).arrays().items():
        assert np.array_equal(answers.arrays()[name], array, equal_nan=name == "probabilities")


@pytest.mark.parametrize("reveal", ["value", "node"])
def test_a_regression_tree_tells_values_and_nodes(hosted: Host, reveal: str) -> None:
    X = np.random.default_rng(0).normal(size=(100, 2))
    space = FeatureSpace.box([-1, -1], [1, 1])
    local = ModelOracle(DecisionTreeRegressor(max_depth=4).fit(X, X[:, 0]), space, reveal=reveal, max_batch=9)
    rows = space.sample(50, np.random.default_rng(0))
    with connect(hosted(application({"m": local})) + "/v2/models/m") as remote:
        assert remote.spec == local.spec
        answers = drive(remote, Recital(rows), budget=50, keep_answers=True).answers
    assert answers is not None and answers.arrays().keys() == local.ask(rows).arrays().keys()
    for name, array in local.ask(rows).arrays().items():
        assert np.array_equal(answers.arrays()[name], array)


def test_health_and_metadata(hosted: Host, credit: tuple[Pipeline, FeatureSpace]) -> None:
    oracle = ModelOracle(*credit)
    base = hosted(application({"credit": oracle, "other": oracle}))
    assert httpx.get(f"{base}/v2").json()["name"] == "filch"
    assert httpx.get(f"{base}/v2/health/live").json() == {"live": True}
    assert httpx.get(f"{base}/v2/health/ready").json() == {"ready": True}
    assert httpx.get(f"{base}/v2/models/other/ready").json() == {"name": "other", "ready": True}
    told = httpx.get(f"{base}/v2/models/credit").json()
    assert [(t["name"], t["datatype"]) for t in told["inputs"]] == [
        ("age", "INT64"),
        ("income", "FP64"),
        ("housing", "BYTES"),
    ]
    assert told["outputs"][1] == {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 2]}
    base = hosted(application({"credit": oracle}, dialect="mlflow"))
    assert httpx.get(f"{base}/ping").status_code == httpx.get(f"{base}/health").status_code == 200
    assert httpx.get(f"{base}/version").text.startswith("filch ")


def test_what_is_wrong_with_a_request_is_told(hosted: Host, softmax: LogisticRegression, box: FeatureSpace) -> None:
    app = application({"m": ModelOracle(softmax, box, max_batch=2)}, most_bytes=1000)
    url = hosted(app) + "/v2/models/m/infer"

    def post(shape: list[int], data: list[object], **more: object) -> httpx.Response:
        tensor = {"name": "x", "shape": shape, "datatype": "FP64", "data": data, **more}
        return httpx.post(url, json={"inputs": [tensor]})

    assert post([1, 3], [1, 2, 3]).status_code == 200
    assert problem(post([1, 2], [1, 2])) == (
        400,
        "Bad Request",
        "rows must be n × 3 (columns: 'x0', 'x1', 'x2'), got 1 × 2",
    )
    assert "does not accept omitted" in problem(post([1, 3], [1, None, 3]))[2]
    assert "must be FP64, not BYTES" in problem(post([1, 3], ["1", "2", "3"], datatype="BYTES"))[2]
    assert problem(httpx.post(url, content=b"{"))[0] == 400
    assert "not understood" in problem(httpx.post(url, content=b'{"inputs": [NaN]}'))[2]
    assert problem(post([3, 3], [0] * 9)) == (413, TOO_LARGE, "3 rows: a request holds at most 2")
    assert problem(httpx.post(url, content=b" " * 1001))[:2] == (413, TOO_LARGE)
    assert problem(httpx.get(url)) == (405, "Method Not Allowed", "/v2/models/m/infer takes no GET")
    assert problem(httpx.get(f"{url}/x")) == (404, "Not Found", "nothing is served at /v2/models/m/infer/x")


def _fails(X: object) -> object:
    raise RuntimeError("the database's password is xyzzy")


def test_a_model_that_fails_tells_the_log_and_not_the_world(
    hosted: Host, softmax: LogisticRegression, box: FeatureSpace, caplog: pytest.LogCaptureFixture
) -> None:
    oracle = ModelOracle(softmax, box)
    oracle.model = make_pipeline(FunctionTransformer(_fails), softmax)
    url = hosted(application({"m": oracle}, dialect="mlflow")) + "/invocations"
    told = problem(httpx.post(url, json={"inputs": [[0, 0, 0]]}))
    assert told == (500, "Internal Server Error", "the model could not answer these rows; the server's log says why")
    assert "xyzzy" in caplog.text


class Refusing:
    local = False

    def __init__(self, spec: OracleSpec) -> None:
        self.spec = spec

    def fingerprint(self) -> str:
        return "refusing"

    def answer(self, batches: Iterator[Batch]) -> Iterator[Reply]:
        for batch in batches:
            n = len(batch.rows)
            yield Reply(batch, Answers(batch.rows, labels=np.zeros(n, dtype=int), refused=np.ones(n, dtype=bool)))


def test_refused_rows_are_status_429(hosted: Host, box: FeatureSpace) -> None:
    app = application({"m": Refusing(OracleSpec(box, (0, 1), Reveal("labels")))}, dialect="mlflow")
    response = httpx.post(hosted(app) + "/invocations", json={"inputs": [[0, 0, 0]]})
    assert problem(response) == (429, "Too Many Requests", "refused: too many queries")


def test_what_cannot_be_served(softmax: LogisticRegression, box: FeatureSpace) -> None:
    oracle = ModelOracle(softmax, box)
    with pytest.raises(UsageError, match="no model to serve"):
        application({})
    with pytest.raises(UsageError, match="mlflow serves one model, not 2"):
        application({"a": oracle, "b": oracle}, dialect="mlflow")
    with pytest.raises(UsageError, match="is no name for a model"):
        application({"a/b": oracle})
    with pytest.raises(UsageError, match="shows labels, probabilities or a value, but no scores"):
        application({"a": ModelOracle(softmax, box, reveal="scores")}, dialect="mlflow")
    with pytest.raises(UsageError, match=r"'203\.0\.113\.1' is no address of this machine"):
        serve(softmax, box, host="203.0.113.1")
    with pytest.raises(UsageError, match="70000 is no port"):
        serve(softmax, box, port=70000)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} on 127\.0\.0\.1 is in use: choose another, or --port 0"):
            serve(softmax, box, port=port)


def test_another_process_serves_and_ends(softmax: LogisticRegression, box: FeatureSpace) -> None:
    with serving(softmax, box, name="credit", reveal=Reveal(), decimals=3) as url:
        assert url.endswith("/v2/models/credit/infer")
        with connect(url) as remote:
            assert remote.spec == ModelOracle(softmax, box, decimals=3, max_batch=1000).spec
            rows = box.sample(2500, np.random.default_rng(0))
            run = drive(remote, Recital(rows), budget=2500, keep_answers=True)
        assert run.answers is not None and run.requests == 3
        assert np.array_equal(run.answers.probabilities, np.round(softmax.predict_proba(rows), 3))
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_process_that_cannot_serve_says_why(softmax: LogisticRegression, box: FeatureSpace) -> None:
    with pytest.raises(UsageError, match="no dialect 'soap'"), serving(softmax, box, dialect="soap"):
        pass
    unpicklable = make_pipeline(FunctionTransformer(lambda X: X), softmax)
    with pytest.raises(UsageError, match="cannot be handed to another process"), serving(unpicklable, box):
        pass
    with pytest.raises(ServiceError, match="did not start: TypeError"), serving(softmax, box, colour="red"):
        pass


_PARENT = """
import sys
from sklearn.dummy import DummyClassifier
from filch.core.features import FeatureSpace
from filch.services.server import serving
with serving(DummyClassifier().fit([[0.0], [1.0]], [0, 1]), FeatureSpace.box([0], [1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def test_the_process_ends_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        url = parent.stdout.readline().strip()
        assert httpx.get(url.removesuffix("/infer")).status_code == 200
        parent.kill()
    for _attempt in range(400):
        try:
            httpx.get(url, timeout=1)
        except httpx.TransportError:
            return
        time.sleep(0.05)
    raise AssertionError("the server outlived its parent")


_SERVE = """
from sklearn.dummy import DummyClassifier
from filch.core.features import FeatureSpace
from filch.services.server import serve
serve(DummyClassifier().fit([[0.0], [1.0]], [0, 1]), FeatureSpace.box([0], [1]),
      on_ready=lambda url: print(url, flush=True))
print("goodbye", flush=True)
"""


def test_ctrl_c_ends_a_server_in_peace() -> None:
    with subprocess.Popen([sys.executable, "-c", _SERVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout and server.stderr
        url = server.stdout.readline().decode().strip()
        assert httpx.get(url.removesuffix("/infer")).status_code == 200
        os.kill(server.pid, signal.SIGINT)
        assert server.stdout.read() == b"goodbye\n" and server.stderr.read() == b""
    assert server.returncode == 0


def test_small_answers_are_sent_at_once() -> None:
    """Else each waits 40 ms for the client's delayed acknowledgement of the headers before it."""
    at_once: list[int] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_once.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def connect(listener: socket.socket) -> None:
        async with await asyncio.start_server(serve_one, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            await reader.read()
            writer.close()

    with listening("127.0.0.1", 0) as listener:
        asyncio.run(connect(listener))
    assert at_once and at_once[0] != 0
