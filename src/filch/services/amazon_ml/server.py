"""An emulated Amazon Machine Learning (API of 2014-12-12), for boto3's client with an ``endpoint_url``.

JSON 1.1 with the operation in ``X-Amz-Target``; every request signed (SigV4). It knows `GetMLModel`,
`CreateRealtimeEndpoint`, `DeleteRealtimeEndpoint` and `Predict`, and the exceptions that their documentation names.
Where the documentation is silent: attributes that the model does not have are ignored, and a numeric attribute that is
no number is an InvalidInputException.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from filch.core.features import FeatureSpace
from filch.core.oracle import ModelOracle
from filch.errors import UsageError
from filch.services.amazon_ml.account import AmazonAccount
from filch.services.amazon_ml.records import read_record
from filch.services.amazon_ml.signing import botocore, why_not
from filch.services.process import running
from filch.services.server import listening

_log = logging.getLogger(__name__)
_PREFIX = "AmazonML_20141212."
_MOST_BYTES = 10 * 2**20
_STATUS = {
    "ResourceNotFoundException": 404,
    "RequestEntityTooLargeException": 413,
    "LimitExceededException": 417,
    "InternalServerException": 500,
}
_TYPE = "application/x-amz-json-1.1"


class _Refusal(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


@dataclass(eq=False)
class Served:
    """A model of the service.

    Parameters
    ----------
    oracle : ModelOracle
        Over the model, with omission and everything revealed.
    endpoint : bool, default True
        Whether its real-time endpoint is there from the start.
    mounting : float, default 0
        Seconds that an endpoint is UPDATING after it was created.
    """

    oracle: ModelOracle
    endpoint: bool = True
    mounting: float = 0.0
    created: float = field(default_factory=time.time)
    ready: float = 0.0

    @property
    def status(self) -> str:
        """The endpoint's: NONE, UPDATING or READY."""
        if not self.endpoint:
            return "NONE"
        return "READY" if time.monotonic() >= self.ready else "UPDATING"

    @property
    def kind(self) -> str:
        """REGRESSION, BINARY or MULTICLASS."""
        classes = self.oracle.spec.n_classes
        return "REGRESSION" if not classes else "BINARY" if classes == 2 else "MULTICLASS"


@dataclass(eq=False)
class Service:
    """The service's state and operations.

    Parameters
    ----------
    models : mapping of str to Served
        By their ids.
    account : AmazonAccount
    clock : callable
        The time, in UTC.
    """

    models: Mapping[str, Served]
    account: AmazonAccount
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BYTES:
                return _problem("RequestEntityTooLargeException", "Request exceeds 10 MB")
        return await run_in_threadpool(self._answer, request, bytes(body))

    def _answer(self, request: Request, body: bytes) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        host, keys = headers.get("host", ""), {self.account.access_key: self.account.secret_key}
        problem = why_not("POST", host, request.url.path, headers, body, keys, self.clock())
        if problem is not None:
            return _problem(*problem)
        operations = {
            "GetMLModel": self._get,
            "CreateRealtimeEndpoint": self._create,
            "DeleteRealtimeEndpoint": self._delete,
            "Predict": self._predict,
        }
        operation = operations.get(headers.get("x-amz-target", "").removeprefix(_PREFIX))
        if operation is None:
            return _problem("UnknownOperationException", "")
        try:
            asked = msgspec.json.decode(body)
            if not isinstance(asked, dict):
                raise _Refusal("SerializationException", "a JSON object is expected")
            return Response(json.dumps(operation(asked, f"http://{host}")), media_type=_TYPE)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _problem("SerializationException", "the body is no JSON")
        except _Refusal as refusal:
            return _problem(refusal.kind, refusal.message)
        except Exception:  # whatever a model raises
            _log.exception("a request failed")
            return _problem("InternalServerException", "An error on the server occurred when trying to process it.")

    # ── operations ──────────────────────────────────────────────────────────────────────────────────────

    def _model(self, asked: Mapping[str, Any]) -> tuple[str, Served]:
        name = asked.get("MLModelId")
        if not isinstance(name, str) or not name:
            raise _Refusal("InvalidInputException", "MLModelId is required")
        if name not in self.models:
            raise _Refusal("ResourceNotFoundException", f"No MLModel with id {name} exists")
        return name, self.models[name]

    def _endpoint(self, model: Served, host: str) -> dict[str, Any]:
        told: dict[str, Any] = {"PeakRequestsPerSecond": int(self.account.peak), "EndpointStatus": model.status}
        return {**told, "CreatedAt": model.created, "EndpointUrl": host} if model.endpoint else told

    def _get(self, asked: Mapping[str, Any], host: str) -> dict[str, Any]:
        name, model = self._model(asked)
        told: dict[str, Any] = {
            "MLModelId": name,
            "Name": name,
            "Status": "COMPLETED",
            "CreatedAt": model.created,
            "LastUpdatedAt": model.created,
            "EndpointInfo": self._endpoint(model, host),
            "MLModelType": model.kind,
        }
        if model.kind == "BINARY":
            told["ScoreThreshold"] = float(getattr(model.oracle.model, "threshold", 0.5))
        if asked.get("Verbose") is True:
            space = model.oracle.spec.space
            kinds = ["CATEGORICAL" if fixed else "NUMERIC" for fixed in space.categorical]
            attributes = [{"fieldName": n, "fieldType": k} for n, k in zip(space.names, kinds, strict=True)]
            told["Schema"] = json.dumps({"version": "1.0", "dataFormat": "CSV", "attributes": attributes})
        return told

    def _create(self, asked: Mapping[str, Any], host: str) -> dict[str, Any]:
        name, model = self._model(asked)
        if not model.endpoint:
            model.endpoint, model.ready, model.created = True, time.monotonic() + model.mounting, time.time()
        return {"MLModelId": name, "RealtimeEndpointInfo": self._endpoint(model, host)}

    def _delete(self, asked: Mapping[str, Any], host: str) -> dict[str, Any]:
        name, model = self._model(asked)
        model.endpoint = False
        return {"MLModelId": name, "RealtimeEndpointInfo": self._endpoint(model, host)}

    def _predict(self, asked: Mapping[str, Any], host: str) -> dict[str, Any]:
        _, model = self._model(asked)
        if not isinstance(asked.get("PredictEndpoint"), str):
            raise _Refusal("InvalidInputException", "PredictEndpoint is required")
        if model.status != "READY":
            raise _Refusal("PredictorNotMountedException", f"The endpoint is {model.status}")
        record = asked.get("Record")
        if not isinstance(record, dict) or not all(isinstance(value, str) for value in record.values()):
            raise _Refusal("InvalidInputException", "Record is a map of strings")
        try:
            row = read_record(record, model.oracle.spec.space)
        except UsageError as error:
            raise _Refusal("InvalidInputException", str(error)) from error
        if not self.account.admits():
            raise _Refusal("LimitExceededException", "The subscriber exceeded the maximum number of operations")
        answers = model.oracle.ask(row)
        self.account.charge()
        told: dict[str, Any] = {"details": {"Algorithm": "SGD", "PredictiveModelType": model.kind}}
        if answers.value is not None:
            told["predictedValue"] = _digits(answers.value[0])
            return {"Prediction": told}
        assert answers.labels is not None and answers.probabilities is not None
        label, shares = int(answers.labels[0]), answers.probabilities[0]
        if model.kind == "BINARY":  # one score, that of the second class, beside either label
            told |= {"predictedLabel": str(label), "predictedScores": {str(label): _digits(shares[1])}}
        else:
            names = [str(name) for name in model.oracle.spec.classes or ()]
            scores = {name: _digits(share) for name, share in zip(names, shares, strict=True)}
            told |= {"predictedLabel": names[label], "predictedScores": scores}
        return {"Prediction": told}


def _digits(number: float) -> float:
    return float(f"{number:.16g}")


def application(service: Service) -> Starlette:
    """The web application of a service.

    Raises
    ------
    UsageError
        boto3 is not installed.
    """
    botocore()
    return Starlette(routes=[Route("/", service.answer, methods=["POST"])])


def serve_amazon(
    model: Any,
    space: FeatureSpace,
    *,
    name: str = "ml-filch",
    host: str = "127.0.0.1",
    port: int = 0,
    account: AmazonAccount | None = None,
    mounting: float = 0.0,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a model as Amazon ML does, until interrupted (Ctrl-C, SIGTERM).

    Parameters
    ----------
    model, space
        As for `ModelOracle`; the model must take missing values.
    name : str, default "ml-filch"
        The model's id.
    host : str, default "127.0.0.1"
    port : int, default 0
        0 takes a free one.
    account : AmazonAccount, optional
        With a random secret key by default.
    mounting : float, default 0
        Seconds that the endpoint is UPDATING at first.
    on_ready : callable, optional
        Called with the model's address, ``amazon-ml://HOST:PORT/NAME``, once it can be asked.

    Raises
    ------
    UsageError
        The port cannot be had, or boto3 is not installed.
    """
    reveal = "value" if getattr(model, "classes_", None) is None else "probabilities"
    served = Served(ModelOracle(model, space, reveal=reveal, omission=True), mounting=mounting)
    served.ready = time.monotonic() + mounting
    app = application(Service({name: served}, account or AmazonAccount()))
    with listening(host, port) as listener, contextlib.suppress(KeyboardInterrupt):
        if on_ready:
            shown = f"[{host}]" if ":" in host else host
            on_ready(f"amazon-ml://{shown}:{listener.getsockname()[1]}/{name}")
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", server_header=False)
        uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def serving_amazon(model: Any, space: FeatureSpace, **options: Any) -> Iterator[str]:
    """Serve a model as Amazon ML does from another process, for as long as the context lasts.

    Parameters
    ----------
    model, space, options
        As for `serve_amazon`; pass an ``account``, whose keys the client must know.

    Yields
    ------
    str
        The model's address.

    Raises
    ------
    UsageError
        What `serve_amazon` raises.
    ServiceError
        The process did not start.
    """
    with running(serve_amazon, model, space, **options) as address:
        yield address


def _problem(kind: str, message: str) -> Response:
    body = json.dumps({"__type": kind, "message": message})
    return Response(body, _STATUS.get(kind, 400), {"x-amzn-ErrorType": kind}, media_type=_TYPE)
