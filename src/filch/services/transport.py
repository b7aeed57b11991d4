"""One HTTP exchange, retried where that may help: what goes wrong becomes a `ServiceError` that names the mend."""

from __future__ import annotations

import ipaddress
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import msgspec

from filch.errors import BadAnswer, Rejected, Unreachable
from filch.services.retry import Failure, Patience

MOST_BYTES = 256 * 2**20
"""The largest response that is read."""
_PASSING = (429, 502, 503, 504)


@dataclass(frozen=True, eq=False)
class Transport:
    """Sends bytes to one address.

    Parameters
    ----------
    client : httpx.Client
        With its base URL, headers, limits and TLS settings.
    timeout : float
        Seconds for one whole exchange.
    patience : Patience
        Transmissions of one body, and in a second, at most.
    sources : mapping of str to str
        Where each header with credentials was read from: an environment variable, or the URL.
    hidden : tuple of str
        Texts that must not appear in a message.
    """

    client: httpx.Client
    timeout: float
    patience: Patience
    sources: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    def exchange(
        self, method: str, url: httpx.URL, body: bytes | None = None, *, pay_again: Callable[[], bool] = lambda: True
    ) -> bytes:
        """Send, and read the whole response; retry what may pass, after paying for it again.

        Raises
        ------
        Unreachable, Rejected, BadAnswer
            The last transmission failed.
        """
        return self.patience.of(lambda: self._once(method, url, body), pay_again)

    def _once(self, method: str, url: httpx.URL, body: bytes | None) -> bytes:
        deadline = time.monotonic() + self.timeout
        try:
            with self.client.stream(method, url, content=body) as response:
                parts, size = [], 0
                for part in response.iter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > MOST_BYTES:
                        raise Failure(
                            BadAnswer(f"{bare(url)} answers more than {MOST_BYTES >> 20} MB: lower max_batch")
                        )
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("the answer takes too long")
        except httpx.TransportError as error:
            raise self._broken(error, url) from error
        except httpx.DecodingError as error:
            raise Failure(BadAnswer(f"{bare(url)} answers with a broken compression")) from error
        answer = b"".join(parts)
        if response.status_code != 200:
            raise self._rejected(response, answer, url)
        return answer

    def _broken(self, error: httpx.TransportError, url: httpx.URL) -> Failure:
        where = bare(url)
        if isinstance(error, httpx.TimeoutException):
            mend = "raise --timeout, or lower max_batch"
            return Failure(Unreachable(f"{where} gives no answer in {self.timeout:g} s: {mend}"), passing=True)
        if (reason := _tls_problem(error)) is not None:
            mend = "give the authority's file with --ca-file CA.pem, or http:// if the server speaks no TLS"
            return Failure(Unreachable(f"{where} is not trusted ({reason}): {mend}"))
        if isinstance(error, httpx.ConnectError):
            return Failure(Unreachable(f"no connection to {where}: is the server running there?"), passing=True)
        if "complete" in str(error):  # h11 says "incomplete …" or "… complete message body"
            return Failure(BadAnswer(f"the answer of {where} breaks off: see the server's log"), passing=True)
        return Failure(
            Unreachable(f"{where} closes the connection without an answer: see the server's log"), passing=True
        )

    def _rejected(self, response: httpx.Response, body: bytes, url: httpx.URL) -> Failure:
        status = response.status_code
        told = f" ({self._clean(_detail(body))})" if _detail(body) else ""
        message = f"{bare(url)} answers {status}{told}: {self._mend(status, response)}"
        after = _retry_after(response.headers.get("Retry-After", ""))
        return Failure(Rejected(message, status), passing=status in _PASSING, after=after)

    def _mend(self, status: int, response: httpx.Response) -> str:
        if status in (401, 403):
            used = ", ".join(sorted(set(self.sources.values())))
            if used:
                return f"check the credentials in {used}"
            return "set FILCH_TOKEN for a bearer token, or --header-env NAME=VARIABLE for another header"
        if 300 <= status < 400:
            return (
                f"use the address that it names ({bare(url)})"
                if (url := _location(response))
                else "use the new address"
            )
        return {
            404: "check the path and the model's name",
            405: "check the path and the dialect",
            413: "lower max_batch",
            429: "lower --rate, or wait",
        }.get(
            status,
            "see the server's log"
            if status >= 500
            else "check the feature space and the dialect against the API's own",
        )

    def _clean(self, text: str) -> str:
        for secret in self.hidden:
            text = text.replace(secret, "***")
        return text if len(text) <= 200 else f"{text[:197]}…"


def bare(url: httpx.URL) -> str:
    """A URL without user, password, query and fragment: fit for logs and fingerprints.

    Examples
    --------
    >>> bare(httpx.URL("https://user:word@api.example/v2?key=1"))
    'https://api.example/v2'
    """
    return str(url.copy_with(username="", password="", query=None, fragment=None))


def _redact(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(bare(value) if isinstance(value, httpx.URL) else value for value in record.args)
    return True


logging.getLogger("httpx").addFilter(_redact)  # it logs each address with its query, where keys may be


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or number, without asking anyone.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("example.org")
    (True, False)
    """
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _retry_after(value: str) -> float:
    """Seconds to wait, from a number of seconds or an HTTP date; 0 if there is neither."""
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _tls_problem(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return str(getattr(error, "verify_message", "") or error.reason)
        error = error.__cause__ or error.__context__
    return None


def _detail(body: bytes) -> str:
    """What an error body says, in a line: a JSON member, or the last line of plain text."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        lines = body[-2000:].decode(errors="replace").strip().splitlines()
        return "a web page" if body.lstrip().startswith(b"<") else lines[-1].strip() if lines else ""
    if isinstance(told, dict):
        told = next((told[key] for key in ("detail", "error", "message") if told.get(key)), "")
    return " ".join(str(told).split())


def _location(response: httpx.Response) -> httpx.URL | None:
    try:
        return response.url.join(response.headers["Location"])
    except (KeyError, httpx.InvalidURL):
        return None
