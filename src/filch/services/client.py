"""The client: an oracle over HTTP.

A batch is a request. Batches are pulled from the driver, and so paid, only when a slot is free; replies come back as
they complete. Credentials are read from the environment and go nowhere but into the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np

from filch.core.answers import Answers, Reveal
from filch.core.features import FeatureSpace, Rows
from filch.core.oracle import Batch, ClassName, OracleSpec, Reply
from filch.errors import NotRevealed, Rejected, SchemaError, UsageError
from filch.services.access import address_of, credentials, trust
from filch.services.dialects import Dialect, Facts, by_name
from filch.services.pool import PooledOracle
from filch.services.retry import Patience
from filch.services.transport import Transport, bare, is_loopback

_MAX_BATCH = 1000
_KEEPALIVE = 3.0  # seconds, below the 5 after which common servers close an idle connection
_NO_METADATA = (404, 405, 501)


def connect(
    url: str,
    *,
    dialect: str = "kserve-v2",
    space: FeatureSpace | None = None,
    classes: Sequence[ClassName] | None = None,
    reveal: str | Reveal | None = None,
    decimals: int | None = None,
    omission: bool | None = None,
    max_batch: int | None = None,
    concurrency: int = 4,
    timeout: float = 30.0,
    attempts: int = 5,
    rate: float | None = None,
    headers_env: Mapping[str, str] | None = None,
    verify: bool | str | Path = True,
    authorized_by: str | None = None,
) -> HttpOracle:
    """Make an oracle of a prediction API.

    Only the model's metadata is read here; no row is sent. What the metadata does not tell (only filch's own server
    tells all) comes from the arguments, and an argument that is given wins.

    Parameters
    ----------
    url : str
        The model's address: ``http://HOST/v2/models/NAME/infer``, ``http://HOST/invocations``.
    dialect : str, default "kserve-v2"
        One of `filch.services.dialects.names`.
    space : FeatureSpace, optional
        The input schema.
    classes : sequence, optional
        The class names, in the order of the probabilities.
    reveal : str or Reveal, optional
        What an answer shows; probabilities if nothing says otherwise.
    decimals : int, optional
        What the API rounds to, if that is known.
    omission : bool, optional
        Whether the API accepts missing values; not unless it says so.
    max_batch : int, optional
        The most rows in a request; 1,000 unless the server names another limit.
    concurrency : int, default 4
        Requests in flight at once.
    timeout : float, default 30
        Seconds for one exchange. A time-out is paid.
    attempts : int, default 5
        The most transmissions of a batch: connection errors, time-outs and statuses 429, 502, 503 and 504 are tried
        again after an exponential pause with jitter, or what ``Retry-After`` says, at most 60 s. Each one is paid.
    rate : float, optional
        The most requests a second.
    headers_env : mapping of str to str, optional
        Headers by name, with the environment variable that holds each one's value. The variable ``FILCH_TOKEN``,
        where set, is sent as a bearer token, unless the URL has a user and password.
    verify : bool or path, default True
        Whether to check the server's certificate, or the file of the authorities to trust.
    authorized_by : str, optional
        Who authorizes the audit of a host that is not this machine.

    Returns
    -------
    HttpOracle

    Raises
    ------
    UsageError
        An argument that cannot be right, an environment variable that is not set, or a fact that nothing tells.
    NotAuthorized
        A remote host, and ``authorized_by`` is missing.
    ServiceError
        The metadata cannot be had.

    Examples
    --------
    >>> connect("http://127.0.0.1:8080/invocations", dialect="mlflow", space=FeatureSpace.box([0], [1]), classes=(0, 1))
    HttpOracle('http://127.0.0.1:8080/invocations', 'mlflow')
    """
    for name, number in {"concurrency": concurrency, "attempts": attempts, "max_batch": max_batch}.items():
        if number is not None and number < 1:
            raise UsageError(f"{name} must be at least 1, got {number}")
    for name, seconds in {"timeout": timeout, "rate": rate}.items():
        if seconds is not None and not seconds > 0:
            raise UsageError(f"{name} must be above 0, got {seconds:g}")
    speaks = by_name(dialect)
    address = address_of(url, speaks, authorized_by)
    headers, sources = credentials(headers_env or {}, address)
    address = address.copy_with(username="", password="")
    hidden = [part for value in headers.values() for part in (value, *value.split(maxsplit=1)[1:])]
    hidden += [value for value in address.params.values() if len(value) > 5]  # a key, and no "api-version=1"
    near = is_loopback(address.host)
    if near:
        headers["Accept-Encoding"] = "identity"  # packing costs more time than it saves here
    client = httpx.Client(
        headers={"Content-Type": "application/json", "User-Agent": "filch", **headers},
        limits=httpx.Limits(max_connections=concurrency, keepalive_expiry=_KEEPALIVE),
        timeout=timeout,
        trust_env=not near,  # a proxy has no business on this machine
        verify=trust(verify),
    )
    transport = Transport(client, timeout, Patience(attempts, rate), sources, tuple(hidden))
    try:
        speaks, facts, silent = _learn(transport, address, speaks)
        shown = _shown(reveal, facts.reveal)
        spec = OracleSpec(
            space=_space(space or facts.space, address, silent),
            classes=_classes(classes, facts, shown),
            reveal=shown if decimals is None else replace(shown, decimals=decimals),
            omission=facts.omission if omission is None else omission,
            max_batch=max_batch or facts.max_batch or _MAX_BATCH,
        )
        why = speaks.needs(spec)
        if why:
            raise UsageError(why)
        return HttpOracle(spec, speaks, transport, address, concurrency, authorized_by)
    except BaseException:
        client.close()
        raise


class HttpOracle(PooledOracle):
    """An oracle over HTTP; made by `connect`. Use as a context manager, or `close` it when done.

    Attributes
    ----------
    spec : OracleSpec
    authorized_by : str or None
        Who authorized the audit of a remote host: for the report.
    """

    def __init__(
        self,
        spec: OracleSpec,
        dialect: Dialect,
        transport: Transport,
        address: httpx.URL,
        concurrency: int,
        authorized_by: str | None = None,
    ) -> None:
        super().__init__(spec, concurrency, transport.patience.closing, authorized_by, transport.client.close)
        self._dialect, self._transport, self._address = dialect, transport, address

    def __repr__(self) -> str:
        return f"HttpOracle({bare(self._address)!r}, {self._dialect.name!r})"

    def fingerprint(self) -> str:
        """Name the address and the dialect; no user, password or query."""
        return f"{self._dialect.name} at {bare(self._address)}"

    def _ask(self, batch: Batch) -> Reply:
        body = self._dialect.encode_rows(batch.rows, self.spec)
        try:
            answer = self._transport.exchange("POST", self._address, body, pay_again=batch.pay_again)
        except Rejected as error:
            if error.status != 429:
                raise
            return Reply(batch, refused(batch.rows, self.spec))
        return Reply(batch, self._dialect.decode_answers(answer, batch.rows, self.spec))


def _learn(transport: Transport, address: httpx.URL, dialect: Dialect) -> tuple[Dialect, Facts, str]:
    """What the metadata tell, and where they do not, why."""
    path = dialect.metadata(address.path)
    if path is None:
        return dialect, Facts(), ""
    try:
        return *dialect.learn(transport.exchange("GET", address.copy_with(path=path))), ""
    except Rejected as error:
        if error.status not in _NO_METADATA:
            raise
        return dialect, Facts(), f" ({path} answers {error.status}: is the model's name right?)"


def _shown(given: str | Reveal | None, told: Reveal | None) -> Reveal:
    if given is None:
        return told or Reveal()
    shown = given if isinstance(given, Reveal) else Reveal(given, told.decimals if told else None)
    if told is not None and shown.level not in (told.level, "labels"):
        raise NotRevealed(f"the API says that it reveals {told.level}, not {shown.level}: leave reveal= out")
    return shown


def _space(space: FeatureSpace | None, address: httpx.URL, silent: str) -> FeatureSpace:
    if space is None:
        raise SchemaError(
            f"{bare(address)} tells no schema{silent}: pass space=, read off a table of typical rows (--data CSV)"
        )
    return space


def _classes(given: Sequence[ClassName] | None, facts: Facts, reveal: Reveal) -> tuple[ClassName, ...] | None:
    if reveal.level == "value":
        return None
    classes = facts.classes if given is None else tuple(given)
    if classes is None and reveal.level == "node" and facts.reveal is not None:
        return None  # a regression tree that shows its nodes
    if classes is None or len(classes) < 2:
        raise UsageError(
            "the API does not tell its classes: pass classes= (--classes a,b,…) in the order of the probabilities"
        )
    return classes


def refused(rows: Rows, spec: OracleSpec) -> Answers:
    """Answers to rows that were paid but not answered."""
    n, level = len(rows), spec.reveal.level
    width = 1 if spec.n_classes == 2 else spec.n_classes
    return Answers(
        rows,
        labels=None if spec.classes is None else np.full(n, -1),
        probabilities=np.full((n, spec.n_classes), np.nan) if spec.reveal.shows_probabilities else None,
        value=np.full(n, np.nan) if spec.classes is None else None,
        scores=np.full((n, width), np.nan) if level == "scores" else None,
        node=np.full(n, -1) if level == "node" else None,
        confidence=np.full(n, np.nan) if level == "confidence" else None,
        refused=np.ones(n, dtype=bool),
    )
