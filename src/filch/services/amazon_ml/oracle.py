"""An oracle over boto3, Amazon's own client (``pip install 'filch[amazon]'``).

A real-time prediction is a request of one row. boto3's own retries are off, so that each transmission is seen: what
the service refuses (throttling, an endpoint that is not ready) is not charged and waits; a time-out or a failed
connection is paid once more.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from filch.core.answers import Answers, Reveal
from filch.core.features import FeatureSpace
from filch.core.oracle import Batch, ClassName, OracleSpec, Reply
from filch.errors import BadAnswer, NotAuthorized, Rejected, SchemaError, ServiceError, Unreachable, UsageError
from filch.services.access import check_authorized, host_of
from filch.services.amazon_ml.account import AmazonAccount, cost
from filch.services.amazon_ml.records import write_record
from filch.services.client import refused
from filch.services.pool import PooledOracle
from filch.services.retry import Failure, Patience
from filch.services.transport import is_loopback

SCHEME = "amazon-ml://"
"""What addresses of Amazon ML's models begin with."""
_FREE = ("LimitExceededException", "ThrottlingException", "Throttling", "PredictorNotMountedException")
_PASSING = (*_FREE, "InternalServerException", "ServiceUnavailable", "InternalFailure")
_MENDS = {
    "ResourceNotFoundException": "check the model's id and the region",
    "PredictorNotMountedException": "create a real-time endpoint, or wait until it is READY",
    "InvalidInputException": "check the attributes' names",
    "LimitExceededException": "lower --rate, or wait",
}


def connect_amazon(
    address: str,
    *,
    space: FeatureSpace | None = None,
    classes: Sequence[ClassName] | None = None,
    concurrency: int = 4,
    timeout: float = 30.0,
    attempts: int = 8,
    rate: float | None = None,
    region: str | None = None,
    authorized_by: str | None = None,
    account: AmazonAccount | None = None,
) -> AmazonOracle:
    """Make an oracle of a model with a real-time endpoint at Amazon ML, or at an emulated one.

    The model is read once (GetMLModel); no prediction is asked here. Keys are found as boto3 finds them.

    Parameters
    ----------
    address : str
        ``amazon-ml://MODEL-ID`` or ``amazon-ml://HOST:PORT/MODEL-ID``. This machine is asked by http, others by https.
    space : FeatureSpace
        The attributes; the service tells their names, but neither ranges nor categories.
    classes : sequence, optional
        Needed for a multiclass model, in any order; a binary model's are ``"0"`` and ``"1"`` unless given.
    concurrency : int, default 4
        Requests in flight at once.
    timeout : float, default 30
        Seconds for one request. A time-out is paid.
    attempts : int, default 8
        The most transmissions of a row, with an exponential pause between them.
    rate : float, optional
        The most requests a second.
    region : str, optional
        By default what ``AWS_DEFAULT_REGION`` says, else us-east-1.
    authorized_by : str, optional
        Who authorizes the audit of a host that is not this machine.
    account : AmazonAccount, optional
        The keys of an emulated service that this program runs; not those that boto3 finds.

    Raises
    ------
    UsageError
        An argument that cannot be right, no keys, or boto3 is not installed.
    NotAuthorized
        A remote host, and ``authorized_by`` is missing.
    ServiceError
        The model cannot be read, or has no real-time endpoint.
    """
    for name, number in {"concurrency": concurrency, "attempts": attempts}.items():
        if number < 1:
            raise UsageError(f"{name} must be at least 1, got {number}")
    for name, seconds in {"timeout": timeout, "rate": rate}.items():
        if seconds is not None and not seconds > 0:
            raise UsageError(f"{name} must be above 0, got {seconds:g}")
    if space is None:
        raise SchemaError("Amazon ML tells no ranges and categories: pass space=, or a table of rows (--data CSV)")
    host, model = parsed(address)
    region = region or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    where = host or f"machinelearning.{region}.amazonaws.com"
    check_authorized(host_of(where), authorized_by)
    caller = _Caller(_client(host, region, timeout, concurrency, account), where, Patience(attempts, rate))
    told = caller.call(lambda client: client.get_ml_model(MLModelId=model, Verbose=False))
    endpoint = told.get("EndpointInfo", {})
    if endpoint.get("EndpointStatus") not in ("READY", "UPDATING"):
        raise ServiceError(f"{model} has no real-time endpoint: create one (CreateRealtimeEndpoint)")
    url = str(endpoint.get("EndpointUrl", ""))
    if host_of(url.partition("://")[2].split("/")[0]) != host_of(where) and not (authorized_by or "").strip():
        raise NotAuthorized(f"{where} sends predictions to {url}: say who authorizes that with --i-am-authorized NAME")
    kind = told.get("MLModelType")
    if kind == "REGRESSION":
        names: tuple[ClassName, ...] | None = None
    else:
        names = tuple(classes) if classes is not None else ("0", "1") if kind == "BINARY" else None
        if names is None or len(names) < 2:
            raise UsageError("a multiclass model's classes are not told: pass classes= (--classes a,b,…)")
    spec = OracleSpec(space, names, Reveal("value" if names is None else "probabilities"), True, max_batch=1)
    return AmazonOracle(spec, model, url, caller, concurrency, authorized_by)


def parsed(address: str) -> tuple[str, str]:
    """The host, empty if none is given, and the model's id.

    Examples
    --------
    >>> parsed("amazon-ml://127.0.0.1:8080/ml-1"), parsed("amazon-ml://ml-1")
    (('127.0.0.1:8080', 'ml-1'), ('', 'ml-1'))
    """
    host, _, model = address.removeprefix(SCHEME).rstrip("/").rpartition("/")
    if not address.startswith(SCHEME) or not model or "/" in host or ":" in model:
        raise UsageError(f"{address!r} names no model: give amazon-ml://MODEL-ID or amazon-ml://HOST:PORT/MODEL-ID")
    return host, model


class AmazonOracle(PooledOracle):
    """An oracle over boto3; made by `connect_amazon`. Use as a context manager, or `close` it when done.

    Attributes
    ----------
    spec : OracleSpec
    authorized_by : str or None
        Who authorized the audit of a remote host: for the report.
    """

    def __init__(
        self,
        spec: OracleSpec,
        model: str,
        url: str,
        caller: _Caller,
        concurrency: int,
        authorized_by: str | None = None,
    ) -> None:
        super().__init__(spec, concurrency, caller.patience.closing, authorized_by)
        self._model, self._url, self._caller = model, url, caller

    def __repr__(self) -> str:
        return f"AmazonOracle({f'{SCHEME}{self._caller.where}/{self._model}'!r})"

    def cost(self, queries: int, seconds: float = 0.0) -> float:
        """Dollars for so many predictions, and for an endpoint of 10 MB that is there for so long."""
        return cost(queries, seconds / 3600)

    def fingerprint(self) -> str:
        """Name the host and the model; no key."""
        return f"amazon-ml at {self._caller.where}/{self._model}"

    def _ask(self, batch: Batch) -> Reply:
        parts = []
        for position, row in enumerate(batch.rows.tolist()):
            record = write_record(row, self.spec.space)

            def predict(client: Any, record: dict[str, str] = record) -> Any:
                return client.predict(MLModelId=self._model, Record=record, PredictEndpoint=self._url)

            try:
                told = self._caller.call(predict, batch.pay_again)
            except Rejected as error:
                if error.status != 429:
                    raise
                return Reply(batch, refused(batch.rows, self.spec))
            parts.append(_answers(told.get("Prediction", {}), batch.rows[position : position + 1], self.spec))
        return Reply(batch, Answers.concat(parts))


def _answers(told: Mapping[str, Any], rows: Any, spec: OracleSpec) -> Answers:
    if spec.classes is None:
        value = told.get("predictedValue")
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise BadAnswer("the answer holds no predictedValue: is the model a regression?")
        return Answers(rows, value=np.array([float(value)]))
    scores, label = told.get("predictedScores"), told.get("predictedLabel")
    if not isinstance(scores, Mapping) or label not in scores:
        raise BadAnswer("the answer holds no predictedScores with the predictedLabel")
    if spec.n_classes == 2 and len(scores) == 1:  # the second class's score, beside either label
        (score,) = scores.values()
        if label not in ("0", "1"):
            raise BadAnswer(f"a binary model answers 0 or 1, not {label!r}")
        return Answers(rows, labels=np.array([int(label)]), probabilities=np.array([[1.0 - score, float(score)]]))
    names = [str(name) for name in spec.classes]
    if set(names) != set(scores):
        raise BadAnswer(f"the API answers the classes {', '.join(scores)}: name them so (--classes)")
    shares = np.array([[float(scores[name]) for name in names]])
    return Answers(rows, labels=np.array([names.index(str(label))]), probabilities=shares)


class _Caller:
    """Calls boto3's client: in turn, and again where that may help."""

    def __init__(self, client: Any, where: str, patience: Patience) -> None:
        self.client, self.where, self.patience = client, where, patience

    def call(self, act: Callable[[Any], Any], pay_again: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        """What the client gives back for a call that the service accepts."""
        return self.patience.of(lambda: self._once(act), pay_again)

    def _once(self, act: Callable[[Any], Any]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, NoCredentialsError

        try:
            told: dict[str, Any] = act(self.client)
            return told
        except ClientError as error:
            about = error.response.get("Error", {})
            code, status = str(about.get("Code", "")), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            said = f"{code}: {about.get('Message', '')}"[:200]
            mend = _MENDS.get(code, "check the keys" if "Token" in code or "Signature" in code else "see its message")
            free = code in _FREE
            status = 429 if free and code != "PredictorNotMountedException" else int(status or 500)
            message = f"{self.where} answers {said}: {mend}"
            raise Failure(Rejected(message, status), passing=code in _PASSING or status >= 500, free=free) from error
        except NoCredentialsError as error:
            raise UsageError("boto3 finds no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
        except (ConnectionError, HTTPClientError) as error:  # time-outs too
            raise Failure(Unreachable(f"no answer of {self.where} ({type(error).__name__})"), passing=True) from error
        except BotoCoreError as error:
            raise Failure(ServiceError(f"boto3 fails ({type(error).__name__})"), passing=False) from error


def _client(host: str, region: str, timeout: float, concurrency: int, account: AmazonAccount | None) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise UsageError("Amazon ML's models are asked by its own client: pip install 'filch[amazon]'") from error
    settings = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=concurrency,
        connect_timeout=timeout,
        read_timeout=timeout,
        proxies={} if host and is_loopback(host_of(host)) else None,
    )
    url = None if not host else f"{'http' if is_loopback(host_of(host)) else 'https'}://{host}"
    keys = (
        {}
        if account is None
        else {"aws_access_key_id": account.access_key, "aws_secret_access_key": account.secret_key}
    )
    return boto3.session.Session(region_name=region).client(
        "machinelearning", endpoint_url=url, config=settings, **keys
    )
