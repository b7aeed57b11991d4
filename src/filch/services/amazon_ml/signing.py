"""Checks AWS Signature Version 4 with botocore's own signer (``pip install 'filch[amazon]'``)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from filch.errors import UsageError

SERVICE = "machinelearning"
_SKEW = 300.0  # seconds that a request may be old, or ahead
_FORM = "%Y%m%dT%H%M%SZ"
_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)
Problem = tuple[str, str]
"""The exception's name and a message."""


def botocore() -> Any:
    """The modules of botocore that sign.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        import botocore.auth
        import botocore.awsrequest
        import botocore.credentials
    except ImportError as error:
        raise UsageError("Amazon ML needs its own client: pip install 'filch[amazon]'") from error
    return botocore


def why_not(
    method: str, host: str, path: str, headers: Mapping[str, str], body: bytes, keys: Mapping[str, str], now: datetime
) -> Problem | None:
    """Why a request is not signed as it should be, or None.

    Parameters
    ----------
    method, host, path : str
    headers : mapping
        With lower-case names.
    body : bytes
    keys : mapping of access key to secret key
    now : datetime
        In UTC.
    """
    told = headers.get("authorization", "")
    if not told:
        return "MissingAuthenticationTokenException", "Missing Authentication Token"
    match = _HEADER.fullmatch(told)
    if match is None:
        return "IncompleteSignatureException", "Authorization header is not of AWS Signature Version 4"
    access, date, region, service, names, signature = match.groups()
    if access not in keys:
        return "UnrecognizedClientException", "The security token included in the request is invalid."
    signed = names.split(";")
    if service != SERVICE or not {"host", "x-amz-date"} <= set(signed) or any(name not in headers for name in signed):
        return "IncompleteSignatureException", "Credential should be scoped to machinelearning; sign host and date"
    stamp = headers["x-amz-date"]
    try:
        when = datetime.strptime(stamp, _FORM).replace(tzinfo=UTC)
    except ValueError:
        return "IncompleteSignatureException", "Date must be in ISO-8601 'basic format'."
    if abs((now - when).total_seconds()) > _SKEW or stamp[:8] != date:
        word = "expired" if when < now else "not yet current"
        return "InvalidSignatureException", f"Signature {word}: {stamp}, now {now.strftime(_FORM)}"
    core = botocore()
    request = core.awsrequest.AWSRequest(
        method=method, url=f"http://{host}{path}", headers={name: headers[name] for name in signed}, data=body
    )
    request.context["timestamp"] = stamp
    signer = core.auth.SigV4Auth(core.credentials.Credentials(access, keys[access]), service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    if not hmac.compare_digest(signer.signature(text, request), signature):
        return "InvalidSignatureException", "The request signature we calculated does not match the one you provided."
    return None


__all__ = ["SERVICE", "botocore", "why_not"]
