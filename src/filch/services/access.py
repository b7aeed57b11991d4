"""Whom the client may ask, and with which credentials and certificates."""

from __future__ import annotations

import os
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import httpx

from filch.errors import NotAuthorized, UsageError
from filch.services.dialects import Dialect
from filch.services.transport import is_loopback

TOKEN = "FILCH_TOKEN"
"""The environment variable that holds a bearer token."""


def address_of(url: str, dialect: Dialect, authorized_by: str | None) -> httpx.URL:
    """The URL that rows are posted to.

    Raises
    ------
    UsageError
        No web address, or one that names no model.
    NotAuthorized
        The host is not this machine, and nobody authorizes the audit.
    """
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UsageError("not a web address: give http://HOST:PORT/… or https://…") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise UsageError("not a web address: give http://HOST:PORT/… or https://…")
    check_authorized(address.host, authorized_by)
    return address.copy_with(path=dialect.endpoint(address.path), fragment=None)


def host_of(place: str) -> str:
    """The host of ``HOST`` or ``HOST:PORT``, without the brackets of an IPv6 address.

    Examples
    --------
    >>> host_of("127.0.0.1:8080"), host_of("bigml.io"), host_of("[::1]:80")
    ('127.0.0.1', 'bigml.io', '::1')
    """
    host, _, port = place.rpartition(":")
    return (host if port.isdecimal() else place).strip("[]")


def check_authorized(host: str, authorized_by: str | None) -> None:
    """Let rows go to this machine, and elsewhere only if somebody authorizes it.

    Raises
    ------
    NotAuthorized
        The host is not this machine, and nobody authorizes the audit.
    """
    if not is_loopback(host) and not (authorized_by or "").strip():
        raise NotAuthorized(f"{host} is not this machine: say who authorizes the audit with --i-am-authorized NAME")


def credentials(names: Mapping[str, str], address: httpx.URL) -> tuple[dict[str, str], dict[str, str]]:
    """The headers that hold credentials, and where each was read from.

    The token is the weakest: a user and password in the URL, and then the headers asked for by name, replace it.

    Raises
    ------
    UsageError
        A variable that is not set or holds no header, or a name that is none.
    """
    headers, sources = {}, {}
    if os.environ.get(TOKEN):
        headers["Authorization"], sources["Authorization"] = f"Bearer {_variable(TOKEN, 'Authorization')}", TOKEN
    if address.password:
        pair = b64encode(f"{address.username}:{address.password}".encode()).decode()
        headers["Authorization"], sources["Authorization"] = f"Basic {pair}", "the URL"
    for name, variable in names.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise UsageError(f"{name!r} is no name of a header")
        headers[name.title()], sources[name.title()] = _variable(variable, name), variable
    return headers, sources


def _variable(variable: str, header: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UsageError(f"the environment variable {variable} is not set: it should hold the header {header}")
    if not (value.isascii() and value.isprintable()):
        raise UsageError(f"the environment variable {variable} holds what no header may")
    return value


def trust(verify: bool | str | Path) -> bool | ssl.SSLContext:
    """Whether to check certificates, or against which authorities.

    Raises
    ------
    UsageError
        The file holds no authorities.
    """
    if isinstance(verify, bool):
        return verify
    try:
        return ssl.create_default_context(cafile=str(verify))
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"{verify} is no file of certificate authorities (PEM): {error.strerror or error}") from error
