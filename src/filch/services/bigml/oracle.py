"""An oracle over BigML's own Python client (``pip install 'filch[bigml]'``).

A prediction is a request of one row. The client has no time limit and tells little of what went wrong: its calls run
in threads that are given up after ``timeout`` seconds. Each transmission is paid, one that failed included.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from filch.core.oracle import Batch, Reply
from filch.errors import Rejected, ServiceError, Unreachable, UsageError
from filch.services.access import check_authorized, host_of
from filch.services.bigml.account import Account
from filch.services.bigml.codec import PublicModel, public_model
from filch.services.client import refused
from filch.services.pool import PooledOracle
from filch.services.retry import Failure, Patience
from filch.services.transport import is_loopback

SCHEME = "bigml://"
"""What addresses of BigML's models begin with."""
_KINDS = ("model", "logisticregression", "public", "shared")
_DOMAIN = "bigml.io"
_PASSING = (429, 500, 502, 503, 504)  # the client calls every failure that it does not know 500
_RESOURCE = re.compile(
    r"(public/)?(model|logisticregression)/[a-f0-9]{24}|shared/(model|logisticregression)/[a-zA-Z0-9]{24,30}"
)
STRATEGY = {"last": 0, "proportional": 1}
"""The numbers of BigML's missing strategies."""
_INSTALL = "BigML's models are asked by its own client: pip install 'filch[bigml]'"


def connect_bigml(
    address: str,
    *,
    strategy: str = "last",
    reveal: str | None = None,
    omission: bool = True,
    concurrency: int = 4,
    timeout: float = 30.0,
    attempts: int = 5,
    rate: float | None = None,
    authorized_by: str | None = None,
    account: Account | None = None,
) -> BigMLOracle:
    """Make an oracle of a model at BigML, or at an emulated BigML.

    User and key come from the environment variables ``BIGML_USERNAME`` and ``BIGML_API_KEY``. The model is read once;
    no prediction is asked here.

    Parameters
    ----------
    address : str
        ``bigml://model/ID`` or ``bigml://HOST:PORT/model/ID``; also ``logisticregression/ID``, ``public/model/ID``.
        Without a host that of the variable ``BIGML_DOMAIN``, else bigml.io. This machine is asked by http, other hosts
        by https or what ``BIGML_PROTOCOL`` says.
    strategy : {"last", "proportional"}, default "last"
        How incomplete rows are predicted: BigML's missing strategies 0 and 1.
    reveal : str, optional
        ``labels`` to use nothing but labels; else the confidence of a tree, the probabilities of a logistic regression.
    omission : bool, default True
        Whether incomplete rows may be asked.
    concurrency : int, default 4
        Requests in flight at once.
    timeout : float, default 30
        Seconds for one request. A time-out is paid.
    attempts : int, default 5
        The most transmissions of a row, each one paid: connection errors, time-outs, too many requests and unknown
        failures are tried again after an exponential pause.
    rate : float, optional
        The most requests a second.
    authorized_by : str, optional
        Who authorizes the audit of a host that is not this machine.
    account : Account, optional
        The user and key of an emulated service that this program runs; not those in the environment.

    Raises
    ------
    UsageError
        An address or argument that cannot be right, a variable that is not set, or the client is not installed.
    NotAuthorized
        A remote host, and ``authorized_by`` is missing.
    ServiceError
        The model cannot be read.
    """
    for name, number in {"concurrency": concurrency, "attempts": attempts}.items():
        if number < 1:
            raise UsageError(f"{name} must be at least 1, got {number}")
    for name, seconds in {"timeout": timeout, "rate": rate}.items():
        if seconds is not None and not seconds > 0:
            raise UsageError(f"{name} must be above 0, got {seconds:g}")
    if strategy not in ("last", "proportional"):
        raise UsageError(f'no missing strategy {strategy!r}: choose "last" or "proportional"')
    if reveal not in (None, "labels", "confidence", "probabilities", "value"):
        raise UsageError(f'BigML does not reveal {reveal!r}: leave reveal= out, or pass "labels"')
    domain, resource = parsed(address)
    check_authorized(host_of(domain), authorized_by)
    caller = _Caller(_client(domain, account), domain, timeout, Patience(attempts, rate))
    document = caller.call(lambda client: client.get_resource(resource))
    return BigMLOracle(
        public_model(document["object"], reveal=reveal, omission=omission),
        document,
        caller,
        STRATEGY[strategy],
        concurrency,
        authorized_by,
    )


def parsed(address: str) -> tuple[str, str]:
    """The domain and the resource of an address.

    Examples
    --------
    >>> parsed("bigml://127.0.0.1:8080/model/53c872fb37203f7085000ddd")
    ('127.0.0.1:8080', 'model/53c872fb37203f7085000ddd')
    """
    parts = address.removeprefix(SCHEME).strip("/").split("/")
    domain = os.environ.get("BIGML_DOMAIN") or _DOMAIN
    if parts[0] not in _KINDS:
        domain = parts.pop(0)
    resource = "/".join(parts)
    if not address.startswith(SCHEME) or not _RESOURCE.fullmatch(resource) or not domain:
        raise UsageError(f"{address!r} names no model: give bigml://model/ID or bigml://HOST:PORT/model/ID")
    return domain, resource


class BigMLOracle(PooledOracle):
    """An oracle over BigML's client; made by `connect_bigml`. Use as a context manager, or `close` it when done.

    Attributes
    ----------
    spec : OracleSpec
    model : PublicModel
        What the service shows of the model, its price included.
    authorized_by : str or None
        Who authorized the audit of a remote host: for the report.
    """

    def __init__(
        self,
        model: PublicModel,
        document: Mapping[str, Any],
        caller: _Caller,
        strategy: int,
        concurrency: int,
        authorized_by: str | None = None,
    ) -> None:
        super().__init__(model.spec, concurrency, caller.patience.closing, authorized_by)
        self.model, self._document, self._caller, self._strategy = model, document, caller, strategy

    def __repr__(self) -> str:
        return f"BigMLOracle({f'{SCHEME}{self._caller.domain}/{self.model.resource}'!r})"

    def fingerprint(self) -> str:
        """Name the domain, the model and the missing strategy; no user and no key."""
        return f"bigml at {self._caller.domain}/{self.model.resource}, missing strategy {self._strategy}"

    def _ask(self, batch: Batch) -> Reply:
        predictions = []
        for row in batch.rows.tolist():
            given = self.model.inputs.write(row)

            def predict(client: Any, given: dict[str, Any] = given) -> Any:
                return client.create_prediction(self._document, given, {"missing_strategy": self._strategy})

            try:
                predictions.append(self._caller.call(predict, batch.pay_again)["object"])
            except Rejected as error:
                if error.status != 429:
                    raise
                return Reply(batch, refused(batch.rows, self.spec))
        return Reply(batch, self.model.decode(predictions, batch.rows))


class _Caller:
    """Calls the client: in time, in turn, quietly, and again where that may help."""

    def __init__(self, client: Any, domain: str, timeout: float, patience: Patience) -> None:
        self.client, self.domain, self.timeout, self.patience = client, domain, timeout, patience

    def call(self, act: Callable[[Any], Any], pay_again: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        """What the client gives back for a call that the service accepts."""
        return self.patience.of(lambda: self._once(act), pay_again)

    def _once(self, act: Callable[[Any], Any]) -> dict[str, Any]:
        done: list[Any] = []

        def work() -> None:
            _quiet.on = True  # the client logs to standard output, keys included
            try:
                done.append(act(self.client))
            except BaseException as error:
                done.append(error)

        thread = threading.Thread(target=work, daemon=True, name="filch-bigml")
        thread.start()
        thread.join(self.timeout)
        if not done:
            mend = "raise --timeout"
            raise Failure(Unreachable(f"{self.domain} gives no answer in {self.timeout:g} s: {mend}"), passing=True)
        told = done[0]
        if isinstance(told, BaseException):
            kind = type(told).__name__
            raise Failure(ServiceError(f"BigML's client fails ({kind}): see what {self.domain} answers")) from told
        if not isinstance(told, dict) or told.get("code") not in (200, 201) or not isinstance(told.get("object"), dict):
            raise self._failed(told if isinstance(told, dict) else {})
        return told

    def _failed(self, told: Mapping[str, Any]) -> Failure:
        error, status = told.get("error"), told.get("code")
        code = status if isinstance(status, int) else 500
        inner = error.get("status") if isinstance(error, dict) else None
        about = inner if isinstance(inner, dict) else {}
        if about.get("type") == "transient":
            return Failure(Unreachable(f"no connection to {self.domain}: is the server running there?"), passing=True)
        said = " ".join([str(about.get("message", "")), *map(str, about.get("extra") or ())]).strip()[:200]
        message = f"{self.domain} answers {code}{f' ({said})' if said else ''}: {_MENDS.get(code, _UNKNOWN)}"
        return Failure(Rejected(message, code), passing=code in _PASSING)


_quiet = threading.local()
_UNKNOWN = "see the server's log"
_MENDS = {
    400: "check the model's fields",
    401: "check BIGML_USERNAME and BIGML_API_KEY",
    402: "the account's credits are spent: buy more, or serve with more --credits",
    403: "check what BIGML_USERNAME may read",
    404: "check the model's id and the host",
    429: "lower --rate, or wait",
}


def _client(domain: str, account: Account | None) -> Any:
    """BigML's client, for a domain and a user, by default the one in the environment."""
    try:
        from bigml.api import BigML
        from bigml.domain import Domain
    except ImportError as error:
        raise UsageError(_INSTALL) from error
    user, key = (account.username, account.api_key) if account else map(_variable, ("BIGML_USERNAME", "BIGML_API_KEY"))
    near = is_loopback(host_of(domain))
    protocol = "http" if near else os.environ.get("BIGML_PROTOCOL") or "https"
    captured = warnings.showwarning
    client = BigML(user, key, domain=Domain(domain=domain, protocol=protocol, verify=None if near else True))
    if warnings.showwarning is not captured:
        logging.captureWarnings(False)  # the client turns it on for the whole process
    logger = logging.getLogger("BigML")
    if not any(isinstance(f, _Quiet) for f in logger.filters):
        logger.addFilter(_Quiet())
    return client


def _variable(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise UsageError(f"the environment variable {name} is not set: BigML's client takes user and key from it")
    return value


class _Quiet(logging.Filter):
    """Drops what the client logs in calls of this module."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_quiet, "on", False)
