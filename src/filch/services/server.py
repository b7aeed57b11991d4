"""The server: a model behind one of the dialects, with metadata, strict validation and errors as RFC 9457 has them.

It answers through an `Oracle`, so that reveal and decimals are the mechanism that local oracles have.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from filch.core.answers import Reveal
from filch.core.features import FeatureSpace
from filch.core.oracle import Batch, ModelOracle, Oracle
from filch.errors import UsageError
from filch.services.dialects import Dialect, by_name
from filch.services.process import running

_log = logging.getLogger(__name__)
_MOST_BYTES = 64 * 2**20
_MAX_BATCH = 1000


def application(
    models: Mapping[str, Oracle], *, dialect: str = "kserve-v2", most_bytes: int = _MOST_BYTES
) -> Starlette:
    """The web application that serves models by name.

    Parameters
    ----------
    models : mapping of str to Oracle
        A name is a segment of a path. MLflow's protocol has room for one model.
    dialect : str, default "kserve-v2"
        One of `filch.services.dialects.names`.
    most_bytes : int, default 64 MB
        The largest request body.

    Raises
    ------
    UsageError
        No model, a name that is no segment of a path, or a model that the dialect cannot carry.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> model = DummyClassifier().fit([[0.0], [1.0]], ["a", "b"])
    >>> app = application({"credit": ModelOracle(model, FeatureSpace.box([0], [1]))})
    >>> app.routes[0].path
    '/v2'
    """
    speaks = by_name(dialect)
    if not models or (len(models) > 1 and len({speaks.route(name) for name in models}) == 1):
        raise UsageError(f"{dialect} serves one model, not {len(models)}" if models else "no model to serve")
    routes: dict[str, Route] = {}
    for name, oracle in models.items():
        why = speaks.needs(oracle.spec)
        if not name or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            why = f"{name!r} is no name for a model: use letters, digits, '-', '_' and '.'"
        if why:
            raise UsageError(why)
        for path, document in speaks.documents(name, oracle.spec).items():
            routes[path] = Route(path, _document(document))
        path = speaks.route(name)
        routes[path] = Route(path, _answering(name, oracle, speaks, most_bytes), methods=["POST"])
    return Starlette(routes=list(routes.values()), exception_handlers={HTTPException: _problem_of})


def serve(
    model: Any,
    space: FeatureSpace,
    *,
    dialect: str = "kserve-v2",
    host: str = "127.0.0.1",
    port: int = 0,
    name: str = "model",
    reveal: str | Reveal = "probabilities",
    decimals: int | None = None,
    omission: bool = False,
    max_batch: int = _MAX_BATCH,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a model until interrupted (Ctrl-C, SIGTERM).

    Parameters
    ----------
    model, space, reveal, decimals, omission, max_batch
        As for `ModelOracle`; a request holds at most 1,000 rows by default.
    dialect : str, default "kserve-v2"
        One of `filch.services.dialects.names`.
    host : str, default "127.0.0.1"
    port : int, default 0
        0 takes a free one.
    name : str, default "model"
        The model's name in paths.
    on_ready : callable, optional
        Called with the model's URL once it can be asked.

    Raises
    ------
    UsageError
        The port is in use or not allowed, the host is not this machine's, or the dialect cannot carry the model.
    """
    shown = reveal if isinstance(reveal, Reveal) else Reveal(reveal)
    if decimals is not None:
        shown = replace(shown, decimals=decimals)
    oracle = ModelOracle(model, space, reveal=shown, omission=omission, max_batch=max_batch)
    app = application({name: oracle}, dialect=dialect)
    with listening(host, port) as listener, contextlib.suppress(KeyboardInterrupt):
        if on_ready:
            name_of_host = f"[{host}]" if ":" in host else host
            on_ready(f"http://{name_of_host}:{listener.getsockname()[1]}{by_name(dialect).route(name)}")
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", server_header=False)
        uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def serving(model: Any, space: FeatureSpace, **options: Any) -> Iterator[str]:
    """Serve a model from another process for as long as the context lasts.

    The process ends with the context, and with this process whatever ends that.

    Parameters
    ----------
    model, space, options
        As for `serve`; the model must be picklable.

    Yields
    ------
    str
        The model's URL.

    Raises
    ------
    UsageError
        What `serve` raises.
    ServiceError
        The process did not start.

    Examples
    --------
    >>> with serving(model, space, reveal="labels") as url:  # doctest: +SKIP
    ...     oracle = filch.connect(url)
    """
    with running(serve, model, space, **options) as url:
        yield url


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens; a `UsageError` says why there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, for asyncio sends small answers at once only where it reads that the socket speaks TCP.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)
        except (OSError, OverflowError) as error:
            raise UsageError(_why_not(error, host, port)) from error
        yield listener


def _why_not(error: OSError | OverflowError, host: str, port: int) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: choose another, or --port 0 for a free one"
    if number == errno.EACCES:
        return f"port {port} needs more rights: choose one above 1023, or --port 0 for a free one"
    if isinstance(error, OverflowError):
        return f"{port} is no port: choose 0 … 65535"
    return f"{host!r} is no address of this machine: --host 127.0.0.1 is"


def _document(body: bytes) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        return Response(body, media_type="application/json" if body.startswith(b"{") else "text/plain")

    return answer


def _answering(name: str, oracle: Oracle, dialect: Dialect, most_bytes: int) -> Callable[[Request], Any]:
    def predict(body: bytes) -> Response:
        try:
            question = dialect.decode_rows(body, oracle.spec)
        except UsageError as error:
            return _problem(400, str(error))
        most = oracle.spec.max_batch
        if most is not None and len(question.rows) > most:
            return _problem(413, f"{len(question.rows)} rows: a request holds at most {most}")
        try:
            (reply,) = oracle.answer(iter([Batch(0, question.rows)]))
        except Exception:  # whatever a model raises
            _log.exception("model %s failed", name)
            return _problem(500, "the model could not answer these rows; the server's log says why")
        if reply.answers.refused.any():
            return _problem(429, "refused: too many queries")
        answer = dialect.encode_answers(reply.answers, question, name, oracle.spec)
        return Response(answer, media_type="application/json")

    async def answer(request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > most_bytes:
                return _problem(413, f"a request body holds at most {most_bytes:,} bytes")
        return await run_in_threadpool(predict, bytes(body))

    return answer


def _problem_of(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    here = {404: f"nothing is served at {request.url.path}", 405: f"{request.url.path} takes no {request.method}"}
    return _problem(status, here.get(status, str(error)))


def _problem(status: int, detail: str) -> Response:
    title = HTTPStatus(status).phrase
    # KServe's clients read "error".
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, "error": detail}
    return Response(msgspec.json.encode(problem), status, media_type="application/problem+json")
