"""An emulated BigML: enough of its API for its own Python client to read a model and to ask predictions.

``GET model/ID`` (and ``logisticregression/ID``) shows all of a white box, and of a black box the fields, their types
and ranges, as BigML's public gallery did. ``POST prediction`` takes ``input_data``, whole or in part, and a missing
strategy; the answer names output, confidence and the ``fields`` in the request or on the path. Paths begin with
``/andromeda/`` or not. Errors have BigML's body: a code, and a status with a code of its own, a message and details.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from filch.errors import UsageError
from filch.models.trees.tree import TreeModel
from filch.services.bigml.account import Account
from filch.services.bigml.resources import Served, document, served
from filch.services.process import running
from filch.services.server import listening

_log = logging.getLogger(__name__)
_MOST_BYTES = 2**20
_KEPT = 10_000  # predictions that can be read again
_NUMBERS = {400: -1204, 401: -1100, 402: -1101, 404: -1201, 405: -1204, 413: -1204, 500: -1}
_MESSAGES = {
    400: "Bad request",
    401: "Unauthorized use",
    402: "Not enough credits",
    404: "Id does not exist",
    405: "Method not allowed",
    413: "Request too large",
    500: "Internal server error",
}


class _Question(msgspec.Struct):
    model: str | None = None
    input_data: dict[str, Any] = {}
    missing_strategy: int = 0


class _Refusal(Exception):
    def __init__(self, status: int, *extra: str) -> None:
        super().__init__(status)
        self.status, self.extra = status, extra


def application(models: Mapping[str, Served], account: Account, *, white_box: bool = False) -> Starlette:
    """The web application that serves models by their resource ids.

    Parameters
    ----------
    models : mapping of str to Served
        By resource: ``model/…``, ``logisticregression/…``.
    account : Account
        Who may ask, and what it costs.
    white_box : bool, default False
        Whether GET shows the model itself, and predictions the predicates on the path.
    """
    desk = _Desk(models, account, white_box)

    def answering(method: str, act: Callable[[Request, bytes], Response]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            body = bytearray()
            async for part in request.stream():
                body += part
                if len(body) > _MOST_BYTES:
                    return _problem(_Refusal(413, f"a request body holds at most {_MOST_BYTES:,} bytes"))

            def work() -> Response:
                try:
                    if not account.admits(request.query_params):
                        raise _Refusal(401)
                    if request.method != method:
                        raise _Refusal(405, f"{request.url.path} takes no {request.method}")
                    return act(request, bytes(body))
                except _Refusal as refusal:
                    return _problem(refusal)
                except Exception:  # whatever a model raises
                    _log.exception("the emulated BigML failed")
                    return _problem(_Refusal(500))

            return await run_in_threadpool(work)

        return answer

    every = ["GET", "POST", "PUT", "DELETE"]
    routes = []
    for prefix in ("/andromeda", ""):  # the client posts predictions to the root
        routes.append(Route(f"{prefix}/prediction", answering("POST", desk.predict), methods=every))
        routes.append(Route(f"{prefix}/{{rest:path}}", answering("GET", desk.show), methods=every))
    return Starlette(routes=routes)


class _Desk:
    """Answers requests that are admitted."""

    def __init__(self, models: Mapping[str, Served], account: Account, white_box: bool) -> None:
        self.models, self.account, self.white_box = models, account, white_box
        self.numbers = itertools.count()
        self.kept: OrderedDict[str, bytes] = OrderedDict()

    def show(self, request: Request, body: bytes) -> Response:
        """A model, or a prediction that was made."""
        name = request.path_params["rest"].removeprefix("public/")
        if (made := self.kept.get(name)) is not None:
            return Response(made, media_type="application/json")
        model = self.models.get(name)
        if model is None:
            raise _Refusal(404, name)
        shown = document(model, white_box=self.white_box, price=self.account.price)
        return Response(msgspec.json.encode(shown), media_type="application/json")

    def predict(self, request: Request, body: bytes) -> Response:
        """Check, charge, predict."""
        try:
            asked = msgspec.json.decode(body, type=_Question)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _Refusal(400, " ".join(str(error).split())) from error
        if asked.missing_strategy not in (0, 1):
            raise _Refusal(400, f"missing_strategy is 0 or 1, not {asked.missing_strategy}")
        if asked.model is None:
            raise _Refusal(400, "model: this field is required")
        model = self.models.get(asked.model.removeprefix("public/"))
        if model is None:
            raise _Refusal(404, asked.model)
        given = model.inputs.read(asked.input_data)
        try:
            found = model.predict(given, asked.missing_strategy, white_box=self.white_box)
        except UsageError as error:
            raise _Refusal(400, str(error)) from error
        if not self.account.pay():
            raise _Refusal(402, f"a prediction costs {self.account.price:g} credits, {self.account.credits:g} are left")
        answer = self._prediction(model, asked, found)
        content = msgspec.json.encode(answer)
        self.kept[answer["resource"]] = content
        while len(self.kept) > _KEPT:
            self.kept.popitem(last=False)
        location = f"{request.url.scheme}://{request.url.netloc}/andromeda/{answer['resource']}"
        return Response(content, 201, {"Location": location}, media_type="application/json")

    def _prediction(self, model: Served, asked: _Question, found: dict[str, Any]) -> dict[str, Any]:
        number = next(self.numbers)
        part = model.raw["model" if model.kind == "model" else "logistic_regression"]
        goal = str((model.raw.get("objective_fields") or [model.raw.get("objective_field")])[0])
        shown = {field: _described(part["fields"][field]) for field in found.pop("shown")}
        return {
            "code": 201,
            "resource": f"prediction/{hashlib.sha256(str(number).encode()).hexdigest()[:24]}",
            "created": datetime.now(UTC).isoformat(),
            "credits": self.account.price,
            model.kind: model.resource,
            "model_type": model.kind,
            "input_data": asked.input_data,
            "missing_strategy": asked.missing_strategy,
            "objective_field": goal,
            "objective_fields": [goal],
            "prediction": {goal: found["output"]},
            "fields": shown,
            "status": {"code": 5, "message": "The prediction has been created", "progress": 1.0},
            **found,
        }


def serve_bigml(
    source: str | Path | Mapping[str, Any] | TreeModel,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    account: Account | None = None,
    white_box: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a model as BigML does, until interrupted (Ctrl-C, SIGTERM).

    Parameters
    ----------
    source : path, parsed JSON, or TreeModel
        See `filch.services.bigml.resources.served`.
    host : str, default "127.0.0.1"
    port : int, default 0
        0 takes a free one.
    account : Account, optional
        User ``filch`` with a random key by default.
    white_box : bool, default False
        Whether the model itself is shown.
    on_ready : callable, optional
        Called with the model's address, ``bigml://HOST:PORT/model/…``, once it can be asked.

    Raises
    ------
    UsageError
        No such model, or the port cannot be had.
    """
    model = served(source)
    app = application({model.resource: model}, account or Account(), white_box=white_box)
    with listening(host, port) as listener, contextlib.suppress(KeyboardInterrupt):
        if on_ready:
            name = f"[{host}]" if ":" in host else host
            on_ready(f"bigml://{name}:{listener.getsockname()[1]}/{model.resource}")
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", server_header=False)
        uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def serving_bigml(source: str | Path | Mapping[str, Any] | TreeModel, **options: Any) -> Iterator[str]:
    """Serve a model as BigML does from another process, for as long as the context lasts.

    Parameters
    ----------
    source, options
        As for `serve_bigml`. Pass an ``account``, whose key the client must know.

    Yields
    ------
    str
        The model's address.

    Raises
    ------
    UsageError
        What `serve_bigml` raises.
    ServiceError
        The process did not start.

    Examples
    --------
    >>> with serving_bigml("tree.json", account=account) as address:  # doctest: +SKIP
    ...     oracle = connect_bigml(address, account=account)
    """
    with running(serve_bigml, source, **options) as address:
        yield address


def _described(field: Mapping[str, Any]) -> dict[str, Any]:
    return {name: field[name] for name in ("column_number", "datatype", "name", "optype", "order") if name in field}


def _problem(refusal: _Refusal) -> Response:
    status = refusal.status
    told: dict[str, Any] = {"code": _NUMBERS[status], "message": _MESSAGES[status]}
    if refusal.extra:
        told["extra"] = list(refusal.extra)
    return Response(msgspec.json.encode({"code": status, "status": told}), status, media_type="application/json")
