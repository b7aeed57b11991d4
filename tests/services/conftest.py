"""Servers on free loopback ports, in threads of the test itself, and ended by it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from sklearn.linear_model import LogisticRegression

from filch.core.features import FeatureSpace
from filch.services import retry

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FILCH_TOKEN", raising=False)
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.01)


@pytest.fixture(scope="session")
def box() -> FeatureSpace:
    return FeatureSpace.box([-2, -2, -2], [2, 2, 2])


@pytest.fixture(scope="session")
def softmax(box: FeatureSpace) -> LogisticRegression:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    return LogisticRegression().fit(X, np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)])


@pytest.fixture
def hosted() -> Iterator[Callable[..., str]]:
    """Host an application; returns its base URL."""
    with contextlib.ExitStack() as stack:

        def host(app: object) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield host


Step = Callable[["Handler", bytes], None]


@dataclass
class Misbehaving:
    """A server that does, request by request, what its steps say; the last step is repeated."""

    steps: list[Step]
    url: str = ""
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> Step:
        with self.lock:
            return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Misbehaving

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.behaviour.seen.append((dict(self.headers), body))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.behaviour.next()(self, body)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def misbehaving() -> Iterator[Callable[..., Misbehaving]]:
    """Start a server that follows steps."""
    with contextlib.ExitStack() as stack:

        def start(*steps: Step, tls: bool = False) -> Misbehaving:
            behaviour = Misbehaving(list(steps))
            server = ThreadingHTTPServer(("127.0.0.1", 0), type("Scripted", (Handler,), {"behaviour": behaviour}))
            server.handle_error = lambda *_: None  # type: ignore[method-assign]  # broken connections are the point
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(RECORDED / "loopback.pem")
                server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(server.server_close)
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            behaviour.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/invocations"
            return behaviour

        yield start
